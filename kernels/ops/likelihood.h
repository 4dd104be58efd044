/* Log-likelihoods of data under what a decoder says, fused because the decoder's output is the largest tensor there is. x is a
 * batch of n samples [n, ...]; a decoder answers k times a sample, [n k, ...]: row i k + j belongs to sample i. */
#ifndef DUET_KERNELS_OPS_LIKELIHOOD_H
#define DUET_KERNELS_OPS_LIKELIHOOD_H

#include "kernels/graph.h"
#include "kernels/op.h"

/* Independent Bernoulli variables given by logits l, x in [0, 1]: sum x log s(l) + (1 - x) log(1 - s(l)) = sum x l - log(1 + e^l)
 * over all axes but the first, s the logistic function -> [n k]. Stretches are summed in float32, these in float64.
 * Can be differentiated twice, for both arguments. */
dt_tensor *dt_bernoulli_rows(dt_tensor *logits, dt_tensor *x);

/* ---- For the backends ----
 *
 * bernoulli_rows: logits, x -> [n k].
 * bernoulli_rows_grad: logits, x, upstream u [n k] -> u (x - s(l)), of the logits' shape. */
extern const dt_op dt_op_bernoulli_rows, dt_op_bernoulli_rows_grad;

#endif
