/* Sums, means, maxima and softmax. */
#ifndef DUET_KERNELS_OPS_REDUCE_H
#define DUET_KERNELS_OPS_REDUCE_H

#include "kernels/graph.h"
#include "kernels/op.h"

/* Over the axes given as a bit mask (DT_ALL: every axis); the axes stay with length 1 when `keep`. Sums are taken
 * in blocks of float32 that are added in float64, the same for every thread count. */
enum { DT_ALL = ~0u };
dt_tensor *dt_sum(dt_tensor *x, unsigned axes, bool keep);
dt_tensor *dt_mean(dt_tensor *x, unsigned axes, bool keep);

/* Largest value along the last axis, kept with length 1. The gradient is shared between equal maxima. */
dt_tensor *dt_max(dt_tensor *x);

/* Position of the first largest value along the last axis: [..., n] -> int32 [...]. A NaN counts as larger than any number.
 * No gradient. */
dt_tensor *dt_argmax(dt_tensor *x);

/* Sums x down to `shape`, undoing numpy's broadcasting: the gradient of a broadcast. */
dt_tensor *dt_sum_to(dt_tensor *x, dt_shape shape);

/* Over the last axis; the largest value is taken out first, so that nothing overflows. */
dt_tensor *dt_softmax(dt_tensor *x);
dt_tensor *dt_log_softmax(dt_tensor *x);

/* x / sqrt(sum x^2 + eps) over the last axis; eps 0 is the plain definition. */
dt_tensor *dt_l2_normalize(dt_tensor *x, float eps);

/* ---- For the backends ---- */

typedef struct dt_axes {
    unsigned mask; /* of the axes that are summed */
} dt_axes;

extern const dt_op dt_op_sum, dt_op_max, dt_op_argmax, dt_op_softmax, dt_op_log_softmax;

#endif
