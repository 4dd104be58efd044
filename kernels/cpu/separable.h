/* Linear maps over images that act on rows and columns alone: y[i, j] = sum_k sum_l r[i, k] s[j, l] x[k,
 * l], for each channel, with sparse r and s. Average pooling, resizing and the adjoints of both are all of
 * this kind; an adjoint is the map of the transposed matrices, computed at the place that it is for, so
 * that threads never meet. */
#ifndef DUET_KERNELS_CPU_SEPARABLE_H
#define DUET_KERNELS_CPU_SEPARABLE_H

#include "kernels/backend.h"

/* A sparse matrix [to, from], by rows. */
typedef struct dt_taps {
    int64_t to, from;
    int64_t *start; /* [to + 1]: row i has the taps start[i] to start[i + 1] - 1 */
    int64_t *place; /* column of a tap */
    float *weight;
} dt_taps;

/* An empty matrix with room for `capacity` taps; start is NULL when there is no memory. */
dt_taps dt_taps_new(int64_t to, int64_t from, int64_t capacity);

/* Adds a tap to row i. Rows are filled in ascending order; a row may stay empty, or hold a place twice. */
void dt_taps_add(dt_taps *taps, int64_t i, int64_t place, float weight);

/* For prepare, with a node of one input and one output, both [n, h, w, c]. `rows` and `columns` are the
 * matrices of the forward map; the adjoint is prepared when asked. Takes both over, also when it fails. */
bool dt_separable_prepare(dt_preparation *preparation, dt_taps rows, dt_taps columns, bool adjoint);

/* The kernel's run and release. */
void dt_separable_run(const dt_call *call);
void dt_separable_release(void *state);

#endif
