/* All that Duet asks of cuBLASLt: one product of matrices with what can be done on the way out. blas.cu is over the library;
 * on the simulator tests/cudasim/blas.cpp stands in for it, so nothing else in kernels/cuda includes cublasLt.h.
 *
 *     y = activation(scale op(a) op(b) + bias) + residual
 *
 * and one thing beside it, which is read or written on the way (dt_beside).
 *
 * Matrices are row-major. The choice of algorithm is made once, in dt_blas_new, and depends on the product alone, so that a run
 * repeats bit for bit on one kind of GPU. (Where a pointer is not aligned to 16 bytes, another is taken; that is as fixed.) */
#ifndef DUET_KERNELS_CUDA_BLAS_H
#define DUET_KERNELS_CUDA_BLAS_H

#include "kernels/cuda/launch.h"

/* What else a product of bfloat16 results may do, with a dense matrix of y's shape and type, of columns by the eight, aligned to 16
 * bytes. */
typedef enum {
    DT_BESIDE_NOTHING,
    DT_BESIDE_BEFORE, /* written: what the activation is applied to */
    DT_BESIDE_SLOPE   /* read: the x of y = gelu_tanh'(x) scale op(a) op(b) */
} dt_beside;

typedef struct dt_product {
    int64_t rows, columns, depth;    /* y [rows, columns]; a [rows, depth], b [depth, columns] */
    bool transpose_a, transpose_b;   /* a is [depth, rows]; b is [columns, depth] */
    int64_t batch;                   /* matrices one after another in a, b and y; 0 is 1. Bias and residual: batch 1 only */
    int64_t stride_a, stride_b, stride_y; /* elements from one row in memory to the next; 0: dense (the residual's is y's) */
    dt_dtype in, out;                /* of a and b; of y, bias and residual. float32 inputs have float32 results */
    bool tf32;                       /* float32 inputs are rounded to TF32 */
    float scale;
    bool bias, residual;             /* residual may be y itself, then y += ...; other operands share nothing with y */
    dt_activation activation;        /* NONE or GELU_TANH; that with bfloat16 results and without a residual only: the library takes
                                        the tanh from the hardware (MUFU.TANH in the code of version 13.1), within 2^-11 */
    dt_beside beside;                /* batch 1 only, without a residual; BEFORE with an activation, SLOPE without bias and one */
} dt_product;

typedef struct dt_blas dt_blas;

/* NULL: the library refuses; message (DT_MESSAGE bytes) says what. It may refuse a bias, an activation or what is beside, but never
 * what remains without them. */
dt_blas *dt_blas_new(const dt_product *product, char *message);
void dt_blas_free(dt_blas *blas);

size_t dt_blas_workspace(const dt_blas *blas); /* bytes that a run needs */

/* Enqueues on dt_cuda_stream(). bias [columns], residual and what is beside may be NULL where the product has none. Pointers are
 * aligned to elements; to 16 bytes is faster. What goes wrong is the call's fault. */
void dt_blas_run_beside(const dt_blas *blas, const void *a, const void *b, const void *bias, const void *residual, void *beside,
                        void *y, void *workspace, const dt_call *call);

static inline void dt_blas_run(const dt_blas *blas, const void *a, const void *b, const void *bias, const void *residual, void *y,
                               void *workspace, const dt_call *call)
{
    dt_blas_run_beside(blas, a, b, bias, residual, NULL, y, workspace, call);
}

/* ---- For the two that do it ---- */

static inline const char *dt_beside_complaint(const dt_product *p)
{
    bool active = p->activation != DT_ACT_NONE;
    if (active && p->activation != DT_ACT_GELU_TANH)
        return "an activation that is not GELU by tanh";
    if ((active || p->beside) && p->out != DT_BF16)
        return "GELU in float32";
    if ((active || p->beside) && p->residual)
        return "an activation before a residual";
    if (p->beside && p->batch > 1)
        return "something beside a batch";
    if (p->beside == DT_BESIDE_BEFORE && !active)
        return "nothing to be before";
    if (p->beside == DT_BESIDE_SLOPE && (p->bias || active))
        return "a slope beside a bias or an activation";
    if (p->beside && (p->columns % 8 || p->stride_y != p->columns))
        return "a matrix beside that is not of columns by the eight";
    return NULL;
}

/* What speaks against a product whose zeros are filled; NULL: nothing. */
static inline const char *dt_product_complaint(const dt_product *p)
{
    int64_t width_a = p->transpose_a ? p->rows : p->depth, width_b = p->transpose_b ? p->depth : p->columns;
    if (p->rows < 1 || p->columns < 1 || p->depth < 1 || p->batch < 1 || p->batch > INT32_MAX)
        return "a size is not positive, or too large";
    if (p->stride_a < width_a || p->stride_b < width_b || p->stride_y < p->columns)
        return "a stride is less than the row";
    if (p->scale == 0)
        return "a scale of zero";
    if (!(p->in == DT_BF16 && (p->out == DT_BF16 || p->out == DT_F32)) && !(p->in == DT_F32 && p->out == DT_F32))
        return "there is no product of these element types";
    if (p->batch > 1 && (p->bias || p->residual))
        return "a bias or a residual in a batch";
    return dt_beside_complaint(p);
}

static inline dt_product dt_product_filled(const dt_product *product)
{
    dt_product p = *product;
    p.batch = p.batch ? p.batch : 1;
    p.stride_a = p.stride_a ? p.stride_a : p.transpose_a ? p.rows : p.depth;
    p.stride_b = p.stride_b ? p.stride_b : p.transpose_b ? p.depth : p.columns;
    p.stride_y = p.stride_y ? p.stride_y : p.columns;
    return p;
}

#endif
