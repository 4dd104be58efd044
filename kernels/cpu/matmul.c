/* Matrix products over oneDNN's sgemm, with bias, activation and residual in one pass after (or, for a residual without
 * activation, put into the result before) the product. */
#include "kernels/backend.h"
#include "kernels/cpu/math.h"
#include "kernels/cpu/onednn.h"
#include "kernels/cpu/sum.h"
#include "kernels/ops.h"

#include <string.h>

extern const dt_kernel dt_cpu_matmul[];

/* y *= gelu_tanh'(x) */
static void multiply_by_slope(float *restrict y, const float *restrict x, int64_t count)
{
#pragma omp parallel for simd schedule(static) if (count > 1 << 13)
    for (int64_t i = 0; i < count; i++)
        y[i] *= dt_fast_gelu_tanh_slope(x[i]);
}

static void run_matmul(const dt_call *call)
{
    const dt_node *node = call->node;
    const dt_matmul_form *f = node->attributes;
    const dt_shape *a = &node->input[0]->shape, *b = &node->input[1]->shape;
    int rank = a->rank;
    int64_t m = a->dim[f->transpose_a ? rank - 1 : rank - 2], k = a->dim[f->transpose_a ? rank - 2 : rank - 1];
    int64_t n = b->dim[f->transpose_b ? rank - 2 : rank - 1], batch = dt_span(a, 0, rank - 2);
    const float *pa = call->in[0], *pb = call->in[1];
    float *py = call->out[0];
#pragma omp parallel for schedule(static) if (batch > 1)
    for (int64_t i = 0; i < batch; i++)
        dt_sgemm(f->transpose_a, f->transpose_b, m, n, k, 1, pa + i * m * k, a->dim[rank - 1], pb + i * k * n,
                 b->dim[rank - 1], 0, py + i * m * n, n);
    if (f->slope)
        multiply_by_slope(py, call->in[2], m * n);
}

/* A row of the result after the product; residual may be the row itself when there is no activation. */
static void finish_row(float *restrict y, const float *bias, const float *residual, dt_activation activation, int64_t n)
{
    if (bias)
        for (int64_t i = 0; i < n; i++)
            y[i] += bias[i];
    switch (activation) {
    case DT_ACT_NONE:
        break;
    case DT_ACT_RELU:
        for (int64_t i = 0; i < n; i++)
            y[i] = y[i] < 0 ? 0 : y[i]; /* a NaN stays */
        break;
    case DT_ACT_GELU:
        for (int64_t i = 0; i < n; i++)
            y[i] = 0.5f * y[i] * (1 + dt_fast_erf(y[i] * 0.707106781186547524f));
        break;
    case DT_ACT_GELU_TANH:
        for (int64_t i = 0; i < n; i++)
            y[i] = dt_fast_gelu_tanh(y[i]);
        break;
    case DT_ACT_QUICK_GELU:
        for (int64_t i = 0; i < n; i++)
            y[i] *= dt_fast_sigmoid(1.702f * y[i]);
        break;
    }
    if (residual)
        for (int64_t i = 0; i < n; i++)
            y[i] += residual[i];
}

/* Rows of residual (or zeros) plus bias, for a product that is added to what is there. */
static void start_rows(float *y, const float *bias, const float *residual, int64_t rows, int64_t n)
{
#pragma omp parallel for schedule(static) if (rows * n > 1 << 15)
    for (int64_t r = 0; r < rows; r++) {
        float *to = y + r * n;
        if (residual && residual != y)
            memcpy(to, residual + r * n, sizeof *to * (size_t)n);
        if (residual && bias)
            for (int64_t i = 0; i < n; i++)
                to[i] += bias[i];
        else if (bias)
            memcpy(to, bias, sizeof *to * (size_t)n);
    }
}

static void run_linear(const dt_call *call)
{
    const dt_node *node = call->node;
    const dt_linear_form *f = node->attributes;
    const dt_shape *w = &node->input[1]->shape;
    int64_t n = w->dim[0], k = w->dim[1], rows = dt_count(&node->output[0].shape) / n;
    const float *bias = f->bias ? call->in[2] : NULL, *residual = f->residual ? call->in[node->inputs - 1] : NULL;
    float *y = call->out[0], *before = f->before ? call->out[1] : NULL;
    if (f->activation == DT_ACT_NONE || before) {
        float *sum = before ? before : y;
        start_rows(sum, bias, residual, rows, n);
        dt_sgemm(false, true, rows, n, k, 1, call->in[0], k, call->in[1], k, bias || residual ? 1 : 0, sum, n);
        bias = NULL;
    } else {
        dt_sgemm(false, true, rows, n, k, 1, call->in[0], k, call->in[1], k, 0, y, n);
    }
    if (f->activation == DT_ACT_NONE)
        return;
#pragma omp parallel for schedule(static) if (rows * n > 1 << 13)
    for (int64_t r = 0; r < rows; r++) {
        if (before)
            memcpy(y + r * n, before + r * n, sizeof *y * (size_t)n);
        finish_row(y + r * n, bias, residual ? residual + r * n : NULL, f->activation, n);
    }
}

static void run_linear_grad(const dt_call *call)
{
    const dt_shape *x = &call->node->input[0]->shape, *u = &call->node->input[1]->shape;
    int64_t rows = x->dim[0], in = x->dim[1], out = u->dim[1];
    dt_sgemm(true, false, out, in, rows, 1, call->in[1], out, call->in[0], in, 0, call->out[0], in);
    dt_sum_axis(call->in[1], 1, rows, out, call->out[1]);
}

const dt_kernel dt_cpu_matmul[] = {
    {&dt_op_matmul, run_matmul, NULL, NULL},
    {&dt_op_linear, run_linear, NULL, NULL},
    {&dt_op_linear_grad, run_linear_grad, NULL, NULL},
    {0}};
