#include "kernels/ops/contrastive.h"

#include "kernels/ops.h"
#include "kernels/ops/composed.h"

enum { A, B, SCALE, BIAS };

/* 1 on the diagonal of an n x n matrix, else 0. */
static dt_tensor *identity(dt_graph *g, int64_t n)
{
    float *index = dt_arena_alloc(g->arena, sizeof *index * (size_t)n);
    if (!index)
        return dt_graph_fail(g, "contrastive", "out of memory while recording");
    for (int64_t i = 0; i < n; i++)
        index[i] = (float)i;
    return dt_equal(dt_constant(g, dt_dims(n, 1), index), dt_constant(g, dt_dims(1, n), index));
}

static dt_tensor *log_probabilities(dt_tensor *queries, dt_tensor *keys, dt_tensor *scale)
{
    return dt_log_softmax(dt_mul(dt_matmul(queries, keys, false, true), scale));
}

/* Second derivatives hold the n x n logits: they are for small n. */
static dt_tensor *infonce_composed(const void *attributes, dt_tensor *const *p)
{
    (void)attributes;
    dt_graph *g = dt_graph_of(p[A]);
    if (g->error)
        return p[A];
    int64_t n = p[A]->shape.dim[0];
    dt_tensor *both =
        dt_add(log_probabilities(p[A], p[B], p[SCALE]), log_probabilities(p[B], p[A], p[SCALE]));
    return dt_scale(dt_sum(dt_mul(identity(g, n), both), DT_ALL, false), -0.5f / (float)n);
}

/* -log sigmoid(z l) = softplus(-z l), z = 2 identity - 1. */
static dt_tensor *sigmoid_composed(const void *attributes, dt_tensor *const *p)
{
    (void)attributes;
    dt_graph *g = dt_graph_of(p[A]);
    if (g->error)
        return p[A];
    int64_t n = p[A]->shape.dim[0];
    dt_tensor *logits = dt_add(dt_mul(dt_matmul(p[A], p[B], false, true), p[SCALE]), p[BIAS]);
    dt_tensor *losses = dt_softplus(dt_mul(dt_affine(identity(g, n), -2, 1), logits));
    return dt_scale(dt_sum(losses, DT_ALL, false), 1 / (float)n);
}

/* Inputs a, b, scale, row_lse, column_lse, dloss. */
static void infonce_grad_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    dt_tensor *primal[] = {node->input[A], node->input[B], node->input[SCALE]};
    dx[5] = dt_composed_gradient(node, infonce_composed, 3, primal, node->input[5], dy);
    for (int i = A; i <= SCALE; i++)
        dx[i] = primal[i];
}

/* Inputs a, b, scale, bias, dloss. */
static void sigmoid_grad_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    dt_tensor *primal[] = {node->input[A], node->input[B], node->input[SCALE], node->input[BIAS]};
    dx[4] = dt_composed_gradient(node, sigmoid_composed, 4, primal, node->input[4], dy);
    for (int i = A; i <= BIAS; i++)
        dx[i] = primal[i];
}

/* Records the gradient node; its results have the shapes of the first inputs. */
static void gradient(const dt_op *op, dt_graph *g, dt_tensor *const *input, int inputs, dt_tensor **dx,
                     int results)
{
    dt_result result[DT_MAX_OUTPUTS];
    for (int i = 0; i < results; i++)
        result[i] = (dt_result){DT_F32, input[i]->shape};
    dx[0] = dt_record(g, op, NULL, 0, inputs, input, results, result);
    for (int i = 1; i < results; i++)
        dx[i] = dt_output_of(dx[0], i);
}

static void infonce_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    dt_tensor *loss = (dt_tensor *)&node->output[0], *const *in = node->input;
    dt_tensor *const inputs[] = {in[A], in[B], in[SCALE], dt_output_of(loss, 1), dt_output_of(loss, 2),
                                 dy[0]};
    if (dy[0])
        gradient(&dt_op_infonce_grad, g, inputs, 6, dx, 3);
}

static void sigmoid_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    dt_tensor *const *in = node->input;
    dt_tensor *const inputs[] = {in[A], in[B], in[SCALE], in[BIAS], dy[0]};
    gradient(&dt_op_sigmoid_loss_grad, g, inputs, 5, dx, 4);
}

static double logit_flops(const dt_node *node)
{
    const dt_shape *a = &node->input[A]->shape;
    return 2 * (double)a->dim[0] * (double)a->dim[0] * (double)a->dim[1];
}

/* The logits again, and two products of that size. */
static double grad_flops(const dt_node *node)
{
    return 3 * logit_flops(node);
}

const dt_op dt_op_infonce = {"infonce", DT_OP_PLAIN, infonce_gradient, logit_flops};
const dt_op dt_op_infonce_grad = {"infonce_grad", DT_OP_PLAIN, infonce_grad_gradient, grad_flops};
const dt_op dt_op_sigmoid_loss = {"sigmoid_loss", DT_OP_PLAIN, sigmoid_gradient, logit_flops};
const dt_op dt_op_sigmoid_loss_grad = {"sigmoid_loss_grad", DT_OP_PLAIN, sigmoid_grad_gradient, grad_flops};

static bool fits(const dt_op *op, const dt_tensor *a, const dt_tensor *b, const dt_tensor *scale,
                 const dt_tensor *bias)
{
    bool good = a->dtype == DT_F32 && b->dtype == DT_F32 && scale->dtype == DT_F32 && bias->dtype == DT_F32 &&
                a->shape.rank == 2 && dt_same_shape(&a->shape, &b->shape) && !scale->shape.rank &&
                !bias->shape.rank;
    if (!good)
        dt_graph_fail(dt_graph_of(a), op->name,
                      "expected float32 features of one shape [n, d] and scalars, got %s %s, %s %s, scale %s "
                      "and bias %s",
                      dt_dtype_name(a->dtype), dt_shape_text(&a->shape).chars, dt_dtype_name(b->dtype),
                      dt_shape_text(&b->shape).chars, dt_shape_text(&scale->shape).chars,
                      dt_shape_text(&bias->shape).chars);
    return good;
}

dt_tensor *dt_infonce(dt_tensor *a, dt_tensor *b, dt_tensor *scale)
{
    dt_graph *g = dt_graph_of(a);
    if (!fits(&dt_op_infonce, a, b, scale, scale))
        return &g->poison;
    dt_shape rows = dt_dims(a->shape.dim[0]);
    const dt_result results[] = {{DT_F32, {.rank = 0}}, {DT_F32, rows}, {DT_F32, rows}};
    return dt_record(g, &dt_op_infonce, NULL, 0, 3, (dt_tensor *[]){a, b, scale}, 3, results);
}

dt_tensor *dt_sigmoid_loss(dt_tensor *a, dt_tensor *b, dt_tensor *scale, dt_tensor *bias)
{
    dt_graph *g = dt_graph_of(a);
    if (!fits(&dt_op_sigmoid_loss, a, b, scale, bias))
        return &g->poison;
    return dt_record1(g, &dt_op_sigmoid_loss, NULL, 0, (dt_shape){.rank = 0}, a, b, scale, bias);
}
