/* All that Duet asks of cuDNN's scaled dot-product attention: that of ops/attention.h between bfloat16 tensors. sdpa.cu is over
 * the library; on the simulator tests/cudasim/sdpa.cpp stands in for it, so attention.cu does without cuDNN's headers. */
#ifndef DUET_KERNELS_CUDA_SDPA_H
#define DUET_KERNELS_CUDA_SDPA_H

#include "kernels/cuda/launch.h"

typedef struct dt_sdpa_form {
    int64_t n, t, heads, d; /* samples, positions, heads, numbers in a head */
    bool causal;
    bool backward; /* the gradient, and not the attention itself */
} dt_sdpa_form;

typedef struct dt_sdpa dt_sdpa;

/* The workspace of a gradient that repeats its bits grows with n t t, so there is a most that it may be. Beyond it, what is
 * made is for fewer than form->n samples, as many as dt_sdpa_samples says: the caller runs it on one part of that size
 * after another, and makes another for the rest. All parts begin at multiples of 16 bytes if the tensors do. NULL: the
 * library refuses, or has nothing for this form that gives the same bits every time; message (DT_MESSAGE bytes) says what. */
dt_sdpa *dt_sdpa_new(const dt_sdpa_form *form, char *message);
void dt_sdpa_free(dt_sdpa *sdpa); /* NULL is fine */

int64_t dt_sdpa_samples(const dt_sdpa *sdpa);
size_t dt_sdpa_workspace(const dt_sdpa *sdpa); /* bytes that a run needs */

/* Both enqueue on dt_cuda_stream(), for n = dt_sdpa_samples samples. qkv and dqkv [n, t, 3 heads d], y and dy [n, t, heads
 * d] in bfloat16; lse [n, heads, t] in float32, natural logarithms. All are aligned to 16 bytes, and the workspace to 256.
 * What goes wrong is the call's fault. */
void dt_sdpa_forward(const dt_sdpa *sdpa, const void *qkv, void *y, float *lse, void *workspace, const dt_call *call);
void dt_sdpa_backward(const dt_sdpa *sdpa, const void *qkv, const void *y, const float *lse, const void *dy, void *dqkv,
                      void *workspace, const dt_call *call);

#endif
