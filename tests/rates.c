/* Parameters with learning rates of their own: frozen ones, slower ones, and what lies between them in the buffer. */
#include "kernels/ops.h"
#include "kernels/optimizer.h"
#include "kernels/plan.h"
#include "kernels/random.h"
#include "tests/tap.h"

enum { ROWS = 5, WIDTH = 7, STEPS = 4 };

/* Two layers with batch norm, hence buffers, between them. */
typedef struct net {
    dt_graph *graph;
    dt_params *params;
    dt_plan *plan;
    dt_optimizer *optimizer;
} net;

static dt_tensor *layer(dt_scope scope, dt_tensor *x)
{
    return dt_linear(x, dt_param(scope, "weight", dt_dims(WIDTH, WIDTH), dt_gaussian(0.5f)),
                     dt_param(scope, "bias", dt_dims(WIDTH), dt_gaussian(0.5f)));
}

static dt_tensor *norm(dt_scope scope, dt_tensor *x)
{
    dt_batch_norm_state state = {.running_mean = dt_buffer(scope, "running_mean", dt_dims(WIDTH), dt_zeros),
                                 .running_var = dt_buffer(scope, "running_var", dt_dims(WIDTH), dt_ones),
                                 .momentum = 0.1f, .eps = 1e-5f};
    return dt_batch_norm(x, dt_param(scope, "weight", dt_dims(WIDTH), dt_ones),
                         dt_param(scope, "bias", dt_dims(WIDTH), dt_zeros), state);
}

static dt_tensor *loss_of(net *n, dt_tensor *images)
{
    dt_scope root = {n->graph, n->params, ""};
    dt_tensor *x = dt_tanh(norm(dt_in(root, "bn"), layer(dt_in(root, "first"), images)));
    x = layer(dt_in(root, "second"), x);
    return dt_mean(dt_mul(x, x), DT_ALL, false);
}

static void set_rate(net *n, const char *name, float rate)
{
    int i = dt_params_find(n->params, name);
    if (i < 0)
        printf("Bail out! no parameter %s\n", name), exit(1);
    dt_params_set_rate(n->params, i, rate);
}

/* A net whose parameters are allocated; rates may be set before net_start. */
static net net_new(void)
{
    net n = {.params = dt_params_new(), .graph = dt_graph_new()};
    loss_of(&n, dt_input(n.graph, "x", DT_F32, dt_dims(ROWS, 1, 1, WIDTH)));
    dt_graph_free(n.graph);
    n.graph = dt_graph_new();
    if (!dt_params_allocate(n.params, 3))
        printf("Bail out! no memory\n"), exit(1);
    return n;
}

static void net_start(net *n, const dt_optimizer_config *config)
{
    float images[ROWS * WIDTH];
    for (size_t i = 0; i < ROWS * WIDTH; i++)
        images[i] = sinf((float)i * 1.7f);
    dt_tensor *x = dt_input(n->graph, "x", DT_F32, dt_dims(ROWS, 1, 1, WIDTH));
    dt_store_gradients(dt_keep(loss_of(n, x)), false);
    n->plan = dt_plan_new(n->graph, dt_cpu(), NULL);
    n->optimizer = dt_optimizer_new(config, n->params, dt_cpu());
    if (!n->plan || !n->optimizer)
        printf("Bail out! %s\n", dt_graph_error(n->graph)), exit(1);
    dt_plan_write(n->plan, x, images);
}

static void net_train(net *n, float lr)
{
    for (int i = 0; i < STEPS; i++)
        if (dt_plan_run(n->plan, 1, 0) || !isfinite(dt_optimizer_step(n->optimizer, lr)))
            printf("Bail out! a step failed\n"), exit(1);
}

static void net_free(net *n)
{
    dt_plan_free(n->plan);
    dt_optimizer_free(n->optimizer);
    dt_graph_free(n->graph);
    dt_params_free(n->params);
}

static bool zero(const float *x, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (x[i] != 0)
            return false;
    return true;
}

/* Whether a parameter (or buffer) has the bits that it started with. */
static bool untouched(const net *n, const net *fresh, const char *name)
{
    int i = dt_params_find(n->params, name);
    return !memcmp(dt_params_value(n->params, i), dt_params_value(fresh->params, i),
                   dt_params_info(n->params, i)->count * sizeof(float));
}

static const dt_optimizer_config adamw = {.kind = DT_ADAMW, .beta1 = 0.9f, .beta2 = 0.99f, .eps = 1e-8f,
                                          .weight_decay = 0.5f, .clip_norm = 1};
static const dt_optimizer_config sgd = {.kind = DT_SGD, .momentum = 0.9f, .weight_decay = 0.5f};

static void frozen(const dt_optimizer_config *config, const char *kind)
{
    net fresh = net_new(), whole = net_new(), part = net_new();
    const char *const still[] = {"first.weight", "first.bias", "bn.weight", "bn.bias"};
    for (int i = 0; i < 4; i++)
        set_rate(&part, still[i], 0);
    net_start(&whole, config);
    net_start(&part, config);
    net_train(&whole, 0.01f);
    net_train(&part, 0.01f);
    for (int i = 0; i < 4; i++) {
        int p = dt_params_find(part.params, still[i]);
        ok(untouched(&part, &fresh, still[i]), "%s: frozen %s keeps its bits, through decay too", kind, still[i]);
        ok(zero(dt_params_gradient(part.params, p), dt_params_info(part.params, p)->count), "%s: and has no gradient", kind);
    }
    ok(!untouched(&part, &fresh, "second.weight") && !untouched(&part, &fresh, "second.bias"), "%s: the others learn", kind);
    ok(!untouched(&whole, &fresh, "first.weight") && !untouched(&whole, &fresh, "bn.bias"), "%s: as all do without rates", kind);
    int all = dt_plan_describe(whole.plan).kernels, fewer = dt_plan_describe(part.plan).kernels;
    ok(fewer < all - 3, "%s: what only frozen parameters need is not computed (%d of %d kernels)", kind, fewer, all);
    net_free(&fresh);
    net_free(&whole);
    net_free(&part);
}

/* A single parameter, trained alone on given gradients: what each part of a larger buffer is compared with. */
static void reference(const dt_optimizer_config *config, float lr, const float *start, const float *gradients, float *value)
{
    dt_graph *g = dt_graph_new();
    dt_params *params = dt_params_new();
    dt_param((dt_scope){g, params, ""}, "p", dt_dims(WIDTH, WIDTH), dt_zeros);
    dt_optimizer *o = dt_params_allocate(params, 1) ? dt_optimizer_new(config, params, dt_cpu()) : NULL;
    memcpy(dt_params_value(params, 0), start, sizeof(float) * WIDTH * WIDTH);
    for (int s = 0; s < STEPS; s++) {
        memcpy(dt_params_gradient(params, 0), gradients + s * WIDTH * WIDTH, sizeof(float) * WIDTH * WIDTH);
        dt_optimizer_step(o, lr);
    }
    memcpy(value, dt_params_value(params, 0), sizeof(float) * WIDTH * WIDTH);
    dt_optimizer_free(o);
    dt_params_free(params);
    dt_graph_free(g);
}

/* Four neighbours with the rates 1, 1/2, 0 and 2, on the same gradients: each must end where it would alone, at that share of
 * the learning rate. Shares that are powers of two leave no room for rounding. */
static void shares(dt_optimizer_config config, const char *kind)
{
    enum { N = WIDTH * WIDTH };
    static const float rates[] = {1, 0.5f, 0, 2};
    static const char *const names[] = {"a", "b", "c", "d"};
    float start[N], gradients[STEPS * N], want[N];
    dt_graph *g = dt_graph_new();
    dt_params *params = dt_params_new();
    config.clip_norm = 0; /* the norm is that of all gradients together */
    for (int i = 0; i < STEPS * N; i++)
        gradients[i] = cosf((float)i * 0.7f);
    for (int i = 0; i < N; i++)
        start[i] = sinf((float)i * 0.3f);
    for (int i = 0; i < 4; i++)
        dt_param((dt_scope){g, params, ""}, names[i], dt_dims(WIDTH, WIDTH), dt_zeros);
    dt_optimizer *o = dt_params_allocate(params, 1) ? dt_optimizer_new(&config, params, dt_cpu()) : NULL;
    for (int i = 0; i < 4; i++) {
        dt_params_set_rate(params, i, rates[i]);
        memcpy(dt_params_value(params, i), start, sizeof start);
    }
    for (int s = 0; s < STEPS; s++) {
        for (int i = 0; i < 4; i++)
            memcpy(dt_params_gradient(params, i), gradients + s * N, sizeof start);
        dt_optimizer_step(o, 0.01f);
    }
    for (int i = 0; i < 4; i++) {
        reference(&config, 0.01f * rates[i], start, gradients, want);
        if (rates[i] == 0)
            memcpy(want, start, sizeof want);
        char name[64];
        snprintf(name, sizeof name, "%s: a rate of %g is that share of the learning rate", kind, (double)rates[i]);
        near(name, dt_params_value(params, i), want, N, 0);
    }
    ok(memcmp(dt_params_value(params, 0), dt_params_value(params, 1), sizeof start), "%s: and they differ", kind);
    dt_optimizer_free(o);
    dt_params_free(params);
    dt_graph_free(g);
}

/* One step of plain SGD: half the rate moves each number half as far. */
static void half_a_step(void)
{
    const dt_optimizer_config plain = {.kind = DT_SGD};
    dt_graph *g = dt_graph_new();
    dt_params *params = dt_params_new();
    dt_param((dt_scope){g, params, ""}, "p", dt_dims(2, 3), dt_zeros);
    dt_optimizer *o = dt_params_allocate(params, 1) ? dt_optimizer_new(&plain, params, dt_cpu()) : NULL;
    const float gradient[] = {1, -2, 3, 0.5f, -0.25f, 0}, want[] = {-0.125f, 0.25f, -0.375f, -0.0625f, 0.03125f, 0};
    dt_params_set_rate(params, 0, 0.5f);
    memcpy(dt_params_gradient(params, 0), gradient, sizeof gradient);
    double norm_of_all = dt_optimizer_step(o, 0.25f);
    near("SGD with half the rate takes half the step", dt_params_value(params, 0), want, 6, 0);
    ok(fabs(norm_of_all - sqrt(14.3125)) < 1e-6, "and the norm of the gradients is what it was");
    dt_optimizer_free(o);
    dt_params_free(params);
    dt_graph_free(g);
}

/* What lies in the place of a frozen parameter's gradient, be it another network's, counts neither for the norm nor for clipping. */
static void left_over(void)
{
    const dt_optimizer_config clipped = {.kind = DT_SGD, .clip_norm = 2.5f};
    const char *const names[] = {"a", "other.b", "c"};
    dt_graph *g = dt_graph_new();
    dt_params *params = dt_params_new();
    for (int i = 0; i < 3; i++)
        dt_param((dt_scope){g, params, ""}, names[i], dt_dims(1), dt_zeros);
    dt_optimizer *o = dt_params_allocate(params, 1) ? dt_optimizer_new(&clipped, params, dt_cpu()) : NULL;
    dt_params_set_rate(params, 1, 0);
    *dt_params_gradient(params, 0) = 3, *dt_params_gradient(params, 1) = NAN, *dt_params_gradient(params, 2) = 4;
    ok(fabs(dt_optimizer_step(o, 1) - 5) < 1e-6, "the norm is that of what is trained");
    const float want[] = {-1.5f, 0, -2};
    for (int i = 0; i < 3; i++)
        near(names[i], dt_params_value(params, i), want + i, 1, 1e-5);
    dt_optimizer_free(o);
    dt_params_free(params);
    dt_graph_free(g);
}

int main(void)
{
    frozen(&adamw, "AdamW");
    frozen(&sgd, "SGD");
    shares(adamw, "AdamW");
    shares(sgd, "SGD");
    half_a_step();
    left_over();
    return done();
}
