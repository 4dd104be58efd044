#include "data/nearest.h"

#include <ctype.h>
#include <string.h>

enum { LONGEST = 63 };

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t distance(const char *a, size_t m, const char *b, size_t n)
{
    size_t rows[3][LONGEST + 1], *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= n; j++)
        above[j] = before[j] = j;
    for (size_t i = 1; i <= m; i++) {
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            row[j] = least(least(row[j - 1], above[j]) + 1, above[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
                y == tolower((unsigned char)a[i - 2]))
                row[j] = least(row[j], before[j - 2] + 1);
        }
        size_t *spare = before;
        before = above, above = row, row = spare;
    }
    return above[n];
}

void dt_nearest_try(dt_nearest *near, const char *name)
{
    size_t m = strlen(near->word), n = strlen(name);
    if (m == 0 || m > LONGEST || n > LONGEST)
        return;
    size_t cost = distance(near->word, m, name, n), allowed = m < 3 ? 1 : m / 3 + 1;
    if (m >= 3 && n > m && strncmp(near->word, name, m) == 0)
        cost = 1;
    if (cost <= allowed && cost < n && (!near->best || cost < near->cost))
        near->best = name, near->cost = cost;
}
