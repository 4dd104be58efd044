/* Matrix products over cuBLASLt (blas.h). A bias, in bfloat16 GELU by tanh and its slope, and a residual without an activation are
 * done by the product on its way out. What the library does not know (GELU by erf, quick GELU, a residual after an activation or of
 * another type, epilogues that it refuses) or does otherwise (its ReLU makes a zero of a NaN, its tanh in float32 is not exact) is one
 * pass over the result afterwards. */
#include "kernels/cuda/activations.h"
#include "kernels/cuda/blas.h"
#include "kernels/cuda/divide.h"
#include "kernels/cuda/notes.h"
#include "kernels/cuda/sum.h"

#include <stdio.h>
#include <stdlib.h>

extern "C" {
extern const dt_kernel dt_cuda_matmul[];
}

namespace
{

/* ---- What comes after the product ---- */

__device__ float activate(float x, dt_activation activation)
{
    switch (activation) {
    case DT_ACT_RELU: return x > 0 || x != x ? x : 0;
    case DT_ACT_GELU: return gelu(x);
    case DT_ACT_GELU_TANH: return gelu_tanh(x);
    case DT_ACT_QUICK_GELU: return quick_gelu(x);
    default: return x;
    }
}

/* An operand of either type; data NULL: none. */
struct operand {
    const void *data;
    bool narrow; /* bfloat16 */
};

operand operand_of(const void *data, dt_dtype type)
{
    return {data, type == DT_BF16};
}

template <int WIDTH> __device__ __forceinline__ void load(operand x, int64_t i, float *to)
{
    if (x.narrow)
        dt_load_some<WIDTH>((const dt_bf16 *)x.data, i, to);
    else
        dt_load_some<WIDTH>((const float *)x.data, i, to);
}

template <int WIDTH> __device__ __forceinline__ void add(operand x, int64_t i, float *to)
{
    float more[4];
    if (!x.data)
        return;
    load<WIDTH>(x, i, more);
    for (int k = 0; k < WIDTH; k++)
        to[k] += more[k];
}

enum { GROUPS = 4 /* of a thread, all asked for before the first is waited for */ };

struct finish {
    int64_t count, columns;
    operand bias, slope, residual;
    dt_activation activation;
};

/* y = activation(gelu_tanh'(slope) from + bias) + residual, of `count` elements in groups of WIDTH; y may be `from`. Index is 32 bits
 * wide where that is enough, for the division. */
template <int WIDTH, class Index, class T> __global__ void finish_kernel(const T *from, T *y, finish f)
{
    constexpr Index APART = DT_BLOCK * WIDTH;
    for (Index first = ((Index)blockIdx.x * DT_BLOCK * GROUPS + threadIdx.x) * WIDTH; first < (Index)f.count;
         first += (Index)gridDim.x * APART * GROUPS) {
        float value[GROUPS][4], x[4];
        DT_UNROLL
        for (int g = 0; g < GROUPS; g++)
            if (first + g * APART < (Index)f.count)
                dt_load_some<WIDTH>(from, first + g * APART, value[g]);
        DT_UNROLL
        for (int g = 0; g < GROUPS; g++) {
            Index i = first + g * APART;
            if (i >= (Index)f.count)
                break;
            if (f.slope.data) {
                load<WIDTH>(f.slope, i, x);
                for (int k = 0; k < WIDTH; k++)
                    value[g][k] *= gelu_tanh_slope(x[k]);
            }
            add<WIDTH>(f.bias, i % (Index)f.columns, value[g]);
            for (int k = 0; k < WIDTH; k++)
                value[g][k] = activate(value[g][k], f.activation);
            add<WIDTH>(f.residual, i, value[g]);
            dt_store_some<WIDTH>(y, i, value[g]);
        }
    }
}

bool by_fours(const operand &x)
{
    return dt_aligned4(x.data, x.narrow ? DT_BF16 : DT_F32);
}

template <class T> void finish_of(const T *from, T *y, const finish &f)
{
    bool fours = f.columns % 4 == 0 && dt_aligned4(from) && dt_aligned4(y) && by_fours(f.bias) && by_fours(f.slope) &&
                 by_fours(f.residual);
    dt_by_fours(fours, [&](auto width) {
        dt_by_index(f.count, [&](auto zero) {
            DT_LAUNCH((finish_kernel<width(), decltype(zero), T>), dt_grid(f.count, DT_BLOCK * GROUPS * width()), DT_BLOCK, 0, from,
                      y, f);
        });
    });
}

void finish_of(const void *from, void *y, dt_dtype type, const finish &f)
{
    dt_by_type(type, [&](auto zero) {
        using T = decltype(zero);
        finish_of((const T *)from, (T *)y, f);
    });
}

/* ---- Plans ---- */

constexpr double WORTH_A_NOTE = 1e9; /* FLOPs of a product from which a pass more is noticed */

/* What prepare settles. The workspace holds that of the product, and after it the bias in the result's type. */
struct plan {
    dt_blas *blas;
    bool bias, residual, beside; /* done by the product */
    bool convert_bias, finish;
    size_t converted; /* where in the workspace */
};

void release(void *state)
{
    plan *s = (plan *)state;
    if (!s)
        return;
    dt_blas_free(s->blas);
    free(s);
}

/* The two factors of a product; false: of two types. */
bool types_of(dt_preparation *preparation, dt_product *p)
{
    const dt_node *node = preparation->node;
    p->in = node->input[0]->dtype;
    p->out = node->output[0].dtype;
    p->tf32 = preparation->precision == DT_TF32;
    p->scale = 1;
    if (node->input[1]->dtype == p->in)
        return true;
    snprintf(preparation->message, sizeof preparation->message, "a product of %s by %s",
             dt_dtype_name(p->in), dt_dtype_name(node->input[1]->dtype));
    return false;
}

/* Takes the least from a product that the library may not do as it is; false: there is nothing left to take. */
bool concede(dt_product *p)
{
    if (p->beside != DT_BESIDE_NOTHING || p->activation != DT_ACT_NONE) {
        p->beside = DT_BESIDE_NOTHING;
        p->activation = DT_ACT_NONE;
        return true;
    }
    bool bias = p->bias;
    p->bias = false;
    return bias;
}

/* Takes s over. A product that the library does not do as it is, it does without what may be done in a pass of its own. */
bool settle(dt_preparation *preparation, dt_product p, plan *s)
{
    char *message = preparation->message;
    bool large = 2.0 * (double)p.rows * (double)p.columns * (double)p.depth > WORTH_A_NOTE;
    while (!(s->blas = dt_blas_new(&p, message)) && concede(&p)) {
        s->finish = true;
        if (large)
            dt_cuda_note(preparation->node, message);
    }
    if (!s->blas) {
        release(s);
        return false;
    }
    message[0] = 0;
    s->bias = p.bias;
    s->convert_bias = s->convert_bias && p.bias;
    s->residual = p.residual;
    s->beside = p.beside != DT_BESIDE_NOTHING;
    preparation->state = s;
    preparation->workspace = dt_blas_workspace(s->blas);
    if (s->convert_bias) {
        s->converted = dt_room(preparation->workspace);
        preparation->workspace = s->converted + (size_t)p.columns * dt_dtype_size(p.out);
    }
    return true;
}

plan *new_plan(dt_preparation *preparation)
{
    plan *s = (plan *)calloc(1, sizeof *s);
    if (!s)
        snprintf(preparation->message, sizeof preparation->message, "no memory left");
    return s;
}

/* ---- linear: y = activation(x weight^T + bias) + residual ---- */

bool prepare_linear(dt_preparation *preparation)
{
    const dt_node *node = preparation->node;
    const dt_linear_form *f = (const dt_linear_form *)node->attributes;
    const dt_shape *w = &node->input[1]->shape;
    dt_product p = {};
    p.columns = w->dim[0];
    p.depth = w->dim[1];
    p.rows = dt_count(&node->output[0].shape) / p.columns;
    p.transpose_b = true;
    plan *s = types_of(preparation, &p) ? new_plan(preparation) : NULL;
    if (!s)
        return false;
    if (f->before)
        p.out = node->output[1].dtype;
    bool known = f->activation == DT_ACT_NONE || (f->activation == DT_ACT_GELU_TANH && p.out == DT_BF16);
    bool same_residual = f->residual && node->input[node->inputs - 1]->dtype == p.out;
    bool same_bias = f->bias && node->input[2]->dtype == p.out;
    p.residual = same_residual && f->activation == DT_ACT_NONE;
    s->finish = !known || (f->residual && !p.residual) || p.out != node->output[0].dtype;
    if (!s->finish) {
        p.activation = f->activation;
        p.beside = f->before ? DT_BESIDE_BEFORE : DT_BESIDE_NOTHING;
    }
    p.bias = f->bias && (same_bias || !s->finish);
    s->convert_bias = p.bias && !same_bias;
    return settle(preparation, p, s);
}

void run_linear(const dt_call *call)
{
    const dt_node *node = call->node;
    const dt_linear_form *f = (const dt_linear_form *)node->attributes;
    const plan *s = (const plan *)call->state;
    const void *bias = f->bias ? call->in[2] : NULL, *residual = f->residual ? call->in[node->inputs - 1] : NULL;
    dt_dtype type = node->output[f->before ? 1 : 0].dtype;
    void *product = call->out[f->before && !s->beside ? 1 : 0], *converted = (char *)call->workspace + s->converted;
    if (s->convert_bias)
        dt_cuda_convert(converted, type, bias, node->input[2]->dtype, node->input[1]->shape.dim[0]);
    const void *added = !s->bias ? NULL : s->convert_bias ? converted : bias;
    dt_blas_run_beside(s->blas, call->in[0], call->in[1], added, s->residual ? residual : NULL, s->beside ? call->out[1] : NULL,
                       product, call->workspace, call);
    if (s->finish) {
        dt_dtype last = node->output[0].dtype;
        finish rest = {dt_count(&node->output[0].shape), node->input[1]->shape.dim[0]};
        if (!s->bias && bias)
            rest.bias = operand_of(bias, node->input[2]->dtype);
        if (f->before && rest.bias.data) { /* it belongs to what is before the activation too */
            finish_of(product, product, type, rest);
            rest.bias = {};
        }
        if (!s->residual && residual)
            rest.residual = operand_of(residual, node->input[node->inputs - 1]->dtype);
        rest.activation = f->activation;
        if (type != last) {
            dt_cuda_convert(call->out[0], last, product, type, rest.count);
            product = call->out[0];
        }
        finish_of(product, call->out[0], last, rest);
    }
    dt_cuda_check(call, "linear");
}

/* ---- What a linear layer with a bias passes on to its parameters: dweight = u^T x, dbias = the sum of u's rows ----
 *
 * The library has an epilogue for that sum (BGRADB), but in the code of its version 13.1 for Hopper that is a kernel of its own, which
 * reads u again in blocks of 16 columns. So the sum is taken here, where the rows are shared among all of the GPU. */

bool prepare_linear_grad(dt_preparation *preparation)
{
    const dt_shape *x = &preparation->node->input[0]->shape, *u = &preparation->node->input[1]->shape;
    dt_product p = {};
    p.rows = u->dim[1];
    p.columns = x->dim[1];
    p.depth = x->dim[0];
    p.transpose_a = true;
    plan *s = types_of(preparation, &p) ? new_plan(preparation) : NULL;
    if (!s || !settle(preparation, p, s))
        return false;
    size_t room = dt_cuda_sum_rows_workspace(p.depth, p.rows); /* after the product is done with its own */
    preparation->workspace = room > preparation->workspace ? room : preparation->workspace;
    return true;
}

void run_linear_grad(const dt_call *call)
{
    const dt_tensor *u = call->node->input[1];
    const plan *s = (const plan *)call->state;
    dt_blas_run(s->blas, call->in[1], call->in[0], NULL, NULL, call->out[0], call->workspace, call);
    dt_cuda_sum_rows(call->in[1], u->dtype, u->shape.dim[0], u->shape.dim[1], call->workspace, (float *)call->out[1]);
    dt_cuda_check(call, "linear_grad");
}

/* ---- matmul: a batch of products ---- */

bool prepare_matmul(dt_preparation *preparation)
{
    const dt_node *node = preparation->node;
    const dt_matmul_form *f = (const dt_matmul_form *)node->attributes;
    const dt_shape *a = &node->input[0]->shape, *b = &node->input[1]->shape;
    int rank = a->rank;
    dt_product p = {};
    p.rows = a->dim[f->transpose_a ? rank - 1 : rank - 2];
    p.depth = a->dim[f->transpose_a ? rank - 2 : rank - 1];
    p.columns = b->dim[f->transpose_b ? rank - 2 : rank - 1];
    p.batch = dt_span(a, 0, rank - 2);
    p.transpose_a = f->transpose_a;
    p.transpose_b = f->transpose_b;
    plan *s = types_of(preparation, &p) ? new_plan(preparation) : NULL;
    if (!s)
        return false;
    if (f->slope && p.out == DT_BF16 && node->input[2]->dtype == DT_BF16)
        p.beside = DT_BESIDE_SLOPE;
    s->finish = f->slope && p.beside == DT_BESIDE_NOTHING;
    return settle(preparation, p, s);
}

void run_matmul(const dt_call *call)
{
    const dt_node *node = call->node;
    const plan *s = (const plan *)call->state;
    dt_blas_run_beside(s->blas, call->in[0], call->in[1], NULL, NULL, s->beside ? call->in[2] : NULL, call->out[0],
                       call->workspace, call);
    if (s->finish) {
        dt_dtype type = node->output[0].dtype;
        int64_t count = dt_count(&node->output[0].shape);
        finish rest = {count, count};
        rest.slope = operand_of(call->in[2], node->input[2]->dtype);
        finish_of(call->out[0], call->out[0], type, rest);
    }
    dt_cuda_check(call, "matmul");
}

} // namespace

const dt_kernel dt_cuda_matmul[] = {
    {&dt_op_matmul, run_matmul, prepare_matmul, release, DT_NARROW_PRODUCT, ~0u, ~0u},
    {&dt_op_linear, run_linear, prepare_linear, release, DT_NARROW_PRODUCT, ~0u, ~0u},
    {&dt_op_linear_grad, run_linear_grad, prepare_linear_grad, release, DT_NARROW_PRODUCT, ~0u, 1u << 0}, /* dbias is a sum */
    {}};
