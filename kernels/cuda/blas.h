/* All that Duet asks of cuBLASLt: one product of matrices with what can be done on the way out. blas.cu is over the library; on
 * the simulator tests/cudasim/blas.cpp stands in for it, so nothing else in kernels/cuda includes cublasLt.h.
 *
 *     y = activation(scale op(a) op(b) + bias) + residual
 *
 * Matrices are row-major. The choice of algorithm is made once, in dt_blas_new, and depends on the product alone, so that a run repeats
 * bit for bit on one kind of GPU. */
#ifndef DUET_KERNELS_CUDA_BLAS_H
#define DUET_KERNELS_CUDA_BLAS_H

#include "kernels/cuda/launch.h"

typedef struct dt_product {
    int64_t rows, columns, depth;    /* y [rows, columns]; a [rows, depth], b [depth, columns] */
    bool transpose_a, transpose_b;   /* a is [depth, rows]; b is [columns, depth] */
    int64_t batch;                   /* matrices one after another in a, b and y; 0 is 1. Bias and residual: batch 1 only */
    int64_t stride_a, stride_b, stride_y; /* elements from one row in memory to the next; 0: dense (also the residual's, as y) */
    dt_dtype in, out;                /* of a and b; of y, bias and residual */
    bool tf32;                       /* float32 inputs are rounded to TF32 */
    float scale;
    bool bias, residual;             /* residual may be y itself, then y += ... */
    dt_activation activation;        /* NONE, RELU or GELU_TANH, and NONE with a residual: what dt_blas_new does itself */
} dt_product;

typedef struct dt_blas dt_blas;

/* NULL: the library refuses; message (DT_MESSAGE bytes) says what. */
dt_blas *dt_blas_new(const dt_product *product, char *message);
void dt_blas_free(dt_blas *blas);

size_t dt_blas_workspace(const dt_blas *blas); /* bytes that a run needs */

/* Enqueues on dt_cuda_stream(). bias [columns] and residual may be NULL where the product has none. What goes wrong is the
 * call's fault. */
void dt_blas_run(const dt_blas *blas, const void *a, const void *b, const void *bias, const void *residual, void *y,
                 void *workspace, const dt_call *call);

#endif
