/* NumPy's .npy files, version 1.0: float32 and int64, C order (numpy.lib.format). */
#ifndef DUET_DATA_NPY_H
#define DUET_DATA_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

enum { DT_NPY_RANK_MAX = 8 };

/* Writes data[shape[0] * … * shape[rank - 1]] atomically. */
bool dt_npy_write_float(const char *path, const float *data, int rank, const int64_t *shape, dt_error *error);
bool dt_npy_write_int64(const char *path, const int64_t *data, int rank, const int64_t *shape,
                        dt_error *error);

typedef struct dt_npy {
    int rank;
    int64_t shape[DT_NPY_RANK_MAX];
    size_t count;
    float *floats; /* one of the two, owned; the other is NULL */
    int64_t *int64s;
} dt_npy;

/* Reads '<f4' or '<i8' in C order; anything else is refused by name. */
bool dt_npy_read(const char *path, dt_npy *array, dt_error *error);
void dt_npy_free(dt_npy *array); /* zeroes *array */

#endif
