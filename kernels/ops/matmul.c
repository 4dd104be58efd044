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
    dt_tensor *x = node->input[0], *weight = node->input[1], *u = rows(dy[0]);
    dx[0] = dt_reshape(dt_matmul(u, weight, false, false), x->shape);
    if (node->inputs > 2) {
        const dt_result results[] = {{DT_F32, weight->shape}, {DT_F32, node->input[2]->shape}};
        dx[1] = dt_record(g, &dt_op_linear_grad, NULL, 0, 2, (dt_tensor *[]){rows(x), u}, 2, results);
        dx[2] = dt_output_of(dx[1], 1);
    } else {
        dx[1] = dt_matmul(u, rows(x), true, false);
    }
}

/* With v for dweight and w for dbias: dx = u v and du = x v^T + w in every row. */
static void linear_grad_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    dt_tensor *x = node->input[0], *u = node->input[1], *v = dy[0];
    dt_tensor *every = dy[1] ? dt_broadcast_to(dy[1], u->shape) : NULL;
    if (v) {
        dx[0] = dt_matmul(u, v, false, false);
        dx[1] = dt_matmul(x, v, false, true);
    }
    if (every)
        dx[1] = v ? dt_add(dx[1], every) : every;
}

static double linear_grad_flops(const dt_node *node)
{
    return 2.0 * (double)dt_count(&node->output[0].shape) * (double)node->input[0]->shape.dim[0];
}

const dt_op dt_op_linear_grad = {"linear_grad", DT_OP_PLAIN, linear_grad_gradient, linear_grad_flops};

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
