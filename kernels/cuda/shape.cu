/* Moving elements about, by units (units.h). */
#include "kernels/cuda/divide.h"
#include "kernels/cuda/lookup.h"
#include "kernels/cuda/units.h"

extern "C" {
extern const dt_kernel dt_cuda_shape[];
}

namespace
{

/* ---- Numbers ---- */

__global__ void fill_kernel(float *y, int64_t count, float value)
{
    const float four[4] = {value, value, value, value};
    for (int64_t i = dt_thread() * 4; i < count; i += dt_threads() * 4)
        if (i + 4 <= count)
            dt_store4(y, i, four);
        else
            for (int64_t k = i; k < count; k++)
                y[k] = value;
}

void run_fill(const dt_call *call)
{
    const dt_node *node = call->node;
    int64_t count = dt_count(&node->output[0].shape);
    DT_LAUNCH(fill_kernel, dt_grid(count, 4 * DT_BLOCK), DT_BLOCK, 0, (float *)call->out[0], count,
              *(const float *)node->attributes);
    dt_cuda_check(call, "fill");
}

void run_cast(const dt_call *call)
{
    const dt_tensor *x = call->node->input[0], *y = &call->node->output[0];
    dt_cuda_convert(call->out[0], y->dtype, call->in[0], x->dtype, dt_count(&y->shape));
    dt_cuda_check(call, "cast");
}

/* ---- Stretches ---- */

/* `outer` results of to_step bytes each: the stretch of `length` bytes of x comes after `before` bytes. Results are written up to
 * `written`: that stretch alone (copies), or zeros around it too (pads). */
struct stretches {
    int64_t outer, length, from_step, to_step, before, written;
};

template <class Unit, class Index> struct unit_stretches {
    Index count, length, from_step, to_step, before;
    dt_divisor<Index> written;
};

template <class Unit, class Index> __global__ void stretch_kernel(const Unit *x, unit_stretches<Unit, Index> s, Unit *y)
{
    for (Index i = (Index)dt_thread(); i < s.count; i += (Index)dt_threads()) {
        dt_split<Index> at = dt_split_by(i, s.written);
        Index k = at.rest - s.before; /* unsigned: beyond the length where it would be negative */
        bool inside = at.rest >= s.before && k < s.length;
        y[at.over * s.to_step + at.rest] = inside ? x[at.over * s.from_step + k] : Unit{};
    }
}

void move_stretches(const void *x, stretches s, void *y)
{
    uint64_t all = dt_address(x) | dt_address(y) | (uint64_t)(s.length | s.from_step | s.to_step | s.before | s.written);
    dt_by_unit(all, [&](auto unit) {
        using Unit = decltype(unit);
        int64_t size = sizeof(Unit), count = s.outer * (s.written / size);
        dt_by_index(s.outer * (s.from_step > s.to_step ? s.from_step : s.to_step) / size, [&](auto zero) {
            using Index = decltype(zero);
            unit_stretches<Unit, Index> u = {(Index)count,
                                             (Index)(s.length / size),
                                             (Index)(s.from_step / size),
                                             (Index)(s.to_step / size),
                                             (Index)(s.before / size),
                                             {}};
            dt_divide_by(&u.written, s.written / size);
            DT_LAUNCH((stretch_kernel<Unit, Index>), dt_grid(count, DT_BLOCK), DT_BLOCK, 0, (const Unit *)x, u, (Unit *)y);
        });
    });
}

/* Bytes of one step along `axis`: all that lies inside it. */
int64_t inner_bytes(const dt_tensor *x, int axis)
{
    return dt_span(&x->shape, axis + 1, x->shape.rank) * (int64_t)dt_dtype_size(x->dtype);
}

void run_slice(const dt_call *call)
{
    const dt_axis_range *r = (const dt_axis_range *)call->node->attributes;
    const dt_tensor *x = call->node->input[0];
    int64_t inner = inner_bytes(x, r->axis), length = r->length * inner;
    move_stretches((const char *)call->in[0] + r->start * inner,
                   {dt_span(&x->shape, 0, r->axis), length, x->shape.dim[r->axis] * inner, length, 0, length}, call->out[0]);
    dt_cuda_check(call, "slice");
}

void run_concat(const dt_call *call)
{
    const dt_node *node = call->node;
    int axis = ((const dt_axis_range *)node->attributes)->axis;
    int64_t inner = inner_bytes(&node->output[0], axis), whole = node->output[0].shape.dim[axis] * inner;
    char *to = (char *)call->out[0];
    for (int i = 0; i < node->inputs; i++) {
        int64_t length = node->input[i]->shape.dim[axis] * inner;
        move_stretches(call->in[i], {dt_span(&node->output[0].shape, 0, axis), length, length, whole, 0, length}, to);
        to += length;
    }
    dt_cuda_check(call, "concat");
}

void run_pad(const dt_call *call)
{
    const dt_axis_range *r = (const dt_axis_range *)call->node->attributes;
    const dt_tensor *x = call->node->input[0];
    int64_t inner = inner_bytes(x, r->axis), length = x->shape.dim[r->axis] * inner, whole = r->length * inner;
    move_stretches(call->in[0], {dt_span(&x->shape, 0, r->axis), length, length, whole, r->start * inner, whole}, call->out[0]);
    dt_cuda_check(call, "pad");
}

/* ---- Transposes and repetition ---- */

/* The result's axes, and how far the source moves along each (0: repeated), in elements; axes of length 1 left out, and
 * neighbours that are one axis in both joined. */
struct route {
    int rank;
    int64_t dim[DT_MAX_RANK], stride[DT_MAX_RANK];
};

void go_along(route *r, int64_t dim, int64_t stride)
{
    if (dim == 1)
        return;
    int last = r->rank - 1;
    if (last >= 0 && r->stride[last] == stride * dim) {
        r->dim[last] *= dim;
        r->stride[last] = stride;
    } else {
        r->dim[r->rank] = dim;
        r->stride[r->rank++] = stride;
    }
}

template <class Index> struct walk {
    int rank;
    Index count, stride[DT_MAX_RANK];
    dt_divisor<Index> dim[DT_MAX_RANK];
};

template <class Index> __device__ __forceinline__ Index walk_to(const walk<Index> &w, Index i)
{
    Index at = 0;
    DT_UNROLL
    for (int k = DT_MAX_RANK - 1; k >= 0; k--)
        if (k < w.rank) {
            dt_split<Index> place = dt_split_by(i, w.dim[k]);
            at += place.rest * w.stride[k];
            i = place.over;
        }
    return at;
}

template <class Unit, class Index> __global__ void walk_kernel(const Unit *x, walk<Index> w, Unit *y)
{
    for (Index i = (Index)dt_thread(); i < w.count; i += (Index)dt_threads())
        y[i] = x[walk_to(w, i)];
}

/* Each unit of the result is one element again and again. */
template <class Element, class Unit, class Index> __global__ void repeat_kernel(const Element *x, walk<Index> w, Unit *y)
{
    for (Index i = (Index)dt_thread(); i < w.count; i += (Index)dt_threads()) {
        Element element = x[walk_to(w, i)];
        Unit unit;
        for (unsigned k = 0; k < sizeof(Unit) / sizeof(Element); k++)
            memcpy(reinterpret_cast<char *>(&unit) + k * sizeof(Element), &element, sizeof(Element));
        y[i] = unit;
    }
}

/* The route with `each` elements as one step along its last axis. Strides are divided too where the source has such units. */
template <class Index> walk<Index> walk_along(const route &r, int64_t each, bool source_too)
{
    walk<Index> w = {};
    w.rank = r.rank;
    w.count = 1;
    for (int k = 0; k < r.rank; k++) {
        bool last = k == r.rank - 1;
        int64_t dim = last ? r.dim[k] / each : r.dim[k];
        w.stride[k] = (Index)(last || !source_too ? r.stride[k] : r.stride[k] / each);
        w.count *= (Index)dim;
        dt_divide_by(&w.dim[k], dim);
    }
    return w;
}

int64_t count_of(const route &r)
{
    int64_t count = 1;
    for (int k = 0; k < r.rank; k++)
        count *= r.dim[k];
    return count;
}

/* Rows stay together: by units of them, else (no two neighbours stay) by elements. */
void move_rows(const void *x, const route &r, int64_t size, void *y)
{
    uint64_t all = dt_address(x) | dt_address(y) | (uint64_t)((r.rank ? r.dim[r.rank - 1] : 1) * size);
    for (int k = 0; k < r.rank - 1; k++)
        all |= (uint64_t)(r.stride[k] * size);
    if (r.rank && r.stride[r.rank - 1] != 1)
        all = (uint64_t)size;
    dt_by_unit(all, [&](auto unit) {
        using Unit = decltype(unit);
        dt_by_index(count_of(r), [&](auto zero) {
            using Index = decltype(zero);
            walk<Index> w = walk_along<Index>(r, (int64_t)sizeof(Unit) / size, true);
            DT_LAUNCH((walk_kernel<Unit, Index>), dt_grid(w.count, DT_BLOCK), DT_BLOCK, 0, (const Unit *)x, w, (Unit *)y);
        });
    });
}

/* The last axis repeats. */
template <class Element> void repeat_elements(const Element *x, const route &r, void *y)
{
    dt_by_unit(dt_address(y) | (uint64_t)r.dim[r.rank - 1] * sizeof(Element), [&](auto unit) {
        using Unit = typename std::conditional<(sizeof unit > sizeof(Element)), decltype(unit), Element>::type;
        dt_by_index(count_of(r), [&](auto zero) {
            using Index = decltype(zero);
            walk<Index> w = walk_along<Index>(r, sizeof(Unit) / sizeof(Element), false);
            DT_LAUNCH((repeat_kernel<Element, Unit, Index>), dt_grid(w.count, DT_BLOCK), DT_BLOCK, 0, x, w, (Unit *)y);
        });
    });
}

/* ---- Transposes that change the last axis: through tiles in shared memory ---- */

/* Slices of `rows` x `columns`, rows neighbours in the result and columns in x; which slice is the walk's business, on both sides. */
struct tiles {
    int64_t rows, columns, row_step, column_step; /* in x, in the result */
    int rank;
    int64_t dim[DT_MAX_RANK], from[DT_MAX_RANK], to[DT_MAX_RANK];
    int64_t across, down, count;
};

constexpr int TILE_THREADS = 8;

/* As many elements to a side as make lines of 128 bytes. */
template <class Element> constexpr int side_of = 128 / (int)sizeof(Element);

template <class Element> __global__ void tile_kernel(const Element *x, tiles t, Element *y)
{
    constexpr int SIDE = side_of<Element>, LINE = SIDE + 4 / (int)sizeof(Element);
    DT_SHARED(Element, tile, SIDE * LINE);
    for (int64_t b = blockIdx.x; b < t.count; b += gridDim.x) {
        int64_t slice = b / (t.across * t.down), place = b % (t.across * t.down), from = 0, to = 0;
        int64_t column = place % t.across * SIDE, row = place / t.across * SIDE;
        DT_UNROLL
        for (int k = DT_MAX_RANK - 1; k >= 0; k--)
            if (k < t.rank) {
                from += slice % t.dim[k] * t.from[k];
                to += slice % t.dim[k] * t.to[k];
                slice /= t.dim[k];
            }
        __syncthreads(); /* the tile may still be read from the one before */
        for (int r = threadIdx.y; r < SIDE; r += TILE_THREADS)
            for (int c = threadIdx.x; c < SIDE; c += DT_WARP)
                if (row + r < t.rows && column + c < t.columns)
                    tile[r * LINE + c] = x[from + (row + r) * t.row_step + column + c];
        __syncthreads();
        for (int c = threadIdx.y; c < SIDE; c += TILE_THREADS)
            for (int r = threadIdx.x; r < SIDE; r += DT_WARP)
                if (row + r < t.rows && column + c < t.columns)
                    y[to + (column + c) * t.column_step + row + r] = tile[r * LINE + c];
    }
}

/* The axis of the result along which x is dense; -1: none. */
int dense_axis(const route &r)
{
    for (int k = 0; k < r.rank; k++)
        if (r.stride[k] == 1)
            return k;
    return -1;
}

template <class Element> void move_tiles(const Element *x, const route &r, int columns, Element *y)
{
    int last = r.rank - 1;
    tiles t = {r.dim[last], r.dim[columns], r.stride[last], 0, 0, {}, {}, {}, 0, 0, 1};
    int64_t step = 1;
    for (int k = last; k >= 0; k--) {
        if (k == columns)
            t.column_step = step;
        step *= r.dim[k];
    }
    for (int k = 0; k < last; k++) {
        step /= r.dim[k];
        if (k == columns)
            continue;
        t.dim[t.rank] = r.dim[k];
        t.from[t.rank] = r.stride[k];
        t.to[t.rank++] = step;
        t.count *= r.dim[k];
    }
    t.across = dt_parts(t.columns, side_of<Element>);
    t.down = dt_parts(t.rows, side_of<Element>);
    t.count *= t.across * t.down;
    DT_LAUNCH(tile_kernel<Element>, dt_grid(t.count, 1), dim3(DT_WARP, TILE_THREADS), 0, x, t, y);
}

/* Lengths from which tiles are worth their barriers. */
enum { TILE_FROM = 8 };

void move(const dt_call *call, const route &r)
{
    int64_t size = (int64_t)dt_dtype_size(call->node->input[0]->dtype);
    const void *x = call->in[0];
    int last = r.rank - 1, dense = dense_axis(r);
    bool turned = r.rank && r.stride[last] > 1 && dense >= 0 && r.dim[dense] >= TILE_FROM && r.dim[last] >= TILE_FROM;
    if (turned && size == 2)
        move_tiles((const uint16_t *)x, r, dense, (uint16_t *)call->out[0]);
    else if (turned)
        move_tiles((const uint32_t *)x, r, dense, (uint32_t *)call->out[0]);
    else if (r.rank && r.stride[last] == 0 && size == 2)
        repeat_elements((const uint16_t *)x, r, call->out[0]);
    else if (r.rank && r.stride[last] == 0)
        repeat_elements((const uint32_t *)x, r, call->out[0]);
    else
        move_rows(x, r, size, call->out[0]);
}

void run_transpose(const dt_call *call)
{
    const dt_permutation *p = (const dt_permutation *)call->node->attributes;
    const dt_shape *from = &call->node->input[0]->shape, *to = &call->node->output[0].shape;
    route r = {};
    for (int k = 0; k < to->rank; k++)
        go_along(&r, to->dim[k], dt_span(from, p->axis[k] + 1, from->rank));
    move(call, r);
    dt_cuda_check(call, "transpose");
}

void run_broadcast(const dt_call *call)
{
    const dt_shape *from = &call->node->input[0]->shape, *to = &call->node->output[0].shape;
    route r = {};
    int lead = to->rank - from->rank;
    for (int k = 0; k < to->rank; k++)
        go_along(&r, to->dim[k], k < lead || from->dim[k - lead] == 1 ? 0 : dt_span(from, k - lead + 1, from->rank));
    move(call, r);
    dt_cuda_check(call, "broadcast");
}

/* ---- The end token ---- */

/* A warp has a row; of equal values the first counts. */
__global__ void argmax_int_kernel(const int32_t *x, int64_t rows, int64_t n, int32_t *y)
{
    for (int64_t row = (int64_t)blockIdx.x * blockDim.y + threadIdx.y; row < rows; row += (int64_t)gridDim.x * blockDim.y) {
        int32_t best = INT_MIN, place = INT_MAX;
        for (int64_t i = threadIdx.x; i < n; i += DT_WARP) {
            int32_t value = x[row * n + i];
            place = value > best || place == INT_MAX ? (int32_t)i : place;
            best = value > best ? value : best;
        }
        for (int distance = DT_WARP / 2; distance; distance /= 2) {
            int32_t value = dt_from_lane(best, distance), other = dt_from_lane(place, distance);
            bool take = value > best || (value == best && other < place);
            best = take ? value : best;
            place = take ? other : place;
        }
        if (threadIdx.x == 0)
            y[row] = place;
    }
}

void run_argmax_int(const dt_call *call)
{
    const dt_shape *s = &call->node->input[0]->shape;
    int64_t n = s->dim[s->rank - 1], rows = dt_count(s) / n;
    const dim3 block(DT_WARP, DT_BLOCK / DT_WARP);
    DT_LAUNCH(argmax_int_kernel, dt_grid(rows, block.y), block, 0, (const int32_t *)call->in[0], rows, n,
              (int32_t *)call->out[0]);
    dt_cuda_check(call, "argmax_int");
}

} // namespace

const dt_kernel dt_cuda_shape[] = {
    {&dt_op_fill, run_fill, NULL, NULL, DT_WIDE, 0, 0},
    {&dt_op_cast, run_cast, NULL, NULL, DT_WIDE, 0, 0},
    {&dt_op_slice, run_slice, NULL, NULL, DT_NARROW_SAME, 1, 1},
    {&dt_op_pad, run_pad, NULL, NULL, DT_NARROW_SAME, 1, 1},
    {&dt_op_concat, run_concat, NULL, NULL, DT_NARROW_SAME, ~0u, 1},
    {&dt_op_transpose, run_transpose, NULL, NULL, DT_NARROW_SAME, 1, 1},
    {&dt_op_broadcast, run_broadcast, NULL, NULL, DT_NARROW_SAME, 1, 1},
    {&dt_op_embedding, dt_embedding_run, dt_lookup_prepare, dt_cuda_alarm_free, DT_NARROW_SOURCE, 0, 1},
    {&dt_op_embedding_grad, dt_embedding_grad_run, dt_embedding_grad_prepare, dt_cuda_alarm_free, DT_NARROW_EACH, 1, 0},
    {&dt_op_gather, dt_gather_run, dt_lookup_prepare, dt_cuda_alarm_free, DT_NARROW_SAME, 1, 1},
    {&dt_op_gather_grad, dt_gather_grad_run, dt_lookup_prepare, dt_cuda_alarm_free, DT_NARROW_SAME, 1, 1},
    {&dt_op_argmax_int, run_argmax_int, NULL, NULL, DT_WIDE, 0, 0},
    {}};
