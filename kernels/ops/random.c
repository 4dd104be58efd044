#include "kernels/ops/random.h"

#include "kernels/ops.h"

const dt_op dt_op_normals = {.name = "random_normals"};
const dt_op dt_op_uniforms = {.name = "random_uniforms"};

static dt_tensor *draw(dt_graph *g, const dt_op *op, dt_shape shape)
{
    dt_random_form form = {.stream = (uint32_t)dt_random_stream(g)};
    return dt_record(g, op, &form, sizeof form, 0, NULL, 1, &(dt_result){DT_F32, shape});
}

dt_tensor *dt_random_normals(dt_graph *g, dt_shape shape)
{
    return draw(g, &dt_op_normals, shape);
}

dt_tensor *dt_random_uniforms(dt_graph *g, dt_shape shape)
{
    return draw(g, &dt_op_uniforms, shape);
}

static dt_tensor *dropout(dt_tensor *x, const dt_random_form *form)
{
    return dt_record1(dt_graph_of(x), &dt_op_dropout, form, sizeof *form, x->shape, x, NULL, NULL, NULL);
}

/* The same mask: the same stream. */
static void dropout_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    dx[0] = dropout(dy[0], node->attributes);
}

const dt_op dt_op_dropout = {"dropout", DT_OP_IN_PLACE, dropout_gradient, NULL};

dt_tensor *dt_dropout(dt_tensor *x, float rate)
{
    dt_graph *g = dt_graph_of(x);
    if (x->dtype != DT_F32 || !(rate >= 0 && rate < 1))
        return dt_graph_fail(g, "dropout", "expected float32 and a rate in [0, 1), got %s %s and %g",
                             dt_dtype_name(x->dtype), dt_shape_text(&x->shape).chars, (double)rate);
    if (rate == 0)
        return x;
    return dropout(x, &(dt_random_form){.stream = (uint32_t)dt_random_stream(g), .rate = rate});
}
