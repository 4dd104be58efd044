#include "kernels/cpu/separable.h"
#include "kernels/ops/resize.h"

#include <math.h>
#include <stdio.h>

extern const dt_kernel dt_cpu_resize[];

/* Where the centre (or, with aligned corners, the corner) of place i of `to` lies among `from`. */
static double source(int64_t i, int64_t to, int64_t from, bool align_corners)
{
    if (align_corners)
        return to > 1 ? (double)i * (double)(from - 1) / (double)(to - 1) : 0;
    return ((double)i + 0.5) * (double)from / (double)to - 0.5;
}

/* Keys, 1981, with a = -0.75: weights of the places -1, 0, 1, 2 for a point t in [0, 1) right of place 0. */
static void cubic_weights(double t, double weight[4])
{
    const double a = -0.75;
    for (int k = 0; k < 4; k++) {
        double d = fabs(t - (k - 1));
        weight[k] = d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
    }
}

static int64_t clamp(int64_t i, int64_t n)
{
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

/* The matrix of one axis. */
static dt_taps taps(int64_t to, int64_t from, const dt_resize_form *f)
{
    dt_taps matrix = dt_taps_new(to, from, 4 * to);
    for (int64_t i = 0; matrix.start && i < to; i++) {
        double at = source(i, to, from, f->align_corners);
        if (f->how == DT_RESIZE_NEAREST) {
            dt_taps_add(&matrix, i, (int64_t)((__int128)i * from / to), 1);
        } else if (f->how == DT_RESIZE_BILINEAR) {
            at = at < 0 ? 0 : at;
            int64_t low = (int64_t)at;
            float t = (float)(at - (double)low);
            dt_taps_add(&matrix, i, clamp(low, from), 1 - t);
            dt_taps_add(&matrix, i, clamp(low + 1, from), t);
        } else {
            double low = floor(at), weight[4];
            cubic_weights(at - low, weight);
            for (int k = 0; k < 4; k++)
                dt_taps_add(&matrix, i, clamp((int64_t)low + k - 1, from), (float)weight[k]);
        }
    }
    return matrix;
}

static bool prepare(dt_preparation *p, const dt_shape *x, const dt_shape *y, bool adjoint)
{
    const dt_resize_form *f = p->node->attributes;
    return dt_separable_prepare(p, taps(y->dim[1], x->dim[1], f), taps(y->dim[2], x->dim[2], f), adjoint);
}

static bool prepare_resize(dt_preparation *p)
{
    return prepare(p, &p->node->input[0]->shape, &p->node->output[0].shape, false);
}

static bool prepare_resize_grad(dt_preparation *p)
{
    return prepare(p, &p->node->output[0].shape, &p->node->input[0]->shape, true);
}

const dt_kernel dt_cpu_resize[] = {
    {&dt_op_resize, dt_separable_run, prepare_resize, dt_separable_release},
    {&dt_op_resize_grad, dt_separable_run, prepare_resize_grad, dt_separable_release},
    {0}};
