#include "eval/roc.h"

#include <math.h>
#include <stdlib.h>

static int by_score(const void *a, const void *b)
{
    const dt_roc_row *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

void dt_roc_sort(dt_roc_row *rows, size_t n)
{
    qsort(rows, n, sizeof *rows, by_score);
}

double dt_roc_area(const dt_roc_row *rows, size_t n, const uint32_t *times)
{
    double pairs = 0, negatives = 0, positives = 0; /* integers and halves: exact below 2^53 */
    for (size_t i = 0; i < n;) {
        const double score = rows[i].score;
        double equal[2] = {0};
        for (; i < n && rows[i].score == score; i++)
            equal[rows[i].positive] += times ? times[rows[i].row] : 1;
        pairs += equal[true] * (negatives + equal[false] / 2);
        negatives += equal[false];
        positives += equal[true];
    }
    return negatives > 0 && positives > 0 ? pairs / (negatives * positives) : NAN;
}
