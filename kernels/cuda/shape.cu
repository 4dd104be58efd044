/* Moving elements about. All types have four bytes so far, and are moved as words. */
#include "kernels/cuda/launch.h"

extern "C" {
extern const dt_kernel dt_cuda_shape[];
}

namespace
{

typedef uint32_t word;

__global__ void fill_kernel(float *y, int64_t count, float value)
{
    for (int64_t i = dt_thread(); i < count; i += dt_threads())
        dt_store(y, i, value);
}

void run_fill(const dt_call *call)
{
    const dt_node *node = call->node;
    int64_t count = dt_count(&node->output[0].shape);
    DT_LAUNCH(fill_kernel, dt_grid(count, DT_BLOCK), DT_BLOCK, 0, (float *)call->out[0], count,
              *(const float *)node->attributes);
    dt_cuda_check(call, "fill");
}

/* `outer` stretches of `length` words each, and the distances between them on both sides. */
struct stretches {
    int64_t outer, length, from_step, to_step;
};

__global__ void copy_kernel(const word *x, stretches s, word *y)
{
    for (int64_t i = dt_thread(); i < s.outer * s.length; i += dt_threads()) {
        int64_t o = i / s.length, k = i % s.length;
        y[o * s.to_step + k] = x[o * s.from_step + k];
    }
}

void copy_stretches(const word *x, stretches s, word *y)
{
    DT_LAUNCH(copy_kernel, dt_grid(s.outer * s.length, DT_BLOCK), DT_BLOCK, 0, x, s, y);
}

/* Words of one step along `axis`: all that lies inside it. */
int64_t inner_words(const dt_tensor *x, int axis)
{
    return dt_span(&x->shape, axis + 1, x->shape.rank);
}

void run_slice(const dt_call *call)
{
    const dt_axis_range *r = (const dt_axis_range *)call->node->attributes;
    const dt_tensor *x = call->node->input[0];
    int64_t inner = inner_words(x, r->axis), length = r->length * inner;
    copy_stretches((const word *)call->in[0] + r->start * inner,
                   {dt_span(&x->shape, 0, r->axis), length, x->shape.dim[r->axis] * inner, length}, (word *)call->out[0]);
    dt_cuda_check(call, "slice");
}

void run_concat(const dt_call *call)
{
    const dt_node *node = call->node;
    int axis = ((const dt_axis_range *)node->attributes)->axis;
    int64_t inner = inner_words(&node->output[0], axis), whole = node->output[0].shape.dim[axis] * inner;
    word *to = (word *)call->out[0];
    for (int i = 0; i < node->inputs; i++) {
        int64_t length = node->input[i]->shape.dim[axis] * inner;
        copy_stretches((const word *)call->in[i], {dt_span(&node->output[0].shape, 0, axis), length, length, whole}, to);
        to += length;
    }
    dt_cuda_check(call, "concat");
}

/* y has `before` zeros, a stretch of x, and zeros up to to_step, again and again. */
__global__ void pad_kernel(const word *x, stretches s, int64_t before, word *y)
{
    for (int64_t i = dt_thread(); i < s.outer * s.to_step; i += dt_threads()) {
        int64_t o = i / s.to_step, k = i % s.to_step - before;
        y[i] = k >= 0 && k < s.length ? x[o * s.from_step + k] : 0;
    }
}

void run_pad(const dt_call *call)
{
    const dt_axis_range *r = (const dt_axis_range *)call->node->attributes;
    const dt_tensor *x = call->node->input[0];
    int64_t inner = inner_words(x, r->axis), length = x->shape.dim[r->axis] * inner;
    stretches s = {dt_span(&x->shape, 0, r->axis), length, length, r->length * inner};
    DT_LAUNCH(pad_kernel, dt_grid(s.outer * s.to_step, DT_BLOCK), DT_BLOCK, 0, (const word *)call->in[0], s, r->start * inner,
              (word *)call->out[0]);
    dt_cuda_check(call, "pad");
}

/* Walks the result in order; stride[k] is how far the source moves along axis k of the result (0: repeated). */
struct walk {
    int rank;
    int64_t count, dim[DT_MAX_RANK], stride[DT_MAX_RANK];
};

__global__ void gather_kernel(const word *x, walk w, word *y)
{
    for (int64_t i = dt_thread(); i < w.count; i += dt_threads()) {
        int64_t rest = i, at = 0;
        for (int k = w.rank - 1; k >= 0; k--) {
            at += rest % w.dim[k] * w.stride[k];
            rest /= w.dim[k];
        }
        y[i] = x[at];
    }
}

walk walk_of(const dt_shape *to)
{
    walk w = {to->rank, dt_count(to), {0}, {0}};
    for (int k = 0; k < to->rank; k++)
        w.dim[k] = to->dim[k];
    return w;
}

void run_walk(const dt_call *call, const walk &w, const char *name)
{
    DT_LAUNCH(gather_kernel, dt_grid(w.count, DT_BLOCK), DT_BLOCK, 0, (const word *)call->in[0], w, (word *)call->out[0]);
    dt_cuda_check(call, name);
}

void run_transpose(const dt_call *call)
{
    const dt_permutation *p = (const dt_permutation *)call->node->attributes;
    const dt_shape *from = &call->node->input[0]->shape;
    walk w = walk_of(&call->node->output[0].shape);
    for (int k = 0; k < w.rank; k++)
        w.stride[k] = dt_span(from, p->axis[k] + 1, from->rank);
    run_walk(call, w, "transpose");
}

void run_broadcast(const dt_call *call)
{
    const dt_shape *from = &call->node->input[0]->shape;
    walk w = walk_of(&call->node->output[0].shape);
    int lead = w.rank - from->rank;
    for (int k = 0; k < w.rank; k++)
        w.stride[k] = k < lead || from->dim[k - lead] == 1 ? 0 : dt_span(from, k - lead + 1, from->rank);
    run_walk(call, w, "broadcast");
}

} // namespace

const dt_kernel dt_cuda_shape[] = {{&dt_op_fill, run_fill, NULL, NULL},           {&dt_op_slice, run_slice, NULL, NULL},
                                   {&dt_op_pad, run_pad, NULL, NULL},             {&dt_op_concat, run_concat, NULL, NULL},
                                   {&dt_op_transpose, run_transpose, NULL, NULL}, {&dt_op_broadcast, run_broadcast, NULL, NULL},
                                   {}};
