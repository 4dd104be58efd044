/* Stands in for kernels/cuda/blas.cu: the same products as plain loops on the host, done in the stream's turn. A sum is taken
 * in double, in the order of the depth, and rounded once. What the library refuses is refused, and a little more: a bias or an
 * activation on a single column, and what is beside three rows, so that what is done without them is tried as well. */
#include "kernels/cuda/blas.h"
#include "tests/cudasim/simulator.h"

#include <algorithm>
#include <stdio.h>

/* The simulator's own tests have no backend. */
cudaStream_t dt_cuda_stream(void) __attribute__((weak));

struct dt_blas {
    dt_product p;
};

namespace
{

enum { WORKSPACE = 1024 };

size_t size_of(dt_dtype type)
{
    return type == DT_BF16 ? 2 : 4;
}

float element(const void *x, dt_dtype type, int64_t i)
{
    return type == DT_BF16 ? dt_load(static_cast<const dt_bf16 *>(x), i) : dt_load(static_cast<const float *>(x), i);
}

/* 10 bits of mantissa, to the nearest. */
float to_tf32(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits >> 23 & 0xff) == 0xff)
        return x;
    bits = (bits + 0xfff + (bits >> 13 & 1)) & ~0x1fffu;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* One of the operands in memory: `rows` stretches of `width` elements, `stride` from one to the next. */
struct matrix {
    const char *name;
    const void *memory;
    dt_dtype type;
    int64_t rows, width, stride;

    size_t bytes() const
    {
        return (size_t)((rows - 1) * stride + width) * size_of(type);
    }

    /* What lies between rows is nobody's. */
    void spans(std::vector<cudasim_span> *to) const
    {
        bool dense = stride == width;
        for (int64_t r = 0; r < (dense ? 1 : rows); r++)
            to->push_back({static_cast<const char *>(memory) + (size_t)(r * stride) * size_of(type),
                           dense ? bytes() : (size_t)width * size_of(type)});
    }

    bool overlaps(const matrix &other) const
    {
        const char *from = static_cast<const char *>(memory), *to = static_cast<const char *>(other.memory);
        return from < to + other.bytes() && to < from + bytes();
    }

    /* As floats, without gaps, in rows of op(x). */
    std::vector<float> read(bool transpose, bool tf32) const
    {
        std::vector<float> values((size_t)(rows * width));
        for (int64_t r = 0; r < rows; r++)
            for (int64_t i = 0; i < width; i++) {
                float x = element(memory, type, r * stride + i);
                values[(size_t)(transpose ? i * rows + r : r * width + i)] = tf32 ? to_tf32(x) : x;
            }
        return values;
    }
};

double activate(double x, dt_activation activation)
{
    if (activation == DT_ACT_GELU_TANH)
        return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
    return x;
}

/* Matrix i of a batch; matrices lie one after another with their rows' strides. */
matrix part(const matrix &of, int64_t i, int64_t rows)
{
    matrix one = of;
    one.memory = static_cast<const char *>(of.memory) + (size_t)(i * rows * of.stride) * size_of(of.type);
    one.rows = rows;
    return one;
}

double gelu_tanh_slope(double x)
{
    double t = tanh(0.7978845608028654 * (x + 0.044715 * x * x * x));
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * 0.7978845608028654 * (1 + 3 * 0.044715 * x * x);
}

void put(void *to, dt_dtype type, int64_t i, double value)
{
    if (type == DT_BF16)
        dt_store(static_cast<dt_bf16 *>(to), i, (float)value);
    else
        dt_store(static_cast<float *>(to), i, (float)value);
}

void multiply(const dt_product &p, const matrix &a, const matrix &b, const void *bias, const void *residual, void *beside,
              void *y)
{
    std::vector<float> left = a.read(p.transpose_a, p.tf32), right = b.read(p.transpose_b, p.tf32);
    std::vector<double> sum((size_t)p.columns);
    for (int64_t r = 0; r < p.rows; r++) {
        std::fill(sum.begin(), sum.end(), 0.0);
        for (int64_t k = 0; k < p.depth; k++) {
            double x = left[(size_t)(r * p.depth + k)];
            const float *row = &right[(size_t)(k * p.columns)];
            for (int64_t c = 0; c < p.columns; c++)
                sum[(size_t)c] += x * row[c];
        }
        for (int64_t c = 0; c < p.columns; c++) {
            int64_t at = r * p.stride_y + c;
            double before = p.scale * sum[(size_t)c] + (bias ? element(bias, p.out, c) : 0);
            if (p.beside == DT_BESIDE_BEFORE)
                put(beside, p.out, at, before);
            if (p.beside == DT_BESIDE_SLOPE)
                before *= gelu_tanh_slope(element(beside, p.out, at));
            put(y, p.out, at, activate(before, p.activation) + (residual ? element(residual, p.out, at) : 0));
        }
    }
}

/* What the library would not survive; NULL: nothing. */
const char *complaint(const dt_product &p, const std::vector<matrix> &operands, const std::vector<matrix> &results,
                      const void *beside, void *workspace)
{
    std::vector<matrix> all = operands;
    all.insert(all.end(), results.begin(), results.end());
    for (const matrix &m : all) {
        bool wide = p.beside && m.memory == beside;
        if (!m.memory)
            return m.name;
        if ((uintptr_t)m.memory % (wide ? 16 : size_of(m.type)))
            return wide ? "a matrix beside that is not aligned to 16 bytes" : "something is not aligned to its elements";
    }
    for (const matrix &y : results)
        for (const matrix &m : operands)
            if (m.overlaps(y) && !(p.residual && m.memory == y.memory && m.name == operands.back().name))
                return "the result is written over an operand";
    if (results.size() > 1 && results[0].overlaps(results[1]))
        return "one result is written over the other";
    return workspace ? NULL : "the workspace is missing";
}

} // namespace

dt_blas *dt_blas_new(const dt_product *product, char *message)
{
    dt_product p = dt_product_filled(product);
    const char *wrong = dt_product_complaint(&p);
    if (!wrong && p.columns == 1 && (p.bias || p.activation != DT_ACT_NONE))
        wrong = "a bias or an activation on a single column";
    if (!wrong && p.rows == 3 && p.beside != DT_BESIDE_NOTHING)
        wrong = "something beside three rows";
    if (wrong) {
        snprintf(message, DT_MESSAGE, "cuBLASLt (simulated): %s", wrong);
        return NULL;
    }
    return new dt_blas{p};
}

void dt_blas_free(dt_blas *blas)
{
    delete blas;
}

size_t dt_blas_workspace(const dt_blas *)
{
    return WORKSPACE;
}

void dt_blas_run_beside(const dt_blas *blas, const void *a, const void *b, const void *bias, const void *residual, void *beside,
                        void *y, void *workspace, const dt_call *call)
{
    const dt_product p = blas->p;
    int64_t rows_a = p.transpose_a ? p.depth : p.rows, rows_b = p.transpose_b ? p.columns : p.depth;
    matrix left = {"operand a is missing", a, p.in, p.batch * rows_a, p.transpose_a ? p.rows : p.depth, p.stride_a};
    matrix right = {"operand b is missing", b, p.in, p.batch * rows_b, p.transpose_b ? p.depth : p.columns, p.stride_b};
    matrix result = {"y has no place", y, p.out, p.batch * p.rows, p.columns, p.stride_y};
    std::vector<matrix> operands = {left, right};
    if (p.bias)
        operands.push_back({"the bias is missing", bias, p.out, 1, p.columns, p.columns});
    if (p.residual)
        operands.push_back({"the residual is missing", residual, p.out, p.rows, p.columns, p.stride_y});
    std::vector<matrix> results = {result};
    if (p.beside == DT_BESIDE_BEFORE)
        results.push_back({"the activation's input has no place", beside, p.out, p.rows, p.columns, p.columns});
    if (p.beside == DT_BESIDE_SLOPE)
        operands.push_back({"the slope's operand is missing", beside, p.out, p.rows, p.columns, p.columns});
    const char *wrong = complaint(p, operands, results, beside, workspace);
    if (wrong) {
        snprintf(call->fault, DT_MESSAGE, "cuBLASLt (simulated): %s", wrong);
        return;
    }
    std::vector<cudasim_span> reads, writes = {{workspace, WORKSPACE}};
    for (const matrix &m : operands)
        m.spans(&reads);
    for (const matrix &m : results)
        m.spans(&writes);
    cudasim_library(dt_cuda_stream(), "a product of cuBLASLt", reads, writes, [=] {
        memset(workspace, 0xff, WORKSPACE); /* nobody else may keep anything there */
        for (int64_t i = 0; i < p.batch; i++)
            multiply(p, part(left, i, rows_a), part(right, i, rows_b), p.bias ? bias : NULL, p.residual ? residual : NULL, beside,
                     static_cast<char *>(y) + (size_t)(i * p.rows * p.stride_y) * size_of(p.out));
    });
}
