/* A pretraining step as experiments/trainer.c does it, over the tensor core, the towers and the loss alone, so that it builds
 * without the libraries that read models and data: batches are staged from the backend's host memory while the step before runs. */
#ifndef DUET_TESTS_GPU_PRETRAINING_H
#define DUET_TESTS_GPU_PRETRAINING_H

#include "data/clock.h"
#include "encoders/clip.h"
#include "kernels/optimizer.h"
#include "losses/contrastive.h"
#include "tests/op_check.h"

/* ---- Models, with the sizes of experiments/presets ---- */

static inline dt_transformer_config transformer_of(int width, int layers, int heads, bool causal)
{
    return (dt_transformer_config){.width = width,
                                   .layers = layers,
                                   .heads = heads,
                                   .hidden = 4 * width,
                                   .activation = DT_ACT_GELU,
                                   .causal = causal,
                                   .norm_eps = 1e-5f};
}

/* Both with CLIP's text tower, causal, of so many tokens. */
static inline dt_clip_config vit_of(int embed_dim, int size, int patch, int width, int layers, int heads, dt_text_config text)
{
    return (dt_clip_config){
        .embed_dim = embed_dim,
        .vision = DT_VISION_VIT,
        .vit = {.image_size = size, .patch_size = patch, .transformer = transformer_of(width, layers, heads, false)},
        .has_text = true,
        .text = text,
        .init_logit_scale = logf(1 / 0.07f)};
}

static inline dt_clip_config modified_resnet_of(int embed_dim, int size, int width, const int blocks[4], dt_text_config text)
{
    dt_resnet_config r = {.image_size = size,
                          .stages = 4,
                          .stem = DT_STEM_DEEP,
                          .bottleneck = true,
                          .antialiased = true,
                          .heads = width / 2,
                          .embed_dim = embed_dim};
    for (int i = 0; i < 4; i++) {
        r.widths[i] = width << i;
        r.blocks[i] = blocks[i];
    }
    return (dt_clip_config){.embed_dim = embed_dim,
                            .vision = DT_VISION_RESIDUAL,
                            .resnet = r,
                            .image_projection = DT_PROJECT_NONE,
                            .has_text = true,
                            .text = text,
                            .init_logit_scale = logf(1 / 0.07f)};
}

static inline dt_text_config text_of(int context, int vocabulary, int width, int layers, int heads)
{
    return (dt_text_config){
        .context_length = context, .vocab_size = vocabulary, .transformer = transformer_of(width, layers, heads, true)};
}

/* ---- Training ---- */

enum { PRETRAINING_STEPS = 64 }; /* whose ends are noted */

typedef struct pretraining {
    const dt_backend *backend;
    dt_clip_config config;
    int64_t batch;
    dt_params *params;
    dt_optimizer *optimizer;
    dt_graph *graph;
    dt_plan *plan;
    dt_tensor *images, *tokens, *loss;
    float *image_batch[2]; /* host memory, from which batches are staged in turn */
    int32_t *token_batch[2];
    double last_loss, last_norm;
    double ended[PRETRAINING_STEPS]; /* when each step of the last pretraining_run was over */
    char message[2048];              /* what went wrong */
} pretraining;

static inline bool pretraining_fail(pretraining *p, const char *message)
{
    snprintf(p->message, sizeof p->message, "%s", message ? message : "out of memory");
    return false;
}

/* Makes the graph and its plan; the parameters too where there are none yet. */
static inline bool pretraining_plan(pretraining *p, bool no_replay)
{
    const dt_clip_config *c = &p->config;
    int64_t size = dt_clip_image_size(c);
    p->graph = dt_graph_new();
    if (!p->params)
        p->params = dt_params_new();
    if (!p->graph || !p->params)
        return pretraining_fail(p, NULL);
    dt_scope root = {p->graph, p->params, ""};
    p->images = dt_input(p->graph, "images", DT_F32, dt_dims(p->batch, size, size, 3));
    p->tokens = dt_input(p->graph, "tokens", DT_I32, dt_dims(p->batch, c->text.context_length));
    dt_tensor *image = dt_clip_image(root, c, p->images, true), *text = dt_clip_text(root, c, p->tokens);
    dt_tensor *scale = dt_clip_logit_scale(root, c);
    p->loss = dt_keep(c->has_logit_bias ? dt_siglip_loss(image, text, scale, dt_clip_logit_bias(root, c))
                                        : dt_clip_loss(image, text, scale));
    if (!dt_params_allocated(p->params) && !dt_params_allocate(p->params, 1))
        return pretraining_fail(p, NULL);
    dt_store_gradients(p->loss, false);
    const dt_optimizer_config adamw = {
        .kind = DT_ADAMW, .beta1 = 0.9f, .beta2 = 0.98f, .eps = 1e-6f, .weight_decay = 0.2f, .clip_norm = 1};
    if (!p->optimizer && !(p->optimizer = dt_optimizer_new(&adamw, p->params, p->backend)))
        return pretraining_fail(p, "no memory for the optimizer");
    p->plan = dt_plan_new(p->graph, p->backend, &(dt_plan_options){.no_replay = no_replay, .batch = p->batch});
    return p->plan || pretraining_fail(p, dt_graph_error(p->graph));
}

static inline void pretraining_unplan(pretraining *p)
{
    dt_plan_free(p->plan);
    dt_graph_free(p->graph);
    p->plan = NULL;
    p->graph = NULL;
}

static inline void *pretraining_host(const dt_backend *backend, size_t bytes)
{
    return backend->host_allocate ? backend->host_allocate(bytes) : malloc(bytes);
}

static inline void pretraining_host_free(const dt_backend *backend, void *memory)
{
    if (memory && backend->host_release)
        backend->host_release(memory);
    else
        free(memory);
}

/* Normal numbers for images; texts of a start token, some words, an end token and zeros, as captions are. Large batches repeat a
 * stretch of numbers whose length fits nothing. */
static inline void pretraining_fill(pretraining *p, int which, uint64_t seed)
{
    size_t size = (size_t)dt_clip_image_size(&p->config), count = (size_t)p->batch * size * size * 3, stretch = 999983;
    float *images = p->image_batch[which];
    op_random(images, count < stretch ? count : stretch, seed);
    for (size_t at = stretch; at < count; at += stretch)
        memcpy(images + at, images, sizeof(float) * (count - at < stretch ? count - at : stretch));
    int context = p->config.text.context_length, words = p->config.text.vocab_size - 2;
    for (int64_t i = 0; i < p->batch; i++) {
        int32_t *text = p->token_batch[which] + i * context;
        int end = 1 + (int)(dt_random_block(seed, 4, 0, (uint64_t)i).v[0] % 24);
        end = end < context ? end : context - 1;
        for (int t = 0; t < context; t++)
            text[t] = t > end ? 0 : (int32_t)(dt_random_block(seed, 5, (uint32_t)t, (uint64_t)i).v[0] % (uint32_t)words);
        text[0] = words;
        text[end] = words + 1;
    }
}

/* False: no memory, or another refusal; p->message says it. To be closed all the same. */
static inline bool pretraining_open(pretraining *p, const dt_backend *backend, const dt_clip_config *config, int64_t batch,
                                    bool no_replay)
{
    *p = (pretraining){.backend = backend, .config = *config, .batch = batch};
    size_t size = (size_t)dt_clip_image_size(config);
    for (int i = 0; i < 2; i++) {
        p->image_batch[i] = pretraining_host(backend, sizeof(float) * (size_t)batch * size * size * 3);
        p->token_batch[i] = pretraining_host(backend, sizeof(int32_t) * (size_t)batch * (size_t)config->text.context_length);
        if (!p->image_batch[i] || !p->token_batch[i])
            return pretraining_fail(p, "no memory on the host for a batch");
        pretraining_fill(p, i, 100 + (uint64_t)i);
    }
    return pretraining_plan(p, no_replay);
}

static inline void pretraining_close(pretraining *p)
{
    pretraining_unplan(p);
    dt_optimizer_free(p->optimizer);
    dt_params_free(p->params);
    for (int i = 0; i < 2; i++) {
        pretraining_host_free(p->backend, p->image_batch[i]);
        pretraining_host_free(p->backend, p->token_batch[i]);
    }
}

static inline bool pretraining_give(pretraining *p, int which)
{
    return (dt_plan_stage(p->plan, p->images, p->image_batch[which]) &&
            dt_plan_stage(p->plan, p->tokens, p->token_batch[which])) ||
           pretraining_fail(p, "no memory on the device to receive a batch");
}

/* Steps with the batches in turn, the first one given at the start: `first` is the number of the first step of all. */
static inline bool pretraining_run(pretraining *p, int first, int steps)
{
    bool good = pretraining_give(p, first % 2);
    int scale = dt_params_find(p->params, "logit_scale");
    for (int k = first; good && k < first + steps; k++) {
        float loss = NAN;
        const char *message = dt_plan_start(p->plan, 3, (uint32_t)dt_optimizer_steps(p->optimizer));
        good = !message && (k + 1 == first + steps || pretraining_give(p, (k + 1) % 2));
        if (!message)
            message = dt_plan_finish(p->plan);
        if (message)
            return pretraining_fail(p, message);
        dt_plan_read(p->plan, p->loss, &loss);
        p->last_loss = (double)loss;
        p->last_norm = dt_optimizer_step(p->optimizer, 1e-3f);
        dt_params_limit(p->params, p->backend, scale, 0, 4.6f);
        if (k - first < PRETRAINING_STEPS)
            p->ended[k - first] = dt_now();
        if (!isfinite(p->last_loss) || !isfinite(p->last_norm)) {
            snprintf(p->message, sizeof p->message, "step %d: the loss is %g, the norm of the gradients %g", k, p->last_loss,
                     p->last_norm);
            return false;
        }
    }
    return good;
}

#endif
