#include "kernels/ops/matmul.h"

#include "kernels/ops.h"

/* For c = op(a) op(b), with dc = u:  d op(a) = u op(b)^T and d op(b) = op(a)^T u, then transposed back. */
static void matmul_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    const dt_matmul_form *f = node->attributes;
    dt_tensor *a = node->input[0], *b = node->input[1], *u = dy[0];
    dx[0] = f->transpose_a ? dt_matmul(b, u, f->transpose_b, true) : dt_matmul(u, b, false, !f->transpose_b);
    dx[1] = f->transpose_b ? dt_matmul(u, a, true, f->transpose_a) : dt_matmul(a, u, !f->transpose_a, false);
}

static double matmul_flops(const dt_node *node)
{
    const dt_shape *a = &node->input[0]->shape, *y = &node->output[0].shape;
    const dt_matmul_form *f = node->attributes;
    return 2.0 * (double)dt_count(y) * (double)a->dim[f->transpose_a ? a->rank - 2 : a->rank - 1];
}

const dt_op dt_op_matmul = {"matmul", DT_OP_PLAIN, matmul_gradient, matmul_flops};

dt_tensor *dt_matmul(dt_tensor *a, dt_tensor *b, bool transpose_a, bool transpose_b)
{
    dt_graph *g = dt_graph_of(a);
    dt_matmul_form form = {transpose_a, transpose_b};
    int rank = a->shape.rank;
    dt_shape shape = a->shape, of_b = b->shape;
    bool fits = rank >= 2 && of_b.rank == rank && a->dtype == DT_F32 && b->dtype == DT_F32;
    for (int i = 0; fits && i < rank - 2; i++)
        fits = shape.dim[i] == of_b.dim[i];
    if (!fits || a->shape.dim[transpose_a ? rank - 2 : rank - 1] != of_b.dim[transpose_b ? rank - 1 : rank - 2])
        return dt_graph_fail(g, "matmul", "%s%s and %s%s do not multiply", dt_shape_text(&a->shape).chars,
                             transpose_a ? "^T" : "", dt_shape_text(&of_b).chars, transpose_b ? "^T" : "");
    shape.dim[rank - 2] = a->shape.dim[transpose_a ? rank - 1 : rank - 2];
    shape.dim[rank - 1] = of_b.dim[transpose_b ? rank - 2 : rank - 1];
    return dt_record1(g, &dt_op_matmul, &form, sizeof form, shape, a, b, NULL, NULL);
}

/* x seen as a matrix of rows. */
static dt_tensor *rows(dt_tensor *x)
{
    return dt_reshape(x, dt_dims(dt_span(&x->shape, 0, x->shape.rank - 1), x->shape.dim[x->shape.rank - 1]));
}

static void linear_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    dt_tensor *x = node->input[0], *weight = node->input[1], *u = rows(dy[0]);
    dx[0] = dt_reshape(dt_matmul(u, weight, false, false), x->shape);
    dx[1] = dt_matmul(u, rows(x), true, false);
    if (node->inputs > 2)
        dx[2] = dt_sum(u, 1, false);
}

static double linear_flops(const dt_node *node)
{
    return 2.0 * (double)dt_count(&node->output[0].shape) * (double)node->input[1]->shape.dim[1];
}

const dt_op dt_op_linear = {"linear", DT_OP_PLAIN, linear_gradient, linear_flops};

dt_tensor *dt_linear(dt_tensor *x, dt_tensor *weight, dt_tensor *bias)
{
    dt_graph *g = dt_graph_of(x);
    dt_shape shape = x->shape;
    const dt_shape *w = &weight->shape;
    if (shape.rank < 1 || w->rank != 2 || shape.dim[shape.rank - 1] != w->dim[1] || x->dtype != DT_F32 ||
        weight->dtype != DT_F32)
        return dt_graph_fail(g, "linear", "x %s does not go with a weight [out, in] of shape %s",
                             dt_shape_text(&shape).chars, dt_shape_text(w).chars);
    if (bias && (bias->shape.rank != 1 || bias->shape.dim[0] != w->dim[0] || bias->dtype != DT_F32))
        return dt_graph_fail(g, "linear", "expected a bias of shape [%lld], got %s", (long long)w->dim[0],
                             dt_shape_text(&bias->shape).chars);
    shape.dim[shape.rank - 1] = w->dim[0];
    dt_linear_form form = {.bias = bias != NULL};
    return dt_record1(g, &dt_op_linear, &form, sizeof form, shape, x, weight, bias, NULL);
}
