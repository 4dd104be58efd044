/* The IDX files of MNIST and its kin (Y. LeCun, "The MNIST database", file formats), gzip-compressed or not:
 * big-endian 32-bit words 0x00000803, count, rows, columns, then the pixels; labels: 0x00000801, count, then
 * a byte each. Labels that are not named are looked for beside the images. Images come as grey pixels. */
#define _GNU_SOURCE /* asprintf */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/source_parts.h"

enum { MAGIC_IMAGES = 0x803, MAGIC_LABELS = 0x801, IMAGES_HEADER = 16, LABELS_HEADER = 8, SIDE_MAX = 4096 };

struct idx {
    dt_source base;
    dt_list images, labels, classes;
    dt_bytes image_bytes, label_bytes;
    size_t file, at, count, rows, columns;
    char name[512];
};

static void close_idx(dt_source *source)
{
    struct idx *s = (struct idx *)source;
    dt_bytes_close(&s->image_bytes);
    dt_bytes_close(&s->label_bytes);
    dt_list_free(&s->images);
    dt_list_free(&s->labels);
    dt_list_free(&s->classes);
    free(s);
}

static uint32_t word(const dt_bytes *bytes, size_t i)
{
    const uint8_t *b = bytes->data + 4 * i;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static bool sort_path(struct idx *s, const char *path, dt_error *error)
{
    dt_bytes bytes;
    if (!dt_bytes_open(&bytes, path, error))
        return false;
    uint32_t magic = bytes.size >= LABELS_HEADER ? word(&bytes, 0) : 0;
    dt_bytes_close(&bytes);
    if (magic == MAGIC_IMAGES)
        return dt_list_add(&s->images, path, strlen(path), error);
    if (magic == MAGIC_LABELS)
        return dt_list_add(&s->labels, path, strlen(path), error);
    return dt_fail(error, "%s starts with 0x%08x; expected 0x%08x (images) or 0x%08x (labels)", path, magic,
                   MAGIC_IMAGES, MAGIC_LABELS);
}

static char *replaced(const char *path, const char *from, const char *to)
{
    char *result = NULL;
    const char *slash = strrchr(path, '/'), *found = strstr(slash ? slash : path, from);
    if (!found)
        return strdup(path);
    int before = (int)(found - path);
    return asprintf(&result, "%.*s%s%s", before, path, to, found + strlen(from)) < 0 ? NULL : result;
}

/* train-images-idx3-ubyte.gz has its labels in train-labels-idx1-ubyte.gz. */
static bool find_labels(struct idx *s, const char *images, dt_error *error)
{
    char *half = replaced(images, "images", "labels"), *path = half ? replaced(half, "idx3", "idx1") : NULL;
    bool good = path || dt_fail(error, "no memory");
    if (good && (!strcmp(path, images) || !dt_file_exists(path)))
        good = dt_fail(error, "the labels of %s are not at %s; name both files", images, path);
    good = good && dt_list_add(&s->labels, path, strlen(path), error);
    free(half);
    free(path);
    return good;
}

static bool open_images(struct idx *s, const char *path, dt_error *error)
{
    if (!dt_bytes_open(&s->image_bytes, path, error))
        return false;
    if (s->image_bytes.size < IMAGES_HEADER || word(&s->image_bytes, 0) != MAGIC_IMAGES)
        return dt_fail(error, "%s is not an IDX file of images", path);
    s->count = word(&s->image_bytes, 1);
    s->rows = word(&s->image_bytes, 2);
    s->columns = word(&s->image_bytes, 3);
    if (!s->rows || s->rows > SIDE_MAX || !s->columns || s->columns > SIDE_MAX)
        return dt_fail(error, "%s has images of %zu x %zu pixels, expected 1 to %d a side", path, s->columns,
                       s->rows, SIDE_MAX);
    uint64_t need = (uint64_t)s->count * s->rows * s->columns; /* below 2^56 */
    if (need != s->image_bytes.size - IMAGES_HEADER)
        return dt_fail(error, "%s says it has %zu images of %zu x %zu, %llu bytes, but %zu are there", path,
                       s->count, s->columns, s->rows, (unsigned long long)need,
                       s->image_bytes.size - IMAGES_HEADER);
    return true;
}

static bool open_labels(struct idx *s, const char *path, const char *images, dt_error *error)
{
    if (!dt_bytes_open(&s->label_bytes, path, error))
        return false;
    const dt_bytes *bytes = &s->label_bytes;
    if (bytes->size < LABELS_HEADER || word(bytes, 0) != MAGIC_LABELS)
        return dt_fail(error, "%s is not an IDX file of labels", path);
    if (word(bytes, 1) != bytes->size - LABELS_HEADER)
        return dt_fail(error, "%s says it has %u labels, but %zu are there", path, word(bytes, 1),
                       bytes->size - LABELS_HEADER);
    if (word(bytes, 1) != s->count)
        return dt_fail(error, "%s has %u labels, but %s has %zu images", path, word(bytes, 1), images,
                       s->count);
    uint8_t most = 0;
    for (size_t i = LABELS_HEADER; i < bytes->size; i++)
        if (bytes->data[i] > most)
            most = bytes->data[i];
    bool good = dt_list_number(&s->classes, (size_t)most + 1, error);
    s->base.class_names = (const char *const *)s->classes.items;
    s->base.class_count = s->classes.count;
    return good;
}

static bool open_pair(struct idx *s, dt_error *error)
{
    const char *images = s->images.items[s->file], *labels = s->labels.items[s->file];
    dt_bytes_close(&s->image_bytes);
    dt_bytes_close(&s->label_bytes);
    s->file++;
    s->at = 0;
    return open_images(s, images, error) && open_labels(s, labels, images, error);
}

static dt_source_result next(dt_source *source, dt_item *item, dt_error *error)
{
    struct idx *s = (struct idx *)source;
    while (s->at == s->count) {
        if (s->file == s->images.count)
            return DT_SOURCE_END;
        if (!open_pair(s, error))
            return DT_SOURCE_FAILED;
    }
    snprintf(s->name, sizeof s->name, "%s: image %zu", s->images.items[s->file - 1], s->at);
    size_t size = s->rows * s->columns;
    item->name = s->name;
    item->bytes = s->image_bytes.data + IMAGES_HEADER + s->at * size;
    item->size = size;
    item->width = (int)s->columns;
    item->height = (int)s->rows;
    item->channels = 1;
    item->label = s->label_bytes.data[LABELS_HEADER + s->at];
    s->at++;
    return DT_SOURCE_ITEM;
}

dt_source *dt_source_open_idx(const char *const *paths, size_t path_count, const dt_source_options *options,
                              dt_error *error)
{
    (void)options;
    struct idx *s = calloc(1, sizeof *s);
    if (!s) {
        dt_fail(error, "no memory to open %s", paths[0]);
        return NULL;
    }
    s->base = (dt_source){.kind = "idx", .next = next, .close = close_idx};
    bool good = true;
    for (size_t i = 0; i < path_count && good; i++)
        good = sort_path(s, paths[i], error);
    if (good && !s->images.count)
        good = dt_fail(error, "%s has labels only; name the images", paths[0]);
    for (size_t i = 0, named = s->labels.count; i < s->images.count && good && !named; i++)
        good = find_labels(s, s->images.items[i], error);
    if (good && s->images.count != s->labels.count)
        good = dt_fail(error, "%zu files of images with %zu of labels; name one for each", s->images.count,
                       s->labels.count);
    if (good && (good = open_pair(s, error))) /* so that what is wrong with the first shows at once */
        return &s->base;
    close_idx(&s->base);
    return NULL;
}
