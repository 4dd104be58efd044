/* Products over cuBLASLt. The library thinks in columns: a row-major matrix is to it the transposed one, so it is asked for
 * y^T = op(b)^T op(a)^T, where b comes first. A bias along the columns of y is then one along the rows of the library's
 * result, which is where its epilogues want it. */
#include "kernels/cuda/blas.h"

#include <cublasLt.h>
#include <stdio.h>
#include <stdlib.h>

namespace
{

/* The workspace that NVIDIA recommends for its own kernels on Hopper, and what one of them needs at the start of it. */
constexpr size_t MOST_WORKSPACE = (size_t)32 << 20, WORKSPACE_ALIGNMENT = 256;

constexpr uint32_t GOOD_ALIGNMENT = 16; /* of pointers: the widest access there is */

/* How the library goes about a product. */
struct way {
    bool known;
    cublasLtMatmulAlgo_t algorithm;
    size_t workspace;
};

} // namespace

struct dt_blas {
    dt_product p;
    cublasLtMatmulDesc_t operation;
    cublasLtMatrixLayout_t a, b, y; /* C, where there is a residual, lies as y does */
    way fast, any;                  /* pointers aligned to GOOD_ALIGNMENT; to elements */
};

namespace
{

/* The first thing that goes wrong, with the function that said so. */
struct trouble {
    cublasStatus_t status;
    const char *doing;

    bool none(cublasStatus_t now, const char *what)
    {
        if (status == CUBLAS_STATUS_SUCCESS && now != CUBLAS_STATUS_SUCCESS)
            *this = {now, what};
        return status == CUBLAS_STATUS_SUCCESS;
    }
};

/* Made when the first product is, and kept. */
cublasLtHandle_t library(trouble *t)
{
    static cublasLtHandle_t handle;
    if (!handle && !t->none(cublasLtCreate(&handle), "start"))
        handle = NULL;
    return handle;
}

cudaDataType_t type_of(dt_dtype type)
{
    return type == DT_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

uint32_t size_of(dt_dtype type)
{
    return type == DT_BF16 ? 2 : 4;
}

cublasLtEpilogue_t epilogue_of(const dt_product &p)
{
    if (p.beside == DT_BESIDE_SLOPE)
        return CUBLASLT_EPILOGUE_DGELU;
    if (p.beside == DT_BESIDE_BEFORE)
        return p.bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
    if (p.activation == DT_ACT_GELU_TANH)
        return p.bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
    return p.bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
}

template <class T> void set(trouble *t, cublasLtMatmulDesc_t of, cublasLtMatmulDescAttributes_t which, T value)
{
    t->none(cublasLtMatmulDescSetAttribute(of, which, &value, sizeof value), "operation");
}

template <class T> void set(trouble *t, cublasLtMatmulPreference_t of, cublasLtMatmulPreferenceAttributes_t which, T value)
{
    t->none(cublasLtMatmulPreferenceSetAttribute(of, which, &value, sizeof value), "preference");
}

/* A row-major matrix of so many rows in memory, as the library sees it. */
cublasLtMatrixLayout_t layout(trouble *t, dt_dtype type, int64_t rows, int64_t width, int64_t stride, int64_t batch)
{
    cublasLtMatrixLayout_t made = NULL;
    int32_t count = (int32_t)batch;
    int64_t offset = rows * stride;
    if (t->none(cublasLtMatrixLayoutCreate(&made, type_of(type), (uint64_t)width, (uint64_t)rows, stride), "layout") &&
        batch > 1) {
        t->none(cublasLtMatrixLayoutSetAttribute(made, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count), "batch");
        t->none(cublasLtMatrixLayoutSetAttribute(made, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &offset, sizeof offset),
                "batch");
    }
    return made;
}

void describe(dt_blas *blas, trouble *t)
{
    const dt_product &p = blas->p;
    cublasComputeType_t compute = p.tf32 && p.in == DT_F32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    if (!t->none(cublasLtMatmulDescCreate(&blas->operation, compute, CUDA_R_32F), "operation"))
        return;
    set<int32_t>(t, blas->operation, CUBLASLT_MATMUL_DESC_TRANSA, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set<int32_t>(t, blas->operation, CUBLASLT_MATMUL_DESC_TRANSB, p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set<uint32_t>(t, blas->operation, CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(p));
    if (p.bias)
        set<int32_t>(t, blas->operation, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type_of(p.out));
    if (p.beside) {
        set<int64_t>(t, blas->operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, p.columns);
        set<int32_t>(t, blas->operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE, type_of(p.out));
    }
    blas->a = layout(t, p.in, p.transpose_a ? p.depth : p.rows, p.transpose_a ? p.rows : p.depth, p.stride_a, p.batch);
    blas->b = layout(t, p.in, p.transpose_b ? p.columns : p.depth, p.transpose_b ? p.depth : p.columns, p.stride_b, p.batch);
    blas->y = layout(t, p.out, p.rows, p.columns, p.stride_y, p.batch);
}

/* Where the bias is, and what is beside. */
void point(const dt_blas *blas, const void *bias, void *beside, trouble *t)
{
    if (blas->p.bias)
        set(t, blas->operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
    if (blas->p.beside)
        set(t, blas->operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, beside);
}

/* The library's first choice. Where it splits the depth, the parts are to be summed in float32 in a pass of their own, and not
 * by one block after another in the result's type. */
void choose(const dt_blas *blas, uint32_t alignment_in, uint32_t alignment_out, way *to, trouble *t)
{
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t first = {};
    int found = 0;
    if (!t->none(cublasLtMatmulPreferenceCreate(&preference), "preference"))
        return;
    set<uint64_t>(t, preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, MOST_WORKSPACE);
    set<uint32_t>(t, preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
    set<uint32_t>(t, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_in);
    set<uint32_t>(t, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_in);
    set<uint32_t>(t, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_out);
    set<uint32_t>(t, preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_out);
    /* Of these addresses only the alignment is looked at. */
    point(blas, (const void *)(uintptr_t)(256 + alignment_out), (void *)(uintptr_t)(256 + GOOD_ALIGNMENT), t);
    if (t->status == CUBLAS_STATUS_SUCCESS)
        t->none(cublasLtMatmulAlgoGetHeuristic(library(t), blas->operation, blas->b, blas->a, blas->y, blas->y, preference, 1,
                                               &first, &found),
                "choice of an algorithm");
    cublasLtMatmulPreferenceDestroy(preference);
    if (t->status == CUBLAS_STATUS_SUCCESS && found < 1)
        t->none(CUBLAS_STATUS_NOT_SUPPORTED, "choice of an algorithm");
    if (t->none(first.state, "choice of an algorithm"))
        *to = {true, first.algo, first.workspaceSize};
}

/* What this product is, for messages. */
struct words {
    char chars[160];
};

words describe_in_words(const dt_product &p)
{
    words w;
    const char *const beside[] = {"", ", its input beside", ", a slope beside"};
    snprintf(w.chars, sizeof w.chars, "[%lld x %lld] x [%lld x %lld]%s%s, batch %lld, %s to %s%s%s%s%s", (long long)p.rows,
             (long long)p.depth, (long long)p.depth, (long long)p.columns, p.transpose_a ? ", a transposed" : "",
             p.transpose_b ? ", b transposed" : "", (long long)p.batch, dt_dtype_name(p.in), dt_dtype_name(p.out),
             p.bias ? ", bias" : "", p.residual ? ", residual" : "", p.activation ? ", activation" : "",
             beside[p.beside]);
    return w;
}

} // namespace

dt_blas *dt_blas_new(const dt_product *product, char *message)
{
    dt_product p = dt_product_filled(product);
    const char *wrong = dt_product_complaint(&p);
    dt_blas *blas = wrong ? NULL : (dt_blas *)calloc(1, sizeof *blas);
    if (!blas) {
        snprintf(message, DT_MESSAGE, "cuBLASLt: %s", wrong ? wrong : "no memory left");
        return NULL;
    }
    trouble t = {CUBLAS_STATUS_SUCCESS, ""}, without = t;
    blas->p = p;
    if (library(&t))
        describe(blas, &t);
    if (t.status == CUBLAS_STATUS_SUCCESS)
        choose(blas, GOOD_ALIGNMENT, GOOD_ALIGNMENT, &blas->fast, &t);
    if (t.status == CUBLAS_STATUS_SUCCESS)
        choose(blas, size_of(p.in), size_of(p.out), &blas->any, &without); /* missed only by a run that needs it */
    if (t.status == CUBLAS_STATUS_SUCCESS)
        return blas;
    snprintf(message, DT_MESSAGE, "cuBLASLt, %s: %s (%s)", t.doing, cublasLtGetStatusString(t.status),
             describe_in_words(p).chars);
    dt_blas_free(blas);
    return NULL;
}

void dt_blas_free(dt_blas *blas)
{
    if (!blas)
        return;
    if (blas->operation)
        cublasLtMatmulDescDestroy(blas->operation);
    for (cublasLtMatrixLayout_t made : {blas->a, blas->b, blas->y})
        if (made)
            cublasLtMatrixLayoutDestroy(made);
    free(blas);
}

size_t dt_blas_workspace(const dt_blas *blas)
{
    size_t most = blas->fast.workspace > blas->any.workspace ? blas->fast.workspace : blas->any.workspace;
    return most ? most + WORKSPACE_ALIGNMENT : 0;
}

void dt_blas_run_beside(const dt_blas *blas, const void *a, const void *b, const void *bias, const void *residual, void *beside,
                        void *y, void *workspace, const dt_call *call)
{
    const dt_product &p = blas->p;
    const void *c = p.residual ? residual : y;
    bool fast = true;
    for (const void *pointer : {a, b, c, (const void *)y, p.bias ? bias : NULL})
        fast = fast && dt_aligned(pointer, GOOD_ALIGNMENT);
    const way *chosen = fast ? &blas->fast : &blas->any;
    trouble t = {CUBLAS_STATUS_SUCCESS, ""};
    float alpha = p.scale, beta = p.residual ? 1 : 0;
    uintptr_t room = ((uintptr_t)workspace + WORKSPACE_ALIGNMENT - 1) / WORKSPACE_ALIGNMENT * WORKSPACE_ALIGNMENT;
    if (!chosen->known || !dt_aligned(beside, GOOD_ALIGNMENT))
        t.none(CUBLAS_STATUS_NOT_SUPPORTED, "operands that are not aligned");
    point(blas, bias, beside, &t);
    if (t.status == CUBLAS_STATUS_SUCCESS)
        t.none(cublasLtMatmul(library(&t), blas->operation, &alpha, b, blas->b, a, blas->a, &beta, c, blas->y, y, blas->y,
                              &chosen->algorithm, chosen->workspace ? (void *)room : NULL, chosen->workspace,
                              dt_cuda_stream()),
               "run");
    if (t.status != CUBLAS_STATUS_SUCCESS && !call->fault[0])
        snprintf(call->fault, DT_MESSAGE, "cuBLASLt, %s: %s (%s)", t.doing, cublasLtGetStatusString(t.status),
                 describe_in_words(p).chars);
}
