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

/* A matmul node as the planner may extend it: inputs a, b and, with `slope`, an x of as many elements as the result, which has x's
 * shape then; y = gelu_tanh'(x) op(a) op(b). Without batches only. */
typedef struct dt_matmul_form {
    bool transpose_a, transpose_b;
    bool slope;
} dt_matmul_form;

/* A linear node as the planner may extend it: inputs x, weight, then bias and residual where they are;
 * y = activation(x weight^T + bias) + residual. With `before` result 1 is what the activation was applied to (no residual then). */
typedef struct dt_linear_form {
    bool bias, residual, before;
    dt_activation activation;
} dt_linear_form;

/* linear_grad: x [rows, in], u [rows, out] -> dweight [out, in] = u^T x, dbias [out] = the sum of u's rows: what a linear layer with a
 * bias passes on to its parameters. In mixed precision both are of u as products have it, in bfloat16. */
extern const dt_op dt_op_matmul, dt_op_linear, dt_op_linear_grad;

#endif
