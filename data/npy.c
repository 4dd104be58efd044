#include "data/npy.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/file.h"

/* Elements of the shape, or false when it is not a shape or 8 bytes each do not fit in memory. */
static bool count_of(int rank, const int64_t *shape, size_t *count)
{
    size_t bytes = 8;
    if (rank < 0 || rank > DT_NPY_RANK_MAX)
        return false;
    for (int i = 0; i < rank; i++)
        if (shape[i] < 0 || __builtin_mul_overflow(bytes, shape[i], &bytes))
            return false;
    *count = bytes / 8;
    return true;
}

static bool write_array(const char *path, const char *descr, const void *data, size_t width, int rank,
                        const int64_t *shape, dt_error *error)
{
    size_t count;
    if (!count_of(rank, shape, &count))
        return dt_fail(error, "cannot write %s: not a shape", path);
    char sides[DT_NPY_RANK_MAX * 24] = "", text[512];
    size_t at = 0;
    for (int i = 0; i < rank; i++)
        at += (size_t)sprintf(sides + at, "%s%lld%s", i ? " " : "", (long long)shape[i],
                              i + 1 < rank || rank == 1 ? "," : "");
    int length =
        snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, sides);
    int padded = (10 + length + 1 + 63) / 64 * 64 - 10; /* the data begins at a multiple of 64 */
    dt_writer *writer = dt_writer_open(path, error);
    if (!writer)
        return false;
    const uint8_t magic[10] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (uint8_t)padded, (uint8_t)(padded >> 8)};
    dt_writer_write(writer, magic, sizeof magic);
    dt_writer_printf(writer, "%-*s\n", padded - 1, text);
    dt_writer_write(writer, data, count * width);
    return dt_writer_commit(writer, error);
}

bool dt_npy_write_float(const char *path, const float *data, int rank, const int64_t *shape, dt_error *error)
{
    return write_array(path, "<f4", data, 4, rank, shape, error);
}

bool dt_npy_write_int64(const char *path, const int64_t *data, int rank, const int64_t *shape,
                        dt_error *error)
{
    return write_array(path, "<i8", data, 8, rank, shape, error);
}

/* What follows `'key':` in the header, or NULL. The header is a Python dict that NumPy itself wrote; its
 * order is free, its spelling is not. */
static const char *value_of(const char *header, const char *key)
{
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s':", key);
    const char *at = strstr(header, quoted);
    if (!at)
        return NULL;
    at += strlen(quoted);
    return at + strspn(at, " ");
}

static bool parse_shape(const char *text, dt_npy *array)
{
    if (!text || *text++ != '(')
        return false;
    while (*text != ')') {
        char *end;
        if (!isdigit((unsigned char)*text) || array->rank == DT_NPY_RANK_MAX)
            return false;
        array->shape[array->rank++] = strtoll(text, &end, 10);
        text = end + (*end == ',');
        text += strspn(text, " ");
    }
    return true;
}

static bool parse(const dt_map *map, dt_npy *array, dt_error *error)
{
    char header[1024];
    size_t room = sizeof header - 1;
    if (map->size < 10 || memcmp(map->data, "\x93NUMPY", 6) != 0)
        return dt_fail(error, "not an .npy file");
    if (map->data[6] != 1)
        return dt_fail(error, ".npy version %d, expected 1", map->data[6]);
    size_t length = map->data[8] | (size_t)map->data[9] << 8;
    if (length > map->size - 10 || length > room)
        return dt_fail(error, "its header of %zu bytes is longer than the file or the limit (%zu)", length,
                       room);
    memcpy(header, map->data + 10, length);
    header[length] = 0;
    const char *descr = value_of(header, "descr"), *fortran = value_of(header, "fortran_order");
    if (!descr || !fortran || !parse_shape(value_of(header, "shape"), array) ||
        !count_of(array->rank, array->shape, &array->count))
        return dt_fail(error, "its header is not understood: %.200s", header);
    bool floats = strncmp(descr, "'<f4'", 5) == 0;
    if (!floats && strncmp(descr, "'<i8'", 5) != 0)
        return dt_fail(error, "its type is %.*s, expected '<f4' or '<i8'", (int)strcspn(descr, ","), descr);
    if (strncmp(fortran, "False", 5) != 0)
        return dt_fail(error, "it is in Fortran order, expected C order");
    size_t bytes = array->count * (floats ? 4 : 8), found = map->size - 10 - length;
    if (bytes != found)
        return dt_fail(error, "its shape takes %zu bytes, the file holds %zu", bytes, found);
    void *data = malloc(bytes + 1);
    if (!data)
        return dt_fail(error, "no memory for %zu bytes", bytes);
    memcpy(data, map->data + 10 + length, bytes);
    if (floats)
        array->floats = data;
    else
        array->int64s = data;
    return true;
}

bool dt_npy_read(const char *path, dt_npy *array, dt_error *error)
{
    *array = (dt_npy){0};
    dt_map map;
    if (!dt_map_open(&map, path, error))
        return false;
    bool good = parse(&map, array, error);
    dt_map_close(&map);
    if (!good) {
        *array = (dt_npy){0};
        dt_fail_prefix(error, "%s", path);
    }
    return good;
}

void dt_npy_free(dt_npy *array)
{
    free(array->floats);
    free(array->int64s);
    *array = (dt_npy){0};
}
