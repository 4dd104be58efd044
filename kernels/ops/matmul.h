/* Matrix products. */
#ifndef DUET_KERNELS_OPS_MATMUL_H
#define DUET_KERNELS_OPS_MATMUL_H

#include "kernels/graph.h"
#include "kernels/op.h"
#include "kernels/ops/pointwise.h"

/* op(a) op(b), where op transposes the last two axes when asked: [..., m, k] x [..., k, n] -> [..., m, n]. The
 * leading axes of a and b are equal. */
dt_tensor *dt_matmul(dt_tensor *a, dt_tensor *b, bool transpose_a, bool transpose_b);

/* x weight^T + bias: x [..., in], weight [out, in], bias [out] or NULL -> [..., out]. */
dt_tensor *dt_linear(dt_tensor *x, dt_tensor *weight, dt_tensor *bias);

/* ---- For the planner and the backends ---- */

typedef struct dt_matmul_form {
    bool transpose_a, transpose_b;
} dt_matmul_form;

/* A linear node as the planner may extend it: inputs x, weight, then bias and residual where they are;
 * y = activation(x weight^T + bias) + residual. */
typedef struct dt_linear_form {
    bool bias, residual;
    dt_activation activation;
} dt_linear_form;

extern const dt_op dt_op_matmul, dt_op_linear;

#endif
