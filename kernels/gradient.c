/* Reverse-mode differentiation of a graph into the same graph. Nodes are visited from last to first; every op
 * says how the gradient of its results becomes that of its arguments, in recorded nodes. */
#include "kernels/graph.h"
#include "kernels/op.h"
#include "kernels/ops.h"

#include <stdlib.h>

/* depends[t]: tensor t is one of wrt, or is computed from one through differentiable arguments. */
static void find_dependent(const dt_graph *g, int nodes, dt_tensor *const *wrt, int count, bool *depends)
{
    for (int i = 0; i < count; i++)
        if (wrt[i]->id >= 0)
            depends[wrt[i]->id] = true;
    for (int n = 0; n < nodes; n++) {
        const dt_node *node = g->node[n];
        bool any = false;
        for (int i = 0; i < node->inputs; i++)
            any |= depends[node->input[i]->id];
        for (int j = 0; any && node->op->gradient && j < node->outputs; j++)
            depends[node->output[j].id] |= node->output[j].dtype == DT_F32;
    }
}

static void accumulate(dt_tensor **gradient, const dt_tensor *x, dt_tensor *dx)
{
    dt_graph *g = dt_graph_of(x);
    if (!dt_same_shape(&x->shape, &dx->shape)) {
        dt_graph_fail(g, "gradient", "%s gives %s for an argument of shape %s", dx->node->op->name,
                      dt_shape_text(&dx->shape).chars, dt_shape_text(&x->shape).chars);
        return;
    }
    gradient[x->id] = gradient[x->id] ? dt_add(gradient[x->id], dx) : dx;
}

static void visit(dt_graph *g, const dt_node *node, const bool *depends, dt_tensor **gradient)
{
    dt_tensor *dy[DT_MAX_OUTPUTS] = {0};
    bool flows = false, wanted = false;
    for (int j = 0; j < node->outputs; j++)
        flows |= (dy[j] = gradient[node->output[j].id]) != NULL;
    for (int i = 0; i < node->inputs; i++)
        wanted |= depends[node->input[i]->id];
    if (!flows || !wanted || !node->op->gradient)
        return;
    dt_tensor **dx = dt_arena_alloc(g->arena, sizeof *dx * (size_t)node->inputs);
    if (!dx) {
        dt_graph_fail(g, "gradient", "out of memory while recording");
        return;
    }
    g->label = node->label;
    node->op->gradient(g, node, dy, dx);
    for (int i = 0; i < node->inputs && !g->error; i++)
        if (dx[i] && depends[node->input[i]->id])
            accumulate(gradient, node->input[i], dx[i]);
}

void dt_gradient_from(dt_tensor *const *ys, dt_tensor *const *dys, int results, dt_tensor *const *wrt, int count,
                      dt_tensor **gradients)
{
    dt_graph *g = dt_graph_of(results ? ys[0] : wrt[0]);
    for (int i = 0; i < count; i++)
        gradients[i] = &g->poison;
    if (g->error)
        return;
    int nodes = g->nodes;
    const char *label = g->label;
    bool *depends = calloc((size_t)g->tensors, sizeof *depends);
    dt_tensor **gradient = calloc((size_t)g->tensors, sizeof *gradient);
    if (!depends || !gradient) {
        dt_graph_fail(g, "gradient", "out of memory while recording");
    } else {
        find_dependent(g, nodes, wrt, count, depends);
        for (int j = 0; j < results; j++)
            accumulate(gradient, ys[j], dys[j]);
        for (int n = nodes - 1; n >= 0 && !g->error; n--)
            visit(g, g->node[n], depends, gradient);
        g->label = label;
        for (int i = 0; i < count && !g->error; i++)
            gradients[i] = gradient[wrt[i]->id] ? gradient[wrt[i]->id] : dt_fill(g, wrt[i]->shape, 0);
    }
    free(depends);
    free(gradient);
}

void dt_gradient(dt_tensor *loss, dt_tensor *const *wrt, int count, dt_tensor **gradients)
{
    dt_graph *g = dt_graph_of(loss);
    dt_tensor *one = dt_fill(g, loss->shape, 1);
    if (dt_count(&loss->shape) != 1)
        dt_graph_fail(g, "gradient", "the loss must be a scalar, not %s", dt_shape_text(&loss->shape).chars);
    dt_gradient_from(&loss, &one, 1, wrt, count, gradients);
}
