/* Lookups by ids, and the way back where no two ids meet. */
#include "kernels/cuda/lookup.h"
#include "kernels/cuda/units.h"

#include <stdio.h>

namespace
{

/* ---- Rows of a table ---- */

template <int V, class T, class Index>
__global__ void embedding_kernel(const float *table, const int32_t *ids, int64_t rows, Index count, dt_divisor<Index> width,
                                 int *raised, T *y)
{
    for (Index i = (Index)dt_thread(); i < count; i += (Index)dt_threads()) {
        dt_split<Index> at = dt_split_by(i, width);
        int32_t id = ids[at.over];
        float row[V] = {};
        if (dt_is_row(id, rows))
            dt_load_some<V>(table, ((int64_t)id * width.by + at.rest) * V, row);
        else if (at.rest == 0)
            dt_raise(raised, at.over);
        dt_store_some<V>(y, (int64_t)i * V, row);
    }
}

} // namespace

void dt_embedding_run(const dt_call *call)
{
    const dt_tensor *table = call->node->input[0], *y = &call->node->output[0];
    int64_t rows = table->shape.dim[0], width = table->shape.dim[1], count = dt_count(&y->shape);
    bool fours = width % 4 == 0 && dt_aligned4(call->in[0], DT_F32) && dt_aligned4(call->out[0], y->dtype);
    dt_by_fours(fours, [&](auto four) {
        constexpr int V = decltype(four)::value;
        dt_by_type(y->dtype, [&](auto element) {
            dt_by_index(count / V, [&](auto zero) {
                using T = decltype(element);
                using Index = decltype(zero);
                dt_divisor<Index> by;
                dt_divide_by(&by, width / V);
                DT_LAUNCH((embedding_kernel<V, T, Index>), dt_grid(count / V, DT_BLOCK), DT_BLOCK, 0,
                          (const float *)call->in[0], (const int32_t *)call->in[1], rows, (Index)(count / V), by,
                          ((dt_alarm *)call->state)->raised, (T *)call->out[0]);
            });
        });
    });
    dt_cuda_check(call, "embedding");
}

/* ---- One row of each sample, and its way back ---- */

namespace
{

/* x is [samples, steps, width] in units. */
template <class Index> struct samples {
    Index count; /* of units of the result */
    dt_divisor<Index> steps, width;
};

template <class Unit, class Index>
__global__ void gather_kernel(const Unit *x, const int32_t *index, samples<Index> s, int *raised, Unit *y)
{
    for (Index i = (Index)dt_thread(); i < s.count; i += (Index)dt_threads()) {
        dt_split<Index> at = dt_split_by(i, s.width);
        int32_t step = index[at.over];
        bool good = dt_is_row(step, (int64_t)s.steps.by);
        if (!good && at.rest == 0)
            dt_raise(raised, at.over);
        y[i] = good ? x[((int64_t)at.over * s.steps.by + step) * s.width.by + at.rest] : Unit{};
    }
}

template <class Unit, class Index>
__global__ void gather_grad_kernel(const Unit *x, const int32_t *index, samples<Index> s, int *raised, Unit *y)
{
    for (Index i = (Index)dt_thread(); i < s.count; i += (Index)dt_threads()) {
        dt_split<Index> row = dt_split_by(i, s.width), at = dt_split_by(row.over, s.steps);
        int32_t step = index[at.over];
        if (row.rest == 0 && at.rest == 0 && !dt_is_row(step, (int64_t)s.steps.by))
            dt_raise(raised, at.over);
        y[i] = step == (int32_t)at.rest ? x[(int64_t)at.over * s.width.by + row.rest] : Unit{};
    }
}

/* The samples are those of `whole`, the tensor of three axes. Calls visit with a unit that divides its rows, and with samples. */
template <class Visit> void by_samples(const dt_call *call, const dt_tensor *whole, Visit visit)
{
    int64_t size = (int64_t)dt_dtype_size(whole->dtype), bytes = whole->shape.dim[2] * size;
    dt_by_unit(dt_address(call->in[0]) | dt_address(call->out[0]) | (uint64_t)bytes, [&](auto unit) {
        int64_t each = (int64_t)sizeof unit, count = dt_count(&call->node->output[0].shape) * size / each;
        dt_by_index(count, [&](auto zero) {
            samples<decltype(zero)> s;
            s.count = (decltype(zero))count;
            dt_divide_by(&s.steps, whole->shape.dim[1]);
            dt_divide_by(&s.width, bytes / each);
            visit(unit, s);
        });
    });
}

} // namespace

void dt_gather_run(const dt_call *call)
{
    by_samples(call, call->node->input[0], [&](auto unit, auto s) {
        using Unit = decltype(unit);
        using Index = decltype(s.count);
        DT_LAUNCH((gather_kernel<Unit, Index>), dt_grid(s.count, DT_BLOCK), DT_BLOCK, 0, (const Unit *)call->in[0],
                  (const int32_t *)call->in[1], s, ((dt_alarm *)call->state)->raised, (Unit *)call->out[0]);
    });
    dt_cuda_check(call, "gather");
}

void dt_gather_grad_run(const dt_call *call)
{
    by_samples(call, &call->node->output[0], [&](auto unit, auto s) {
        using Unit = decltype(unit);
        using Index = decltype(s.count);
        DT_LAUNCH((gather_grad_kernel<Unit, Index>), dt_grid(s.count, DT_BLOCK), DT_BLOCK, 0, (const Unit *)call->in[0],
                  (const int32_t *)call->in[1], s, ((dt_alarm *)call->state)->raised, (Unit *)call->out[0]);
    });
    dt_cuda_check(call, "gather_grad");
}

/* ---- Preparation ---- */

bool dt_lookup_alarm(dt_preparation *preparation, int64_t rows)
{
    char text[64];
    snprintf(text, sizeof text, "the index at position %%d is outside 0..%lld", (long long)rows - 1);
    preparation->state = dt_cuda_alarm_new(preparation->node, text);
    if (!preparation->state)
        snprintf(preparation->message, sizeof preparation->message, "no alarm is left for its indices");
    return preparation->state != NULL;
}

bool dt_lookup_prepare(dt_preparation *preparation)
{
    const dt_node *node = preparation->node;
    const dt_shape *in = &node->input[0]->shape, *out = &node->output[0].shape;
    bool embeds = node->op == &dt_op_embedding, gathers = node->op == &dt_op_gather;
    return dt_lookup_alarm(preparation, embeds ? in->dim[0] : gathers ? in->dim[1] : out->dim[1]);
}
