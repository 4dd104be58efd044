/* Element types and shapes. Tensors are dense and row-major: the last axis is contiguous. Images are
 * channels-last, [batch, height, width, channels]: a pixel's channels lie together, so that convolutions,
 * normalisations and linear layers all see rows of features. */
#ifndef DUET_KERNELS_TENSOR_H
#define DUET_KERNELS_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* DT_BF16, the upper half of a float32, is what plans of lower precision hold some results in (kernels/backend.h); models
 * record in DT_F32 and DT_I32. DT_U8, bytes of pixels, is for inputs, and dt_normalize_pixels is what takes them. */
typedef enum { DT_F32, DT_I32, DT_BF16, DT_U8 } dt_dtype;

enum { DT_MAX_RANK = 6 };

typedef struct dt_shape {
    int rank; /* 0: a scalar */
    int64_t dim[DT_MAX_RANK];
} dt_shape;

/* dt_dims(2, 3) is the shape [2, 3]. */
#define dt_dims(...) ((dt_shape){(int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), {__VA_ARGS__}})

/* Number of elements; 1 for a scalar. Shapes that were recorded in a graph are known not to overflow. */
int64_t dt_count(const dt_shape *shape);

/* Product of the dimensions in [from, to): dt_span(s, 0, rank - 1) is the number of rows. */
int64_t dt_span(const dt_shape *shape, int from, int to);

bool dt_same_shape(const dt_shape *a, const dt_shape *b);

/* Every dimension at least 1, rank in 0..DT_MAX_RANK, and at most 2^40 elements. */
bool dt_shape_valid(const dt_shape *shape);

size_t dt_dtype_size(dt_dtype dtype); /* bytes */
const char *dt_dtype_name(dt_dtype dtype);

typedef struct dt_text {
    char chars[128];
} dt_text;

/* "[2, 3]", for messages. */
dt_text dt_shape_text(const dt_shape *shape);

#endif
