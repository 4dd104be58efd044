/* The simulated backend as tests see it: the CUDA backend, whose kernels may touch nothing but the tensors and the
 * workspace of the node that they run. A plan gives all its intermediates one allocation, where what lies beyond a tensor
 * is another one. */
#include "kernels/cuda/launch.h"
#include "tests/cudasim/control.h"

#include <vector>

extern "C" {
const dt_backend *dt_cuda_unbounded(char *message); /* backend.cu's dt_cuda, which the build gives this name */
}

namespace
{

/* What a wrapped kernel keeps from its preparation on. */
struct held {
    const dt_kernel *kernel;
    void *state;
    size_t workspace;
};

std::vector<const dt_kernel *> kernels;

const dt_kernel *kernel_of(const dt_op *op)
{
    if (dt_pointwise_code(op) >= 0)
        op = &dt_op_chain;
    for (const dt_kernel *kernel : kernels)
        if (kernel->op == op)
            return kernel;
    return nullptr;
}

size_t bytes_of(const dt_tensor *x)
{
    return (size_t)dt_count(&x->shape) * dt_dtype_size(x->dtype);
}

bool prepare(dt_preparation *preparation)
{
    held *h = new held{kernel_of(preparation->node->op), nullptr, 0};
    if (h->kernel->prepare && !h->kernel->prepare(preparation)) {
        delete h;
        return false;
    }
    h->state = preparation->state;
    h->workspace = preparation->workspace;
    preparation->state = h;
    return true;
}

void release(void *state)
{
    held *h = static_cast<held *>(state);
    if (h && h->kernel->release)
        h->kernel->release(h->state);
    delete h;
}

void run(const dt_call *call)
{
    const dt_node *node = call->node;
    const held *h = static_cast<const held *>(call->state);
    dt_call own = *call;
    own.state = h->state;
    cudasim_limits limits = {};
    if (node->inputs + node->outputs + 1 > CUDASIM_RANGES)
        limits.count = -1;
    for (int o = 0; limits.count >= 0 && o < node->outputs; o++)
        limits.range[limits.count++] = {call->out[o], bytes_of(&node->output[o]), true};
    for (int i = 0; limits.count >= 0 && i < node->inputs; i++)
        limits.range[limits.count++] = {call->in[i], bytes_of(node->input[i]), false};
    if (limits.count >= 0)
        limits.range[limits.count++] = {call->workspace, h->workspace, true};
    cudasim_limit(&limits);
    h->kernel->run(&own);
    cudasim_limit(nullptr);
}

} // namespace

extern "C" const dt_backend *dt_cuda(char *message)
{
    static std::vector<dt_kernel> wrapped;
    static const dt_kernel *families[2];
    static dt_backend bounded;
    const dt_backend *backend = dt_cuda_unbounded(message);
    if (!backend || bounded.families)
        return backend ? &bounded : nullptr;
    for (int f = 0; backend->families[f]; f++)
        for (const dt_kernel *kernel = backend->families[f]; kernel->op; kernel++) {
            kernels.push_back(kernel);
            wrapped.push_back(*kernel);
            wrapped.back().run = run;
            wrapped.back().prepare = prepare;
            wrapped.back().release = release;
        }
    wrapped.push_back({});
    families[0] = wrapped.data();
    bounded = *backend;
    bounded.families = families;
    return &bounded;
}
