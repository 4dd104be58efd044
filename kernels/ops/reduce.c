#include "kernels/ops/reduce.h"

#include "kernels/ops.h"

/* The shape of x with the masked axes at length 1. */
static dt_shape kept(const dt_shape *x, unsigned mask)
{
    dt_shape shape = *x;
    for (int i = 0; i < shape.rank; i++)
        if (mask >> i & 1)
            shape.dim[i] = 1;
    return shape;
}

static void sum_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    const dt_axes *axes = node->attributes;
    const dt_shape *shape = &node->input[0]->shape;
    dx[0] = dt_broadcast_to(dt_reshape(dy[0], kept(shape, axes->mask)), *shape);
}

const dt_op dt_op_sum = {"sum", DT_OP_PLAIN, sum_gradient, NULL};

dt_tensor *dt_sum(dt_tensor *x, unsigned axes, bool keep)
{
    dt_graph *g = dt_graph_of(x);
    if (x->dtype != DT_F32)
        return dt_graph_fail(g, "sum", "expected float32, got %s", dt_dtype_name(x->dtype));
    dt_axes attributes = {axes & ((1u << x->shape.rank) - 1)};
    dt_shape shape = kept(&x->shape, attributes.mask);
    dt_tensor *sum = dt_same_shape(&shape, &x->shape)
                         ? x
                         : dt_record1(g, &dt_op_sum, &attributes, sizeof attributes, shape, x, NULL, NULL, NULL);
    if (keep)
        return sum;
    dt_shape squeezed = {0};
    for (int i = 0; i < x->shape.rank; i++)
        if (!(attributes.mask >> i & 1))
            squeezed.dim[squeezed.rank++] = x->shape.dim[i];
    return dt_reshape(sum, squeezed);
}

dt_tensor *dt_mean(dt_tensor *x, unsigned axes, bool keep)
{
    dt_tensor *sum = dt_sum(x, axes, keep);
    return dt_scale(sum, (float)((double)dt_count(&sum->shape) / (double)dt_count(&x->shape)));
}

dt_tensor *dt_sum_to(dt_tensor *x, dt_shape shape)
{
    unsigned mask = 0;
    int lead = x->shape.rank - shape.rank;
    for (int i = 0; i < x->shape.rank; i++)
        if (i < lead || (shape.dim[i - lead] == 1 && x->shape.dim[i] != 1))
            mask |= 1u << i;
    if (lead < 0)
        return dt_graph_fail(dt_graph_of(x), "sum_to", "%s cannot be summed to %s", dt_shape_text(&x->shape).chars,
                             dt_shape_text(&shape).chars);
    return dt_reshape(mask ? dt_sum(x, mask, true) : x, shape);
}

static void max_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    dt_tensor *ties = dt_equal(node->input[0], (dt_tensor *)&node->output[0]);
    unsigned last = 1u << (ties->shape.rank - 1);
    dx[0] = dt_mul(ties, dt_div(dy[0], dt_sum(ties, last, true)));
}

const dt_op dt_op_max = {"max", DT_OP_PLAIN, max_gradient, NULL};

/* Records an op over rows: x [..., n] float32 with at least one axis. */
static dt_tensor *rowwise(const dt_op *op, dt_tensor *x, dt_dtype dtype, dt_shape shape)
{
    if (x->shape.rank < 1 || x->dtype != DT_F32)
        return dt_graph_fail(dt_graph_of(x), op->name, "expected float32 [..., n], got %s %s",
                             dt_dtype_name(x->dtype), dt_shape_text(&x->shape).chars);
    return dt_record(dt_graph_of(x), op, NULL, 0, 1, &x, 1, &(dt_result){dtype, shape});
}

dt_tensor *dt_max(dt_tensor *x)
{
    dt_shape shape = x->shape;
    if (shape.rank > 0)
        shape.dim[shape.rank - 1] = 1;
    return rowwise(&dt_op_max, x, DT_F32, shape);
}

const dt_op dt_op_argmax = {.name = "argmax"};

dt_tensor *dt_argmax(dt_tensor *x)
{
    dt_shape shape = x->shape;
    shape.rank--;
    return rowwise(&dt_op_argmax, x, DT_I32, shape);
}

static void softmax_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    dt_tensor *y = (dt_tensor *)&node->output[0];
    unsigned last = 1u << (y->shape.rank - 1);
    dx[0] = dt_mul(y, dt_sub(dy[0], dt_sum(dt_mul(dy[0], y), last, true)));
}

static void log_softmax_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    dt_tensor *y = (dt_tensor *)&node->output[0];
    unsigned last = 1u << (y->shape.rank - 1);
    dx[0] = dt_sub(dy[0], dt_mul(dt_exp(y), dt_sum(dy[0], last, true)));
}

const dt_op dt_op_softmax = {"softmax", DT_OP_IN_PLACE, softmax_gradient, NULL};
const dt_op dt_op_log_softmax = {"log_softmax", DT_OP_IN_PLACE, log_softmax_gradient, NULL};

dt_tensor *dt_softmax(dt_tensor *x)
{
    return rowwise(&dt_op_softmax, x, DT_F32, x->shape);
}

dt_tensor *dt_log_softmax(dt_tensor *x)
{
    return rowwise(&dt_op_log_softmax, x, DT_F32, x->shape);
}

dt_tensor *dt_l2_normalize(dt_tensor *x, float eps)
{
    if (x->shape.rank < 1)
        return dt_graph_fail(dt_graph_of(x), "l2_normalize", "expected [..., n], got a scalar");
    dt_tensor *squares = dt_sum(dt_square(x), 1u << (x->shape.rank - 1), true);
    return dt_mul(x, dt_rsqrt(eps > 0 ? dt_affine(squares, 1, eps) : squares));
}
