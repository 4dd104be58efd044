/* Convolutions: oneDNN's, except where windows do not overlap (patch embeddings, strided 1x1 shortcuts) and
 * for the input gradient of few channels (the first layer of a discriminator, the last of a generator): there
 * a matrix product of copied patches is mostly as fast or faster.
 *
 * Best times in ms of value / input gradient / weight gradient, AVX-512, oneDNN against patches. Two cores:
 * x [16, 224, 224, 3], 16x16 patches -> 384: 4.4 / 6.6 / 5.6 against 4.7 / 4.4 / 4.3 (product and copy timed
 * apart); [32, 224, 224, 3], 32x32 -> 768: 21 / 38 / 30 against 19 / 18 / 19. One core of a busy machine,
 * so roughly: [16, 56, 56, 96], 2x2 -> 192: 16 / 15 / 32 against 13 / 13 / 12; [16, 56, 56, 48], 4x4 -> 96,
 * where oneDNN is ahead in two of three: 3.2 / 2.8 / 5.0 against 3.9 / 3.3 / 3.4. These are of oneDNN 2.6;
 * 3.2 needs 4 to 28 times as long as patches for input gradients of at most 16 channels. Windows that overlap,
 * input gradient on one core: [64, 32, 32, 3], 4x4 of stride 2 -> 64: 2.8 against 0.8; 3x3 of stride 1: 7.8 against
 * 2.9; of 1 channel 2.7 against 0.3; of 8 channels they are even. Plain 1x1 kernels run at the rate of oneDNN's own
 * sgemm. */
#include "kernels/backend.h"
#include "kernels/cpu/onednn.h"
#include "kernels/ops.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const dt_kernel dt_cpu_conv[];

typedef struct convolution {
    dt_onednn_kind kind;
    dt_onednn_sizes sizes;
    dt_onednn_conv *library; /* NULL: by patches */
    int64_t chunk;           /* patches: images at a time */
} convolution;

/* ---- Patches: windows, each a row [kh, kw, in] of a matrix ---- */

static int64_t row_width(const dt_onednn_sizes *s)
{
    return s->kernel[0] * s->kernel[1] * s->in;
}

/* The library's weight gradient of a strided 1x1 kernel writes beyond its scratch memory where x has fewer channels than a vector
 * (oneDNN issue 6035). */
static bool breaks_the_library(dt_onednn_kind kind, const dt_onednn_sizes *s)
{
    return kind == DT_ONEDNN_WEIGHT_GRAD && s->kernel[0] * s->kernel[1] == 1 && s->in < 16;
}

/* Whether the windows touch nothing outside the image and each pixel at most once, and are copied in stretches that are long
 * enough. The input gradient can add overlapping windows up, which pays where the library is slow: where x has few channels. */
static bool by_patches(dt_onednn_kind kind, const dt_onednn_sizes *s)
{
    const bool few = kind == DT_ONEDNN_INPUT_GRAD && s->in < 8;
    for (int i = 0; i < 2; i++)
        if ((s->dilation[i] > 1 && s->kernel[i] > 1) || (!few && (s->kernel[i] > s->stride[i] || s->padding[i])))
            return false;
    return s->groups == 1 && (few || (s->stride[0] * s->stride[1] > 1 &&
                                      (kind == DT_ONEDNN_INPUT_GRAD || s->kernel[1] * s->in >= 24 ||
                                       breaks_the_library(kind, s))));
}

/* rows [images * y_height * y_width, kh * kw * in] from x [images, height, width, in]. */
static void gather(const dt_onednn_sizes *s, const float *x, float *rows, int64_t images)
{
    const int64_t stretch = s->kernel[1] * s->in, width = row_width(s);
#pragma omp parallel for schedule(static)
    for (int64_t line = 0; line < images * s->y_height; line++) {
        int64_t image = line / s->y_height, top = line % s->y_height * s->stride[0];
        for (int64_t ky = 0; ky < s->kernel[0]; ky++) {
            const float *from = x + ((image * s->height + top + ky) * s->width) * s->in;
            float *to = rows + line * s->y_width * width + ky * stretch;
            for (int64_t i = 0; i < s->y_width; i++)
                memcpy(to + i * width, from + i * s->stride[1] * s->in, sizeof *to * (size_t)stretch);
        }
    }
}

/* One row of pixels of x, from what the windows' rows ky say of it: added up where windows overlap, zero where there is none. */
static void scatter_line(const dt_onednn_sizes *s, const float *from, float *to)
{
    const int64_t step = s->stride[1] * s->in, width = row_width(s), line_width = s->width * s->in;
    int64_t begin = -s->padding[1] * s->in, stretch = s->kernel[1] * s->in;
    for (int64_t i = 0; i < s->y_width; i++, begin += step, from += width) {
        int64_t first = begin < 0 ? -begin : 0, end = begin + stretch > line_width ? line_width - begin : stretch;
        for (int64_t k = first; k < end; k++)
            to[begin + k] += from[k];
    }
}

/* The adjoint: x from rows. Windows may overlap and reach outside of the image. */
static void scatter(const dt_onednn_sizes *s, const float *rows, float *x, int64_t images)
{
    const int64_t stretch = s->kernel[1] * s->in, width = row_width(s), line_width = s->width * s->in;
#pragma omp parallel for schedule(static)
    for (int64_t line = 0; line < images * s->height; line++) {
        int64_t image = line / s->height, y = line % s->height + s->padding[0];
        float *to = x + line * line_width;
        memset(to, 0, sizeof *to * (size_t)line_width);
        for (int64_t ky = y % s->stride[0]; ky < s->kernel[0] && ky <= y; ky += s->stride[0]) {
            int64_t top = (y - ky) / s->stride[0];
            if (top < s->y_height)
                scatter_line(s, rows + (image * s->y_height + top) * s->y_width * width + ky * stretch, to);
        }
    }
}

/* The weight [out, in, kh, kw] as rows [out, kh, kw, in], or the other way. */
static void permute_weight(const dt_onednn_sizes *s, float *weight, float *rows, bool to_rows)
{
    const int64_t area = s->kernel[0] * s->kernel[1], width = row_width(s);
#pragma omp parallel for schedule(static) if (s->out * width > 1 << 14)
    for (int64_t o = 0; o < s->out; o++)
        for (int64_t c = 0; c < s->in; c++) {
            float *plain = weight + o * width + c * area, *row = rows + o * width + c;
            for (int64_t k = 0; k < area; k++)
                if (to_rows)
                    row[k * s->in] = plain[k];
                else
                    plain[k] = row[k * s->in];
        }
}

static bool run_patches(const convolution *c, float *x, float *weight, float *y, float *workspace)
{
    const dt_onednn_sizes *s = &c->sizes;
    const int64_t width = row_width(s), windows = s->y_height * s->y_width;
    float *weight_rows = workspace + (c->chunk * windows * width + 15) / 16 * 16, *rows = workspace;
    bool good = true;
    if (c->kind != DT_ONEDNN_WEIGHT_GRAD)
        permute_weight(s, weight, weight_rows, true);
    for (int64_t first = 0; good && first < s->batch; first += c->chunk) {
        int64_t images = s->batch - first < c->chunk ? s->batch - first : c->chunk, m = images * windows;
        float *px = x + first * s->height * s->width * s->in, *py = y + first * windows * s->out;
        if (c->kind != DT_ONEDNN_INPUT_GRAD)
            gather(s, px, rows, images);
        if (c->kind == DT_ONEDNN_FORWARD)
            good = dt_sgemm(false, true, m, s->out, width, 1, rows, width, weight_rows, width, 0, py, s->out);
        else if (c->kind == DT_ONEDNN_INPUT_GRAD)
            good =
                dt_sgemm(false, false, m, width, s->out, 1, py, s->out, weight_rows, width, 0, rows, width);
        else
            good = dt_sgemm(true, false, s->out, width, m, 1, py, s->out, rows, width, first > 0, weight_rows,
                            width);
        if (c->kind == DT_ONEDNN_INPUT_GRAD)
            scatter(s, rows, px, images);
    }
    if (c->kind == DT_ONEDNN_WEIGHT_GRAD)
        permute_weight(s, weight, weight_rows, false);
    return good;
}

/* Images whose rows are about 16 MiB together; then the workspace, in bytes. */
static size_t plan_patches(convolution *c)
{
    const dt_onednn_sizes *s = &c->sizes;
    const int64_t each = s->y_height * s->y_width * row_width(s), most = (16 << 20) / (int64_t)sizeof(float);
    c->chunk = each < most ? most / each : 1;
    if (c->chunk > s->batch)
        c->chunk = s->batch;
    return sizeof(float) * (size_t)((c->chunk * each + 15) / 16 * 16 + s->out * row_width(s));
}

/* ---- The kernels ---- */

static dt_onednn_sizes sizes_of(const dt_shape *x, const dt_shape *weight, const dt_shape *y,
                                const dt_conv_form *f)
{
    dt_onednn_sizes s = {.batch = x->dim[0],
                         .height = x->dim[1],
                         .width = x->dim[2],
                         .in = x->dim[3],
                         .y_height = y->dim[1],
                         .y_width = y->dim[2],
                         .out = y->dim[3],
                         .groups = f->groups};
    for (int i = 0; i < 2; i++) {
        s.kernel[i] = weight->dim[2 + i];
        s.stride[i] = f->stride[i], s.padding[i] = f->padding[i], s.dilation[i] = f->dilation[i];
    }
    return s;
}

static bool prepare(dt_preparation *p, dt_onednn_kind kind, const dt_tensor *x, const dt_tensor *weight,
                    const dt_tensor *y)
{
    convolution *c = calloc(1, sizeof *c);
    if (!c) {
        snprintf(p->message, sizeof p->message, "out of memory while planning");
        return false;
    }
    c->kind = kind;
    c->sizes = sizes_of(&x->shape, &weight->shape, &y->shape, p->node->attributes);
    if (by_patches(kind, &c->sizes)) {
        p->workspace = plan_patches(c);
    } else {
        c->library = dt_onednn_conv_new(kind, &c->sizes, p->message, sizeof p->message);
        if (!c->library) {
            free(c);
            return false;
        }
        p->workspace = dt_onednn_conv_workspace(c->library);
    }
    p->state = c;
    return true;
}

static bool prepare_conv(dt_preparation *p)
{
    return prepare(p, DT_ONEDNN_FORWARD, p->node->input[0], p->node->input[1], &p->node->output[0]);
}

static bool prepare_input_grad(dt_preparation *p)
{
    return prepare(p, DT_ONEDNN_INPUT_GRAD, &p->node->output[0], p->node->input[1], p->node->input[0]);
}

static bool prepare_weight_grad(dt_preparation *p)
{
    return prepare(p, DT_ONEDNN_WEIGHT_GRAD, p->node->input[0], &p->node->output[0], p->node->input[1]);
}

static void run(const dt_call *call, float *x, float *weight, float *y)
{
    const convolution *c = call->state;
    bool good = c->library ? dt_onednn_conv_run(c->library, x, weight, y, call->workspace)
                           : run_patches(c, x, weight, y, call->workspace);
    if (!good)
        snprintf(call->fault, DT_MESSAGE, "oneDNN failed while it ran a convolution");
}

static void run_conv(const dt_call *call)
{
    run(call, call->in[0], call->in[1], call->out[0]);
}

static void run_input_grad(const dt_call *call)
{
    run(call, call->out[0], call->in[1], call->in[0]);
}

static void run_weight_grad(const dt_call *call)
{
    run(call, call->in[0], call->out[0], call->in[1]);
}

static void release(void *state)
{
    convolution *c = state;
    if (c)
        dt_onednn_conv_free(c->library);
    free(c);
}

const dt_kernel dt_cpu_conv[] = {{&dt_op_conv, run_conv, prepare_conv, release},
                                 {&dt_op_conv_input_grad, run_input_grad, prepare_input_grad, release},
                                 {&dt_op_conv_weight_grad, run_weight_grad, prepare_weight_grad, release},
                                 {0}};
