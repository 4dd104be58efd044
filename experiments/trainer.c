#include "experiments/trainer.h"

#include "experiments/not_finite.h"
#include "kernels/ops.h"
#include "losses/contrastive.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A graph with its plan and the handles to its ends. */
typedef struct program {
    dt_graph *graph;
    dt_plan *plan;
    dt_tensor *images, *tokens;          /* inputs of the towers */
    dt_tensor *image, *text;             /* embeddings: results, or inputs of the loss */
    dt_tensor *image_grad, *text_grad;   /* their gradients: results of the loss, or inputs of the way back */
    dt_tensor *loss;
} program;

struct dt_trainer {
    dt_model *model;
    const dt_backend *backend;
    dt_trainer_options options;
    dt_optimizer *optimizer;
    program whole;                  /* without chunks */
    program encode, compare, back;  /* with chunks */
    float *image, *text, *image_grad, *text_grad; /* [batch, dim], with chunks */
    int scale;                      /* index of logit_scale */
    const void *images;             /* the batch that was given and not begun; NULL: none */
    const int32_t *tokens;
};

static dt_scope root(dt_trainer *t, program *p)
{
    return (dt_scope){p->graph, t->model->params, ""};
}

static void record_towers(dt_trainer *t, program *p, int64_t n)
{
    const dt_clip_config *c = &t->model->config;
    int64_t size = dt_clip_image_size(c);
    p->images = dt_input(p->graph, "images", t->options.bytes ? DT_U8 : DT_F32, dt_dims(n, size, size, 3));
    p->tokens = dt_input(p->graph, "tokens", DT_I32, dt_dims(n, c->text.context_length));
    dt_tensor *images = t->options.bytes ? dt_normalize_pixels(p->images, t->options.mean, t->options.std) : p->images;
    p->image = dt_clip_image(root(t, p), c, images, true);
    p->text = dt_clip_text(root(t, p), c, p->tokens);
}

static void record_loss(dt_trainer *t, program *p)
{
    const dt_clip_config *c = &t->model->config;
    dt_tensor *scale = dt_clip_logit_scale(root(t, p), c);
    if (t->options.loss == DT_LOSS_INFONCE)
        p->loss = dt_clip_loss(p->image, p->text, scale);
    else
        p->loss = dt_siglip_loss(p->image, p->text, scale, dt_clip_logit_bias(root(t, p), c));
    dt_keep(p->loss);
}

static bool finish(dt_trainer *t, program *p, dt_error *error)
{
    p->plan = dt_plan_new(p->graph, t->backend, &(dt_plan_options){.batch = p->images ? p->images->shape.dim[0] : 0});
    return p->plan || dt_fail(error, "%s", dt_graph_error(p->graph));
}

static bool start(program *p, dt_error *error)
{
    p->graph = dt_graph_new();
    return p->graph || dt_fail(error, "out of memory");
}

static bool plan_whole(dt_trainer *t, dt_error *error)
{
    program *p = &t->whole;
    if (!start(p, error))
        return false;
    record_towers(t, p, t->options.batch_size);
    record_loss(t, p);
    dt_store_gradients(p->loss, false);
    return finish(t, p, error);
}

static bool plan_encode(dt_trainer *t, dt_error *error)
{
    program *p = &t->encode;
    if (!start(p, error))
        return false;
    record_towers(t, p, t->options.chunk_size);
    dt_keep(p->image);
    dt_keep(p->text);
    return finish(t, p, error);
}

static bool plan_compare(dt_trainer *t, dt_error *error)
{
    program *p = &t->compare;
    if (!start(p, error))
        return false;
    dt_shape shape = dt_dims(t->options.batch_size, t->model->config.embed_dim);
    p->image = dt_input(p->graph, "image embeddings", DT_F32, shape);
    p->text = dt_input(p->graph, "text embeddings", DT_F32, shape);
    record_loss(t, p);
    dt_store_gradients(p->loss, false); /* of temperature and bias */
    dt_tensor *gradient[2];
    dt_gradient(p->loss, (dt_tensor *[]){p->image, p->text}, 2, gradient);
    p->image_grad = dt_keep(gradient[0]);
    p->text_grad = dt_keep(gradient[1]);
    return finish(t, p, error);
}

static bool plan_back(dt_trainer *t, dt_error *error)
{
    program *p = &t->back;
    if (!start(p, error))
        return false;
    record_towers(t, p, t->options.chunk_size);
    dt_shape shape = dt_dims(t->options.chunk_size, t->model->config.embed_dim);
    p->image_grad = dt_input(p->graph, "image gradients", DT_F32, shape);
    p->text_grad = dt_input(p->graph, "text gradients", DT_F32, shape);
    dt_store_gradients_from((dt_tensor *[]){p->image, p->text}, (dt_tensor *[]){p->image_grad, p->text_grad}, 2, true);
    return finish(t, p, error);
}

static bool plan_chunks(dt_trainer *t, dt_error *error)
{
    size_t count = (size_t)t->options.batch_size * (size_t)t->model->config.embed_dim;
    if (dt_clip_mixes_batch(&t->model->config))
        return dt_fail(error, "chunk_size: batch norm looks at the whole batch, which chunks would change; "
                              "use a ViT tower, or chunk_size 0");
    t->image = calloc(count, sizeof(float));
    t->text = calloc(count, sizeof(float));
    t->image_grad = calloc(count, sizeof(float));
    t->text_grad = calloc(count, sizeof(float));
    if (!t->image || !t->text || !t->image_grad || !t->text_grad)
        return dt_fail(error, "no memory for the embeddings of a batch");
    return plan_encode(t, error) && plan_compare(t, error) && plan_back(t, error);
}

dt_trainer *dt_trainer_new(dt_model *model, const dt_backend *backend, const dt_trainer_options *options,
                           dt_error *error)
{
    dt_trainer *t = calloc(1, sizeof *t);
    if (!t) {
        dt_fail(error, "out of memory");
        return NULL;
    }
    char message[DT_MESSAGE];
    *t = (dt_trainer){.model = model, .backend = backend, .options = *options,
                      .scale = dt_params_find(model->params, "logit_scale")};
    bool good = options->loss == DT_LOSS_INFONCE || model->config.has_logit_bias ||
                dt_fail(error, "the sigmoid loss needs a model with init_logit_bias");
    good = good && (model->config.has_text || dt_fail(error, "contrastive training needs a model with text_cfg"));
    good = good && ((t->optimizer = dt_optimizer_new(&options->optimizer, model->params, backend)) ||
                    dt_fail(error, "%s", dt_optimizer_no_memory(&options->optimizer, model->params, backend, message)));
    good = good && (options->chunk_size ? plan_chunks(t, error) : plan_whole(t, error));
    if (!good) {
        dt_trainer_free(t);
        return NULL;
    }
    return t;
}

static void free_program(program *p)
{
    dt_plan_free(p->plan);
    dt_graph_free(p->graph);
}

void dt_trainer_free(dt_trainer *t)
{
    if (!t)
        return;
    free_program(&t->whole);
    free_program(&t->encode);
    free_program(&t->compare);
    free_program(&t->back);
    dt_optimizer_free(t->optimizer);
    free(t->image);
    free(t->text);
    free(t->image_grad);
    free(t->text_grad);
    free(t);
}

/* Gives chunk k to a program of the towers, beside what it computes with. */
static bool give_chunk(dt_trainer *t, program *p, size_t k, dt_error *error)
{
    const dt_clip_config *c = &t->model->config;
    size_t chunk = (size_t)t->options.chunk_size, size = (size_t)dt_clip_image_size(c);
    size_t image = chunk * size * size * 3 * dt_dtype_size(p->images->dtype), text = chunk * (size_t)c->text.context_length;
    return (dt_plan_stage(p->plan, p->images, (const char *)t->images + k * image) &&
            dt_plan_stage(p->plan, p->tokens, t->tokens + k * text)) ||
           dt_fail(error, "no memory on the device to receive a chunk beside the one that is computed with");
}

/* The program of one chunk; the next one travels meanwhile. */
static bool run_chunk(dt_trainer *t, program *p, size_t k, size_t chunks, dt_error *error)
{
    uint64_t step = dt_optimizer_steps(t->optimizer);
    if (k == 0 && !give_chunk(t, p, 0, error))
        return false;
    const char *message = dt_plan_start(p->plan, t->options.seed + k * 0x9E3779B97F4A7C15u, (uint32_t)step);
    if (message)
        return dt_fail(error, "%s", message);
    if (k + 1 < chunks && !give_chunk(t, p, k + 1, error))
        return false;
    return !(message = dt_plan_finish(p->plan)) || dt_fail(error, "%s", message);
}

static bool run_chunks(dt_trainer *t, dt_error *error)
{
    size_t chunk = (size_t)t->options.chunk_size, chunks = (size_t)t->options.batch_size / chunk;
    size_t embedding = chunk * (size_t)t->model->config.embed_dim;
    for (size_t k = 0; k < chunks; k++) {
        if (!run_chunk(t, &t->encode, k, chunks, error))
            return false;
        dt_plan_read(t->encode.plan, t->encode.image, t->image + k * embedding);
        dt_plan_read(t->encode.plan, t->encode.text, t->text + k * embedding);
    }
    program *p = &t->compare;
    dt_params_clear_gradients(t->model->params);
    dt_plan_write(p->plan, p->image, t->image);
    dt_plan_write(p->plan, p->text, t->text);
    const char *message = dt_plan_run(p->plan, t->options.seed, (uint32_t)dt_optimizer_steps(t->optimizer));
    if (message)
        return dt_fail(error, "%s", message);
    dt_plan_read(p->plan, p->image_grad, t->image_grad);
    dt_plan_read(p->plan, p->text_grad, t->text_grad);
    for (size_t k = 0; k < chunks; k++) {
        p = &t->back;
        dt_plan_write(p->plan, p->image_grad, t->image_grad + k * embedding);
        dt_plan_write(p->plan, p->text_grad, t->text_grad + k * embedding);
        if (!run_chunk(t, p, k, chunks, error))
            return false;
    }
    return true;
}

bool dt_trainer_give(dt_trainer *t, const void *images, const int32_t *tokens, dt_error *error)
{
    program *p = &t->whole;
    t->images = images;
    t->tokens = tokens;
    return t->options.chunk_size || (dt_plan_stage(p->plan, p->images, images) && dt_plan_stage(p->plan, p->tokens, tokens)) ||
           dt_fail(error, "no memory on the device to receive a batch beside the one that is computed with");
}

bool dt_trainer_begin(dt_trainer *t, dt_error *error)
{
    if (!t->images)
        return dt_fail(error, "a step without a batch");
    if (t->options.chunk_size) {
        bool good = run_chunks(t, error);
        t->images = NULL;
        return good;
    }
    t->images = NULL;
    const char *message = dt_plan_start(t->whole.plan, t->options.seed, (uint32_t)dt_optimizer_steps(t->optimizer));
    return !message || dt_fail(error, "%s", message);
}

/* All of a step is asked for before the first of its numbers is waited for. */
bool dt_trainer_end(dt_trainer *t, float learning_rate, dt_step_result *result, dt_error *error)
{
    program *p = t->options.chunk_size ? &t->compare : &t->whole;
    dt_optimizer_start(t->optimizer, learning_rate, dt_plan_at(p->plan, p->loss));
    dt_params_limit(t->model->params, t->backend, t->scale, 0, (float)t->options.max_logit_scale);
    const char *message = dt_plan_finish(t->options.chunk_size ? t->back.plan : p->plan);
    if (message)
        return dt_fail(error, "%s", message);
    float loss = NAN;
    dt_plan_read(p->plan, p->loss, &loss);
    result->loss = (double)loss;
    result->grad_norm = dt_optimizer_finish(t->optimizer);
    if (!isfinite(loss) || !isfinite(result->grad_norm))
        return dt_not_finite(p->plan, t->options.seed, dt_optimizer_steps(t->optimizer), isfinite(loss) ? "the gradient" : "the loss", error);
    result->logit_scale = (double)dt_params_number(t->model->params, t->scale, 0);
    return true;
}

bool dt_trainer_step(dt_trainer *t, const void *images, const int32_t *tokens, float learning_rate, dt_step_result *result,
                     dt_error *error)
{
    return dt_trainer_give(t, images, tokens, error) && dt_trainer_begin(t, error) &&
           dt_trainer_end(t, learning_rate, result, error);
}

dt_optimizer *dt_trainer_optimizer(dt_trainer *t)
{
    return t->optimizer;
}

dt_plan *dt_trainer_plan(dt_trainer *t)
{
    return t->options.chunk_size ? t->back.plan : t->whole.plan;
}
