/* The area under the ROC curve against all pairs of a positive and a negative row. */
#include "eval/roc.h"

#include "data/shuffle.h"
#include "tests/tap.h"

static double area_of(const double *scores, const uint8_t *positive, size_t n)
{
    dt_roc_row *rows = calloc(n + 1, sizeof *rows);
    for (size_t i = 0; i < n; i++)
        rows[i] = (dt_roc_row){scores[i], i, positive[i]};
    dt_roc_sort(rows, n);
    double area = dt_roc_area(rows, n, NULL);
    free(rows);
    return area;
}

/* Against all pairs; scores on a grid of `levels`, so that many are equal; times as of a resample. */
static void area(size_t n, uint64_t levels)
{
    double *scores = malloc(n * sizeof *scores), pairs = 0, all = 0, pairs_times = 0, all_times = 0;
    uint8_t *positive = malloc(n);
    uint32_t *times = malloc(n * sizeof *times);
    dt_roc_row *rows = malloc(n * sizeof *rows);
    for (size_t i = 0; i < n; i++) {
        positive[i] = i < 2 ? (uint8_t)i : dt_hash64(1, i, n) % 3 == 0;
        scores[i] = (double)(dt_hash64(2, i, n) % levels) + 0.5 * positive[i];
        times[i] = (uint32_t)(dt_hash64(3, i, n) % 3) + (i < 2);
        rows[i] = (dt_roc_row){scores[i], i, positive[i]};
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++) {
            if (!positive[i] || positive[j])
                continue;
            double won = scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
            pairs += won, all += 1;
            pairs_times += won * times[i] * times[j], all_times += (double)times[i] * times[j];
        }
    dt_roc_sort(rows, n);
    double found = area_of(scores, positive, n);
    ok(fabs(found - pairs / all) < 1e-12 && fabs(dt_roc_area(rows, n, times) - pairs_times / all_times) < 1e-12,
       "area over %zu rows, %d levels: %.6f", n, (int)levels, found);
    free(scores);
    free(positive);
    free(times);
    free(rows);
}

static void areas(void)
{
    area(2, 1);
    area(37, 4);
    area(501, 30);
    area(501, 1u << 30);
    const double scores[] = {3, 1, 2, 2};
    const uint8_t apart[] = {1, 0, 0, 0}, halves[] = {0, 0, 1, 0};
    ok(area_of(scores, apart, 4) == 1, "apart: 1");
    ok(area_of(scores, halves, 4) == 0.5, "in the middle: 1/2");
    ok(isnan(area_of(scores, apart, 1)) && isnan(area_of(scores, apart, 0)), "one class only: no area");
}

int main(void)
{
    areas();
    return done();
}
