#include "kernels/ops/pool.h"

#include "kernels/ops.h"

static dt_tensor *record(const dt_node *like, const dt_op *op, dt_shape shape, dt_tensor *a, dt_tensor *index)
{
    return dt_record1(like->graph, op, like->attributes, sizeof(dt_pool_form), shape, a, index, NULL, NULL);
}

/* With the index of each maximum fixed, the gradient is a linear map of dy and the pick is its adjoint. */
static void max_pool_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    if (dy[0])
        dx[0] =
            record(node, &dt_op_max_pool_grad, node->input[0]->shape, dy[0], (dt_tensor *)&node->output[1]);
}

static void max_pool_grad_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *u, dt_tensor **dx)
{
    (void)g;
    dx[0] = record(node, &dt_op_max_pool_pick, node->input[0]->shape, u[0], node->input[1]);
}

static void max_pool_pick_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *u, dt_tensor **dx)
{
    (void)g;
    dx[0] = record(node, &dt_op_max_pool_grad, node->input[0]->shape, u[0], node->input[1]);
}

const dt_op dt_op_max_pool = {"max_pool", DT_OP_PLAIN, max_pool_gradient, NULL};
const dt_op dt_op_max_pool_grad = {"max_pool_grad", DT_OP_PLAIN, max_pool_grad_gradient, NULL};
const dt_op dt_op_max_pool_pick = {"max_pool_pick", DT_OP_PLAIN, max_pool_pick_gradient, NULL};

static void avg_pool_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    const dt_op *adjoint = node->op == &dt_op_avg_pool ? &dt_op_avg_pool_grad : &dt_op_avg_pool;
    dx[0] = record(node, adjoint, node->input[0]->shape, dy[0], NULL);
}

const dt_op dt_op_avg_pool = {"avg_pool", DT_OP_PLAIN, avg_pool_gradient, NULL};
const dt_op dt_op_avg_pool_grad = {"avg_pool_grad", DT_OP_PLAIN, avg_pool_gradient, NULL};

static void adaptive_pool_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    const dt_op *adjoint =
        node->op == &dt_op_adaptive_pool ? &dt_op_adaptive_pool_grad : &dt_op_adaptive_pool;
    dx[0] = dt_record1(g, adjoint, NULL, 0, node->input[0]->shape, dy[0], NULL, NULL, NULL);
}

const dt_op dt_op_adaptive_pool = {"adaptive_avg_pool", DT_OP_PLAIN, adaptive_pool_gradient, NULL};
const dt_op dt_op_adaptive_pool_grad = {"adaptive_avg_pool_grad", DT_OP_PLAIN, adaptive_pool_gradient, NULL};

/* Whether x is an image batch; else its graph is marked. */
static bool is_image(const dt_op *op, const dt_tensor *x)
{
    dt_graph *g = dt_graph_of(x);
    if (!dt_graph_error(g) && (x->shape.rank != 4 || x->dtype != DT_F32))
        dt_graph_fail(g, op->name, "expected float32 [n, h, w, c], got %s %s", dt_dtype_name(x->dtype),
                      dt_shape_text(&x->shape).chars);
    return !dt_graph_error(g);
}

/* The shape of the result of windows over x; false: the graph is marked. */
static bool windows(const dt_op *op, const dt_tensor *x, const dt_pool_form *f, dt_shape *y)
{
    dt_graph *g = dt_graph_of(x);
    if (!is_image(op, x))
        return false;
    *y = x->shape;
    for (int i = 0; i < 2; i++) {
        if (f->kernel[i] < 1 || f->stride[i] < 1 || f->padding[i] < 0 || f->padding[i] > f->kernel[i] / 2) {
            dt_graph_fail(g, op->name,
                          "kernel %d, stride %d, padding %d: kernel and stride must be at least 1, padding "
                          "at most half the kernel",
                          f->kernel[i], f->stride[i], f->padding[i]);
            return false;
        }
        int64_t room = x->shape.dim[1 + i] + 2 * (int64_t)f->padding[i] - f->kernel[i];
        if (room < 0) {
            dt_graph_fail(g, op->name, "a kernel of %d with padding %d is larger than x %s", f->kernel[i],
                          f->padding[i], dt_shape_text(&x->shape).chars);
            return false;
        }
        y->dim[1 + i] = room / f->stride[i] + 1;
    }
    return true;
}

dt_tensor *dt_max_pool2d(dt_tensor *x, dt_pool_form form)
{
    dt_graph *g = dt_graph_of(x);
    dt_shape y;
    if (!windows(&dt_op_max_pool, x, &form, &y))
        return &g->poison;
    if (dt_span(&x->shape, 1, 3) > INT32_MAX)
        return dt_graph_fail(g, dt_op_max_pool.name, "x %s has more pixels than an int32 index can count",
                             dt_shape_text(&x->shape).chars);
    return dt_record(g, &dt_op_max_pool, &form, sizeof form, 1, &x, 2,
                     (dt_result[]){{DT_F32, y}, {DT_I32, y}});
}

dt_tensor *dt_avg_pool2d(dt_tensor *x, dt_pool_form form)
{
    dt_graph *g = dt_graph_of(x);
    dt_shape y;
    if (!windows(&dt_op_avg_pool, x, &form, &y))
        return &g->poison;
    return dt_record1(g, &dt_op_avg_pool, &form, sizeof form, y, x, NULL, NULL, NULL);
}

dt_tensor *dt_adaptive_avg_pool2d(dt_tensor *x, int height, int width)
{
    dt_graph *g = dt_graph_of(x);
    if (!is_image(&dt_op_adaptive_pool, x))
        return &g->poison;
    if (height < 1 || width < 1)
        return dt_graph_fail(g, dt_op_adaptive_pool.name, "cannot pool %s to %d x %d",
                             dt_shape_text(&x->shape).chars, height, width);
    dt_shape y = dt_dims(x->shape.dim[0], height, width, x->shape.dim[3]);
    return dt_record1(g, &dt_op_adaptive_pool, NULL, 0, y, x, NULL, NULL, NULL);
}
