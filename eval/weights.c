#include "eval/weights.h"

#include "data/tensor_file.h"
#include "eval/config_fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHARDS_MAX = 4096 };

struct dt_weights {
    char *path;
    dt_tensor_file **files; /* owned, unless it is `around` */
    size_t file_count;
    const dt_safetensors *around;
    const dt_st_tensor **tensors; /* by name */
    size_t count;
};

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const dt_st_tensor *const *)a)->name, (*(const dt_st_tensor *const *)b)->name);
}

/* One list of all tensors; no two files may hold one of the same name. */
static bool gather(dt_weights *w, dt_error *error)
{
    size_t total = w->around ? dt_safetensors_count(w->around) : 0;
    for (size_t f = 0; f < w->file_count; f++)
        total += dt_tensor_file_count(w->files[f]);
    if (!(w->tensors = malloc((total + 1) * sizeof *w->tensors)))
        return dt_fail(error, "out of memory");
    for (size_t i = 0; w->around && i < dt_safetensors_count(w->around); i++)
        w->tensors[w->count++] = dt_safetensors_at(w->around, i);
    for (size_t f = 0; f < w->file_count; f++)
        for (size_t i = 0; i < dt_tensor_file_count(w->files[f]); i++)
            w->tensors[w->count++] = dt_tensor_file_at(w->files[f], i);
    qsort(w->tensors, w->count, sizeof *w->tensors, by_name);
    for (size_t i = 1; i < w->count; i++)
        if (!strcmp(w->tensors[i - 1]->name, w->tensors[i]->name))
            return dt_fail(error, "%s: two files hold a tensor \"%.200s\"", w->path, w->tensors[i]->name);
    return true;
}

static dt_tensor_file *open_file(const char *path, dt_error *error)
{
    return dt_check_no_device(path, error) ? dt_tensor_file_open(path, error) : NULL;
}

/* ---- Shards ---- */

static bool check_name(const char *index, const char *name, dt_error *error)
{
    if (name && *name && !strchr(name, '/') && strcmp(name, "..") && strcmp(name, "."))
        return true;
    return dt_fail(error, "%s: weight_map: expected the name of a file beside the index, found '%.200s'", index,
                   name ? name : "something that is no text");
}

/* The file of that name, opened when it is met first. */
static const dt_tensor_file *shard(dt_weights *w, const char *name, dt_error *error)
{
    const char *slash = strrchr(w->path, '/');
    char path[4096];
    int length = snprintf(path, sizeof path, "%.*s%s", slash ? (int)(slash + 1 - w->path) : 0, w->path, name);
    for (size_t f = 0; f < w->file_count; f++)
        if (!strcmp(dt_tensor_file_path(w->files[f]), path))
            return w->files[f];
    if (length >= (int)sizeof path || w->file_count == SHARDS_MAX) {
        dt_fail(error, "%s: weight_map: more than %d files, or a name that is too long", w->path, SHARDS_MAX);
        return NULL;
    }
    dt_tensor_file **larger = realloc(w->files, (w->file_count + 1) * sizeof *larger);
    if (!larger) {
        dt_fail(error, "out of memory");
        return NULL;
    }
    w->files = larger;
    if (!(w->files[w->file_count] = open_file(path, error))) {
        dt_fail_prefix(error, "%s", w->path);
        return NULL;
    }
    return w->files[w->file_count++];
}

static bool holds(const dt_tensor_file *file, const char *name)
{
    for (size_t i = 0; i < dt_tensor_file_count(file); i++)
        if (!strcmp(dt_tensor_file_at(file, i)->name, name))
            return true;
    return false;
}

static bool open_index(dt_weights *w, dt_error *error)
{
    json_t *root = dt_config_file(w->path, error), *map = json_object_get(root, "weight_map"), *value;
    const char *tensor;
    bool good = root != NULL;
    if (root && !json_object_size(map))
        good = dt_fail(error, "%s: weight_map: expected an object that names the file of every tensor", w->path);
    if (good)
        json_object_foreach(map, tensor, value)
        {
            const dt_tensor_file *file = check_name(w->path, json_string_value(value), error)
                                             ? shard(w, json_string_value(value), error) : NULL;
            good = file && (holds(file, tensor) ||
                            dt_fail(error, "%s: weight_map: %s does not hold \"%.200s\"", w->path,
                                    dt_tensor_file_path(file), tensor));
            if (!good)
                break;
        }
    json_decref(root);
    return good;
}

/* ---- The whole ---- */

static bool open_files(dt_weights *w, dt_error *error)
{
    static const char end[] = ".index.json";
    size_t length = strlen(w->path);
    if (length > strlen(end) && !strcmp(w->path + length - strlen(end), end))
        return open_index(w, error);
    if (!(w->files = malloc(sizeof *w->files)))
        return dt_fail(error, "out of memory");
    w->files[0] = open_file(w->path, error);
    w->file_count = w->files[0] != NULL;
    return w->file_count > 0;
}

static dt_weights *make(const char *path, const dt_safetensors *around, dt_error *error)
{
    dt_weights *w = calloc(1, sizeof *w);
    if (!w || !(w->path = strdup(path))) {
        dt_fail(error, "out of memory");
        free(w);
        return NULL;
    }
    w->around = around;
    if ((around || open_files(w, error)) && gather(w, error))
        return w;
    dt_weights_close(w);
    return NULL;
}

dt_weights *dt_weights_open(const char *path, dt_error *error)
{
    return make(path, NULL, error);
}

dt_weights *dt_weights_around(const dt_safetensors *file, dt_error *error)
{
    return make(dt_safetensors_path(file), file, error);
}

void dt_weights_close(dt_weights *w)
{
    if (!w)
        return;
    for (size_t f = 0; f < w->file_count; f++)
        dt_tensor_file_close(w->files[f]);
    free(w->files);
    free(w->tensors);
    free(w->path);
    free(w);
}

const char *dt_weights_path(const dt_weights *w)
{
    return w->path;
}

size_t dt_weights_count(const dt_weights *w)
{
    return w->count;
}

const dt_st_tensor *dt_weights_at(const dt_weights *w, size_t i)
{
    return w->tensors[i];
}

int dt_weights_find(const dt_weights *w, const char *name)
{
    const dt_st_tensor key = {.name = name}, *sought = &key;
    const dt_st_tensor **found = bsearch(&sought, w->tensors, w->count, sizeof *w->tensors, by_name);
    return found ? (int)(found - w->tensors) : -1;
}

const char *dt_weights_meta(const dt_weights *w, const char *key)
{
    if (w->around)
        return dt_safetensors_meta(w->around, key);
    return w->file_count == 1 ? dt_tensor_file_meta(w->files[0], key) : NULL;
}

void dt_weights_release(const dt_weights *w, const dt_st_tensor *tensor)
{
    for (size_t f = 0; f < w->file_count; f++)
        dt_tensor_file_release(w->files[f], tensor);
}
