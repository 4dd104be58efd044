/* Moving elements about. Copies are seen as [outer, middle, inner] blocks of contiguous bytes. */
#include "kernels/backend.h"
#include "kernels/ops.h"

#include <stdio.h>
#include <string.h>

extern const dt_kernel dt_cpu_shape[];

enum { PARALLEL_FROM = 1 << 15 };

static void run_fill(const dt_call *call)
{
    const dt_node *node = call->node;
    float value = *(const float *)node->attributes, *y = call->out[0];
    int64_t count = dt_count(&node->output[0].shape);
    for (int64_t i = 0; i < count; i++)
        y[i] = value;
}

/* Copies `outer` blocks of `bytes`, with given distances in bytes between blocks. */
static void copy_blocks(const char *from, int64_t from_step, char *to, int64_t to_step, int64_t outer, int64_t bytes)
{
#pragma omp parallel for schedule(static) if (outer * bytes > 4 * PARALLEL_FROM)
    for (int64_t o = 0; o < outer; o++)
        memcpy(to + o * to_step, from + o * from_step, (size_t)bytes);
}

/* Bytes of one step along `axis`: all that lies inside it. */
static int64_t inner_bytes(const dt_tensor *x, int axis)
{
    return dt_span(&x->shape, axis + 1, x->shape.rank) * (int64_t)dt_dtype_size(x->dtype);
}

static void run_slice(const dt_call *call)
{
    const dt_axis_range *r = call->node->attributes;
    const dt_tensor *x = call->node->input[0];
    int64_t inner = inner_bytes(x, r->axis), bytes = r->length * inner;
    copy_blocks((const char *)call->in[0] + r->start * inner, x->shape.dim[r->axis] * inner, call->out[0], bytes,
                dt_span(&x->shape, 0, r->axis), bytes);
}

static void run_pad(const dt_call *call)
{
    const dt_axis_range *r = call->node->attributes;
    const dt_tensor *x = call->node->input[0];
    int64_t inner = inner_bytes(x, r->axis), bytes = x->shape.dim[r->axis] * inner, whole = r->length * inner;
    int64_t before = r->start * inner, outer = dt_span(&x->shape, 0, r->axis);
    char *to = call->out[0];
#pragma omp parallel for schedule(static) if (outer * whole > 4 * PARALLEL_FROM)
    for (int64_t o = 0; o < outer; o++) {
        memset(to + o * whole, 0, (size_t)before);
        memcpy(to + o * whole + before, (const char *)call->in[0] + o * bytes, (size_t)bytes);
        memset(to + o * whole + before + bytes, 0, (size_t)(whole - before - bytes));
    }
}

static void run_concat(const dt_call *call)
{
    const dt_node *node = call->node;
    int axis = ((const dt_axis_range *)node->attributes)->axis;
    int64_t inner = inner_bytes(&node->output[0], axis), whole = node->output[0].shape.dim[axis] * inner;
    char *to = call->out[0];
    for (int i = 0; i < node->inputs; i++) {
        int64_t bytes = node->input[i]->shape.dim[axis] * inner;
        copy_blocks(call->in[i], bytes, to, whole, dt_span(&node->output[0].shape, 0, axis), bytes);
        to += bytes;
    }
}

/* Walks the result in order; stride[i] is how far the source moves along axis i of the result (0: repeated). */
static void gather_strided(const float *x, const dt_shape *shape, const int64_t *stride, float *y)
{
    int last = shape->rank - 1;
    int64_t n = shape->rank ? shape->dim[last] : 1, rows = dt_count(shape) / n, step = shape->rank ? stride[last] : 0;
#pragma omp parallel for schedule(static) if (rows * n > PARALLEL_FROM)
    for (int64_t r = 0; r < rows; r++) {
        int64_t rest = r, at = 0;
        for (int i = last - 1; i >= 0; i--) {
            at += rest % shape->dim[i] * stride[i];
            rest /= shape->dim[i];
        }
        float *row = y + r * n;
        if (step == 1)
            memcpy(row, x + at, sizeof *row * (size_t)n);
        else
            for (int64_t k = 0; k < n; k++)
                row[k] = x[at + k * step];
    }
}

static void run_transpose(const dt_call *call)
{
    const dt_permutation *p = call->node->attributes;
    const dt_shape *from = &call->node->input[0]->shape, *to = &call->node->output[0].shape;
    int64_t stride[DT_MAX_RANK];
    for (int i = 0; i < to->rank; i++)
        stride[i] = dt_span(from, p->axis[i] + 1, from->rank);
    gather_strided(call->in[0], to, stride, call->out[0]);
}

static void run_broadcast(const dt_call *call)
{
    const dt_shape *from = &call->node->input[0]->shape, *to = &call->node->output[0].shape;
    int64_t stride[DT_MAX_RANK];
    int lead = to->rank - from->rank;
    for (int i = 0; i < to->rank; i++)
        stride[i] = i < lead || from->dim[i - lead] == 1 ? 0 : dt_span(from, i - lead + 1, from->rank);
    gather_strided(call->in[0], to, stride, call->out[0]);
}

/* Checks every id before anything is read or written. */
static bool ids_good(const dt_call *call, const int32_t *ids, int64_t count, int64_t rows)
{
    for (int64_t i = 0; i < count; i++)
        if (ids[i] < 0 || ids[i] >= rows) {
            snprintf(call->fault, DT_MESSAGE, "index %d at position %lld is outside 0..%lld", ids[i], (long long)i,
                     (long long)rows - 1);
            return false;
        }
    return true;
}

static void run_embedding(const dt_call *call)
{
    const dt_shape *table = &call->node->input[0]->shape;
    const int32_t *ids = call->in[1];
    int64_t count = dt_count(&call->node->input[1]->shape), width = table->dim[1];
    const float *x = call->in[0];
    float *y = call->out[0];
    if (!ids_good(call, ids, count, table->dim[0]))
        return;
#pragma omp parallel for schedule(static) if (count * width > PARALLEL_FROM)
    for (int64_t i = 0; i < count; i++)
        memcpy(y + i * width, x + ids[i] * width, sizeof *y * (size_t)width);
}

/* Each thread adds all ids into columns of its own, so that the order of additions is that of the ids. */
static void run_embedding_grad(const dt_call *call)
{
    const dt_shape *table = &call->node->output[0].shape;
    const int32_t *ids = call->in[1];
    int64_t count = dt_count(&call->node->input[1]->shape), width = table->dim[1], panels = (width + 63) / 64;
    const float *dy = call->in[0];
    float *dx = call->out[0];
    if (!ids_good(call, ids, count, table->dim[0]))
        return;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < table->dim[0]; r++)
        memset(dx + r * width, 0, sizeof *dx * (size_t)width);
#pragma omp parallel for schedule(static) if (count * width > PARALLEL_FROM)
    for (int64_t p = 0; p < panels; p++) {
        int64_t from = p * 64, to = from + 64 < width ? from + 64 : width;
        for (int64_t i = 0; i < count; i++)
#pragma omp simd
            for (int64_t c = from; c < to; c++)
                dx[ids[i] * width + c] += dy[i * width + c];
    }
}

static void run_gather(const dt_call *call)
{
    const dt_shape *s = &call->node->input[0]->shape;
    int64_t n = s->dim[0], t = s->dim[1], w = s->dim[2];
    const int32_t *index = call->in[1];
    const float *x = call->in[0];
    if (!ids_good(call, index, n, t))
        return;
    for (int64_t i = 0; i < n; i++)
        memcpy((float *)call->out[0] + i * w, x + (i * t + index[i]) * w, sizeof *x * (size_t)w);
}

static void run_gather_grad(const dt_call *call)
{
    const dt_shape *s = &call->node->output[0].shape;
    int64_t n = s->dim[0], t = s->dim[1], w = s->dim[2];
    const int32_t *index = call->in[1];
    float *dx = call->out[0];
    if (!ids_good(call, index, n, t))
        return;
#pragma omp parallel for schedule(static) if (n * t * w > PARALLEL_FROM)
    for (int64_t i = 0; i < n; i++) {
        memset(dx + i * t * w, 0, sizeof *dx * (size_t)(t * w));
        memcpy(dx + (i * t + index[i]) * w, (const float *)call->in[0] + i * w, sizeof *dx * (size_t)w);
    }
}

static void run_argmax_int(const dt_call *call)
{
    const dt_shape *s = &call->node->input[0]->shape;
    int64_t n = s->dim[s->rank - 1], rows = dt_count(s) / n;
    const int32_t *x = call->in[0];
    int32_t *y = call->out[0];
    for (int64_t r = 0; r < rows; r++) {
        int32_t best = 0;
        for (int32_t i = 1; i < n; i++)
            best = x[r * n + i] > x[r * n + best] ? i : best;
        y[r] = best;
    }
}

const dt_kernel dt_cpu_shape[] = {{&dt_op_fill, run_fill, NULL, NULL},
                                  {&dt_op_slice, run_slice, NULL, NULL},
                                  {&dt_op_pad, run_pad, NULL, NULL},
                                  {&dt_op_concat, run_concat, NULL, NULL},
                                  {&dt_op_transpose, run_transpose, NULL, NULL},
                                  {&dt_op_broadcast, run_broadcast, NULL, NULL},
                                  {&dt_op_embedding, run_embedding, NULL, NULL},
                                  {&dt_op_embedding_grad, run_embedding_grad, NULL, NULL},
                                  {&dt_op_gather, run_gather, NULL, NULL},
                                  {&dt_op_gather_grad, run_gather_grad, NULL, NULL},
                                  {&dt_op_argmax_int, run_argmax_int, NULL, NULL},
                                  {0}};
