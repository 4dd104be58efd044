/* Encoding what is evaluated: the images of a data set, picture files, texts. */
#include "eval/dataset.h"

#include <omp.h>

#include "data/clock.h"
#include "data/loader.h"

static void tell(dt_progress progress, const char *what, size_t done, size_t total)
{
    if (progress.tell)
        progress.tell(progress.context, what, done, total);
}

/* All that the loader gives, in its order. */
static bool encode_all(dt_loader *loader, dt_encoder *encoder, size_t count, float *rows, dt_progress progress,
                       dt_error *error)
{
    size_t done = 0, width = dt_encoder_width(encoder);
    dt_batch batch;
    while (dt_loader_next(loader, &batch, error)) {
        if (!batch.count)
            return done == count || dt_fail(error, "the loader gave %zu images of %zu", done, count);
        if (!dt_encoder_run(encoder, batch.images, batch.count, rows + done * width, error))
            return false;
        done += (size_t)batch.count;
        tell(progress, "images", done, count);
    }
    return false;
}

bool dt_dataset_encode(const dt_dataset *dataset, const uint64_t *which, size_t count, const dt_model *model,
                       dt_encoder *encoder, int threads, float *rows, dt_progress progress, double *waited, dt_error *error)
{
    const dt_loader_options options = {.pairs = dt_dataset_pairs(dataset),
                                       .files = dt_dataset_files(dataset),
                                       .rows = which,
                                       .row_count = count,
                                       .transform = model->preprocess,
                                       .batch_size = dt_encoder_batch(encoder),
                                       .epochs = 1,
                                       .threads = threads > 0 ? threads : omp_get_max_threads()};
    if (waited)
        *waited = 0;
    if (!count)
        return true;
    dt_loader *loader = dt_loader_open(&options, error);
    bool good = loader && encode_all(loader, encoder, count, rows, progress, error);
    if (loader && waited)
        *waited = dt_loader_get_stats(loader).waited;
    dt_loader_close(loader);
    return good || !options.pairs ? good : dt_fail_prefix(error, "%s", dt_dataset_path(dataset));
}

bool dt_dataset_embed(const dt_dataset *dataset, const dt_model *model, dt_encoder *encoder, int threads, float *rows,
                      dt_progress progress, dt_error *error)
{
    return dt_dataset_encode(dataset, NULL, dt_dataset_count(dataset), model, encoder, threads, rows, progress, NULL, error);
}

bool dt_dataset_embed_timed(const dt_dataset *dataset, const dt_model *model, dt_encoder *encoder, int threads, float *rows,
                            dt_progress progress, dt_embed_times *times, dt_error *error)
{
    double start = dt_now();
    bool good = dt_dataset_encode(dataset, NULL, dt_dataset_count(dataset), model, encoder, threads, rows, progress,
                                  &times->waited, error);
    times->seconds = dt_now() - start;
    return good;
}

bool dt_embed_file(const char *path, const dt_model *model, dt_encoder *encoder, float *row, dt_error *error)
{
    const int32_t no_label = -1;
    const dt_image_files one = {&path, &no_label, 1};
    const dt_loader_options options = {.files = &one, .transform = model->preprocess,
                                       .batch_size = dt_encoder_batch(encoder), .epochs = 1};
    dt_loader *loader = dt_loader_open(&options, error);
    bool good = loader && encode_all(loader, encoder, 1, row, (dt_progress){0}, error);
    dt_loader_close(loader);
    return good;
}

bool dt_embed_texts(dt_model *model, dt_encoder *text_encoder, const char *const *texts, size_t count,
                    float *rows, dt_progress progress, dt_error *error)
{
    size_t batch = (size_t)dt_encoder_batch(text_encoder), width = dt_encoder_width(text_encoder);
    for (size_t done = 0; done < count;) {
        size_t part = count - done < batch ? count - done : batch;
        if (!dt_encode_texts(model, text_encoder, texts + done, part, rows + done * width, error))
            return false;
        done += part;
        tell(progress, "texts", done, count);
    }
    return true;
}
