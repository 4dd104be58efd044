/* Planning: fusion changes nothing but speed, memory is placed without overlap, gradients accumulate, buffers update. */
#include "eval/model.h"
#include "kernels/plan.h"
#include "kernels/planning.h"
#include "losses/contrastive.h"
#include "tests/op_check.h"

static const char residual[] =
    "{\"embed_dim\": 16, \"vision_cfg\": {\"tower\": \"residual\", \"image_size\": 17, \"widths\": [8, 12],"
    " \"blocks\": [2, 1], \"stem_stride\": 2}, \"text_cfg\": {\"context_length\": 5, \"vocab_size\": 31, \"width\": 12,"
    " \"heads\": 3, \"layers\": 2}}";

enum { N = 6 };

typedef struct recorded {
    dt_graph *graph;
    dt_plan *plan;
    dt_tensor *images, *tokens, *loss;
} recorded;

static bool record(recorded *r, dt_model *model, bool accumulate, const dt_plan_options *options)
{
    const dt_clip_config *c = &model->config;
    int64_t size = dt_clip_image_size(c);
    r->graph = dt_graph_new();
    dt_scope root = {r->graph, model->params, ""};
    r->images = dt_input(r->graph, "images", DT_F32, dt_dims(N, size, size, 3));
    r->tokens = dt_input(r->graph, "tokens", DT_I32, dt_dims(N, c->text.context_length));
    r->loss = dt_keep(dt_clip_loss(dt_clip_image(root, c, r->images, true), dt_clip_text(root, c, r->tokens),
                                   dt_clip_logit_scale(root, c)));
    dt_store_gradients(r->loss, accumulate);
    r->plan = dt_plan_new(r->graph, dt_cpu(), options);
    return r->plan != NULL;
}

static float run(recorded *r)
{
    float images[N * 17 * 17 * 3], loss = NAN;
    int32_t tokens[N * 5];
    op_random(images, sizeof images / sizeof *images, 11);
    for (int i = 0; i < N * 5; i++)
        tokens[i] = i % 5 == 4 ? 30 : (i * 7) % 29;
    dt_plan_write(r->plan, r->images, images);
    dt_plan_write(r->plan, r->tokens, tokens);
    ok(!dt_plan_run(r->plan, 1, 0), "runs");
    dt_plan_read(r->plan, r->loss, &loss);
    return loss;
}

static void stop(recorded *r)
{
    dt_plan_free(r->plan);
    dt_graph_free(r->graph);
}

static dt_model *model_new(void)
{
    dt_error error = {""};
    json_t *json = dt_json_parse(residual, sizeof residual - 1, "residual", &error);
    dt_model *model = dt_model_new(json, NULL, 3, &error);
    ok(model != NULL, "a model with batch norm %s", error.message);
    json_decref(json);
    return model;
}

/* Loss, gradients and running statistics with and without fusion. Sums are taken in another order, so the last digits
 * may differ: 1e-5 of the largest gradient is a hundred roundings. */
static void check_fusion(void)
{
    dt_model *fused = model_new(), *plain = model_new();
    recorded a, b;
    bool first = record(&a, fused, false, NULL);
    bool second = record(&b, plain, false, &(dt_plan_options){.no_fusion = true});
    if (ok(first && second, "both are planned")) {
        ok(dt_plan_describe(a.plan).kernels < dt_plan_describe(b.plan).kernels * 9 / 10, "fusion runs fewer kernels: %d of %d",
           dt_plan_describe(a.plan).kernels, dt_plan_describe(b.plan).kernels);
        ok(dt_plan_describe(a.plan).planned_bytes <= dt_plan_describe(b.plan).planned_bytes, "in no more memory");
        float la = run(&a), lb = run(&b);
        near("loss", &la, &lb, 1, 1e-6);
        const char *trouble = dt_plan_trouble(a.plan, 1, 0);
        ok(!trouble, "a search finds all finite%s, and changes nothing of what follows", trouble ? trouble : "");
        for (int i = 0; i < dt_params_count(fused->params); i++) {
            const dt_param_info *info = dt_params_info(fused->params, i);
            const float *x = info->trainable ? dt_params_gradient(fused->params, i) : dt_params_value(fused->params, i);
            const float *y = info->trainable ? dt_params_gradient(plain->params, i) : dt_params_value(plain->params, i);
            double most = 1e-3;
            for (size_t k = 0; k < info->count; k++)
                most = fmax(most, fabs((double)y[k]));
            near(info->name, x, y, info->count, 1e-5 * most);
        }
    }
    stop(&a);
    stop(&b);
    dt_model_free(fused);
    dt_model_free(plain);
}

static void check_accumulation(void)
{
    dt_model *model = model_new(), *once = model_new();
    recorded a, b;
    bool first = record(&a, model, true, NULL), second = record(&b, once, false, NULL);
    if (ok(first && second, "both are planned")) {
        run(&b);
        run(&a);
        dt_params_buffers(model->params)[0] = dt_params_buffers(once->params)[0];
        run(&a);
        size_t size = dt_params_size(model->params), wrong = 0;
        const float *twice = dt_params_gradients(model->params), *single = dt_params_gradients(once->params);
        for (size_t i = 0; i < size; i++)
            wrong += twice[i] != 2 * single[i];
        ok(wrong == 0, "gradients of two equal runs add up exactly (%zu of %zu do not)", wrong, size);
    }
    stop(&a);
    stop(&b);
    dt_model_free(model);
    dt_model_free(once);
}

/* Random intervals: none that live together overlap, and the total is close to what lives at once. */
static void check_placement(void)
{
    enum { COUNT = 400, POSITIONS = 100 };
    static dt_interval intervals[COUNT];
    for (uint64_t seed = 1; seed <= 5; seed++) {
        for (int i = 0; i < COUNT; i++) {
            dt_philox block = dt_random_block(seed, 0, 0, (uint64_t)i);
            int first = (int)(block.v[0] % POSITIONS), length = (int)(block.v[1] % 12);
            intervals[i] = (dt_interval){.size = 64 * (1 + block.v[2] % 1000), .first = first,
                                         .last = first + length < POSITIONS ? first + length : POSITIONS - 1};
        }
        size_t live = 0, total = dt_place(intervals, COUNT, POSITIONS, &live);
        int overlaps = 0;
        for (int i = 0; i < COUNT; i++)
            for (int k = 0; k < i; k++) {
                const dt_interval *a = &intervals[i], *b = &intervals[k];
                overlaps += a->first <= b->last && b->first <= a->last && a->offset < b->offset + b->size &&
                            b->offset < a->offset + a->size;
            }
        ok(overlaps == 0 && total >= live, "400 intervals, no overlap (%d)", overlaps);
        ok((double)total <= 1.3 * (double)live, "within 1.3 of what lives at once (%.3f)", (double)total / (double)live);
    }
}

/* Branches that live side by side, results over dying operands, long chains, views, and moves
 * between all of these: x[0] [6, 20], x[1] [20], x[2] [6, 1], x[3] a scalar. */
static dt_tensor *winding(dt_tensor **x, const void *context)
{
    (void)context;
    const int turned[] = {1, 0};
    dt_tensor *h = dt_gelu(dt_add(dt_mul(x[0], x[2]), x[1])), *s = dt_softmax(h);
    dt_tensor *t = dt_transpose(dt_mul(s, dt_tanh(x[0])), turned); /* [20, 6] */
    dt_tensor *parts[] = {dt_slice(t, 0, 3, 5), dt_slice(dt_exp(dt_scale(t, 0.5f)), 0, 10, 10), dt_slice(t, 0, 0, 5)};
    dt_tensor *u = dt_log_softmax(dt_concat(parts, 3, 0)), *v = dt_transpose(u, turned);
    dt_tensor *w = dt_pad(dt_slice(v, 1, 2, 16), 1, 3, 1), *mean = dt_mean(w, 2, true);
    dt_tensor *z = dt_div(dt_sub(w, mean), dt_affine(dt_sigmoid(dt_add(h, x[3])), 1, 0.5f));
    z = dt_add(dt_mul(z, dt_maximum(x[0], x[1])), dt_mul(dt_softplus(s), dt_add(x[2], x[3])));
    return dt_reshape(dt_clamp(dt_sub(z, dt_broadcast_to(dt_max(h), z->shape)), -4, 4), dt_dims(5, 24));
}

/* On a device as on the CPU, and with fusion as without: 1e-5 is a hundred roundings of numbers of size 1. */
static void check_winding(void)
{
    op_case c = {.name = "a winding graph", .build = winding, .inputs = 4,
                 .shape = {dt_dims(6, 20), dt_dims(20), dt_dims(6, 1), {0}}};
    op_run fused, plain, host;
    bool started = op_start(&fused, &c, NULL);
    started &= op_start(&plain, &c, &(dt_plan_options){.no_fusion = true});
    started &= op_start_on(&host, &c, &(dt_plan_options){.no_fusion = true}, dt_cpu());
    if (ok(started, "a winding graph runs%s%s", fused.error ? ": " : "", fused.error ? fused.error : "")) {
        dt_plan_facts facts = dt_plan_describe(fused.plan);
        ok(facts.kernels < dt_plan_describe(plain.plan).kernels, "fewer kernels when fused (%d)", facts.kernels);
        near("fused", fused.y, plain.y, fused.count, 1e-5);
        near("as on the CPU", fused.y, host.y, fused.count, 1e-5);
        for (int i = 0; i < c.inputs; i++) {
            size_t n = (size_t)dt_count(&c.shape[i]);
            double most = 1;
            for (size_t k = 0; k < n; k++)
                most = fmax(most, fabs((double)host.dx[i][k]));
            near("its gradient, fused", fused.dx[i], plain.dx[i], n, 1e-5 * most);
            near("its gradient as on the CPU", fused.dx[i], host.dx[i], n, 1e-5 * most);
        }
        float *first = calloc(fused.count, sizeof *first);
        memcpy(first, fused.y, sizeof *first * fused.count);
        ok(!op_again(&fused) && !memcmp(first, fused.y, sizeof *first * fused.count), "the same bits again");
        free(first);
    }
    op_end(&fused);
    op_end(&plain);
    op_end(&host);
}

/* What no result needs is not run, and what cannot be is refused with a reason. */
static void check_pruning(void)
{
    dt_graph *g = dt_graph_new();
    dt_tensor *x = dt_input(g, "x", DT_F32, dt_dims(3, 4)), *y = dt_keep(dt_exp(x));
    dt_sum(dt_log(x), DT_ALL, false);
    dt_plan *plan = dt_plan_new(g, op_backend(), NULL);
    ok(plan && dt_plan_describe(plan).kernels == 1, "only what is kept runs");
    float in[12] = {0}, out[12] = {0};
    ok(dt_plan_write(plan, x, in) && !dt_plan_run(plan, 1, 0) && dt_plan_read(plan, y, out) && out[11] == 1, "and is right");
    ok(!dt_plan_write(plan, y, in), "a result cannot be written");
    dt_plan_free(plan);
    dt_graph_free(g);
    g = dt_graph_new();
    dt_params *params = dt_params_new();
    dt_keep(dt_exp(dt_param((dt_scope){g, params, "tower"}, "w", dt_dims(2), dt_zeros)));
    ok(!dt_plan_new(g, dt_cpu(), NULL) && strstr(dt_graph_error(g), "not allocated"), "parameters must be allocated first: %s",
       dt_graph_error(g));
    dt_graph_free(g);
    dt_params_free(params);
}

/* A view without a gradient: of an input, of a parameter, of a kept tensor, alone or between nodes that would be fused. */
static void check_stopped(void)
{
    enum { COUNT = 6 };
    dt_graph *g = dt_graph_new();
    dt_params *params = dt_params_new();
    dt_tensor *x = dt_input(g, "x", DT_F32, dt_dims(COUNT));
    dt_tensor *w = dt_param((dt_scope){g, params, ""}, "w", dt_dims(COUNT), dt_filled(3));
    dt_tensor *y = dt_keep(dt_mul(dt_exp(x), w)), *stopped_y = dt_keep(dt_stop_gradient(y));
    dt_tensor *stopped[] = {dt_keep(dt_stop_gradient(x)), dt_keep(dt_stop_gradient(w)), stopped_y};
    dt_tensor *z = dt_keep(dt_affine(dt_mul(stopped_y, dt_add(w, dt_stop_gradient(w))), 2, 0));
    dt_store_gradients(dt_sum(z, DT_ALL, false), false);
    ok(dt_params_allocate(params, 1), "a parameter");
    dt_plan *plan = dt_plan_new(g, dt_cpu(), NULL);
    if (ok(plan != NULL, "stopped gradients are planned %s", dt_graph_error(g) ? dt_graph_error(g) : "")) {
        float in[COUNT], out[COUNT], want[4][COUNT], slope[COUNT];
        op_random(in, COUNT, 5);
        ok(dt_plan_write(plan, x, in) && !dt_plan_run(plan, 1, 0), "and run");
        for (int i = 0; i < COUNT; i++) {
            want[0][i] = in[i], want[1][i] = 3, want[2][i] = 3 * expf(in[i]);
            want[3][i] = 2 * 6 * want[2][i], slope[i] = 2 * want[2][i];
        }
        for (int i = 0; i < 3; i++)
            if (ok(dt_plan_read(plan, stopped[i], out), "view %d is kept", i))
                near("the stopped tensor", out, want[i], COUNT, 1e-5);
        ok(dt_plan_read(plan, z, out), "kept");
        near("what is made of it", out, want[3], COUNT, 1e-4);
        near("the gradient", dt_params_gradient(params, 0), slope, COUNT, 1e-4);
    }
    dt_plan_free(plan);
    dt_graph_free(g);
    dt_params_free(params);
}

int main(void)
{
    check_fusion();
    check_accumulation();
    check_placement();
    check_winding();
    check_pruning();
    check_stopped();
    return done();
}
