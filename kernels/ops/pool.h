/* Pooling over channels-last images, x [n, h, w, c]. */
#ifndef DUET_KERNELS_OPS_POOL_H
#define DUET_KERNELS_OPS_POOL_H

#include "kernels/graph.h"
#include "kernels/op.h"

typedef struct dt_pool_form {
    int kernel[2], stride[2], padding[2];
} dt_pool_form;

/* -> [n, h', w', c], h' = floor((h + 2 padding - kernel) / stride) + 1; padding is at most half the kernel.
 * It counts as minus infinity for the maximum, and as zeros that are counted for the average. The first of
 * equal maxima wins, a NaN wins over all. */
dt_tensor *dt_max_pool2d(dt_tensor *x, dt_pool_form form);
dt_tensor *dt_avg_pool2d(dt_tensor *x, dt_pool_form form);

/* -> [n, height, width, c]: cell i covers rows floor(i h / height) .. ceil((i + 1) h / height). */
dt_tensor *dt_adaptive_avg_pool2d(dt_tensor *x, int height, int width);

/* ---- For the backends; attributes are a dt_pool_form, none for the adaptive ones ----
 * max_pool: x -> y, index int32 (position y * w + x in the image).  max_pool_grad: dy, index -> dx, and
 * max_pool_pick: ddx, index -> ddy, each other's derivatives.  avg_pool / avg_pool_grad, adaptive_pool /
 * adaptive_pool_grad: linear pairs. */
extern const dt_op dt_op_max_pool, dt_op_max_pool_grad, dt_op_max_pool_pick, dt_op_avg_pool,
    dt_op_avg_pool_grad, dt_op_adaptive_pool, dt_op_adaptive_pool_grad;

#endif
