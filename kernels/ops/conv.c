#include "kernels/ops/conv.h"

#include "kernels/ops.h"

enum {
    LARGEST = 1 << 20
}; /* of strides, paddings, dilations and kernels: far above any use, so that sums stay exact */

/* y = conv(x, w) is linear in x and in w. With u of y's shape, input_grad(u, w) and weight_grad(x, u) are its
 * adjoints; since <u, conv(x, w)> is the same number as <x, input_grad(u, w)> and <w, weight_grad(x, u)>, the
 * derivatives of each of the three are the other two. */

static dt_tensor *record(const dt_op *op, dt_conv_form form, dt_shape shape, dt_tensor *a, dt_tensor *b)
{
    return dt_record1(dt_graph_of(a), op, &form, sizeof form, shape, a, b, NULL, NULL);
}

static dt_tensor *conv(dt_conv_form form, dt_shape y, dt_tensor *x, dt_tensor *weight)
{
    return record(&dt_op_conv, form, y, x, weight);
}

static dt_tensor *input_grad(dt_conv_form form, dt_shape x, dt_tensor *dy, dt_tensor *weight)
{
    return record(&dt_op_conv_input_grad, form, x, dy, weight);
}

static dt_tensor *weight_grad(dt_conv_form form, dt_shape weight, dt_tensor *x, dt_tensor *dy)
{
    return record(&dt_op_conv_weight_grad, form, weight, x, dy);
}

static void conv_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    dt_tensor *x = node->input[0], *weight = node->input[1];
    dt_conv_form form = *(const dt_conv_form *)node->attributes;
    dx[0] = input_grad(form, x->shape, dy[0], weight);
    dx[1] = weight_grad(form, weight->shape, x, dy[0]);
}

static void input_grad_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *u, dt_tensor **dx)
{
    (void)g;
    dt_tensor *dy = node->input[0], *weight = node->input[1];
    dt_conv_form form = *(const dt_conv_form *)node->attributes;
    dx[0] = conv(form, dy->shape, u[0], weight);
    dx[1] = weight_grad(form, weight->shape, u[0], dy);
}

static void weight_grad_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *u, dt_tensor **dx)
{
    (void)g;
    dt_tensor *x = node->input[0], *dy = node->input[1];
    dt_conv_form form = *(const dt_conv_form *)node->attributes;
    dx[0] = input_grad(form, x->shape, dy, u[0]);
    dx[1] = conv(form, dy->shape, x, u[0]);
}

/* Every element of y is a sum over the weights of one output channel. */
static double flops(const dt_shape *y, const dt_shape *weight)
{
    return 2.0 * (double)dt_count(y) * (double)dt_span(weight, 1, 4);
}

static double conv_flops(const dt_node *node)
{
    return flops(&node->output[0].shape, &node->input[1]->shape);
}

static double input_grad_flops(const dt_node *node)
{
    return flops(&node->input[0]->shape, &node->input[1]->shape);
}

static double weight_grad_flops(const dt_node *node)
{
    return flops(&node->input[1]->shape, &node->output[0].shape);
}

const dt_op dt_op_conv = {"conv2d", DT_OP_PLAIN, conv_gradient, conv_flops};
const dt_op dt_op_conv_input_grad = {"conv2d_input_grad", DT_OP_PLAIN, input_grad_gradient, input_grad_flops};
const dt_op dt_op_conv_weight_grad = {"conv2d_weight_grad", DT_OP_PLAIN, weight_grad_gradient,
                                      weight_grad_flops};

/* Whether what both directions have in common is right; else g is marked. Groups divide the first axis of
 * weight. */
static bool fits(const char *op, const dt_tensor *x, const dt_tensor *weight, const dt_conv_form *f)
{
    dt_graph *g = dt_graph_of(x);
    const dt_shape *w = &weight->shape;
    if (dt_graph_error(g))
        return false;
    if (x->shape.rank != 4 || w->rank != 4 || x->dtype != DT_F32 || weight->dtype != DT_F32)
        dt_graph_fail(g, op, "expected float32 x [n, h, w, c] and weight [., ., kh, kw], got %s %s and %s %s",
                      dt_dtype_name(x->dtype), dt_shape_text(&x->shape).chars, dt_dtype_name(weight->dtype),
                      dt_shape_text(w).chars);
    else if (f->groups < 1 || f->groups > LARGEST || x->shape.dim[3] % f->groups || w->dim[0] % f->groups)
        dt_graph_fail(g, op, "%d groups do not divide the channels of x %s and weight %s", f->groups,
                      dt_shape_text(&x->shape).chars, dt_shape_text(w).chars);
    for (int i = 0; i < 2 && !dt_graph_error(g); i++)
        if (f->stride[i] < 1 || f->dilation[i] < 1 || f->padding[i] < 0 || f->stride[i] > LARGEST ||
            f->dilation[i] > LARGEST || f->padding[i] > LARGEST || w->dim[2 + i] > LARGEST)
            dt_graph_fail(g, op,
                          "stride %d, dilation %d, padding %d, kernel %lld along %s: each must be at least 1 "
                          "(padding 0) and at most %d",
                          f->stride[i], f->dilation[i], f->padding[i], (long long)w->dim[2 + i],
                          i ? "the width" : "the height", LARGEST);
    return !dt_graph_error(g);
}

/* y + bias [out] */
static dt_tensor *biased(const char *op, dt_tensor *y, dt_tensor *bias)
{
    dt_graph *g = dt_graph_of(y);
    if (!bias || dt_graph_error(g))
        return y;
    if (bias->shape.rank != 1 || bias->shape.dim[0] != y->shape.dim[3] || bias->dtype != DT_F32)
        return dt_graph_fail(g, op, "expected a float32 bias of shape [%lld], got %s %s",
                             (long long)y->shape.dim[3], dt_dtype_name(bias->dtype),
                             dt_shape_text(&bias->shape).chars);
    return dt_add(y, bias);
}

/* Pixels under a kernel of k along axis i. */
static int64_t reach(const dt_conv_form *f, int i, int64_t k)
{
    return f->dilation[i] * (k - 1) + 1;
}

dt_tensor *dt_conv2d(dt_tensor *x, dt_tensor *weight, dt_tensor *bias, dt_conv_form form)
{
    const char *op = dt_op_conv.name;
    dt_graph *g = dt_graph_of(x);
    const dt_shape *w = &weight->shape;
    if (!fits(op, x, weight, &form))
        return &g->poison;
    if (x->shape.dim[3] != w->dim[1] * form.groups)
        return dt_graph_fail(g, op,
                             "x %s has %lld channels, a weight [out, in / groups, kh, kw] %s with %d groups "
                             "wants %lld",
                             dt_shape_text(&x->shape).chars, (long long)x->shape.dim[3],
                             dt_shape_text(w).chars, form.groups, (long long)w->dim[1] * form.groups);
    dt_shape y = dt_dims(x->shape.dim[0], 0, 0, w->dim[0]);
    for (int i = 0; i < 2; i++) {
        int64_t room = x->shape.dim[1 + i] + 2 * (int64_t)form.padding[i] - reach(&form, i, w->dim[2 + i]);
        if (room < 0)
            return dt_graph_fail(g, op, "a kernel %s with dilation %d and padding %d is larger than x %s",
                                 dt_shape_text(w).chars, form.dilation[i], form.padding[i],
                                 dt_shape_text(&x->shape).chars);
        y.dim[1 + i] = room / form.stride[i] + 1;
    }
    return biased(op, conv(form, y, x, weight), bias);
}

dt_tensor *dt_conv_transpose2d(dt_tensor *x, dt_tensor *weight, dt_tensor *bias, dt_conv_form form,
                               const int output_padding[2])
{
    const char *op = "conv_transpose2d";
    dt_graph *g = dt_graph_of(x);
    const dt_shape *w = &weight->shape;
    if (!fits(op, x, weight, &form))
        return &g->poison;
    if (x->shape.dim[3] != w->dim[0])
        return dt_graph_fail(g, op, "x %s does not go with a weight [in, out / groups, kh, kw] of shape %s",
                             dt_shape_text(&x->shape).chars, dt_shape_text(w).chars);
    dt_shape y = dt_dims(x->shape.dim[0], 0, 0, w->dim[1] * form.groups);
    for (int i = 0; i < 2; i++) {
        if (output_padding[i] < 0 || output_padding[i] >= form.stride[i])
            return dt_graph_fail(g, op, "output padding %d must be at least 0 and below the stride %d",
                                 output_padding[i], form.stride[i]);
        y.dim[1 + i] = (x->shape.dim[1 + i] - 1) * form.stride[i] - 2 * (int64_t)form.padding[i] +
                       reach(&form, i, w->dim[2 + i]) + output_padding[i];
    }
    return biased(op, input_grad(form, y, x, weight), bias);
}
