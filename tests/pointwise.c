/* Pointwise ops: values against float64, first and second derivatives against differences, broadcasting, chains. */
#include "tests/op_bf16.h"

#include <float.h>

typedef struct unary_row {
    const char *name;
    dt_tensor *(*op)(dt_tensor *);
    double (*reference)(double);
    double tolerance; /* relative to max(1, |y|) */
    bool positive;    /* the domain is x > 0 */
} unary_row;

static dt_tensor *clamp(dt_tensor *x)
{
    return dt_clamp(x, -0.5f, 1.25f);
}

static dt_tensor *leaky(dt_tensor *x)
{
    return dt_leaky_relu(x, 0.2f);
}

static dt_tensor *affine(dt_tensor *x)
{
    return dt_affine(x, -2.5f, 0.75f);
}

static double ref_clamp(double x)
{
    return fmin(fmax(x, -0.5), 1.25);
}

static double ref_leaky(double x)
{
    return x > 0 ? x : (double)0.2f * x;
}

static double ref_affine(double x)
{
    return -2.5 * x + 0.75;
}

static double ref_relu(double x)
{
    return fmax(x, 0);
}

static double ref_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double ref_softplus(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static double ref_gelu(double x)
{
    return x / 2 * (1 + erf(x / sqrt(2)));
}

static double ref_gelu_tanh(double x)
{
    return x / 2 * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

static double ref_quick_gelu(double x)
{
    return x * ref_sigmoid(1.702 * x);
}

static double ref_rsqrt(double x)
{
    return 1 / sqrt(x);
}

static double ref_reciprocal(double x)
{
    return 1 / x;
}

static double ref_square(double x)
{
    return x * x;
}

static double ref_sign(double x)
{
    return (x > 0) - (x < 0);
}

/* Two float32 roundings are 2^-23 = 1.2e-7; functions that are not rounded once get the error that math.h states. */
static const unary_row rows[] = {
    {"exp", dt_exp, exp, 3e-7, false},
    {"log", dt_log, log, 3e-7, true},
    {"sqrt", dt_sqrt, sqrt, 1.2e-7, true},
    {"rsqrt", dt_rsqrt, ref_rsqrt, 2.4e-7, true},
    {"reciprocal", dt_reciprocal, ref_reciprocal, 1.2e-7, true},
    {"square", dt_square, ref_square, 1.2e-7, false},
    {"abs", dt_abs, fabs, 0, false},
    {"sign", dt_sign, ref_sign, 0, false},
    {"clamp", clamp, ref_clamp, 0, false},
    {"affine", affine, ref_affine, 2.4e-7, false},
    {"relu", dt_relu, ref_relu, 0, false},
    {"leaky_relu", leaky, ref_leaky, 1.2e-7, false},
    {"sigmoid", dt_sigmoid, ref_sigmoid, 3e-7, false},
    {"tanh", dt_tanh, tanh, 3e-7, false},
    {"softplus", dt_softplus, ref_softplus, 3e-7, false},
    {"gelu", dt_gelu, ref_gelu, 4e-7, false},
    {"gelu_tanh", dt_gelu_tanh, ref_gelu_tanh, 4e-7, false},
    {"quick_gelu", dt_quick_gelu, ref_quick_gelu, 4e-7, false},
};

static dt_tensor *build_unary(dt_tensor **x, const void *context)
{
    return ((const unary_row *)context)->op(x[0]);
}

/* d(sum f(x) u) / dx . v recorded as a value: its own gradient is the second derivative. */
static dt_tensor *build_slope(dt_tensor **x, const void *context)
{
    dt_tensor *y = ((const unary_row *)context)->op(x[0]), *dx;
    dt_gradient_from(&y, &x[1], 1, &x[0], 1, &dx);
    return dx;
}

/* Values over the whole range of float, not only near zero. */
static void check_values(const unary_row *row)
{
    enum { N = 20011 };
    static float x[N];
    for (int i = 0; i < N; i++) {
        float t = (float)(i - N / 2) / (N / 2);
        x[i] = row->positive ? expf(80 * t) : t * (fabsf(t) < 0.5f ? 12 : 90);
    }
    op_case c = {.name = row->name, .build = build_unary, .context = row, .inputs = 1, .shape = {dt_dims(N)}, .value = {x}};
    op_run r;
    if (ok(op_start(&r, &c, NULL), "%s runs", row->name)) {
        double worst = 0, at = 0;
        for (int i = 0; i < N; i++) {
            double want = row->reference((double)x[i]), scale = fmax(1, fabs(want));
            double error = want > (double)FLT_MAX ? !isinf(r.y[i]) : fabs(r.y[i] - want) / scale;
            if (!(error <= worst))
                worst = error, at = x[i];
        }
        ok(worst <= row->tolerance + 1e-12, "%s within %.1e of float64 (worst %.2e at %g)", row->name, row->tolerance,
           worst, at);
    }
    op_end(&r);
}

static void check_derivatives(const unary_row *row)
{
    enum { N = 37 };
    float x[N], u[N];
    op_random(x, N, 5);
    op_random(u, N, 6);
    for (int i = 0; i < N; i++) {
        x[i] = row->positive ? 0.5f + fabsf(x[i]) : x[i];
        float kinks[] = {0, -0.5f, 1.25f}; /* differences across a kink would mean nothing */
        for (int k = 0; k < 3; k++)
            if (fabsf(x[i] - kinks[k]) < 0.1f)
                x[i] = kinks[k] + 0.2f;
    }
    op_case c = {.name = row->name, .build = build_unary, .context = row, .inputs = 1, .shape = {dt_dims(N)}, .value = {x}};
    op_run r;
    if (op_start(&r, &c, NULL))
        op_differences(&r);
    op_end(&r);
    char name[64];
    snprintf(name, sizeof name, "%s'", row->name);
    op_case second = {.name = name, .build = build_slope, .context = row, .inputs = 2,
                      .shape = {dt_dims(N), dt_dims(N)}, .value = {x, u}};
    if (ok(op_start(&r, &second, NULL), "%s runs", name))
        op_differences(&r);
    op_end(&r);
}

/* The slope of GELU where it bends, against float64. Derived: a function and a number that is added to it, each within two
 * units of the last place of numbers up to 1, and the sum of both rounded. */
static void check_gelu_slope(void)
{
    enum { N = 40007 };
    static float x[N], ones[N];
    for (int i = 0; i < N; i++) {
        x[i] = (float)(i - N / 2) / (N / 2) * 10;
        ones[i] = 1;
    }
    const unary_row gelu = {.op = dt_gelu};
    op_case c = {.name = "gelu's slope", .build = build_unary, .context = &gelu, .inputs = 1, .shape = {dt_dims(N)},
                 .value = {x}, .dy = ones};
    op_run r;
    if (ok(op_start(&r, &c, NULL), "%s runs", c.name)) {
        double worst = 0, at = 0;
        for (int i = 0; i < N; i++) {
            double t = x[i], error = fabs(r.dx[0][i] - (erfc(-t / sqrt(2)) / 2 + t * exp(-t * t / 2) / sqrt(2 * M_PI)));
            if (!(error <= worst))
                worst = error, at = t;
        }
        ok(worst <= 3e-7, "%s within 3e-7 of float64 (worst %.2e at %g)", c.name, worst, at);
    }
    op_end(&r);
    float far[] = {-3e38f, -1e19f, -40, 40, 1e19f, 3e38f, NAN}, want[] = {0, 0, 0, 1, 1, 1};
    c.name = "gelu's slope far out";
    c.shape[0] = dt_dims(7);
    c.value[0] = far;
    if (ok(op_start(&r, &c, NULL), "%s runs", c.name)) {
        near(c.name, r.dx[0], want, 6, 0);
        ok(isnan(r.dx[0][6]), "of a NaN it is a NaN");
    }
    op_end(&r);
}

typedef struct binary_row {
    const char *name;
    dt_tensor *(*op)(dt_tensor *, dt_tensor *);
} binary_row;

static const binary_row pairs[] = {{"add", dt_add}, {"sub", dt_sub}, {"mul", dt_mul}, {"div", dt_div},
                                   {"maximum", dt_maximum}, {"minimum", dt_minimum}, {"greater", dt_greater},
                                   {"equal", dt_equal}};

static double ref_binary(const char *name, double a, double b)
{
    switch (name[0] == 'm' ? name[1] == 'u' ? '*' : name[1] : name[0]) {
    case 'a': return !strcmp(name, "add") ? a + b : fmax(a, b);
    case 's': return a - b;
    case '*': return a * b;
    case 'd': return a / b;
    case 'i': return fmin(a, b);
    case 'g': return a > b;
    default: return a == b;
    }
}

static dt_tensor *build_binary(dt_tensor **x, const void *context)
{
    return ((const binary_row *)context)->op(x[0], x[1]);
}

/* The element of a broadcast operand that belongs to element i of the result, by the definition. */
static size_t source_of(size_t i, const dt_shape *from, const dt_shape *to)
{
    size_t at = 0, stride = 1;
    for (int k = 1; k <= to->rank; k++) {
        size_t index = i % (size_t)to->dim[to->rank - k];
        i /= (size_t)to->dim[to->rank - k];
        if (k <= from->rank) {
            size_t dim = (size_t)from->dim[from->rank - k];
            at += dim == 1 ? 0 : index * stride;
            stride *= dim;
        }
    }
    return at;
}

static void check_binary(const binary_row *row, dt_shape a, dt_shape b)
{
    char name[320];
    snprintf(name, sizeof name, "%s %s %s", row->name, dt_shape_text(&a).chars, dt_shape_text(&b).chars);
    op_case c = {.name = name, .build = build_binary, .context = row, .inputs = 2, .shape = {a, b}};
    size_t nb = (size_t)dt_count(&b);
    float *vb = calloc(nb, sizeof *vb);
    op_random(vb, nb, 3);
    for (size_t i = 0; i < nb; i++)
        vb[i] += vb[i] > 0 ? 1 : -1; /* a divisor away from 0 */
    c.value[1] = vb;
    op_run r;
    if (ok(op_start(&r, &c, NULL), "%s runs", name)) {
        double worst = 0;
        for (size_t i = 0; i < r.count; i++) {
            double want = ref_binary(row->name, r.value[0][source_of(i, &a, &r.result->shape)],
                                     r.value[1][source_of(i, &b, &r.result->shape)]);
            worst = larger(worst, fabs(r.y[i] - want) / fmax(1, fabs(want)));
        }
        ok(worst <= 1.2e-7, "%s is right (%.1e)", name, worst);
        if (!strcmp(row->name, "mul") || !strcmp(row->name, "div") || !strcmp(row->name, "sub"))
            op_differences(&r);
    }
    op_end(&r);
    free(vb);
}

/* A long chain with every kind of broadcast operand, once fused and once not: the same bits. */
static dt_tensor *build_chain(dt_tensor **x, const void *context)
{
    (void)context;
    dt_tensor *y = dt_mul(dt_add(x[0], x[1]), x[2]);
    y = dt_sub(dt_gelu(y), dt_mul(x[3], dt_tanh(x[0])));
    y = dt_add(dt_scale(y, 0.5f), x[4]);
    for (int i = 0; i < 9; i++)
        y = dt_affine(dt_sigmoid(y), 1.5f, -0.25f);
    return y;
}

static void check_chain(void)
{
    op_case c = {.name = "chain", .build = build_chain, .inputs = 5,
                 .shape = {dt_dims(7, 11, 13), dt_dims(13), dt_dims(7, 1, 1), {0}, dt_dims(11, 1)}};
    op_run fused, plain;
    bool first = op_start(&fused, &c, NULL), second = op_start(&plain, &c, &(dt_plan_options){.no_fusion = true});
    if (ok(first && second, "a chain runs fused and unfused")) {
        ok(dt_plan_describe(fused.plan).kernels < dt_plan_describe(plain.plan).kernels, "fusion runs fewer kernels (%d of %d)",
           dt_plan_describe(fused.plan).kernels, dt_plan_describe(plain.plan).kernels);
        near("fused chain", fused.y, plain.y, fused.count, 0);
        for (int i = 0; i < 5; i++)
            near("fused chain's gradient", fused.dx[i], plain.dx[i], (size_t)dt_count(&c.shape[i]), 0);
        op_differences(&fused);
    }
    op_end(&fused);
    op_end(&plain);
}

/* Eight operands, some of them used again at the end, and results that wait for each other. */
static dt_tensor *build_wide(dt_tensor **x, const void *context)
{
    (void)context;
    dt_tensor *y = dt_mul(dt_add(dt_mul(x[0], x[1]), dt_mul(x[2], x[3])), dt_sub(dt_mul(x[4], x[5]), dt_mul(x[6], x[7])));
    for (int i = 0; i < 5; i++)
        y = i % 2 ? dt_sub(y, x[i]) : dt_add(y, x[i + 3]);
    return y;
}

static void check_wide(void)
{
    op_case c = {.name = "a wide chain", .build = build_wide, .inputs = 8,
                 .shape = {dt_dims(9, 13), dt_dims(13), dt_dims(9, 13), {0}, dt_dims(9, 1), dt_dims(9, 13), dt_dims(13), dt_dims(9, 13)}};
    op_run r;
    if (ok(op_start(&r, &c, NULL), "a wide chain runs")) {
        float *want = calloc(r.count, sizeof *want);
        for (size_t i = 0; i < r.count; i++) {
            float x[8];
            for (int k = 0; k < 8; k++)
                x[k] = r.value[k][source_of(i, &c.shape[k], &r.result->shape)];
            want[i] = (x[0] * x[1] + x[2] * x[3]) * (x[4] * x[5] - x[6] * x[7]) + x[3] - x[1] + x[5] - x[3] + x[7];
        }
        near("a wide chain", r.y, want, r.count, 1e-4); /* of numbers up to 100, a dozen roundings */
        free(want);
        op_differences(&r);
    }
    op_end(&r);
}

static dt_tensor *build_bad(dt_tensor **x, const void *context)
{
    (void)context;
    return dt_add(x[0], dt_gelu(x[1]));
}

static void check_refusals(void)
{
    op_case c = {.name = "bad", .build = build_bad, .inputs = 2, .shape = {dt_dims(2, 3), dt_dims(4)}};
    op_run r;
    ok(!op_start(&r, &c, NULL), "shapes that do not broadcast are refused");
    ok(r.error && !strcmp(r.error, "add: shapes [2, 3] and [4] do not broadcast"), "with a clear message: %s",
       r.error ? r.error : "none");
    op_end(&r);
    op_case empty = {.name = "empty", .build = build_bad, .inputs = 2, .shape = {dt_dims(0, 3), dt_dims(3)}};
    ok(!op_start(&r, &empty, NULL), "an empty batch is refused");
    ok(r.error && strstr(r.error, "at least 1"), "with a clear message: %s", r.error ? r.error : "none");
    op_end(&r);
}

OP(add_relu, dt_relu(dt_add(x[0], x[1])))
OP(add_three, dt_relu(dt_add(dt_add(x[0], x[1]), x[2])))
OP(crossed, dt_sub(dt_mul(x[0], dt_add(x[0], x[1])), dt_mul(dt_sub(x[1], x[0]), x[2])))
OP(one_gelu, dt_gelu(x[0]))

static dt_tensor *many_slots(dt_tensor **x, const void *context)
{
    (void)context;
    dt_tensor *a = dt_mul(x[0], x[1]), *b = dt_sub(x[0], x[2]), *d = dt_add(a, b);
    return dt_add(dt_mul(dt_mul(d, a), b), dt_mul(d, x[1]));
}

/* Chains of one step and of more, in whole blocks of threads and with a rest. */
static void check_narrow_chains(void)
{
    const int64_t sizes[] = {100, 4096, 9001};
    const op_case chains[] = {{.name = "a sum, relu", .build = add_relu, .inputs = 2},
                              {.name = "three terms, relu", .build = add_three, .inputs = 3},
                              {.name = "crossed terms", .build = crossed, .inputs = 3},
                              {.name = "many slots", .build = many_slots, .inputs = 3},
                              {.name = "gelu", .build = one_gelu, .inputs = 1}};
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            op_case c = chains[i];
            for (int k = 0; k < c.inputs; k++)
                c.shape[k] = dt_dims(sizes[s]);
            op_bf16(&c, 0);
        }
}

int main(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_values(&rows[i]);
        check_derivatives(&rows[i]);
    }
    check_gelu_slope();
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        check_binary(&pairs[i], dt_dims(3, 5), dt_dims(3, 5));
        check_binary(&pairs[i], dt_dims(5, 3, 7), dt_dims(7));
        check_binary(&pairs[i], dt_dims(1031), (dt_shape){0});
        check_binary(&pairs[i], dt_dims(3, 1, 7), dt_dims(3, 211, 1));
    }
    check_chain();
    check_wide();
    check_refusals();
    if (op_backend() != dt_cpu())
        check_narrow_chains();
    return done();
}
