#include "kernels/plan.h"

#include "kernels/ops.h"
#include "kernels/planning.h"
#include "kernels/store.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ALIGN = 256 }; /* what a device's libraries ask of their workspaces; no less than a cache line */

static bool fail(dt_plan *plan, const char *what, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static bool fail(dt_plan *plan, const char *what, const char *format, ...)
{
    char text[DT_MESSAGE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    dt_graph_fail(plan->graph, what, "%s", text);
    return false;
}

static bool no_memory(dt_plan *plan)
{
    return fail(plan, "plan", "out of memory");
}

/* Says how much was asked for, what there is, and which batch might fit: results grow with it, all else does not. */
static bool no_room(dt_plan *plan, const char *what, size_t bytes)
{
    size_t left, all;
    double mib = 1.0 / (1 << 20), batch = (double)plan->options.batch;
    char fits[96] = "a smaller batch needs less";
    if (bytes == SIZE_MAX)
        return no_memory(plan);
    dt_backend_memory(plan->backend, &left, &all);
    int64_t most = all ? (int64_t)(0.97 * batch * (double)left / (double)bytes) : 0;
    if (most >= plan->options.batch) /* there is enough, but not in one piece */
        most = plan->options.batch - 1;
    if (most > 0)
        snprintf(fits, sizeof fits, "a batch of about %lld instead of %lld would fit", (long long)most,
                 (long long)plan->options.batch);
    plan->graph->label = ""; /* it is nobody's in the model */
    if (!all)
        return fail(plan, "plan", "no memory for %.1f MiB of %s; %s", mib * (double)bytes, what, fits);
    return fail(plan, "plan", "no memory for %.1f MiB of %s beside %.1f MiB of inputs: %.1f of the device's %.1f MiB are free; %s",
                mib * (double)bytes, what, mib * (double)plan->facts.input_bytes, mib * (double)left, mib * (double)all, fits);
}

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGN - 1) / ALIGN * ALIGN;
}

/* ---- Which nodes ---- */

/* A gradient that is added to what lies in its place is added as soon as it is there, not when all are: it needs memory no longer then.
 * Stores are recorded last, so they are taken out and put back behind what makes their values. False: no memory. */
static bool store_early(dt_plan *plan)
{
    dt_schedule_list *list = &plan->list;
    const dt_node **store = calloc((size_t)list->graph->tensors + 1, sizeof *store); /* of the tensor's id */
    const dt_node **node = dt_arena_alloc(plan->arena, sizeof *node * (size_t)(list->count + 1));
    int count = 0;
    if (!store || !node) {
        free(store);
        return no_memory(plan);
    }
    for (int k = 0; k < list->count; k++) {
        const dt_node *n = list->node[k];
        bool early = n->op == &dt_op_store && ((const dt_store *)n->attributes)->target == DT_STORE_ADD_GRADIENT &&
                     !(n->input[0]->node->op->flags & DT_OP_LEAF) && !store[n->input[0]->id];
        if (early)
            store[n->input[0]->id] = n;
    }
    for (int k = 0; k < list->count; k++) {
        const dt_node *n = list->node[k];
        if (n->op != &dt_op_store || store[n->input[0]->id] != n)
            node[count++] = n;
        for (int o = 0; o < n->outputs; o++)
            if (store[n->output[o].id])
                node[count++] = store[n->output[o].id];
    }
    free(store);
    list->node = node;
    list->count = count;
    return true;
}

static bool schedule(dt_plan *plan)
{
    dt_graph *g = plan->graph;
    bool *needed = calloc((size_t)g->nodes + 1, sizeof *needed);
    plan->list = (dt_schedule_list){.graph = g, .arena = plan->arena, .tensors = g->tensors};
    plan->list.node = dt_arena_alloc(plan->arena, sizeof(dt_node *) * (size_t)(g->nodes + 1));
    plan->list.uses = dt_arena_alloc(plan->arena, sizeof(int) * (size_t)(g->tensors + 1));
    if (!needed || !plan->list.node || !plan->list.uses) {
        free(needed);
        return no_memory(plan);
    }
    for (int i = 0; i < g->keeps; i++) {
        needed[g->kept[i]->node->id] = true;
        plan->list.uses[g->kept[i]->id]++;
    }
    for (int n = g->nodes - 1; n >= 0; n--) {
        const dt_node *node = g->node[n];
        needed[n] |= (node->op->flags & DT_OP_EFFECT) != 0;
        for (int i = 0; needed[n] && i < node->inputs; i++) {
            needed[node->input[i]->node->id] = true;
            plan->list.uses[node->input[i]->id]++;
        }
    }
    for (int n = 0; n < g->nodes; n++) {
        if (needed[n] && !(g->node[n]->op->flags & DT_OP_LEAF))
            plan->list.node[plan->list.count++] = g->node[n];
        else if (needed[n])
            plan->place[g->node[n]->output[0].id] = INT_MAX; /* a leaf in use; placed below */
        plan->facts.nodes += needed[n];
    }
    free(needed);
    return store_early(plan);
}

/* ---- Where tensors are ---- */

static int new_storage(dt_plan *plan, size_t size, int first, int last, bool given, void *memory)
{
    if (plan->stores == plan->capacity) {
        int wanted = plan->capacity ? plan->capacity * 2 : 256;
        dt_storage *larger = realloc(plan->store, sizeof *larger * (size_t)wanted);
        if (!larger) {
            no_memory(plan);
            return DT_NOWHERE;
        }
        plan->store = larger;
        plan->capacity = wanted;
    }
    plan->store[plan->stores] = (dt_storage){aligned(size), first, last, given, memory};
    return plan->stores++;
}

static void *own(dt_plan *plan, const dt_tensor *x)
{
    void *memory = plan->backend->allocate(aligned(dt_bytes_of(x)));
    if (!memory) {
        no_room(plan, "an input", dt_bytes_of(x));
        return NULL;
    }
    plan->facts.input_bytes += aligned(dt_bytes_of(x));
    return plan->owned[plan->owns++] = memory;
}

/* Which parts of the parameters a run reads and writes, and room for them where it runs. */
static bool settle_params(dt_plan *plan)
{
    dt_params *params = plan->graph->params;
    if (!dt_params_allocated(params))
        return fail(plan, "plan", "the parameters are not allocated");
    plan->reads = DT_VALUES | DT_BUFFERS | (plan->backend->precision == DT_MIXED ? DT_NARROWED : 0);
    for (int k = 0; k < plan->list.count; k++) {
        const dt_node *node = plan->list.node[k];
        if (node->op == &dt_op_store)
            plan->writes |= dt_updates_buffer(node) ? DT_BUFFERS : DT_GRADIENTS;
    }
    plan->reads |= plan->writes & DT_GRADIENTS; /* some may be added to, others stay */
    return dt_params_settle(params, plan->backend, plan->reads) ||
           no_room(plan, "parameters", sizeof(float) * dt_params_size(params));
}

static bool place_leaf(dt_plan *plan, const dt_node *node)
{
    const dt_tensor *x = &node->output[0];
    void *memory;
    if (node->op == &dt_op_param) {
        memory = dt_params_value_at(plan->graph->params, plan->backend, *(const int *)node->attributes);
    } else {
        memory = own(plan, x);
        if (memory && node->op == &dt_op_constant)
            plan->backend->write(memory, node->attributes, dt_bytes_of(x));
    }
    plan->place[x->id] = memory ? new_storage(plan, 0, 0, 0, true, memory) : DT_NOWHERE;
    return plan->place[x->id] != DT_NOWHERE;
}

static bool place_leaves(dt_plan *plan)
{
    const dt_graph *g = plan->graph;
    if (g->params && !settle_params(plan))
        return false;
    plan->owned = dt_arena_alloc(plan->arena, sizeof(void *) * (size_t)(g->nodes + 1));
    if (!plan->owned)
        return no_memory(plan);
    for (int n = 0; n < g->nodes; n++)
        if (g->node[n]->op->flags & DT_OP_LEAF && plan->place[g->node[n]->output[0].id] == INT_MAX)
            if (!place_leaf(plan, g->node[n]))
                return false;
    return true;
}

static void find_last_reads(dt_plan *plan)
{
    const dt_graph *g = plan->graph;
    for (int k = 0; k < plan->list.count; k++)
        for (int i = 0; i < plan->list.node[k]->inputs; i++)
            plan->last[dt_view_root(plan->list.node[k]->input[i])->id] = k;
    for (int i = 0; i < g->keeps; i++)
        plan->last[dt_view_root(g->kept[i])->id] = plan->list.count;
    for (int k = 0; k < plan->list.count; k++) /* read once more when the run ends */
        if (dt_updates_buffer(plan->list.node[k]))
            plan->last[dt_view_root(plan->list.node[k]->input[0])->id] = plan->list.count;
}

/* A gradient is computed where it is to be stored, if nothing else is stored there. */
static float *gradient_home(const dt_plan *plan, const dt_node *node)
{
    const dt_store *what = node->attributes;
    return what->target == DT_STORE_GRADIENT
               ? dt_params_gradient_at(plan->graph->params, plan->backend, what->param)
               : NULL;
}

static bool place_gradients(dt_plan *plan)
{
    for (int k = 0; k < plan->list.count; k++) {
        const dt_node *node = plan->list.node[k];
        if (node->op != &dt_op_store)
            continue;
        const dt_tensor *x = dt_view_root(node->input[0]);
        float *home = gradient_home(plan, node);
        if (!home || x->node->op->flags & DT_OP_LEAF || plan->place[x->id] != DT_NOWHERE)
            continue;
        if ((plan->place[x->id] = new_storage(plan, 0, 0, 0, true, home)) == DT_NOWHERE)
            return false;
    }
    return true;
}

/* May a linear node's result be written over input i? Over a residual that its product does not read as well; a product before an
 * activation is written to where the result will be. */
static bool linear_overwrites(const dt_plan *plan, const dt_node *node, int i)
{
    const dt_linear_form *form = node->attributes;
    bool residual = form->residual && form->activation == DT_ACT_NONE && i == node->inputs - 1;
    for (int j = 0; residual && j < i; j++)
        residual = plan->place[node->input[j]->id] != plan->place[node->input[i]->id];
    return residual;
}

/* May result 0 be written over input i? */
static bool overwrites(const dt_plan *plan, const dt_node *node, int i)
{
    if (node->op == &dt_op_linear)
        return linear_overwrites(plan, node, i);
    if (node->op == &dt_op_layer_norm_grad) /* the gradient that is added */
        return i == 5;
    return (node->op->flags & DT_OP_IN_PLACE) != 0;
}

static int dying_input(const dt_plan *plan, const dt_node *node, int k)
{
    for (int i = 0; i < node->inputs; i++) {
        const dt_tensor *x = node->input[i];
        int place = plan->place[x->id];
        if (place >= 0 && overwrites(plan, node, i) && dt_bytes_of(x) == dt_bytes_of(&node->output[0]) &&
            x->dtype == node->output[0].dtype && !plan->store[place].given && plan->store[place].last == k)
            return place;
    }
    return DT_NOWHERE;
}

static bool place_results(dt_plan *plan)
{
    for (int k = 0; k < plan->list.count; k++) {
        const dt_node *node = plan->list.node[k];
        for (int o = 0; o < node->outputs; o++) {
            const dt_tensor *y = &node->output[o];
            int *place = &plan->place[y->id], last = plan->last[y->id] > k ? plan->last[y->id] : k;
            if (*place != DT_NOWHERE)
                continue; /* a gradient with its home */
            if (node->op->flags & DT_OP_VIEW) {
                *place = plan->place[node->input[0]->id];
                continue;
            }
            *place = o == 0 ? dying_input(plan, node, k) : DT_NOWHERE;
            if (*place != DT_NOWHERE)
                plan->store[*place].last = last;
            else if ((*place = new_storage(plan, dt_bytes_of(y), k, last, false, NULL)) == DT_NOWHERE)
                return false;
        }
    }
    return true;
}

/* ---- Kernels ---- */

const dt_kernel *dt_kernel_of(const dt_backend *backend, const dt_op *op)
{
    if (dt_pointwise_code(op) >= 0)
        op = &dt_op_chain;
    for (int f = 0; backend->families[f]; f++)
        for (const dt_kernel *kernel = backend->families[f]; kernel->op; kernel++)
            if (kernel->op == op)
                return kernel;
    return NULL;
}

static bool prepare_step(dt_plan *plan, int k)
{
    const dt_node *node = plan->list.node[k];
    dt_plan_step *s = &plan->step[k];
    void **pointers = dt_arena_alloc(plan->arena, sizeof *pointers * (size_t)(node->inputs + node->outputs + 1));
    if (!pointers)
        return no_memory(plan);
    s->call = (dt_call){.node = node, .in = pointers, .out = pointers + node->inputs, .fault = plan->fault};
    s->workspace = DT_NOWHERE;
    if (node->op->flags & (DT_OP_VIEW | DT_OP_EFFECT))
        return true;
    if (!(s->kernel = dt_kernel_of(plan->backend, node->op)))
        return fail(plan, node->op->name, "the %s backend has no such kernel", plan->backend->name);
    s->flops = node->op->flops ? node->op->flops(node) : 0;
    plan->facts.flops += s->flops;
    plan->facts.kernels++;
    dt_preparation preparation = {.node = node, .precision = plan->backend->precision};
    if (s->kernel->prepare && !s->kernel->prepare(&preparation)) {
        plan->graph->label = node->label;
        return fail(plan, node->op->name, "%s", preparation.message);
    }
    s->call.state = preparation.state;
    if (preparation.workspace)
        s->workspace = new_storage(plan, preparation.workspace, k, k, false, NULL);
    return !preparation.workspace || s->workspace != DT_NOWHERE;
}

static bool lay_out_block(dt_plan *plan)
{
    dt_interval *interval = calloc((size_t)plan->stores + 1, sizeof *interval);
    int count = 0;
    if (!interval)
        return no_memory(plan);
    for (int i = 0; i < plan->stores; i++)
        if (!plan->store[i].given)
            interval[count++] = (dt_interval){.size = plan->store[i].size, .first = plan->store[i].first,
                                              .last = plan->store[i].last};
    size_t bytes = dt_place(interval, count, plan->list.count + 1, &plan->facts.live_bytes);
    plan->facts.planned_bytes = bytes;
    plan->block = bytes == SIZE_MAX ? NULL : plan->backend->allocate(bytes ? bytes : ALIGN);
    for (int i = 0, c = 0; plan->block && i < plan->stores; i++)
        if (!plan->store[i].given)
            plan->store[i].memory = plan->block + interval[c++].offset;
    free(interval);
    return plan->block || no_room(plan, "intermediate results", bytes);
}

/* The timing entry of a kernel's name. */
static int timing_of(dt_plan *plan, const char *name)
{
    int i = 0;
    while (i < plan->timed && strcmp(plan->timings[i].name, name))
        i++;
    if (i == plan->timed)
        plan->timings[plan->timed++] = (dt_timing){.name = name};
    return i;
}

static void bind(dt_plan *plan)
{
    for (int k = 0; k < plan->list.count; k++) {
        dt_plan_step *s = &plan->step[k];
        const dt_node *node = s->call.node;
        void **in = (void **)s->call.in, **out = (void **)s->call.out;
        for (int i = 0; i < node->inputs; i++)
            in[i] = plan->store[plan->place[node->input[i]->id]].memory;
        for (int o = 0; o < node->outputs; o++)
            out[o] = plan->store[plan->place[node->output[o].id]].memory;
        if (s->workspace != DT_NOWHERE)
            s->call.workspace = plan->store[s->workspace].memory;
        s->timing = timing_of(plan, node->op->name);
    }
}

/* A number for each tensor, DT_NOWHERE at first. */
static bool make_table(dt_plan *plan, int **table, size_t tensors)
{
    *table = dt_arena_alloc(plan->arena, sizeof **table * tensors);
    if (!*table)
        return no_memory(plan);
    memset(*table, 0xff, sizeof **table * tensors);
    return true;
}

/* Tensors that the narrowing adds are placed like others, except the bfloat16 values of parameters. */
static bool narrow_results(dt_plan *plan)
{
    int *place = plan->place;
    if (!dt_narrow_results(&plan->list, plan->backend) ||
        !make_table(plan, &plan->place, (size_t)plan->list.tensors + 1))
        return no_memory(plan);
    memcpy(plan->place, place, sizeof *place * (size_t)plan->graph->tensors);
    for (int k = 0; k < plan->list.count; k++)
        for (int i = 0; i < plan->list.node[k]->inputs; i++) {
            const dt_tensor *x = plan->list.node[k]->input[i];
            if (x->dtype != DT_BF16 || x->node->op != &dt_op_param || plan->place[x->id] != DT_NOWHERE)
                continue;
            void *memory = dt_params_narrowed_at(plan->graph->params, *(const int *)x->node->attributes);
            if ((plan->place[x->id] = new_storage(plan, 0, 0, 0, true, memory)) == DT_NOWHERE)
                return false;
        }
    return true;
}

dt_plan *dt_plan_new(dt_graph *g, const dt_backend *backend, const dt_plan_options *options)
{
    if (g->error)
        return NULL;
    dt_plan *plan = calloc(1, sizeof *plan);
    if (!plan || !(plan->arena = dt_arena_new())) {
        free(plan);
        dt_graph_fail(g, "plan", "out of memory");
        return NULL;
    }
    plan->graph = g;
    plan->backend = backend;
    if (options)
        plan->options = *options;
    plan->replays = backend->record && !plan->options.no_replay;
    bool good = make_table(plan, &plan->place, (size_t)g->tensors + 1) && schedule(plan) && place_leaves(plan);
    good = good && (plan->options.no_fusion || dt_fuse(&plan->list) || no_memory(plan));
    good = good && (backend->precision != DT_MIXED || narrow_results(plan));
    good = good && make_table(plan, &plan->last, (size_t)plan->list.tensors + 1);
    plan->step = good ? dt_arena_alloc(plan->arena, sizeof(dt_plan_step) * (size_t)(plan->list.count + 1)) : NULL;
    plan->timings = good ? dt_arena_alloc(plan->arena, sizeof(dt_timing) * (size_t)(plan->list.count + 1)) : NULL;
    good = plan->step && plan->timings;
    if (good) {
        find_last_reads(plan);
        good = place_gradients(plan) && place_results(plan);
    }
    for (int k = 0; good && k < plan->list.count; k++)
        good = prepare_step(plan, k);
    good = good && lay_out_block(plan);
    if (!good) {
        dt_graph_fail(g, "plan", "out of memory"); /* unless a better message is there already */
        dt_plan_free(plan);
        return NULL;
    }
    bind(plan);
    return plan;
}

void dt_plan_free(dt_plan *plan)
{
    if (!plan)
        return;
    if (plan->recording)
        plan->backend->forget(plan->recording);
    for (int k = 0; plan->step && k < plan->list.count; k++)
        if (plan->step[k].kernel && plan->step[k].kernel->release)
            plan->step[k].kernel->release(plan->step[k].call.state);
    for (int i = 0; i < plan->owns; i++)
        plan->backend->release(plan->owned[i]);
    if (plan->block)
        plan->backend->release(plan->block);
    for (int i = 0; i < plan->stages; i++)
        if (plan->staged[i].there && plan->staged[i].host)
            plan->backend->await(); /* what was sent for a run that never came */
    for (int i = 0; i < plan->stages; i++)
        if (plan->staged[i].there)
            plan->backend->release(plan->staged[i].there);
    free(plan->store);
    dt_arena_free(plan->arena);
    free(plan);
}
