#include "eval/kernel_distance.h"

#include <math.h>
#include <stdlib.h>

#include "data/shuffle.h"
#include "eval/products.h"
#include "eval/rows.h"

enum { BLOCK = 1008 }; /* rows of each side at a time, a multiple of DT_PANEL_ROWS */

static const double sigma = 10, cmmd_scale = 1000;

typedef enum kind { CUBIC, GAUSSIAN } kind;

/* One side: all rows, or some. */
typedef struct side {
    dt_feature_rows features;
    const size_t *which; /* [n] NULL: all, in order */
    size_t n;
} side;

/* Working memory. */
typedef struct work {
    kind kernel;
    double *a, *b;    /* [BLOCK, dim] */
    double *products; /* [BLOCK, BLOCK] */
    double *sums;     /* [BLOCK] of a row's kernels */
} work;

static bool make_work(work *w, kind kernel, size_t dim, dt_error *error)
{
    *w = (work){.kernel = kernel};
    w->a = malloc(BLOCK * dim * sizeof *w->a);
    w->b = malloc(BLOCK * dim * sizeof *w->b);
    w->products = malloc((size_t)BLOCK * BLOCK * sizeof *w->products);
    w->sums = malloc(BLOCK * sizeof *w->sums);
    return (w->a && w->b && w->products && w->sums) || dt_fail(error, "no memory for %d rows of %zu features", BLOCK, dim);
}

static void free_work(work *w)
{
    free(w->a);
    free(w->b);
    free(w->products);
    free(w->sums);
}

/* Rows first .. first + count - 1 of a side in float64, for the Gaussian kernel of unit length. */
static void take(double *to, const side *s, size_t first, size_t count, kind kernel)
{
    size_t dim = s->features.dim;
    for (size_t i = 0; i < count; i++) {
        const float *from = s->features.rows + (s->which ? s->which[first + i] : first + i) * dim;
        double squares = 0, *row = to + i * dim;
        for (size_t j = 0; j < dim; j++) {
            row[j] = (double)from[j];
            squares += row[j] * row[j];
        }
        if (kernel == GAUSSIAN && squares > 0)
            for (size_t j = 0; j < dim; j++)
                row[j] /= sqrt(squares);
    }
}

/* e^x for -0.02 <= x <= 0, where the series has all digits after eight terms. */
static inline double exponential(double x)
{
    return 1 + x * (1 + x / 2 * (1 + x / 3 * (1 + x / 4 * (1 + x / 5 * (1 + x / 6 * (1 + x / 7))))));
}

/* Of inner products [count]; the one numbered `but` is left out. */
static double sum_kernel(kind kernel, const double *products, size_t count, size_t dim, size_t but)
{
    double sum = 0;
    if (kernel == CUBIC) {
#pragma omp simd reduction(+ : sum)
        for (size_t j = 0; j < count; j++) {
            double base = products[j] / (double)dim + 1;
            sum += j == but ? 0 : base * base * base;
        }
    } else {
#pragma omp simd reduction(+ : sum)
        for (size_t j = 0; j < count; j++)
            sum += j == but ? 0 : exponential((products[j] - 1) / (sigma * sigma));
    }
    return sum;
}

/* The sum of the kernel over all pairs of two sides; of one side and itself (b NULL) over the pairs of different
 * rows. */
static bool sum_pairs(work *w, const side *a, const side *b, double *sum, dt_error *error)
{
    const side *other = b ? b : a;
    size_t dim = a->features.dim;
    *sum = 0;
    for (size_t i = 0; i < a->n; i += BLOCK) {
        size_t rows = a->n - i < BLOCK ? a->n - i : BLOCK;
        take(w->a, a, i, rows, w->kernel);
        for (size_t j = b ? 0 : i; j < other->n; j += BLOCK) {
            size_t columns = other->n - j < BLOCK ? other->n - j : BLOCK;
            bool diagonal = !b && i == j;
            take(w->b, other, j, columns, w->kernel);
            if (!dt_inner_products(w->a, rows, w->b, columns, dim, w->products, error))
                return false;
#pragma omp parallel for if (rows * columns > 1 << 18)
            for (size_t r = 0; r < rows; r++)
                w->sums[r] = sum_kernel(w->kernel, w->products + r * columns, columns, dim, diagonal ? r : SIZE_MAX);
            double part = 0;
            for (size_t r = 0; r < rows; r++)
                part += w->sums[r];
            *sum += b || diagonal ? part : 2 * part;
        }
    }
    return true;
}

/* The squared discrepancy: unbiased, or with each row's kernel with itself, `own`, among the pairs. */
static bool discrepancy(work *w, const side *a, const side *b, bool biased, double own, double *value, dt_error *error)
{
    double aa, bb, ab, n = (double)a->n, m = (double)b->n;
    if (!sum_pairs(w, a, NULL, &aa, error) || !sum_pairs(w, b, NULL, &bb, error) || !sum_pairs(w, a, b, &ab, error))
        return false;
    *value = biased ? (aa + n * own) / (n * n) + (bb + m * own) / (m * m) - 2 * (ab / (n * m))
                    : aa / (n * (n - 1)) + bb / (m * (m - 1)) - 2 * (ab / (n * m));
    return isfinite(*value) || dt_fail(error, "the kernel distance of these features is beyond all numbers");
}

static bool check(dt_feature_rows a, dt_feature_rows b, dt_error *error)
{
    if (a.n < 2 || b.n < 2)
        return dt_fail(error, "%zu and %zu rows of features; a kernel distance needs at least 2 of each", a.n, b.n);
    if (a.dim != b.dim || !a.dim)
        return dt_fail(error, "features of width %zu and %zu cannot be compared", a.dim, b.dim);
    return dt_rows_check("row", a.rows, a.n, a.dim, error) && dt_rows_check("row", b.rows, b.n, b.dim, error);
}

/* ---- KID ---- */

/* Draw `draw` of s->n of the rows, without replacement. */
static void draw_rows(const side *s, size_t *which, uint64_t seed, uint64_t draw)
{
    for (size_t i = 0; i < s->n; i++)
        which[i] = (size_t)dt_permute(s->features.n, seed, draw, i);
}

static bool find_deviation(work *w, dt_feature_rows a, dt_feature_rows b, uint64_t seed, dt_kid *kid, dt_error *error)
{
    double sum = 0, squares = 0;
    size_t *which = malloc(2 * kid->subset * sizeof *which);
    double *values = malloc(kid->subsets * sizeof *values);
    const side x = {a, which, kid->subset}, y = {b, which + kid->subset, kid->subset};
    bool good = (which && values) || dt_fail(error, "no memory for %zu subsets of %zu rows", kid->subsets, kid->subset);
    for (size_t i = 0; good && i < kid->subsets; i++) {
        draw_rows(&x, which, seed, 2 * i);
        draw_rows(&y, which + kid->subset, seed, 2 * i + 1);
        good = discrepancy(w, &x, &y, false, 0, &values[i], error);
        sum += good ? values[i] : 0;
    }
    kid->mean = sum / (double)kid->subsets;
    for (size_t i = 0; good && i < kid->subsets; i++)
        squares += (values[i] - kid->mean) * (values[i] - kid->mean);
    kid->deviation = sqrt(squares / (double)(kid->subsets - 1));
    free(which);
    free(values);
    return good;
}

bool dt_kid_distance(dt_feature_rows a, dt_feature_rows b, size_t subsets, uint64_t seed, dt_kid *kid, dt_error *error)
{
    size_t least = a.n < b.n ? a.n : b.n, subset = least / 2 < DT_KID_SUBSET ? least / 2 : DT_KID_SUBSET;
    *kid = (dt_kid){.mean = NAN, .deviation = NAN};
    work w = {0};
    bool good = check(a, b, error) && make_work(&w, CUBIC, a.dim, error) &&
                discrepancy(&w, &(side){a, NULL, a.n}, &(side){b, NULL, b.n}, false, 0, &kid->value, error);
    if (good && subset >= 2) {
        kid->subsets = subsets == 0 ? DT_KID_SUBSETS : subsets < 2 ? 2 : subsets;
        kid->subset = subset;
        good = find_deviation(&w, a, b, seed, kid, error);
    }
    free_work(&w);
    return good;
}

/* ---- CMMD ---- */

bool dt_cmmd_distance(dt_feature_rows a, dt_feature_rows b, double *cmmd, dt_error *error)
{
    work w = {0};
    bool good = check(a, b, error) && make_work(&w, GAUSSIAN, a.dim, error) &&
                discrepancy(&w, &(side){a, NULL, a.n}, &(side){b, NULL, b.n}, true, 1, cmmd, error);
    *cmmd = good ? *cmmd * cmmd_scale : NAN;
    free_work(&w);
    return good;
}
