/* Convolutions over channels-last images. The three ops of a convolution (its value, its gradient for the
 * input, its gradient for the weight) are each bilinear and are one another's derivatives, so that any of
 * them can be differentiated again and again; a transposed convolution is the second of them. */
#ifndef DUET_KERNELS_OPS_CONV_H
#define DUET_KERNELS_OPS_CONV_H

#include "kernels/graph.h"
#include "kernels/op.h"

/* Vertical and horizontal settings. {.stride = {1, 1}, .dilation = {1, 1}, .groups = 1} is the plain one. */
typedef struct dt_conv_form {
    int stride[2], padding[2], dilation[2];
    int groups;
} dt_conv_form;

/* x [n, h, w, in], weight [out, in / groups, kh, kw] as checkpoints store it, bias [out] or NULL ->
 * [n, h', w', out], h' = floor((h + 2 padding - dilation (kh - 1) - 1) / stride) + 1. */
dt_tensor *dt_conv2d(dt_tensor *x, dt_tensor *weight, dt_tensor *bias, dt_conv_form form);

/* x [n, h, w, in], weight [in, out / groups, kh, kw], bias [out] or NULL -> [n, h', w', out], h' = (h - 1)
 * stride - 2 padding + dilation (kh - 1) + output_padding + 1, output_padding below the stride. */
dt_tensor *dt_conv_transpose2d(dt_tensor *x, dt_tensor *weight, dt_tensor *bias, dt_conv_form form,
                               const int output_padding[2]);

/* ---- For the backends; attributes are a dt_conv_form ----
 * conv: x, weight -> y.  conv_input_grad: dy, weight -> dx.  conv_weight_grad: x, dy -> dweight. */
extern const dt_op dt_op_conv, dt_op_conv_input_grad, dt_op_conv_weight_grad;

#endif
