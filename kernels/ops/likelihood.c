#include "kernels/ops/likelihood.h"

#include "kernels/ops.h"
#include "kernels/ops/composed.h"

enum { LOGITS, X };

/* A tensor of `rows` rows as [n, rows / n, d]. */
static dt_tensor *by_sample(dt_tensor *t, int64_t n, int64_t rows)
{
    return dt_reshape(t, dt_dims(n, rows / n, dt_count(&t->shape) / rows));
}

static dt_tensor *composed(const void *attributes, dt_tensor *const *p)
{
    (void)attributes;
    int64_t n = p[X]->shape.dim[0], rows = p[LOGITS]->shape.dim[0];
    dt_tensor *l = by_sample(p[LOGITS], n, rows), *x = by_sample(p[X], n, n);
    return dt_reshape(dt_sum(dt_sub(dt_mul(x, l), dt_softplus(l)), 1u << 2, false), dt_dims(rows));
}

/* Inputs logits, x, upstream. */
static void grad_gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    dt_tensor *primal[] = {node->input[LOGITS], node->input[X]};
    dx[2] = dt_composed_gradient(node, composed, 2, primal, node->input[2], dy);
    dx[LOGITS] = primal[LOGITS];
    dx[X] = primal[X];
}

static void gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    dt_tensor *logits = node->input[LOGITS], *x = node->input[X];
    int64_t n = x->shape.dim[0], rows = logits->shape.dim[0];
    dx[LOGITS] =
        dt_record1(g, &dt_op_bernoulli_rows_grad, NULL, 0, logits->shape, logits, x, dy[0], NULL);
    dt_tensor *slope = dt_mul(by_sample(logits, n, rows), by_sample(dy[0], n, rows));
    dx[X] = dt_reshape(dt_sum(slope, 1u << 1, false), x->shape);
}

const dt_op dt_op_bernoulli_rows = {"bernoulli_rows", DT_OP_PLAIN, gradient, NULL};
const dt_op dt_op_bernoulli_rows_grad = {"bernoulli_rows_grad", DT_OP_IN_PLACE, grad_gradient, NULL};

dt_tensor *dt_bernoulli_rows(dt_tensor *logits, dt_tensor *x)
{
    dt_shape one = logits->shape;
    bool good = logits->dtype == DT_F32 && x->dtype == DT_F32 && one.rank > 0 && x->shape.rank == one.rank;
    int64_t rows = good ? one.dim[0] : 0;
    one.dim[0] = good ? x->shape.dim[0] : 0;
    if (!good || !dt_same_shape(&one, &x->shape) || rows % one.dim[0])
        return dt_graph_fail(dt_graph_of(logits), dt_op_bernoulli_rows.name,
                             "expected float32 logits [n k, ...] for x [n, ...], got %s %s and %s %s",
                             dt_dtype_name(logits->dtype), dt_shape_text(&logits->shape).chars,
                             dt_dtype_name(x->dtype), dt_shape_text(&x->shape).chars);
    return dt_record1(dt_graph_of(logits), &dt_op_bernoulli_rows, NULL, 0, dt_dims(rows), logits, x, NULL, NULL);
}
