/* Finding the first number that is not finite: the plan is run once more, with a look after every kernel. */
#include "kernels/ops.h"
#include "kernels/planning.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Elements [from, from + n) of a float tensor as float32. */
static void read_part(const dt_plan *plan, const dt_tensor *x, const char *memory, int64_t from, int64_t n, float *part)
{
    size_t each = dt_dtype_size(x->dtype);
    plan->backend->read(part, memory + each * (size_t)from, each * (size_t)n);
    for (int64_t i = n - 1; i >= 0 && x->dtype == DT_BF16; i--) { /* from the end: the narrow ones lie in the same place */
        uint16_t half;
        memcpy(&half, (const char *)part + sizeof half * (size_t)i, sizeof half);
        uint32_t bits = (uint32_t)half << 16;
        memcpy(&part[i], &bits, sizeof bits);
    }
}

/* The first float of x that is not finite, and its value; -1: all are. */
static int64_t first_bad(const dt_plan *plan, const dt_tensor *x, const void *memory, float *value)
{
    enum { PART = 4096 };
    float part[PART];
    int64_t count = x->dtype == DT_F32 || x->dtype == DT_BF16 ? dt_count(&x->shape) : 0;
    for (int64_t from = 0; from < count; from += PART) {
        int64_t n = count - from < PART ? count - from : PART;
        int bad = 0;
        read_part(plan, x, memory, from, n, part);
        for (int64_t i = 0; i < n; i++)
            bad |= !(fabsf(part[i]) <= FLT_MAX);
        for (int64_t i = 0; bad && i < n; i++)
            if (!isfinite(part[i])) {
                *value = part[i];
                return from + i;
            }
    }
    return -1;
}

static const char *text_of(float value)
{
    return isnan(value) ? "nan" : value > 0 ? "inf" : "-inf";
}

/* What is wrong with memory that is given to the plan; NULL: nothing. */
static const char *leaf_trouble(dt_plan *plan, const dt_tensor *x, const void *memory)
{
    const dt_node *node = x->node;
    float value;
    int64_t at = first_bad(plan, x, memory, &value);
    if (at < 0)
        return NULL;
    const char *kind = "a constant", *name = "";
    if (node->op == &dt_op_input) {
        kind = "the input ", name = node->attributes;
    } else if (node->op == &dt_op_param) {
        const dt_param_info *info = dt_params_info(plan->graph->params, *(const int *)node->attributes);
        kind = info->trainable ? "the parameter " : "the buffer ", name = info->name;
    }
    snprintf(plan->message, sizeof plan->message, "%s%s holds %s at %lld of %s", kind, name, text_of(value), (long long)at,
             dt_shape_text(&x->shape).chars);
    return plan->message;
}

/* Looks at what is given to the step, runs it, and looks at what it made. */
static const char *step_trouble(dt_plan *plan, dt_plan_step *s)
{
    const dt_node *node = s->call.node;
    for (int i = 0; i < node->inputs; i++)
        if (node->input[i]->node->op->flags & DT_OP_LEAF) {
            const char *found = leaf_trouble(plan, node->input[i], s->call.in[i]);
            if (found)
                return found;
        }
    if (!s->kernel)
        return NULL;
    s->kernel->run(&s->call);
    const char *late = plan->backend->finish ? plan->backend->finish() : NULL;
    if (late && !plan->fault[0]) /* an alarm, which names its op */
        snprintf(plan->message, sizeof plan->message, "%s", late);
    if (plan->fault[0] || late)
        return late ? plan->message : dt_plan_says(plan, node, ": %s", plan->fault);
    for (int o = 0; o < node->outputs; o++) {
        float value;
        int64_t at = first_bad(plan, &node->output[o], s->call.out[o], &value);
        if (at >= 0)
            return dt_plan_says(plan, node, " gave %s at %lld of %s", text_of(value), (long long)at,
                                dt_shape_text(&node->output[o].shape).chars);
    }
    return NULL;
}

static bool stores_gradients(const dt_plan *plan)
{
    for (int k = 0; k < plan->list.count; k++)
        if (plan->list.node[k]->op == &dt_op_store && !dt_updates_buffer(plan->list.node[k]))
            return true;
    return false;
}

/* Gradients are computed where they are stored, so these are put aside and back; other effects are left out. */
const char *dt_plan_trouble(dt_plan *plan, uint64_t seed, uint32_t number)
{
    const dt_backend *backend = plan->backend;
    size_t bytes = stores_gradients(plan) ? sizeof(float) * dt_params_size(plan->graph->params) : 0;
    float *gradients = bytes ? dt_params_part_at(plan->graph->params, backend, DT_GRADIENTS) : NULL;
    void *aside = bytes ? backend->allocate(bytes) : NULL;
    if (bytes && !aside)
        return "there is no memory to look for a number that is not finite";
    const char *found = NULL;
    plan->fault[0] = 0;
    if (plan->graph->params)
        dt_params_bring(plan->graph->params, backend, plan->reads);
    if (backend->moment)
        backend->moment(seed, number);
    if (bytes)
        backend->copy(aside, gradients, bytes);
    for (int k = 0; k < plan->list.count && !found; k++) {
        plan->step[k].call.seed = seed;
        plan->step[k].call.step = number;
        found = step_trouble(plan, &plan->step[k]);
    }
    if (bytes)
        backend->copy(gradients, aside, bytes);
    if (aside)
        backend->release(aside);
    return found;
}
