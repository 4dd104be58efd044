/* Plans on a device: a recorded run is the same as one kernel by kernel, batches that travel meanwhile arrive, and faults say where they
 * are. The first two hold on the CPU too, in its own way. */
#include "tests/op_check.h"

enum { N = 37, WIDTH = 24 };

typedef struct net {
    dt_graph *graph;
    dt_params *params;
    dt_plan *plan;
    dt_tensor *x, *y, *noise;
} net;

static bool start(net *n, const dt_plan_options *options, const dt_backend *backend)
{
    *n = (net){.graph = dt_graph_new(), .params = dt_params_new()};
    dt_scope s = {n->graph, n->params, "net"};
    n->x = dt_input(n->graph, "x", DT_F32, dt_dims(N, WIDTH));
    dt_tensor *w = dt_param(s, "w", dt_dims(WIDTH, WIDTH), dt_gaussian(0.2f));
    dt_tensor *h = dt_dropout(dt_gelu(dt_linear(n->x, w, NULL)), 0.3f);
    n->noise = dt_keep(dt_random_normals(n->graph, dt_dims(N, WIDTH)));
    n->y = dt_keep(dt_layer_norm(dt_add(h, n->noise), dt_param(s, "gamma", dt_dims(WIDTH), dt_ones),
                                 dt_param(s, "beta", dt_dims(WIDTH), dt_zeros), 1e-5f));
    dt_store_gradients(dt_mean(dt_square(n->y), DT_ALL, false), false);
    dt_params_allocate(n->params, 2);
    n->plan = dt_plan_new(n->graph, backend, options);
    return ok(n->plan != NULL, "a plan %s", n->plan ? "" : dt_graph_error(n->graph));
}

static void end(net *n)
{
    dt_plan_free(n->plan);
    dt_params_free(n->params);
    dt_graph_free(n->graph);
}

typedef struct made {
    float y[N * WIDTH], noise[N * WIDTH], gradient[WIDTH * WIDTH];
} made;

static void run(net *n, uint32_t step, bool staged, made *to)
{
    static float x[2][N * WIDTH];
    float *mine = x[step % 2];
    op_random(mine, N * WIDTH, 50 + step);
    if (staged)
        dt_plan_stage(n->plan, n->x, mine);
    else
        dt_plan_write(n->plan, n->x, mine);
    const char *message = dt_plan_start(n->plan, 9, step);
    if (!message && staged) { /* for the run after: it must not disturb this one */
        op_random(x[(step + 1) % 2], N * WIDTH, 51 + step);
        dt_plan_stage(n->plan, n->x, x[(step + 1) % 2]);
    }
    message = message ? message : dt_plan_finish(n->plan);
    ok(!message, "step %u %s", step, message ? message : "");
    dt_plan_read(n->plan, n->y, to->y);
    dt_plan_read(n->plan, n->noise, to->noise);
    memcpy(to->gradient, dt_params_gradient(n->params, 0), sizeof to->gradient);
}

/* Five steps, recorded from the second on, against kernel by kernel; and with batches that are staged ahead. */
static void check_replay(dt_precision precision)
{
    dt_backend backend = *op_backend();
    backend.precision = precision;
    net recorded, plain, staged;
    static made a, b, c, before;
    if (start(&recorded, NULL, &backend) && start(&plain, &(dt_plan_options){.no_replay = true}, &backend) &&
        start(&staged, NULL, &backend))
        for (uint32_t step = 0; step < 5; step++) {
            run(&recorded, step, false, &a);
            run(&plain, step, false, &b);
            run(&staged, step, true, &c);
            ok(!memcmp(&a, &b, sizeof a), "step %u: a replay gives the bits of a run kernel by kernel", step);
            ok(!memcmp(&a, &c, sizeof a), "step %u: and so does a batch that was sent ahead", step);
            ok(step == 0 || memcmp(a.noise, before.noise, sizeof a.noise), "step %u draws numbers of its own", step);
            before = a;
        }
    if (!backend.on_host)
        ok(dt_plan_describe(recorded.plan).recorded && !dt_plan_describe(plain.plan).recorded,
           "the one was recorded, the other was not");
    end(&recorded);
    end(&plain);
    end(&staged);
}

/* Half of the memory, and a little for what stays float32. */
static void check_narrow_plans(void)
{
    dt_backend wide = *op_backend(), mixed = wide;
    wide.precision = DT_FP32;
    mixed.precision = DT_MIXED;
    size_t bytes[2];
    for (int k = 0; k < 2; k++) {
        dt_graph *g = dt_graph_new();
        dt_params *params = dt_params_new();
        dt_scope s = {g, params, "net"};
        dt_tensor *input = dt_input(g, "x", DT_F32, dt_dims(64, 64)), *x = input;
        static const float zeros[64 * 64];
        for (int layer = 0; layer < 4; layer++)
            x = dt_add(x, dt_gelu(dt_linear(x, dt_param(dt_in(s, "%d", layer), "w", dt_dims(64, 64), dt_gaussian(0.1f)), NULL)));
        dt_tensor *loss = dt_keep(dt_mean(dt_square(x), DT_ALL, false));
        dt_store_gradients(loss, false);
        dt_params_allocate(params, 1);
        dt_plan *plan = dt_plan_new(g, k ? &mixed : &wide, NULL);
        bytes[k] = plan ? dt_plan_describe(plan).live_bytes : 0;
        ok(plan && dt_plan_write(plan, input, zeros) && !dt_plan_run(plan, 0, 0), "a plan of %s runs", k ? "mixed precision" : "float32");
        ok(loss->dtype == DT_F32, "what the host reads is float32");
        dt_plan_free(plan);
        dt_params_free(params);
        dt_graph_free(g);
    }
    ok(bytes[1] && (double)bytes[1] < 0.75 * (double)bytes[0], "results in bfloat16 take less memory (%zu of %zu bytes)", bytes[1], bytes[0]);
}

/* ---- Faults ---- */

static int calls;

static void run_once_more(const dt_call *call);

/* The chain kernel, which refuses in the second run: the one that is recorded. */
static void run_shy(const dt_call *call)
{
    if (++calls == 4) /* two in each run */
        snprintf(call->fault, DT_MESSAGE, "not while you look");
    else
        run_once_more(call);
}

static const dt_kernel *broken_from; /* the family with the kernel that is to fail */

static void run_once_more(const dt_call *call)
{
    for (const dt_kernel *k = broken_from; k->op; k++)
        if (k->op == &dt_op_chain)
            k->run(call);
}

/* Writes to where nothing is. */
static void run_broken(const dt_call *call)
{
    dt_call bad = *call;
    void *nowhere[] = {(char *)call->out[0] + (1 << 20)};
    bad.out = nowhere;
    run_once_more(&bad);
}

/* The backend with another kernel for pointwise chains. */
static dt_backend with_chain(void (*run_chain)(const dt_call *call))
{
    dt_backend broken = *op_backend();
    static dt_kernel family[2];
    static const dt_kernel *families[64];
    int count = 1;
    for (int f = 0; broken.families[f] && count < 63; f++) {
        families[count++] = broken.families[f];
        for (const dt_kernel *k = broken.families[f]; k->op; k++)
            if (k->op == &dt_op_chain)
                broken_from = broken.families[f], family[0] = *k;
    }
    family[0].run = run_chain;
    families[0] = family;
    families[count] = NULL;
    broken.families = families;
    return broken;
}

/* A run that cannot be recorded is done kernel by kernel, with the same results, then and from then on. */
static void check_refused_recording(void)
{
    dt_backend shy = with_chain(run_shy);
    dt_graph *g = dt_graph_new();
    dt_tensor *x = dt_input(g, "x", DT_F32, dt_dims(3)), *y = dt_keep(dt_square(dt_reshape(dt_sum(x, DT_ALL, true), dt_dims(1))));
    dt_tensor *z = dt_keep(dt_max(dt_square(x)));
    dt_plan *plan = dt_plan_new(g, &shy, NULL);
    for (int k = 0; plan && k < 4; k++) {
        const float values[3] = {(float)k, 1, 2};
        float sum = 0, most = 0;
        dt_plan_write(plan, x, values);
        const char *message = dt_plan_run(plan, 0, 0);
        dt_plan_read(plan, y, &sum);
        dt_plan_read(plan, z, &most);
        ok(!message && sum == (float)((k + 3) * (k + 3)) && most == (k == 3 ? 9 : 4), "run %d of what refuses to be recorded: %g, %g %s", k,
           (double)sum, (double)most, message ? message : "");
    }
    ok(plan && !dt_plan_describe(plan).recorded, "and there is no recording");
    dt_plan_free(plan);
    dt_graph_free(g);
}

static void check_fault(void)
{
    dt_backend broken = with_chain(run_broken);
    dt_graph *g = dt_graph_new();
    dt_tensor *x = dt_input(g, "x", DT_F32, dt_dims(10)), *y = dt_keep(dt_exp(x));
    dt_plan *plan = dt_plan_new(g, &broken, NULL);
    const float zeros[10] = {0};
    dt_plan_write(plan, x, zeros);
    const char *message = dt_plan_run(plan, 0, 0);
    ok(message && !strncmp(message, "exp: ", 5), "a kernel's fault names its op: %s", message ? message : "nothing");
    message = dt_plan_run(plan, 0, 0);
    ok(message != NULL, "the device stays out of order: %s", message ? message : "nothing");
    (void)y;
    dt_plan_free(plan);
    dt_graph_free(g);
}

static void check_no_memory(void)
{
    dt_graph *g = dt_graph_new();
    dt_tensor *x = dt_input(g, "x", DT_F32, dt_dims(1000));
    dt_keep(dt_sum(dt_broadcast_to(x, dt_dims(1 << 20, 1 << 10, 1000)), DT_ALL, false));
    dt_plan *plan = dt_plan_new(g, op_backend(), &(dt_plan_options){.batch = 1 << 30, .no_fusion = true});
    const char *message = dt_graph_error(g);
    ok(!plan && message && strstr(message, "MiB of intermediate results") && strstr(message, "are free; a batch of about"),
       "no memory: %s", message ? message : "nothing");
    dt_plan_free(plan);
    dt_graph_free(g);
}

int main(void)
{
    check_replay(DT_FP32);
    if (op_backend() == dt_cpu()) {
        skip("mixed precision and faults of a device", "the backend is the CPU");
        return done();
    }
    check_replay(DT_MIXED);
    check_narrow_plans();
    check_refused_recording();
    check_no_memory();
    if (getenv("DUET_BACKEND") && strstr(getenv("DUET_BACKEND"), "cudasim")) /* it would take a GPU out of order */
        check_fault();
    return done();
}
