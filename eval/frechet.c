#include "eval/frechet.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eval/products.h"
#include "eval/rows.h"
#include "eval/singular.h"

enum {
    ROWS = 512,    /* centred and multiplied at a time */
    COLUMNS = 512, /* a thread's part of a row */
};

/* ---- mean and covariance ---- */

static void find_mean(double *mean, const float *rows, size_t n, size_t dim)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < dim; j++)
            mean[j] += (double)rows[i * dim + j];
    for (size_t j = 0; j < dim; j++)
        mean[j] /= (double)n;
}

static bool find_covariance(dt_gaussian *g, const float *rows, size_t n, dt_error *error)
{
    size_t dim = g->dim;
    double *centred = malloc(ROWS * dim * sizeof *centred);
    bool good = centred || dt_fail(error, "no memory for %d rows of %zu features", ROWS, dim);
    for (size_t first = 0; good && first < n; first += ROWS) {
        size_t part = n - first < ROWS ? n - first : ROWS;
        for (size_t i = 0; i < part; i++)
            for (size_t j = 0; j < dim; j++)
                centred[i * dim + j] = (double)rows[(first + i) * dim + j] - g->mean[j];
        good =
            dt_multiply((dt_matrix){centred, 1, dim}, (dt_matrix){centred, dim, 1}, dim, dim, part, true, g->covariance, error);
    }
    for (size_t i = 0; good && i < dim; i++)
        for (size_t j = 0; j <= i; j++)
            g->covariance[j * dim + i] = g->covariance[i * dim + j] /= (double)(n - 1);
    free(centred);
    return good;
}

bool dt_gaussian_fit(dt_gaussian *g, const float *rows, size_t n, size_t dim, dt_error *error)
{
    *g = (dt_gaussian){.dim = dim};
    if (n < 2 || !dim || dim > DT_FRECHET_DIM_MOST)
        return dt_fail(error, "%zu rows of %zu features have no covariance here; expected at least 2 rows of 1 to %d features",
                       n, dim, DT_FRECHET_DIM_MOST);
    if (!dt_rows_check("row", rows, n, dim, error))
        return false;
    g->mean = calloc(dim, sizeof *g->mean);
    g->covariance = calloc(dim * dim, sizeof *g->covariance);
    if (!g->mean || !g->covariance)
        return dt_fail(error, "no memory for the covariance of %zu features", dim);
    find_mean(g->mean, rows, n, dim);
    return find_covariance(g, rows, n, error);
}

void dt_gaussian_free(dt_gaussian *g)
{
    free(g->mean);
    free(g->covariance);
    *g = (dt_gaussian){0};
}

/* ---- the distance ---- */

/* What is left of row p of the covariance after the first `rank` rows of the factor, divided by the root of what is
 * left of its diagonal: the next row. */
static void next_row(const dt_gaussian *g, double *factor, size_t rank, size_t p, double pivot)
{
    size_t dim = g->dim;
    double *row = factor + rank * dim, root = sqrt(pivot);
#pragma omp parallel for schedule(static) if (rank * dim > 1 << 18)
    for (size_t first = 0; first < dim; first += COLUMNS) {
        size_t end = first + COLUMNS < dim ? first + COLUMNS : dim;
        for (size_t j = first; j < end; j++)
            row[j] = j <= p ? g->covariance[p * dim + j] : g->covariance[j * dim + p];
        for (size_t k = 0; k < rank; k++) {
            const double *known = factor + k * dim;
            double times = known[p];
            for (size_t j = first; j < end; j++)
                row[j] -= times * known[j];
        }
        for (size_t j = first; j < end; j++)
            row[j] /= root;
    }
}

/* The covariance as factor' factor, with factor [rank, dim]: Cholesky's, the largest pivot first, until what is left
 * is rounding. */
static bool factorise(const dt_gaussian *g, double *factor, size_t *rank, dt_error *error)
{
    size_t dim = g->dim;
    double most = 0, *left = malloc(dim * sizeof *left);
    if (!left)
        return dt_fail(error, "no memory for a covariance of %zu features", dim);
    for (size_t i = 0; i < dim; i++)
        most = fmax(most, left[i] = g->covariance[i * dim + i]);
    const double rounding = (double)dim * DBL_EPSILON * most;
    for (*rank = 0; *rank < dim; ++*rank) {
        size_t p = 0;
        for (size_t i = 1; i < dim; i++)
            if (left[i] > left[p])
                p = i;
        if (!(left[p] > rounding))
            break;
        next_row(g, factor, *rank, p, left[p]);
        const double *row = factor + *rank * dim;
        for (size_t i = 0; i < dim; i++)
            left[i] -= row[i] * row[i];
        left[p] = 0;
    }
    double least = 0;
    for (size_t i = 0; i < dim; i++)
        least = fmin(least, left[i]);
    free(left);
    return least >= -1e3 * rounding || dt_fail(error, "this is no covariance: it has a negative eigenvalue, below %.3g", least);
}

/* The trace of (Sa Sb)^(1/2). */
static bool root_trace(const dt_gaussian *a, const dt_gaussian *b, double *trace, dt_error *error)
{
    size_t dim = a->dim, rank_a = 0, rank_b = 0;
    double *fa = malloc(dim * dim * sizeof *fa), *fb = malloc(dim * dim * sizeof *fb), *product = NULL;
    bool good = ((fa && fb) || dt_fail(error, "no memory for the factors of two covariances of %zu features", dim)) &&
                factorise(a, fa, &rank_a, error) && factorise(b, fb, &rank_b, error);
    bool turned = rank_a < rank_b;
    size_t m = turned ? rank_b : rank_a, n = turned ? rank_a : rank_b;
    *trace = 0;
    if (good && n)
        good = ((product = malloc(m * n * sizeof *product)) || dt_fail(error, "no memory for %zu x %zu numbers", m, n)) &&
               dt_inner_products(turned ? fb : fa, m, turned ? fa : fb, n, dim, product, error) &&
               dt_nuclear_norm(product, m, n, trace, error);
    free(fa);
    free(fb);
    free(product);
    return good;
}

static bool check(const dt_gaussian *g, dt_error *error)
{
    bool finite = true;
    for (size_t i = 0; finite && i < g->dim; i++) {
        finite = isfinite(g->mean[i]);
        for (size_t j = 0; j <= i; j++)
            finite = finite && isfinite(g->covariance[i * g->dim + j]);
    }
    return finite || dt_fail(error, "a mean or covariance of %zu features is not finite", g->dim);
}

bool dt_frechet_distance(const dt_gaussian *a, const dt_gaussian *b, double *distance, dt_error *error)
{
    if (a->dim != b->dim || !a->dim || a->dim > DT_FRECHET_DIM_MOST)
        return dt_fail(error, "Gaussians of %zu and %zu features; expected equally many, 1 to %d", a->dim, b->dim,
                       DT_FRECHET_DIM_MOST);
    double root, sum = 0;
    if (!check(a, error) || !check(b, error) || !root_trace(a, b, &root, error))
        return false;
    for (size_t i = 0; i < a->dim; i++) {
        double apart = a->mean[i] - b->mean[i];
        sum += apart * apart + a->covariance[i * a->dim + i] + b->covariance[i * a->dim + i];
    }
    *distance = fmax(0, sum - 2 * root); /* below 0 by rounding alone */
    return isfinite(*distance) || dt_fail(error, "the distance of these Gaussians is beyond all numbers");
}
