/* The binary files of CIFAR-10 and CIFAR-100 (A. Krizhevsky, "The CIFAR-10 dataset", binary version): records
 * of a label byte, for CIFAR-100 a coarse and a fine one, and 32 x 32 pixels as a red, a green and a blue
 * plane. Which of the two a file is shows in its size and its labels. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/source_parts.h"

enum { SIDE = 32, PLANE = SIDE * SIDE, COARSE = 20, NAMES_MAX = 1 << 16 };

struct cifar {
    dt_source base;
    dt_list paths, classes;
    dt_bytes bytes;
    size_t file, at, count;
    int kind; /* 10, 100 */
    uint8_t pixels[3 * PLANE];
    char name[512];
};

static void close_cifar(dt_source *source)
{
    struct cifar *s = (struct cifar *)source;
    dt_bytes_close(&s->bytes);
    dt_list_free(&s->paths);
    dt_list_free(&s->classes);
    free(s);
}

static size_t record_size(int kind)
{
    return (kind == 100 ? 2 : 1) + 3 * PLANE;
}

static bool fits(const dt_bytes *bytes, int kind)
{
    size_t record = record_size(kind);
    if (!bytes->size || bytes->size % record)
        return false;
    for (size_t at = 0; at < bytes->size; at += record) {
        const uint8_t *label = bytes->data + at;
        if (kind == 10 ? label[0] >= 10 : label[0] >= COARSE || label[1] >= 100)
            return false;
    }
    return true;
}

static bool open_file(struct cifar *s, dt_error *error)
{
    const char *path = s->paths.items[s->file++];
    dt_bytes_close(&s->bytes);
    if (!dt_bytes_open(&s->bytes, path, error))
        return false;
    int kind = fits(&s->bytes, 10) ? 10 : fits(&s->bytes, 100) ? 100 : 0;
    if (!kind)
        return dt_fail(error,
                       "%s (%zu bytes) is not a CIFAR file: expected records of %zu or %zu bytes with "
                       "labels below 10 or 100",
                       path, s->bytes.size, record_size(10), record_size(100));
    if (s->kind && s->kind != kind)
        return dt_fail(error, "%s is of CIFAR-%d, but the files before it are of CIFAR-%d", path, kind,
                       s->kind);
    s->kind = kind;
    s->count = s->bytes.size / record_size(kind);
    s->at = 0;
    return true;
}

/* The names are in a text file beside the data, one a line; without it CIFAR-10's are known. */
static bool name_classes(struct cifar *s, dt_error *error)
{
    static const char *const ten[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                      "dog",      "frog",       "horse", "ship", "truck"};
    const char *first = s->paths.items[0], *slash = strrchr(first, '/');
    char *folder = strndup(first, slash ? (size_t)(slash - first) : 0);
    char *path = folder ? dt_join(folder, s->kind == 10 ? "batches.meta.txt" : "fine_label_names.txt") : NULL;
    char *text = path && dt_file_exists(path) ? dt_file_read(path, NAMES_MAX, NULL, NULL) : NULL;
    bool good = path || dt_fail(error, "no memory");
    for (char *line = text ? strtok(text, "\r\n") : NULL; line && good; line = strtok(NULL, "\r\n")) {
        dt_make_readable(line);
        good = dt_list_add(&s->classes, line, strlen(line), error);
    }
    if (good && s->classes.count && s->classes.count != (size_t)s->kind)
        good = dt_fail(error, "%s has %zu names, expected %d", path, s->classes.count, s->kind);
    for (int i = 0; i < 10 && s->kind == 10 && !text && good; i++)
        good = dt_list_add(&s->classes, ten[i], strlen(ten[i]), error);
    good = good && dt_list_number(&s->classes, (size_t)s->kind, error);
    s->base.class_names = (const char *const *)s->classes.items;
    s->base.class_count = s->classes.count;
    free(text);
    free(path);
    free(folder);
    return good;
}

static dt_source_result next(dt_source *source, dt_item *item, dt_error *error)
{
    struct cifar *s = (struct cifar *)source;
    if (s->at == s->count) {
        if (s->file == s->paths.count)
            return DT_SOURCE_END;
        if (!open_file(s, error))
            return DT_SOURCE_FAILED;
    }
    size_t labels = s->kind == 100 ? 2 : 1;
    const uint8_t *record = s->bytes.data + s->at * record_size(s->kind), *planes = record + labels;
    for (size_t i = 0; i < PLANE; i++)
        for (size_t channel = 0; channel < 3; channel++)
            s->pixels[3 * i + channel] = planes[channel * PLANE + i];
    snprintf(s->name, sizeof s->name, "%s: image %zu", s->paths.items[s->file - 1], s->at);
    item->name = s->name;
    item->bytes = s->pixels;
    item->size = sizeof s->pixels;
    item->width = item->height = SIDE;
    item->channels = 3;
    item->label = record[labels - 1];
    s->at++;
    return DT_SOURCE_ITEM;
}

dt_source *dt_source_open_cifar(const char *const *paths, size_t path_count, const dt_source_options *options,
                                dt_error *error)
{
    (void)options;
    struct cifar *s = calloc(1, sizeof *s);
    if (!s) {
        dt_fail(error, "no memory to open %s", paths[0]);
        return NULL;
    }
    s->base = (dt_source){.kind = "cifar", .next = next, .close = close_cifar};
    bool good = true;
    for (size_t i = 0; i < path_count && good; i++)
        good = dt_list_add(&s->paths, paths[i], strlen(paths[i]), error);
    if (good && open_file(s, error) && name_classes(s, error))
        return &s->base;
    close_cifar(&s->base);
    return NULL;
}
