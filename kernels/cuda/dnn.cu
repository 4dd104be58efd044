/* dnn.h over cuDNN 9, through its graph interface: an operation graph of one node (cudnn_plan.h). The engine that is taken
 * computes as dnn.h says. */
#include "kernels/cuda/cudnn_plan.h"
#include "kernels/cuda/dnn.h"

/* One that is asked for; the plan may be others' too. */
struct dt_dnn {
    dt_cudnn_plan *plan;
};

namespace
{

enum { AXES = 4, X = 1, WEIGHT, Y };
const int64_t MOST_WORKSPACE = 1 << 30;

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
    node.set(n.form, form.it);
    node.set(n.x, x.it);
    node.set(n.weight, weight.it);
    node.set(n.y, y.it);
    node.set(n.alpha, CUDNN_TYPE_FLOAT, 1, &one);
    node.set(n.beta, CUDNN_TYPE_FLOAT, 1, &zero);
    if (!node.finish())
        return false;
    graph->set(CUDNN_ATTR_OPERATIONGRAPH_OPS, node.it);
    graph->set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    return graph->finish();
}

/* An engine is to repeat its bits and to sum in float32 what it was given. On float32 tensor cores mean TF32. */
unsigned allowed_for(const dt_convolution *c)
{
    unsigned allowed = 1u << CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP;
    if (c->from == DT_BF16 || c->tf32)
        allowed |= 1u << CUDNN_NUMERICAL_NOTE_TENSOR_CORE;
    return allowed;
}

dt_cudnn_form form_of(const dt_convolution *c)
{
    return {{DT_CUDNN_CONVOLUTION, c->kind, c->batch, c->height, c->width, c->in, c->y_height, c->y_width, c->out, c->groups,
             c->kernel[0], c->kernel[1], c->stride[0], c->stride[1], c->padding[0], c->padding[1], c->dilation[0],
             c->dilation[1], c->from, c->to, c->tf32}};
}

dt_cudnn_plan *plan_of(const dt_convolution *c, char *message)
{
    const cudnnBackendHeurMode_t modes[] = {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK};
    const dt_cudnn_form form = form_of(c);
    dt_cudnn_plan *plan = shared_plan(&form);
    cudnnHandle_t handle = plan ? NULL : dt_cudnn_handle(message);
    if (plan || !handle)
        return plan;
    draft graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    if (!describe_graph(&graph, c, handle)) {
        say_refusal(message);
        return NULL;
    }
    search s = {allowed_for(c), MOST_WORKSPACE, 0};
    return new_plan(&form, graph.it, modes, 2, handle, &s, message);
}

} // namespace

dt_dnn *dt_dnn_new(const dt_convolution *c, char *message)
{
    dt_dnn *dnn = (dt_dnn *)malloc(sizeof *dnn);
    if (!dnn)
        snprintf(message, DT_MESSAGE, "out of memory while planning");
    else if ((dnn->plan = plan_of(c, message)))
        return dnn;
    free(dnn);
    return NULL;
}

void dt_dnn_free(dt_dnn *dnn)
{
    if (dnn)
        give_plan_back(dnn->plan);
    free(dnn);
}

size_t dt_dnn_workspace(const dt_dnn *dnn)
{
    return (size_t)dnn->plan->workspace;
}

void dt_dnn_run(const dt_dnn *dnn, void *x, void *weight, void *y, void *workspace, const dt_call *call)
{
    const int64_t id[] = {X, WEIGHT, Y};
    const void *const data[] = {x, weight, y};
    run_plan(dnn->plan, 3, id, data, workspace, call);
}
