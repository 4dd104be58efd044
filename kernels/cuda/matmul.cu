/* Matrix products over cuBLASLt (blas.h). Bias, ReLU, GELU by tanh, and a residual without an activation are done by the
 * product on its way out; what the library does not know (GELU by erf, quick GELU, a residual after an activation or of another
 * type, epilogues that it refuses) is one pass over the result afterwards, in place. */
#include "kernels/cuda/activations.h"
#include "kernels/cuda/blas.h"
#include "kernels/cuda/divide.h"

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

/* Something to add; data NULL: nothing. */
struct addend {
    const void *data;
    bool narrow; /* bfloat16 */
};

template <int WIDTH> __device__ __forceinline__ void add(addend a, int64_t i, float *to)
{
    float more[4];
    if (!a.data)
        return;
    if (a.narrow)
        dt_load_some<WIDTH>((const dt_bf16 *)a.data, i, more);
    else
        dt_load_some<WIDTH>((const float *)a.data, i, more);
    for (int k = 0; k < WIDTH; k++)
        to[k] += more[k];
}

struct finish {
    int64_t count, columns;
    addend bias, residual;
    dt_activation activation;
};

/* y = activation(y + bias) + residual, of `count` elements in groups of WIDTH. Index is 32 bits wide where that is enough, for
 * the division. */
template <int WIDTH, class Index, class T> __global__ void finish_kernel(T *y, finish f)
{
    for (Index i = (Index)dt_thread() * WIDTH; i < (Index)f.count; i += (Index)dt_threads() * WIDTH) {
        float value[4];
        dt_load_some<WIDTH>(y, i, value);
        add<WIDTH>(f.bias, i % (Index)f.columns, value);
        for (int k = 0; k < WIDTH; k++)
            value[k] = activate(value[k], f.activation);
        add<WIDTH>(f.residual, i, value);
        dt_store_some<WIDTH>(y, i, value);
    }
}

bool by_fours(const addend &a)
{
    return dt_aligned4(a.data, a.narrow ? DT_BF16 : DT_F32);
}

template <class T> void finish_of(T *y, const finish &f)
{
    dt_by_fours(f.columns % 4 == 0 && dt_aligned4(y) && by_fours(f.bias) && by_fours(f.residual), [&](auto width) {
        dt_by_index(f.count, [&](auto zero) {
            DT_LAUNCH((finish_kernel<width(), decltype(zero), T>), dt_grid(f.count, DT_BLOCK * width()), DT_BLOCK, 0, y, f);
        });
    });
}

/* ---- Plans ---- */

/* What prepare settles. The workspace holds that of the product, and after it the bias in the result's type. */
struct plan {
    dt_blas *blas;
    bool bias, residual; /* done by the product */
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

/* Takes s over. A product that the library does not do as it is, it does without bias and activation. */
bool settle(dt_preparation *preparation, dt_product p, plan *s)
{
    char *message = preparation->message;
    s->bias = p.bias;
    s->residual = p.residual;
    s->blas = dt_blas_new(&p, message);
    if (!s->blas && (p.bias || p.activation != DT_ACT_NONE)) {
        p.bias = s->bias = s->convert_bias = false;
        p.activation = DT_ACT_NONE;
        s->finish = true;
        s->blas = dt_blas_new(&p, message);
    }
    if (!s->blas) {
        release(s);
        return false;
    }
    message[0] = 0;
    preparation->state = s;
    preparation->workspace = dt_blas_workspace(s->blas);
    if (s->convert_bias) {
        s->converted = (preparation->workspace + 255) / 256 * 256;
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
    bool known = f->activation == DT_ACT_NONE || f->activation == DT_ACT_RELU || f->activation == DT_ACT_GELU_TANH;
    bool same_residual = f->residual && node->input[node->inputs - 1]->dtype == p.out;
    bool same_bias = f->bias && node->input[2]->dtype == p.out;
    p.residual = same_residual && f->activation == DT_ACT_NONE;
    s->finish = !known || (f->residual && !p.residual);
    if (!s->finish)
        p.activation = f->activation;
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
    int64_t columns = node->input[1]->shape.dim[0], count = dt_count(&node->output[0].shape);
    void *converted = (char *)call->workspace + s->converted;
    if (s->convert_bias)
        dt_cuda_convert(converted, node->output[0].dtype, bias, node->input[2]->dtype, columns);
    dt_blas_run(s->blas, call->in[0], call->in[1], !s->bias ? NULL : s->convert_bias ? converted : bias,
                s->residual ? residual : NULL, call->out[0], call->workspace, call);
    if (s->finish) {
        finish rest = {count, columns, {}, {}, f->activation};
        if (!s->bias && bias)
            rest.bias = {bias, node->input[2]->dtype == DT_BF16};
        if (!s->residual && residual)
            rest.residual = {residual, node->input[node->inputs - 1]->dtype == DT_BF16};
        dt_by_type(node->output[0].dtype, [&](auto zero) { finish_of((decltype(zero) *)call->out[0], rest); });
    }
    dt_cuda_check(call, "linear");
}

/* ---- matmul: a batch of products ---- */

bool prepare_matmul(dt_preparation *preparation)
{
    const dt_node *node = preparation->node;
    const dt_matmul_form *f = (const dt_matmul_form *)node->attributes;
    const dt_shape *a = &node->input[0]->shape, *y = &node->output[0].shape;
    int rank = y->rank;
    dt_product p = {};
    p.rows = y->dim[rank - 2];
    p.columns = y->dim[rank - 1];
    p.depth = a->dim[f->transpose_a ? rank - 2 : rank - 1];
    p.batch = dt_span(y, 0, rank - 2);
    p.transpose_a = f->transpose_a;
    p.transpose_b = f->transpose_b;
    plan *s = types_of(preparation, &p) ? new_plan(preparation) : NULL;
    return s && settle(preparation, p, s);
}

void run_matmul(const dt_call *call)
{
    const plan *s = (const plan *)call->state;
    dt_blas_run(s->blas, call->in[0], call->in[1], NULL, NULL, call->out[0], call->workspace, call);
    dt_cuda_check(call, "matmul");
}

} // namespace

const dt_kernel dt_cuda_matmul[] = {
    {&dt_op_matmul, run_matmul, prepare_matmul, release, DT_NARROW_PRODUCT, ~0u, ~0u},
    {&dt_op_linear, run_linear, prepare_linear, release, DT_NARROW_PRODUCT, ~0u, ~0u},
    {}};
