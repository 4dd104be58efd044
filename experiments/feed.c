#include "experiments/feed.h"

#include "data/loader.h"
#include "data/shuffle.h"
#include "experiments/config.h"

#include <stdlib.h>
#include <string.h>

struct dt_feed {
    dt_feed_options options;
    uint64_t per_epoch, next;
    int32_t *labels;  /* of a batch */
    dt_loader *loader; /* images */
    uint64_t *images;  /* which, [row_count] */
    int32_t *label_of; /* [images of the data set] */
    int32_t *tokens, *batch; /* texts: [row_count, context], [batch_size, context] */
    size_t context;
};

static bool open_images(dt_feed *f, dt_error *error)
{
    const dt_feed_options *o = &f->options;
    const dt_dataset *data = dt_examples_images(o->examples);
    const uint64_t *indices = dt_examples_indices(o->examples);
    f->images = malloc(o->row_count * sizeof *f->images);
    f->label_of = malloc(dt_dataset_count(data) * sizeof *f->label_of);
    if (!f->images || !f->label_of)
        return dt_fail(error, "no memory for %zu samples", o->row_count);
    for (size_t i = 0; i < o->row_count; i++) {
        f->images[i] = indices[o->rows[i]];
        f->label_of[f->images[i]] = dt_examples_labels(o->examples)[o->rows[i]];
    }
    const dt_loader_options loader = {.pairs = dt_dataset_pairs(data), .files = dt_dataset_files(data),
                                      .rows = f->images, .row_count = o->row_count, .transform = o->transform,
                                      .batch_size = o->batch_size, .drop_last = true, .shuffle = true, .seed = o->seed,
                                      .batch = o->batch, .threads = o->threads, .cache_bytes = o->cache_bytes};
    return (f->loader = dt_loader_open(&loader, error)) != NULL;
}

static bool open_texts(dt_feed *f, dt_error *error)
{
    const dt_feed_options *o = &f->options;
    f->context = (size_t)o->model->config.text.context_length;
    f->tokens = calloc(o->row_count * f->context, sizeof *f->tokens);
    f->batch = calloc((size_t)o->batch_size * f->context, sizeof *f->batch);
    if (!f->tokens || !f->batch)
        return dt_fail(error, "no memory for the tokens of %zu texts", o->row_count);
    for (size_t i = 0; i < o->row_count; i++) {
        const char *text = dt_examples_text(o->examples, o->rows[i]);
        if (!dt_tokenizer_encode_padded(o->model->tokenizer, text, strlen(text), f->tokens + i * f->context,
                                        (int)f->context, error))
            return dt_fail_prefix(error, "text %zu of %s", o->rows[i], dt_examples_path(o->examples));
    }
    return true;
}

dt_feed *dt_feed_open(const dt_feed_options *options, dt_error *error)
{
    dt_feed *f = calloc(1, sizeof *f);
    bool good = f || dt_fail(error, "out of memory");
    good = good && dt_config_check_batch(options->batch_size, options->row_count, "samples to train on", error);
    if (good) {
        *f = (dt_feed){.options = *options, .per_epoch = options->row_count / (size_t)options->batch_size,
                       .next = options->batch};
        f->labels = calloc((size_t)options->batch_size, sizeof *f->labels);
        good = f->labels ? dt_examples_images(options->examples) ? open_images(f, error) : open_texts(f, error)
                         : dt_fail(error, "out of memory");
    }
    if (good)
        return f;
    dt_feed_close(f);
    return NULL;
}

void dt_feed_close(dt_feed *f)
{
    if (!f)
        return;
    dt_loader_close(f->loader);
    free(f->labels);
    free(f->images);
    free(f->label_of);
    free(f->tokens);
    free(f->batch);
    free(f);
}

uint64_t dt_feed_batches(const dt_feed *f)
{
    return f->per_epoch;
}

static void next_texts(dt_feed *f)
{
    const dt_feed_options *o = &f->options;
    uint64_t epoch = f->next / f->per_epoch, first = f->next % f->per_epoch * (uint64_t)o->batch_size;
    for (size_t i = 0; i < (size_t)o->batch_size; i++) {
        size_t row = (size_t)dt_permute(o->row_count, o->seed, epoch, first + i);
        memcpy(f->batch + i * f->context, f->tokens + row * f->context, f->context * sizeof *f->batch);
        f->labels[i] = dt_examples_labels(o->examples)[o->rows[row]];
    }
}

bool dt_feed_next(dt_feed *f, const void **samples, const int32_t **labels, dt_error *error)
{
    *labels = f->labels;
    if (f->loader) {
        dt_batch batch;
        if (!dt_loader_next(f->loader, &batch, error))
            return false;
        *samples = batch.images;
        for (int i = 0; i < batch.count; i++)
            f->labels[i] = f->label_of[batch.indices[i]];
    } else {
        next_texts(f);
        *samples = f->batch;
    }
    f->next++;
    return true;
}

double dt_feed_waited(dt_feed *f)
{
    return f->loader ? dt_loader_get_stats(f->loader).waited : 0;
}
