/* Joining nodes that one kernel can do in one pass over memory. A fused node has the output of the last of its parts and
 * mostly stands at its place; the other parts go. Only a result that nothing else reads may vanish. */
#include "kernels/ops.h"
#include "kernels/planning.h"

#include <stdlib.h>
#include <string.h>

/* The scheduled node that makes x, and its place in the list. */
typedef struct maker {
    const dt_node *node;
    int place;
} maker;

/* A node that stands in for `last`: same output, other op and inputs. NULL: no memory. */
static dt_node *replace(dt_schedule_list *list, const dt_node *last, const dt_op *op, dt_tensor *const *input,
                        int inputs, const void *attributes, size_t size)
{
    dt_node *node = dt_arena_alloc(list->arena, sizeof *node);
    dt_tensor **copy = dt_arena_alloc(list->arena, sizeof *copy * (size_t)inputs);
    void *form = dt_arena_alloc(list->arena, size);
    if (!node || !copy || !form)
        return NULL;
    memcpy(copy, input, sizeof *copy * (size_t)inputs);
    memcpy(form, attributes, size);
    *node = *last;
    node->op = op;
    node->input = copy;
    node->inputs = inputs;
    node->attributes = form;
    return node;
}

static dt_activation activation_of(const dt_node *node)
{
    switch (dt_pointwise_code(node->op)) {
    case DT_PW_LEAKY_RELU:
        return ((const dt_pw_numbers *)node->attributes)->p == 0 ? DT_ACT_RELU : DT_ACT_NONE;
    case DT_PW_GELU:
        return DT_ACT_GELU;
    case DT_PW_GELU_TANH:
        return DT_ACT_GELU_TANH;
    case DT_PW_QUICK_GELU:
        return DT_ACT_QUICK_GELU;
    default:
        return DT_ACT_NONE;
    }
}

/* What makes x for one reader alone; NULL: nothing that is scheduled, or others read x too. */
static const maker *private_maker(const dt_schedule_list *list, const maker *makers, const dt_tensor *x)
{
    const maker *m = &makers[x->id];
    return m->node && list->uses[x->id] == 1 ? m : NULL;
}

/* Puts a fused node where the last of its parts, node k, stands, and takes away the one before. */
static const dt_node *put_last(dt_schedule_list *list, int k, int before, const dt_node *fused)
{
    if (fused) {
        list->node[before] = NULL;
        list->node[k] = fused;
    }
    return fused;
}

/* Gives a fused node (NULL: there is none) the result of node k, its last part, which goes, and puts it where the first stands, because
 * its other results may be read before k. */
static void put_first(dt_schedule_list *list, maker *makers, int k, int first, dt_node *fused)
{
    if (!fused)
        return;
    fused->output[0] = list->node[k]->output[0];
    for (int o = 0; o < fused->outputs; o++)
        makers[fused->output[o].id] = (maker){fused, first};
    list->node[first] = fused;
    list->node[k] = NULL;
}

/* linear then activation; linear then sum with a residual. */
static const dt_node *fuse_linear(dt_schedule_list *list, maker *makers, int k)
{
    const dt_node *node = list->node[k];
    bool sum = dt_pointwise_code(node->op) == DT_PW_ADD;
    for (int i = 0; i < (sum ? 2 : 1) && i < node->inputs; i++) {
        const maker *m = private_maker(list, makers, node->input[i]);
        if (!m || m->node->op != &dt_op_linear)
            continue;
        dt_linear_form form = *(const dt_linear_form *)m->node->attributes;
        dt_tensor *input[4] = {0};
        int inputs = m->node->inputs;
        memcpy(input, m->node->input, sizeof *input * (size_t)inputs);
        dt_tensor *other = sum ? node->input[1 - i] : NULL;
        if (form.residual)
            continue;
        if (sum && dt_same_shape(&other->shape, &node->input[i]->shape)) {
            form.residual = true;
            input[inputs++] = other;
        } else if (!sum && form.activation == DT_ACT_NONE && activation_of(node) != DT_ACT_NONE) {
            form.activation = activation_of(node);
        } else {
            continue;
        }
        return put_last(list, k, m->place, replace(list, node, &dt_op_linear, input, inputs, &form, sizeof form));
    }
    return NULL;
}

/* Training's GELU by tanh: its slope is multiplied into the product that the gradient comes from. */
static const dt_node *fuse_slope(dt_schedule_list *list, maker *makers, int k)
{
    const dt_node *node = list->node[k];
    if (dt_pointwise_code(node->op) != DT_PW_GELU_TANH_GRAD ||
        !dt_same_shape(&node->input[0]->shape, &node->input[1]->shape))
        return NULL;
    const maker *m = private_maker(list, makers, node->input[1]), *view = m && m->node->op->flags & DT_OP_VIEW ? m : NULL;
    if (view)
        m = private_maker(list, makers, view->node->input[0]);
    if (!m || m->node->op != &dt_op_matmul || m->node->inputs != 2 || m->node->output[0].shape.rank != 2)
        return NULL;
    dt_matmul_form form = *(const dt_matmul_form *)m->node->attributes;
    form.slope = true;
    dt_tensor *const input[] = {m->node->input[0], m->node->input[1], node->input[0]};
    const dt_node *fused = replace(list, node, &dt_op_matmul, input, 3, &form, sizeof form);
    if (fused && view)
        list->node[view->place] = NULL;
    return put_last(list, k, m->place, fused);
}

/* Training's GELU by tanh: the linear layer before it gives both, the value before the activation for the slope later. The fused
 * node stands where the layer was. */
static const dt_node *fuse_before(dt_schedule_list *list, maker *makers, int k)
{
    const dt_node *node = list->node[k];
    const maker *m = &makers[node->input[0]->id];
    if (activation_of(node) != DT_ACT_GELU_TANH || !m->node || m->node->op != &dt_op_linear)
        return NULL;
    dt_linear_form form = *(const dt_linear_form *)m->node->attributes;
    if (form.residual || form.activation != DT_ACT_NONE)
        return NULL;
    form.activation = DT_ACT_GELU_TANH;
    form.before = true;
    dt_node *fused = replace(list, m->node, &dt_op_linear, m->node->input, m->node->inputs, &form, sizeof form);
    if (fused) {
        fused->outputs = 2;
        fused->output[1] = fused->output[0];
        fused->output[1].output = 1;
    }
    put_first(list, makers, k, m->place, fused);
    return NULL;
}

/* batch or group norm then relu; the statistics stay results. */
static const dt_node *fuse_norm(dt_schedule_list *list, maker *makers, int k)
{
    const dt_node *node = list->node[k];
    const maker *m = private_maker(list, makers, node->input[0]);
    if (activation_of(node) != DT_ACT_RELU || !m ||
        (m->node->op != &dt_op_batch_norm && m->node->op != &dt_op_group_norm) || node->input[0]->output != 0)
        return NULL;
    dt_norm_form form = *(const dt_norm_form *)m->node->attributes;
    if (form.relu)
        return NULL;
    form.relu = true;
    dt_node *fused = replace(list, m->node, m->node->op, m->node->input, m->node->inputs, &form, sizeof form);
    put_first(list, makers, k, m->place, fused);
    return NULL;
}

/* The sum of a layer norm's gradient with another that came before it, as where a residual branch begins. */
static const dt_node *fuse_norm_grad(dt_schedule_list *list, maker *makers, int k)
{
    const dt_node *node = list->node[k];
    for (int i = 0; i < 2 && dt_pointwise_code(node->op) == DT_PW_ADD; i++) {
        dt_tensor *dx = node->input[i], *other = node->input[1 - i];
        const maker *m = private_maker(list, makers, dx), *before = &makers[other->id];
        if (!m || m->node->op != &dt_op_layer_norm_grad || m->node->inputs != 5 || dx->output != 0 ||
            !dt_same_shape(&dx->shape, &other->shape) ||
            (before->node && before->place >= m->place))
            continue;
        dt_tensor *input[6];
        memcpy(input, m->node->input, sizeof *input * 5);
        input[5] = other;
        dt_node *fused = replace(list, m->node, m->node->op, input, 6, m->node->attributes, sizeof(dt_norm_form));
        put_first(list, makers, k, m->place, fused);
        return NULL;
    }
    return NULL;
}

static bool is_chain(const dt_node *node)
{
    return node && (node->op == &dt_op_chain || dt_pointwise_code(node->op) >= 0);
}

typedef struct joined {
    dt_chain chain;
    dt_tensor *input[DT_CHAIN_INPUTS];
    int inputs;
} joined;

static int operand_index(joined *j, dt_tensor *x)
{
    for (int i = 0; i < j->inputs; i++)
        if (j->input[i] == x)
            return i;
    if (j->inputs == DT_CHAIN_INPUTS)
        return -1;
    j->input[j->inputs] = x;
    return j->inputs++;
}

/* Appends a node's chain; `skip` is an input whose value is result `result` of j already. False: no room. */
static bool append(joined *j, const dt_node *node, const dt_tensor *skip, int result)
{
    dt_chain part = dt_chain_of(node);
    int shift = j->chain.steps, place[DT_CHAIN_INPUTS];
    if (shift + part.steps > DT_CHAIN_STEPS)
        return false;
    for (int i = 0; i < node->inputs; i++) {
        place[i] = node->input[i] == skip ? ~result : operand_index(j, node->input[i]);
        if (node->input[i] != skip && place[i] < 0)
            return false;
    }
    for (int k = 0; k < part.steps; k++) {
        dt_instruction step = part.step[k];
        step.a = step.a < 0 ? ~(~step.a + shift) : place[step.a];
        step.b = step.b < 0 ? ~(~step.b + shift) : place[step.b];
        j->chain.step[j->chain.steps++] = step;
    }
    return true;
}

/* Takes one pointwise maker of an input into the node. */
static const dt_node *fuse_chain(dt_schedule_list *list, maker *makers, int k)
{
    const dt_node *node = list->node[k];
    for (int i = 0; i < node->inputs; i++) {
        dt_tensor *x = node->input[i];
        const maker *m = private_maker(list, makers, x);
        if (!m || !is_chain(m->node) || !dt_same_shape(&x->shape, &node->output[0].shape))
            continue;
        joined j = {0};
        if (!append(&j, m->node, NULL, 0) || !append(&j, node, x, j.chain.steps - 1))
            continue;
        return put_last(list, k, m->place,
                        replace(list, node, &dt_op_chain, j.input, j.inputs, &j.chain, sizeof j.chain));
    }
    return NULL;
}

/* Where one of a linear layer's parameters is frozen, what only its gradient would need is not computed. */
static bool halve_linear_grads(dt_schedule_list *list)
{
    for (int k = 0; k < list->count; k++) {
        const dt_node *node = list->node[k];
        if (node->op != &dt_op_linear_grad || (list->uses[node->output[0].id] && list->uses[node->output[1].id]))
            continue;
        bool weight = list->uses[node->output[0].id];
        const dt_matmul_form product = {.transpose_a = true};
        const dt_axes rows = {1};
        dt_tensor *const turned[] = {node->input[1], node->input[0]};
        dt_node *half = weight ? replace(list, node, &dt_op_matmul, turned, 2, &product, sizeof product)
                               : replace(list, node, &dt_op_sum, turned, 1, &rows, sizeof rows);
        if (!half)
            return false;
        half->outputs = 1;
        half->output[0] = node->output[weight ? 0 : 1];
        list->node[k] = half;
    }
    return true;
}

static void squeeze(dt_schedule_list *list)
{
    int kept = 0;
    for (int k = 0; k < list->count; k++)
        if (list->node[k])
            list->node[kept++] = list->node[k];
    list->count = kept;
}

/* Tries to join node k, a pointwise one, with what makes its inputs. Returns the node that stands at k then, for another
 * try; NULL: nothing more to do at k. */
typedef const dt_node *fuse_rule(dt_schedule_list *list, maker *makers, int k);

static bool sweep(dt_schedule_list *list, fuse_rule *rule)
{
    maker *makers = calloc((size_t)list->graph->tensors + 1, sizeof *makers);
    if (!makers)
        return false;
    for (int k = 0; k < list->count; k++) {
        while (is_chain(list->node[k]) && rule(list, makers, k))
            ;
        const dt_node *node = list->node[k];
        for (int o = 0; node && o < node->outputs; o++)
            makers[node->output[o].id] = (maker){node, k};
    }
    free(makers);
    squeeze(list);
    return true;
}

bool dt_fuse(dt_schedule_list *list)
{
    return halve_linear_grads(list) && sweep(list, fuse_linear) && sweep(list, fuse_before) && sweep(list, fuse_slope) && sweep(list, fuse_norm) &&
           sweep(list, fuse_norm_grad) && sweep(list, fuse_chain);
}
