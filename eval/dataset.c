#define _GNU_SOURCE /* asprintf */
#include "eval/dataset.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/file.h"
#include "data/pairs.h"
#include "data/source.h"
#include "data/utf8.h"

/* An image's captions, of a folder. */
typedef struct own_texts {
    char **items;
    size_t count;
} own_texts;

struct dt_dataset {
    char *path;
    size_t count;
    int32_t *labels;
    dt_pairs *pairs;   /* of a store; else NULL */
    dt_source *source; /* of a folder: owns the class names */
    char **paths;      /* [count] of a folder, as the next */
    own_texts *captions;
    dt_image_files files; /* the same for a loader */
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
    for (size_t i = 0; dataset->captions && i < dataset->count; i++) {
        for (size_t c = 0; c < dataset->captions[i].count; c++)
            free(dataset->captions[i].items[c]);
        free(dataset->captions[i].items);
        free(dataset->paths[i]);
    }
    free(dataset->paths);
    free(dataset->captions);
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

static bool make_room(dt_dataset *dataset, size_t *room, dt_error *error)
{
    if (dataset->count < *room)
        return true;
    *room = *room ? 2 * *room : 256;
    char **paths = realloc(dataset->paths, *room * sizeof *paths);
    dataset->paths = paths ? paths : dataset->paths;
    own_texts *captions = realloc(dataset->captions, *room * sizeof *captions);
    dataset->captions = captions ? captions : dataset->captions;
    int32_t *labels = realloc(dataset->labels, *room * sizeof *labels);
    dataset->labels = labels ? labels : dataset->labels;
    return (paths && captions && labels && *room <= INT32_MAX) ||
           dt_fail(error, "no memory for %zu images of %s", *room, dataset->path);
}

static bool add_file(dt_dataset *dataset, size_t *room, const dt_item *item, dt_error *error)
{
    if (!make_room(dataset, room, error))
        return false;
    size_t at = dataset->count++;
    own_texts *t = &dataset->captions[at];
    *t = (own_texts){.items = calloc(item->caption_count + 1, sizeof *t->items)};
    dataset->labels[at] = item->label;
    dataset->paths[at] = strdup(item->path);
    bool good = dataset->paths[at] && t->items;
    for (; good && t->count < item->caption_count; t->count += good)
        good = (t->items[t->count] = strdup(item->captions[t->count])) != NULL;
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
        if (result == DT_SOURCE_END) {
            dataset->files = (dt_image_files){(const char *const *)dataset->paths, dataset->labels, dataset->count};
            return dataset->count || dt_fail(error, "there are no images in %s or its folders", path);
        }
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

const char *dt_dataset_stem(const char *path, char *name, size_t size)
{
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    size_t start = length;
    while (start && path[start - 1] != '/')
        start--;
    if (length - start > 5 && !strncmp(path + length - 5, ".lmdb", 5))
        length -= 5;
    snprintf(name, size, "%.*s", (int)(length - start < size ? length - start : size - 1), path + start);
    return name;
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
        size_t count = dataset->pairs ? pair.caption_count : dataset->captions[i].count;
        for (size_t c = 0; good && c < count && (!each || c < each); c++)
            good = add_caption(
                captions, &room,
                dataset->pairs ? dt_pair_caption(&pair, c, NULL) : dataset->captions[i].items[c], i, error);
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
    const own_texts *own = dataset->captions ? &dataset->captions[index] : NULL;
    const char *found = NULL;
    if (own ? own->count : pair.caption_count)
        found = own ? own->items[0] : dt_pair_caption(&pair, 0, NULL);
    else if (dataset->labels[index] >= 0)
        found = dt_dataset_class_name(dataset, (size_t)dataset->labels[index]);
    else if (own)
        found = dataset->paths[index];
    if (found)
        snprintf(text, dt_utf8_cut(found, size - 1) + 1, "%s", found);
    else
        snprintf(text, size, "image %zu", index);
    return true;
}

const dt_pairs *dt_dataset_pairs(const dt_dataset *dataset)
{
    return dataset->pairs;
}

const char *dt_dataset_file(const dt_dataset *dataset, size_t index)
{
    return dataset->paths && index < dataset->count ? dataset->paths[index] : NULL;
}

const dt_image_files *dt_dataset_files(const dt_dataset *dataset)
{
    return dataset->paths ? &dataset->files : NULL;
}

bool dt_dataset_picture(const dt_dataset *dataset, size_t index, const uint8_t **bytes, size_t *size, uint8_t **room,
                        dt_error *error)
{
    *room = NULL;
    if (index >= dataset->count)
        return dt_fail(error, "%s has no image %zu; it has %zu", dataset->path, index, dataset->count);
    if (dataset->paths) {
        *bytes = *room = (uint8_t *)dt_file_read(dataset->paths[index], DT_PAIR_BYTES_MAX, size, error);
        return *bytes != NULL;
    }
    dt_pair pair;
    if (!dt_pairs_get(dataset->pairs, index, &pair, error))
        return false;
    *bytes = pair.jpeg;
    *size = pair.jpeg_size;
    return true;
}
