/* The two towers against the reference CLIP, with a ViT and with a ResNet, and against SigLIP: embeddings, logits, loss, every
 * gradient, and what batch norm keeps. */
#include "kernels/plan.h"
#include "losses/contrastive.h"
#include "tests/clip_golden.h"

typedef struct recorded {
    dt_graph *graph;
    dt_tensor *images, *tokens, *image, *text, *logits, *loss;
    dt_plan *plan;
} recorded;

/* A reference: the folder, and what its files of results are called after: "" or "_train", "_eval" for both modes. */
typedef struct reference {
    const char *folder, *mode;
} reference;

static const char *file_of(const reference *from, const char *name, const char *mode)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s%s.safetensors", from->folder, name, mode);
    return path;
}

static bool record(recorded *r, dt_model *model, int n, bool training, const dt_plan_options *options)
{
    const dt_clip_config *c = &model->config;
    int64_t size = dt_clip_image_size(c);
    r->graph = dt_graph_new();
    dt_scope root = {r->graph, model->params, ""};
    r->images = dt_input(r->graph, "images", DT_F32, dt_dims(n, size, size, 3));
    r->tokens = dt_input(r->graph, "tokens", DT_I32, dt_dims(n, c->text.context_length));
    r->image = dt_keep(dt_clip_image(root, c, r->images, training));
    r->text = dt_keep(dt_clip_text(root, c, r->tokens));
    dt_tensor *scale = dt_clip_logit_scale(root, c);
    dt_tensor *bias = c->has_logit_bias ? dt_clip_logit_bias(root, c) : dt_fill(r->graph, (dt_shape){0}, 0);
    dt_tensor *cosines = dt_matmul(dt_l2_normalize(r->image, 0), dt_l2_normalize(r->text, 0), false, true);
    r->logits = dt_keep(dt_add(dt_mul(cosines, dt_exp(scale)), bias));
    r->loss = dt_keep(c->has_logit_bias ? dt_siglip_loss(r->image, r->text, scale, bias)
                                        : dt_clip_loss(r->image, r->text, scale));
    if (training)
        dt_store_gradients(r->loss, false);
    r->plan = dt_plan_new(r->graph, dt_cpu(), options);
    return r->plan != NULL;
}

static dt_safetensors *open_results(const reference *from, const char *name, const char *mode)
{
    dt_error error = {""};
    dt_safetensors *file = dt_safetensors_open(file_of(from, name, mode), &error);
    ok(file != NULL, "%s%s is there %s", name, mode, error.message);
    return file;
}

/* Compares with the tensor `name` of the file called RESULTS. */
static void compare_values(const float *got, size_t size, const char *name, const dt_safetensors *file,
                           const char *results, const json_t *tolerances)
{
    size_t count = 0;
    char entry[128];
    float *want = golden_floats(file, name, &count);
    snprintf(entry, sizeof entry, "%s.safetensors", results);
    if (ok(want && got && count == size, "the reference has %s", name))
        near(name, got, want, count, golden_tolerance(tolerances, entry, name));
    free(want);
}

static void compare_results(const recorded *r, const reference *from, const json_t *tolerances)
{
    const struct {
        const dt_tensor *tensor;
        const char *name;
    } results[] = {
        {r->image, "image_features"}, {r->text, "text_features"}, {r->logits, "logits_per_image"}, {r->loss, "loss"}};
    char name[64];
    dt_safetensors *file = open_results(from, "expected", from->mode);
    snprintf(name, sizeof name, "expected%s", from->mode);
    for (size_t i = 0; file && i < 4; i++) {
        size_t count = (size_t)dt_count(&results[i].tensor->shape);
        float *values = calloc(count, sizeof *values);
        ok(values && dt_plan_read(r->plan, results[i].tensor, values), "%s is kept", results[i].name);
        compare_values(values, count, results[i].name, file, name, tolerances);
        free(values);
    }
    dt_safetensors_close(file);
}

/* All gradients, or all buffers. */
static void compare_params(dt_model *model, bool gradients, const reference *from, const char *results, const char *mode,
                           const json_t *tolerances)
{
    char name[64];
    dt_safetensors *file = open_results(from, results, mode);
    snprintf(name, sizeof name, "%s%s", results, mode);
    for (int i = 0; file && i < dt_params_count(model->params); i++) {
        const dt_param_info *info = dt_params_info(model->params, i);
        if (info->trainable == gradients)
            compare_values(gradients ? dt_params_gradient(model->params, i) : dt_params_value(model->params, i), info->count,
                           info->name, file, name, tolerances);
    }
    dt_safetensors_close(file);
}

static void run(const recorded *r, dt_model *model, const golden_batch *batch, const reference *from, const json_t *tolerances)
{
    bool training = strcmp(from->mode, "_eval");
    dt_plan_write(r->plan, r->images, batch->images);
    dt_plan_write(r->plan, r->tokens, batch->tokens);
    ok(!dt_plan_run(r->plan, 1, 0), "the towers run");
    compare_results(r, from, tolerances);
    if (training)
        compare_params(model, true, from, "grads", from->mode, tolerances);
    if (dt_params_buffer_size(model->params))
        compare_params(model, false, from, training ? "buffers_after" : "model", training ? from->mode : "", tolerances);
    dt_plan_facts facts = dt_plan_describe(r->plan);
    ok(facts.planned_bytes <= facts.live_bytes * 13 / 10, "planned memory is within 1.3 of what lives at once (%.3f)",
       (double)facts.planned_bytes / (double)facts.live_bytes);
}

static void check(const reference *from, const dt_plan_options *options)
{
    char name[512];
    dt_error error = {""};
    json_t *config = NULL;
    recorded r = {0};
    golden_batch batch = {0};
    snprintf(name, sizeof name, "%s/config.json", from->folder);
    dt_model *model = golden_model(name, file_of(from, "model", ""), &config, &error);
    if (!ok(model != NULL, "the reference's weights load %s", error.message))
        return;
    snprintf(name, sizeof name, "%s/tolerance.json", from->folder);
    json_t *tolerances = dt_json_load(name, &error);
    dt_safetensors *file = dt_safetensors_open(file_of(from, "batch", ""), &error);
    ok(tolerances && file && golden_read_batch(file, 0, &batch), "the batch loads");
    dt_safetensors_close(file);
    bool planned = record(&r, model, batch.count, strcmp(from->mode, "_eval"), options);
    if (ok(planned, "%s%s is planned: %s", from->folder, from->mode, planned ? "good" : dt_graph_error(r.graph)))
        run(&r, model, &batch, from, tolerances);
    dt_plan_free(r.plan);
    dt_graph_free(r.graph);
    golden_free_batch(&batch);
    json_decref(tolerances);
    json_decref(config);
    dt_model_free(model);
}

static void check_plans(const char *folder, const char *mode)
{
    const reference from = {folder, mode};
    check(&from, NULL);
    check(&from, &(dt_plan_options){.no_fusion = true});
}

/* The folder of a larger reference; NULL and a skip where it is absent. */
static const char *shared(const char *name, const char *what)
{
    static char path[512];
    snprintf(path, sizeof path, "../shared/golden/%s", name);
    if (!access(path, R_OK))
        return path;
    skip(what, name);
    return NULL;
}

int main(void)
{
    const char *folder = shared("clip-vit", "CLIP with a ViT against the reference");
    if (folder)
        check_plans(folder, "");
    folder = shared("clip-rn", "CLIP with a ResNet against the reference, at a larger size");
    if (folder) {
        check_plans(folder, "_train");
        check_plans(folder, "_eval");
    }
    check_plans("tests/golden/clip-rn", "_train");
    check_plans("tests/golden/clip-rn", "_eval");
    check_plans("tests/golden/siglip", "");
    return done();
}
