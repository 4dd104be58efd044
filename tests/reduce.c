/* Reductions of lengths at which kernels change what they do: past a warp, a block, a part of a row or of a column, and
 * past the parts of parts. tests/shape.c has the short ones and the gradients. */
#include "tests/op_check.h"

typedef struct row {
    const char *name;
    dt_tensor *(*build)(dt_tensor **x, const void *context);
    dt_shape shape;
    double tolerance; /* relative to max(1, |y|) */
} row;

/* Over axis 1, seen as [outer, reduced, inner]. */
OP(sum, dt_sum(x[0], 2, false))
OP(sum_ends, dt_sum(x[0], 5, false))
OP(largest, dt_max(x[0]))
OP(softmax, dt_softmax(x[0]))
OP(log_softmax, dt_log_softmax(x[0]))
OP(argmax, dt_argmax(x[0]))

/* A stretch of 128 float32 terms is added with an error of at most 128 x 2^-24 of the sum of their magnitudes, whatever the order; longer
 * stretches of random signs stay below that too. */
static const row table[] = {
    {"sum of short rows", sum, dt_dims(700, 3, 1), 0x1p-17},
    {"sum of one warp's rows", sum, dt_dims(19, 1024, 1), 0x1p-17},
    {"sum of a block's rows", sum, dt_dims(19, 1025, 1), 0x1p-17},
    {"sum of one part", sum, dt_dims(2, 16384, 1), 0x1p-17},
    {"sum of parts of rows", sum, dt_dims(2, 40001, 1), 0x1p-17},
    {"sum of all", sum, dt_dims(1, 150001, 1), 0x1p-17},
    {"sum of columns", sum, dt_dims(3, 511, 33), 0x1p-17},
    {"sum of parts of columns", sum, dt_dims(2, 1300, 65), 0x1p-17},
    {"sum of narrow columns", sum, dt_dims(1, 5000, 2), 0x1p-17},
    {"sum of parts of parts", sum, dt_dims(1, 262145, 2), 0x1p-17},
    {"sum of ends", sum_ends, dt_dims(1100, 3, 1200), 0x1p-17},
    {"max of long rows", largest, dt_dims(3, 5, 1025), 0},
    {"max of one row", largest, dt_dims(1, 1, 30011), 0},
    {"softmax of a warp's rows", softmax, dt_dims(9, 1024), 1e-6},
    {"softmax of long rows", softmax, dt_dims(3, 1025), 1e-6},
    {"log_softmax of long rows", log_softmax, dt_dims(3, 2500), 2e-6},
    {"argmax of long rows", argmax, dt_dims(5, 1300), 0},
};

/* The sums, and those of the magnitudes, which errors are in proportion to. */
static void want_sum(const row *t, const float *x, double *want, double *size)
{
    const int64_t *d = t->shape.dim;
    bool ends = t->build == sum_ends;
    for (int64_t i = 0; i < d[0] * d[1] * d[2]; i++) {
        int64_t to = ends ? i / d[2] % d[1] : i / (d[1] * d[2]) * d[2] + i % d[2];
        want[to] += (double)x[i];
        size[to] += fabs((double)x[i]);
    }
}

static void want_row(const row *t, const float *x, int64_t n, double *want)
{
    double total = 0;
    int64_t best = 0;
    for (int64_t k = 0; k < n; k++) {
        total += exp((double)x[k]);
        best = x[k] > x[best] ? k : best;
    }
    if (t->build == largest || t->build == argmax)
        want[0] = t->build == largest ? x[best] : (double)best;
    for (int64_t k = 0; k < n && (t->build == softmax || t->build == log_softmax); k++)
        want[k] = t->build == softmax ? exp((double)x[k]) / total : x[k] - log(total);
}

static void check(const row *t)
{
    op_case c = {.name = t->name, .build = t->build, .inputs = 1, .shape = {t->shape}};
    op_run r;
    if (!ok(op_start(&r, &c, NULL), "%s runs", t->name)) {
        op_end(&r);
        return;
    }
    int64_t n = t->shape.dim[t->shape.rank - 1], rows = dt_count(&t->shape) / n, each = (int64_t)r.count / rows;
    double *want = calloc(r.count, sizeof *want), *size = calloc(r.count, sizeof *size), worst = 0;
    if (t->build == sum || t->build == sum_ends)
        want_sum(t, r.value[0], want, size);
    else
        for (int64_t i = 0; i < rows; i++)
            want_row(t, r.value[0] + i * n, n, want + i * each);
    for (size_t i = 0; i < r.count; i++) {
        double got = t->build == argmax ? (double)((const int32_t *)r.y)[i] : (double)r.y[i];
        double error = fabs(got - want[i]) / fmax(1, fmax(size[i], fabs(want[i])));
        worst = larger(worst, error);
    }
    ok(worst <= t->tolerance, "%s agrees with float64 (%.1e)", t->name, worst);
    float *before = malloc(sizeof *before * r.count);
    memcpy(before, r.y, sizeof *before * r.count);
    op_again(&r);
    ok(!memcmp(before, r.y, sizeof *before * r.count), "and has the same bits again");
    free(before);
    free(want);
    free(size);
    op_end(&r);
}

int main(void)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        check(&table[i]);
    return done();
}
