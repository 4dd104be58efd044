/* Resizing. Nearest goes straight from one image to the other; the others by tables of the places and weights along each
 * axis, which a small kernel puts into the workspace first. A thread has one pixel of the result (image.h). Gradients are
 * gathered, in order, from the pixels that took from a place. */
#include "kernels/cuda/image.h"

#include <stdio.h>

extern "C" {
extern const dt_kernel dt_cuda_resize[];
}

namespace
{

enum { TAPS = 4 }; /* of bicubic; bilinear leaves two of them at weight 0 */

/* What one place of y takes along an axis. */
struct alignas(16) taps {
    int32_t place[TAPS];
    float weight[TAPS];
};

struct axis {
    int64_t x, y; /* lengths */
    const taps *table; /* [y]; nearest: none */
};

struct images {
    int64_t channels;
    axis rows, columns;
    dt_resize_form form;
};

/* ---- Tables ---- */

/* Where the centre (or, with aligned corners, the corner) of place i of y lies in x. */
__device__ __forceinline__ double source(int64_t i, int64_t y, int64_t x, bool align_corners)
{
    if (align_corners)
        return y > 1 ? (double)i * (double)(x - 1) / (double)(y - 1) : 0;
    return ((double)i + 0.5) * (double)x / (double)y - 0.5;
}

/* Keys, 1981, with a = -0.75, at a distance of d places. */
__device__ __forceinline__ double cubic(double d)
{
    const double a = -0.75;
    d = fabs(d);
    return d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
}

__device__ __forceinline__ int32_t clamped(int64_t i, int64_t n)
{
    return (int32_t)(i < 0 ? 0 : i >= n ? n - 1 : i);
}

__global__ void table_kernel(dt_resize_form form, int64_t x, int64_t y, taps *table)
{
    for (int64_t i = dt_thread(); i < y; i += dt_threads()) {
        double at = source(i, y, x, form.align_corners);
        const bool bicubic = form.how == DT_RESIZE_BICUBIC;
        if (!bicubic && at < 0)
            at = 0;
        const double low = floor(at);
        taps t;
        for (int k = 0; k < TAPS; k++) {
            double weight = bicubic ? cubic(at - low - (k - 1)) : k == 1 ? 1 - (at - low) : k == 2 ? at - low : 0;
            t.place[k] = clamped((int64_t)low + k - 1, x);
            t.weight[k] = (float)weight;
        }
        table[i] = t;
    }
}

/* The places of y that may take from place k of x, some of them with weight 0. */
struct range {
    int64_t first, end;
};

__device__ __forceinline__ range takers(const images &m, const axis &a, int64_t k)
{
    if (m.form.how == DT_RESIZE_NEAREST)
        return {(k * a.y + a.x - 1) / a.x, ((k + 1) * a.y + a.x - 1) / a.x};
    /* A border place stands for those beyond it, too, which are nearer to what takes from them. */
    const double reach = m.form.how == DT_RESIZE_BICUBIC ? 2 : 1;
    double step = m.form.align_corners ? (double)(a.y - 1) / (double)(a.x - 1) : (double)a.y / (double)a.x;
    double offset = m.form.align_corners ? 0 : 0.5;
    if (a.x == 1)
        return {0, a.y};
    int64_t first = (int64_t)floor(((double)k - reach + offset) * step - offset) - 1;
    int64_t end = (int64_t)ceil(((double)k + reach + offset) * step - offset) + 2;
    return {first < 0 ? 0 : first, end > a.y ? a.y : end};
}

/* What place i of y takes from place k of x. */
__device__ __forceinline__ float share(const axis &a, int64_t i, int64_t k)
{
    if (!a.table)
        return 1;
    const taps t = a.table[i];
    float sum = 0;
    for (int j = 0; j < TAPS; j++)
        sum += t.place[j] == k ? t.weight[j] : 0;
    return sum;
}

/* ---- Pixels ---- */

template <int WIDE, class T> __global__ void nearest_kernel(const T *x, images m, dt_pixels pixels, T *y)
{
    for (int64_t at = dt_thread(); at < pixels.count; at += dt_threads()) {
        const dt_place p = dt_place_of<WIDE>(pixels, at);
        const int64_t i = p.row * m.rows.x / m.rows.y, j = p.column * m.columns.x / m.columns.y;
        float value[WIDE];
        dt_load_some<WIDE>(x, ((p.image * m.rows.x + i) * m.columns.x + j) * m.channels + p.channel, value);
        dt_store_some<WIDE>(y, at * WIDE, value);
    }
}

template <int WIDE, class T> __global__ void smooth_kernel(const T *x, images m, dt_pixels pixels, T *y)
{
    for (int64_t at = dt_thread(); at < pixels.count; at += dt_threads()) {
        const dt_place p = dt_place_of<WIDE>(pixels, at);
        const taps rows = m.rows.table[p.row], columns = m.columns.table[p.column];
        float sum[WIDE] = {}, value[WIDE];
        for (int k = 0; k < TAPS; k++) {
            const int64_t line = (p.image * m.rows.x + rows.place[k]) * m.columns.x;
            float part[WIDE] = {};
            for (int l = 0; l < TAPS; l++) {
                if (rows.weight[k] == 0 || columns.weight[l] == 0)
                    continue;
                dt_load_some<WIDE>(x, (line + columns.place[l]) * m.channels + p.channel, value);
                for (int c = 0; c < WIDE; c++)
                    part[c] += columns.weight[l] * value[c];
            }
            for (int c = 0; c < WIDE; c++)
                sum[c] += rows.weight[k] * part[c];
        }
        dt_store_some<WIDE>(y, at * WIDE, sum);
    }
}

template <int WIDE, class T> __global__ void gradient_kernel(const T *dy, images m, dt_pixels pixels, T *dx)
{
    for (int64_t at = dt_thread(); at < pixels.count; at += dt_threads()) {
        const dt_place p = dt_place_of<WIDE>(pixels, at);
        const range rows = takers(m, m.rows, p.row), columns = takers(m, m.columns, p.column);
        float sum[WIDE] = {}, value[WIDE];
        for (int64_t i = rows.first; i < rows.end; i++) {
            const float by_row = share(m.rows, i, p.row);
            for (int64_t j = columns.first; by_row != 0 && j < columns.end; j++) {
                const float weight = by_row * share(m.columns, j, p.column);
                if (weight == 0)
                    continue;
                dt_load_some<WIDE>(dy, ((p.image * m.rows.y + i) * m.columns.y + j) * m.channels + p.channel, value);
                for (int c = 0; c < WIDE; c++)
                    sum[c] += weight * value[c];
            }
        }
        dt_store_some<WIDE>(dx, at * WIDE, sum);
    }
}

/* ---- The ops ---- */

bool prepare(dt_preparation *p, const dt_shape *y)
{
    for (int i = 1; i < 3; i++)
        if (p->node->input[0]->shape.dim[i] > INT32_MAX || p->node->output[0].shape.dim[i] > INT32_MAX) {
            snprintf(p->message, sizeof p->message, "resizing of more than 2^31 rows or columns");
            return false;
        }
    if (((const dt_resize_form *)p->node->attributes)->how != DT_RESIZE_NEAREST)
        p->workspace = sizeof(taps) * (size_t)(y->dim[1] + y->dim[2]);
    return true;
}

bool prepare_resize(dt_preparation *p)
{
    return prepare(p, &p->node->output[0].shape);
}

bool prepare_resize_grad(dt_preparation *p)
{
    return prepare(p, &p->node->input[0]->shape);
}

/* The images of a node, with tables where they are needed. */
images images_of(const dt_call *call, const dt_shape *x, const dt_shape *y)
{
    images m = {x->dim[3], {x->dim[1], y->dim[1], NULL}, {x->dim[2], y->dim[2], NULL}};
    m.form = *(const dt_resize_form *)call->node->attributes;
    if (m.form.how == DT_RESIZE_NEAREST)
        return m;
    taps *table = (taps *)call->workspace;
    axis *const axes[] = {&m.rows, &m.columns};
    for (axis *a : axes) {
        DT_LAUNCH(table_kernel, dt_grid(a->y, DT_BLOCK), DT_BLOCK, 0, m.form, a->x, a->y, table);
        a->table = table;
        table += a->y;
    }
    return m;
}

void run_resize(const dt_call *call)
{
    const dt_node *node = call->node;
    images m = images_of(call, &node->input[0]->shape, &node->output[0].shape);
    dt_by_pixels(call, [&](auto zero, auto wide, const dt_pixels &pixels, unsigned grid) {
        using T = decltype(zero);
        const T *x = (const T *)call->in[0];
        T *y = (T *)call->out[0];
        if (m.form.how == DT_RESIZE_NEAREST)
            DT_LAUNCH((nearest_kernel<wide(), T>), grid, DT_BLOCK, 0, x, m, pixels, y);
        else
            DT_LAUNCH((smooth_kernel<wide(), T>), grid, DT_BLOCK, 0, x, m, pixels, y);
    });
    dt_cuda_check(call, "resize");
}

void run_resize_grad(const dt_call *call)
{
    const dt_node *node = call->node;
    images m = images_of(call, &node->output[0].shape, &node->input[0]->shape);
    dt_by_pixels(call, [&](auto zero, auto wide, const dt_pixels &pixels, unsigned grid) {
        using T = decltype(zero);
        DT_LAUNCH((gradient_kernel<wide(), T>), grid, DT_BLOCK, 0, (const T *)call->in[0], m, pixels, (T *)call->out[0]);
    });
    dt_cuda_check(call, "resize_grad");
}

} // namespace

const dt_kernel dt_cuda_resize[] = {{&dt_op_resize, run_resize, prepare_resize, NULL, DT_NARROW_SAME, 1, 1},
                                    {&dt_op_resize_grad, run_resize_grad, prepare_resize_grad, NULL, DT_NARROW_SAME, 1, 1},
                                    {}};
