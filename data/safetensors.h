/* The safetensors file format (https://github.com/huggingface/safetensors), read through a map and written as
 * a stream.
 *
 *   8 bytes    length of the header, little-endian
 *   header     JSON: {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …,
 *              "__metadata__": {"KEY": "text"}}; offsets count from the end of the header
 *   data       the tensors one after another, row-major, little-endian, without holes */
#ifndef DUET_DATA_SAFETENSORS_H
#define DUET_DATA_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

enum { DT_ST_RANK_MAX = 8 };

typedef enum dt_st_type {
    DT_ST_F64,
    DT_ST_F32,
    DT_ST_F16,
    DT_ST_BF16,
    DT_ST_I64,
    DT_ST_I32,
    DT_ST_I16,
    DT_ST_I8,
    DT_ST_U8,
    DT_ST_BOOL, /* one byte, 0 or 1 */
} dt_st_type;

typedef struct dt_st_tensor {
    const char *name;
    dt_st_type type;
    int rank; /* 0: a scalar */
    int64_t shape[DT_ST_RANK_MAX];
    const void *data; /* possibly unaligned when read */
    size_t count;     /* elements; set by the reader, not looked at by the writer */
    size_t size;      /* bytes; the same */
} dt_st_tensor;

size_t dt_st_type_size(dt_st_type type);      /* bytes an element */
const char *dt_st_type_name(dt_st_type type); /* "F32" */

/* Sets count and size from shape and type; false when a side is negative or a product does not fit. */
bool dt_st_measure(dt_st_tensor *tensor);

/* ---- reading ---- */

typedef struct dt_safetensors dt_safetensors;

/* Maps and checks the whole header: its length (at most 100 MB and the file), every dtype, shape and offset;
 * together the tensors must cover the data exactly once. Tensors, names and data are borrowed from the
 * result. */
dt_safetensors *dt_safetensors_open(const char *path, dt_error *error);

/* The same for a file in memory, which must stay; `path` stands in messages. */
dt_safetensors *dt_safetensors_parse(const void *bytes, size_t size, const char *path, dt_error *error);

void dt_safetensors_close(dt_safetensors *file); /* NULL is allowed */

size_t dt_safetensors_count(const dt_safetensors *file);
const dt_st_tensor *dt_safetensors_at(const dt_safetensors *file, size_t i); /* in the order of the data */

/* By name: find gives NULL when there is none; need also says so, with the nearest name that there is. */
const dt_st_tensor *dt_safetensors_find(const dt_safetensors *file, const char *name);
const dt_st_tensor *dt_safetensors_need(const dt_safetensors *file, const char *name, dt_error *error);

const char *dt_safetensors_meta(const dt_safetensors *file, const char *key); /* NULL when absent */
const char *dt_safetensors_path(const dt_safetensors *file);

/* Whether the shape is exactly this one; the message names tensor, found and expected shape. */
bool dt_st_has_shape(const dt_st_tensor *tensor, int rank, const int64_t *shape, dt_error *error);

/* Copies to out[count]. F16 and BF16 widen exactly, F64 rounds to nearest; integer types are refused. */
bool dt_st_to_float(const dt_st_tensor *tensor, float *out, dt_error *error);

/* Copies to out[count] from any integer type or BOOL; an I64 that does not fit in 32 bits is refused. */
bool dt_st_to_int32(const dt_st_tensor *tensor, int32_t *out, dt_error *error);

/* ---- writing ---- */

typedef struct dt_st_meta {
    const char *key, *value;
} dt_st_meta;

/* Writes the tensors straight from their buffers, atomically. In the file wider types come first (so that
 * every tensor is aligned to its element), otherwise in the order given; the header is padded to 8 bytes with
 * spaces. Names and metadata are UTF-8; two equal names are refused. */
bool dt_safetensors_write(const char *path, const dt_st_tensor *tensors, size_t count, const dt_st_meta *meta,
                          size_t meta_count, dt_error *error);

#endif
