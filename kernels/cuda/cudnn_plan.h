/* What dnn.cu and sdpa.cu, which alone include it, have in common: the library and its descriptors, the choice of an engine
 * for a graph of operations, plans that nodes of one form share, and their runs. All of it is over cuDNN 9's graph interface.
 *
 * For a graph the library's heuristics list engines, the likely fastest first. The first one is taken whose notes the caller
 * allows, that can be made ready, and that needs no more workspace than there is to be. */
#ifndef DUET_KERNELS_CUDA_CUDNN_PLAN_H
#define DUET_KERNELS_CUDA_CUDNN_PLAN_H

#include "kernels/cuda/launch.h"

#include <cudnn_graph.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

typedef cudnnBackendDescriptor_t dt_descriptor;

/* All that a plan depends on, in numbers: first what it is for, then what that takes; the others are zero. */
enum { DT_CUDNN_NUMBERS = 24, DT_CUDNN_CONVOLUTION = 1, DT_CUDNN_ATTENTION };
struct dt_cudnn_form {
    int64_t number[DT_CUDNN_NUMBERS];
};

/* An engine made ready for a form, shared by all who asked for that form. */
struct dt_cudnn_plan {
    dt_cudnn_form form, asked; /* asked: a larger form, of which this is the part that fits; or the same */
    dt_descriptor plan, choice; /* the plan is made of the choice, which outlives it */
    int64_t workspace;          /* bytes */
    int users;
    dt_cudnn_plan *next; /* one that was made before */
};

enum { DT_CUDNN_IDLE = 16 }; /* plans that are kept without a user: some take a third of a second to make */

/* One for the program, made when it is first needed. NULL: the library does not start.
 *
 * cuDNN opens the compiler of its attention kernels, NVRTC, by name and looks in its own places only; opened from here before, where
 * CUDA was found when this library was linked, it is there by that name. */
inline cudnnHandle_t dt_cudnn_handle(char *message)
{
    static cudnnHandle_t handle;
    if (handle)
        return handle;
    char compiler[32];
    snprintf(compiler, sizeof compiler, "libnvrtc.so.%d", CUDART_VERSION / 1000);
    dlopen(compiler, RTLD_NOW | RTLD_GLOBAL);
    cudnnStatus_t status = cudnnCreate(&handle);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnSetStream(handle, dt_cuda_stream());
    if (status != CUDNN_STATUS_SUCCESS) {
        snprintf(message, DT_MESSAGE, "cuDNN does not start: %s", cudnnGetErrorString(status));
        if (handle)
            cudnnDestroy(handle);
        handle = NULL;
    }
    return handle;
}

/* The plans that there are. */
inline dt_cudnn_plan **dt_cudnn_plans(void)
{
    static dt_cudnn_plan *first;
    return &first;
}

namespace
{

/* One of the library's descriptors, which is being filled in. After a refusal nothing more is asked of the library. */
struct draft {
    dt_descriptor it = NULL;
    cudnnStatus_t status;

    explicit draft(cudnnBackendDescriptorType_t type)
    {
        status = cudnnBackendCreateDescriptor(type, &it);
    }
    explicit draft(dt_descriptor made) : it(made), status(CUDNN_STATUS_SUCCESS)
    {
    }
    draft(const draft &) = delete;
    ~draft()
    {
        if (it)
            cudnnBackendDestroyDescriptor(it);
    }
    void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count, const void *values)
    {
        if (status == CUDNN_STATUS_SUCCESS)
            status = cudnnBackendSetAttribute(it, name, type, count, values);
    }
    void set(cudnnBackendAttributeName_t name, dt_descriptor other)
    {
        set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &other);
    }
    bool get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t room, int64_t *count, void *values)
    {
        if (status == CUDNN_STATUS_SUCCESS)
            status = cudnnBackendGetAttribute(it, name, type, room, count, values);
        return status == CUDNN_STATUS_SUCCESS;
    }
    bool finish()
    {
        if (status == CUDNN_STATUS_SUCCESS)
            status = cudnnBackendFinalize(it);
        return status == CUDNN_STATUS_SUCCESS;
    }
    dt_descriptor taken()
    {
        dt_descriptor descriptor = it;
        it = NULL;
        return descriptor;
    }
};

/* What a caller wants of an engine, and what came of it. */
struct search {
    unsigned allowed;       /* bit 1 << note for each of the library's numerical notes that an engine may have */
    int64_t most_workspace; /* bytes */
    int64_t too_large;      /* the least workspace of the engines that want more; 0: none did */
};

/* Whether the library notes nothing about an engine but what is allowed. */
bool has_only(dt_descriptor choice, unsigned allowed)
{
    draft engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t one = 0, notes = 0;
    bool good = engine.status == CUDNN_STATUS_SUCCESS &&
                cudnnBackendGetAttribute(choice, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &one,
                                         &engine.it) == CUDNN_STATUS_SUCCESS &&
                engine.get(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &notes,
                           note);
    for (int64_t i = 0; i < notes && good; i++)
        good = allowed >> note[i] & 1;
    return good;
}

/* Makes the choice ready. False: the library cannot, or it takes too much workspace. */
bool make_ready(draft *choice, cudnnHandle_t handle, search *s, dt_cudnn_plan *to)
{
    draft plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    int64_t count = 0, workspace = 0;
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, choice->it);
    if (!plan.finish() || !plan.get(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count, &workspace))
        return false;
    if (workspace > s->most_workspace) {
        s->too_large = s->too_large && s->too_large < workspace ? s->too_large : workspace;
        return false;
    }
    to->plan = plan.taken();
    to->choice = choice->taken();
    to->workspace = workspace;
    return true;
}

/* The first of the engines that the library lists. False: none. */
bool choose(dt_descriptor graph, cudnnBackendHeurMode_t mode, cudnnHandle_t handle, search *s, dt_cudnn_plan *to)
{
    enum { CHOICES = 64 };
    draft heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (!heuristics.finish())
        return false;
    dt_descriptor list[CHOICES] = {};
    int64_t count = 0;
    int made = 0;
    while (made < CHOICES &&
           cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &list[made]) == CUDNN_STATUS_SUCCESS)
        made++;
    if (!heuristics.get(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, made, &count, list))
        count = 0;
    bool found = false;
    for (int i = 0; i < made; i++) {
        draft choice(list[i]);
        found = found || (i < count && has_only(choice.it, s->allowed) && make_ready(&choice, handle, s, to));
    }
    return found;
}

/* The plan that others have who asked for this form. NULL: none. */
dt_cudnn_plan *shared_plan(const dt_cudnn_form *form)
{
    for (dt_cudnn_plan *p = *dt_cudnn_plans(); p; p = p->next)
        if (!memcmp(&p->form, form, sizeof *form) || !memcmp(&p->asked, form, sizeof *form)) {
            p->users++;
            return p;
        }
    return NULL;
}

/* `text`, and what the library said last. */
void say_last(char *message, const char *text)
{
    size_t length = (size_t)snprintf(message, DT_MESSAGE, "%s", text);
    cudnnGetLastErrorString(message + length, DT_MESSAGE - length);
}

/* A plan for the graph, by the `modes` ways of asking for engines in their order. NULL: there is none; message (DT_MESSAGE
 * bytes) says why. */
dt_cudnn_plan *new_plan(const dt_cudnn_form *form, dt_descriptor graph, const cudnnBackendHeurMode_t *mode, int modes,
                        cudnnHandle_t handle, search *s, char *message)
{
    dt_cudnn_plan *p = (dt_cudnn_plan *)calloc(1, sizeof *p);
    bool found = false;
    for (int i = 0; i < modes && p && !found; i++)
        found = choose(graph, mode[i], handle, s, p);
    if (found) {
        p->form = p->asked = *form;
        p->users = 1;
        p->next = *dt_cudnn_plans();
        *dt_cudnn_plans() = p;
        return p;
    }
    if (!p)
        snprintf(message, DT_MESSAGE, "out of memory while planning");
    else if (s->too_large)
        snprintf(message, DT_MESSAGE, "cuDNN wants %lld MiB of workspace, and is given %lld", (long long)(s->too_large >> 20),
                 (long long)(s->most_workspace >> 20));
    else
        say_last(message, "cuDNN has no engine that repeats its bits and sums in float32. Its last word: ");
    free(p);
    return NULL;
}

/* After a refusal of a descriptor. */
void say_refusal(char *message)
{
    say_last(message, "cuDNN refuses: ");
}

/* Of those without a user the newest are kept. */
void give_plan_back(dt_cudnn_plan *plan)
{
    if (!plan || --plan->users)
        return;
    int idle = 0;
    for (dt_cudnn_plan **at = dt_cudnn_plans(); *at;) {
        dt_cudnn_plan *p = *at;
        idle += !p->users;
        if (p->users || idle <= DT_CUDNN_IDLE) {
            at = &p->next;
            continue;
        }
        *at = p->next;
        cudnnBackendDestroyDescriptor(p->plan);
        cudnnBackendDestroyDescriptor(p->choice);
        free(p);
    }
}

/* Enqueues a run on `count` tensors, by their numbers in the graph. What goes wrong is the call's fault. */
void run_plan(const dt_cudnn_plan *plan, int64_t count, const int64_t *id, const void *const *data, void *workspace,
              const dt_call *call)
{
    cudnnHandle_t handle = dt_cudnn_handle(call->fault);
    if (!handle)
        return;
    draft operands(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    operands.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, id);
    operands.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, data);
    operands.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    if (operands.finish())
        operands.status = cudnnBackendExecute(handle, plan->plan, operands.it);
    if (operands.status != CUDNN_STATUS_SUCCESS && !call->fault[0])
        snprintf(call->fault, DT_MESSAGE, "cuDNN, running %s: %s", call->node->op->name, cudnnGetErrorString(operands.status));
}

} // namespace

#endif
