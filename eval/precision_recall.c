#include "eval/precision_recall.h"

static double ratio(size_t part, size_t whole)
{
    return whole ? (double)part / (double)whole : 0;
}

dt_prf dt_prf_of(size_t support, size_t predicted, size_t right)
{
    return (dt_prf){ratio(right, predicted), ratio(right, support), ratio(2 * right, support + predicted)};
}

static void add(dt_prf *sum, dt_prf x, size_t weight)
{
    sum->precision += (double)weight * x.precision;
    sum->recall += (double)weight * x.recall;
    sum->f1 += (double)weight * x.f1;
}

/* Last, so that the mean of ones is one and not a little more. */
static dt_prf divided(dt_prf sum, size_t weights)
{
    const double by = weights ? (double)weights : 1;
    return (dt_prf){sum.precision / by, sum.recall / by, sum.f1 / by};
}

dt_prf_means dt_prf_mean(const size_t *support, const size_t *predicted, const size_t *right, size_t classes)
{
    dt_prf macro = {0}, weighted = {0};
    size_t rows = 0, rows_predicted = 0, rows_right = 0;
    for (size_t c = 0; c < classes; c++) {
        dt_prf prf = dt_prf_of(support[c], predicted[c], right[c]);
        add(&macro, prf, 1);
        add(&weighted, prf, support[c]);
        rows += support[c];
        rows_predicted += predicted[c];
        rows_right += right[c];
    }
    return (dt_prf_means){divided(macro, classes), dt_prf_of(rows, rows_predicted, rows_right),
                          divided(weighted, rows)};
}

double dt_mean_recall(const size_t *support, const size_t *right, size_t classes, size_t *seen)
{
    double sum = 0;
    size_t with_rows = 0;
    for (size_t c = 0; c < classes; c++) {
        sum += ratio(right[c], support[c]);
        with_rows += support[c] > 0;
    }
    if (seen)
        *seen = with_rows;
    return with_rows ? sum / (double)with_rows : 0;
}
