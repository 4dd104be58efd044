/* In place of kernels/cpu/onednn.c where oneDNN is missing: the same results by plain loops, so that what a GPU computes can be
 * compared with the CPU there too. Slow, for small sizes. */
#include "kernels/cpu/onednn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dt_onednn_conv {
    dt_onednn_kind kind;
    dt_onednn_sizes s;
};

void dt_onednn_version(int *major, int *minor, int *patch)
{
    *major = *minor = *patch = 0;
}

bool dt_sgemm(bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda, const float *b,
              int64_t ldb, float beta, float *c, int64_t ldc)
{
    if (m < 0 || n < 0 || k < 0)
        return false;
#pragma omp parallel for
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t l = 0; l < k; l++)
                sum += (double)(ta ? a[l * lda + i] : a[i * lda + l]) * (tb ? b[j * ldb + l] : b[l * ldb + j]);
            c[i * ldc + j] = (float)(alpha * sum) + (beta != 0 ? beta * c[i * ldc + j] : 0);
        }
    return true;
}

/* Pixels of a result along one axis. */
static int64_t extent(const dt_onednn_sizes *s, int64_t size, int axis)
{
    return (size + 2 * s->padding[axis] - s->dilation[axis] * (s->kernel[axis] - 1) - 1) / s->stride[axis] + 1;
}

dt_onednn_conv *dt_onednn_conv_new(dt_onednn_kind kind, const dt_onednn_sizes *sizes, char *message, size_t length)
{
    bool possible = extent(sizes, sizes->height, 0) == sizes->y_height && extent(sizes, sizes->width, 1) == sizes->y_width;
    dt_onednn_conv *conv = possible ? calloc(1, sizeof *conv) : NULL;
    if (conv)
        *conv = (dt_onednn_conv){kind, *sizes};
    else
        snprintf(message, length, possible ? "out of memory" : "the sizes do not fit together");
    return conv;
}

void dt_onednn_conv_free(dt_onednn_conv *conv)
{
    free(conv);
}

size_t dt_onednn_conv_workspace(const dt_onednn_conv *conv)
{
    (void)conv;
    return 0;
}

/* One product of the sum: x of sample n at the pixel that output (i, j) sees through (ki, kj), input channel c of output o's
 * group. at[0..2] are the places in x, weight and y; false: the pixel is outside. */
static bool term(const dt_onednn_sizes *s, int64_t n, int64_t i, int64_t j, int64_t o, int64_t c, int64_t ki, int64_t kj,
                 int64_t at[3])
{
    int64_t row = i * s->stride[0] - s->padding[0] + ki * s->dilation[0];
    int64_t column = j * s->stride[1] - s->padding[1] + kj * s->dilation[1];
    int64_t group = s->in / s->groups, first = o / (s->out / s->groups) * group;
    if (row < 0 || row >= s->height || column < 0 || column >= s->width)
        return false;
    at[0] = ((n * s->height + row) * s->width + column) * s->in + first + c;
    at[1] = ((o * group + c) * s->kernel[0] + ki) * s->kernel[1] + kj;
    at[2] = ((n * s->y_height + i) * s->y_width + j) * s->out + o;
    return true;
}

/* target 0, 1, 2: x, weight or y is the sum of the products of the two others. */
static void add_sample(const dt_onednn_sizes *s, int target, int64_t n, const float *const tensor[3], double *sum)
{
    int64_t at[3];
    for (int64_t i = 0; i < s->y_height; i++)
        for (int64_t j = 0; j < s->y_width; j++)
            for (int64_t o = 0; o < s->out; o++)
                for (int64_t c = 0; c < s->in / s->groups; c++)
                    for (int64_t k = 0; k < s->kernel[0] * s->kernel[1]; k++)
                        if (term(s, n, i, j, o, c, k / s->kernel[1], k % s->kernel[1], at))
                            sum[at[target]] += (double)tensor[(target + 1) % 3][at[(target + 1) % 3]] *
                                               tensor[(target + 2) % 3][at[(target + 2) % 3]];
}

bool dt_onednn_conv_run(dt_onednn_conv *conv, float *x, float *weight, float *y, void *workspace)
{
    const dt_onednn_sizes *s = &conv->s;
    (void)workspace;
    int target = conv->kind == DT_ONEDNN_FORWARD ? 2 : conv->kind == DT_ONEDNN_INPUT_GRAD ? 0 : 1;
    float *tensor[3] = {x, weight, y};
    const int64_t count[3] = {s->batch * s->height * s->width * s->in,
                              s->out * (s->in / s->groups) * s->kernel[0] * s->kernel[1],
                              s->batch * s->y_height * s->y_width * s->out};
    double *sum = calloc((size_t)count[target], sizeof *sum);
    if (!sum)
        return false;
    if (target == 1) {
        for (int64_t n = 0; n < s->batch; n++)
            add_sample(s, target, n, (const float *const *)tensor, sum);
    } else {
#pragma omp parallel for
        for (int64_t n = 0; n < s->batch; n++) /* samples write places of their own */
            add_sample(s, target, n, (const float *const *)tensor, sum);
    }
    for (int64_t i = 0; i < count[target]; i++)
        tensor[target][i] = (float)sum[i];
    free(sum);
    return true;
}
