/* Pointwise chains: one pass over memory however long the chain is.
 *
 * A thread has groups of four neighbours, so that memory is asked for 16 bytes of float32 or 8 of bfloat16 at once. It reads all
 * operands of its groups, then works through the chain, one instruction for all its elements: finding out what an instruction is
 * costs little beside eight elements of it, and is the same for all threads, so that warps do not diverge. What the
 * instruction before gave is at hand; older results and the operands are in a few numbered slots, which the host gives out, and
 * which are registers where the chain needs no more of them than kernels are made for. */
#include "kernels/cuda/activations.h"
#include "kernels/cuda/divide.h"

extern "C" {
extern const dt_kernel dt_cuda_pointwise[];
}

namespace
{

/* How an operand lies against the result, and how four of its elements are got, which belong to the neighbours from i on.
 * Elements of a solid operand repeat with one period: element i of the result has data[i / inner % period]. */
enum layout {
    WHOLE,     /* from i on */
    ROW,       /* from i % period on: inner is 1, the period a multiple of 4 */
    SCALAR,    /* one for all */
    COLUMN,    /* solid; inner is a multiple of 4: one for the four */
    SCATTERED, /* solid: one by one */
    GENERAL    /* by the strides, one by one */
};

template <class Index> struct operand {
    const void *data;
    layout how;
    bool narrow;
    dt_divisor<Index> inner, period;
    Index stride[DT_MAX_RANK]; /* GENERAL: by axis of the result; 0 along repeated axes */
};

/* An instruction on slots; LAST: what the instruction before gave. Its result is put into slot `keep` too, if not LAST. */
enum { LAST = -1, GROUP = 4, SLOTS = DT_CHAIN_INPUTS + DT_CHAIN_STEPS };

struct order {
    int code, a, b, keep;
    float p, q;
};

template <class Index> struct program {
    int inputs, steps, rank;
    bool narrow, fours; /* the result's type, and whether its address allows four at a time */
    Index count;
    void *y;
    dt_divisor<Index> dim[DT_MAX_RANK];
    operand<Index> in[DT_CHAIN_INPUTS]; /* operand k in slot k */
    order step[DT_CHAIN_STEPS];
};

/* ---- Instructions ---- */

/* last = code(a, b) for all N elements. */
template <int N>
__device__ __forceinline__ void compute(const order &o, const float (&a)[N], const float (&b)[N], float (&last)[N])
{
    const float p = o.p, q = o.q;
#define EACH(code, expression)                                                                                                 \
    case code:                                                                                                                 \
        DT_UNROLL                                                                                                              \
        for (int k = 0; k < N; k++) {                                                                                          \
            const float x = a[k], z = b[k];                                                                                    \
            last[k] = expression;                                                                                              \
            (void)z;                                                                                                           \
        }                                                                                                                      \
        break
    switch (o.code) {
        EACH(DT_PW_ADD, x + z);
        EACH(DT_PW_SUB, x - z);
        EACH(DT_PW_MUL, x * z);
        EACH(DT_PW_DIV, x / z);
        EACH(DT_PW_MAXIMUM, x > z || x != x ? x : z);
        EACH(DT_PW_MINIMUM, x < z || x != x ? x : z);
        EACH(DT_PW_GREATER, x > z ? 1.0f : 0.0f);
        EACH(DT_PW_EQUAL, x == z ? 1.0f : 0.0f);
        EACH(DT_PW_LEAKY_RELU_GRAD, x > 0 ? z : p * z);
        EACH(DT_PW_CLAMP_GRAD, x >= p && x <= q ? z : 0.0f);
        EACH(DT_PW_SIGMOID_GRAD, z * x * (1 - x));
        EACH(DT_PW_TANH_GRAD, z * (1 - x * x));
        EACH(DT_PW_GELU_GRAD, z * gelu_slope(x));
        EACH(DT_PW_GELU_TANH_GRAD, z * gelu_tanh_slope(x));
        EACH(DT_PW_QUICK_GELU_GRAD, z * quick_gelu_slope(x));
        EACH(DT_PW_AFFINE, p * x + q);
        EACH(DT_PW_EXP, expf(x));
        EACH(DT_PW_LOG, logf(x));
        EACH(DT_PW_SQRT, sqrtf(x));
        EACH(DT_PW_RSQRT, 1 / sqrtf(x));
        EACH(DT_PW_RECIPROCAL, 1 / x);
        EACH(DT_PW_SQUARE, x * x);
        EACH(DT_PW_ABS, fabsf(x));
        EACH(DT_PW_SIGN, x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f);
        EACH(DT_PW_CLAMP, x < p ? p : x > q ? q : x);
        EACH(DT_PW_LEAKY_RELU, x > 0 ? x : p * x);
        EACH(DT_PW_SIGMOID, sigmoid(x));
        EACH(DT_PW_TANH, tanhf(x));
        EACH(DT_PW_SOFTPLUS, softplus(x));
        EACH(DT_PW_GELU, gelu(x));
        EACH(DT_PW_GELU_TANH, gelu_tanh(x));
        EACH(DT_PW_QUICK_GELU, quick_gelu(x));
    }
#undef EACH
}

/* ---- Operands ---- */

struct four_floats {
    float of[GROUP];
};

__device__ __forceinline__ float load_one(const void *x, bool narrow, int64_t at)
{
    return narrow ? dt_load((const dt_bf16 *)x, at) : dt_load((const float *)x, at);
}

/* Operand k's elements from i on, wherever each of them is; none beyond the end of all. */
template <class Index> DT_APART __device__ four_floats load_apart(const program<Index> &p, int number, Index i)
{
    const operand<Index> &o = p.in[number];
    four_floats four;
    for (int k = 0; k < GROUP; k++, i++) {
        Index at = i, rest = i;
        if (o.how == GENERAL) {
            at = 0;
            for (int axis = p.rank - 1; axis >= 0; axis--) {
                dt_split<Index> place = dt_split_by(rest, p.dim[axis]);
                at += place.rest * o.stride[axis];
                rest = place.over;
            }
        } else if (o.how != WHOLE) {
            at = dt_split_by(dt_over(i, o.inner), o.period).rest;
        }
        four.of[k] = i < p.count ? load_one(o.data, o.narrow, (int64_t)at) : 0.0f;
    }
    return four;
}

template <class Index> __device__ __forceinline__ void load_group(const program<Index> &p, int number, Index i, float *to)
{
    const operand<Index> &o = p.in[number];
    if (o.how <= ROW && i + GROUP <= p.count) {
        int64_t at = (int64_t)(o.how == WHOLE ? i : dt_split_by(i, o.period).rest);
        if (o.narrow)
            dt_load4((const dt_bf16 *)o.data, at, to);
        else
            dt_load4((const float *)o.data, at, to);
    } else if (o.how == SCALAR || o.how == COLUMN) {
        float one = load_one(o.data, o.narrow, (int64_t)dt_split_by(dt_over(i, o.inner), o.period).rest);
        for (int k = 0; k < GROUP; k++)
            to[k] = one;
    } else {
        four_floats four = load_apart(p, number, i);
        for (int k = 0; k < GROUP; k++)
            to[k] = four.of[k];
    }
}

template <int U, class T, class Index>
__device__ __forceinline__ void store(const program<Index> &p, T *y, Index first, bool full, const float *from)
{
    y += first;
    DT_UNROLL
    for (int u = 0; u < U; u++) {
        const int at = u * DT_BLOCK * GROUP;
        if (full && p.fours)
            dt_store4(y, at, from + u * GROUP);
        else
            for (int k = 0; k < GROUP; k++)
                if (first + (at + k) < p.count)
                    dt_store(y, at + k, from[u * GROUP + k]);
    }
}

/* Four of bfloat16 as they come. */
struct alignas(8) two_words {
    uint32_t of[2];
};

/* All that a thread has of an operand, U groups from `first` on. Where the block is full, whole operands are only asked for, and
 * bfloat16 is left as it came: what is done with a number has to wait for it, and what is asked for next would wait too. */
template <int U, class Index>
__device__ __forceinline__ void ask(const program<Index> &p, int number, Index first, bool full, float *to)
{
    const operand<Index> &o = p.in[number];
    if (full && o.how == WHOLE && o.narrow) {
        const two_words *from = (const two_words *)o.data + first / GROUP;
        DT_UNROLL
        for (int u = 0; u < U; u++) {
            const two_words words = from[u * DT_BLOCK];
            memcpy(to + u * GROUP, &words, sizeof words);
        }
    } else if (full && o.how == WHOLE) {
        const float *from = (const float *)o.data + first;
        DT_UNROLL
        for (int u = 0; u < U; u++)
            dt_load4(from, u * DT_BLOCK * GROUP, to + u * GROUP);
    } else {
        DT_UNROLL
        for (int u = 0; u < U; u++) {
            const Index i = first + u * (DT_BLOCK * GROUP);
            if (i < p.count)
                load_group(p, number, i, to + u * GROUP);
        }
    }
}

/* Widens what was left. The first element of a word is in its low half. */
template <int U, class Index> __device__ __forceinline__ void widen(const program<Index> &p, int number, bool full, float *x)
{
    const operand<Index> &o = p.in[number];
    if (!full || o.how != WHOLE || !o.narrow)
        return;
    DT_UNROLL
    for (int u = 0; u < U; u++, x += GROUP) {
        two_words words;
        memcpy(&words, x, sizeof words);
        const uint32_t wide[GROUP] = {words.of[0] << 16, words.of[0] & 0xffff0000u, words.of[1] << 16,
                                      words.of[1] & 0xffff0000u};
        memcpy(x, wide, sizeof wide);
    }
}

/* ---- Chains ---- */

/* Copies what stands in a slot, or what is to. Slots that are registers have no addresses: all are looked at. */
template <int R, int N, class Copy> __device__ __forceinline__ void at_slot(float (&slot)[R][N], int number, Copy copy)
{
    if constexpr (R == SLOTS) {
        if (number != LAST)
            copy(slot[number]);
    } else {
        DT_UNROLL
        for (int r = 0; r < R; r++)
            if (r == number)
                copy(slot[r]);
    }
}

template <int N> __device__ __forceinline__ void assign(float (&to)[N], const float (&from)[N])
{
    DT_UNROLL
    for (int k = 0; k < N; k++)
        to[k] = from[k];
}

/* R slots: registers, or with SLOTS of them local memory; U groups to a thread. ONE: a single instruction, on the first and the
 * last slot. Elements are read by the thread that writes them, before it does: y may be one of the whole operands. */
template <int R, int U, bool ONE, class Index> __global__ void chain_kernel(const DT_CONSTANT program<Index> p)
{
    constexpr int N = U * GROUP, INPUTS = R < DT_CHAIN_INPUTS ? R : (int)DT_CHAIN_INPUTS;
    for (Index block = blockIdx.x; block * (DT_BLOCK * N) < p.count; block += gridDim.x) {
        Index first = block * (DT_BLOCK * N) + threadIdx.x * GROUP;
        const bool full = (block + 1) * (DT_BLOCK * N) <= p.count;
        float slot[R][N], a[N], b[N], last[N] = {};
        DT_UNROLL
        for (int k = 0; k < INPUTS; k++)
            if (ONE || k < p.inputs)
                ask<U>(p, k, first, full, slot[k]);
        DT_UNROLL
        for (int k = 0; k < INPUTS; k++)
            if (ONE || k < p.inputs)
                widen<U>(p, k, full, slot[k]);
        if (ONE)
            compute(p.step[0], slot[0], slot[R - 1], last);
        for (int s = 0; s < p.steps && !ONE; s++) {
            assign(a, last);
            assign(b, last);
            at_slot(slot, p.step[s].a, [&](float(&x)[N]) { assign(a, x); });
            at_slot(slot, p.step[s].b, [&](float(&x)[N]) { assign(b, x); });
            compute(p.step[s], a, b, last);
            at_slot(slot, p.step[s].keep, [&](float(&x)[N]) { assign(x, last); });
        }
        if (p.narrow)
            store<U>(p, (dt_bf16 *)p.y, first, full, last);
        else
            store<U>(p, (float *)p.y, first, full, last);
    }
}

/* ---- Host ---- */

template <class Index> operand<Index> describe(const dt_tensor *x, const dt_shape *y, const void *data)
{
    operand<Index> o = {};
    int shift = y->rank - x->shape.rank, first = y->rank, last = -1;
    bool repeats = false, fours = dt_aligned4(data, x->dtype);
    int64_t stride = 1, inner = 1;
    for (int i = y->rank - 1; i >= 0; i--) {
        int64_t dim = i < shift ? 1 : x->shape.dim[i - shift];
        o.stride[i] = (Index)(dim == 1 ? 0 : stride);
        stride *= dim;
        repeats |= dim == 1 && y->dim[i] > 1;
        if (dim > 1 && last < 0)
            last = i;
        if (dim > 1)
            first = i;
    }
    bool solid = last >= 0 && stride == dt_span(y, first, last + 1); /* no repeated axis in the midst of x */
    if (solid)
        inner = dt_span(y, last + 1, y->rank);
    o.data = data;
    o.narrow = x->dtype == DT_BF16;
    o.how = !repeats                                     ? fours ? WHOLE : SCATTERED
            : last < 0                                   ? SCALAR
            : !solid                                     ? GENERAL
            : inner % GROUP == 0                         ? COLUMN
            : inner == 1 && stride % GROUP == 0 && fours ? ROW
                                                         : SCATTERED;
    dt_divide_by(&o.inner, inner);
    dt_divide_by(&o.period, stride);
    return o;
}

/* Gives out slots: operand k has slot k, and a result that is not used by the next instruction alone one that is free by then. The
 * answer is how many there are. */
int give_slots(const dt_chain &chain, int inputs, order *to)
{
    int needed[SLOTS], busy[SLOTS], slots = inputs, place[DT_CHAIN_STEPS]; /* busy: until which instruction */
    for (int k = 0; k < SLOTS; k++)
        needed[k] = busy[k] = -1;
    for (int s = 0; s < chain.steps; s++)
        for (int which = 0; which < 2; which++) {
            int operand = which ? chain.step[s].b : chain.step[s].a;
            needed[operand < 0 ? DT_CHAIN_INPUTS + ~operand : operand] = s;
        }
    for (int k = 0; k < inputs; k++)
        busy[k] = needed[k];
    for (int s = 0; s < chain.steps; s++) {
        auto slot_of = [&](int operand) { return operand >= 0 ? operand : ~operand == s - 1 ? (int)LAST : place[~operand]; };
        const dt_instruction &from = chain.step[s];
        to[s] = {from.code, slot_of(from.a), slot_of(from.b), LAST, from.numbers.p, from.numbers.q};
        if (needed[DT_CHAIN_INPUTS + s] <= s + 1)
            continue;
        int free = 0;
        while (free < slots && busy[free] > s)
            free++;
        slots = free == slots ? slots + 1 : slots;
        busy[free] = needed[DT_CHAIN_INPUTS + s];
        to[s].keep = place[s] = free;
    }
    return slots;
}

template <int R, int U, bool ONE, class Index> void launch(const program<Index> &p)
{
    DT_LAUNCH((chain_kernel<R, U, ONE, Index>), dt_grid(p.count, DT_BLOCK * U * GROUP), DT_BLOCK, 0, p);
}

template <class Index> void start(const dt_call *call, int64_t count)
{
    const dt_node *node = call->node;
    const dt_shape *shape = &node->output[0].shape;
    const dt_chain chain = dt_chain_of(node);
    program<Index> p = {};
    p.inputs = node->inputs;
    p.steps = chain.steps;
    p.rank = shape->rank;
    p.narrow = node->output[0].dtype == DT_BF16;
    p.fours = dt_aligned4(call->out[0], node->output[0].dtype);
    p.count = (Index)count;
    p.y = call->out[0];
    for (int k = 0; k < shape->rank; k++)
        dt_divide_by(&p.dim[k], shape->dim[k]);
    for (int i = 0; i < node->inputs; i++)
        p.in[i] = describe<Index>(node->input[i], shape, call->in[i]);
    int slots = give_slots(chain, node->inputs, p.step);
    bool one = chain.steps == 1 && p.step[0].a == 0 && p.step[0].b == p.inputs - 1;
    if constexpr (sizeof(Index) > 4)
        launch<SLOTS, 1, false>(p);
    else if (one && p.inputs == 1)
        launch<1, 4, true>(p);
    else if (one && p.inputs == 2)
        launch<2, 2, true>(p);
    else if (slots <= 2)
        launch<2, 2, false>(p);
    else if (slots <= 4)
        launch<4, 2, false>(p);
    else if (slots <= 8)
        launch<8, 1, false>(p);
    else
        launch<SLOTS, 1, false>(p);
}

void run(const dt_call *call)
{
    int64_t count = dt_count(&call->node->output[0].shape);
    dt_by_index(count, [&](auto zero) { start<decltype(zero)>(call, count); });
    dt_cuda_check(call, "pointwise");
}

} // namespace

const dt_kernel dt_cuda_pointwise[] = {{&dt_op_chain, run, NULL, NULL, DT_NARROW_EACH, ~0u, ~0u}, {}};
