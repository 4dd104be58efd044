#include "kernels/ops/attention.h"

#include <math.h>

#include "kernels/ops.h"
#include "kernels/ops/composed.h"

/* 0, 1, ... t - 1 in the given shape. */
static dt_tensor *positions(dt_graph *g, int64_t t, dt_shape shape)
{
    float *values = dt_arena_alloc(g->arena, sizeof *values * (size_t)t);
    if (!values)
        return dt_graph_fail(g, "attention", "out of memory while recording");
    for (int64_t i = 0; i < t; i++)
        values[i] = (float)i;
    return dt_constant(g, shape, values);
}

/* Part 0, 1 or 2 (q, k, v) of qkv as [n, heads, t, w / heads]. */
static dt_tensor *part(dt_tensor *qkv, int which, int64_t heads)
{
    int64_t n = qkv->shape.dim[0], t = qkv->shape.dim[1], w = qkv->shape.dim[2] / 3;
    dt_tensor *rows = dt_reshape(dt_slice(qkv, 2, which * w, w), dt_dims(n, t, heads, w / heads));
    return dt_transpose(rows, (const int[]){0, 2, 1, 3});
}

static dt_tensor *composed(const void *attributes, dt_tensor *const *primal)
{
    const dt_attention_form *form = attributes;
    dt_tensor *qkv = primal[0];
    dt_graph *g = dt_graph_of(qkv);
    if (g->error)
        return qkv;
    int64_t n = qkv->shape.dim[0], t = qkv->shape.dim[1], w = qkv->shape.dim[2] / 3;
    dt_tensor *scores = dt_matmul(part(qkv, 0, form->heads), part(qkv, 1, form->heads), false, true);
    scores = dt_scale(scores, 1 / sqrtf((float)(w / form->heads)));
    if (form->causal) {
        dt_tensor *future = dt_greater(positions(g, t, dt_dims(1, t)), positions(g, t, dt_dims(t, 1)));
        scores = dt_add(scores, dt_scale(future, -1e30f));
    }
    dt_tensor *mixed = dt_matmul(dt_softmax(scores), part(qkv, 2, form->heads), false, false);
    return dt_reshape(dt_transpose(mixed, (const int[]){0, 2, 1, 3}), dt_dims(n, t, w));
}

/* Inputs qkv, y, lse, dy: y and lse are functions of qkv, and their share is in what qkv gets. */
static void grad_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    dx[0] = node->input[0];
    dx[3] = dt_composed_gradient(node, composed, 1, dx, node->input[3], dy);
}

static void gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    dt_tensor *qkv = node->input[0], *y = (dt_tensor *)&node->output[0];
    if (dy[0])
        dx[0] = dt_record1(g, &dt_op_attention_grad, node->attributes, sizeof(dt_attention_form), qkv->shape,
                           qkv, y, dt_output_of(y, 1), dy[0]);
}

/* Of one product over all pairs (query, key) that are looked at. */
static double product_flops(const dt_node *node)
{
    const dt_shape *s = &node->input[0]->shape;
    const dt_attention_form *form = node->attributes;
    double n = (double)s->dim[0], t = (double)s->dim[1], w = (double)(s->dim[2] / 3);
    return 2 * n * w * (form->causal ? t * (t + 1) / 2 : t * t);
}

/* q k^T and p v. */
static double flops(const dt_node *node)
{
    return 2 * product_flops(node);
}

/* q k^T again, dy v^T, p^T dy, ds k and ds^T q. */
static double grad_flops(const dt_node *node)
{
    return 5 * product_flops(node);
}

const dt_op dt_op_attention = {"attention", DT_OP_PLAIN, gradient, flops};
const dt_op dt_op_attention_grad = {"attention_grad", DT_OP_PLAIN, grad_gradient, grad_flops};

dt_tensor *dt_attention(dt_tensor *qkv, int heads, bool causal)
{
    dt_graph *g = dt_graph_of(qkv);
    const dt_shape *s = &qkv->shape;
    if (qkv->dtype != DT_F32 || s->rank != 3 || s->dim[2] % 3)
        return dt_graph_fail(g, "attention", "expected float32 qkv [n, t, 3 w], got %s %s",
                             dt_dtype_name(qkv->dtype), dt_shape_text(s).chars);
    if (heads < 1 || s->dim[2] / 3 % heads)
        return dt_graph_fail(g, "attention", "%d heads do not divide the width %lld of qkv %s", heads,
                             (long long)(s->dim[2] / 3), dt_shape_text(s).chars);
    dt_attention_form form = {heads, causal};
    const dt_result results[] = {{DT_F32, dt_dims(s->dim[0], s->dim[1], s->dim[2] / 3)},
                                 {DT_F32, dt_dims(s->dim[0], heads, s->dim[1])}};
    return dt_record(g, &dt_op_attention, &form, sizeof form, 1, &qkv, 2, results);
}
