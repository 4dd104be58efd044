/* sdpa.h over cuDNN 9, through its graph interface (cudnn_plan.h). Attention is drawn node by node, as NVIDIA's own front
 * end to it draws it: the library knows these graphs and has one kernel for each. What it takes depends on the nodes and on
 * which tensors there are, so both are to be left as they are. */
#include "kernels/cuda/cudnn_plan.h"
#include "kernels/cuda/sdpa.h"

struct dt_sdpa {
    dt_sdpa_form form;     /* n: the samples of a run */
    dt_cudnn_plan *plan;   /* others may have it too */
    int64_t library, sums; /* bytes of workspace; those of the library come first */
};

namespace
{

/* Version 9.15 and before compute wrong gradients where 128 does not divide t. */
enum { AXES = 4, WIDEST = 128, FIRST_VERSION = 91600 };
const int64_t MOST_WORKSPACE = (int64_t)2 << 30;

/* The tensors that a run is given, by their numbers in the graph. */
enum { Q = 1, K, V, Y, LSE, DY, DQ, DK, DV, SUMS, SCALE, LOWEST, ONE, WITHIN };

typedef dt_descriptor descriptor;

/* Collects the descriptors of a graph; after a refusal nothing more is asked of the library. */
struct drawing {
    enum { MADE = 128, NODES = 32 }; /* the gradient of causal attention has 70 and 21 */
    descriptor made[MADE], nodes[NODES];
    int count = 0, node_count = 0;
    cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
    int64_t n, heads, t, d, within = WITHIN;

    explicit drawing(const dt_sdpa_form &f) : n(f.n), heads(f.heads), t(f.t), d(f.d)
    {
    }
    drawing(const drawing &) = delete;
    ~drawing()
    {
        for (int i = 0; i < count; i++)
            cudnnBackendDestroyDescriptor(made[i]);
    }
    descriptor begin(cudnnBackendDescriptorType_t type)
    {
        descriptor it = NULL;
        if (status == CUDNN_STATUS_SUCCESS)
            status = count < MADE ? cudnnBackendCreateDescriptor(type, &it) : CUDNN_STATUS_INTERNAL_ERROR;
        if (it)
            made[count++] = it;
        return it;
    }
    void set(descriptor it, cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t values,
             const void *from)
    {
        if (status == CUDNN_STATUS_SUCCESS)
            status = cudnnBackendSetAttribute(it, name, type, values, from);
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
        end(it);
        if (status == CUDNN_STATUS_SUCCESS && node_count == NODES)
            status = CUDNN_STATUS_INTERNAL_ERROR;
        if (status == CUDNN_STATUS_SUCCESS)
            nodes[node_count++] = it;
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
        set(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, node_count, nodes);
        set(graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &handle);
        return end(graph);
    }
};

/* On GPUs after Hopper the gradient that repeats its bits has to be asked for by engine and knobs, which differ by version. */
bool is_known(void)
{
    int device = 0, major = 0;
    return cudaGetDevice(&device) != cudaSuccess ||
           cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device) != cudaSuccess || major <= 9;
}

enum { SAMPLES = 1 }; /* the place of n among the numbers */

dt_cudnn_form form_of(const dt_sdpa_form *f)
{
    return {{DT_CUDNN_ATTENTION, f->n, f->t, f->heads, f->d, f->causal, f->backward}};
}

/* All that the library says of its engines but that they do not repeat their bits. */
const unsigned ALLOWED = ~(1u << CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC);

/* NULL, and *too_large not 0: there is one for fewer samples. */
dt_cudnn_plan *plan_of(const dt_sdpa_form *form, int64_t *too_large, char *message)
{
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    const dt_cudnn_form numbers = form_of(form);
    dt_cudnn_plan *plan = shared_plan(&numbers);
    cudnnHandle_t handle = plan ? NULL : dt_cudnn_handle(message);
    *too_large = 0;
    if (plan || !handle)
        return plan;
    drawing d(*form);
    if (form->backward)
        d.draw_backward(form->causal);
    else
        d.draw_forward(form->causal);
    descriptor graph = d.finish(handle);
    if (d.status != CUDNN_STATUS_SUCCESS) {
        say_refusal(message);
        return NULL;
    }
    search s = {ALLOWED, MOST_WORKSPACE, 0};
    plan = new_plan(&numbers, graph, &mode, 1, handle, &s, message);
    *too_large = s.too_large;
    return plan;
}

/* As many of n samples as can be done at once where all of them take `workspace` bytes: in parts of equal size, but for the
 * last, that begin at multiples of 16 bytes in each tensor. 0: not even the least part can. */
int64_t part_of(const dt_sdpa_form *f, int64_t workspace)
{
    const int64_t fit = (int64_t)((double)f->n * MOST_WORKSPACE / (double)workspace), rows = f->heads * f->t;
    const int64_t least = rows % 4 == 0 ? 1 : rows % 2 == 0 ? 2 : 4; /* for the rows' sums, in float32 */
    const int64_t all = dt_parts(f->n, least), parts = fit >= least ? dt_parts(all, fit / least) : 0;
    return parts > 1 ? dt_parts(all, parts) * least : 0;
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
    dt_sdpa *sdpa = (dt_sdpa *)calloc(1, sizeof *sdpa);
    if (!sdpa) {
        snprintf(message, DT_MESSAGE, "out of memory while planning");
        return NULL;
    }
    int64_t too_large = 0;
    sdpa->form = *form;
    while (sdpa->form.n && !(sdpa->plan = plan_of(&sdpa->form, &too_large, message)))
        sdpa->form.n = too_large ? part_of(&sdpa->form, too_large) : 0;
    if (!sdpa->plan) {
        free(sdpa);
        return NULL;
    }
    if (sdpa->form.n < form->n)
        sdpa->plan->asked = form_of(form);
    sdpa->form.n = sdpa->plan->form.number[SAMPLES];
    sdpa->library = (int64_t)dt_room((size_t)sdpa->plan->workspace);
    sdpa->sums = form->backward ? sdpa->form.n * form->heads * form->t * (int64_t)sizeof(float) : 0;
    return sdpa;
}

void dt_sdpa_free(dt_sdpa *sdpa)
{
    if (sdpa)
        give_plan_back(sdpa->plan);
    free(sdpa);
}

int64_t dt_sdpa_samples(const dt_sdpa *sdpa)
{
    return sdpa->form.n;
}

size_t dt_sdpa_workspace(const dt_sdpa *sdpa)
{
    return (size_t)(sdpa->library + sdpa->sums);
}

/* LOWEST comes last in both, and in causal attention alone. */
void dt_sdpa_forward(const dt_sdpa *sdpa, const void *qkv, void *y, float *lse, void *workspace, const dt_call *call)
{
    const float scale = 1 / sqrtf((float)sdpa->form.d), lowest = -INFINITY;
    const int64_t id[] = {Q, K, V, Y, LSE, SCALE, LOWEST};
    const void *const data[] = {part(sdpa, qkv, 0), part(sdpa, qkv, 1), part(sdpa, qkv, 2), y, lse, &scale, &lowest};
    run_plan(sdpa->plan, sdpa->form.causal ? 7 : 6, id, data, workspace, call);
}

void dt_sdpa_backward(const dt_sdpa *sdpa, const void *qkv, const void *y, const float *lse, const void *dy, void *dqkv,
                      void *workspace, const dt_call *call)
{
    const float scale = 1 / sqrtf((float)sdpa->form.d), lowest = -INFINITY, one = 1;
    const void *sums = (const char *)workspace + sdpa->library;
    const void *q = part(sdpa, qkv, 0), *k = part(sdpa, qkv, 1), *v = part(sdpa, qkv, 2);
    const void *dq = part(sdpa, dqkv, 0), *dk = part(sdpa, dqkv, 1), *dv = part(sdpa, dqkv, 2);
    const int64_t id[] = {Q, K, V, Y, LSE, DY, DQ, DK, DV, SUMS, SCALE, ONE, LOWEST};
    const void *const data[] = {q, k, v, y, lse, dy, dq, dk, dv, sums, &scale, &one, &lowest};
    run_plan(sdpa->plan, sdpa->form.causal ? 13 : 12, id, data, workspace, call);
}
