/* sdpa.h over cuDNN 9, through its graph interface. Attention is drawn node by node, as NVIDIA's own front end to it
 * draws it: the library knows these graphs and has one kernel for each. What it takes depends on the nodes and on which tensors
 * there are, so both are to be left as they are. */
#include "kernels/cuda/sdpa.h"

#include <cudnn_graph.h>
#include <stdio.h>
#include <vector>

struct dt_sdpa {
    dt_sdpa_form form;
    cudnnBackendDescriptor_t plan, choice; /* the plan is made of the choice, which outlives it */
    int64_t workspace, sums;               /* bytes; those of the library's come first */
};

namespace
{

/* Version 9.15 and before compute wrong gradients where 128 does not divide t. */
enum { AXES = 4, CHOICES = 64, WIDEST = 128, FIRST_VERSION = 91600, ALIGNMENT = 256 };
const int64_t MOST_WORKSPACE = (int64_t)2 << 30;

/* The tensors that a run is given, by their numbers in the graph. */
enum { Q = 1, K, V, Y, LSE, DY, DQ, DK, DV, SUMS, SCALE, LOWEST, ONE, WITHIN };

typedef cudnnBackendDescriptor_t descriptor;

/* Collects the descriptors of a graph; after a refusal nothing more is asked of the library. */
struct drawing {
    std::vector<descriptor> made, nodes;
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
    int64_t n, heads, t, d, within = WITHIN;

    explicit drawing(const dt_sdpa_form &f) : n(f.n), heads(f.heads), t(f.t), d(f.d)
    {
    }
    drawing(const drawing &) = delete;
    ~drawing()
    {
        for (descriptor one : made)
            cudnnBackendDestroyDescriptor(one);
    }
    descriptor begin(cudnnBackendDescriptorType_t type)
    {
        descriptor it = NULL;
        if (status == CUDNN_STATUS_SUCCESS)
            status = cudnnBackendCreateDescriptor(type, &it);
        if (it)
            made.push_back(it);
        return it;
    }
    void set(descriptor it, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
             const void *values)
    {
        if (status == CUDNN_STATUS_SUCCESS)
            status = cudnnBackendSetAttribute(it, name, type, count, values);
    }
    void set(descriptor it, cudnnBackendAttributeName_t name, descriptor other)
    {
        set(it, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &other);
    }
    descriptor end(descriptor it)
    {
        if (status == CUDNN_STATUS_SUCCESS)
            status = cudnnBackendFinalize(it);
        return it;
    }
    descriptor node(descriptor it)
    {
        nodes.push_back(end(it));
        return it;
    }

    struct layout {
        int64_t dim[AXES], stride[AXES];
        layout turned() const /* the last two axes change places */
        {
            return {{dim[0], dim[1], dim[3], dim[2]}, {stride[0], stride[1], stride[3], stride[2]}};
        }
    };
    enum where { GIVEN, VIRTUAL, BY_VALUE };

    descriptor tensor(int64_t id, const layout &l, cudnnDataType_t type, where at)
    {
        const int64_t alignment = 16;
        const bool is_virtual = at == VIRTUAL, by_value = at == BY_VALUE;
        descriptor it = begin(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
        set(it, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &id);
        set(it, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &type);
        set(it, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &alignment);
        set(it, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, AXES, l.dim);
        set(it, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, AXES, l.stride);
        set(it, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
        set(it, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &by_value);
        return end(it);
    }
    layout part_of_qkv() const /* q, k, v and their gradients, [n, heads, t, d] */
    {
        return {{n, heads, t, d}, {t * 3 * heads * d, d, 3 * heads * d, 1}};
    }
    layout mixed() const /* y and dy */
    {
        return {{n, heads, t, d}, {t * heads * d, d, heads * d, 1}};
    }
    layout pairs() const
    {
        return {{n, heads, t, t}, {heads * t * t, t * t, t, 1}};
    }
    layout rows() const
    {
        return {{n, heads, t, 1}, {heads * t, t, 1, 1}};
    }
    descriptor scalar(int64_t id)
    {
        return tensor(id, {{1, 1, 1, 1}, {1, 1, 1, 1}}, CUDNN_DATA_FLOAT, BY_VALUE);
    }
    descriptor given(int64_t id, const layout &l)
    {
        return tensor(id, l, CUDNN_DATA_BFLOAT16, GIVEN);
    }
    descriptor inner(const layout &l, cudnnDataType_t type = CUDNN_DATA_FLOAT)
    {
        return tensor(within++, l, type, VIRTUAL);
    }

    descriptor multiply(descriptor a, descriptor b, descriptor y)
    {
        const cudnnDataType_t sums = CUDNN_DATA_FLOAT;
        descriptor form = begin(CUDNN_BACKEND_MATMUL_DESCRIPTOR);
        set(form, CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
        end(form);
        descriptor it = begin(CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR);
        set(it, CUDNN_ATTR_OPERATION_MATMUL_ADESC, a);
        set(it, CUDNN_ATTR_OPERATION_MATMUL_BDESC, b);
        set(it, CUDNN_ATTR_OPERATION_MATMUL_CDESC, y);
        set(it, CUDNN_ATTR_OPERATION_MATMUL_DESC, form);
        node(it);
        return y;
    }
    /* y = mode(x, b), or where `choice` is given: choice ? x : b. */
    descriptor apply(cudnnPointwiseMode_t mode, descriptor x, descriptor b, descriptor y, descriptor choice = NULL,
                     int64_t axis = -1)
    {
        const cudnnDataType_t in = mode == CUDNN_POINTWISE_CMP_GE ? CUDNN_DATA_BOOLEAN : CUDNN_DATA_FLOAT;
        descriptor form = begin(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
        set(form, CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
        set(form, CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, &in);
        if (axis >= 0)
            set(form, CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, 1, &axis);
        end(form);
        descriptor it = begin(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
        set(it, CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, form);
        set(it, CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
        if (b)
            set(it, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, b);
        if (choice)
            set(it, CUDNN_ATTR_OPERATION_POINTWISE_TDESC, choice);
        set(it, CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
        node(it);
        return y;
    }
    descriptor reduce(cudnnReduceTensorOp_t how, descriptor x, descriptor y)
    {
        const cudnnDataType_t sums = CUDNN_DATA_FLOAT;
        descriptor form = begin(CUDNN_BACKEND_REDUCTION_DESCRIPTOR);
        set(form, CUDNN_ATTR_REDUCTION_OPERATOR, CUDNN_TYPE_REDUCTION_OPERATOR_TYPE, 1, &how);
        set(form, CUDNN_ATTR_REDUCTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &sums);
        end(form);
        descriptor it = begin(CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR);
        set(it, CUDNN_ATTR_OPERATION_REDUCTION_XDESC, x);
        set(it, CUDNN_ATTR_OPERATION_REDUCTION_YDESC, y);
        set(it, CUDNN_ATTR_OPERATION_REDUCTION_DESC, form);
        node(it);
        return y;
    }
    descriptor reshape(descriptor x, descriptor y)
    {
        descriptor it = begin(CUDNN_BACKEND_OPERATION_RESHAPE_DESCRIPTOR);
        set(it, CUDNN_ATTR_OPERATION_RESHAPE_XDESC, x);
        set(it, CUDNN_ATTR_OPERATION_RESHAPE_YDESC, y);
        node(it);
        return y;
    }
    /* Pairs whose key comes after the query become the lowest number. */
    descriptor hide_future(descriptor pair)
    {
        descriptor query = apply(CUDNN_POINTWISE_GEN_INDEX, pair, NULL, inner(pairs(), CUDNN_DATA_INT32), NULL, 2);
        descriptor key = apply(CUDNN_POINTWISE_GEN_INDEX, pair, NULL, inner(pairs(), CUDNN_DATA_INT32), NULL, 3);
        descriptor seen = apply(CUDNN_POINTWISE_CMP_GE, query, key, inner(pairs(), CUDNN_DATA_BOOLEAN));
        return apply(CUDNN_POINTWISE_BINARY_SELECT, pair, scalar(LOWEST), inner(pairs()), seen);
    }

    void draw_forward(bool causal)
    {
        descriptor q = given(Q, part_of_qkv()), k = given(K, part_of_qkv().turned()), v = given(V, part_of_qkv());
        descriptor s = multiply(q, k, inner(pairs()));
        s = apply(CUDNN_POINTWISE_MUL, s, scalar(SCALE), inner(pairs()));
        s = causal ? hide_future(s) : s;
        descriptor most = reduce(CUDNN_REDUCE_TENSOR_MAX, s, inner(rows()));
        descriptor p = apply(CUDNN_POINTWISE_SUB, s, most, inner(pairs()));
        p = apply(CUDNN_POINTWISE_EXP, p, NULL, inner(pairs()));
        descriptor sum = reduce(CUDNN_REDUCE_TENSOR_ADD, p, inner(rows()));
        descriptor log = apply(CUDNN_POINTWISE_LOG, sum, NULL, inner(rows()));
        apply(CUDNN_POINTWISE_ADD, most, log, tensor(LSE, rows(), CUDNN_DATA_FLOAT, GIVEN));
        p = apply(CUDNN_POINTWISE_DIV, p, sum, inner(pairs(), CUDNN_DATA_BFLOAT16));
        multiply(p, v, given(Y, mixed()));
    }

    /* dq is the result of a product. Were it float32 in workspace, and y made of it, blocks would add to it in any order: the
     * library decides by that, and says nothing of it in its notes. Made so it takes a workspace of n heads t t numbers. */
    void draw_backward(bool causal)
    {
        descriptor q = given(Q, part_of_qkv()), k = given(K, part_of_qkv().turned()), v = given(V, part_of_qkv().turned());
        descriptor y = given(Y, mixed()), dy = given(DY, mixed()), lse = tensor(LSE, rows(), CUDNN_DATA_FLOAT, GIVEN);
        descriptor scale = scalar(SCALE);

        const layout products = {{n, heads, t, d}, {heads * t * d, t * d, heads * d, 1}};
        descriptor sums = reduce(CUDNN_REDUCE_TENSOR_ADD, apply(CUDNN_POINTWISE_MUL, dy, y, inner(products)), inner(rows()));
        sums = apply(CUDNN_POINTWISE_MUL, sums, scalar(ONE), tensor(SUMS, rows(), CUDNN_DATA_FLOAT, GIVEN));

        descriptor s = multiply(q, k, inner(pairs()));
        s = apply(CUDNN_POINTWISE_MUL, s, scale, inner(pairs()));
        s = apply(CUDNN_POINTWISE_SUB, s, lse, inner(pairs()));
        s = causal ? hide_future(s) : s;
        descriptor p = apply(CUDNN_POINTWISE_EXP, s, NULL, inner(pairs()));
        multiply(reshape(p, inner(pairs().turned(), CUDNN_DATA_BFLOAT16)), dy, given(DV, part_of_qkv()));

        descriptor ds = multiply(dy, v, inner(pairs()));
        ds = apply(CUDNN_POINTWISE_SUB, ds, sums, inner(pairs()));
        ds = apply(CUDNN_POINTWISE_MUL, ds, p, inner(pairs()));
        ds = apply(CUDNN_POINTWISE_MUL, ds, scale, inner(pairs(), CUDNN_DATA_BFLOAT16));
        multiply(reshape(ds, inner(pairs().turned(), CUDNN_DATA_BFLOAT16)), q, given(DK, part_of_qkv()));
        multiply(ds, reshape(k, inner(part_of_qkv(), CUDNN_DATA_BFLOAT16)), given(DQ, part_of_qkv()));
    }

    descriptor finish(cudnnHandle_t handle)
    {
        descriptor graph = begin(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
        set(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, (int64_t)nodes.size(), nodes.data());
        set(graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
        return end(graph);
    }
};

/* One for all attention, made when it is first needed. NULL: the library does not start. */
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

/* On GPUs after Hopper the gradient that repeats its bits has to be asked for by engine and knobs, which differ by version. */
bool is_known(void)
{
    int device = 0, major = 0;
    return cudaGetDevice(&device) != cudaSuccess ||
           cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess || major <= 9;
}

/* Whether the engine repeats its bits, as far as the library says. */
bool repeats(descriptor choice)
{
    descriptor engine = NULL;
    cudnnBackendNumericalNote_t note[CUDNN_NUMERICAL_NOTE_TYPE_COUNT];
    int64_t one = 0, notes = 0;
    bool good = cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) == CUDNN_STATUS_SUCCESS &&
                cudnnBackendGetAttribute(choice, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &one,
                                         &engine) == CUDNN_STATUS_SUCCESS &&
                cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
                                         CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &notes, note) == CUDNN_STATUS_SUCCESS;
    for (int64_t i = 0; i < notes && good; i++)
        good = note[i] != CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC;
    if (engine)
        cudnnBackendDestroyDescriptor(engine);
    return good;
}

/* A plan of the choice and the workspace that it takes. NULL: the library cannot, or it takes too much. */
descriptor plan_of(descriptor choice, cudnnHandle_t handle, int64_t *workspace)
{
    descriptor plan = NULL;
    int64_t count = 0;
    cudnnStatus_t status = repeats(choice) ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED;
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendSetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendSetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                          &choice);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendFinalize(plan);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count,
                                          workspace);
    if (status == CUDNN_STATUS_SUCCESS && *workspace <= MOST_WORKSPACE)
        return plan;
    if (plan)
        cudnnBackendDestroyDescriptor(plan);
    return NULL;
}

/* The first of the engines, the likely fastest first, that can be made ready. False: none. */
bool choose(drawing *d, descriptor graph, cudnnHandle_t handle, dt_sdpa *sdpa)
{
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    descriptor heuristics = d->begin(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR), list[CHOICES] = {};
    int64_t count = 0;
    d->set(heuristics, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    d->set(heuristics, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    d->end(heuristics);
    for (int i = 0; i < CHOICES && d->status == CUDNN_STATUS_SUCCESS; i++)
        d->status = cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &list[i]);
    if (d->status == CUDNN_STATUS_SUCCESS)
        d->status = cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, CHOICES,
                                             &count, list);
    for (int i = 0; i < CHOICES; i++) {
        if (i < count && !sdpa->plan && d->status == CUDNN_STATUS_SUCCESS)
            sdpa->plan = plan_of(list[i], handle, &sdpa->workspace);
        if (sdpa->plan && !sdpa->choice)
            sdpa->choice = list[i];
        else if (list[i])
            cudnnBackendDestroyDescriptor(list[i]);
    }
    return sdpa->plan != NULL;
}

void run(const dt_sdpa *sdpa, const std::vector<int64_t> &id, const std::vector<const void *> &data, void *workspace,
         const dt_call *call)
{
    descriptor operands = NULL;
    cudnnHandle_t handle = library(call->fault);
    if (!handle)
        return;
    cudnnStatus_t status = cudnnBackendCreateDescriptor(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, &operands);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendSetAttribute(operands, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, (int64_t)id.size(),
                                          id.data());
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendSetAttribute(operands, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
                                          (int64_t)data.size(), data.data());
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendSetAttribute(operands, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendFinalize(operands);
    if (status == CUDNN_STATUS_SUCCESS)
        status = cudnnBackendExecute(handle, sdpa->plan, operands);
    if (status != CUDNN_STATUS_SUCCESS)
        snprintf(call->fault, DT_MESSAGE, "cuDNN, running attention: %s", cudnnGetErrorString(status));
    if (operands)
        cudnnBackendDestroyDescriptor(operands);
}

/* Part 0, 1 or 2 (q, k, v) of the first position. */
const void *part(const dt_sdpa *sdpa, const void *qkv, int which)
{
    return (const uint16_t *)qkv + which * sdpa->form.heads * sdpa->form.d;
}

} // namespace

dt_sdpa *dt_sdpa_new(const dt_sdpa_form *form, char *message)
{
    const bool refused = form->d % 8 || form->d > WIDEST || cudnnGetVersion() < FIRST_VERSION ||
                         (form->backward && (form->t == 1 || !is_known()));
    if (refused) {
        snprintf(message, DT_MESSAGE, "cuDNN %d has no attention for %lld positions and heads of %lld numbers",
                 (int)cudnnGetVersion(), (long long)form->t, (long long)form->d);
        return NULL;
    }
    cudnnHandle_t handle = library(message);
    if (!handle)
        return NULL;
    drawing d(*form);
    if (form->backward)
        d.draw_backward(form->causal);
    else
        d.draw_forward(form->causal);
    dt_sdpa *sdpa = new dt_sdpa{*form, NULL, NULL, 0, form->backward ? form->n * form->heads * form->t * 4 : 0};
    descriptor graph = d.finish(handle);
    if (choose(&d, graph, handle, sdpa)) {
        sdpa->workspace = dt_parts(sdpa->workspace, ALIGNMENT) * ALIGNMENT;
        return sdpa;
    }
    size_t length = (size_t)snprintf(message, DT_MESSAGE, "cuDNN refuses attention: ");
    cudnnGetLastErrorString(message + length, DT_MESSAGE - length);
    delete sdpa;
    return NULL;
}

void dt_sdpa_free(dt_sdpa *sdpa)
{
    if (!sdpa)
        return;
    cudnnBackendDestroyDescriptor(sdpa->plan);
    cudnnBackendDestroyDescriptor(sdpa->choice);
    delete sdpa;
}

size_t dt_sdpa_workspace(const dt_sdpa *sdpa)
{
    return (size_t)(sdpa->workspace + sdpa->sums);
}

void dt_sdpa_forward(const dt_sdpa *sdpa, const void *qkv, void *y, float *lse, void *workspace, const dt_call *call)
{
    const float scale = 1 / sqrtf((float)sdpa->form.d), lowest = -INFINITY;
    std::vector<int64_t> id = {Q, K, V, Y, LSE, SCALE};
    std::vector<const void *> data = {part(sdpa, qkv, 0), part(sdpa, qkv, 1), part(sdpa, qkv, 2), y, lse, &scale};
    if (sdpa->form.causal) {
        id.push_back(LOWEST);
        data.push_back(&lowest);
    }
    run(sdpa, id, data, workspace, call);
}

void dt_sdpa_backward(const dt_sdpa *sdpa, const void *qkv, const void *y, const float *lse, const void *dy, void *dqkv,
                      void *workspace, const dt_call *call)
{
    const float scale = 1 / sqrtf((float)sdpa->form.d), lowest = -INFINITY, one = 1;
    const void *sums = (const char *)workspace + sdpa->workspace;
    std::vector<int64_t> id = {Q, K, V, Y, LSE, DY, DQ, DK, DV, SUMS, SCALE, ONE};
    std::vector<const void *> data = {part(sdpa, qkv, 0),  part(sdpa, qkv, 1),  part(sdpa, qkv, 2),  y,    lse,    dy,
                                      part(sdpa, dqkv, 0), part(sdpa, dqkv, 1), part(sdpa, dqkv, 2), sums, &scale, &one};
    if (sdpa->form.causal) {
        id.push_back(LOWEST);
        data.push_back(&lowest);
    }
    run(sdpa, id, data, workspace, call);
}
