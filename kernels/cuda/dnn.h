/* All that Duet asks of cuDNN: one convolution or one of its two gradients. dnn.cu is over the library; on the simulator
 * tests/cudasim/dnn.cpp stands in for it. Only dnn.cu and sdpa.cu include cuDNN's headers (cudnn_plan.h).
 *
 *     y[n, i, j, o] = sum over ki, kj, c of x[n, i stride - padding + ki dilation, ..., c] weight[o, ki, kj, c]
 *
 * with the channels c of o's group. x [batch, height, width, in] and y [batch, y_height, y_width, out] are channels-last, and
 * so is weight [out, kh, kw, in / groups], unlike the weights of kernels/ops/conv.h. Sums are float32.
 *
 * The choice of algorithm is made once, in dt_dnn_new, and depends on the convolution alone; it is one that gives the same bits
 * each time. */
#ifndef DUET_KERNELS_CUDA_DNN_H
#define DUET_KERNELS_CUDA_DNN_H

#include "kernels/cuda/launch.h"

typedef enum {
    DT_DNN_FORWARD,    /* y from x and weight */
    DT_DNN_INPUT_GRAD, /* x from y and weight: the gradient for x, when y is that of the result */
    DT_DNN_WEIGHT_GRAD /* weight from x and y, likewise */
} dt_dnn_kind;

typedef struct dt_convolution {
    dt_dnn_kind kind;
    int64_t batch, height, width, in, y_height, y_width, out, groups;
    int64_t kernel[2], stride[2], padding[2], dilation[2];
    dt_dtype from, to; /* of the two that are read; of the one that is written */
    bool tf32;         /* float32 operands are rounded to TF32 */
} dt_convolution;

typedef struct dt_dnn dt_dnn;

/* NULL: the library refuses, which is its right with any convolution; message (DT_MESSAGE bytes) says what. */
dt_dnn *dt_dnn_new(const dt_convolution *convolution, char *message);
void dt_dnn_free(dt_dnn *dnn);

size_t dt_dnn_workspace(const dt_dnn *dnn); /* bytes that a run needs */

/* Enqueues on dt_cuda_stream(). Of x, weight and y the one that `kind` names is written, all of it. They and the workspace are
 * aligned to 16 bytes. What goes wrong is the call's fault. */
void dt_dnn_run(const dt_dnn *dnn, void *x, void *weight, void *y, void *workspace, const dt_call *call);

#endif
