#include "eval/model.h"
#include "eval/model_file.h"
#include "eval/origin.h"
#include "kernels/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct dt_encoder {
    const dt_model *model;
    dt_graph *graph;
    dt_plan *plan;
    dt_tensor *samples, *rows;
    int batch, context; /* context 0: images */
    size_t width;
    size_t sample_bytes;
    void *room;        /* one batch of samples, for a last batch that is not full */
    float *whole;      /* one batch of rows */
};

static dt_encoder *fail(dt_encoder *encoder, dt_error *error, const char *message)
{
    dt_fail(error, "%s", message);
    dt_encoder_free(encoder);
    return NULL;
}

static dt_tensor *record(dt_scope root, const dt_model *model, dt_tower tower, dt_layer layer, dt_tensor *samples)
{
    const dt_clip_config *c = &model->config;
    bool text = tower == DT_TOWER_TEXT;
    if (layer == DT_LAYER_LOGITS)
        return dt_classifier(root, c, &model->head, samples, false);
    if (layer == DT_LAYER_FEATURES)
        return text ? dt_clip_text_features(root, c, samples) : dt_clip_image_features(root, c, samples, false);
    dt_tensor *projected = text ? dt_clip_text(root, c, samples) : dt_clip_image(root, c, samples, false);
    return dt_l2_normalize(projected, 1e-24f); /* so that a zero row stays zero */
}

static dt_tensor *input(dt_encoder *e, const dt_clip_config *c, dt_tower tower)
{
    int64_t size = dt_clip_image_size(c);
    if (tower == DT_TOWER_TEXT)
        return dt_input(e->graph, "tokens", DT_I32, dt_dims(e->batch, e->context));
    return dt_input(e->graph, "images", DT_F32, dt_dims(e->batch, size, size, 3));
}

dt_encoder *dt_encoder_new(dt_model *model, const dt_backend *backend, dt_tower tower, dt_layer layer, int batch,
                           dt_error *error)
{
    dt_encoder *e = calloc(1, sizeof *e);
    if (tower == DT_TOWER_TEXT && !model->config.has_text)
        return fail(e, error, "this model has no text tower");
    if (tower == DT_TOWER_IMAGE && !dt_clip_image_size(&model->config))
        return fail(e, error, "this model knows points of the plane, and no images");
    if (layer == DT_LAYER_EMBEDDING && !model->config.embed_dim)
        return fail(e, error, "this model is an image tower alone; it has no embeddings to compare with texts");
    if (layer == DT_LAYER_LOGITS && (!model->head.classes || model->head.tower != tower))
        return fail(e, error, tower == DT_TOWER_TEXT ? "this model has no classifier of texts"
                                                     : "this model has no classifier of images");
    if (!e || !(e->graph = dt_graph_new()))
        return fail(e, error, "out of memory");
    e->model = model;
    e->batch = batch;
    e->context = tower == DT_TOWER_TEXT ? model->config.text.context_length : 0;
    e->samples = input(e, &model->config, tower);
    e->rows = dt_keep(record((dt_scope){e->graph, model->params, ""}, model, tower, layer, e->samples));
    e->plan = dt_plan_new(e->graph, backend, &(dt_plan_options){.batch = batch});
    if (!e->plan)
        return fail(e, error, dt_graph_error(e->graph));
    e->width = (size_t)e->rows->shape.dim[1];
    e->sample_bytes = dt_dtype_size(e->samples->dtype) * (size_t)(dt_count(&e->samples->shape) / batch);
    e->room = calloc((size_t)batch, e->sample_bytes);
    e->whole = calloc((size_t)batch * e->width, sizeof(float));
    return e->room && e->whole ? e : fail(e, error, "out of memory");
}

dt_encoder *dt_image_encoder_new(dt_model *model, const dt_backend *backend, int batch, dt_error *error)
{
    return dt_encoder_new(model, backend, DT_TOWER_IMAGE, DT_LAYER_EMBEDDING, batch, error);
}

dt_encoder *dt_text_encoder_new(dt_model *model, const dt_backend *backend, int batch, dt_error *error)
{
    return dt_encoder_new(model, backend, DT_TOWER_TEXT, DT_LAYER_EMBEDDING, batch, error);
}

void dt_encoder_free(dt_encoder *e)
{
    if (!e)
        return;
    dt_plan_free(e->plan);
    dt_graph_free(e->graph);
    free(e->room);
    free(e->whole);
    free(e);
}

int dt_encoder_batch(const dt_encoder *e)
{
    return e->batch;
}

size_t dt_encoder_width(const dt_encoder *e)
{
    return e->width;
}

/* Rows that are not finite are of no use to anyone; the weights are to blame, or a sample. */
static bool check_rows(const dt_encoder *e, int count, dt_error *error)
{
    for (size_t i = 0; i < (size_t)count * e->width; i++)
        if (!isfinite(e->whole[i])) {
            if (!dt_model_check_finite(e->model, error))
                return dt_fail_prefix(error, "what the model gives is not finite, it has diverged");
            return dt_fail(error, "what the model gives for sample %zu of a batch is not finite", i / e->width);
        }
    return true;
}

bool dt_encoder_run(dt_encoder *e, const void *samples, int count, float *rows, dt_error *error)
{
    if (count < 1 || count > e->batch)
        return dt_fail(error, "%d samples for an encoder of batch %d", count, e->batch);
    if (count < e->batch) {
        memcpy(e->room, samples, e->sample_bytes * (size_t)count); /* the rest keeps what was there before */
        samples = e->room;
    }
    dt_plan_write(e->plan, e->samples, samples);
    const char *message = dt_plan_run(e->plan, 0, 0);
    if (message)
        return dt_fail(error, "%s", message);
    dt_plan_read(e->plan, e->rows, e->whole);
    if (!check_rows(e, count, error))
        return false;
    memcpy(rows, e->whole, sizeof(float) * (size_t)count * e->width);
    return true;
}

bool dt_encode_texts(dt_model *model, dt_encoder *e, const char *const *texts, size_t count, float *embeddings,
                     dt_error *error)
{
    if (!model->tokenizer)
        return dt_no_tokenizer(model, error);
    size_t batch = (size_t)e->batch, context = (size_t)e->context;
    int32_t *ids = calloc(batch * context, sizeof *ids);
    bool good = ids || dt_fail(error, "out of memory");
    for (size_t from = 0; good && from < count; from += batch) {
        size_t n = count - from < batch ? count - from : batch;
        for (size_t i = 0; good && i < n; i++) {
            const char *text = texts[from + i];
            good = dt_tokenizer_encode_padded(model->tokenizer, text, strlen(text), ids + i * context, e->context, error) ||
                   dt_fail_prefix(error, "text %zu", from + i);
        }
        good = good && dt_encoder_run(e, ids, (int)n, embeddings + from * e->width, error);
    }
    free(ids);
    return good;
}

bool dt_encode_classes(dt_model *model, dt_encoder *e, const char *const *prompts, size_t classes, size_t templates,
                       float *weights, dt_error *error)
{
    size_t dim = e->width;
    float *rows = calloc(templates * dim, sizeof *rows);
    bool good = rows || dt_fail(error, "out of memory");
    if (good && templates == 1) { /* full batches of classes instead of a batch a class */
        good = dt_encode_texts(model, e, prompts, classes, weights, error);
        classes = 0;
    }
    for (size_t c = 0; good && c < classes; c++) {
        good = dt_encode_texts(model, e, prompts + c * templates, templates, rows, error);
        double squares = 0;
        for (size_t k = 0; k < dim; k++) {
            double sum = 0;
            for (size_t t = 0; t < templates; t++)
                sum += rows[t * dim + k];
            weights[c * dim + k] = (float)sum;
            squares += sum * sum;
        }
        for (size_t k = 0; k < dim; k++)
            weights[c * dim + k] /= (float)sqrt(squares > 0 ? squares : 1);
    }
    free(rows);
    return good;
}
