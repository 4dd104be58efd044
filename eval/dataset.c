#define _GNU_SOURCE /* asprintf */
#include "eval/dataset.h"

#include <glob.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/file.h"
#include "data/loader.h"
#include "data/pairs.h"
#include "data/source.h"

/* An image of a folder. */
typedef struct file {
    char *path;
    char **captions;
    size_t caption_count;
} file;

struct dt_dataset {
    char *path;
    size_t count;
    int32_t *labels;
    dt_pairs *pairs;   /* of a store; else NULL */
    dt_source *source; /* of a folder: owns the class names */
    file *files;       /* [count] of a folder */
};

static bool is_folder(const char *path);
static bool open_folder(dt_dataset *dataset, dt_error *error);
static bool open_store(dt_dataset *dataset, dt_error *error);

dt_dataset *dt_dataset_open(const char *path, dt_error *error)
{
    dt_dataset *dataset = calloc(1, sizeof *dataset);
    bool good = (dataset && (dataset->path = strdup(path))) || dt_fail(error, "no memory to open %s", path);
    good = good && (is_folder(path) ? open_folder(dataset, error) : open_store(dataset, error));
    if (good)
        return dataset;
    dt_dataset_close(dataset);
    return NULL;
}

void dt_dataset_close(dt_dataset *dataset)
{
    if (!dataset)
        return;
    for (size_t i = 0; dataset->files && i < dataset->count; i++) {
        for (size_t c = 0; c < dataset->files[i].caption_count; c++)
            free(dataset->files[i].captions[c]);
        free(dataset->files[i].captions);
        free(dataset->files[i].path);
    }
    free(dataset->files);
    if (dataset->source)
        dataset->source->close(dataset->source);
    dt_pairs_close(dataset->pairs);
    free(dataset->labels);
    free(dataset->path);
    free(dataset);
}

/* A directory that holds no store. */
static bool is_folder(const char *path)
{
    if (!dt_is_directory(path))
        return false;
    char *data = dt_join(path, "data.mdb"), *pattern = dt_join(path, "*.lmdb");
    glob_t found = {0};
    bool store = data && pattern && (dt_file_exists(data) || glob(pattern, GLOB_NOSORT, NULL, &found) == 0);
    globfree(&found);
    free(data);
    free(pattern);
    return !store;
}

static bool open_store(dt_dataset *dataset, dt_error *error)
{
    if (!(dataset->pairs = dt_pairs_open(dataset->path, error)))
        return false;
    uint64_t count = dt_pairs_count(dataset->pairs);
    if (!count || count > INT32_MAX)
        return dt_fail(error, "%s: %llu pairs; expected 1 to %d", dataset->path, (unsigned long long)count,
                       INT32_MAX);
    dataset->count = (size_t)count;
    if (!(dataset->labels = malloc(dataset->count * sizeof *dataset->labels)))
        return dt_fail(error, "no memory for the labels of %zu pairs", dataset->count);
    for (size_t i = 0; i < dataset->count; i++) {
        dt_pair pair;
        if (!dt_pairs_get(dataset->pairs, i, &pair, error))
            return dt_fail_prefix(error, "%s", dataset->path);
        dataset->labels[i] = pair.label;
    }
    return true;
}

static bool add_file(dt_dataset *dataset, size_t *room, const dt_item *item, dt_error *error)
{
    if (dataset->count == *room) {
        *room = *room ? 2 * *room : 256;
        file *files = realloc(dataset->files, *room * sizeof *files);
        dataset->files = files ? files : dataset->files;
        int32_t *labels = realloc(dataset->labels, *room * sizeof *labels);
        dataset->labels = labels ? labels : dataset->labels;
        if (!files || !labels || *room > INT32_MAX)
            return dt_fail(error, "no memory for %zu images of %s", *room, dataset->path);
    }
    file *f = &dataset->files[dataset->count];
    dataset->labels[dataset->count++] = item->label;
    *f = (file){.path = strdup(item->path), .captions = calloc(item->caption_count + 1, sizeof *f->captions)};
    bool good = f->path && f->captions;
    for (; good && f->caption_count < item->caption_count; f->caption_count += good)
        good = (f->captions[f->caption_count] = strdup(item->captions[f->caption_count])) != NULL;
    return good || dt_fail(error, "no memory for the images of %s", dataset->path);
}

static bool open_folder(dt_dataset *dataset, dt_error *error)
{
    const char *path = dataset->path;
    if (!(dataset->source = dt_source_open("folder", &path, 1, NULL, error)))
        return false;
    for (size_t room = 0;;) {
        dt_item item = {.label = -1, .weight = 1};
        dt_source_result result = dataset->source->next(dataset->source, &item, error);
        if (result == DT_SOURCE_END)
            return dataset->count || dt_fail(error, "there are no images in %s or its folders", path);
        if (result == DT_SOURCE_FAILED)
            return false;
        if (result == DT_SOURCE_SKIP)
            return dt_fail_prefix(error, "%s", item.name);
        bool good = true;
        for (size_t c = 0; good && c < item.caption_count; c++)
            good = dt_caption_check(item.captions[c], error) ||
                   dt_fail_prefix(error, "a caption of %s", item.name);
        if (!good || !add_file(dataset, &room, &item, error))
            return false;
    }
}

const char *dt_dataset_path(const dt_dataset *dataset)
{
    return dataset->path;
}

size_t dt_dataset_count(const dt_dataset *dataset)
{
    return dataset->count;
}

size_t dt_dataset_class_count(const dt_dataset *dataset)
{
    return dataset->pairs ? dt_pairs_class_count(dataset->pairs) : dataset->source->class_count;
}

const char *dt_dataset_class_name(const dt_dataset *dataset, size_t label)
{
    if (label >= dt_dataset_class_count(dataset))
        return NULL;
    return dataset->pairs ? dt_pairs_class_name(dataset->pairs, label) : dataset->source->class_names[label];
}

const int32_t *dt_dataset_labels(const dt_dataset *dataset)
{
    return dataset->labels;
}

static bool add_caption(dt_captions *captions, size_t *room, const char *text, size_t image, dt_error *error)
{
    if (captions->count == *room) {
        *room = *room ? 2 * *room : 256;
        const char **texts = realloc(captions->texts, *room * sizeof *texts);
        captions->texts = texts ? texts : captions->texts;
        int32_t *images = realloc(captions->images, *room * sizeof *images);
        captions->images = images ? images : captions->images;
        if (!texts || !images)
            return dt_fail(error, "no memory for %zu captions", *room);
    }
    captions->texts[captions->count] = text;
    captions->images[captions->count++] = (int32_t)image;
    return true;
}

bool dt_dataset_captions(const dt_dataset *dataset, size_t each, dt_captions *captions, dt_error *error)
{
    *captions = (dt_captions){0};
    bool good = true;
    for (size_t i = 0, room = 0; good && i < dataset->count; i++) {
        dt_pair pair = {0};
        good = !dataset->pairs || dt_pairs_get(dataset->pairs, i, &pair, error);
        size_t count = dataset->pairs ? pair.caption_count : dataset->files[i].caption_count;
        for (size_t c = 0; good && c < count && (!each || c < each); c++)
            good = add_caption(
                captions, &room,
                dataset->pairs ? dt_pair_caption(&pair, c, NULL) : dataset->files[i].captions[c], i, error);
    }
    if (!good)
        dt_captions_free(captions);
    return good;
}

void dt_captions_free(dt_captions *captions)
{
    free(captions->texts);
    free(captions->images);
    *captions = (dt_captions){0};
}

bool dt_dataset_describe(const dt_dataset *dataset, size_t index, char *text, size_t size, dt_error *error)
{
    dt_pair pair = {0};
    if (dataset->pairs && !dt_pairs_get(dataset->pairs, index, &pair, error))
        return false;
    const file *f = dataset->files ? &dataset->files[index] : NULL;
    const char *found = NULL;
    if (f ? f->caption_count : pair.caption_count)
        found = f ? f->captions[0] : dt_pair_caption(&pair, 0, NULL);
    else if (dataset->labels[index] >= 0)
        found = dt_dataset_class_name(dataset, (size_t)dataset->labels[index]);
    else if (f)
        found = f->path;
    size_t length =
        (size_t)(found ? snprintf(text, size, "%s", found) : snprintf(text, size, "image %zu", index));
    if (length >= size) /* cut within a character: back to its first byte */
        for (size_t at = size - 1; at && (((unsigned char)found[at]) & 0xC0) == 0x80; at--)
            text[at - 1] = 0;
    return true;
}

const dt_pairs *dt_dataset_pairs(const dt_dataset *dataset)
{
    return dataset->pairs;
}

const char *dt_dataset_file(const dt_dataset *dataset, size_t index)
{
    return dataset->files && index < dataset->count ? dataset->files[index].path : NULL;
}

bool dt_dataset_picture(const dt_dataset *dataset, size_t index, const uint8_t **bytes, size_t *size, uint8_t **room,
                        dt_error *error)
{
    *room = NULL;
    if (index >= dataset->count)
        return dt_fail(error, "%s has no image %zu; it has %zu", dataset->path, index, dataset->count);
    if (dataset->files) {
        *bytes = *room = (uint8_t *)dt_file_read(dataset->files[index].path, DT_PAIR_BYTES_MAX, size, error);
        return *bytes != NULL;
    }
    dt_pair pair;
    if (!dt_pairs_get(dataset->pairs, index, &pair, error))
        return false;
    *bytes = pair.jpeg;
    *size = pair.jpeg_size;
    return true;
}

static void tell(dt_progress progress, const char *what, size_t done, size_t total)
{
    if (progress.tell)
        progress.tell(progress.context, what, done, total);
}

static bool embed_store(const dt_dataset *dataset, const dt_model *model, dt_encoder *encoder, int threads,
                        float *embeddings, dt_progress progress, dt_error *error)
{
    const dt_loader_options options = {.pairs = dataset->pairs,
                                       .transform = model->preprocess,
                                       .batch_size = dt_encoder_batch(encoder),
                                       .epochs = 1,
                                       .threads = threads};
    dt_loader *loader = dt_loader_open(&options, error);
    size_t done = 0, dim = dt_encoder_width(encoder);
    dt_batch batch;
    bool good = loader;
    while (good && (good = dt_loader_next(loader, &batch, error)) && batch.count) {
        good = dt_encoder_run(encoder, batch.images, batch.count, embeddings + done * dim, error);
        done += (size_t)batch.count;
        tell(progress, "images", done, dataset->count);
    }
    dt_loader_close(loader);
    return good ? done == dataset->count ||
                      dt_fail(error, "%s gave %zu images; expected %zu", dataset->path, done, dataset->count)
                : dt_fail_prefix(error, "%s", dataset->path);
}

static bool read_image(const char *path, const dt_transform *transform, dt_transform_scratch *scratch,
                       float *out, dt_error *error)
{
    size_t size;
    uint8_t *bytes = (uint8_t *)dt_file_read(path, DT_PAIR_BYTES_MAX, &size, error);
    if (!bytes)
        return false; /* the message names the file */
    bool good;
    if (size > 2 && bytes[0] == 0xFF && bytes[1] == 0xD8) {
        good = dt_transform_jpeg(transform, scratch, bytes, size, 0, out, error);
    } else {
        dt_image image = {0};
        good = dt_image_decode(bytes, size, &image, error) &&
               dt_transform_pixels(transform, scratch, &image, 0, out, error);
        dt_image_free(&image);
    }
    free(bytes);
    return good || dt_fail_prefix(error, "%s", path);
}

/* Working memory of the threads that read a folder. */
typedef struct readers {
    dt_transform_scratch **scratch; /* [threads] */
    int threads;
    float *images; /* [batch, size, size, 3] */
    size_t pixels; /* floats of an image */
} readers;

static bool readers_open(readers *r, const dt_transform *transform, int threads, int batch, dt_error *error)
{
    r->threads = threads;
    r->pixels = (size_t)transform->size * (size_t)transform->size * 3;
    r->images = malloc((size_t)batch * r->pixels * sizeof *r->images);
    r->scratch = calloc((size_t)threads, sizeof *r->scratch);
    bool good = (r->images && r->scratch) || dt_fail(error, "no memory for %d images", batch);
    for (int i = 0; good && i < threads; i++)
        good = (r->scratch[i] = dt_transform_scratch_new(error)) != NULL;
    return good;
}

static void readers_close(readers *r)
{
    for (int i = 0; r->scratch && i < r->threads; i++)
        dt_transform_scratch_free(r->scratch[i]);
    free(r->scratch);
    free(r->images);
}

/* Reads one batch; of several bad images the first is the one that is told. */
static bool read_batch(readers *r, const dt_transform *transform, const file *files, int count,
                       dt_error *error)
{
    int first = count;
#pragma omp parallel for schedule(dynamic) num_threads(r->threads)
    for (int i = 0; i < count; i++) {
        dt_error why;
        if (read_image(files[i].path, transform, r->scratch[omp_get_thread_num()],
                       r->images + (size_t)i * r->pixels, &why))
            continue;
#pragma omp critical(duet_dataset_error)
        if (i < first) {
            first = i;
            dt_fail(error, "%s", why.message);
        }
    }
    return first == count;
}

static bool embed_folder(const dt_dataset *dataset, const dt_model *model, dt_encoder *encoder, int threads,
                         float *embeddings, dt_progress progress, dt_error *error)
{
    readers r = {0};
    size_t batch = (size_t)dt_encoder_batch(encoder), dim = dt_encoder_width(encoder);
    bool good = readers_open(&r, &model->preprocess, threads, (int)batch, error);
    for (size_t done = 0; good && done < dataset->count;) {
        size_t part = dataset->count - done < batch ? dataset->count - done : batch;
        good = read_batch(&r, &model->preprocess, dataset->files + done, (int)part, error) &&
               dt_encoder_run(encoder, r.images, (int)part, embeddings + done * dim, error);
        done += part;
        tell(progress, "images", done, dataset->count);
    }
    readers_close(&r);
    return good;
}

bool dt_dataset_embed(const dt_dataset *dataset, const dt_model *model, dt_encoder *image_encoder,
                      int threads, float *embeddings, dt_progress progress, dt_error *error)
{
    if (threads < 1)
        threads = omp_get_max_threads();
    return (dataset->pairs ? embed_store : embed_folder)(dataset, model, image_encoder, threads, embeddings,
                                                         progress, error);
}

bool dt_embed_file(const char *path, const dt_model *model, dt_encoder *encoder, float *row, dt_error *error)
{
    const file one = {.path = (char *)path};
    readers r = {0};
    bool good = readers_open(&r, &model->preprocess, 1, 1, error) && read_batch(&r, &model->preprocess, &one, 1, error) &&
                dt_encoder_run(encoder, r.images, 1, row, error);
    readers_close(&r);
    return good;
}

bool dt_embed_texts(dt_model *model, dt_encoder *text_encoder, const char *const *texts, size_t count,
                    float *embeddings, dt_progress progress, dt_error *error)
{
    size_t batch = (size_t)dt_encoder_batch(text_encoder), dim = dt_encoder_width(text_encoder);
    for (size_t done = 0; done < count;) {
        size_t part = count - done < batch ? count - done : batch;
        if (!dt_encode_texts(model, text_encoder, texts + done, part, embeddings + done * dim, error))
            return false;
        done += part;
        tell(progress, "texts", done, count);
    }
    return true;
}
