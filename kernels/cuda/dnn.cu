/* dnn.h over cuDNN 9, through its graph interface: an operation graph of one node, for which the library's heuristics list
 * engines, the likely fastest first. The first one is taken that computes as dnn.h says and can be made ready. */
#include "kernels/cuda/dnn.h"

#include <cudnn_graph.h>
#include <stdio.h>

struct dt_dnn {
    cudnnBackendDescriptor_t plan, choice; /* the plan is made of the choice, which outlives it */
    int64_t workspace;
};

namespace
{

enum { AXES = 4, CHOICES = 64, X = 1, WEIGHT, Y };
const int64_t MOST_WORKSPACE = 1 << 30;

/* One of the library's descriptors, which is being filled in. After a refusal nothing more is asked of the library. */
struct draft {
    cudnnBackendDescriptor_t it = NULL;
    cudnnStatus_t status;

    explicit draft(cudnnBackendDescriptorType_t type)
    {
        status = cudnnBackendCreateDescriptor(type, &it);
    }
    explicit draft(cudnnBackendDescriptor_t made) : it(made), status(CUDNN_STATUS_SUCCESS)
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
    void set(cudnnBackendAttributeName_t name, const draft &other)
    {
        set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &other.it);
    }
    bool finish()
    {
        if (status == CUDNN_STATUS_SUCCESS)
            status = cudnnBackendFinalize(it);
        return status == CUDNN_STATUS_SUCCESS;
    }
    cudnnBackendDescriptor_t taken()
    {
        cudnnBackendDescriptor_t descriptor = it;
        it = NULL;
        return descriptor;
    }
};

/* One for the program, made when it is first needed. NULL: the library does not start. */
cudnnHandle_t library(char *message)
{
    static cudnnHandle_t handle;
    if (handle)
        return handle;
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

/* dim: sizes in the library's order of axes, whatever the layout: batch (or out), channels, height, width. */
bool describe(draft *tensor, int64_t id, dt_dtype dtype, const int64_t dim[AXES])
{
    const int64_t alignment = 16, stride[AXES] = {dim[1] * dim[2] * dim[3], 1, dim[1] * dim[3], dim[1]};
    const cudnnDataType_t type = dtype == DT_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
    tensor->set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
    tensor->set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
    tensor->set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
    tensor->set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, AXES, dim);
    tensor->set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, AXES, stride);
    return tensor->finish();
}

bool describe_form(draft *form, const dt_convolution *c)
{
    const cudnnDataType_t sums = CUDNN_DATA_FLOAT;
    const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
    const int64_t axes = 2;
    form->set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
    form->set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
    form->set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, &axes);
    form->set(CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, axes, c->dilation);
    form->set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, axes, c->stride);
    form->set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, axes, c->padding);
    form->set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, axes, c->padding);
    return form->finish();
}

/* What the three operations call the same things. */
const struct names {
    cudnnBackendDescriptorType_t type;
    cudnnBackendAttributeName_t form, x, weight, y, alpha, beta;
} kinds[] = {
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
     CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA},
    {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY, CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
     CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA},
};

/* The graph keeps what it needs of the descriptors that it is made of. */
bool describe_graph(draft *graph, const dt_convolution *c, cudnnHandle_t handle)
{
    const names &n = kinds[c->kind];
    draft x(CUDNN_BACKEND_TENSOR_DESCRIPTOR), weight(CUDNN_BACKEND_TENSOR_DESCRIPTOR), y(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    draft form(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR), node(n.type);
    const int64_t of_x[AXES] = {c->batch, c->in, c->height, c->width}, of_y[AXES] = {c->batch, c->out, c->y_height, c->y_width},
                  of_weight[AXES] = {c->out, c->in / c->groups, c->kernel[0], c->kernel[1]};
    const float one = 1, zero = 0;
    if (!describe(&x, X, c->kind == DT_DNN_INPUT_GRAD ? c->to : c->from, of_x) ||
        !describe(&weight, WEIGHT, c->kind == DT_DNN_WEIGHT_GRAD ? c->to : c->from, of_weight) ||
        !describe(&y, Y, c->kind == DT_DNN_FORWARD ? c->to : c->from, of_y) || !describe_form(&form, c))
        return false;
    node.set(n.form, form);
    node.set(n.x, x);
    node.set(n.weight, weight);
    node.set(n.y, y);
    node.set(n.alpha, CUDNN_TYPE_FLOAT, 1, &one);
    node.set(n.beta, CUDNN_TYPE_FLOAT, 1, &zero);
    if (!node.finish())
        return false;
    graph->set(CUDNN_ATTR_OPERATIONGRAPH_OPS, node);
    graph->set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    return graph->finish();
}

/* Whether an engine repeats its bits and sums in float32 what it was given, by what the library notes about it. On float32
 * tensor cores mean TF32. */
bool computes_so(cudnnBackendDescriptor_t choice, const dt_convolution *c)
{
    draft engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t one = 0, notes = 0;
    if (engine.status != CUDNN_STATUS_SUCCESS ||
        cudnnBackendGetAttribute(choice, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &one, &engine.it) !=
            CUDNN_STATUS_SUCCESS ||
        cudnnBackendGetAttribute(engine.it, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                 CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &notes, note) != CUDNN_STATUS_SUCCESS)
        return false;
    for (int64_t i = 0; i < notes; i++) {
        bool harmless = note[i] == CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP ||
                        (note[i] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE && (c->from == DT_BF16 || c->tf32));
        if (!harmless)
            return false;
    }
    return true;
}

/* Makes the choice ready. NULL: the library cannot, or it takes too much workspace. */
dt_dnn *ready(draft *choice, cudnnHandle_t handle)
{
    draft plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    int64_t count = 0, workspace = 0;
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, *choice);
    if (!plan.finish())
        return NULL;
    cudnnStatus_t status = cudnnBackendGetAttribute(plan.it, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1,
                                                    &count, &workspace);
    if (status != CUDNN_STATUS_SUCCESS)
        return NULL;
    if (workspace > MOST_WORKSPACE)
        return NULL;
    return new dt_dnn{plan.taken(), choice->taken(), workspace};
}

/* The first of the engines that the library lists. NULL: none. */
dt_dnn *choose(const dt_convolution *c, const draft &graph, cudnnBackendHeurMode_t mode, cudnnHandle_t handle)
{
    draft heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (!heuristics.finish())
        return NULL;
    cudnnBackendDescriptor_t list[CHOICES] = {};
    int64_t count = 0;
    int made = 0;
    while (made < CHOICES &&
           cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &list[made]) == CUDNN_STATUS_SUCCESS)
        made++;
    cudnnStatus_t status = cudnnBackendGetAttribute(heuristics.it, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                                    made, &count, list);
    if (status != CUDNN_STATUS_SUCCESS)
        count = 0;
    dt_dnn *dnn = NULL;
    for (int i = 0; i < made; i++) {
        draft choice(list[i]);
        if (!dnn && i < count && computes_so(choice.it, c))
            dnn = ready(&choice, handle);
    }
    return dnn;
}

} // namespace

dt_dnn *dt_dnn_new(const dt_convolution *c, char *message)
{
    cudnnHandle_t handle = library(message);
    draft graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    if (!handle)
        return NULL;
    if (!describe_graph(&graph, c, handle)) {
        size_t length = (size_t)snprintf(message, DT_MESSAGE, "cuDNN refuses a convolution: ");
        cudnnGetLastErrorString(message + length, DT_MESSAGE - length);
        return NULL;
    }
    dt_dnn *dnn = NULL;
    for (cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK})
        dnn = dnn ? dnn : choose(c, graph, mode, handle);
    if (!dnn)
        snprintf(message, DT_MESSAGE, "cuDNN has no engine for a convolution that repeats its bits and sums in float32");
    return dnn;
}

void dt_dnn_free(dt_dnn *dnn)
{
    if (!dnn)
        return;
    cudnnBackendDestroyDescriptor(dnn->plan);
    cudnnBackendDestroyDescriptor(dnn->choice);
    delete dnn;
}

size_t dt_dnn_workspace(const dt_dnn *dnn)
{
    return (size_t)dnn->workspace;
}

void dt_dnn_run(const dt_dnn *dnn, void *x, void *weight, void *y, void *workspace, const dt_call *call)
{
    const int64_t id[] = {X, WEIGHT, Y};
    void *data[] = {x, weight, y};
    cudnnHandle_t handle = library(call->fault);
    if (!handle)
        return;
    draft operands(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    operands.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 3, id);
    operands.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 3, data);
    operands.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    if (operands.finish())
        operands.status = cudnnBackendExecute(handle, dnn->plan, operands.it);
    if (operands.status != CUDNN_STATUS_SUCCESS)
        snprintf(call->fault, DT_MESSAGE, "cuDNN, running a convolution: %s", cudnnGetErrorString(operands.status));
}
