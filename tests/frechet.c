/* The Frechet distance: against float64 references, closed forms, singular covariances, bad input; and the products and
 * singular values that it is made of. */
#include "eval/frechet.h"

#include "data/shuffle.h"
#include "eval/products.h"
#include "eval/singular.h"
#include "tests/distances_golden.h"

static dt_error error;

/* Uniform on -1 .. 1. */
static void fill(double *values, size_t n, uint64_t seed)
{
    for (size_t i = 0; i < n; i++)
        values[i] = 2 * dt_uniform(seed, i, n) - 1;
}

static double distance_of(const float *a, size_t n, const float *b, size_t m, size_t dim)
{
    dt_gaussian g, h = {0};
    double distance = NAN;
    bool good = dt_gaussian_fit(&g, a, n, dim, &error) && dt_gaussian_fit(&h, b, m, dim, &error) &&
                dt_frechet_distance(&g, &h, &distance, &error);
    dt_gaussian_free(&g);
    dt_gaussian_free(&h);
    return good ? distance : NAN;
}

static void check_stored(void)
{
    dt_safetensors *file = stored_open();
    for (int i = 0; file && i < STORED_CASES; i++) {
        const stored_case c = stored_read(file, stored_names[i]);
        double there = distance_of(c.a.rows, c.a.n, c.b.rows, c.b.n, c.a.dim),
               back = distance_of(c.b.rows, c.b.n, c.a.rows, c.a.n, c.a.dim);
        close_to(stored_names[i], "distance", there, c.frechet, c.frechet, 1e-9);
        close_to(stored_names[i], "the other way round", back, there, there, 1e-11);
        double zero = distance_of(c.a.rows, c.a.n, c.a.rows, c.a.n, c.a.dim);
        close_to(stored_names[i], "to itself", zero, 0, c.frechet, 1e-11);
    }
    if (file) { /* the Gaussians themselves, in float64 */
        const stored_case c = stored_read(file, "full");
        dt_feature_rows shape;
        dt_gaussian g = {.mean = (double *)stored(file, "mean_a", "", NULL)},
                    h = {.mean = (double *)stored(file, "mean_b", "", NULL)};
        g.covariance = (double *)stored(file, "covariance_a", "", &shape);
        h.covariance = (double *)stored(file, "covariance_b", "", NULL);
        g.dim = h.dim = shape.dim;
        double distance = NAN;
        ok(dt_frechet_distance(&g, &h, &distance, &error), "Gaussians are taken as they are");
        close_to("full", "distance of Gaussians", distance, c.frechet, c.frechet, 1e-12);
    }
    dt_safetensors_close(file);
}

/* Diagonal covariances: |m1 - m2|^2 + sum of (s1 - s2)^2 of the standard deviations. Some are 0. */
static void check_diagonal(size_t dim, double smallest)
{
    dt_gaussian g = {dim, calloc(dim, sizeof(double)), calloc(dim * dim, sizeof(double))},
                h = {dim, calloc(dim, sizeof(double)), calloc(dim * dim, sizeof(double))};
    double want = 0, trace = 0, got = NAN;
    for (size_t i = 0; i < dim; i++) {
        double size = pow(smallest, (double)i / (double)dim), a = i % 5 == 3 ? 0 : size * (1 + dt_uniform(1, i, 0)),
               b = i % 7 == 2 ? 0 : size * (1 + dt_uniform(2, i, 0));
        g.mean[i] = size * dt_uniform(3, i, 0);
        h.mean[i] = -size;
        g.covariance[i * dim + i] = a * a;
        h.covariance[i * dim + i] = b * b;
        want += (a - b) * (a - b) + (g.mean[i] + size) * (g.mean[i] + size);
        trace += a * a + b * b;
    }
    char name[64];
    snprintf(name, sizeof name, "%zu deviations from 2 down to %.0e", dim, smallest);
    ok(dt_frechet_distance(&g, &h, &got, &error), "%s have a distance", name);
    close_to(name, "the closed form", got, want, trace, 1e-13);
    double zero = NAN;
    ok(dt_frechet_distance(&g, &g, &zero, &error) && zero >= 0, "%s: and to themselves", name);
    close_to(name, "0", zero, 0, trace, 1e-13);
    dt_gaussian_free(&g);
    dt_gaussian_free(&h);
}

/* A shift of all rows adds its square, and nothing else; so it is for fewer rows than features, and blocks of rows. */
static void check_shift(size_t n, size_t dim)
{
    float *a = malloc(n * dim * sizeof *a), *b = malloc(n * dim * sizeof *b);
    for (size_t i = 0; i < n * dim; i++) {
        a[i] = (float)((int)(dt_hash64(5, i, 0) % 2001) - 1000) / 256;
        b[i] = a[i] + (i % dim == 1 ? 3.0F : 0.5F);
    }
    char name[64];
    snprintf(name, sizeof name, "%zu rows of %zu", n, dim);
    double want = (double)(dim - 1) * 0.25 + 9;
    close_to(name, "a shift's square", distance_of(a, n, b, n, dim), want, (double)dim * 10, 1e-12);
    free(a);
    free(b);
}

static void check_products(size_t m, size_t n, size_t depth)
{
    double *a = malloc(m * depth * sizeof *a), *b = malloc(n * depth * sizeof *b), *c = malloc(m * n * sizeof *c),
           *d = malloc(m * n * sizeof *d), worst = 0;
    fill(a, m * depth, 1);
    fill(b, n * depth, 2);
    memcpy(b, a + (m - 1) * depth, depth * sizeof *b);
    ok(dt_inner_products(a, m, b, n, depth, c, &error) && dt_inner_products(b, n, a, m, depth, d, &error),
       "products of %zu x %zu x %zu", m, n, depth);
    bool mirrored = true;
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < n; j++) {
            double sum = 0;
            for (size_t k = 0; k < depth; k++)
                sum += a[i * depth + k] * b[j * depth + k];
            worst = larger(worst, fabs(sum - c[i * n + j]));
            mirrored = mirrored && c[i * n + j] == d[j * m + i];
        }
    ok(worst <= 1e-13 * (double)depth, "are right (worst %.2g)", worst);
    ok(mirrored, "and those of b and a are their mirror image, to the bit");
    free(a);
    free(b);
    free(c);
    free(d);
}

/* Columns at right angles, of lengths 1, 1/2, 1/4 ..., turned by a reflection: the lengths are the singular values. */
static void check_nuclear(size_t m, size_t n, double scale)
{
    double *a = calloc(m * n, sizeof *a), *h = malloc(m * sizeof *h), squares = 0, want = 0, got = NAN;
    fill(h, m, 3);
    for (size_t i = 0; i < m; i++)
        squares += h[i] * h[i];
    for (size_t j = 0; j < n; j++) {
        double length = scale * pow(0.5, (double)(j % 60));
        want += length;
        for (size_t i = 0; i < m; i++)
            a[i * n + j] = length * ((i == j) - 2 * h[i] * h[j] / squares);
    }
    ok(dt_nuclear_norm(a, m, n, &got, &error) && fabs(got - want) <= 1e-13 * scale * (double)n,
       "singular values of %zu x %zu, the largest %.0e (%.17g, want %.17g)", m, n, scale, got, want);
    free(a);
    free(h);
}

static void check_refused(void)
{
    float rows[4] = {1, 2, 3, 4};
    dt_gaussian g;
    refuse(&error, "a single row", dt_gaussian_fit(&g, rows, 1, 4, &error), "1 rows of 4 features");
    refuse(&error, "too many features", dt_gaussian_fit(&g, rows, 2, 4097, &error), "4097");
    rows[2] = NAN;
    refuse(&error, "a row that is no number", dt_gaussian_fit(&g, rows, 2, 2, &error), "row 1 is not finite");
    dt_gaussian_free(&g);
    double mean[2] = {0, 0}, one[4] = {1, 0, 0, 1}, negative[4] = {1, 2, 2, 1}, infinite[4] = {1, 0, 0, INFINITY}, distance;
    const dt_gaussian plain = {2, mean, one}, narrow = {1, mean, one}, odd = {2, mean, negative}, wild = {2, mean, infinite};
    refuse(&error, "another width", dt_frechet_distance(&plain, &narrow, &distance, &error), "2 and 1 features");
    refuse(&error, "a negative eigenvalue", dt_frechet_distance(&odd, &plain, &distance, &error), "negative eigenvalue");
    refuse(&error, "infinity", dt_frechet_distance(&plain, &wild, &distance, &error), "not finite");
}

int main(void)
{
    check_products(1, 1, 1);
    check_products(25, 33, 7);
    check_products(70, 129, 1100);
    check_nuclear(1, 1, 5);
    check_nuclear(40, 40, 1);
    check_nuclear(300, 17, 1e200);
    check_nuclear(260, 250, 1e-200);
    check_stored();
    check_diagonal(1, 1);
    check_diagonal(37, 1e-3);
    check_diagonal(200, 1e-12);
    check_shift(2, 3);
    check_shift(20, 90);
    check_shift(1030, 70);
    check_refused();
    return done();
}
