/* Nodes of a gradient that the planner joins, or that are recorded as one: the parameters' gradient of a linear layer, GELU by tanh around
 * matrix products, a layer norm's gradient beside a residual branch. Each in a plan with and without joining, on the backend
 * and on the CPU, in float32 and in mixed precision; and all against differences. */
#include "tests/op_check.h"

typedef struct row {
    const char *name;
    dt_tensor *(*build)(dt_tensor **x, const void *context);
    int inputs;
    dt_shape shape[OP_INPUTS];
    int saved; /* kernels that joining spares, at least */
} row;

/* x [n, t, in], weight, bias, weight, bias */
static dt_tensor *mlp(dt_tensor **x, const void *context)
{
    (void)context;
    return dt_linear(dt_gelu_tanh(dt_linear(x[0], x[1], x[2])), x[3], x[4]);
}

static dt_tensor *mlp_without_biases(dt_tensor **x, const void *context)
{
    (void)context;
    return dt_linear(dt_gelu_tanh(dt_linear(x[0], x[1], NULL)), x[2], NULL);
}

/* What is before the activation is read by others too, and so is the gradient that goes through it. */
static dt_tensor *forked(dt_tensor **x, const void *context)
{
    (void)context;
    dt_tensor *before = dt_linear(x[0], x[1], x[2]), *active = dt_gelu_tanh(before);
    return dt_add(dt_linear(active, x[3], x[4]), dt_add(dt_mean(before, 4, true), dt_mean(dt_tanh(active), 4, true)));
}

/* Without a residual, and as in a block of a transformer. x, gamma, beta, weight, bias */
static dt_tensor *branch(dt_tensor **x, const void *context)
{
    (void)context;
    return dt_add(x[0], dt_linear(dt_layer_norm(x[0], x[1], x[2], 1e-5f), x[3], x[4]));
}

static dt_tensor *two_branches(dt_tensor **x, const void *context)
{
    return branch((dt_tensor *[]){branch(x, context), x[1], x[2], x[3], x[4]}, context);
}

/* The gradient that is added is that of the layer norm's result itself. */
static dt_tensor *norm_beside_itself(dt_tensor **x, const void *context)
{
    (void)context;
    dt_tensor *half = dt_scale(x[0], 0.5f);
    return dt_add(half, dt_layer_norm(half, x[1], x[2], 1e-5f));
}

/* The gradient that x, [rows, in], and the upstream u, [rows, out], give weight [out, in] and bias, in one tensor. */
static dt_tensor *passed_on(dt_tensor **x, const void *context)
{
    (void)context;
    int64_t in = x[0]->shape.dim[1], out = x[1]->shape.dim[1];
    dt_graph *g = dt_graph_of(x[0]);
    dt_tensor *weight = dt_fill(g, dt_dims(out, in), 0.5f), *bias = dt_fill(g, dt_dims(out), 0.25f), *gradient[2];
    dt_tensor *y = dt_linear(x[0], weight, bias), *wrt[] = {weight, bias};
    dt_gradient_from(&y, &x[1], 1, wrt, 2, gradient);
    return dt_concat((dt_tensor *[]){gradient[0], dt_reshape(gradient[1], dt_dims(out, 1))}, 2, 1);
}

static const row table[] = {
    {"an mlp", mlp, 5, {dt_dims(2, 5, 6), dt_dims(16, 6), dt_dims(16), dt_dims(4, 16), dt_dims(4)}, 2},
    {"an mlp of odd width", mlp, 5, {dt_dims(2, 5, 6), dt_dims(7, 6), dt_dims(7), dt_dims(4, 7), dt_dims(4)}, 2},
    {"an mlp of one column", mlp, 5, {dt_dims(2, 5, 6), dt_dims(1, 6), dt_dims(1), dt_dims(4, 1), dt_dims(4)}, 2},
    {"an mlp of three rows", mlp, 5, {dt_dims(1, 3, 6), dt_dims(16, 6), dt_dims(16), dt_dims(3, 16), dt_dims(3)}, 2},
    {"an mlp without biases", mlp_without_biases, 3, {dt_dims(9, 6), dt_dims(16, 6), dt_dims(4, 16)}, 2},
    {"a forked mlp", forked, 5, {dt_dims(2, 5, 6), dt_dims(8, 6), dt_dims(8), dt_dims(4, 8), dt_dims(4)}, 1},
    {"a branch", branch, 5, {dt_dims(3, 5, 8), dt_dims(8), dt_dims(8), dt_dims(8, 8), dt_dims(8)}, 1},
    {"two branches", two_branches, 5, {dt_dims(3, 5, 16), dt_dims(16), dt_dims(16), dt_dims(16, 16), dt_dims(16)}, 2},
    {"a branch of odd width", two_branches, 5, {dt_dims(3, 5, 7), dt_dims(7), dt_dims(7), dt_dims(7, 7), dt_dims(7)}, 2},
    {"a norm beside itself", norm_beside_itself, 3, {dt_dims(3, 5, 8), dt_dims(8), dt_dims(8)}, 1},
    {"a wide norm beside itself", norm_beside_itself, 3, {dt_dims(6, 1500), dt_dims(1500), dt_dims(1500)}, 1},
    {"a norm of odd width beside itself", norm_beside_itself, 3, {dt_dims(40, 77), dt_dims(77), dt_dims(77)}, 1},
};

/* Their derivative is a second one. */
static const row gradients[] = {
    {"what a linear layer passes on", passed_on, 2, {dt_dims(9, 6), dt_dims(9, 5)}, 0},
    {"of one row", passed_on, 2, {dt_dims(1, 6), dt_dims(1, 5)}, 0},
    {"to one column", passed_on, 2, {dt_dims(7, 6), dt_dims(7, 1)}, 0},
    {"to three, which a library refuses", passed_on, 2, {dt_dims(7, 6), dt_dims(7, 3)}, 0},
    {"of many rows", passed_on, 2, {dt_dims(1100, 4), dt_dims(1100, 8)}, 0},
    {"of many rows, to three", passed_on, 2, {dt_dims(1100, 4), dt_dims(1100, 3)}, 0},
};

static double largest(const float *x, size_t n)
{
    double most = 1e-3;
    for (size_t k = 0; k < n; k++)
        most = fmax(most, fabs((double)x[k]));
    return most;
}

/* Every result of the two runs; `relative` to the largest of each. */
static void compare(const op_run *got, const op_run *want, double relative, const char *how)
{
    char name[160];
    snprintf(name, sizeof name, "%s, %s", want->c->name, how);
    near(name, got->y, want->y, want->count, relative * largest(want->y, want->count));
    for (int i = 0; i < want->c->inputs; i++) {
        size_t n = (size_t)dt_count(&want->c->shape[i]);
        snprintf(name, sizeof name, "%s, %s: gradient of input %d", want->c->name, how, i);
        near(name, got->dx[i], want->dx[i], n, relative * largest(want->dx[i], n));
    }
}

/* |a - b| / |b| over all gradients. */
static double distance(const op_run *a, const op_run *b)
{
    double apart = 0, size = 0;
    for (int i = 0; i < b->c->inputs; i++)
        for (int64_t k = 0; k < dt_count(&b->c->shape[i]); k++) {
            apart += pow((double)a->dx[i][k] - b->dx[i][k], 2);
            size += pow(b->dx[i][k], 2);
        }
    return sqrt(apart / size);
}

/* Some ten roundings to bfloat16 lie between the inputs and a gradient, 2^-9 each on average: 2 % is what they may add up to. */
static void check_mixed(const op_case *c, const op_run *want)
{
    dt_backend mixed = *op_backend();
    mixed.precision = DT_MIXED;
    op_run got;
    bool started = op_start_on(&got, c, NULL, &mixed);
    if (ok(started, "%s runs in mixed precision%s%s", c->name, got.error ? ": " : "", got.error ? got.error : "")) {
        double apart = distance(&got, want);
        ok(apart > 0 && apart < 0.02, "%s in mixed precision: gradients near those of float32 (relative distance %.1e)", c->name,
           apart);
    }
    op_end(&got);
}

/* float32 sums in another order differ by some roundings; 1e-5 is a hundred roundings of the largest number. */
static void check(const row *r)
{
    op_case c = {.name = r->name, .build = r->build, .inputs = r->inputs};
    memcpy(c.shape, r->shape, sizeof c.shape);
    op_run joined, apart, host;
    bool started = op_start_on(&joined, &c, NULL, op_backend());
    started &= op_start_on(&apart, &c, &(dt_plan_options){.no_fusion = true}, op_backend());
    started &= op_start_on(&host, &c, &(dt_plan_options){.no_fusion = true}, dt_cpu());
    if (ok(started, "%s runs%s%s", r->name, joined.error ? ": " : "", joined.error ? joined.error : "")) {
        int few = dt_plan_describe(joined.plan).kernels, many = dt_plan_describe(apart.plan).kernels;
        ok(many - few >= r->saved, "%s: %d kernels instead of %d", r->name, few, many);
        ok(dt_plan_describe(joined.plan).live_bytes <= dt_plan_describe(apart.plan).live_bytes, "%s: in no more memory", r->name);
        compare(&joined, &apart, 1e-5, "joined");
        compare(&joined, &host, 1e-5, "as on the CPU");
        op_differences(&joined);
        if (op_backend()->narrow)
            check_mixed(&c, &host);
    }
    op_end(&joined);
    op_end(&apart);
    op_end(&host);
}

int main(void)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        check(&table[i]);
    for (size_t i = 0; i < sizeof gradients / sizeof *gradients; i++)
        check(&gradients[i]);
    return done();
}
