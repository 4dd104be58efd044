/* Matrix products against sums in float64: transposes, batches, odd sizes, and all that a linear layer does on its way out;
 * gradients against differences. Where products of bfloat16 are, they have rows of their own. */
#include "tests/op_check.h"

/* ---- matmul ---- */

typedef struct matmul_row {
    const char *name;
    int64_t batch[2]; /* leading axes; 0: none */
    int64_t m, n, k;
    bool transpose_a, transpose_b;
    dt_dtype in, out;
} matmul_row;

static const matmul_row matmul_rows[] = {
    {"a b", {0, 0}, 5, 7, 9, false, false},
    {"a^T b", {0, 0}, 5, 7, 9, true, false},
    {"a b^T", {0, 0}, 5, 7, 9, false, true},
    {"a^T b^T", {0, 0}, 5, 7, 9, true, true},
    {"a row", {0, 0}, 1, 13, 6, false, false},
    {"a column", {0, 0}, 13, 1, 6, false, true},
    {"a dot product", {0, 0}, 1, 1, 37, false, false},
    {"an outer product", {0, 0}, 6, 11, 1, true, false},
    {"one number", {0, 0}, 1, 1, 1, true, true},
    {"a batch", {3, 0}, 4, 5, 6, false, true},
    {"a batch of batches", {2, 3}, 5, 3, 7, true, false},
    {"a batch of rows", {4, 0}, 1, 9, 8, false, false},
    {"whole tiles", {0, 0}, 64, 32, 48, false, true},
};

/* a or b: the leading axes, then [rows, columns] or, transposed, [columns, rows]. */
static dt_shape matrix_shape(const matmul_row *row, int64_t rows, int64_t columns, bool transpose)
{
    dt_shape s = {0};
    for (int i = 0; i < 2; i++)
        if (row->batch[i])
            s.dim[s.rank++] = row->batch[i];
    s.dim[s.rank++] = transpose ? columns : rows;
    s.dim[s.rank++] = transpose ? rows : columns;
    return s;
}

static dt_tensor *build_matmul(dt_tensor **x, const void *context)
{
    const matmul_row *row = context;
    return dt_matmul(x[0], x[1], row->transpose_a, row->transpose_b);
}

/* Returns the largest sum of |a| |b|, by which a sum of products in float32 may be off by k 2^-24. */
static double multiply(const matmul_row *row, const float *a, const float *b, float *y)
{
    int64_t m = row->m, n = row->n, k = row->k, batch = 1;
    double most = 0;
    for (int i = 0; i < 2; i++)
        batch *= row->batch[i] ? row->batch[i] : 1;
    for (int64_t at = 0; at < batch * m * n; at++) {
        int64_t of = at / (m * n), r = at / n % m, c = at % n;
        double sum = 0, size = 0;
        for (int64_t i = 0; i < k; i++) {
            double left = a[of * m * k + (row->transpose_a ? i * m + r : r * k + i)];
            double product = left * b[of * k * n + (row->transpose_b ? c * k + i : i * n + c)];
            sum += product;
            size += fabs(product);
        }
        y[at] = (float)sum;
        most = fmax(most, size);
    }
    return most;
}

static void check_matmul(const matmul_row *row)
{
    op_case c = {.name = row->name, .build = build_matmul, .context = row, .inputs = 2};
    c.shape[0] = matrix_shape(row, row->m, row->k, row->transpose_a);
    c.shape[1] = matrix_shape(row, row->k, row->n, row->transpose_b);
    op_run r;
    bool started = op_start(&r, &c, NULL);
    if (ok(started, "%s runs (%s)", row->name, r.error ? r.error : "")) {
        float *want = calloc(r.count, sizeof *want);
        double size = multiply(row, r.value[0], r.value[1], want);
        near(row->name, r.y, want, r.count, (double)(row->k + 2) * 0x1p-24 * size);
        op_differences(&r);
        free(want);
    }
    op_end(&r);
}

static void check_refusals(void)
{
    dt_graph *g = dt_graph_new();
    dt_tensor *x = dt_input(g, "x", DT_F32, dt_dims(2, 3));
    dt_matmul(x, x, false, false);
    ok(dt_graph_error(g) && strstr(dt_graph_error(g), "[2, 3] and [2, 3] do not multiply"), "%s", dt_graph_error(g));
    dt_graph_free(g);
    g = dt_graph_new();
    x = dt_input(g, "x", DT_F32, dt_dims(2, 3));
    dt_linear(x, dt_input(g, "w", DT_F32, dt_dims(5, 4)), NULL);
    ok(dt_graph_error(g) && strstr(dt_graph_error(g), "does not go with a weight"), "%s", dt_graph_error(g));
    dt_graph_free(g);
}

/* ---- A graph of some inputs of either type ---- */

enum { INPUTS = 6 };

typedef struct bench {
    dt_graph *graph;
    dt_plan *plan;
    dt_tensor *x[INPUTS];
    float *value[INPUTS]; /* as the graph sees them: rounded where the input is bfloat16 */
    int inputs;
} bench;

static float from_bf16(uint16_t x)
{
    uint32_t bits = (uint32_t)x << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint16_t to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* An input of normal numbers. It is recorded as float32; set_types makes it what `type` says after recording. */
static dt_tensor *feed(bench *b, dt_dtype type, dt_shape shape)
{
    size_t count = (size_t)dt_count(&shape);
    float *value = b->value[b->inputs] = calloc(count + 1, sizeof *value);
    op_random(value, count, 40 + (uint64_t)b->inputs);
    for (size_t i = 0; i < count; i++)
        value[i] = type == DT_BF16 ? from_bf16(to_bf16(value[i])) : value[i];
    return b->x[b->inputs++] = dt_input(b->graph, "x", DT_F32, shape);
}

/* The result of a run as floats, to be freed; NULL, with a message, where it failed. */
static float *run(bench *b, const dt_tensor *y, const dt_backend *backend, const char **message)
{
    size_t count = (size_t)dt_count(&y->shape);
    b->plan = dt_plan_new(b->graph, backend, NULL);
    if (!b->plan) {
        *message = dt_graph_error(b->graph);
        return NULL;
    }
    for (int i = 0; i < b->inputs; i++) {
        size_t n = (size_t)dt_count(&b->x[i]->shape);
        uint16_t *narrow = calloc(n, sizeof *narrow);
        for (size_t k = 0; k < n; k++)
            narrow[k] = to_bf16(b->value[i][k]);
        dt_plan_write(b->plan, b->x[i], b->x[i]->dtype == DT_BF16 ? (const void *)narrow : b->value[i]);
        free(narrow);
    }
    float *wide = calloc(count, sizeof *wide);
    uint16_t *narrow = calloc(count, sizeof *narrow);
    *message = dt_plan_run(b->plan, 1, 0);
    dt_plan_read(b->plan, y, y->dtype == DT_BF16 ? (void *)narrow : wide);
    for (size_t i = 0; y->dtype == DT_BF16 && i < count; i++)
        wide[i] = from_bf16(narrow[i]);
    const char *trouble = backend->finish ? backend->finish() : NULL;
    if (trouble)
        *message = trouble;
    free(narrow);
    return wide;
}

static void end(bench *b)
{
    dt_plan_free(b->plan);
    dt_graph_free(b->graph);
    for (int i = 0; i < b->inputs; i++)
        free(b->value[i]);
}

/* ---- linear, as the planner joins it with what follows ---- */

typedef enum { NONE, GIVEN, DYING } residual; /* DYING: made by an op before, so that the result may take its place */

typedef struct linear_row {
    const char *name;
    int64_t rows, in, out;
    bool bias;
    dt_activation activation;
    residual residual;
    dt_dtype x, y, of_bias, of_residual; /* the weight's is x */
} linear_row;

#define W DT_F32
#define N DT_BF16

static const linear_row linear_rows[] = {
    {"linear", 5, 9, 7, true},
    {"linear without a bias", 5, 9, 7, false},
    {"linear, wide", 33, 20, 64, true},
    {"linear, one row", 1, 9, 8, true},
    {"linear, one column", 6, 9, 1, true},
    {"linear, depth 1", 6, 1, 5, true},
    {"relu", 5, 9, 7, true, DT_ACT_RELU},
    {"relu without a bias", 5, 9, 8, false, DT_ACT_RELU},
    {"gelu", 5, 9, 7, true, DT_ACT_GELU},
    {"gelu without a bias, by fours", 5, 9, 12, false, DT_ACT_GELU},
    {"gelu by tanh", 5, 9, 7, true, DT_ACT_GELU_TANH},
    {"quick gelu", 7, 5, 16, true, DT_ACT_QUICK_GELU},
    {"quick gelu, one column", 7, 5, 1, true, DT_ACT_QUICK_GELU},
    {"gelu by tanh, one column", 7, 5, 1, true, DT_ACT_GELU_TANH},
    {"gelu of more than a block", 150, 5, 64, true, DT_ACT_GELU},
    {"quick gelu of more than a block, odd", 150, 5, 63, true, DT_ACT_QUICK_GELU},
    {"residual", 5, 9, 7, true, DT_ACT_NONE, GIVEN},
    {"residual in place", 5, 9, 8, true, DT_ACT_NONE, DYING},
    {"residual in place, one column", 5, 9, 1, true, DT_ACT_NONE, DYING},
    {"residual in place without a bias", 5, 9, 7, false, DT_ACT_NONE, DYING},
    {"residual after gelu", 5, 9, 7, true, DT_ACT_GELU, GIVEN},
    {"residual after relu, by fours", 5, 9, 8, true, DT_ACT_RELU, GIVEN},
    {"residual after relu that dies", 5, 9, 8, true, DT_ACT_RELU, DYING},
    {"residual after gelu that dies, without a bias", 5, 9, 8, false, DT_ACT_GELU, DYING},
};

static const linear_row narrow_rows[] = {
    {"bf16: linear", 5, 9, 7, true, DT_ACT_NONE, NONE, N, N, N, N},
    {"bf16: linear without a bias", 33, 40, 24, false, DT_ACT_NONE, NONE, N, N, N, N},
    {"bf16: one column", 5, 9, 1, true, DT_ACT_NONE, NONE, N, N, N, N},
    {"bf16: one column, float32 bias", 5, 9, 1, true, DT_ACT_RELU, NONE, N, N, W, N},
    {"bf16: float32 bias", 5, 9, 7, true, DT_ACT_NONE, NONE, N, N, W, N},
    {"bf16: float32 bias, gelu", 5, 9, 8, true, DT_ACT_GELU, NONE, N, N, W, N},
    {"bf16: gelu", 5, 9, 7, true, DT_ACT_GELU, NONE, N, N, N, N},
    {"bf16: gelu by tanh", 5, 9, 7, true, DT_ACT_GELU_TANH, NONE, N, N, N, N},
    {"bf16: quick gelu, by fours", 5, 9, 20, true, DT_ACT_QUICK_GELU, NONE, N, N, N, N},
    {"bf16: quick gelu of more than a block", 150, 9, 64, true, DT_ACT_QUICK_GELU, NONE, N, N, N, N},
    {"bf16: residual", 5, 9, 7, true, DT_ACT_NONE, GIVEN, N, N, N, N},
    {"bf16: residual in place", 5, 9, 7, true, DT_ACT_NONE, DYING, N, N, N, N},
    {"bf16: residual in place, float32 bias", 5, 9, 8, true, DT_ACT_NONE, DYING, N, N, W, N},
    {"bf16: residual of float32", 5, 9, 8, true, DT_ACT_NONE, GIVEN, N, N, N, W},
    {"bf16: residual of float32 that dies", 5, 9, 7, true, DT_ACT_NONE, DYING, N, N, N, W},
    {"bf16: residual after quick gelu", 5, 9, 7, true, DT_ACT_QUICK_GELU, GIVEN, N, N, W, N},
    {"bf16 to float32: linear", 5, 9, 7, true, DT_ACT_NONE, NONE, N, W, W, W},
    {"bf16 to float32: bf16 bias", 5, 9, 7, true, DT_ACT_NONE, NONE, N, W, N, W},
    {"bf16 to float32: bf16 bias and residual", 5, 9, 8, true, DT_ACT_NONE, GIVEN, N, W, N, N},
    {"bf16 to float32: residual in place", 5, 9, 8, true, DT_ACT_NONE, DYING, N, W, N, W},
    {"bf16 to float32: gelu, bf16 residual", 5, 9, 8, true, DT_ACT_GELU, GIVEN, N, W, N, N},
};

/* The same in plans of DT_MIXED precision, whose results are float32 because the host reads them. The inputs are such that to
 * cast them loses nothing. */
static const linear_row planned_rows[] = {
    {"mixed: linear", 5, 9, 7, true, DT_ACT_NONE, NONE, N, W, N, W},
    {"mixed: quick gelu", 5, 9, 8, true, DT_ACT_QUICK_GELU, NONE, N, W, N, W},
    {"mixed: residual", 5, 9, 8, true, DT_ACT_NONE, GIVEN, N, W, N, W},
    {"mixed: residual of a product", 5, 9, 8, true, DT_ACT_NONE, DYING, N, W, N, N},
    {"mixed: residual of a product after gelu", 5, 9, 7, false, DT_ACT_GELU, DYING, N, W, N, N},
};

enum { INNER = 3 }; /* of the product that a residual comes from */

static double activate(double x, dt_activation activation)
{
    switch (activation) {
    case DT_ACT_RELU:
        return fmax(x, 0);
    case DT_ACT_GELU:
        return x / 2 * (1 + erf(x / sqrt(2)));
    case DT_ACT_GELU_TANH:
        return x / 2 * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case DT_ACT_QUICK_GELU:
        return x / (1 + exp(-1.702 * x));
    default:
        return x;
    }
}

static dt_tensor *activation_op(dt_tensor *x, dt_activation activation)
{
    switch (activation) {
    case DT_ACT_RELU:
        return dt_relu(x);
    case DT_ACT_GELU:
        return dt_gelu(x);
    case DT_ACT_GELU_TANH:
        return dt_gelu_tanh(x);
    case DT_ACT_QUICK_GELU:
        return dt_quick_gelu(x);
    default:
        return x;
    }
}

/* Records the row on b; inputs are x, weight, bias, residual or its two factors. Where the types are left to the plan, all of
 * them are float32 for now. */
static dt_tensor *record(bench *b, const linear_row *row, bool planned)
{
    dt_tensor *x = feed(b, row->x, dt_dims(row->rows, row->in)), *w = feed(b, row->x, dt_dims(row->out, row->in));
    dt_tensor *bias = row->bias ? feed(b, row->of_bias, dt_dims(row->out)) : NULL, *add = NULL;
    if (row->residual == GIVEN)
        add = feed(b, row->of_residual, dt_dims(row->rows, row->out));
    if (row->residual == DYING) {
        dt_tensor *left = feed(b, row->x, dt_dims(row->rows, INNER));
        add = dt_matmul(left, feed(b, row->x, dt_dims(INNER, row->out)), false, false);
    }
    dt_tensor *linear = dt_linear(x, w, bias), *active = activation_op(linear, row->activation);
    dt_tensor *y = dt_keep(add ? dt_add(active, add) : active);
    if (planned)
        return y;
    for (int i = 0; i < b->inputs; i++)
        b->x[i]->dtype = row->x;
    if (bias)
        bias->dtype = row->of_bias;
    if (add)
        add->dtype = row->of_residual;
    linear->dtype = active->dtype = y->dtype = row->y;
    return y;
}

/* The largest magnitudes along the way, from which the tolerance follows. */
typedef struct sizes {
    double sum, before, result, bias, residual; /* sum of |x| |w| + |bias|; before the activation; ... */
} sizes;

static sizes expect(const bench *b, const linear_row *row, float *want)
{
    const float *x = b->value[0], *w = b->value[1], *bias = row->bias ? b->value[2] : NULL;
    const float *r = row->residual ? b->value[2 + row->bias] : NULL;
    const float *q = row->residual == DYING ? b->value[3 + row->bias] : NULL;
    sizes s = {0};
    for (int64_t at = 0; at < row->rows * row->out; at++) {
        int64_t i = at / row->out, c = at % row->out;
        double sum = bias ? bias[c] : 0, size = fabs(sum), add = r && !q ? r[at] : 0;
        s.bias = fmax(s.bias, size);
        for (int64_t k = 0; k < row->in; k++) {
            sum += (double)x[i * row->in + k] * w[c * row->in + k];
            size += fabs((double)x[i * row->in + k] * w[c * row->in + k]);
        }
        for (int64_t k = 0; q && k < INNER; k++)
            add += (double)r[i * INNER + k] * q[k * row->out + c];
        want[at] = (float)(activate(sum, row->activation) + add);
        s.sum = fmax(s.sum, size);
        s.before = fmax(s.before, fabs(sum));
        s.residual = fmax(s.residual, fabs(add));
        s.result = fmax(s.result, fabs((double)want[at]));
    }
    return s;
}

/* Derived: sums of float32 are off by 2^-24 a term, activations by 1e-6 (the CPU's are polynomials) and slopes up to 1.2; each
 * rounding to bfloat16 on the way adds 2^-8 of what is rounded: the result, the residual where it was made by a product, the
 * product where something that the library does not do comes after it, and else a bias that has to become bfloat16. */
static double tolerance_of(const linear_row *row, sizes s)
{
    bool other = row->residual && row->of_residual != row->y;
    bool late = (row->activation != DT_ACT_NONE && row->activation != DT_ACT_GELU_TANH) || row->out == 1 || other ||
                (row->residual && row->activation != DT_ACT_NONE);
    double tolerance = (double)(row->in + INNER + 8) * 0x1p-24 * 1.2 * (s.sum + s.residual);
    if (row->activation != DT_ACT_NONE)
        tolerance += 1e-6 * s.sum;
    if (row->activation == DT_ACT_GELU_TANH && row->y == DT_BF16)
        tolerance += 0x1p-12 * s.before; /* a GPU's own tanh is within 2^-11 */
    if (row->y == DT_BF16)
        tolerance += 0x1p-8 * (s.result + (late ? 1.2 * (s.before + s.bias) : row->of_bias == DT_F32 ? s.bias : 0));
    if (row->of_residual == DT_BF16 && row->residual == DYING)
        tolerance += 0x1p-8 * s.residual;
    return tolerance;
}

static void check_linear(const linear_row *row, bool planned)
{
    bench b = {.graph = dt_graph_new()};
    const char *message = NULL;
    dt_backend backend = *op_backend();
    dt_tensor *y = record(&b, row, planned);
    if (planned)
        backend.precision = DT_MIXED;
    float *want = calloc((size_t)(row->rows * row->out), sizeof *want), *got = run(&b, y, &backend, &message);
    sizes s = expect(&b, row, want);
    if (message && strstr(message, "no such kernel"))
        skip(row->name, message);
    else if (message)
        ok(false, "%s: %s", row->name, message);
    else
        near(row->name, got, want, (size_t)(row->rows * row->out), tolerance_of(row, s));
    free(want);
    free(got);
    end(&b);
}

static dt_tensor *build_linear(dt_tensor **x, const void *context)
{
    return dt_linear(x[0], x[1], context ? x[2] : NULL);
}

static void check_linear_gradients(void)
{
    const op_case cases[] = {
        {.name = "linear of a batch", .build = build_linear, .context = "bias", .inputs = 3,
         .shape = {dt_dims(2, 3, 5), dt_dims(4, 5), dt_dims(4)}},
        {.name = "linear without bias", .build = build_linear, .inputs = 2, .shape = {dt_dims(7, 5), dt_dims(3, 5)}},
        {.name = "linear of one row", .build = build_linear, .context = "bias", .inputs = 3,
         .shape = {dt_dims(5), dt_dims(1, 5), dt_dims(1)}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        op_run r;
        bool started = op_start(&r, &cases[i], NULL);
        if (ok(started, "%s runs (%s)", cases[i].name, r.error ? r.error : ""))
            op_differences(&r);
        op_end(&r);
    }
}

/* ---- bfloat16 and TF32, where the backend has them ---- */

/* Products of bfloat16 with float32 sums; as float32, the way weights' gradients are taken, and as bfloat16. */
static void check_narrow_matmul(const matmul_row *shape, dt_dtype out)
{
    matmul_row row = *shape;
    bench b = {.graph = dt_graph_new()};
    const char *message = NULL;
    dt_tensor *left = feed(&b, DT_BF16, matrix_shape(&row, row.m, row.k, row.transpose_a));
    dt_tensor *right = feed(&b, DT_BF16, matrix_shape(&row, row.k, row.n, row.transpose_b));
    dt_tensor *y = dt_keep(dt_matmul(left, right, row.transpose_a, row.transpose_b));
    left->dtype = right->dtype = DT_BF16;
    y->dtype = out;
    size_t count = (size_t)dt_count(&y->shape);
    float *want = calloc(count, sizeof *want), *got = run(&b, y, op_backend(), &message);
    double size = multiply(&row, b.value[0], b.value[1], want), most = 0;
    for (size_t i = 0; i < count; i++)
        most = fmax(most, fabs((double)want[i]));
    char name[64];
    snprintf(name, sizeof name, "bf16 to %s: %s", dt_dtype_name(out), row.name);
    if (message)
        ok(false, "%s: %s", name, message);
    else
        near(name, got, want, count, (double)(row.k + 2) * 0x1p-24 * size + (out == DT_BF16 ? 0x1p-8 * most : 0));
    free(want);
    free(got);
    end(&b);
}

/* Rounding both factors to 10 bits of mantissa moves a product by up to 2 * 2^-11 of it; twice that, for who rounds towards
 * zero. Where nothing was rounded, the result would be that of float32, as a library may well do it with a small product. */
static void check_tf32(const linear_row *row, bool rounded)
{
    dt_backend backend = *op_backend();
    backend.precision = DT_TF32;
    bench b = {.graph = dt_graph_new()};
    const char *message = NULL;
    dt_tensor *y = record(&b, row, false);
    int64_t count = row->rows * row->out;
    float *want = calloc((size_t)count, sizeof *want), *got = run(&b, y, &backend, &message);
    sizes s = expect(&b, row, want);
    double most = 0;
    for (int64_t i = 0; got && i < count; i++)
        most = larger(most, fabs((double)got[i] - want[i]));
    ok(!message && most < 0x1p-9 * s.sum, "%s: off by %.1e of %.1f", row->name, most, s.sum);
    if (rounded)
        ok(most > tolerance_of(row, s), "%s: more than float32 is (%.1e)", row->name, tolerance_of(row, s));
    free(want);
    free(got);
    end(&b);
}

static void check_mixed_factors(void)
{
    bench b = {.graph = dt_graph_new()};
    const char *message = NULL;
    dt_tensor *x = feed(&b, DT_BF16, dt_dims(4, 4)), *y = dt_keep(dt_matmul(x, feed(&b, DT_F32, dt_dims(4, 4)), false, false));
    x->dtype = DT_BF16;
    float *got = run(&b, y, op_backend(), &message);
    ok(!got && message && strstr(message, "a product of"), "factors of two types: %s", message ? message : "");
    free(got);
    end(&b);
}

int main(void)
{
    int products = sizeof matmul_rows / sizeof *matmul_rows;
    for (int i = 0; i < products; i++)
        check_matmul(&matmul_rows[i]);
    check_refusals();
    for (size_t i = 0; i < sizeof linear_rows / sizeof *linear_rows; i++)
        check_linear(&linear_rows[i], false);
    check_linear_gradients();
    if (op_backend() == dt_cpu())
        return done();
    for (int i = 0; i < products; i++) {
        check_narrow_matmul(&matmul_rows[i], DT_F32);
        check_narrow_matmul(&matmul_rows[i], DT_BF16);
    }
    for (size_t i = 0; i < sizeof narrow_rows / sizeof *narrow_rows; i++)
        check_linear(&narrow_rows[i], false);
    for (size_t i = 0; i < sizeof planned_rows / sizeof *planned_rows; i++)
        check_linear(&planned_rows[i], true);
    check_mixed_factors();
    check_tf32(&(linear_row){"tf32", 6, 24, 8, true, DT_ACT_NONE, GIVEN}, false);
    check_tf32(&(linear_row){"tf32, large", 256, 256, 256, true, DT_ACT_NONE, GIVEN}, true);
    return done();
}
