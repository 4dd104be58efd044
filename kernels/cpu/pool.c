#include "kernels/ops/pool.h"
#include "kernels/cpu/separable.h"

#include <stdio.h>

extern const dt_kernel dt_cpu_pool[];

/* Windows over an axis of n places: window i covers [first, end). */
typedef struct range {
    int64_t first, end;
} range;

static range window(int64_t i, int64_t n, const dt_pool_form *f, int axis)
{
    int64_t first = i * f->stride[axis] - f->padding[axis], end = first + f->kernel[axis];
    return (range){first < 0 ? 0 : first, end > n ? n : end};
}

/* The windows, of `count`, that cover place i. */
static range covering(int64_t i, int64_t count, const dt_pool_form *f, int axis)
{
    int64_t at = i + f->padding[axis], stride = f->stride[axis], before = at - f->kernel[axis];
    int64_t first = before < 0 ? 0 : before / stride + 1, end = at / stride + 1;
    return (range){first, end > count ? count : end};
}

/* ---- Maximum ---- */

/* Maxima of one window over all channels. A NaN wins, as in the references. */
static void max_window(const float *restrict image, int64_t width, int64_t channels, range rows,
                       range columns, float *restrict y, int32_t *restrict index)
{
    bool first = true;
    for (int64_t i = rows.first; i < rows.end; i++)
        for (int64_t j = columns.first; j < columns.end; j++, first = false) {
            const int32_t position = (int32_t)(i * width + j);
            const float *x = image + position * channels;
            if (first)
                for (int64_t c = 0; c < channels; c++)
                    y[c] = x[c], index[c] = position;
            else
                for (int64_t c = 0; c < channels; c++) {
                    bool better = !(x[c] <= y[c]) & (y[c] == y[c]);
                    y[c] = better ? x[c] : y[c];
                    index[c] = better ? position : index[c];
                }
        }
}

static void run_max_pool(const dt_call *call)
{
    const dt_node *node = call->node;
    const dt_pool_form *f = node->attributes;
    const dt_shape *x = &node->input[0]->shape, *y = &node->output[0].shape;
    const int64_t height = x->dim[1], width = x->dim[2], channels = x->dim[3];
    const float *from = call->in[0];
    float *to = call->out[0];
    int32_t *index = call->out[1];
#pragma omp parallel for schedule(static)
    for (int64_t line = 0; line < y->dim[0] * y->dim[1]; line++) {
        const float *image = from + line / y->dim[1] * height * width * channels;
        range rows = window(line % y->dim[1], height, f, 0);
        for (int64_t j = 0; j < y->dim[2]; j++) {
            int64_t at = (line * y->dim[2] + j) * channels;
            max_window(image, width, channels, rows, window(j, width, f, 1), to + at, index + at);
        }
    }
}

/* Each pixel takes dy from the windows whose maximum it was; so no two threads write to one place. */
static void run_max_pool_grad(const dt_call *call)
{
    const dt_node *node = call->node;
    const dt_pool_form *f = node->attributes;
    const dt_shape *y = &node->input[0]->shape, *x = &node->output[0].shape;
    const int64_t height = x->dim[1], width = x->dim[2], channels = x->dim[3];
    const float *dy = call->in[0];
    const int32_t *index = call->in[1];
    float *dx = call->out[0];
#pragma omp parallel for schedule(static)
    for (int64_t line = 0; line < x->dim[0] * height; line++) {
        range rows = covering(line % height, y->dim[1], f, 0);
        for (int64_t j = 0; j < width; j++) {
            float *restrict to = dx + (line * width + j) * channels;
            const int32_t here = (int32_t)(line % height * width + j);
            range columns = covering(j, y->dim[2], f, 1);
            for (int64_t c = 0; c < channels; c++)
                to[c] = 0;
            for (int64_t a = rows.first; a < rows.end; a++)
                for (int64_t b = columns.first; b < columns.end; b++) {
                    int64_t at = ((line / height * y->dim[1] + a) * y->dim[2] + b) * channels;
                    for (int64_t c = 0; c < channels; c++)
                        to[c] += index[at + c] == here ? dy[at + c] : 0;
                }
        }
    }
}

static void run_max_pool_pick(const dt_call *call)
{
    const dt_node *node = call->node;
    const dt_shape *x = &node->input[0]->shape, *y = &node->output[0].shape;
    const int64_t image = dt_span(x, 1, 4), channels = x->dim[3], pixels = y->dim[1] * y->dim[2];
    const float *from = call->in[0];
    const int32_t *index = call->in[1];
    float *to = call->out[0];
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < y->dim[0] * pixels; p++)
        for (int64_t c = 0; c < channels; c++)
            to[p * channels + c] = from[p / pixels * image + index[p * channels + c] * channels + c];
}

/* ---- Averages ---- */

/* The matrix of one axis: each place of y is the mean of a window, whose padding counts as zeros. */
static dt_taps window_taps(int64_t to, int64_t from, const dt_pool_form *f, int axis)
{
    int64_t count = 0;
    for (int64_t i = 0; i < to; i++) {
        range r = window(i, from, f, axis);
        count += r.end - r.first;
    }
    dt_taps taps = dt_taps_new(to, from, count);
    for (int64_t i = 0; taps.start && i < to; i++) {
        range r = window(i, from, f, axis);
        for (int64_t k = r.first; k < r.end; k++)
            dt_taps_add(&taps, i, k, 1 / (float)f->kernel[axis]);
    }
    return taps;
}

/* Cell i of `to` covers floor(i from / to) .. ceil((i + 1) from / to). */
static range cell(int64_t i, int64_t to, int64_t from)
{
    const __int128 wide = from; /* a product of two lengths may not fit in 64 bits */
    return (range){(int64_t)(i * wide / to), (int64_t)(((i + 1) * wide + to - 1) / to)};
}

static dt_taps cell_taps(int64_t to, int64_t from)
{
    dt_taps taps = dt_taps_new(to, from, to + from);
    for (int64_t i = 0; taps.start && i < to; i++) {
        range r = cell(i, to, from);
        for (int64_t k = r.first; k < r.end; k++)
            dt_taps_add(&taps, i, k, 1 / (float)(r.end - r.first));
    }
    return taps;
}

static bool prepare_avg_pool(dt_preparation *p)
{
    const dt_pool_form *f = p->node->attributes;
    const bool adjoint = p->node->op == &dt_op_avg_pool_grad;
    const dt_shape *in = &p->node->input[0]->shape, *out = &p->node->output[0].shape;
    const dt_shape *x = adjoint ? out : in, *y = adjoint ? in : out;
    return dt_separable_prepare(p, window_taps(y->dim[1], x->dim[1], f, 0),
                                window_taps(y->dim[2], x->dim[2], f, 1), adjoint);
}

static bool prepare_adaptive_pool(dt_preparation *p)
{
    const bool adjoint = p->node->op == &dt_op_adaptive_pool_grad;
    const dt_shape *in = &p->node->input[0]->shape, *out = &p->node->output[0].shape;
    const dt_shape *x = adjoint ? out : in, *y = adjoint ? in : out;
    return dt_separable_prepare(p, cell_taps(y->dim[1], x->dim[1]), cell_taps(y->dim[2], x->dim[2]), adjoint);
}

const dt_kernel dt_cpu_pool[] = {
    {&dt_op_max_pool, run_max_pool, NULL, NULL},
    {&dt_op_max_pool_grad, run_max_pool_grad, NULL, NULL},
    {&dt_op_max_pool_pick, run_max_pool_pick, NULL, NULL},
    {&dt_op_avg_pool, dt_separable_run, prepare_avg_pool, dt_separable_release},
    {&dt_op_avg_pool_grad, dt_separable_run, prepare_avg_pool, dt_separable_release},
    {&dt_op_adaptive_pool, dt_separable_run, prepare_adaptive_pool, dt_separable_release},
    {&dt_op_adaptive_pool_grad, dt_separable_run, prepare_adaptive_pool, dt_separable_release},
    {0}};
