/* What the CPU backend uses of oneDNN: the one place that knows the library, whose C interface differs
 * between its versions 2 and 3 (either builds). Matrices are row-major, images channels-last, everything
 * float32.
 *
 * Bits: the same for the same sizes, machine and thread count. Another thread count may change the last
 * bits where a library kernel splits a long sum between threads (weight gradients and products with a large
 * k). */
#ifndef DUET_KERNELS_CPU_ONEDNN_H
#define DUET_KERNELS_CPU_ONEDNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* c = alpha op(a) op(b) + beta c with op(a) [m, k], op(b) [k, n], c [m, n]; op transposes where ta or tb is
 * set. lda, ldb and ldc are the distances between the rows of a, b and c as they are stored (a is stored
 * [k, m] when ta). With beta 0, c is not read. Uses every thread; called inside an OpenMP parallel region
 * it runs on the calling thread alone, so that many small products can share the threads. False: the
 * library refused (sizes that do not fit). */
bool dt_sgemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda,
              const float *b, int64_t ldb, float beta, float *c, int64_t ldc);

/* Of the library that the program runs with. */
void dt_onednn_version(int *major, int *minor, int *patch);

/* ---- Convolutions: y = conv(x, weight), and the gradients of that for x and for weight ---- */

typedef enum { DT_ONEDNN_FORWARD, DT_ONEDNN_INPUT_GRAD, DT_ONEDNN_WEIGHT_GRAD } dt_onednn_kind;

/* Of the forward convolution, whichever of the three is wanted: x [batch, height, width, in], weight
 * [out, in / groups, kernel[0], kernel[1]] (plain, as in checkpoints), y [batch, y_height, y_width, out]. */
typedef struct dt_onednn_sizes {
    int64_t batch, height, width, in, y_height, y_width, out;
    int64_t kernel[2], stride[2], padding[2], dilation[2]; /* vertical, horizontal; dilation 1 is none */
    int64_t groups;
} dt_onednn_sizes;

typedef struct dt_onednn_conv dt_onednn_conv;

/* A compiled convolution for as many threads as OpenMP has now, or NULL and why in message (`length`
 * bytes). Freed by dt_onednn_conv_free. */
dt_onednn_conv *dt_onednn_conv_new(dt_onednn_kind kind, const dt_onednn_sizes *sizes, char *message,
                                   size_t length);

/* Bytes of scratch memory, 64-byte aligned, that a run needs. */
size_t dt_onednn_conv_workspace(const dt_onednn_conv *conv);

/* One run: writes the tensor that the kind computes (y, x or weight) from the other two, which are only
 * read. One run of the same conv at a time. False: the library failed. */
bool dt_onednn_conv_run(dt_onednn_conv *conv, float *x, float *weight, float *y, void *workspace);

void dt_onednn_conv_free(dt_onednn_conv *conv); /* NULL is allowed */

#endif
