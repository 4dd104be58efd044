/* The two towers against the reference CLIP: embeddings, logits, loss and every gradient. */
#include "kernels/plan.h"
#include "losses/contrastive.h"
#include "tests/clip_golden.h"

typedef struct recorded {
    dt_graph *graph;
    dt_tensor *images, *tokens, *image, *text, *logits, *loss;
    dt_plan *plan;
} recorded;

static bool record(recorded *r, dt_model *model, int n, const dt_plan_options *options)
{
    const dt_clip_config *c = &model->config;
    int64_t size = dt_clip_image_size(c);
    r->graph = dt_graph_new();
    dt_scope root = {r->graph, model->params, ""};
    r->images = dt_input(r->graph, "images", DT_F32, dt_dims(n, size, size, 3));
    r->tokens = dt_input(r->graph, "tokens", DT_I32, dt_dims(n, c->text.context_length));
    r->image = dt_keep(dt_clip_image(root, c, r->images, true));
    r->text = dt_keep(dt_clip_text(root, c, r->tokens));
    dt_tensor *scale = dt_clip_logit_scale(root, c);
    r->logits = dt_keep(dt_mul(dt_matmul(dt_l2_normalize(r->image, 0), dt_l2_normalize(r->text, 0), false, true),
                               dt_exp(scale)));
    r->loss = dt_keep(dt_clip_loss(r->image, r->text, scale));
    dt_store_gradients(r->loss, false);
    r->plan = dt_plan_new(r->graph, dt_cpu(), options);
    return r->plan != NULL;
}

static void compare(const recorded *r, const dt_tensor *got, const char *name, const dt_safetensors *file,
                    const json_t *tolerances)
{
    size_t count = 0;
    float *want = golden_floats(file, name, &count), *values = calloc(count + 1, sizeof *values);
    if (ok(want && count == (size_t)dt_count(&got->shape) && dt_plan_read(r->plan, got, values), "%s is there", name))
        near(name, values, want, count, golden_tolerance(tolerances, "expected.safetensors", name));
    free(want);
    free(values);
}

static void compare_gradients(dt_model *model, const dt_safetensors *file, const json_t *tolerances)
{
    for (int i = 0; i < dt_params_count(model->params); i++) {
        const dt_param_info *info = dt_params_info(model->params, i);
        size_t count = 0;
        float *want = golden_floats(file, info->name, &count);
        if (ok(want && count == info->count, "the reference has a gradient for %s", info->name))
            near(info->name, dt_params_gradient(model->params, i), want, count,
                 golden_tolerance(tolerances, "grads.safetensors", info->name));
        free(want);
    }
}

static void check(const char *path, const dt_plan_options *options)
{
    char name[512];
    dt_error error = {""};
    json_t *config = NULL, *tolerances;
    dt_model *model;
    recorded r = {0};
    golden_batch batch = {0};
    snprintf(name, sizeof name, "%s/config.json", path);
    char weights[512];
    snprintf(weights, sizeof weights, "%s/model.safetensors", path);
    model = golden_model(name, weights, &config, &error);
    if (!ok(model != NULL, "the reference's weights load %s", error.message))
        return;
    snprintf(name, sizeof name, "%s/tolerance.json", path);
    tolerances = dt_json_load(name, &error);
    snprintf(name, sizeof name, "%s/batch.safetensors", path);
    dt_safetensors *file = dt_safetensors_open(name, &error);
    ok(tolerances && file && golden_read_batch(file, 0, &batch), "the batch loads");
    dt_safetensors_close(file);
    bool planned = record(&r, model, batch.count, options);
    if (ok(planned, "the towers are planned: %s", planned ? "good" : dt_graph_error(r.graph))) {
        dt_plan_write(r.plan, r.images, batch.images);
        dt_plan_write(r.plan, r.tokens, batch.tokens);
        ok(!dt_plan_run(r.plan, 1, 0), "and run");
        snprintf(name, sizeof name, "%s/expected.safetensors", path);
        file = dt_safetensors_open(name, &error);
        compare(&r, r.image, "image_features", file, tolerances);
        compare(&r, r.text, "text_features", file, tolerances);
        compare(&r, r.logits, "logits_per_image", file, tolerances);
        compare(&r, r.loss, "loss", file, tolerances);
        dt_safetensors_close(file);
        snprintf(name, sizeof name, "%s/grads.safetensors", path);
        file = dt_safetensors_open(name, &error);
        compare_gradients(model, file, tolerances);
        dt_safetensors_close(file);
        dt_plan_facts facts = dt_plan_describe(r.plan);
        ok(facts.planned_bytes <= facts.live_bytes * 13 / 10, "planned memory is within 1.3 of what lives at once (%.3f)",
           (double)facts.planned_bytes / (double)facts.live_bytes);
    }
    dt_plan_free(r.plan);
    dt_graph_free(r.graph);
    golden_free_batch(&batch);
    json_decref(tolerances);
    json_decref(config);
    dt_model_free(model);
}

int main(void)
{
    const char *config = golden("clip-vit/config.json");
    if (!config) {
        skip("CLIP with a ViT against the reference", "golden/clip-vit is not here");
        return done();
    }
    char path[512];
    snprintf(path, sizeof path, "%.*s", (int)(strrchr(config, '/') - config), config);
    check(path, NULL);
    check(path, &(dt_plan_options){.no_fusion = true});
    return done();
}
