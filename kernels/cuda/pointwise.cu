/* Pointwise chains. A thread runs the whole chain for one element after another; which instructions is the same for all
 * threads, so that warps do not diverge, and a chain costs one pass over memory however long it is. */
#include "kernels/cuda/launch.h"

extern "C" {
extern const dt_kernel dt_cuda_pointwise[];
}

namespace
{

/* How an operand lies against the result. SOLID: its elements repeat with one period, element i of the result has
 * data[i / inner % period]; whole, scalar, row, column and channel operands are of this kind. */
enum layout { WHOLE, SCALAR, SOLID, GENERAL };

struct operand {
    const float *data;
    layout how;
    int64_t inner, period;
    int64_t stride[DT_MAX_RANK]; /* GENERAL: by axis of the result; 0 along repeated axes */
};

struct program {
    dt_chain chain;
    int inputs, rank;
    int64_t count, dim[DT_MAX_RANK];
    operand in[DT_CHAIN_INPUTS];
    float *y;
};

operand describe(const dt_tensor *x, const dt_shape *y, const void *data)
{
    operand o = {(const float *)data, WHOLE, 1, 1, {0}};
    int shift = y->rank - x->shape.rank, first = y->rank, last = -1;
    bool repeats = false;
    int64_t stride = 1;
    for (int i = y->rank - 1; i >= 0; i--) {
        int64_t dim = i < shift ? 1 : x->shape.dim[i - shift];
        o.stride[i] = dim == 1 ? 0 : stride;
        stride *= dim;
        repeats |= dim == 1 && y->dim[i] > 1;
        if (dim > 1 && last < 0)
            last = i;
        if (dim > 1)
            first = i;
    }
    if (!repeats)
        return o;
    if (last < 0) {
        o.how = SCALAR;
    } else {
        o.inner = dt_span(y, last + 1, y->rank);
        o.period = stride;
        o.how = stride == dt_span(y, first, last + 1) ? SOLID : GENERAL; /* no repeated axis in the midst of x */
    }
    return o;
}

/* Index is 32 bits wide where that is enough: division of 64 bits costs as much as all else. */
template <class Index> __device__ Index place_of(const program &p, const operand &o, Index i)
{
    if (o.how == WHOLE)
        return i;
    if (o.how == SCALAR)
        return 0;
    if (o.how == SOLID)
        return i / (Index)o.inner % (Index)o.period;
    Index at = 0;
    for (int k = p.rank - 1; k >= 0; k--) {
        at += i % (Index)p.dim[k] * (Index)o.stride[k];
        i /= (Index)p.dim[k];
    }
    return at;
}

__device__ float sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

__device__ float normal_density(float x)
{
    return 0.398942280401432678f * expf(-0.5f * x * x);
}

__device__ float normal_cdf(float x)
{
    return 0.5f * (1 + erff(x * 0.707106781186547524f));
}

__device__ float gelu_tanh_inner(float x)
{
    return tanhf(0.797884560802865356f * (x + 0.044715f * x * x * x));
}

__device__ float gelu_tanh_slope(float x)
{
    float t = gelu_tanh_inner(x), u = 0.797884560802865356f * (1 + 3 * 0.044715f * x * x);
    return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * u;
}

__device__ float quick_gelu_slope(float x)
{
    float s = sigmoid(1.702f * x);
    return s + 1.702f * x * s * (1 - s);
}

__device__ float softplus(float x)
{
    return (x > 0 ? x : 0) + log1pf(expf(-fabsf(x)));
}

__device__ float binary(dt_pw code, float a, float b, float p, float q)
{
    switch (code) {
    case DT_PW_ADD: return a + b;
    case DT_PW_SUB: return a - b;
    case DT_PW_MUL: return a * b;
    case DT_PW_DIV: return a / b;
    case DT_PW_MAXIMUM: return a > b || a != a ? a : b;
    case DT_PW_MINIMUM: return a < b || a != a ? a : b;
    case DT_PW_GREATER: return a > b ? 1.0f : 0.0f;
    case DT_PW_EQUAL: return a == b ? 1.0f : 0.0f;
    case DT_PW_LEAKY_RELU_GRAD: return a > 0 ? b : p * b;
    case DT_PW_CLAMP_GRAD: return a >= p && a <= q ? b : 0.0f;
    case DT_PW_SIGMOID_GRAD: return b * a * (1 - a);
    case DT_PW_TANH_GRAD: return b * (1 - a * a);
    case DT_PW_GELU_GRAD: return b * (normal_cdf(a) + a * normal_density(a));
    case DT_PW_GELU_TANH_GRAD: return b * gelu_tanh_slope(a);
    case DT_PW_QUICK_GELU_GRAD: return b * quick_gelu_slope(a);
    default: return NAN;
    }
}

__device__ float unary(dt_pw code, float a, float p, float q)
{
    switch (code) {
    case DT_PW_AFFINE: return p * a + q;
    case DT_PW_EXP: return expf(a);
    case DT_PW_LOG: return logf(a);
    case DT_PW_SQRT: return sqrtf(a);
    case DT_PW_RSQRT: return 1 / sqrtf(a);
    case DT_PW_RECIPROCAL: return 1 / a;
    case DT_PW_SQUARE: return a * a;
    case DT_PW_ABS: return fabsf(a);
    case DT_PW_SIGN: return a > 0 ? 1.0f : a < 0 ? -1.0f : 0.0f;
    case DT_PW_CLAMP: return a < p ? p : a > q ? q : a;
    case DT_PW_LEAKY_RELU: return a > 0 ? a : p * a;
    case DT_PW_SIGMOID: return sigmoid(a);
    case DT_PW_TANH: return tanhf(a);
    case DT_PW_SOFTPLUS: return softplus(a);
    case DT_PW_GELU: return a * normal_cdf(a);
    case DT_PW_GELU_TANH: return 0.5f * a * (1 + gelu_tanh_inner(a));
    case DT_PW_QUICK_GELU: return a * sigmoid(1.702f * a);
    default: return NAN;
    }
}

__device__ float compute(const dt_instruction &step, float a, float b)
{
    return step.code < DT_PW_FIRST_UNARY ? binary(step.code, a, b, step.numbers.p, step.numbers.q)
                                         : unary(step.code, a, step.numbers.p, step.numbers.q);
}

/* Element i is read by the thread that writes it, before it does: y may be one of the whole operands. */
template <class Index> __global__ void chain_kernel(program p)
{
    for (Index i = (Index)dt_thread(); i < (Index)p.count; i += (Index)dt_threads()) {
        float in[DT_CHAIN_INPUTS], result[DT_CHAIN_STEPS], last = 0;
        for (int k = 0; k < p.inputs; k++)
            in[k] = dt_load(p.in[k].data, place_of(p, p.in[k], i));
        for (int k = 0; k < p.chain.steps; k++) {
            const dt_instruction &step = p.chain.step[k];
            float a = step.a < 0 ? result[~step.a] : in[step.a], b = step.b < 0 ? result[~step.b] : in[step.b];
            last = result[k] = compute(step, a, b);
        }
        dt_store(p.y, i, last);
    }
}

/* A chain of one: its operands stay in registers. */
template <class Index> __global__ void single_kernel(program p)
{
    const dt_instruction &step = p.chain.step[0];
    for (Index i = (Index)dt_thread(); i < (Index)p.count; i += (Index)dt_threads()) {
        float a = dt_load(p.in[0].data, place_of(p, p.in[0], i));
        float b = p.inputs > 1 ? dt_load(p.in[1].data, place_of(p, p.in[1], i)) : a;
        dt_store(p.y, i, compute(step, a, b));
    }
}

/* The chain of one instruction has operands 0 and 1, or 0 twice. */
template <class Index> void launch(const program &p)
{
    unsigned grid = dt_grid(p.count, DT_BLOCK);
    if (p.chain.steps == 1)
        DT_LAUNCH(single_kernel<Index>, grid, DT_BLOCK, 0, p);
    else
        DT_LAUNCH(chain_kernel<Index>, grid, DT_BLOCK, 0, p);
}

void run(const dt_call *call)
{
    const dt_node *node = call->node;
    const dt_shape *shape = &node->output[0].shape;
    program p = {};
    p.chain = dt_chain_of(node);
    p.inputs = node->inputs;
    p.rank = shape->rank;
    p.count = dt_count(shape);
    p.y = (float *)call->out[0];
    for (int k = 0; k < shape->rank; k++)
        p.dim[k] = shape->dim[k];
    for (int i = 0; i < node->inputs; i++)
        p.in[i] = describe(node->input[i], shape, call->in[i]);
    if (p.count <= INT32_MAX) /* with room for a step of the whole grid beyond it */
        launch<uint32_t>(p);
    else
        launch<int64_t>(p);
    dt_cuda_check(call, "pointwise");
}

} // namespace

const dt_kernel dt_cuda_pointwise[] = {{&dt_op_chain, run, NULL, NULL}, {}};
