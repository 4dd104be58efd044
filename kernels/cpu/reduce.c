/* Sums, maxima and softmax. A sum over any set of axes is seen as [outer, reduced, inner] where possible, else axis
 * by axis. Partial sums cover fixed stretches, so that the result does not depend on the number of threads. */
#include "kernels/backend.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/sum.h"
#include "kernels/ops.h"

#include <string.h>

enum { STRETCH = 128 };

extern const dt_kernel dt_cpu_reduce[];

/* Sum of n contiguous floats: sixteen running sums in float32 over each stretch, added in float64. */
static double sum_row(const float *x, int64_t n)
{
    double total = 0;
    for (int64_t from = 0; from < n; from += 16 * STRETCH) {
        int64_t m = n - from < 16 * STRETCH ? n - from : 16 * STRETCH;
        float part = 0;
#pragma omp simd reduction(+ : part)
        for (int64_t i = 0; i < m; i++)
            part += x[from + i];
        total += part;
    }
    return total;
}

static void sum_rows(const float *x, int64_t outer, int64_t reduced, float *y)
{
#pragma omp parallel for schedule(static) if (outer * reduced > 1 << 15)
    for (int64_t o = 0; o < outer; o++)
        y[o] = (float)sum_row(x + o * reduced, reduced);
}

/* One outer slice, columns [c0, c0 + n) of `inner`: rows are added in stretches of float32, stretches in float64. */
static void sum_columns(const float *x, int64_t reduced, int64_t inner, int64_t n, float *y)
{
    enum { WIDTH = 64 };
    double total[WIDTH] = {0};
    for (int64_t from = 0; from < reduced; from += STRETCH) {
        float part[WIDTH] = {0};
        int64_t to = from + STRETCH < reduced ? from + STRETCH : reduced;
        for (int64_t r = from; r < to; r++)
#pragma omp simd
            for (int64_t c = 0; c < n; c++)
                part[c] += x[r * inner + c];
        for (int64_t c = 0; c < n; c++)
            total[c] += part[c];
    }
    for (int64_t c = 0; c < n; c++)
        y[c] = (float)total[c];
}

static void sum_middle(const float *x, int64_t outer, int64_t reduced, int64_t inner, float *y)
{
    int64_t panels = (inner + 63) / 64;
#pragma omp parallel for collapse(2) schedule(static) if (outer * reduced * inner > 1 << 15)
    for (int64_t o = 0; o < outer; o++)
        for (int64_t p = 0; p < panels; p++) {
            int64_t n = inner - p * 64 < 64 ? inner - p * 64 : 64;
            sum_columns(x + o * reduced * inner + p * 64, reduced, inner, n, y + o * inner + p * 64);
        }
}

void dt_sum_axis(const float *x, int64_t outer, int64_t reduced, int64_t inner, float *y)
{
    if (inner == 1)
        sum_rows(x, outer, reduced, y);
    else
        sum_middle(x, outer, reduced, inner, y);
}

/* Neighbouring axes of the same kind, summed or not, are one axis. Returns how many groups there are. */
static int group_axes(const dt_shape *shape, unsigned mask, int64_t *length, bool *summed)
{
    int groups = 0;
    for (int i = 0; i < shape->rank; i++) {
        bool s = mask >> i & 1;
        if (shape->dim[i] == 1)
            continue;
        if (groups && summed[groups - 1] == s)
            length[groups - 1] *= shape->dim[i];
        else
            length[groups] = shape->dim[i], summed[groups++] = s;
    }
    return groups;
}

static void run_sum(const dt_call *call)
{
    const dt_node *node = call->node;
    const float *x = call->in[0];
    int64_t length[DT_MAX_RANK];
    bool summed[DT_MAX_RANK];
    int groups = group_axes(&node->input[0]->shape, ((const dt_axes *)node->attributes)->mask, length, summed);
    float *room = call->workspace;
    for (int i = groups - 1; i >= 0; i--) { /* from the last summed axis to the first */
        if (!summed[i])
            continue;
        int64_t outer = 1, inner = 1;
        bool final = true;
        for (int k = 0; k < i; k++)
            outer *= length[k], final &= !summed[k];
        for (int k = i + 1; k < groups; k++)
            inner *= length[k];
        float *y = final ? call->out[0] : room;
        dt_sum_axis(x, outer, length[i], inner, y);
        x = y;
        room += outer * inner;
        length[i] = 1;
    }
    if (x == call->in[0])
        memcpy(call->out[0], x, sizeof(float) * (size_t)dt_count(&node->output[0].shape));
}

/* Room for the results of all passes but the last. */
static bool prepare_sum(dt_preparation *preparation)
{
    const dt_node *node = preparation->node;
    int64_t length[DT_MAX_RANK], total = dt_count(&node->input[0]->shape), room = 0;
    bool summed[DT_MAX_RANK];
    int groups = group_axes(&node->input[0]->shape, ((const dt_axes *)node->attributes)->mask, length, summed);
    for (int i = groups - 1; i >= 0; i--)
        if (summed[i])
            room += total /= length[i];
    preparation->workspace = sizeof(float) * (size_t)room;
    return true;
}

/* A NaN stays once it is met: nothing is larger than it. */
static inline float larger(float x, float most)
{
    return x > most || x != x ? x : most;
}

#pragma omp declare reduction(largest : float : omp_out = larger(omp_in, omp_out)) initializer(omp_priv = omp_orig)

static float row_max(const float *x, int64_t n)
{
    float most = x[0];
#pragma omp simd reduction(largest : most)
    for (int64_t i = 0; i < n; i++)
        most = larger(x[i], most);
    return most;
}

static void run_max(const dt_call *call)
{
    const dt_shape *shape = &call->node->input[0]->shape;
    int64_t n = shape->dim[shape->rank - 1], rows = dt_count(shape) / n;
    const float *x = call->in[0];
    float *y = call->out[0];
#pragma omp parallel for schedule(static) if (rows * n > 1 << 15)
    for (int64_t r = 0; r < rows; r++)
        y[r] = row_max(x + r * n, n);
}

/* The first place of the row's maximum; where that is a NaN, of the first NaN. Stretches without it are passed as vectors. */
static int64_t place_of(const float *x, int64_t n, float most)
{
    int64_t from = 0;
    for (int found = 0; from + STRETCH <= n; from += STRETCH) {
#pragma omp simd reduction(| : found)
        for (int64_t i = from; i < from + STRETCH; i++)
            found |= x[i] == most || x[i] != x[i];
        if (found)
            break;
    }
    while (x[from] != most && x[from] == x[from])
        from++;
    return from;
}

static void run_argmax(const dt_call *call)
{
    const dt_shape *shape = &call->node->input[0]->shape;
    int64_t n = shape->dim[shape->rank - 1], rows = dt_count(shape) / n;
    const float *x = call->in[0];
    int32_t *y = call->out[0];
#pragma omp parallel for schedule(static) if (rows * n > 1 << 15)
    for (int64_t r = 0; r < rows; r++)
        y[r] = (int32_t)place_of(x + r * n, n, row_max(x + r * n, n));
}

static void softmax_row(const float *x, int64_t n, float *y)
{
    float most = row_max(x, n);
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        y[i] = dt_fast_exp(x[i] - most);
    float scale = (float)(1 / sum_row(y, n));
    for (int64_t i = 0; i < n; i++)
        y[i] *= scale;
}

static void log_softmax_row(const float *x, int64_t n, float *y)
{
    float most = row_max(x, n);
    double total = 0;
    for (int64_t from = 0; from < n; from += 16 * STRETCH) {
        int64_t m = n - from < 16 * STRETCH ? n - from : 16 * STRETCH;
        float part = 0;
#pragma omp simd reduction(+ : part)
        for (int64_t i = 0; i < m; i++)
            part += dt_fast_exp(x[from + i] - most);
        total += part;
    }
    float lse = (float)log(total);
    for (int64_t i = 0; i < n; i++)
        y[i] = x[i] - most - lse;
}

static void over_rows(const dt_call *call, void (*row)(const float *x, int64_t n, float *y))
{
    const dt_shape *shape = &call->node->input[0]->shape;
    int64_t n = shape->dim[shape->rank - 1], rows = dt_count(shape) / n;
    const float *x = call->in[0];
    float *y = call->out[0];
#pragma omp parallel for schedule(static) if (rows * n > 1 << 13)
    for (int64_t r = 0; r < rows; r++)
        row(x + r * n, n, y + r * n);
}

static void run_softmax(const dt_call *call)
{
    over_rows(call, softmax_row);
}

static void run_log_softmax(const dt_call *call)
{
    over_rows(call, log_softmax_row);
}

const dt_kernel dt_cpu_reduce[] = {{&dt_op_sum, run_sum, prepare_sum, NULL},
                                   {&dt_op_max, run_max, NULL, NULL},
                                   {&dt_op_argmax, run_argmax, NULL, NULL},
                                   {&dt_op_softmax, run_softmax, NULL, NULL},
                                   {&dt_op_log_softmax, run_log_softmax, NULL, NULL},
                                   {0}};
