/* Sums, maxima and softmax.
 *
 * A sum over any set of axes is taken one summed axis after another, each seen as [outer, reduced, inner]. Where `reduced`
 * is long it is cut into parts of fixed length, so that there are blocks enough and partial sums stay exact: a part is
 * summed in float32 by each thread and in float64 beyond that. All lengths follow from the shape alone, and so do the bits
 * of the result. */
#include "kernels/cuda/sum.h"
#include "kernels/cuda/team.h"

extern "C" {
extern const dt_kernel dt_cuda_reduce[];
}

namespace
{

enum {
    ROW_PART = 64 * DT_BLOCK, /* of a row that one block sums */
    COLUMN_PART = 512,        /* of a column that the threads of one block sum */
    TILE_ROWS = 8             /* threads beside each other on one column */
};

struct extent {
    int64_t outer, reduced, inner;
};

/* ---- Sums ---- */

/* What threads add up in: float32, but partial sums of float64 stay what they are. */
template <class From> struct sum_of {
    typedef float type;
};

template <> struct sum_of<double> {
    typedef double type;
};

/* V terms from i on. */
template <int V, class From>
__device__ __forceinline__ void load_terms(const From *x, int64_t i, typename sum_of<From>::type to[V])
{
    if constexpr (sizeof(From) == sizeof(double))
        to[0] = x[i];
    else
        dt_load_some<V>(x, i, to);
}

/* A team sums part i % parts of row i / parts, each thread V neighbours at a time; y is [outer, parts]. */
template <int THREADS, int V, class From, class To>
__global__ void sum_rows_kernel(const From *x, extent e, int64_t parts, To *y)
{
    typedef typename sum_of<From>::type Sum;
    DT_SHARED(double, room, DT_BLOCK / DT_WARP);
    for (int64_t i = first_row(); i < e.outer * parts; i += row_stride()) {
        int64_t from = i % parts * ROW_PART, to = from + ROW_PART < e.reduced ? from + ROW_PART : e.reduced;
        const From *row = x + i / parts * e.reduced;
        Sum sum[V] = {}, term[V];
        for (int64_t k = from + threadIdx.x * V; k < to; k += THREADS * V) {
            load_terms<V>(row, k, term);
            for (int v = 0; v < V; v++)
                sum[v] += term[v];
        }
        double total = 0;
        for (int v = 0; v < V; v++)
            total += sum[v];
        total = dt_team_reduce<THREADS>(total, dt_plus<double>(), room);
        if (threadIdx.x == 0)
            y[i] = (To)total;
    }
}

/* A tile of 32 V columns and TILE_ROWS threads on each V: block b has tile b % tiles of part b / tiles % parts of slice
 * b / tiles / parts. y is [outer, parts, inner]. */
template <int V, class From, class To> __global__ void sum_columns_kernel(const From *x, extent e, int64_t parts, To *y)
{
    typedef typename sum_of<From>::type Sum;
    DT_SHARED(double, room, TILE_ROWS *DT_WARP *V);
    int64_t tiles = (e.inner + DT_WARP * V - 1) / (DT_WARP * V);
    for (int64_t b = blockIdx.x; b < e.outer * parts * tiles; b += gridDim.x) {
        int64_t column = b % tiles * DT_WARP * V, part = b / tiles % parts, slice = b / tiles / parts;
        int64_t from = part * COLUMN_PART, to = from + COLUMN_PART < e.reduced ? from + COLUMN_PART : e.reduced;
        int64_t own = column + threadIdx.x * V;
        Sum sum[V] = {}, term[V];
        for (int64_t r = from + threadIdx.y; own < e.inner && r < to; r += TILE_ROWS) {
            load_terms<V>(x, (slice * e.reduced + r) * e.inner + own, term);
            for (int v = 0; v < V; v++)
                sum[v] += term[v];
        }
        __syncthreads(); /* the room may still be read from the tile before */
        for (int v = 0; v < V; v++)
            room[(threadIdx.y * V + v) * DT_WARP + threadIdx.x] = sum[v];
        __syncthreads();
        if (threadIdx.y >= V)
            continue;
        double total = 0; /* warp w has the w-th of each thread's columns */
        for (int k = 0; k < TILE_ROWS; k++)
            total += room[(k * V + threadIdx.y) * DT_WARP + threadIdx.x];
        if (own + threadIdx.y < e.inner)
            y[(slice * parts + part) * e.inner + own + threadIdx.y] = (To)total;
    }
}

int64_t parts_of(extent e)
{
    return dt_parts(e.reduced, e.inner == 1 ? ROW_PART : COLUMN_PART);
}

/* One pass with V at a time: y is [outer, parts, inner]. */
template <int V, class From, class To> void sum_parts_by(const From *x, extent e, To *y)
{
    int64_t parts = parts_of(e);
    if (e.inner == 1)
        by_team(e.reduced <= SHORT_ROW, e.outer * parts, [&](auto threads, unsigned grid, dim3 block) {
            DT_LAUNCH((sum_rows_kernel<threads(), V, From, To>), grid, block, 0, x, e, parts, y);
        });
    else
        DT_LAUNCH((sum_columns_kernel<V, From, To>), dt_grid(e.outer * parts * dt_parts(e.inner, DT_WARP * V), 1),
                  dim3(DT_WARP, TILE_ROWS), 0, x, e, parts, y);
}

/* One pass. Which lengths go by fours follows from them alone, but for tensors that lie askew. */
template <class From, class To> void sum_parts(const From *x, extent e, To *y)
{
    if constexpr (sizeof(From) < sizeof(double)) {
        if ((e.inner == 1 ? e.reduced : e.inner) % 4 == 0 && dt_aligned4(x)) {
            sum_parts_by<4>(x, e, y);
            return;
        }
    }
    sum_parts_by<1>(x, e, y);
}

/* Bytes of partial sums: two places, between which passes go to and fro. */
size_t room_of_sum(extent e)
{
    int64_t parts = parts_of(e);
    return parts == 1 ? 0 : 2 * sizeof(double) * (size_t)(e.outer * parts * e.inner);
}

template <class From> void sum_axis(const From *x, extent e, double *room, float *y)
{
    int64_t parts = parts_of(e);
    if (parts == 1) {
        sum_parts(x, e, y);
        return;
    }
    double *here = room, *there = room + e.outer * parts * e.inner;
    sum_parts(x, e, here);
    for (e.reduced = parts; (parts = parts_of(e)) > 1; e.reduced = parts) {
        sum_parts((const double *)here, e, there);
        double *swapped = here;
        here = there;
        there = swapped;
    }
    sum_parts((const double *)here, e, y);
}

/* Neighbouring axes of the same kind, summed or not, are one axis. */
struct axes {
    int groups;
    int64_t length[DT_MAX_RANK];
    bool summed[DT_MAX_RANK];
};

axes group_axes(const dt_node *node)
{
    const dt_shape *shape = &node->input[0]->shape;
    unsigned mask = ((const dt_axes *)node->attributes)->mask;
    axes a = {};
    for (int i = 0; i < shape->rank; i++) {
        bool s = mask >> i & 1;
        if (shape->dim[i] == 1)
            continue;
        if (a.groups && a.summed[a.groups - 1] == s)
            a.length[a.groups - 1] *= shape->dim[i];
        else
            a.length[a.groups] = shape->dim[i], a.summed[a.groups++] = s;
    }
    return a;
}

/* Group i of the axes, with those before and after it. */
extent extent_of(const axes &a, int i)
{
    extent e = {1, a.length[i], 1};
    for (int k = 0; k < i; k++)
        e.outer *= a.length[k];
    for (int k = i + 1; k < a.groups; k++)
        e.inner *= a.length[k];
    return e;
}

/* Calls visit with each summed axis, from the last to the first, which is the one that writes the result, and with where in the
 * workspace its sums are to be (SIZE_MAX: in the result) and its partial sums. Returns the bytes of workspace. */
template <class Visit> size_t walk_axes(const dt_node *node, Visit visit)
{
    axes a = group_axes(node);
    size_t used = 0, room = 0;
    int first = 0;
    while (first < a.groups && !a.summed[first])
        first++;
    for (int i = a.groups - 1; i >= first; i--) {
        if (!a.summed[i])
            continue;
        extent e = extent_of(a, i);
        size_t bytes = i == first ? 0 : dt_room(sizeof(float) * (size_t)(e.outer * e.inner));
        visit(e, i == first ? SIZE_MAX : used, used + bytes);
        room = used + bytes + room_of_sum(e) > room ? used + bytes + room_of_sum(e) : room;
        used += bytes;
        a.length[i] = 1;
    }
    return room;
}

bool prepare_sum(dt_preparation *preparation)
{
    preparation->workspace = walk_axes(preparation->node, [](extent, size_t, size_t) {});
    return true;
}

template <class From> void sum(const dt_call *call, const From *x)
{
    char *workspace = (char *)call->workspace;
    float *y = (float *)call->out[0];
    const float *sums = NULL; /* of the axes so far; NULL: none yet */
    int64_t count = dt_count(&call->node->output[0].shape);
    if (dt_count(&call->node->input[0]->shape) == count) { /* the summed axes have length 1 */
        sum_parts(x, {1, 1, count}, y);
        return;
    }
    walk_axes(call->node, [&](extent e, size_t to, size_t room) {
        float *into = to == SIZE_MAX ? y : (float *)(workspace + to);
        if (sums)
            sum_axis(sums, e, (double *)(workspace + room), into);
        else
            sum_axis(x, e, (double *)(workspace + room), into);
        sums = into;
    });
}

void run_sum(const dt_call *call)
{
    dt_by_type(call->node->input[0]->dtype, [&](auto zero) { sum(call, (const decltype(zero) *)call->in[0]); });
    dt_cuda_check(call, "sum");
}

/* ---- Rows ---- */

/* The largest of a row and where it is first; a NaN is larger than any number. */
struct peak {
    float value;
    int place;
};

struct dt_higher {
    __device__ __forceinline__ peak operator()(peak a, peak b) const
    {
        bool nan_a = a.value != a.value, nan_b = b.value != b.value;
        bool equal = (nan_a && nan_b) || a.value == b.value;
        if (equal)
            return a.place < b.place ? a : b;
        return nan_a || (!nan_b && a.value > b.value) ? a : b;
    }
};

__device__ __forceinline__ peak dt_from_lane(peak value, int distance)
{
    return {__shfl_xor_sync(0xffffffffu, value.value, distance), __shfl_xor_sync(0xffffffffu, value.place, distance)};
}

/* Rows of n elements along the last axis, each worked on by a team of THREADS. */
struct rows {
    int64_t count, n;
};

template <int THREADS> __device__ float row_max(const float *x, int64_t n, float *room)
{
    float most = x[0];
    for (int64_t i = threadIdx.x; i < n; i += THREADS)
        most = dt_larger()(x[i], most);
    return dt_team_reduce<THREADS>(most, dt_larger(), room);
}

template <int THREADS> __global__ void max_kernel(const float *x, rows r, float *y)
{
    DT_SHARED(float, room, DT_BLOCK / DT_WARP);
    for (int64_t row = first_row(); row < r.count; row += row_stride()) {
        float most = row_max<THREADS>(x + row * r.n, r.n, room);
        if (threadIdx.x == 0)
            y[row] = most;
    }
}

template <int THREADS> __global__ void argmax_kernel(const float *x, rows r, int32_t *y)
{
    DT_SHARED(peak, room, DT_BLOCK / DT_WARP);
    for (int64_t row = first_row(); row < r.count; row += row_stride()) {
        peak best = {x[row * r.n], 0};
        for (int64_t i = threadIdx.x; i < r.n; i += THREADS)
            best = dt_higher()(best, peak{x[row * r.n + i], (int)i});
        best = dt_team_reduce<THREADS>(best, dt_higher(), room);
        if (threadIdx.x == 0)
            y[row] = best.place;
    }
}

/* Elements of either type: which is the same for all threads. */
struct floats {
    void *at;
    bool narrow;
};

__device__ __forceinline__ float load(floats x, int64_t i)
{
    return x.narrow ? dt_load((const dt_bf16 *)x.at, i) : dt_load((const float *)x.at, i);
}

__device__ __forceinline__ void store(floats x, int64_t i, float value)
{
    if (x.narrow)
        dt_store((dt_bf16 *)x.at, i, value);
    else
        dt_store((float *)x.at, i, value);
}

/* Rows of up to THREADS * EACH elements, which stay in registers between the passes. y may be x. */
template <int THREADS, int EACH, bool LOGARITHM> __global__ void softmax_kernel(floats x, rows r, floats y)
{
    DT_SHARED(float, room, DT_BLOCK / DT_WARP);
    for (int64_t row = first_row(); row < r.count; row += row_stride()) {
        float value[EACH], most = -INFINITY, sum = 0;
        DT_UNROLL
        for (int k = 0; k < EACH; k++) {
            int i = k * THREADS + threadIdx.x;
            value[k] = i < r.n ? load(x, row * r.n + i) : -INFINITY;
            most = dt_larger()(value[k], most);
        }
        most = dt_team_reduce<THREADS>(most, dt_larger(), room);
        DT_UNROLL
        for (int k = 0; k < EACH; k++) {
            value[k] = k * THREADS + (int)threadIdx.x < r.n ? value[k] - most : -INFINITY;
            float power = expf(value[k]);
            sum += power;
            value[k] = LOGARITHM ? value[k] : power;
        }
        sum = dt_team_reduce<THREADS>(sum, dt_plus<float>(), room);
        float scale = LOGARITHM ? logf(sum) : 1 / sum;
        DT_UNROLL
        for (int k = 0; k < EACH; k++) {
            int i = k * THREADS + threadIdx.x;
            if (i < r.n)
                store(y, row * r.n + i, LOGARITHM ? value[k] - scale : value[k] * scale);
        }
    }
}

/* Rows of any length, read three times. y may be x: after the largest is known, a thread reads and writes none but its own
 * elements. */
template <bool LOGARITHM> __global__ void softmax_long_kernel(floats x, rows r, floats y)
{
    DT_SHARED(float, room, DT_BLOCK / DT_WARP);
    for (int64_t row = blockIdx.x; row < r.count; row += gridDim.x) {
        int64_t first = row * r.n + threadIdx.x, end = row * r.n + r.n;
        float most = -INFINITY, sum = 0;
        for (int64_t i = first; i < end; i += DT_BLOCK)
            most = dt_larger()(load(x, i), most);
        most = dt_team_reduce<DT_BLOCK>(most, dt_larger(), room);
        for (int64_t i = first; i < end; i += DT_BLOCK)
            sum += expf(load(x, i) - most);
        sum = dt_team_reduce<DT_BLOCK>(sum, dt_plus<float>(), room);
        float scale = LOGARITHM ? logf(sum) : 1 / sum;
        for (int64_t i = first; i < end; i += DT_BLOCK) {
            float value = load(x, i) - most;
            store(y, i, LOGARITHM ? value - scale : expf(value) * scale);
        }
    }
}

rows rows_of(const dt_call *call)
{
    const dt_shape *shape = &call->node->input[0]->shape;
    int64_t n = shape->dim[shape->rank - 1];
    return {dt_count(shape) / n, n};
}

void run_max(const dt_call *call)
{
    rows r = rows_of(call);
    const float *x = (const float *)call->in[0];
    float *y = (float *)call->out[0];
    by_team(r.n <= SHORT_ROW, r.count, [&](auto threads, unsigned grid, dim3 block) {
        DT_LAUNCH(max_kernel<threads()>, grid, block, 0, x, r, y);
    });
    dt_cuda_check(call, "max");
}

void run_argmax(const dt_call *call)
{
    rows r = rows_of(call);
    const float *x = (const float *)call->in[0];
    int32_t *y = (int32_t *)call->out[0];
    by_team(r.n <= SHORT_ROW, r.count, [&](auto threads, unsigned grid, dim3 block) {
        DT_LAUNCH(argmax_kernel<threads()>, grid, block, 0, x, r, y);
    });
    dt_cuda_check(call, "argmax");
}

template <bool LOGARITHM> void start_softmax(const dt_call *call)
{
    rows r = rows_of(call);
    floats x = {call->in[0], call->node->input[0]->dtype == DT_BF16},
           y = {call->out[0], call->node->output[0].dtype == DT_BF16};
    if (r.n <= 8 * DT_WARP)
        DT_LAUNCH((softmax_kernel<DT_WARP, 8, LOGARITHM>), dt_grid(r.count, warps.y), warps, 0, x, r, y);
    else if (r.n <= SHORT_ROW)
        DT_LAUNCH((softmax_kernel<DT_WARP, SHORT_ROW / DT_WARP, LOGARITHM>), dt_grid(r.count, warps.y), warps, 0, x, r, y);
    else if (r.n <= 16 * DT_BLOCK)
        DT_LAUNCH((softmax_kernel<DT_BLOCK, 16, LOGARITHM>), dt_grid(r.count, 1), DT_BLOCK, 0, x, r, y);
    else
        DT_LAUNCH(softmax_long_kernel<LOGARITHM>, dt_grid(r.count, 1), DT_BLOCK, 0, x, r, y);
}

void run_softmax(const dt_call *call)
{
    start_softmax<false>(call);
    dt_cuda_check(call, "softmax");
}

void run_log_softmax(const dt_call *call)
{
    start_softmax<true>(call);
    dt_cuda_check(call, "log_softmax");
}

} // namespace

void dt_cuda_sum_rows(const void *x, dt_dtype type, int64_t rows, int64_t columns, void *workspace, float *y)
{
    dt_by_type(type, [&](auto zero) {
        sum_axis((const decltype(zero) *)x, {1, rows, columns}, (double *)workspace, y);
    });
}

size_t dt_cuda_sum_rows_workspace(int64_t rows, int64_t columns)
{
    return room_of_sum({1, rows, columns});
}

const dt_kernel dt_cuda_reduce[] = {{&dt_op_sum, run_sum, prepare_sum, NULL, DT_NARROW_TAKES, 1, 0},
                                    {&dt_op_max, run_max, NULL, NULL, DT_WIDE, 0, 0},
                                    {&dt_op_argmax, run_argmax, NULL, NULL, DT_WIDE, 0, 0},
                                    {&dt_op_softmax, run_softmax, NULL, NULL, DT_NARROW_EACH, 1, 1},
                                    {&dt_op_log_softmax, run_log_softmax, NULL, NULL, DT_NARROW_EACH, 1, 1},
                                    {}};
