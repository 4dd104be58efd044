#include "kernels/ops/norm.h"

#include "kernels/ops.h"
#include "kernels/ops/composed.h"
#include "kernels/params.h"

/* x, gamma, beta of the compositions below: beta only moves y, so that a gradient node does without it. */
enum { X, GAMMA, BETA };

/* (x - mean) / sqrt(var + eps) over the masked axes. */
static dt_tensor *standardise(dt_tensor *x, unsigned axes, float eps)
{
    dt_tensor *centred = dt_sub(x, dt_mean(x, axes, true));
    dt_tensor *variance = dt_mean(dt_square(centred), axes, true);
    return dt_mul(centred, dt_rsqrt(dt_affine(variance, 1, eps)));
}

static dt_tensor *layer_norm_composed(const void *attributes, dt_tensor *const *p)
{
    const dt_norm_form *form = attributes;
    dt_tensor *normal = standardise(p[X], 1u << (p[X]->shape.rank - 1), form->eps);
    return dt_add(dt_mul(normal, p[GAMMA]), p[BETA]);
}

static dt_tensor *group_norm_composed(const void *attributes, dt_tensor *const *p)
{
    const dt_norm_form *form = attributes;
    dt_shape shape = p[X]->shape;
    int64_t n = shape.dim[0], c = shape.dim[shape.rank - 1], groups = form->groups;
    dt_tensor *grouped = dt_reshape(p[X], dt_dims(n, dt_span(&shape, 1, shape.rank - 1), groups, c / groups));
    dt_tensor *normal = dt_reshape(standardise(grouped, 1u << 1 | 1u << 3, form->eps), shape);
    return dt_add(dt_mul(normal, p[GAMMA]), p[BETA]);
}

static dt_tensor *batch_norm_composed(const void *attributes, dt_tensor *const *p)
{
    const dt_norm_form *form = attributes;
    dt_tensor *normal = standardise(p[X], (1u << (p[X]->shape.rank - 1)) - 1, form->eps);
    return dt_add(dt_mul(normal, p[GAMMA]), p[BETA]);
}

/* Second derivative of x, gamma, (two statistics), dy -> dx, dgamma, dbeta. The statistics are functions of
 * x, and their share is in what x gets. */
static void grad_gradient(dt_composition *f, dt_graph *g, const dt_node *node, dt_tensor *const *dy,
                          dt_tensor **dx)
{
    dt_tensor *primal[] = {node->input[0], node->input[1], dt_fill(g, node->input[1]->shape, 0)};
    dx[4] = dt_composed_gradient(node, f, 3, primal, node->input[4], dy);
    dx[0] = primal[X];
    dx[1] = primal[GAMMA];
}

static void layer_norm_grad_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    grad_gradient(layer_norm_composed, g, node, dy, dx);
}

static void group_norm_grad_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    grad_gradient(group_norm_composed, g, node, dy, dx);
}

static void batch_norm_grad_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    grad_gradient(batch_norm_composed, g, node, dy, dx);
}

const dt_op dt_op_layer_norm_grad = {"layer_norm_grad", DT_OP_PLAIN, layer_norm_grad_gradient, NULL};
const dt_op dt_op_group_norm_grad = {"group_norm_grad", DT_OP_PLAIN, group_norm_grad_gradient, NULL};
const dt_op dt_op_batch_norm_grad = {"batch_norm_grad", DT_OP_PLAIN, batch_norm_grad_gradient, NULL};

/* Only y is ever handed out for differentiation, so that the statistics have no upstream. */
static void gradient(const dt_op *op, dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    dt_tensor *x = node->input[0], *gamma = node->input[1], *y = (dt_tensor *)&node->output[0];
    if (!dy[0])
        return;
    dt_tensor *const inputs[] = {x, gamma, dt_output_of(y, 1), dt_output_of(y, 2), dy[0]};
    const dt_result results[] = {{DT_F32, x->shape}, {DT_F32, gamma->shape}, {DT_F32, gamma->shape}};
    dx[0] = dt_record(g, op, node->attributes, sizeof(dt_norm_form), 5, inputs, 3, results);
    dx[1] = dt_output_of(dx[0], 1);
    dx[2] = dt_output_of(dx[0], 2);
}

static void layer_norm_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    gradient(&dt_op_layer_norm_grad, g, node, dy, dx);
}

static void group_norm_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    gradient(&dt_op_group_norm_grad, g, node, dy, dx);
}

static void batch_norm_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    gradient(&dt_op_batch_norm_grad, g, node, dy, dx);
}

const dt_op dt_op_layer_norm = {"layer_norm", DT_OP_PLAIN, layer_norm_gradient, NULL};
const dt_op dt_op_group_norm = {"group_norm", DT_OP_PLAIN, group_norm_gradient, NULL};
const dt_op dt_op_batch_norm = {"batch_norm", DT_OP_PLAIN, batch_norm_gradient, NULL};

static bool is_vector(const dt_tensor *v, int64_t width)
{
    return v->dtype == DT_F32 && v->shape.rank == 1 && v->shape.dim[0] == width;
}

/* float32 x of the rank or more, gamma and beta as wide as its last axis. */
static bool fits(const dt_op *op, const dt_tensor *x, const dt_tensor *gamma, const dt_tensor *beta, int rank)
{
    int64_t width = x->shape.rank ? x->shape.dim[x->shape.rank - 1] : 0;
    bool good =
        x->dtype == DT_F32 && x->shape.rank >= rank && is_vector(gamma, width) && is_vector(beta, width);
    if (!good)
        dt_graph_fail(dt_graph_of(x), op->name,
                      "expected float32 x of %d or more axes, and gamma and beta of its last axis; got %s "
                      "%s, %s and %s",
                      rank, dt_dtype_name(x->dtype), dt_shape_text(&x->shape).chars,
                      dt_shape_text(&gamma->shape).chars, dt_shape_text(&beta->shape).chars);
    return good;
}

/* y of the node, followed by its two statistics of the given shape. */
static dt_tensor *record(const dt_op *op, dt_norm_form form, dt_tensor *x, dt_tensor *gamma, dt_tensor *beta,
                         dt_shape statistics)
{
    const dt_result results[] = {{DT_F32, x->shape}, {DT_F32, statistics}, {DT_F32, statistics}};
    return dt_record(dt_graph_of(x), op, &form, sizeof form, 3, (dt_tensor *[]){x, gamma, beta}, 3, results);
}

dt_tensor *dt_layer_norm(dt_tensor *x, dt_tensor *gamma, dt_tensor *beta, float eps)
{
    if (!fits(&dt_op_layer_norm, x, gamma, beta, 1))
        return &dt_graph_of(x)->poison;
    dt_shape rows = dt_dims(dt_span(&x->shape, 0, x->shape.rank - 1));
    return record(&dt_op_layer_norm, (dt_norm_form){.eps = eps}, x, gamma, beta, rows);
}

dt_tensor *dt_group_norm(dt_tensor *x, dt_tensor *gamma, dt_tensor *beta, int groups, float eps)
{
    dt_graph *g = dt_graph_of(x);
    if (!fits(&dt_op_group_norm, x, gamma, beta, 2))
        return &g->poison;
    int64_t c = x->shape.dim[x->shape.rank - 1];
    if (groups < 1 || c % groups)
        return dt_graph_fail(g, dt_op_group_norm.name, "%d groups do not divide the %lld channels of %s",
                             groups, (long long)c, dt_shape_text(&x->shape).chars);
    dt_norm_form form = {.eps = eps, .groups = groups};
    return record(&dt_op_group_norm, form, x, gamma, beta, dt_dims(x->shape.dim[0], groups));
}

static dt_tensor *evaluate(dt_tensor *x, dt_tensor *gamma, dt_tensor *beta, const dt_batch_norm_state *state)
{
    dt_tensor *scale = dt_mul(gamma, dt_rsqrt(dt_affine(state->running_var, 1, state->eps)));
    dt_tensor *shift = dt_sub(beta, dt_mul(state->running_mean, scale));
    return dt_add(dt_mul(x, scale), shift);
}

/* running := (1 - momentum) running + momentum factor batch. */
static void follow(dt_tensor *running, dt_tensor *batch, float momentum, double factor)
{
    dt_update(running, dt_add(dt_scale(running, 1 - momentum), dt_scale(batch, (float)(momentum * factor))));
}

dt_tensor *dt_batch_norm(dt_tensor *x, dt_tensor *gamma, dt_tensor *beta, dt_batch_norm_state state)
{
    dt_graph *g = dt_graph_of(x);
    if (!fits(&dt_op_batch_norm, x, gamma, beta, 2))
        return &g->poison;
    int64_t c = x->shape.dim[x->shape.rank - 1], rows = dt_span(&x->shape, 0, x->shape.rank - 1);
    if (!is_vector(state.running_mean, c) || !is_vector(state.running_var, c))
        return dt_graph_fail(g, dt_op_batch_norm.name,
                             "expected running statistics of shape [%lld], got %s and %s", (long long)c,
                             dt_shape_text(&state.running_mean->shape).chars,
                             dt_shape_text(&state.running_var->shape).chars);
    if (!state.training)
        return evaluate(x, gamma, beta, &state);
    if (rows < 2)
        return dt_graph_fail(g, dt_op_batch_norm.name, "training needs two or more values a channel, got %s",
                             dt_shape_text(&x->shape).chars);
    dt_tensor *y = record(&dt_op_batch_norm, (dt_norm_form){.eps = state.eps}, x, gamma, beta, dt_dims(c));
    follow(state.running_mean, dt_output_of(y, 1), state.momentum, 1);
    follow(state.running_var, dt_output_of(y, 2), state.momentum, (double)rows / (double)(rows - 1));
    return y;
}
