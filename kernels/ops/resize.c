#include "kernels/ops/resize.h"

#include "kernels/ops.h"

static void resize_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    const dt_op *adjoint = node->op == &dt_op_resize ? &dt_op_resize_grad : &dt_op_resize;
    dx[0] = dt_record1(g, adjoint, node->attributes, sizeof(dt_resize_form), node->input[0]->shape, dy[0],
                       NULL, NULL, NULL);
}

const dt_op dt_op_resize = {"resize", DT_OP_PLAIN, resize_gradient, NULL};
const dt_op dt_op_resize_grad = {"resize_grad", DT_OP_PLAIN, resize_gradient, NULL};

dt_tensor *dt_resize(dt_tensor *x, int height, int width, dt_resize_kind how, bool align_corners)
{
    const char *op = dt_op_resize.name;
    dt_graph *g = dt_graph_of(x);
    if (dt_graph_error(g))
        return x;
    if (x->shape.rank != 4 || x->dtype != DT_F32)
        return dt_graph_fail(g, op, "expected float32 [n, h, w, c], got %s %s", dt_dtype_name(x->dtype),
                             dt_shape_text(&x->shape).chars);
    if (height < 1 || width < 1)
        return dt_graph_fail(g, op, "cannot resize %s to %d x %d", dt_shape_text(&x->shape).chars, height,
                             width);
    if (how != DT_RESIZE_NEAREST && how != DT_RESIZE_BILINEAR && how != DT_RESIZE_BICUBIC)
        return dt_graph_fail(g, op, "unknown interpolation %d", (int)how);
    if (how == DT_RESIZE_NEAREST && align_corners)
        return dt_graph_fail(g, op, "align_corners is for bilinear and bicubic only");
    if (x->shape.dim[1] == height && x->shape.dim[2] == width)
        return x;
    dt_resize_form form = {how, align_corners};
    dt_shape y = dt_dims(x->shape.dim[0], height, width, x->shape.dim[3]);
    return dt_record1(g, &dt_op_resize, &form, sizeof form, y, x, NULL, NULL, NULL);
}
