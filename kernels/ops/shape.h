/* Moving elements about: views, transposes, slices, padding, concatenation, repetition, lookups, and leaves.
 * Axes count from 0; a negative axis counts from the end. */
#ifndef DUET_KERNELS_OPS_SHAPE_H
#define DUET_KERNELS_OPS_SHAPE_H

#include "kernels/graph.h"
#include "kernels/op.h"

dt_tensor *dt_reshape(dt_tensor *x, dt_shape shape);           /* same count; no copy. One dimension may be -1 */
dt_tensor *dt_stop_gradient(dt_tensor *x);                     /* x, as a constant to derivatives; no copy */
dt_tensor *dt_transpose(dt_tensor *x, const int *permutation); /* axis i of the result is permutation[i] of x; float32 */
dt_tensor *dt_slice(dt_tensor *x, int axis, int64_t start, int64_t length);
dt_tensor *dt_pad(dt_tensor *x, int axis, int64_t before, int64_t after); /* with zeros */
dt_tensor *dt_concat(dt_tensor *const *xs, int count, int axis);          /* equal shapes but for the axis */
dt_tensor *dt_broadcast_to(dt_tensor *x, dt_shape shape);                 /* numpy's rule */

/* Rows of a table: table [rows, width], ids int32 of any shape [...] -> [..., width]. An id outside 0..rows-1
 * stops the run with its value and place. Gradient: rows of the table summed per id (float32, in id order). */
dt_tensor *dt_embedding(dt_tensor *table, dt_tensor *ids);

/* One row of each sample: x [n, t, w], index int32 [n] -> [n, w]: y[i] = x[i, index[i]]. */
dt_tensor *dt_gather(dt_tensor *x, dt_tensor *index);

/* Position of the first largest value along the last axis: int32 [..., n] -> int32 [...]. CLIP's end token.
 * Of float32: dt_argmax. */
dt_tensor *dt_argmax_int(dt_tensor *x);

/* ---- For the backends ---- */

typedef struct dt_axis_range {
    int axis;
    int64_t start, length; /* slice: what is taken; pad: start = zeros before, length = of the result */
} dt_axis_range;

typedef struct dt_permutation {
    int axis[DT_MAX_RANK];
} dt_permutation;

extern const dt_op dt_op_reshape, dt_op_transpose, dt_op_slice, dt_op_pad, dt_op_concat, dt_op_broadcast, dt_op_fill, dt_op_cast,
    dt_op_embedding, dt_op_embedding_grad, dt_op_gather, dt_op_gather_grad, dt_op_argmax_int;

#endif
