/* Running a plan: inputs in, kernels one after another, effects, results out, and the times. */
#include "kernels/ops.h"
#include "kernels/planning.h"
#include "kernels/store.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static void *host_visible(const dt_plan *plan, const dt_tensor *x)
{
    bool kept = x->node->op == &dt_op_input;
    for (int i = 0; i < plan->graph->keeps && !kept; i++)
        kept = plan->graph->kept[i] == x;
    int place = kept && x->id >= 0 ? plan->place[x->id] : DT_NOWHERE;
    return place == DT_NOWHERE || place == INT_MAX ? NULL : plan->store[place].memory;
}

const void *dt_plan_at(const dt_plan *plan, const dt_tensor *kept)
{
    return host_visible(plan, kept);
}

bool dt_plan_write(dt_plan *plan, const dt_tensor *input, const void *host)
{
    if (input->node->op != &dt_op_input)
        return false;
    void *memory = host_visible(plan, input); /* NULL: no result needs this input */
    if (memory)
        plan->backend->write(memory, host, dt_bytes_of(input));
    return true;
}

static dt_staged *stage_of(dt_plan *plan, const dt_tensor *input)
{
    for (int i = 0; i < plan->stages; i++)
        if (plan->staged[i].input == input)
            return &plan->staged[i];
    if (plan->stages == DT_MAX_STAGED)
        return NULL;
    void *there = plan->backend->send ? plan->backend->allocate(dt_bytes_of(input)) : NULL;
    if (plan->backend->send && !there)
        return NULL;
    plan->staged[plan->stages] = (dt_staged){.input = input, .there = there};
    return &plan->staged[plan->stages++];
}

bool dt_plan_stage(dt_plan *plan, const dt_tensor *input, const void *host)
{
    if (input->node->op != &dt_op_input)
        return false;
    dt_staged *stage = host_visible(plan, input) ? stage_of(plan, input) : NULL;
    if (!stage)
        return !host_visible(plan, input);
    stage->host = host;
    if (stage->there)
        plan->backend->send(stage->there, host, dt_bytes_of(input));
    return true;
}

/* What was staged goes to its inputs. */
static void take_staged(dt_plan *plan)
{
    const dt_backend *backend = plan->backend;
    bool waited = false;
    for (int i = 0; i < plan->stages; i++) {
        dt_staged *stage = &plan->staged[i];
        if (!stage->host)
            continue;
        if (stage->there && !waited)
            backend->await();
        waited = true;
        if (stage->there)
            backend->copy(host_visible(plan, stage->input), stage->there, dt_bytes_of(stage->input));
        else
            backend->write(host_visible(plan, stage->input), stage->host, dt_bytes_of(stage->input));
        stage->host = NULL;
    }
    if (waited && backend->taken)
        backend->taken();
}

bool dt_plan_read(const dt_plan *plan, const dt_tensor *kept, void *host)
{
    const void *memory = host_visible(plan, kept);
    if (memory)
        plan->backend->read(host, memory, dt_bytes_of(kept));
    return memory != NULL;
}

/* Effects: gradients that could not be computed in place, sums of gradients, and buffers at the end of the run. */
static void carry_out(dt_plan *plan, const dt_call *call, bool at_end)
{
    const dt_store *what = call->node->attributes;
    dt_params *params = plan->graph->params;
    const dt_tensor *x = call->node->input[0];
    if (at_end != dt_updates_buffer(call->node))
        return;
    float *to = at_end ? dt_params_value_at(params, plan->backend, what->param)
                       : dt_params_gradient_at(params, plan->backend, what->param);
    if (what->target == DT_STORE_ADD_GRADIENT)
        plan->backend->add(to, call->in[0], (size_t)dt_count(&x->shape));
    else if (to != call->in[0])
        plan->backend->copy(to, call->in[0], dt_bytes_of(x));
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void note_fault(dt_plan *plan, const char *message)
{
    if (message && !plan->fault[0])
        snprintf(plan->fault, sizeof plan->fault, "%s", message);
}

static void run_step(dt_plan *plan, dt_plan_step *s, uint64_t seed, uint32_t number)
{
    double start = plan->profile ? now() : 0;
    s->call.seed = seed;
    s->call.step = number;
    if (s->kernel)
        s->kernel->run(&s->call);
    else if (s->call.node->op == &dt_op_store)
        carry_out(plan, &s->call, false);
    if (plan->profile) {
        if (plan->backend->finish && !plan->fault[0])
            note_fault(plan, plan->backend->finish());
        plan->timings[s->timing].seconds += now() - start;
        plan->timings[s->timing].flops += s->flops;
    }
}

/* The op's name; of a chain those of its parts. */
static void name_of(const dt_node *node, char *to, size_t size)
{
    if (node->op != &dt_op_chain) {
        snprintf(to, size, "%s", node->op->name);
        return;
    }
    const dt_chain chain = dt_chain_of(node);
    size_t at = 0;
    for (int k = 0; k < chain.steps && at < size; k++)
        at += (size_t)snprintf(to + at, size - at, "%s%s", k ? ", " : "", dt_pointwise_op[chain.step[k].code].name);
}

const char *dt_plan_says(dt_plan *plan, const dt_node *node, const char *format, ...)
{
    char name[DT_MESSAGE], text[DT_MESSAGE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    name_of(node, name, sizeof name);
    snprintf(plan->message, sizeof plan->message, "%s%s%s%s%s", name, *node->label ? " (in " : "", node->label,
             *node->label ? ")" : "", text);
    return plan->message;
}

/* Kernel by kernel. `careful` waits for each, so that one which fails is known by its op. */
static const char *run_steps(dt_plan *plan, uint64_t seed, uint32_t number, bool careful)
{
    for (int k = 0; k < plan->list.count; k++) {
        run_step(plan, &plan->step[k], seed, number);
        if (careful && plan->step[k].kernel && !plan->fault[0])
            note_fault(plan, plan->backend->finish());
        const char *name = plan->step[k].call.node->op->name;
        if (!strncmp(plan->fault, name, strlen(name))) /* an alarm, which names its op */
            return plan->fault;
        if (plan->fault[0])
            return dt_plan_says(plan, plan->step[k].call.node, ": %s", plan->fault);
    }
    for (int k = 0; k < plan->list.count; k++)
        if (dt_updates_buffer(plan->step[k].call.node))
            carry_out(plan, &plan->step[k].call, true);
    return NULL;
}

/* False where something was asked for that cannot be kept: then nothing was done. */
static bool record_run(dt_plan *plan, uint64_t seed, uint32_t number)
{
    const dt_backend *backend = plan->backend;
    if (!backend->record())
        return false;
    const char *message = run_steps(plan, seed, number, false);
    plan->recording = backend->recorded();
    if (message && plan->recording) { /* of the kernels before the one that refused */
        backend->forget(plan->recording);
        plan->recording = NULL;
    }
    plan->fault[0] = 0;
    if (!plan->recording)
        backend->finish(); /* what it says is of the recording that failed */
    return plan->facts.recorded = plan->recording != NULL;
}

/* What the second run asks for is recorded, and replayed from then on: one call in place of hundreds. Where that does not work, kernel by
 * kernel is as right. */
static const char *replay(dt_plan *plan, uint64_t seed, uint32_t number)
{
    if (!plan->recording && !(plan->replays = record_run(plan, seed, number)))
        return run_steps(plan, seed, number, false);
    plan->backend->replay(plan->recording);
    return NULL;
}

const char *dt_plan_start(dt_plan *plan, uint64_t seed, uint32_t number)
{
    const dt_backend *backend = plan->backend;
    dt_params *params = plan->graph->params;
    bool careful = backend->finish && !plan->ran;
    plan->fault[0] = 0;
    if (params)
        dt_params_bring(params, backend, plan->reads);
    take_staged(plan);
    if (backend->moment)
        backend->moment(seed, number);
    const char *message = plan->replays && plan->ran && !plan->profile ? replay(plan, seed, number)
                                                                          : run_steps(plan, seed, number, careful);
    if (params)
        dt_params_wrote(params, backend, plan->writes);
    plan->ran = true;
    if (message && backend->finish)
        backend->finish(); /* what else went wrong is a consequence */
    return message;
}

const char *dt_plan_finish(dt_plan *plan)
{
    const char *message = plan->backend->finish ? plan->backend->finish() : NULL;
    if (message)
        snprintf(plan->message, sizeof plan->message, "%s", message);
    return message ? plan->message : NULL;
}

const char *dt_plan_run(dt_plan *plan, uint64_t seed, uint32_t number)
{
    const char *message = dt_plan_start(plan, seed, number);
    return message ? message : dt_plan_finish(plan);
}

dt_plan_facts dt_plan_describe(const dt_plan *plan)
{
    return plan->facts;
}

void dt_plan_profile(dt_plan *plan, bool on)
{
    plan->profile = on;
    for (int i = 0; on && i < plan->timed; i++)
        plan->timings[i].seconds = plan->timings[i].flops = 0;
}

const char *dt_plan_time(const dt_plan *plan, int i, double *seconds, double *flops)
{
    if (i < 0 || i >= plan->timed)
        return NULL;
    *seconds = plan->timings[i].seconds;
    *flops = plan->timings[i].flops;
    return plan->timings[i].name;
}
