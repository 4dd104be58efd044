#include "eval/folds.h"

#include <math.h>
#include <stdlib.h>

#include "data/shuffle.h"

typedef struct entry {
    uint64_t key;
    size_t row;
    int32_t label;
} entry;

static int by_class(const void *a, const void *b)
{
    const entry *x = a, *y = b;
    if (x->label != y->label)
        return x->label < y->label ? -1 : 1;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* The labelled rows, class by class, in random order within each. The caller frees; NULL: none, or no memory.
 */
static entry *shuffle_by_class(const int32_t *labels, size_t n, uint64_t seed, size_t *count, dt_error *error)
{
    entry *entries = calloc(n ? n : 1, sizeof *entries);
    if (!entries) {
        dt_fail(error, "no memory for %zu labels", n);
        return NULL;
    }
    *count = 0;
    for (size_t i = 0; i < n; i++)
        if (labels[i] >= 0)
            entries[(*count)++] = (entry){dt_hash64(seed, i, 0), i, labels[i]};
    if (!*count) {
        dt_fail(error, "none of the %zu rows has a label; expected rows of every class", n);
        free(entries);
        return NULL;
    }
    qsort(entries, *count, sizeof *entries, by_class);
    return entries;
}

/* How many entries from `at` on are of its class. */
static size_t class_size(const entry *entries, size_t count, size_t at)
{
    size_t end = at;
    while (end < count && entries[end].label == entries[at].label)
        end++;
    return end - at;
}

/* No class with fewer than `least` rows; `wanted` says what they are needed for. */
static bool check_sizes(const entry *entries, size_t count, size_t least, const char *wanted, dt_error *error)
{
    for (size_t at = 0, size; at < count; at += size) {
        size = class_size(entries, count, at);
        if (size < least)
            return dt_fail(error, "class %d has %zu %s; expected at least %zu for %zu %s", entries[at].label,
                           size, size == 1 ? "row" : "rows", least, least, wanted);
    }
    return true;
}

bool dt_folds(const int32_t *labels, size_t n, int k, uint64_t seed, int32_t *fold_of_row, dt_error *error)
{
    if (k < 2)
        return dt_fail(error, "cannot make %d folds; expected at least 2", k);
    size_t count, folds = (size_t)k;
    entry *entries = shuffle_by_class(labels, n, seed, &count, error);
    if (!entries)
        return false;
    bool good =
        (folds <= count || dt_fail(error, "cannot make %d folds of %zu labelled rows; expected at most %zu",
                                   k, count, count)) &&
        check_sizes(entries, count, folds, "folds", error);
    for (size_t i = 0; i < n; i++)
        fold_of_row[i] = -1;
    for (size_t i = 0; good && i < count; i++) /* dealt like cards, a class after the other */
        fold_of_row[entries[i].row] = (int32_t)(i % folds);
    free(entries);
    return good;
}

bool dt_split(const int32_t *labels, size_t n, double share, uint64_t seed, uint8_t *held, dt_error *error)
{
    if (!(share > 0 && share < 1))
        return dt_fail(error, "cannot hold out a share of %g; expected one above 0 and below 1", share);
    size_t count, total = 0, due = 0, passed = 0;
    entry *entries = shuffle_by_class(labels, n, seed, &count, error);
    if (!entries)
        return false;
    for (size_t i = 0; i < n; i++)
        held[i] = 0;
    for (size_t at = 0, size; at < count; at += size) {
        size = class_size(entries, count, at);
        if (size < 2)
            continue;
        passed += size; /* a class gets what is due so far, so that the rounding of many does not add up */
        size_t before = due;
        due = (size_t)llround(share * (double)passed);
        size_t take = due > before ? due - before : 1;
        take = take < size ? take : size - 1;
        for (size_t i = 0; i < take; i++)
            held[entries[at + i].row] = 1;
        total += take;
    }
    free(entries);
    return total || dt_fail(error, "no class has two rows, so none can be held out");
}

static int ascending(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

bool dt_few_shot(const int32_t *labels, size_t n, size_t per_class, uint64_t seed, size_t *rows,
                 size_t *count, dt_error *error)
{
    if (!per_class)
        return dt_fail(error, "cannot choose 0 rows of a class; expected at least 1");
    size_t labelled;
    entry *entries = shuffle_by_class(labels, n, seed, &labelled, error);
    bool good = entries && check_sizes(entries, labelled, per_class, "shots", error);
    *count = 0;
    for (size_t at = 0; good && at < labelled; at += class_size(entries, labelled, at))
        for (size_t i = 0; i < per_class; i++)
            rows[(*count)++] = entries[at + i].row;
    qsort(rows, *count, sizeof *rows, ascending);
    free(entries);
    return good;
}
