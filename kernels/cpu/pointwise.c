/* Pointwise chains, a block of elements at a time: each instruction is one loop over a block that stays in the first
 * cache, so that a chain costs one pass over memory however long it is. */
#include "kernels/backend.h"
#include "kernels/cpu/math.h"
#include "kernels/ops.h"

#include <omp.h>

enum { BLOCK = 512, PARALLEL_FROM = 1 << 15 };

extern const dt_kernel dt_cpu_pointwise[];

/* How an operand of the chain is laid out against the result. */
typedef enum { FULL, SCALAR, REPEATED, STRETCHED, GENERAL } layout;

typedef struct operand {
    const float *data;
    layout how;
    int64_t period;              /* REPEATED: element i is data[i % period]; STRETCHED: data[i / period] */
    int64_t stride[DT_MAX_RANK]; /* GENERAL: by axis of the result; 0 along repeated axes */
} operand;

static operand describe(const dt_tensor *x, const dt_shape *y, const void *data)
{
    operand o = {.data = data, .how = FULL};
    int shift = y->rank - x->shape.rank, first = y->rank, last = -1;
    int64_t stride = 1;
    for (int i = y->rank - 1; i >= 0; i--) {
        int64_t dim = i < shift ? 1 : x->shape.dim[i - shift];
        o.stride[i] = dim == 1 ? 0 : stride;
        stride *= dim;
        if (dim == 1 && y->dim[i] > 1)
            o.how = GENERAL;
        if (dim > 1 && i < first)
            first = i;
        if (dim > 1 && i > last)
            last = i;
    }
    if (o.how == FULL)
        return o;
    if (last < 0)
        return (operand){.data = data, .how = SCALAR};
    bool solid = stride == dt_span(y, first, last + 1); /* no repeated axis between the first and last of x */
    if (solid && dt_span(y, last + 1, y->rank) == 1)
        o.how = REPEATED, o.period = stride;
    else if (solid && dt_span(y, 0, first) == 1)
        o.how = STRETCHED, o.period = dt_span(y, last + 1, y->rank);
    return o;
}

static void load_general(const operand *o, const dt_shape *y, int64_t from, int n, float *to)
{
    int64_t index[DT_MAX_RANK], rest = from, at = 0;
    for (int i = y->rank - 1; i >= 0; i--) {
        index[i] = rest % y->dim[i];
        rest /= y->dim[i];
        at += index[i] * o->stride[i];
    }
    for (int k = 0; k < n; k++) {
        to[k] = o->data[at];
        for (int i = y->rank - 1; i >= 0; i--) {
            at += o->stride[i];
            if (++index[i] < y->dim[i])
                break;
            at -= o->stride[i] * y->dim[i];
            index[i] = 0;
        }
    }
}

/* The operand's values for result elements [from, from + n): in place, or gathered into `room`. */
static const float *load(const operand *o, const dt_shape *y, int64_t from, int n, float *room)
{
    if (o->how == FULL)
        return o->data + from;
    if (o->how == SCALAR) {
        for (int k = 0; k < n; k++)
            room[k] = o->data[0];
    } else if (o->how == REPEATED) {
        int64_t at = from % o->period;
        if (at + n <= o->period)
            return o->data + at;
        for (int k = 0; k < n; k++) {
            room[k] = o->data[at];
            at = at + 1 == o->period ? 0 : at + 1;
        }
    } else if (o->how == STRETCHED) {
        int64_t at = from / o->period, left = o->period - from % o->period;
        for (int k = 0; k < n; at++, left = o->period)
            for (int64_t end = k + left < n ? k + left : n; k < end; k++)
                room[k] = o->data[at];
    } else {
        load_general(o, y, from, n, room);
    }
    return room;
}

#define LOOP(expression)                                                                                          \
    for (int i = 0; i < n; i++)                                                                                   \
        y[i] = (expression);                                                                                      \
    return

static inline float normal_density(float x)
{
    return 0.398942280401432678f * dt_fast_exp(-0.5f * x * x);
}

static inline float quick_gelu_slope(float x)
{
    float s = dt_fast_sigmoid(1.702f * x);
    return s + 1.702f * x * s * (1 - s);
}

/* One instruction over one block. y may be a or b itself: element i is read before it is written. */
static void compute(const dt_instruction *step, const float *a, const float *b, float *y, int n)
{
    float p = step->numbers.p, q = step->numbers.q;
    switch (step->code) {
    case DT_PW_ADD: LOOP(a[i] + b[i]);
    case DT_PW_SUB: LOOP(a[i] - b[i]);
    case DT_PW_MUL: LOOP(a[i] * b[i]);
    case DT_PW_DIV: LOOP(a[i] / b[i]);
    case DT_PW_MAXIMUM: LOOP(a[i] > b[i] || a[i] != a[i] ? a[i] : b[i]);
    case DT_PW_MINIMUM: LOOP(a[i] < b[i] || a[i] != a[i] ? a[i] : b[i]);
    case DT_PW_GREATER: LOOP(a[i] > b[i] ? 1.0f : 0.0f);
    case DT_PW_EQUAL: LOOP(a[i] == b[i] ? 1.0f : 0.0f);
    case DT_PW_LEAKY_RELU_GRAD: LOOP(a[i] > 0 ? b[i] : p * b[i]);
    case DT_PW_CLAMP_GRAD: LOOP(a[i] >= p && a[i] <= q ? b[i] : 0.0f);
    case DT_PW_SIGMOID_GRAD: LOOP(b[i] * a[i] * (1 - a[i]));
    case DT_PW_TANH_GRAD: LOOP(b[i] * (1 - a[i] * a[i]));
    case DT_PW_GELU_GRAD:
        LOOP(b[i] * (0.5f * (1 + dt_fast_erf(a[i] * 0.707106781186547524f)) + a[i] * normal_density(a[i])));
    case DT_PW_GELU_TANH_GRAD: LOOP(b[i] * dt_fast_gelu_tanh_slope(a[i]));
    case DT_PW_QUICK_GELU_GRAD: LOOP(b[i] * quick_gelu_slope(a[i]));
    case DT_PW_AFFINE: LOOP(p * a[i] + q);
    case DT_PW_EXP: LOOP(dt_fast_exp(a[i]));
    case DT_PW_LOG: LOOP(dt_fast_log(a[i]));
    case DT_PW_SQRT: LOOP(sqrtf(a[i]));
    case DT_PW_RSQRT: LOOP(1.0f / sqrtf(a[i]));
    case DT_PW_RECIPROCAL: LOOP(1.0f / a[i]);
    case DT_PW_SQUARE: LOOP(a[i] * a[i]);
    case DT_PW_ABS: LOOP(fabsf(a[i]));
    case DT_PW_SIGN: LOOP(a[i] > 0 ? 1.0f : a[i] < 0 ? -1.0f : 0.0f);
    case DT_PW_CLAMP: LOOP(a[i] < p ? p : a[i] > q ? q : a[i]);
    case DT_PW_LEAKY_RELU: LOOP(a[i] > 0 ? a[i] : p * a[i]);
    case DT_PW_SIGMOID: LOOP(dt_fast_sigmoid(a[i]));
    case DT_PW_TANH: LOOP(dt_fast_tanh(a[i]));
    case DT_PW_SOFTPLUS: LOOP(dt_fast_softplus(a[i]));
    case DT_PW_GELU: LOOP(0.5f * a[i] * (1 + dt_fast_erf(a[i] * 0.707106781186547524f)));
    case DT_PW_GELU_TANH: LOOP(dt_fast_gelu_tanh(a[i]));
    case DT_PW_QUICK_GELU: LOOP(a[i] * dt_fast_sigmoid(1.702f * a[i]));
    case DT_PW_COUNT: break;
    }
}

static void run_block(const dt_chain *chain, const operand *operands, int inputs, const dt_shape *shape, int64_t from,
                      int n, float *y)
{
    float loaded[DT_CHAIN_INPUTS][BLOCK], result[DT_CHAIN_STEPS][BLOCK];
    const float *in[DT_CHAIN_INPUTS];
    for (int i = 0; i < inputs; i++)
        in[i] = load(&operands[i], shape, from, n, loaded[i]);
    for (int k = 0; k < chain->steps; k++) {
        const dt_instruction *step = &chain->step[k];
        const float *a = step->a < 0 ? result[~step->a] : in[step->a];
        const float *b = step->b < 0 ? result[~step->b] : in[step->b];
        compute(step, a, b, k == chain->steps - 1 ? y + from : result[k], n);
    }
}

static void run(const dt_call *call)
{
    const dt_node *node = call->node;
    const dt_shape *shape = &node->output[0].shape;
    dt_chain chain = dt_chain_of(node);
    operand operands[DT_CHAIN_INPUTS];
    for (int i = 0; i < node->inputs; i++)
        operands[i] = describe(node->input[i], shape, call->in[i]);
    int64_t count = dt_count(shape), blocks = (count + BLOCK - 1) / BLOCK;
#pragma omp parallel for schedule(static) if (count >= PARALLEL_FROM)
    for (int64_t block = 0; block < blocks; block++) {
        int64_t from = block * BLOCK;
        int n = (int)(count - from < BLOCK ? count - from : BLOCK);
        run_block(&chain, operands, node->inputs, shape, from, n, call->out[0]);
    }
}

const dt_kernel dt_cpu_pointwise[] = {{&dt_op_chain, run, NULL, NULL}, {0}};
