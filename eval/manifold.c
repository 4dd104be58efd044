#include "eval/manifold.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "eval/products.h"
#include "eval/rows.h"

enum {
    BLOCK = 1008, /* rows at a time */
    NORMS = 24,   /* the same for products of which the diagonal alone is wanted */
};

/* Working memory for distances of blocks of two sets. */
typedef struct work {
    double *a, *b;             /* [BLOCK, dim] */
    double *norms_a, *norms_b; /* [BLOCK] squared */
    double *distances;         /* [BLOCK, BLOCK] squared */
} work;

static bool make_work(work *w, size_t dim, dt_error *error)
{
    w->a = malloc(BLOCK * dim * sizeof *w->a);
    w->b = malloc(BLOCK * dim * sizeof *w->b);
    w->norms_a = malloc(BLOCK * sizeof *w->norms_a);
    w->norms_b = malloc(BLOCK * sizeof *w->norms_b);
    w->distances = malloc((size_t)BLOCK * BLOCK * sizeof *w->distances);
    return (w->a && w->b && w->norms_a && w->norms_b && w->distances) ||
           dt_fail(error, "no memory for %d rows of %zu features", BLOCK, dim);
}

static void free_work(work *w)
{
    free(w->a);
    free(w->b);
    free(w->norms_a);
    free(w->norms_b);
    free(w->distances);
}

static size_t part_of(dt_feature_rows f, size_t first)
{
    return f.n - first < BLOCK ? f.n - first : BLOCK;
}

/* Rows first .. of a set, and their norms, by the products that the distances are made of: so equal rows are at
 * distance 0. */
static bool take(double *to, double *norms, dt_feature_rows f, size_t first, dt_error *error)
{
    double squares[NORMS * NORMS];
    size_t count = part_of(f, first);
    for (size_t i = 0; i < count * f.dim; i++)
        to[i] = (double)f.rows[first * f.dim + i];
    for (size_t i = 0; i < count; i += NORMS) {
        size_t part = count - i < NORMS ? count - i : NORMS;
        if (!dt_inner_products(to + i * f.dim, part, to + i * f.dim, part, f.dim, squares, error))
            return false;
        for (size_t r = 0; r < part; r++)
            norms[i + r] = squares[r * part + r];
    }
    return true;
}

/* Squared distances of w->a and w->b. */
static bool find_distances(work *w, size_t rows, size_t columns, size_t dim, dt_error *error)
{
    if (!dt_inner_products(w->a, rows, w->b, columns, dim, w->distances, error))
        return false;
#pragma omp parallel for if (rows * columns > 1 << 18)
    for (size_t i = 0; i < rows; i++) {
        double *row = w->distances + i * columns, norm = w->norms_a[i];
        for (size_t j = 0; j < columns; j++)
            row[j] = fmax(0, norm + w->norms_b[j] - 2 * row[j]);
    }
    return true;
}

/* Keeps the k smallest distances, in ascending order; the one numbered `but` is left out. */
static void keep_nearest(double *nearest, size_t k, const double *distances, size_t count, size_t but)
{
    for (size_t j = 0; j < count; j++) {
        if (!(distances[j] < nearest[k - 1]) || j == but)
            continue;
        size_t at = k - 1;
        for (; at && nearest[at - 1] > distances[j]; at--)
            nearest[at] = nearest[at - 1];
        nearest[at] = distances[j];
    }
}

/* The radii of the rows of w->a, which are those of the set from `first` on. */
static bool find_radii(work *w, dt_feature_rows f, size_t first, size_t k, double *radii, dt_error *error)
{
    size_t rows = part_of(f, first);
    double *nearest = malloc(rows * k * sizeof *nearest);
    bool good = nearest || dt_fail(error, "no memory for %zu neighbours of %zu rows", k, rows);
    for (size_t i = 0; good && i < rows * k; i++)
        nearest[i] = INFINITY;
    for (size_t at = 0; good && at < f.n; at += BLOCK) {
        size_t columns = part_of(f, at);
        good = take(w->b, w->norms_b, f, at, error) && find_distances(w, rows, columns, f.dim, error);
#pragma omp parallel for if (rows * columns > 1 << 18)
        for (size_t i = 0; i < (good ? rows : 0); i++)
            keep_nearest(nearest + i * k, k, w->distances + i * columns, columns, at == first ? i : SIZE_MAX);
    }
    for (size_t i = 0; good && i < rows; i++)
        radii[i] = nearest[i * k + k - 1];
    free(nearest);
    return good;
}

bool dt_manifold_radii(dt_feature_rows f, size_t k, double *radii, dt_error *error)
{
    if (!k || k > DT_MANIFOLD_K_MOST || k >= f.n || !f.dim)
        return dt_fail(error, "%zu rows have no %zu nearest neighbours; expected 1 to %d of them, and more rows than that", f.n,
                       k, DT_MANIFOLD_K_MOST);
    work w = {0};
    bool good = dt_rows_check("row", f.rows, f.n, f.dim, error) && make_work(&w, f.dim, error);
    for (size_t first = 0; good && first < f.n; first += BLOCK)
        good = take(w.a, w.norms_a, f, first, error) && find_radii(&w, f, first, k, radii + first, error);
    free_work(&w);
    return good;
}

static bool is_inside(const double *distances, const double *radii, size_t count)
{
    for (size_t j = 0; j < count; j++)
        if (distances[j] <= radii[j])
            return true;
    return false;
}

/* How many of the rows of w->a are inside a ball. */
static bool count_inside(work *w, size_t rows, dt_feature_rows f, const double *radii, size_t *count, dt_error *error)
{
    bool inside[BLOCK] = {0};
    for (size_t at = 0; at < f.n; at += BLOCK) {
        size_t columns = part_of(f, at);
        if (!take(w->b, w->norms_b, f, at, error) || !find_distances(w, rows, columns, f.dim, error))
            return false;
#pragma omp parallel for if (rows * columns > 1 << 18)
        for (size_t i = 0; i < rows; i++)
            inside[i] = inside[i] || is_inside(w->distances + i * columns, radii + at, columns);
    }
    for (size_t i = 0; i < rows; i++)
        *count += inside[i];
    return true;
}

bool dt_manifold_share(dt_feature_rows f, const double *radii, dt_feature_rows queries, double *share, dt_error *error)
{
    if (f.dim != queries.dim || !f.dim || !queries.n)
        return dt_fail(error, "features of width %zu and %zu queries of width %zu cannot be compared", f.dim, queries.n,
                       queries.dim);
    work w = {0};
    size_t count = 0;
    bool good = dt_rows_check("row", queries.rows, queries.n, queries.dim, error) && make_work(&w, f.dim, error);
    for (size_t first = 0; good && first < queries.n; first += BLOCK)
        good =
            take(w.a, w.norms_a, queries, first, error) && count_inside(&w, part_of(queries, first), f, radii, &count, error);
    *share = good ? (double)count / (double)queries.n : NAN;
    free_work(&w);
    return good;
}
