/* Contrastive losses over all pairs of a batch, without ever holding the n x n logits: tiles are made, used
 * and forgotten, with a running log-sum-exp. */
#ifndef DUET_KERNELS_OPS_CONTRASTIVE_H
#define DUET_KERNELS_OPS_CONTRASTIVE_H

#include "kernels/graph.h"
#include "kernels/op.h"

/* Symmetric InfoNCE (Radford et al., 2021; van den Oord et al., 2018): logits = scale a b^T; the mean
 * cross-entropy over rows and that over columns, with the diagonal as labels, averaged. a, b [n, d]
 * (normalised by the caller), scale a scalar (not its logarithm) -> scalar. */
dt_tensor *dt_infonce(dt_tensor *a, dt_tensor *b, dt_tensor *scale);

/* Sigmoid loss (Zhai et al., 2023): -1/n sum_ij log sigmoid(z_ij (scale a_i.b_j + bias)), z = +1 on the
 * diagonal, -1 elsewhere. scale and bias are scalars. */
dt_tensor *dt_sigmoid_loss(dt_tensor *a, dt_tensor *b, dt_tensor *scale, dt_tensor *bias);

/* A second derivative of either is composed of plain ops and does hold n x n logits: for small n. */

/* ---- For the backends ----
 *
 * infonce: a, b, scale -> loss [], row_lse [n], column_lse [n].
 * infonce_grad: a, b, scale, row_lse, column_lse, dloss [] -> da, db, dscale [].
 *
 * sigmoid_loss: a, b, scale, bias -> loss [].
 * sigmoid_loss_grad: a, b, scale, bias, dloss -> da, db, dscale, dbias. */
extern const dt_op dt_op_infonce, dt_op_infonce_grad, dt_op_sigmoid_loss, dt_op_sigmoid_loss_grad;

#endif
