/* Parameters that lie on the host and on a device: whoever asks finds what was written last, wherever that was. On the CPU the same
 * checks hold, with one memory for both. */
#include "kernels/optimizer.h"
#include "tests/op_check.h"

enum { ROWS = 5, WIDTH = 7, COUNT = ROWS * WIDTH };

typedef struct net {
    dt_params *params;
    dt_graph *graph;
    dt_plan *plan;
    dt_tensor *x, *y;
    int weight, running;
} net;

/* y = x weight^T, and running := the mean of y. With `trains`, the gradient of sum(y). */
static bool start(net *n, dt_params *params, const dt_backend *backend, bool trains)
{
    *n = (net){.params = params, .graph = dt_graph_new()};
    dt_scope s = {n->graph, params, "net"};
    dt_tensor *weight = dt_param(s, "weight", dt_dims(ROWS, WIDTH), dt_gaussian(1));
    dt_tensor *running = dt_buffer(s, "running", dt_dims(ROWS), dt_filled(3));
    n->x = dt_input(n->graph, "x", DT_F32, dt_dims(2, WIDTH));
    n->y = dt_keep(dt_linear(n->x, weight, NULL));
    dt_update(running, dt_mean(n->y, 1, false));
    if (trains)
        dt_store_gradients(dt_sum(n->y, DT_ALL, false), false);
    if (!dt_params_allocated(params))
        dt_params_allocate(params, 5);
    n->weight = dt_params_find(params, "net.weight");
    n->running = dt_params_find(params, "net.running");
    n->plan = dt_plan_new(n->graph, backend, NULL);
    return ok(n->plan != NULL, "a plan on %s %s", backend->name, n->plan ? "" : dt_graph_error(n->graph));
}

static void end(net *n)
{
    dt_plan_free(n->plan);
    dt_graph_free(n->graph);
}

static const float x[2][WIDTH] = {{1, 2, 3, 4, 5, 6, 7}, {0, -1, 0.5f, 0, 2, 0, -3}};

/* Runs, and compares with what the weight on the host says. */
static void check_run(const char *name, net *n)
{
    float y[2][ROWS], want[2][ROWS], mean[ROWS];
    dt_plan_write(n->plan, n->x, x);
    const char *message = dt_plan_run(n->plan, 1, 0);
    dt_plan_read(n->plan, n->y, y);
    const float *w = dt_params_look(n->params, n->weight);
    for (int i = 0; i < ROWS; i++) {
        for (int r = 0; r < 2; r++) {
            want[r][i] = 0;
            for (int k = 0; k < WIDTH; k++)
                want[r][i] += x[r][k] * w[i * WIDTH + k];
        }
        mean[i] = (want[0][i] + want[1][i]) / 2;
    }
    ok(!message, "%s: runs %s", name, message ? message : "");
    near(name, y[0], want[0], 2 * ROWS, 4e-5);
    near("the buffer that it left", dt_params_look(n->params, n->running), mean, ROWS, 4e-5);
}

static void check_sides(void)
{
    dt_params *params = dt_params_new();
    net there, here;
    if (start(&there, params, op_backend(), true) && start(&here, params, dt_cpu(), false)) {
        check_run("values as they start", &there);
        dt_params_value(params, there.weight)[3] = 7;
        dt_params_value(params, there.weight)[20] = -2;
        check_run("after the host has written", &there);
        check_run("on the CPU, of the same parameters", &here);
        check_run("and there again", &there);
        ok(dt_params_number(params, there.weight, 3) == 7, "one number");
        dt_params_limit(params, op_backend(), there.weight, -1, 0.5f);
        float most = -9, least = 9;
        for (int i = 0; i < COUNT; i++) {
            most = fmaxf(most, dt_params_look(params, there.weight)[i]);
            least = fminf(least, dt_params_look(params, there.weight)[i]);
        }
        ok(most == 0.5f && least == -1 && dt_params_number(params, there.weight, 3) == 0.5f, "kept within limits there");
        check_run("with limited values", &there);
        check_run("on the CPU too", &here);
        ok(!dt_params_trouble(params), "no trouble");
    }
    end(&there);
    end(&here);
    dt_params_free(params);
}

/* Steps of the optimizer there, with checks of the host between: as if there were one memory. The gradient of sum(y) is the sum of
 * x's rows for each row of the weight; plain SGD without momentum walks along it. */
static void check_training(void)
{
    dt_params *params = dt_params_new();
    net n;
    dt_optimizer_config config = {.kind = DT_SGD};
    dt_optimizer *optimizer = start(&n, params, op_backend(), true) ? dt_optimizer_new(&config, params, op_backend()) : NULL;
    float want[COUNT], slope[COUNT];
    for (int i = 0; i < COUNT; i++)
        slope[i] = x[0][i % WIDTH] + x[1][i % WIDTH];
    if (ok(optimizer != NULL, "an optimizer there")) {
        memcpy(want, dt_params_look(params, n.weight), sizeof want);
        for (int step = 0; step < 4; step++) {
            if (step == 2) { /* the host changes a value in the midst, and the velocity */
                dt_params_value(params, n.weight)[11] = want[11] = 4;
                dt_optimizer_slot(optimizer, 0)[0] = 0;
            }
            check_run("a step", &n);
            near("the gradient", dt_params_gradient(params, n.weight), slope, COUNT, 1e-6);
            dt_optimizer_step(optimizer, 0.25f);
            for (int i = 0; i < COUNT; i++)
                want[i] -= 0.25f * slope[i];
            near("the weight after it", dt_params_look(params, n.weight), want, COUNT, 2e-5);
        }
        dt_params_gradient(params, n.weight)[0] = NAN;
        ok(!isfinite(dt_optimizer_step(optimizer, 0.25f)), "a gradient that the host has written is seen");
        near("and nothing changed", dt_params_look(params, n.weight), want, COUNT, 2e-5);
        dt_params_clear_gradients(params);
        ok(dt_optimizer_step(optimizer, 0.25f) == 0, "cleared gradients have the norm 0");
    }
    dt_optimizer_free(optimizer);
    end(&n);
    dt_params_free(params);
}

/* Values that somebody else lends are sent as they are, and those that are not lent are zero. */
static void check_lent(void)
{
    float lent[COUNT];
    const float *values[2] = {0};
    dt_params *params = dt_params_new();
    dt_graph *g = dt_graph_new();
    dt_scope s = {g, params, "net"};
    dt_param(s, "weight", dt_dims(ROWS, WIDTH), dt_gaussian(1));
    dt_buffer(s, "running", dt_dims(ROWS), dt_filled(3));
    op_random(lent, COUNT, 6);
    values[dt_params_find(params, "net.weight")] = lent;
    net n;
    if (ok(dt_params_place(params, values), "lent values") && start(&n, params, op_backend(), false)) {
        check_run("of lent values", &n);
        check_run("and once more", &n);
        end(&n);
    }
    dt_graph_free(g);
    dt_params_free(params);
}

/* average := keep average + (1 - keep) now */
static void check_average(void)
{
    dt_params *now = dt_params_new(), *average = dt_params_new();
    net a, b;
    float want[COUNT];
    if (start(&a, now, op_backend(), false) && start(&b, average, op_backend(), false)) {
        dt_params_value(average, b.weight)[0] = 9;
        for (int step = 0; step < 3; step++) {
            for (int i = 0; i < COUNT; i++)
                want[i] = 0.75f * dt_params_look(average, b.weight)[i] + 0.25f * dt_params_look(now, a.weight)[i];
            dt_params_blend(average, b.weight, now, a.weight, op_backend(), 0.75f);
            near("the average", dt_params_look(average, b.weight), want, COUNT, 1e-6);
            dt_params_value(now, a.weight)[step + 3] = (float)step;
        }
        check_run("of averaged values", &b);
    }
    end(&a);
    end(&b);
    dt_params_free(now);
    dt_params_free(average);
}

int main(void)
{
    check_sides();
    check_training();
    check_lent();
    check_average();
    return done();
}
