#include "eval/model.h"
#include "kernels/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct dt_encoder {
    dt_graph *graph;
    dt_plan *plan;
    dt_tensor *samples, *embeddings;
    int batch, dim, context; /* context 0: images */
    size_t sample_bytes;
    void *room;        /* one batch of samples, for a last batch that is not full */
    float *whole;      /* one batch of embeddings */
};

static dt_encoder *fail(dt_encoder *encoder, dt_error *error, const char *message)
{
    dt_fail(error, "%s", message);
    dt_encoder_free(encoder);
    return NULL;
}

/* Settles an encoder whose graph has been recorded up to the projection. */
static dt_encoder *finish(dt_encoder *e, const dt_backend *backend, dt_tensor *projected, dt_error *error)
{
    e->embeddings = dt_keep(dt_l2_normalize(projected, 1e-24f)); /* so that a zero row stays zero */
    e->plan = dt_plan_new(e->graph, backend, NULL);
    if (!e->plan)
        return fail(e, error, dt_graph_error(e->graph));
    e->sample_bytes = dt_dtype_size(e->samples->dtype) * (size_t)(dt_count(&e->samples->shape) / e->batch);
    e->room = calloc((size_t)e->batch, e->sample_bytes);
    e->whole = calloc((size_t)e->batch * (size_t)e->dim, sizeof(float));
    return e->room && e->whole ? e : fail(e, error, "out of memory");
}

static dt_encoder *start(const dt_model *model, int batch)
{
    dt_encoder *e = calloc(1, sizeof *e);
    if (e)
        *e = (dt_encoder){.graph = dt_graph_new(), .batch = batch, .dim = model->config.embed_dim};
    return e;
}

dt_encoder *dt_image_encoder_new(dt_model *model, const dt_backend *backend, int batch, dt_error *error)
{
    dt_encoder *e = start(model, batch);
    if (!e || !e->graph)
        return fail(e, error, "out of memory");
    int64_t size = dt_clip_image_size(&model->config);
    e->samples = dt_input(e->graph, "images", DT_F32, dt_dims(batch, size, size, 3));
    dt_scope root = {e->graph, model->params, ""};
    return finish(e, backend, dt_clip_image(root, &model->config, e->samples, false), error);
}

dt_encoder *dt_text_encoder_new(dt_model *model, const dt_backend *backend, int batch, dt_error *error)
{
    dt_encoder *e = start(model, batch);
    if (!e || !e->graph)
        return fail(e, error, "out of memory");
    e->context = model->config.text.context_length;
    e->samples = dt_input(e->graph, "tokens", DT_I32, dt_dims(batch, e->context));
    dt_scope root = {e->graph, model->params, ""};
    return finish(e, backend, dt_clip_text(root, &model->config, e->samples), error);
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

bool dt_encoder_run(dt_encoder *e, const void *samples, int count, float *embeddings, dt_error *error)
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
    dt_plan_read(e->plan, e->embeddings, e->whole);
    memcpy(embeddings, e->whole, sizeof(float) * (size_t)count * (size_t)e->dim);
    return true;
}

bool dt_encode_texts(dt_model *model, dt_encoder *e, const char *const *texts, size_t count, float *embeddings,
                     dt_error *error)
{
    if (!model->tokenizer)
        return dt_fail(error, "the model came without a tokenizer; put its tokenizer.json beside the weights");
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
        good = good && dt_encoder_run(e, ids, (int)n, embeddings + from * (size_t)e->dim, error);
    }
    free(ids);
    return good;
}

bool dt_encode_classes(dt_model *model, dt_encoder *e, const char *const *prompts, size_t classes, size_t templates,
                       float *weights, dt_error *error)
{
    size_t dim = (size_t)e->dim;
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
