/* Normalisations. Statistics are taken in float32 with two passes (mean, then centred squares), in blocks. */
#ifndef DUET_KERNELS_OPS_NORM_H
#define DUET_KERNELS_OPS_NORM_H

#include "kernels/graph.h"
#include "kernels/op.h"

/* Ba et al., 2016. Over the last axis: (x - mean) / sqrt(var + eps) gamma + beta, var biased.
 * gamma, beta [w]. */
dt_tensor *dt_layer_norm(dt_tensor *x, dt_tensor *gamma, dt_tensor *beta, float eps);

/* Wu & He, 2018. x [n, ..., c], over positions and the c / groups channels of a group. gamma, beta [c]. */
dt_tensor *dt_group_norm(dt_tensor *x, dt_tensor *gamma, dt_tensor *beta, int groups, float eps);

/* Ioffe & Szegedy, 2015. x [..., c]; gamma, beta and the running statistics [c].
 * Training: normalises with the batch's mean and biased variance over all axes but the last, and records
 * running := (1 - momentum) running + momentum batch at the end of the run, with the unbiased variance
 * (over n - 1), as torch has it (at least two rows). Evaluation: normalises with the running statistics. */
typedef struct dt_batch_norm_state {
    dt_tensor *running_mean, *running_var; /* from dt_buffer */
    float momentum, eps;
    bool training;
} dt_batch_norm_state;
dt_tensor *dt_batch_norm(dt_tensor *x, dt_tensor *gamma, dt_tensor *beta, dt_batch_norm_state state);

/* ---- For the backends; attributes are a dt_norm_form ----
 *
 * layer_norm: x, gamma, beta -> y, mean [rows], rstd [rows].
 * layer_norm_grad: x, gamma, mean, rstd, dy -> dx, dgamma, dbeta. The planner may give it a sixth input of x's shape, which is added
 * to dx.
 *
 * group_norm: x, gamma, beta -> y, mean [n, groups], rstd [n, groups].
 * group_norm_grad: like layer_norm_grad.
 *
 * batch_norm: x, gamma, beta -> y, mean [c], var [c] (biased).
 * batch_norm_grad: x, gamma, mean, var, dy -> dx, dgamma, dbeta. */
typedef struct dt_norm_form {
    float eps;
    int groups; /* group_norm only */
    bool relu;  /* group_norm and batch_norm: max(y, 0) in the same pass; set by the planner */
} dt_norm_form;

extern const dt_op dt_op_layer_norm, dt_op_layer_norm_grad, dt_op_group_norm, dt_op_group_norm_grad,
    dt_op_batch_norm, dt_op_batch_norm_grad;

#endif
