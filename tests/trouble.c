/* dt_plan_trouble: the first number that is not finite is named, and nothing that training keeps is changed. */
#include "tests/op_check.h"

enum { N = 5, W = 300 };

/* y = 1 / log x', x' = x w^T, with an embedding of ids and a running mean beside it. Of positive numbers it is finite. */
typedef struct net {
    dt_graph *graph;
    dt_params *params;
    dt_plan *plan;
    dt_tensor *x, *ids, *loss;
    float in[N * W];
    int32_t id[N];
} net;

static bool start(net *t, bool no_fusion)
{
    *t = (net){.graph = dt_graph_new(), .params = dt_params_new()};
    dt_scope root = {t->graph, t->params, "net"};
    t->x = dt_input(t->graph, "images", DT_F32, dt_dims(N, W));
    t->ids = dt_input(t->graph, "ids", DT_I32, dt_dims(N));
    dt_scope first = dt_in(root, "fc");
    dt_tensor *h = dt_linear(t->x, dt_param(first, "weight", dt_dims(W, W), dt_zeros), NULL);
    dt_scope second = dt_in(root, "curve");
    dt_tensor *mean = dt_buffer(second, "mean", dt_dims(W), dt_ones);
    dt_tensor *y = dt_reciprocal(dt_log(dt_mul(h, mean)));
    dt_update(mean, dt_add(dt_scale(mean, 0.5f), dt_scale(dt_mean(h, 1, false), 0.5f)));
    dt_tensor *table = dt_param(dt_in(root, "words"), "table", dt_dims(3, W), dt_ones);
    t->loss = dt_keep(dt_sum(dt_mul(y, dt_embedding(table, t->ids)), DT_ALL, false));
    dt_store_gradients(t->loss, false);
    bool good = dt_params_allocate(t->params, 1);
    for (int i = 0; good && i < W; i++)
        dt_params_value(t->params, dt_params_find(t->params, "net.fc.weight"))[i * W + i] = 1;
    for (int i = 0; i < N * W; i++)
        t->in[i] = 2 + (float)(i % 7);
    t->plan = good ? dt_plan_new(t->graph, dt_cpu(), &(dt_plan_options){.no_fusion = no_fusion}) : NULL;
    return ok(t->plan != NULL, "a network %s", t->plan ? "" : dt_graph_error(t->graph));
}

static void stop(net *t)
{
    dt_plan_free(t->plan);
    dt_graph_free(t->graph);
    dt_params_free(t->params);
}

static const char *trouble(net *t)
{
    dt_plan_write(t->plan, t->x, t->in);
    dt_plan_write(t->plan, t->ids, t->id);
    return dt_plan_trouble(t->plan, 1, 0);
}

/* The text begins and ends so. */
static void expect(net *t, const char *begins, const char *ends)
{
    const char *found = trouble(t);
    size_t n = found ? strlen(found) : 0, tail = strlen(ends);
    ok(n >= tail && !strncmp(found, begins, strlen(begins)) && !strcmp(found + n - tail, ends), "found: %s",
       found ? found : "nothing");
}

static float *value(net *t, const char *name)
{
    return dt_params_value(t->params, dt_params_find(t->params, name));
}

static void check_found(bool no_fusion)
{
    net t;
    if (start(&t, no_fusion)) {
        ok(!trouble(&t), "nothing is found where all is finite");
        t.in[17] = NAN;
        expect(&t, "the input images holds nan", " at 17 of [5, 300]");
        t.in[17] = -INFINITY;
        expect(&t, "the input images holds -inf", " at 17 of [5, 300]");
        t.in[17] = -2;
        expect(&t, no_fusion ? "log (in net.curve)" : "log, reciprocal (in net.curve)", " gave nan at 17 of [5, 300]");
        t.in[17] = 3e38f;
        value(&t, "net.fc.weight")[17 * W + 17] = 2;
        expect(&t, "linear (in net.fc)", " gave inf at 17 of [5, 300]");
        t.in[17] = 2;
        value(&t, "net.fc.weight")[299 * W + 299] = NAN;
        expect(&t, "the parameter net.fc.weight holds nan", " at 89999 of [300, 300]");
        value(&t, "net.fc.weight")[299 * W + 299] = 1;
        value(&t, "net.curve.mean")[1] = INFINITY;
        expect(&t, "the buffer net.curve.mean holds inf", " at 1 of [300]");
        value(&t, "net.curve.mean")[1] = 1;
        t.id[2] = 3;
        expect(&t, "embedding (in net.words)", ": index 3 at position 2 is outside 0..2");
        t.id[2] = 0;
        ok(!trouble(&t), "nothing again");
    }
    stop(&t);
}

/* 1 / log x is 1e7 at 1 + 1e-7, its derivative 1e14: finite. With the weight 1e30 on the gradient's way it is not. */
static void check_gradient(bool no_fusion)
{
    net t;
    if (start(&t, no_fusion)) {
        float loss = 0;
        for (int i = 0; i < W; i++)
            value(&t, "net.words.table")[i] = 1e30f;
        ok(!trouble(&t), "large, but finite");
        t.in[301] = 1 + 0x1p-23f;
        const char *found = trouble(&t);
        ok(found && strstr(found, "net.curve) gave") && strstr(found, "inf at 301 of [5, 300]"), "an overflow of a gradient: %s",
           found ? found : "none");
        dt_plan_read(t.plan, t.loss, &loss);
        ok(loss > 0 && isfinite(loss), "though the loss is finite (%g)", loss);
    }
    stop(&t);
}

/* After a good run, a search that finds something and one that does not leave gradients and buffers as they were. */
static void check_untouched(void)
{
    net t;
    if (start(&t, false)) {
        size_t gradients = sizeof(float) * dt_params_size(t.params), buffers = sizeof(float) * dt_params_buffer_size(t.params);
        char *before = malloc(gradients + buffers);
        ok(!trouble(&t) && !dt_plan_run(t.plan, 1, 0), "runs");
        memcpy(before, dt_params_gradients(t.params), gradients);
        memcpy(before + gradients, dt_params_buffers(t.params), buffers);
        for (int bad = 0; bad < 2; bad++) {
            t.in[3] = bad ? -1 : 2.5f;
            ok(!trouble(&t) == !bad, "%s", bad ? "something is found" : "nothing is found");
            ok(!memcmp(before, dt_params_gradients(t.params), gradients), "gradients stay");
            ok(!memcmp(before + gradients, dt_params_buffers(t.params), buffers), "buffers stay");
        }
        ok(!dt_plan_run(t.plan, 1, 0) && memcmp(before, dt_params_gradients(t.params), gradients) &&
               memcmp(before + gradients, dt_params_buffers(t.params), buffers),
           "a run changes both");
        free(before);
    }
    stop(&t);
}

/* The same search where nothing is trained, on any device: y = 1 / log x, table rows by ids beside it. */
static void check_device(void)
{
    dt_graph *g = dt_graph_new();
    net t = {.graph = g};
    t.x = dt_input(g, "images", DT_F32, dt_dims(N, W));
    t.ids = dt_input(g, "ids", DT_I32, dt_dims(N));
    dt_tensor *table = dt_input(g, "table", DT_F32, dt_dims(3, W));
    dt_keep(dt_sum(dt_mul(dt_reciprocal(dt_log(t.x)), dt_embedding(table, t.ids)), DT_ALL, false));
    t.plan = dt_plan_new(g, op_backend(), NULL);
    if (ok(t.plan != NULL, "a network without parameters %s", t.plan ? "" : dt_graph_error(g))) {
        for (int i = 0; i < N * W; i++)
            t.in[i] = 2 + (float)(i % 7);
        dt_plan_write(t.plan, table, t.in);
        ok(!trouble(&t), "nothing is found where all is finite");
        t.in[917] = INFINITY;
        expect(&t, "the input images holds inf", " at 917 of [5, 300]");
        t.in[917] = -2;
        expect(&t, "log, reciprocal", " gave nan at 917 of [5, 300]");
        t.in[917] = 2;
        t.id[2] = -1;
        expect(&t, "embedding", " at position 2 is outside 0..2");
        t.id[2] = 0;
        ok(!trouble(&t), "nothing again");
    }
    dt_plan_free(t.plan);
    dt_graph_free(g);
}

int main(void)
{
    check_device();
    for (int no_fusion = 0; no_fusion < 2; no_fusion++) {
        check_found(no_fusion);
        check_gradient(no_fusion);
    }
    check_untouched();
    return done();
}
