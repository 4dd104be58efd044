/* The stand-in for cuDNN (kernels/cuda/dnn.h): plain loops on the host. It refuses what the library does not: groups and
 * dilation, so that conv.cu's own kernels have something to do. */
#include "kernels/cuda/dnn.h"
#include "tests/cudasim/simulator.h"

#include <stdio.h>

struct dt_dnn {
    dt_convolution c;
};

namespace
{

enum { WORKSPACE = 64 }; /* bytes, which nothing needs, but a caller must give */


/* add(x, weight, y) for every product that goes into an element of y: where the three lie in their tensors. */
template <class Add> void walk(const dt_convolution &c, Add add)
{
    for (int64_t row = 0; row < c.batch * c.y_height * c.y_width; row++)
        for (int64_t k = 0; k < c.kernel[0] * c.kernel[1]; k++) {
            int64_t i = row / c.y_width % c.y_height * c.stride[0] - c.padding[0] + k / c.kernel[1];
            int64_t j = row % c.y_width * c.stride[1] - c.padding[1] + k % c.kernel[1];
            if (i < 0 || i >= c.height || j < 0 || j >= c.width)
                continue;
            int64_t pixel = (row / c.y_width / c.y_height * c.height + i) * c.width + j;
            for (int64_t o = 0; o < c.out; o++)
                for (int64_t in = 0; in < c.in; in++)
                    add(pixel * c.in + in, (o * c.kernel[0] * c.kernel[1] + k) * c.in + in, row * c.out + o);
        }
}

std::vector<float> widened(const void *data, int64_t count, dt_dtype type)
{
    std::vector<float> values((size_t)count);
    for (int64_t i = 0; i < count; i++)
        values[(size_t)i] = type == DT_BF16 ? dt_load((const dt_bf16 *)data, i) : dt_load((const float *)data, i);
    return values;
}

void store(void *data, const std::vector<double> &values, dt_dtype type)
{
    for (size_t i = 0; i < values.size(); i++)
        if (type == DT_BF16)
            dt_store((dt_bf16 *)data, (int64_t)i, (float)values[i]);
        else
            dt_store((float *)data, (int64_t)i, (float)values[i]);
}

struct sizes {
    int64_t x, weight, y;
};

sizes sizes_of(const dt_convolution &c)
{
    return {c.batch * c.height * c.width * c.in, c.out * c.kernel[0] * c.kernel[1] * c.in,
            c.batch * c.y_height * c.y_width * c.out};
}

void compute(const dt_convolution &c, void *x, void *weight, void *y)
{
    sizes n = sizes_of(c);
    if (c.kind == DT_DNN_FORWARD) {
        std::vector<float> a = widened(x, n.x, c.from), b = widened(weight, n.weight, c.from);
        std::vector<double> to((size_t)n.y);
        walk(c, [&](int64_t i, int64_t w, int64_t o) { to[(size_t)o] += (double)a[(size_t)i] * b[(size_t)w]; });
        store(y, to, c.to);
    } else if (c.kind == DT_DNN_INPUT_GRAD) {
        std::vector<float> a = widened(y, n.y, c.from), b = widened(weight, n.weight, c.from);
        std::vector<double> to((size_t)n.x);
        walk(c, [&](int64_t i, int64_t w, int64_t o) { to[(size_t)i] += (double)a[(size_t)o] * b[(size_t)w]; });
        store(x, to, c.to);
    } else {
        std::vector<float> a = widened(x, n.x, c.from), b = widened(y, n.y, c.from);
        std::vector<double> to((size_t)n.weight);
        walk(c, [&](int64_t i, int64_t w, int64_t o) { to[(size_t)w] += (double)a[(size_t)i] * b[(size_t)o]; });
        store(weight, to, c.to);
    }
}

} // namespace

dt_dnn *dt_dnn_new(const dt_convolution *c, char *message)
{
    bool mixed = c->from != c->to;
    if (mixed || c->groups > 1 || c->dilation[0] > 1 || c->dilation[1] > 1) {
        snprintf(message, DT_MESSAGE, "the stand-in refuses %s", mixed ? "two types" : "groups and dilation");
        return NULL;
    }
    return new dt_dnn{*c};
}

void dt_dnn_free(dt_dnn *dnn)
{
    delete dnn;
}

size_t dt_dnn_workspace(const dt_dnn *)
{
    return WORKSPACE;
}

void dt_dnn_run(const dt_dnn *dnn, void *x, void *weight, void *y, void *workspace, const dt_call *call)
{
    const dt_convolution c = dnn->c;
    const sizes n = sizes_of(c);
    if (((uintptr_t)x | (uintptr_t)weight | (uintptr_t)y | (uintptr_t)workspace) % 16) {
        snprintf(call->fault, DT_MESSAGE, "an operand of a convolution is not aligned to 16 bytes");
        return;
    }
    std::vector<cudasim_span> spans = {{x, (size_t)n.x * dt_dtype_size(c.kind == DT_DNN_INPUT_GRAD ? c.to : c.from)},
                                       {weight, (size_t)n.weight * dt_dtype_size(c.kind == DT_DNN_WEIGHT_GRAD ? c.to : c.from)},
                                       {y, (size_t)n.y * dt_dtype_size(c.kind == DT_DNN_FORWARD ? c.to : c.from)}};
    size_t to = c.kind == DT_DNN_INPUT_GRAD ? 0 : c.kind == DT_DNN_WEIGHT_GRAD ? 1 : 2;
    std::vector<cudasim_span> writes = {spans[to], {workspace, WORKSPACE}};
    spans.erase(spans.begin() + (std::ptrdiff_t)to);
    cudaError_t error = cudasim_library(dt_cuda_stream(), "a convolution", spans, writes, [=] { compute(c, x, weight, y); });
    if (error != cudaSuccess)
        snprintf(call->fault, DT_MESSAGE, "a convolution: %s", cudaGetErrorString(error));
}
