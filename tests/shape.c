/* Reshaping, moving, looking up, reducing: values against the definition in float64, gradients against differences. */
#include "tests/op_check.h"

typedef struct row {
    const char *name;
    dt_tensor *(*build)(dt_tensor **x, const void *context);
    int inputs;
    dt_shape shape[3];
    /* Element i of the result, from the inputs, by the definition. */
    double (*element)(const op_run *r, size_t i);
} row;

static int64_t at(const dt_shape *s, size_t i, int64_t *index)
{
    for (int k = s->rank - 1; k >= 0; k--) {
        index[k] = (int64_t)i % s->dim[k];
        i /= (size_t)s->dim[k];
    }
    return 0;
}

static int64_t flat(const dt_shape *s, const int64_t *index)
{
    int64_t i = 0;
    for (int k = 0; k < s->rank; k++)
        i = i * s->dim[k] + index[k];
    return i;
}

OP(transpose, dt_transpose(x[0], (const int[]){2, 0, 1}))

static double transpose_element(const op_run *r, size_t i)
{
    int64_t k[DT_MAX_RANK], source[DT_MAX_RANK] = {0};
    at(&r->result->shape, i, k);
    source[2] = k[0], source[0] = k[1], source[1] = k[2];
    return r->value[0][flat(&r->c->shape[0], source)];
}

OP(slice, dt_slice(x[0], -2, 1, 2))

static double slice_element(const op_run *r, size_t i)
{
    int64_t k[DT_MAX_RANK];
    at(&r->result->shape, i, k);
    k[1] += 1;
    return r->value[0][flat(&r->c->shape[0], k)];
}

OP(pad, dt_pad(x[0], 1, 2, 1))

static double pad_element(const op_run *r, size_t i)
{
    int64_t k[DT_MAX_RANK];
    at(&r->result->shape, i, k);
    k[1] -= 2;
    bool inside = k[1] >= 0 && k[1] < r->c->shape[0].dim[1];
    return inside ? r->value[0][flat(&r->c->shape[0], k)] : 0;
}

OP(concat, dt_concat(x, 3, 1))

static double concat_element(const op_run *r, size_t i)
{
    int64_t k[DT_MAX_RANK];
    int source = 0;
    at(&r->result->shape, i, k);
    while (k[1] >= r->c->shape[source].dim[1])
        k[1] -= r->c->shape[source++].dim[1];
    return r->value[source][flat(&r->c->shape[source], k)];
}

OP(broadcast, dt_broadcast_to(x[0], dt_dims(2, 3, 5, 7)))

static double broadcast_element(const op_run *r, size_t i)
{
    int64_t k[DT_MAX_RANK];
    at(&r->result->shape, i, k);
    return r->value[0][k[1] * 7 + k[3]];
}

/* Sums over axes by mask: the element's own axes run freely, the others over all. */
static double sum_element(const op_run *r, size_t i, unsigned mask, double scale)
{
    const dt_shape *s = &r->c->shape[0];
    int64_t want[DT_MAX_RANK], k[DT_MAX_RANK], kept = 0;
    double sum = 0;
    at(&r->result->shape, i, want);
    for (size_t e = 0; e < (size_t)dt_count(s); e++) {
        bool match = true;
        at(s, e, k);
        kept = 0;
        for (int a = 0; a < s->rank; a++)
            if (!(mask >> a & 1))
                match &= k[a] == want[kept++];
        sum += match ? r->value[0][e] : 0;
    }
    return sum * scale;
}

OP(sum_last, dt_sum(x[0], 4, false))

static double sum_last_element(const op_run *r, size_t i)
{
    return sum_element(r, i, 4, 1);
}

OP(sum_first, dt_sum(x[0], 1, false))

static double sum_first_element(const op_run *r, size_t i)
{
    return sum_element(r, i, 1, 1);
}

OP(sum_ends, dt_sum(x[0], 5, false))

static double sum_ends_element(const op_run *r, size_t i)
{
    return sum_element(r, i, 5, 1);
}

OP(mean_all, dt_mean(x[0], DT_ALL, false))

static double mean_all_element(const op_run *r, size_t i)
{
    return sum_element(r, i, 7, 1.0 / (double)dt_count(&r->c->shape[0]));
}

OP(max_last, dt_max(x[0]))

static double max_last_element(const op_run *r, size_t i)
{
    int64_t n = r->c->shape[0].dim[r->c->shape[0].rank - 1];
    double most = -INFINITY;
    for (int64_t k = 0; k < n; k++)
        most = fmax(most, r->value[0][(int64_t)i * n + k]);
    return most;
}

OP(softmax, dt_softmax(x[0]))
OP(log_softmax, dt_log_softmax(x[0]))

static double log_softmax_element(const op_run *r, size_t i)
{
    int64_t n = r->c->shape[0].dim[r->c->shape[0].rank - 1], from = (int64_t)i / n * n;
    double sum = 0;
    for (int64_t k = 0; k < n; k++)
        sum += exp((double)r->value[0][from + k]);
    return r->value[0][i] - log(sum);
}

static double softmax_element(const op_run *r, size_t i)
{
    return exp(log_softmax_element(r, i));
}

OP(l2_normalize, dt_l2_normalize(x[0], 0))

static double l2_normalize_element(const op_run *r, size_t i)
{
    int64_t n = r->c->shape[0].dim[r->c->shape[0].rank - 1], from = (int64_t)i / n * n;
    double sum = 0;
    for (int64_t k = 0; k < n; k++)
        sum += (double)r->value[0][from + k] * r->value[0][from + k];
    return r->value[0][i] / sqrt(sum);
}

OP(linear, dt_linear(x[0], x[1], x[2]))

static double linear_element(const op_run *r, size_t i)
{
    int64_t out = r->c->shape[1].dim[0], in = r->c->shape[1].dim[1], row_ = (int64_t)i / out, o = (int64_t)i % out;
    double sum = r->value[2][o];
    for (int64_t k = 0; k < in; k++)
        sum += (double)r->value[0][row_ * in + k] * r->value[1][o * in + k];
    return sum;
}

/* y = gelu(x w^T + b) + x: everything that the planner can put into a linear layer. */
OP(fused, dt_add(dt_gelu(dt_linear(x[0], x[1], x[2])), x[0]))

static double fused_element(const op_run *r, size_t i)
{
    double h = linear_element(r, i);
    return h / 2 * (1 + erf(h / sqrt(2))) + r->value[0][i];
}

OP(matmul_tt, dt_matmul(x[0], x[1], true, true))

static double matmul_tt_element(const op_run *r, size_t i)
{
    const dt_shape *a = &r->c->shape[0], *b = &r->c->shape[1];
    int64_t m = a->dim[2], k = a->dim[1], n = b->dim[1], batch = (int64_t)i / (m * n);
    int64_t row_ = (int64_t)i / n % m, column = (int64_t)i % n;
    double sum = 0;
    for (int64_t e = 0; e < k; e++)
        sum += (double)r->value[0][batch * m * k + e * m + row_] * r->value[1][batch * n * k + column * k + e];
    return sum;
}

OP(matmul_tn, dt_matmul(x[0], dt_transpose(x[1], (const int[]){0, 2, 1}), true, false))

static const row table[] = {
    {"transpose", transpose, 1, {dt_dims(3, 5, 7)}, transpose_element},
    {"slice", slice, 1, {dt_dims(3, 5, 7)}, slice_element},
    {"pad", pad, 1, {dt_dims(3, 5, 7)}, pad_element},
    {"concat", concat, 3, {dt_dims(3, 1, 7), dt_dims(3, 5, 7), dt_dims(3, 2, 7)}, concat_element},
    {"broadcast", broadcast, 1, {dt_dims(3, 1, 7)}, broadcast_element},
    {"sum over the last axis", sum_last, 1, {dt_dims(3, 5, 4099)}, sum_last_element},
    {"sum over the first axis", sum_first, 1, {dt_dims(301, 5, 17)}, sum_first_element},
    {"sum over both ends", sum_ends, 1, {dt_dims(13, 5, 17)}, sum_ends_element},
    {"sum of one row", sum_first, 1, {dt_dims(1, 1, 1)}, sum_first_element},
    {"mean of all", mean_all, 1, {dt_dims(3, 5, 101)}, mean_all_element},
    {"max", max_last, 1, {dt_dims(3, 5, 37)}, max_last_element},
    {"softmax", softmax, 1, {dt_dims(5, 37)}, softmax_element},
    {"softmax of one", softmax, 1, {dt_dims(5, 1)}, softmax_element},
    {"log_softmax", log_softmax, 1, {dt_dims(5, 37)}, log_softmax_element},
    {"l2_normalize", l2_normalize, 1, {dt_dims(5, 19)}, l2_normalize_element},
    {"linear", linear, 3, {dt_dims(2, 5, 13), dt_dims(7, 13), dt_dims(7)}, linear_element},
    {"linear of one", linear, 3, {dt_dims(1, 1), dt_dims(1, 1), dt_dims(1)}, linear_element},
    {"linear, gelu and residual", fused, 3, {dt_dims(5, 13), dt_dims(13, 13), dt_dims(13)}, fused_element},
    {"matmul, both transposed", matmul_tt, 2, {dt_dims(3, 5, 7), dt_dims(3, 11, 5)}, matmul_tt_element},
    {"matmul of transposed", matmul_tn, 2, {dt_dims(1, 5, 7), dt_dims(1, 11, 5)}, matmul_tt_element},
};

/* Differences would step over to another maximum; the definition is simple enough. */
static void check_max_gradient(const op_run *r)
{
    size_t n = (size_t)r->c->shape[0].dim[r->c->shape[0].rank - 1], wrong = 0;
    for (size_t i = 0; i < r->count * n; i++)
        wrong += r->dx[0][i] != (r->value[0][i] == r->y[i / n] ? r->dy[i / n] : 0);
    ok(wrong == 0, "the gradient goes to the maximum (%zu wrong)", wrong);
}

static void check(const row *t)
{
    op_case c = {.name = t->name, .build = t->build, .inputs = t->inputs};
    memcpy(c.shape, t->shape, sizeof t->shape);
    op_run r;
    if (ok(op_start(&r, &c, NULL), "%s runs", t->name)) {
        double worst = 0;
        for (size_t i = 0; i < r.count; i++) {
            double want = t->element(&r, i);
            worst = larger(worst, fabs(r.y[i] - want) / fmax(1, fabs(want)));
        }
        /* Sums of thousands of terms of size 1: 128 additions in float32 a stretch and lane, 2^-24 each. */
        double tolerance = strstr(t->name, "sum") ? 128 * 0x1p-24 : 2e-6;
        ok(worst <= tolerance, "%s agrees with float64 (%.1e)", t->name, worst);
        if (t->build == max_last)
            check_max_gradient(&r);
        else
            op_differences(&r);
    }
    op_end(&r);
}

OP(embedding, dt_embedding(x[0], x[1]))
OP(gather, dt_gather(x[0], x[1]))
OP(argmax_int, dt_argmax_int(x[0]))
OP(argmax, dt_argmax(x[0]))

/* Rows of all lengths up to some stretches of the kernel; values from few levels, so that maxima repeat; then with NaNs. */
static void check_argmax(void)
{
    enum { ROWS = 37 };
    const int64_t lengths[] = {1, 5, 16, 127, 128, 300, 512};
    for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
        int64_t n = lengths[l];
        op_case c = {.name = "argmax", .build = argmax, .inputs = 1, .shape = {dt_dims(ROWS, n)}};
        op_run r;
        bool ran = ok(op_start(&r, &c, NULL), "argmax of %d runs", (int)n);
        for (int nans = 0; ran && nans < 2; nans++) {
            for (int64_t i = 0; i < ROWS * n; i++)
                r.value[0][i] = nans && i % 61 == 60 ? NAN : i % n == 0 ? -INFINITY : rintf(3 * r.value[0][i]);
            op_again(&r);
            int wrong = 0;
            for (int64_t row_ = 0; row_ < ROWS; row_++) {
                const float *x = r.value[0] + row_ * n;
                int32_t best = 0;
                for (int32_t i = 1; i < n; i++)
                    best = !isnan(x[best]) && (isnan(x[i]) || x[i] > x[best]) ? i : best;
                wrong += ((const int32_t *)r.y)[row_] != best;
            }
            ok(wrong == 0, "the first largest of %d%s (%d wrong)", (int)n, nans ? " with NaNs" : "", wrong);
        }
        op_end(&r);
    }
}

OP(times_stopped, dt_mul(x[0], dt_stop_gradient(x[0])))

static void check_stop_gradient(void)
{
    op_case c = {.name = "stop_gradient", .build = times_stopped, .inputs = 1, .shape = {dt_dims(3, 5)}};
    op_run r;
    if (ok(op_start(&r, &c, NULL), "stop_gradient runs")) {
        int wrong = 0;
        for (int i = 0; i < 15; i++) {
            float x = r.value[0][i];
            wrong += r.y[i] != x * x || r.dx[0][i] != x * r.dy[i];
        }
        ok(wrong == 0, "x stop(x) is x^2, its derivative x (%d wrong)", wrong);
    }
    op_end(&r);
}

/* A kernel on a device cannot say what the bad number was. */
static void check_alarm(const char *message, const char *op, const char *what, int position, int last)
{
    char want[128];
    snprintf(want, sizeof want, "%s: %s at position %d is outside 0..%d", op, op_backend() == dt_cpu() ? what : "the index", position,
             last);
    ok(message && !strcmp(message, want), "a bad id stops the run: %s", message ? message : "none");
}

static void check_lookups(void)
{
    const int32_t ids[] = {4, 0, 4, 2, 4, 0, 10, 3, 3, 3}, bad[] = {4, 0, 11, 2, 4, 0, 10, 3, 3, 3};
    op_case c = {.name = "embedding", .build = embedding, .inputs = 2, .shape = {dt_dims(11, 67), dt_dims(2, 5)},
                 .dtype = {DT_F32, DT_I32}, .value = {NULL, ids}};
    op_run r;
    if (ok(op_start(&r, &c, NULL), "embedding runs")) {
        for (int i = 0; i < 10; i++)
            near("embedding row", r.y + i * 67, r.value[0] + ids[i] * 67, 67, 0);
        op_differences(&r);
        memcpy(r.value[1], bad, sizeof bad);
        const char *message = op_again(&r);
        check_alarm(message, "embedding", "index 11", 2, 10);
    }
    op_end(&r);
    const int32_t index[] = {2, 0, 4}, outside[] = {2, -1, 5};
    op_case g = {.name = "gather", .build = gather, .inputs = 2, .shape = {dt_dims(3, 5, 7), dt_dims(3)},
                 .dtype = {DT_F32, DT_I32}, .value = {NULL, index}};
    if (ok(op_start(&r, &g, NULL), "gather runs")) {
        for (int i = 0; i < 3; i++)
            near("gathered row", r.y + i * 7, r.value[0] + (i * 5 + index[i]) * 7, 7, 0);
        op_differences(&r);
        memcpy(r.value[1], outside, sizeof outside);
        check_alarm(op_again(&r), "gather", "index -1", 1, 4);
        memcpy(r.value[1], index, sizeof index);
        ok(!op_again(&r), "and good ones are good again");
    }
    op_end(&r);
    const int32_t tokens[] = {5, 9, 1, 9, 7, 7, 7, 7};
    op_case a = {.name = "argmax", .build = argmax_int, .inputs = 1, .shape = {dt_dims(2, 4)}, .dtype = {DT_I32},
                 .value = {tokens}};
    if (ok(op_start(&r, &a, NULL), "argmax runs")) {
        const int32_t *y = (const int32_t *)r.y;
        ok(y[0] == 1 && y[1] == 0, "the first of equal maxima counts (%d, %d)", y[0], y[1]);
    }
    op_end(&r);
}

OP(bad_reshape, dt_reshape(x[0], dt_dims(4, -1)))
OP(bad_slice, dt_slice(x[0], 0, 1, INT64_MAX))
OP(bad_linear, dt_linear(x[0], dt_reshape(x[0], dt_dims(3, 2)), NULL))
OP(huge, dt_broadcast_to(x[0], dt_dims(1LL << 40, 2, 3)))

static void check_refusals(void)
{
    const struct {
        dt_tensor *(*build)(dt_tensor **x, const void *context);
        const char *text;
    } bad[] = {{bad_reshape, "reshape: [2, 3] cannot become"},
               {bad_slice, "is not inside [2, 3]"},
               {bad_linear, "linear: x [2, 3] does not go with"},
               {huge, "element count at most"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        op_case c = {.name = "bad", .build = bad[i].build, .inputs = 1, .shape = {dt_dims(2, 3)}};
        op_run r;
        bool started = op_start(&r, &c, NULL);
        ok(!started && r.error && strstr(r.error, bad[i].text), "refused: %s", r.error ? r.error : "it ran");
        op_end(&r);
    }
}

int main(void)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        check(&table[i]);
    check_lookups();
    check_argmax();
    check_stop_gradient();
    check_refusals();
    return done();
}
