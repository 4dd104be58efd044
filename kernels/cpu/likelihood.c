/* One pass over the decoder's output each way. */
#include "kernels/backend.h"
#include "kernels/cpu/math.h"
#include "kernels/ops.h"

/* LANES products of at most DEPTH factors in (1, 2] stay below 2^DEPTH: far from overflow. */
enum { LANES = 16, DEPTH = 64, PARALLEL_FROM = 1 << 13 };

extern const dt_kernel dt_cpu_likelihood[];

/* sum x l - log(1 + e^l) over at most LANES DEPTH elements. With log(1 + e^l) = max(l, 0) + log(1 + e^-|l|) the sum of
 * logarithms is that of a product, so that one logarithm serves many elements. */
static double stretch(const float *logits, const float *x, int64_t n)
{
    float sum[LANES] = {0}, product[LANES];
    for (int k = 0; k < LANES; k++)
        product[k] = 1;
    int64_t whole = n / LANES * LANES;
    for (int64_t i = 0; i < whole; i += LANES)
        for (int k = 0; k < LANES; k++) {
            float l = logits[i + k];
            sum[k] += x[i + k] * l - (l > 0 ? l : 0);
            product[k] += product[k] * dt_fast_exp(-fabsf(l));
        }
    for (int64_t i = whole; i < n; i++) {
        float l = logits[i];
        sum[i - whole] += x[i] * l - (l > 0 ? l : 0);
        product[i - whole] += product[i - whole] * dt_fast_exp(-fabsf(l));
    }
    double total = 0;
    for (int k = 0; k < LANES; k++)
        sum[k] -= dt_fast_log(product[k]);
    for (int k = 0; k < LANES; k++)
        total += sum[k];
    return total;
}

typedef struct rows {
    int64_t count, width, each; /* `each` rows of logits belong to one of x */
} rows;

static rows rows_of(const dt_node *node)
{
    const dt_shape *l = &node->input[0]->shape;
    return (rows){l->dim[0], dt_span(l, 1, l->rank), l->dim[0] / node->input[1]->shape.dim[0]};
}

static void run_rows(const dt_call *call)
{
    const rows s = rows_of(call->node);
    const float *logits = call->in[0], *x = call->in[1];
    float *y = call->out[0];
#pragma omp parallel for schedule(static) if (s.count * s.width > PARALLEL_FROM)
    for (int64_t r = 0; r < s.count; r++) {
        double total = 0;
        for (int64_t from = 0; from < s.width; from += LANES * DEPTH) {
            int64_t n = s.width - from < LANES * DEPTH ? s.width - from : LANES * DEPTH;
            total += stretch(logits + r * s.width + from, x + r / s.each * s.width + from, n);
        }
        y[r] = (float)total;
    }
}

static void run_grad(const dt_call *call)
{
    const rows s = rows_of(call->node);
    const float *logits = call->in[0], *x = call->in[1], *upstream = call->in[2];
    float *dx = call->out[0];
#pragma omp parallel for schedule(static) if (s.count * s.width > PARALLEL_FROM)
    for (int64_t r = 0; r < s.count; r++) {
        const float *l = logits + r * s.width, *sample = x + r / s.each * s.width;
        float *to = dx + r * s.width, u = upstream[r];
#pragma omp simd
        for (int64_t i = 0; i < s.width; i++)
            to[i] = u * (sample[i] - dt_fast_sigmoid(l[i]));
    }
}

const dt_kernel dt_cpu_likelihood[] = {{&dt_op_bernoulli_rows, run_rows, NULL, NULL},
                                       {&dt_op_bernoulli_rows_grad, run_grad, NULL, NULL},
                                       {0}};
