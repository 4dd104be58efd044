#include "data/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/file.h"
#include "data/json.h"
#include "data/nearest.h"

enum { HEADER_MAX = 100000000 }; /* the limit of the reference implementation */

static const struct {
    const char *name;
    size_t size;
} types[] = {
    [DT_ST_F64] = {"F64", 8},   [DT_ST_F32] = {"F32", 4}, [DT_ST_F16] = {"F16", 2},
    [DT_ST_BF16] = {"BF16", 2}, [DT_ST_I64] = {"I64", 8}, [DT_ST_I32] = {"I32", 4},
    [DT_ST_I16] = {"I16", 2},   [DT_ST_I8] = {"I8", 1},   [DT_ST_U8] = {"U8", 1},
    [DT_ST_BOOL] = {"BOOL", 1},
};

struct dt_safetensors {
    char *path;
    dt_map map;     /* empty where the bytes are the caller's */
    json_t *header; /* owns the names and the metadata */
    size_t count;
    dt_st_tensor *tensors;  /* in the order of the data */
    dt_st_tensor **by_name; /* sorted */
};

size_t dt_st_type_size(dt_st_type type)
{
    return types[type].size;
}

const char *dt_st_type_name(dt_st_type type)
{
    return types[type].name;
}

bool dt_st_measure(dt_st_tensor *tensor)
{
    tensor->count = 1;
    for (int i = 0; i < tensor->rank; i++)
        if (tensor->shape[i] < 0 || __builtin_mul_overflow(tensor->count, tensor->shape[i], &tensor->count))
            return false;
    return !__builtin_mul_overflow(tensor->count, types[tensor->type].size, &tensor->size);
}

static bool read_shape(dt_st_tensor *tensor, const json_t *shape, dt_error *error)
{
    size_t rank = json_array_size(shape);
    if (rank > DT_ST_RANK_MAX)
        return dt_fail(error, "has %zu dimensions, expected at most %d", rank, DT_ST_RANK_MAX);
    tensor->rank = (int)rank;
    for (size_t i = 0; i < rank; i++) {
        const json_t *side = json_array_get(shape, i);
        if (!json_is_integer(side) || json_integer_value(side) < 0)
            return dt_fail(error, "dimension %zu is not a count", i);
        tensor->shape[i] = json_integer_value(side);
    }
    return dt_st_measure(tensor) || dt_fail(error, "its shape is too large");
}

static bool read_type(dt_st_tensor *tensor, const char *name, dt_error *error)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (strcmp(types[i].name, name) == 0) {
            tensor->type = (dt_st_type)i;
            return true;
        }
    return dt_fail(
        error, "has dtype %.40s, which is not supported (F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL are)", name);
}

static bool read_tensor(dt_st_tensor *tensor, const json_t *entry, const uint8_t *data, size_t data_size,
                        dt_error *error)
{
    const char *type;
    const json_t *shape, *offsets;
    const dt_json_field fields[] = {
        {"dtype", DT_JSON_STRING, &type, .required = true},
        {"shape", DT_JSON_ARRAY, &shape, .required = true},
        {"data_offsets", DT_JSON_ARRAY, &offsets, .required = true},
    };
    if (!dt_json_read(entry, "its header", "", fields, 3, error) || !read_type(tensor, type, error) ||
        !read_shape(tensor, shape, error))
        return false;
    const json_t *first = json_array_get(offsets, 0), *last = json_array_get(offsets, 1);
    json_int_t begin = json_integer_value(first), end = json_integer_value(last);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return dt_fail(error, "data_offsets is not a pair of integers");
    if (begin < 0 || end < begin || (uint64_t)end > data_size)
        return dt_fail(error, "its offsets %lld to %lld lie outside the %zu bytes of data", (long long)begin,
                       (long long)end, data_size);
    if ((uint64_t)(end - begin) != tensor->size)
        return dt_fail(error, "its offsets span %lld bytes, its shape takes %zu", (long long)(end - begin),
                       tensor->size);
    tensor->data = data + begin;
    return true;
}

static bool check_metadata(const json_t *metadata, dt_error *error)
{
    if (metadata && !json_is_object(metadata))
        return dt_fail(error, "__metadata__ is %s, expected an object", dt_json_kind_name(metadata));
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value)
    {
        if (!json_is_string(value))
            return dt_fail(error, "__metadata__ \"%.100s\" is %s, expected a string", key,
                           dt_json_kind_name(value));
    }
    return true;
}

static int compare_data(const void *left, const void *right)
{
    const dt_st_tensor *a = left, *b = right;
    if (a->data != b->data)
        return (const uint8_t *)a->data < (const uint8_t *)b->data ? -1 : 1;
    if (!a->size != !b->size)
        return a->size ? 1 : -1; /* an empty tensor stands before the one that begins there */
    return strcmp(a->name, b->name);
}

static int compare_names(const void *left, const void *right)
{
    return strcmp((*(dt_st_tensor *const *)left)->name, (*(dt_st_tensor *const *)right)->name);
}

/* The tensors, sorted by place, must follow one another from the first byte of data to the last. */
static bool check_cover(const dt_safetensors *file, const uint8_t *data, size_t data_size, dt_error *error)
{
    const uint8_t *at = data;
    for (size_t i = 0; i < file->count; i++) {
        const dt_st_tensor *tensor = &file->tensors[i];
        if (tensor->data != at)
            return dt_fail(error, "tensor \"%.100s\" begins at byte %td of the data, expected %td (%s)",
                           tensor->name, (const uint8_t *)tensor->data - data, at - data,
                           (const uint8_t *)tensor->data < at ? "tensors overlap" : "there is a hole");
        at += tensor->size;
    }
    if ((size_t)(at - data) != data_size)
        return dt_fail(error, "the tensors take %td bytes, the file holds %zu", at - data, data_size);
    return true;
}

static bool read_entries(dt_safetensors *file, const uint8_t *data, size_t data_size, dt_error *error)
{
    const json_t *metadata = json_object_get(file->header, "__metadata__");
    size_t members = json_object_size(file->header);
    file->tensors = calloc(members + 1, sizeof *file->tensors);
    file->by_name = calloc(members + 1, sizeof(dt_st_tensor *));
    if (!file->tensors || !file->by_name)
        return dt_fail(error, "no memory for %zu tensors", members);
    if (!check_metadata(metadata, error))
        return false;
    const char *name;
    json_t *entry;
    json_object_foreach(file->header, name, entry)
    {
        if (entry == metadata)
            continue;
        dt_st_tensor *tensor = &file->tensors[file->count++];
        tensor->name = name;
        if (!read_tensor(tensor, entry, data, data_size, error))
            return dt_fail_prefix(error, "tensor \"%.100s\"", name);
    }
    qsort(file->tensors, file->count, sizeof *file->tensors, compare_data);
    for (size_t i = 0; i < file->count; i++)
        file->by_name[i] = &file->tensors[i];
    qsort(file->by_name, file->count, sizeof(dt_st_tensor *), compare_names);
    return check_cover(file, data, data_size, error);
}

static bool read_header(dt_safetensors *file, const uint8_t *bytes, size_t size, dt_error *error)
{
    if (size < 8)
        return dt_fail(error, "%zu bytes are too few for a safetensors file", size);
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | bytes[i];
    if (length > HEADER_MAX || length > size - 8)
        return dt_fail(
            error, "not a safetensors file, or cut short: it states a header of %llu bytes, the file has %zu",
            (unsigned long long)length, size);
    file->header = dt_json_parse((const char *)bytes + 8, length, "header", error);
    if (!file->header)
        return false;
    if (!json_is_object(file->header) || bytes[8] != '{')
        return dt_fail(error, "the header is %s, expected an object", dt_json_kind_name(file->header));
    return read_entries(file, bytes + 8 + length, size - 8 - length, error);
}

dt_safetensors *dt_safetensors_parse(const void *bytes, size_t size, const char *path, dt_error *error)
{
    dt_safetensors *file = calloc(1, sizeof *file);
    if (!file || !(file->path = strdup(path)))
        dt_fail(error, "%s: no memory", path);
    else if (read_header(file, bytes, size, error))
        return file;
    else
        dt_fail_prefix(error, "%s", path);
    dt_safetensors_close(file);
    return NULL;
}

dt_safetensors *dt_safetensors_open(const char *path, dt_error *error)
{
    dt_map map;
    if (!dt_map_open(&map, path, error))
        return NULL;
    dt_safetensors *file = dt_safetensors_parse(map.data, map.size, path, error);
    if (file)
        file->map = map;
    else
        dt_map_close(&map);
    return file;
}

void dt_safetensors_close(dt_safetensors *file)
{
    if (!file)
        return;
    free(file->tensors);
    free(file->by_name);
    json_decref(file->header);
    dt_map_close(&file->map);
    free(file->path);
    free(file);
}

size_t dt_safetensors_count(const dt_safetensors *file)
{
    return file->count;
}

const dt_st_tensor *dt_safetensors_at(const dt_safetensors *file, size_t i)
{
    return i < file->count ? &file->tensors[i] : NULL;
}

const dt_st_tensor *dt_safetensors_find(const dt_safetensors *file, const char *name)
{
    const dt_st_tensor key = {.name = name}, *sought = &key;
    dt_st_tensor **found =
        bsearch(&sought, file->by_name, file->count, sizeof(dt_st_tensor *), compare_names);
    return found ? *found : NULL;
}

const dt_st_tensor *dt_safetensors_need(const dt_safetensors *file, const char *name, dt_error *error)
{
    const dt_st_tensor *tensor = dt_safetensors_find(file, name);
    if (tensor)
        return tensor;
    dt_nearest near = {.word = name};
    for (size_t i = 0; i < file->count; i++)
        dt_nearest_try(&near, file->tensors[i].name);
    if (near.best)
        dt_fail(error, "%s has no tensor \"%s\"; the nearest is \"%.100s\"", file->path, name, near.best);
    else
        dt_fail(error, "%s has no tensor \"%s\" (%zu others)", file->path, name, file->count);
    return NULL;
}

const char *dt_safetensors_meta(const dt_safetensors *file, const char *key)
{
    return json_string_value(json_object_get(json_object_get(file->header, "__metadata__"), key));
}

const char *dt_safetensors_path(const dt_safetensors *file)
{
    return file->path;
}

typedef struct shape_text {
    char chars[192];
} shape_text;

static shape_text describe(int rank, const int64_t *shape)
{
    shape_text text = {"["};
    size_t at = 1;
    for (int i = 0; i < rank && at + 24 < sizeof text.chars; i++)
        at += (size_t)sprintf(text.chars + at, "%s%lld", i ? ", " : "", (long long)shape[i]);
    strcpy(text.chars + at, "]");
    return text;
}

bool dt_st_has_shape(const dt_st_tensor *tensor, int rank, const int64_t *shape, dt_error *error)
{
    if (tensor->rank == rank && (!rank || memcmp(tensor->shape, shape, (size_t)rank * sizeof *shape) == 0))
        return true;
    return dt_fail(error, "tensor \"%.100s\" has shape %s, expected %s", tensor->name,
                   describe(tensor->rank, tensor->shape).chars, describe(rank, shape).chars);
}

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE 754 binary16; every value is exact in binary32. */
static float from_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
    if (exponent == 0) /* zero or subnormal: fraction * 2^-24 */
        return (sign ? -1.0f : 1.0f) * (float)fraction * 0x1p-24f;
    return from_bits(sign | (exponent == 31 ? 255 : exponent + 112) << 23 | fraction << 13);
}

bool dt_st_to_float(const dt_st_tensor *tensor, float *out, dt_error *error)
{
    const uint8_t *data = tensor->data;
    switch (tensor->type) {
    case DT_ST_F32:
        if (tensor->size)
            memcpy(out, data, tensor->size);
        return true;
    case DT_ST_F64:
        for (size_t i = 0; i < tensor->count; i++) {
            double wide;
            memcpy(&wide, data + 8 * i, 8);
            out[i] = (float)wide;
        }
        return true;
    case DT_ST_F16:
    case DT_ST_BF16:
        for (size_t i = 0; i < tensor->count; i++) {
            uint16_t half;
            memcpy(&half, data + 2 * i, 2);
            out[i] = tensor->type == DT_ST_F16 ? from_half(half) : from_bits((uint32_t)half << 16);
        }
        return true;
    default:
        return dt_fail(error, "tensor \"%.100s\" has dtype %s, expected a float type", tensor->name,
                       types[tensor->type].name);
    }
}

static int64_t integer_at(const uint8_t *data, dt_st_type type, size_t i)
{
    switch (type) {
    case DT_ST_I64: {
        int64_t value;
        memcpy(&value, data + 8 * i, 8);
        return value;
    }
    case DT_ST_I32: {
        int32_t value;
        memcpy(&value, data + 4 * i, 4);
        return value;
    }
    case DT_ST_I16: {
        int16_t value;
        memcpy(&value, data + 2 * i, 2);
        return value;
    }
    case DT_ST_I8:
        return (int8_t)data[i];
    default:
        return data[i];
    }
}

bool dt_st_to_int32(const dt_st_tensor *tensor, int32_t *out, dt_error *error)
{
    if (tensor->type < DT_ST_I64)
        return dt_fail(error, "tensor \"%.100s\" has dtype %s, expected an integer type", tensor->name,
                       types[tensor->type].name);
    for (size_t i = 0; i < tensor->count; i++) {
        int64_t value = integer_at(tensor->data, tensor->type, i);
        if (value < INT32_MIN || value > INT32_MAX)
            return dt_fail(error, "tensor \"%.100s\": element %zu is %lld, which does not fit in 32 bits",
                           tensor->name, i, (long long)value);
        out[i] = (int32_t)value;
    }
    return true;
}
