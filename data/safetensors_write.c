#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/file.h"
#include "data/json.h"
#include "data/safetensors.h"

/* The tensor's entry {"dtype", "shape", "data_offsets"}; moves *offset behind it. NULL: too large. */
static json_t *entry_of(const dt_st_tensor *tensor, size_t *offset)
{
    size_t size = dt_st_type_size(tensor->type), end;
    json_t *shape = json_array();
    bool good = shape && tensor->rank >= 0 && tensor->rank <= DT_ST_RANK_MAX;
    for (int i = 0; good && i < tensor->rank; i++)
        good = tensor->shape[i] >= 0 && !__builtin_mul_overflow(size, tensor->shape[i], &size) &&
               json_array_append_new(shape, json_integer(tensor->shape[i])) == 0;
    good = good && !__builtin_add_overflow(*offset, size, &end) && end <= INT64_MAX;
    if (!good) {
        json_decref(shape);
        return NULL;
    }
    json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", dt_st_type_name(tensor->type), "shape", shape,
                              "data_offsets", (json_int_t)*offset, (json_int_t)end);
    *offset = end;
    return entry;
}

static bool add_metadata(json_t *header, const dt_st_meta *meta, size_t count, dt_error *error)
{
    json_t *object = json_object();
    bool good = json_object_set_new(header, "__metadata__", object) == 0;
    for (size_t i = 0; good && i < count; i++)
        good = json_object_set_new(object, meta[i].key, json_string(meta[i].value)) == 0;
    return good || dt_fail(error, "the metadata is not valid UTF-8");
}

/* The order in the file: wide elements first, so that each tensor begins at a multiple of its width. */
static void sort_by_width(const dt_st_tensor *tensors, size_t count, const dt_st_tensor **order)
{
    size_t n = 0;
    for (size_t width = 8; width; width /= 2)
        for (size_t i = 0; i < count; i++)
            if (dt_st_type_size(tensors[i].type) == width)
                order[n++] = &tensors[i];
}

/* The header as text, padded so that the data begins at a multiple of 8. The caller frees. */
static char *header_text(const dt_st_tensor *const *order, size_t count, const dt_st_meta *meta,
                         size_t meta_count, dt_error *error)
{
    json_t *header = json_object();
    char *text = NULL;
    size_t offset = 0;
    bool good = header && (!meta_count || add_metadata(header, meta, meta_count, error));
    for (size_t i = 0; good && i < count; i++) {
        const char *name = order[i]->name;
        if (json_object_get(header, name) || strcmp(name, "__metadata__") == 0)
            good = dt_fail(error, "two tensors are called \"%s\"", name);
        else if (json_object_set_new(header, name, entry_of(order[i], &offset)) != 0)
            good = dt_fail(error, "tensor \"%s\": its name is not UTF-8, or its shape is too large", name);
    }
    char *bare = good ? json_dumps(header, JSON_COMPACT) : NULL;
    size_t length = bare ? strlen(bare) : 0, padded = (length + 7) / 8 * 8;
    if (bare && (text = malloc(padded + 1)))
        snprintf(text, padded + 1, "%-*s", (int)padded, bare);
    if (good && !text)
        dt_fail(error, "no memory for the header");
    free(bare);
    json_decref(header);
    return text;
}

static bool write_all(dt_writer *writer, const char *header, const dt_st_tensor *const *order, size_t count)
{
    uint64_t length = strlen(header);
    uint8_t prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (uint8_t)(length >> 8 * i);
    bool good = dt_writer_write(writer, prefix, 8) && dt_writer_write(writer, header, length);
    for (size_t i = 0; good && i < count; i++) {
        size_t size = dt_st_type_size(order[i]->type);
        for (int axis = 0; axis < order[i]->rank; axis++)
            size *= (size_t)order[i]->shape[axis];
        good = dt_writer_write(writer, order[i]->data, size);
    }
    return good;
}

bool dt_safetensors_write(const char *path, const dt_st_tensor *tensors, size_t count, const dt_st_meta *meta,
                          size_t meta_count, dt_error *error)
{
    const dt_st_tensor **order = malloc((count + 1) * sizeof(dt_st_tensor *));
    if (!order)
        return dt_fail(error, "%s: no memory for %zu tensors", path, count);
    sort_by_width(tensors, count, order);
    char *header = header_text(order, count, meta, meta_count, error);
    bool good = false;
    if (!header) {
        dt_fail_prefix(error, "%s", path);
    } else {
        dt_writer *writer = dt_writer_open(path, error);
        if (writer) {
            write_all(writer, header, order, count);
            good = dt_writer_commit(writer, error);
        }
    }
    free(header);
    free(order);
    return good;
}
