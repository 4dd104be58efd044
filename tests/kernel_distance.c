/* KID and CMMD: against float64 references, across blocks, of equal sets, bad input. */
#include "eval/kernel_distance.h"

#include "data/shuffle.h"
#include "tests/distances_golden.h"

static dt_error error;

static void check_stored(void)
{
    dt_safetensors *file = stored_open();
    for (int i = 0; file && i < STORED_CASES; i++) {
        const stored_case c = stored_read(file, stored_names[i]);
        dt_kid kid, back;
        double cmmd = NAN, zero = NAN;
        ok(dt_kid_distance(c.a, c.b, 5, 1, &kid, &error) && dt_kid_distance(c.b, c.a, 5, 1, &back, &error) &&
               dt_cmmd_distance(c.a, c.b, &cmmd, &error) && dt_cmmd_distance(c.a, c.a, &zero, &error),
           "%s: kernel distances", stored_names[i]);
        close_to(stored_names[i], "KID", kid.value, c.kid, fabs(c.kid), 1e-9);
        close_to(stored_names[i], "KID the other way round", back.value, kid.value, fabs(c.kid), 1e-9);
        close_to(stored_names[i], "CMMD", cmmd, c.cmmd, 1000, 1e-13);
        close_to(stored_names[i], "CMMD to itself", zero, 0, 1000, 1e-13);
        size_t least = c.a.n < c.b.n ? c.a.n : c.b.n;
        ok(kid.subsets == 5 && kid.subset == least / 2 && kid.deviation > 0, "%s: 5 subsets of %zu rows", stored_names[i],
           kid.subset);
    }
    dt_safetensors_close(file);
}

static double cubic(const float *x, const float *y, size_t dim)
{
    double sum = 0;
    for (size_t j = 0; j < dim; j++)
        sum += (double)x[j] * (double)y[j];
    sum = sum / (double)dim + 1;
    return sum * sum * sum;
}

/* More rows than a block holds: the same as pair by pair. */
static void check_blocks(size_t n, size_t m, size_t dim)
{
    float *a = malloc(n * dim * sizeof *a), *b = malloc(m * dim * sizeof *b);
    for (size_t i = 0; i < n * dim; i++)
        a[i] = (float)dt_uniform(1, i, 0);
    for (size_t i = 0; i < m * dim; i++)
        b[i] = (float)dt_uniform(2, i, 0) * 1.05F;
    double aa = 0, bb = 0, ab = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            aa += i == j ? 0 : cubic(a + i * dim, a + j * dim, dim);
    for (size_t i = 0; i < m; i++)
        for (size_t j = 0; j < m; j++)
            bb += i == j ? 0 : cubic(b + i * dim, b + j * dim, dim);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < m; j++)
            ab += cubic(a + i * dim, b + j * dim, dim);
    double x = (double)n, y = (double)m, want = aa / (x * (x - 1)) + bb / (y * (y - 1)) - 2 * ab / (x * y);
    dt_kid kid, again, other;
    const dt_feature_rows f = {a, n, dim}, g = {b, m, dim};
    ok(dt_kid_distance(f, g, 8, 7, &kid, &error) && dt_kid_distance(f, g, 8, 7, &again, &error) &&
           dt_kid_distance(f, g, 8, 8, &other, &error),
       "%zu and %zu rows", n, m);
    close_to("blocks", "KID", kid.value, want, 1, 1e-12);
    ok(!memcmp(&kid, &again, sizeof kid) && other.mean != kid.mean && other.value == kid.value,
       "a pure function of the seed, which only the subsets depend on");
    ok(kid.subset == DT_KID_SUBSET && fabs(kid.mean - kid.value) < 3 * kid.deviation,
       "subsets of %zu scatter around it (%.3g, mean %.3g, deviation %.3g)", kid.subset, kid.value, kid.mean, kid.deviation);
    free(a);
    free(b);
}

static void check_edges(void)
{
    float rows[6] = {1, 0, 0, 1, 0, 0};
    const dt_feature_rows two = {rows, 2, 2}, three = {rows, 3, 2}, one = {rows, 1, 2}, wide = {rows, 2, 3};
    dt_kid kid;
    double cmmd = NAN, want = 2 * (1 - exp(-0.01));
    refuse(&error, "a single row", dt_kid_distance(one, two, 0, 1, &kid, &error), "1 and 2 rows");
    refuse(&error, "another width", dt_cmmd_distance(two, wide, &cmmd, &error), "width 2 and 3");
    ok(dt_kid_distance(two, three, 0, 1, &kid, &error) && !kid.subsets && isnan(kid.deviation) && isfinite(kid.value),
       "two rows have no subsets");
    const dt_feature_rows zeros = {rows + 2, 2, 2}; /* (0, 1) and (0, 0) */
    float right[4] = {0, 1, 1, 0};
    ok(dt_cmmd_distance((dt_feature_rows){right, 2, 2}, zeros, &cmmd, &error), "a row of zeros");
    close_to("a row of zeros", "is at right angles to all", cmmd, 1000 * want / 4, 1000, 1e-13);
    rows[1] = INFINITY;
    refuse(&error, "infinity", dt_cmmd_distance(two, two, &cmmd, &error), "row 0 is not finite");
    ok(isnan(cmmd), "and gives no number");
}

int main(void)
{
    check_stored();
    check_blocks(2030, 2001, 5);
    check_edges();
    return done();
}
