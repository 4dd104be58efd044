/* Pooling. A thread has one pixel of the result (image.h). Gradients are gathered: each pixel of x sums what the windows
 * that cover it say, in order. */
#include "kernels/cuda/image.h"

#include <stdio.h>

extern "C" {
extern const dt_kernel dt_cuda_pool[];
}

namespace
{

/* One axis of the windows. */
struct axis {
    int64_t x, y; /* lengths */
    int64_t kernel, stride, padding;
    bool adaptive; /* window i covers floor(i x / y) .. ceil((i + 1) x / y) instead */
};

struct windows {
    int64_t channels;
    axis rows, columns;
};

struct range {
    int64_t first, end;
};

/* What cell i of an axis of length n covers, when it is cut into `cells` that may overlap. The places that cover a cell of
 * the other axis follow from the same rule with the lengths exchanged. */
__device__ __forceinline__ range cell(int64_t i, int64_t cells, int64_t n)
{
    return {i * n / cells, ((i + 1) * n + cells - 1) / cells};
}

/* What window i covers of x. */
__device__ __forceinline__ range window(const axis &a, int64_t i)
{
    if (a.adaptive)
        return cell(i, a.y, a.x);
    int64_t first = i * a.stride - a.padding, end = first + a.kernel;
    return {first < 0 ? 0 : first, end > a.x ? a.x : end};
}

/* The windows that cover place k of x. */
__device__ __forceinline__ range covering(const axis &a, int64_t k)
{
    if (a.adaptive)
        return cell(k, a.x, a.y);
    int64_t at = k + a.padding, before = at - a.kernel, end = at / a.stride + 1;
    return {before < 0 ? 0 : before / a.stride + 1, end > a.y ? a.y : end};
}

/* How many places the mean of window i is over. */
__device__ __forceinline__ float length(const axis &a, int64_t i)
{
    if (!a.adaptive)
        return (float)a.kernel;
    range r = cell(i, a.y, a.x);
    return (float)(r.end - r.first);
}

template <int WIDE> struct alignas(4 * WIDE) places {
    int32_t of[WIDE];
};

template <int WIDE> __device__ __forceinline__ places<WIDE> load_index(const int32_t *index, int64_t i)
{
    return *reinterpret_cast<const places<WIDE> *>(index + i);
}

/* ---- Maximum ---- */

/* The first of equal values wins, a NaN wins over all. */
template <int WIDE, class T> __global__ void max_kernel(const T *x, windows w, dt_pixels pixels, T *y, int32_t *index)
{
    for (int64_t at = dt_thread(); at < pixels.count; at += dt_threads()) {
        const dt_place p = dt_place_of<WIDE>(pixels, at);
        const range rows = window(w.rows, p.row), columns = window(w.columns, p.column);
        const T *image = x + p.image * w.rows.x * w.columns.x * w.channels + p.channel;
        places<WIDE> best;
        float most[WIDE], value[WIDE];
        dt_load_some<WIDE>(image, (rows.first * w.columns.x + columns.first) * w.channels, most);
        for (int c = 0; c < WIDE; c++)
            best.of[c] = (int32_t)(rows.first * w.columns.x + columns.first);
        for (int64_t i = rows.first; i < rows.end; i++)
            for (int64_t j = columns.first; j < columns.end; j++) {
                dt_load_some<WIDE>(image, (i * w.columns.x + j) * w.channels, value);
                for (int c = 0; c < WIDE; c++) {
                    bool better = !(value[c] <= most[c]) && most[c] == most[c];
                    most[c] = better ? value[c] : most[c];
                    best.of[c] = better ? (int32_t)(i * w.columns.x + j) : best.of[c];
                }
            }
        dt_store_some<WIDE>(y, at * WIDE, most);
        *reinterpret_cast<places<WIDE> *>(index + at * WIDE) = best;
    }
}

template <int WIDE, class T>
__global__ void max_grad_kernel(const T *dy, const int32_t *index, windows w, dt_pixels pixels, T *dx)
{
    for (int64_t at = dt_thread(); at < pixels.count; at += dt_threads()) {
        const dt_place p = dt_place_of<WIDE>(pixels, at);
        const range rows = covering(w.rows, p.row), columns = covering(w.columns, p.column);
        const int32_t here = (int32_t)(p.row * w.columns.x + p.column);
        float sum[WIDE] = {}, value[WIDE];
        for (int64_t i = rows.first; i < rows.end; i++)
            for (int64_t j = columns.first; j < columns.end; j++) {
                int64_t from = ((p.image * w.rows.y + i) * w.columns.y + j) * w.channels + p.channel;
                places<WIDE> best = load_index<WIDE>(index, from);
                dt_load_some<WIDE>(dy, from, value);
                for (int c = 0; c < WIDE; c++)
                    sum[c] += best.of[c] == here ? value[c] : 0;
            }
        dt_store_some<WIDE>(dx, at * WIDE, sum);
    }
}

template <int WIDE, class T> __global__ void pick_kernel(const T *x, const int32_t *index, windows w, dt_pixels pixels, T *y)
{
    for (int64_t at = dt_thread(); at < pixels.count; at += dt_threads()) {
        const dt_place p = dt_place_of<WIDE>(pixels, at);
        const T *image = x + p.image * w.rows.x * w.columns.x * w.channels + p.channel;
        places<WIDE> best = load_index<WIDE>(index, at * WIDE);
        float value[WIDE];
        for (int c = 0; c < WIDE; c++)
            value[c] = dt_load(image, best.of[c] * w.channels + c);
        dt_store_some<WIDE>(y, at * WIDE, value);
    }
}

/* ---- Averages ---- */

template <int WIDE, class T> __global__ void average_kernel(const T *x, windows w, dt_pixels pixels, T *y)
{
    for (int64_t at = dt_thread(); at < pixels.count; at += dt_threads()) {
        const dt_place p = dt_place_of<WIDE>(pixels, at);
        const range rows = window(w.rows, p.row), columns = window(w.columns, p.column);
        const T *image = x + p.image * w.rows.x * w.columns.x * w.channels + p.channel;
        float sum[WIDE] = {}, value[WIDE];
        for (int64_t i = rows.first; i < rows.end; i++)
            for (int64_t j = columns.first; j < columns.end; j++) {
                dt_load_some<WIDE>(image, (i * w.columns.x + j) * w.channels, value);
                for (int c = 0; c < WIDE; c++)
                    sum[c] += value[c];
            }
        for (int c = 0; c < WIDE; c++)
            sum[c] /= length(w.rows, p.row) * length(w.columns, p.column);
        dt_store_some<WIDE>(y, at * WIDE, sum);
    }
}

template <int WIDE, class T> __global__ void average_grad_kernel(const T *dy, windows w, dt_pixels pixels, T *dx)
{
    for (int64_t at = dt_thread(); at < pixels.count; at += dt_threads()) {
        const dt_place p = dt_place_of<WIDE>(pixels, at);
        const range rows = covering(w.rows, p.row), columns = covering(w.columns, p.column);
        float sum[WIDE] = {}, value[WIDE];
        for (int64_t i = rows.first; i < rows.end; i++)
            for (int64_t j = columns.first; j < columns.end; j++) {
                const float share = 1 / (length(w.rows, i) * length(w.columns, j));
                dt_load_some<WIDE>(dy, ((p.image * w.rows.y + i) * w.columns.y + j) * w.channels + p.channel, value);
                for (int c = 0; c < WIDE; c++)
                    sum[c] += value[c] * share;
            }
        dt_store_some<WIDE>(dx, at * WIDE, sum);
    }
}

/* ---- The ops ---- */

/* The windows of a node whose `x` and `y` are the two sides of the pooling, whichever is given. */
windows windows_of(const dt_node *node, const dt_shape *x, const dt_shape *y)
{
    const dt_pool_form *f = (const dt_pool_form *)node->attributes;
    windows w = {x->dim[3], {x->dim[1], y->dim[1]}, {x->dim[2], y->dim[2]}};
    axis *axes[] = {&w.rows, &w.columns};
    for (int i = 0; i < 2; i++) {
        axes[i]->adaptive = !f;
        if (f)
            axes[i]->kernel = f->kernel[i], axes[i]->stride = f->stride[i], axes[i]->padding = f->padding[i];
    }
    return w;
}

void run_max_pool(const dt_call *call)
{
    const dt_node *node = call->node;
    windows w = windows_of(node, &node->input[0]->shape, &node->output[0].shape);
    dt_by_pixels(call, [&](auto zero, auto wide, const dt_pixels &pixels, unsigned grid) {
        using T = decltype(zero);
        DT_LAUNCH((max_kernel<wide(), T>), grid, DT_BLOCK, 0, (const T *)call->in[0], w, pixels,
                  (T *)call->out[0], (int32_t *)call->out[1]);
    });
    dt_cuda_check(call, "max_pool");
}

void run_max_pool_grad(const dt_call *call)
{
    const dt_node *node = call->node;
    windows w = windows_of(node, &node->output[0].shape, &node->input[0]->shape);
    dt_by_pixels(call, [&](auto zero, auto wide, const dt_pixels &pixels, unsigned grid) {
        using T = decltype(zero);
        DT_LAUNCH((max_grad_kernel<wide(), T>), grid, DT_BLOCK, 0, (const T *)call->in[0],
                  (const int32_t *)call->in[1], w, pixels, (T *)call->out[0]);
    });
    dt_cuda_check(call, "max_pool_grad");
}

void run_max_pool_pick(const dt_call *call)
{
    const dt_node *node = call->node;
    windows w = windows_of(node, &node->input[0]->shape, &node->output[0].shape);
    dt_by_pixels(call, [&](auto zero, auto wide, const dt_pixels &pixels, unsigned grid) {
        using T = decltype(zero);
        DT_LAUNCH((pick_kernel<wide(), T>), grid, DT_BLOCK, 0, (const T *)call->in[0],
                  (const int32_t *)call->in[1], w, pixels, (T *)call->out[0]);
    });
    dt_cuda_check(call, "max_pool_pick");
}

void run_average(const dt_call *call)
{
    const dt_node *node = call->node;
    windows w = windows_of(node, &node->input[0]->shape, &node->output[0].shape);
    dt_by_pixels(call, [&](auto zero, auto wide, const dt_pixels &pixels, unsigned grid) {
        using T = decltype(zero);
        DT_LAUNCH((average_kernel<wide(), T>), grid, DT_BLOCK, 0, (const T *)call->in[0], w, pixels,
                  (T *)call->out[0]);
    });
    dt_cuda_check(call, "average pooling");
}

void run_average_grad(const dt_call *call)
{
    const dt_node *node = call->node;
    windows w = windows_of(node, &node->output[0].shape, &node->input[0]->shape);
    dt_by_pixels(call, [&](auto zero, auto wide, const dt_pixels &pixels, unsigned grid) {
        using T = decltype(zero);
        DT_LAUNCH((average_grad_kernel<wide(), T>), grid, DT_BLOCK, 0, (const T *)call->in[0], w, pixels,
                  (T *)call->out[0]);
    });
    dt_cuda_check(call, "the gradient of average pooling");
}

/* Cells are computed in 64 bits, from products of two lengths. */
bool prepare_adaptive(dt_preparation *p)
{
    for (int i = 1; i < 3; i++)
        if (p->node->input[0]->shape.dim[i] > INT32_MAX || p->node->output[0].shape.dim[i] > INT32_MAX) {
            snprintf(p->message, sizeof p->message, "adaptive pooling of more than 2^31 rows or columns");
            return false;
        }
    return true;
}

} // namespace

const dt_kernel dt_cuda_pool[] = {
    {&dt_op_max_pool, run_max_pool, NULL, NULL, DT_NARROW_SAME, 1, 1},
    {&dt_op_max_pool_grad, run_max_pool_grad, NULL, NULL, DT_NARROW_SAME, 1, 1},
    {&dt_op_max_pool_pick, run_max_pool_pick, NULL, NULL, DT_NARROW_SAME, 1, 1},
    {&dt_op_avg_pool, run_average, NULL, NULL, DT_NARROW_SAME, 1, 1},
    {&dt_op_avg_pool_grad, run_average_grad, NULL, NULL, DT_NARROW_SAME, 1, 1},
    {&dt_op_adaptive_pool, run_average, prepare_adaptive, NULL, DT_NARROW_SAME, 1, 1},
    {&dt_op_adaptive_pool_grad, run_average_grad, prepare_adaptive, NULL, DT_NARROW_SAME, 1, 1},
    {}};
