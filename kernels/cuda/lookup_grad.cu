/* The gradient of a lookup: sums over equal ids. The order of additions is that of the positions, cut into parts of fixed length:
 * positions are sorted by id (a radix sort, which keeps the order of equal ids), so that an id's positions are a run; runs of
 * up to PART are summed at once, longer ones in parts, since a padding or start token is in every text. */
#include "kernels/cuda/lookup.h"
#include "kernels/cuda/team.h"

#include <stdio.h>

namespace
{

/* ---- Sorting positions by id ---- */

constexpr int DIGIT_BITS = 8, DIGITS = 1 << DIGIT_BITS, SORT_WARPS = 8, SORT_TILE = 2048, SORT_STRIP = SORT_TILE / SORT_WARPS;
static_assert(SORT_WARPS * DT_WARP == DIGITS, "a thread of a block for each digit");

/* Ids that are no rows sort behind all rows. */
__device__ __forceinline__ int key_of(int32_t id, int rows)
{
    return dt_is_row(id, rows) ? id : rows;
}

__device__ __forceinline__ int ones(unsigned x)
{
#ifdef __CUDACC__
    return __popc(x);
#else
    return __builtin_popcount(x);
#endif
}

/* How often each digit occurs in the block's tile: count is [tiles, DIGITS]. */
__global__ void count_digits_kernel(const int32_t *ids, int positions, int rows, int shift, int *count, int *raised)
{
    DT_SHARED(int, seen, DIGITS);
    seen[threadIdx.x] = 0;
    __syncthreads();
    int from = blockIdx.x * SORT_TILE;
    for (int k = threadIdx.x; k < SORT_TILE && from + k < positions; k += DIGITS) {
        int32_t id = ids[from + k];
        if (shift == 0 && !dt_is_row(id, rows))
            dt_raise(raised, from + k);
        atomicAdd(&seen[key_of(id, rows) >> shift & (DIGITS - 1)], 1);
    }
    __syncthreads();
    count[blockIdx.x * DIGITS + threadIdx.x] = seen[threadIdx.x];
}

/* The sum of `value` over the threads before this one, of DIGITS. room: SORT_WARPS ints. */
__device__ int sum_before(int value, int *room)
{
    int lane = threadIdx.x % DT_WARP, warp = threadIdx.x / DT_WARP, sum = value;
    for (int distance = 1; distance < DT_WARP; distance *= 2) {
        int other = __shfl_up_sync(0xffffffffu, sum, (unsigned)distance);
        sum += lane >= distance ? other : 0;
    }
    if (lane == DT_WARP - 1)
        room[warp] = sum;
    __syncthreads();
    for (int w = 0; w < warp; w++)
        sum += room[w];
    return sum - value;
}

/* The place of the first element with digit threadIdx.x that comes from this tile: behind all smaller digits, and behind the same
 * digit from the tiles before. */
__device__ int first_place(const int *count, int *room)
{
    int all = 0, before = 0;
    for (int t = 0; t < (int)gridDim.x; t++) {
        int n = count[t * DIGITS + threadIdx.x];
        before += t < (int)blockIdx.x ? n : 0;
        all += n;
    }
    return sum_before(all, room) + before;
}

/* The lanes whose digit is this lane's, among those that have one. */
__device__ unsigned peers_of(bool valid, unsigned digit)
{
    unsigned peers = __ballot_sync(0xffffffffu, valid);
    for (int bit = 0; bit < DIGIT_BITS; bit++) {
        unsigned set = __ballot_sync(0xffffffffu, digit >> bit & 1);
        peers &= digit >> bit & 1 ? set : ~set;
    }
    return peers;
}

/* from_place NULL: element i is position i. Each warp has a strip of the tile, which it goes through in order. */
__global__ void place_digits_kernel(const int32_t *ids, const int32_t *from_place, int positions, int rows, int shift,
                                    const int *count, int32_t *to_id, int32_t *to_place)
{
    DT_SHARED(int, next, SORT_WARPS *DIGITS);
    DT_SHARED(int, room, SORT_WARPS);
    int lane = threadIdx.x % DT_WARP, warp = threadIdx.x / DT_WARP, from = blockIdx.x * SORT_TILE + warp * SORT_STRIP;
    for (int k = threadIdx.x; k < SORT_WARPS * DIGITS; k += DIGITS)
        next[k] = 0;
    __syncthreads();
    for (int k = lane; k < SORT_STRIP && from + k < positions; k += DT_WARP)
        atomicAdd(&next[warp * DIGITS + (key_of(ids[from + k], rows) >> shift & (DIGITS - 1))], 1);
    int place = first_place(count, room);
    __syncthreads();
    for (int w = 0; w < SORT_WARPS; w++) {
        int n = next[w * DIGITS + threadIdx.x];
        next[w * DIGITS + threadIdx.x] = place;
        place += n;
    }
    __syncthreads();
    for (int k = lane; k < SORT_STRIP; k += DT_WARP) {
        bool valid = from + k < positions;
        int key = valid ? key_of(ids[from + k], rows) : 0;
        unsigned digit = (unsigned)(key >> shift & (DIGITS - 1)), peers = peers_of(valid, digit);
        int before = ones(peers & ((1u << lane) - 1)), to = valid ? next[warp * DIGITS + digit] + before : 0;
        __syncwarp();
        if (valid && before == 0)
            next[warp * DIGITS + digit] += ones(peers);
        __syncwarp();
        if (valid) {
            to_id[to] = key;
            to_place[to] = from_place ? from_place[from + k] : from + k;
        }
    }
}

/* ---- Sums over runs ---- */

constexpr int PART = 64, TOTAL_WARPS = 16;

/* Sorted ids and their positions; row r has the run [begin[r], end[r]), none where end is 0. */
struct runs {
    const int32_t *id, *place;
    int *begin, *end;
    int positions, rows, width, groups; /* groups: of columns, to a warp each */
};

__global__ void edges_kernel(runs r)
{
    for (int i = (int)dt_thread(); i < r.positions; i += (int)dt_threads()) {
        int id = r.id[i];
        if (id == r.rows)
            continue;
        if (i == 0 || r.id[i - 1] != id)
            r.begin[id] = i;
        if (i == r.positions - 1 || r.id[i + 1] != id)
            r.end[id] = i + 1;
    }
}

/* sum += rows place[from..to) of x, at this column, one after another. */
template <int V, class T>
__device__ __forceinline__ void sum_places(const T *x, const int32_t *place, int from, int to, int width, int column,
                                           float sum[V])
{
    constexpr int AHEAD = 4;
    float row[AHEAD][V];
    for (; from + AHEAD <= to; from += AHEAD) {
        for (int k = 0; k < AHEAD; k++)
            dt_load_some<V>(x, (int64_t)place[from + k] * width + column, row[k]);
        for (int k = 0; k < AHEAD; k++)
            for (int v = 0; v < V; v++)
                sum[v] += row[k][v];
    }
    for (; from < to; from++) {
        dt_load_some<V>(x, (int64_t)place[from] * width + column, row[0]);
        for (int v = 0; v < V; v++)
            sum[v] += row[0][v];
    }
}

/* Parts of long runs begin at their run's begin and every PART from there. In each window of PART sorted positions at most one
 * begins that is its run's first, and at most one that is not: these have the window's slot in the first and second bank. The
 * answers are where it begins, or -1. */
__device__ int first_part(const runs &r, int window)
{
    int last = window * PART + PART - 1, id = r.id[last < r.positions ? last : r.positions - 1];
    if (id == r.rows)
        return -1;
    return r.begin[id] >= window * PART && r.end[id] - r.begin[id] > PART ? r.begin[id] : -1;
}

__device__ int later_part(const runs &r, int window)
{
    int from = window * PART, id = r.id[from];
    if (id == r.rows)
        return -1;
    int begin = r.begin[id], at = begin + (from - begin + PART - 1) / PART * PART;
    return at > begin && at < r.end[id] && at < from + PART ? at : -1;
}

/* A warp has a slot and a group of columns; part is [2, windows, width]. */
template <int V, class T> __global__ void parts_kernel(const T *dy, runs r, int windows, float *part)
{
    for (int64_t item = first_row(); item < (int64_t)2 * windows * r.groups; item += row_stride()) {
        int slot = (int)(item / r.groups), column = ((int)(item % r.groups) * DT_WARP + threadIdx.x) * V;
        int from = slot < windows ? first_part(r, slot) : later_part(r, slot - windows);
        if (from < 0 || column >= r.width)
            continue;
        int end = r.end[r.id[from]], to = from + PART < end ? from + PART : end;
        float sum[V] = {};
        sum_places<V>(dy, r.place, from, to, r.width, column, sum);
        dt_store_some<V>(part, (int64_t)slot * r.width + column, sum);
    }
}

/* A block has a window, in which a long run may begin, and a group of columns: warp w adds parts w, w + TOTAL_WARPS, ..., and the
 * first warp what the warps have. */
template <int V> __global__ void totals_kernel(const float *part, runs r, int windows, float *dx)
{
    DT_SHARED(float, room, TOTAL_WARPS *DT_WARP * 4);
    for (int64_t item = blockIdx.x; item < (int64_t)windows * r.groups; item += gridDim.x) {
        int from = first_part(r, (int)(item / r.groups));
        if (from < 0)
            continue; /* all threads do */
        int column = ((int)(item % r.groups) * DT_WARP + threadIdx.x) * V, id = r.id[from];
        int parts = (r.end[id] - from + PART - 1) / PART;
        float sum[V] = {}, some[V];
        for (int p = threadIdx.y; p < parts && column < r.width; p += TOTAL_WARPS) {
            int slot = p == 0 ? from / PART : windows + (from + p * PART) / PART;
            dt_load_some<V>(part, (int64_t)slot * r.width + column, some);
            for (int v = 0; v < V; v++)
                sum[v] += some[v];
        }
        __syncthreads(); /* the room may still be read for the item before */
        for (int v = 0; v < V; v++)
            room[(threadIdx.y * V + v) * DT_WARP + threadIdx.x] = sum[v];
        __syncthreads();
        if (threadIdx.y > 0 || column >= r.width)
            continue;
        for (int w = 1; w < TOTAL_WARPS; w++)
            for (int v = 0; v < V; v++)
                sum[v] += room[(w * V + v) * DT_WARP + threadIdx.x];
        dt_store_some<V>(dx, (int64_t)id * r.width + column, sum);
    }
}

/* All other rows: a warp has a row and a group of columns. */
template <int V, class T> __global__ void runs_kernel(const T *dy, runs r, dt_divisor<uint32_t> groups, float *dx)
{
    uint32_t count = (uint32_t)r.rows * groups.by;
    for (uint32_t item = blockIdx.x * blockDim.y + threadIdx.y; item < count; item += gridDim.x * blockDim.y) {
        dt_split<uint32_t> at = dt_split_by(item, groups);
        int column = ((int)at.rest * DT_WARP + threadIdx.x) * V, to = r.end[at.over], from = to ? r.begin[at.over] : 0;
        if (column >= r.width || to - from > PART)
            continue;
        float sum[V] = {};
        sum_places<V>(dy, r.place, from, to, r.width, column, sum);
        dt_store_some<V>(dx, (int64_t)at.over * r.width + column, sum);
    }
}

/* What lies where in the workspace. */
struct layout {
    size_t id[2], place[2], count, begin, end, part, bytes;
    int positions, rows, width, tiles, windows, passes;
};

layout lay_out(const dt_node *node)
{
    const dt_shape *table = &node->output[0].shape;
    layout l = {};
    auto take = [&](size_t count) {
        size_t at = l.bytes;
        l.bytes += dt_room(count * 4);
        return at;
    };
    l.positions = (int)dt_count(&node->input[1]->shape);
    l.rows = (int)table->dim[0];
    l.width = (int)table->dim[1];
    l.tiles = (int)dt_parts(l.positions, SORT_TILE);
    l.windows = (int)dt_parts(l.positions, PART);
    for (l.passes = 1; (int64_t)l.rows >> DIGIT_BITS * l.passes; l.passes++)
        ;
    for (int k = 0; k < 2; k++) {
        l.id[k] = take((size_t)l.positions);
        l.place[k] = take((size_t)l.positions);
    }
    l.count = take((size_t)l.tiles * DIGITS);
    l.begin = take((size_t)l.rows);
    l.end = take((size_t)l.rows);
    l.part = take((size_t)2 * (size_t)l.windows * (size_t)l.width);
    return l;
}

/* Sorts; the answer names where the result is. */
int sort_ids(const dt_call *call, const layout &l, char *room)
{
    const int32_t *ids = (const int32_t *)call->in[1], *places = NULL;
    int side = 0;
    for (int pass = 0; pass < l.passes; pass++, side = !side) {
        int32_t *to = (int32_t *)(room + l.id[side]), *to_place = (int32_t *)(room + l.place[side]);
        int *count = (int *)(room + l.count);
        DT_LAUNCH(count_digits_kernel, (unsigned)l.tiles, DIGITS, 0, ids, l.positions, l.rows, pass * DIGIT_BITS, count,
                  ((dt_alarm *)call->state)->raised);
        DT_LAUNCH(place_digits_kernel, (unsigned)l.tiles, DIGITS, 0, ids, places, l.positions, l.rows, pass * DIGIT_BITS, count,
                  to, to_place);
        ids = to;
        places = to_place;
    }
    return !side;
}

template <int V, class T> void sum_runs(const T *dy, const runs &r, const layout &l, float *part, float *dx)
{
    dt_divisor<uint32_t> groups;
    dt_divide_by(&groups, r.groups);
    DT_LAUNCH(edges_kernel, dt_grid(r.positions, DT_BLOCK), DT_BLOCK, 0, r);
    DT_LAUNCH((parts_kernel<V, T>), dt_grid((int64_t)2 * l.windows * r.groups, warps.y), warps, 0, dy, r, l.windows, part);
    DT_LAUNCH(totals_kernel<V>, dt_grid((int64_t)l.windows * r.groups, 1), dim3(DT_WARP, TOTAL_WARPS), 0, part, r, l.windows,
              dx);
    DT_LAUNCH((runs_kernel<V, T>), dt_grid((int64_t)r.rows * r.groups, warps.y), warps, 0, dy, r, groups, dx);
}

} // namespace

void dt_embedding_grad_run(const dt_call *call)
{
    const dt_tensor *dy = call->node->input[0];
    layout l = lay_out(call->node);
    char *room = (char *)call->workspace;
    int side = sort_ids(call, l, room);
    runs r = {(const int32_t *)(room + l.id[side]),
              (const int32_t *)(room + l.place[side]),
              (int *)(room + l.begin),
              (int *)(room + l.end),
              l.positions,
              l.rows,
              l.width,
              0};
    cudaMemsetAsync(r.end, 0, sizeof *r.end * (size_t)l.rows, dt_cuda_stream());
    bool fours = l.width % 4 == 0 && dt_aligned4(call->in[0], dy->dtype) && dt_aligned4(call->out[0], DT_F32);
    dt_by_fours(fours, [&](auto four) {
        constexpr int V = decltype(four)::value;
        r.groups = (int)dt_parts(l.width, V * DT_WARP);
        dt_by_type(dy->dtype, [&](auto element) {
            using T = decltype(element);
            sum_runs<V>((const T *)call->in[0], r, l, (float *)(room + l.part), (float *)call->out[0]);
        });
    });
    dt_cuda_check(call, "embedding_grad");
}

bool dt_embedding_grad_prepare(dt_preparation *preparation)
{
    const dt_shape *table = &preparation->node->output[0].shape;
    int64_t positions = dt_count(&preparation->node->input[1]->shape), groups = dt_parts(table->dim[1], DT_WARP);
    if (positions > INT32_MAX - SORT_TILE || table->dim[0] > INT32_MAX / groups - DT_BLOCK || table->dim[1] > INT32_MAX) {
        snprintf(preparation->message, sizeof preparation->message, "%lld ids into %s are more than 2^31", (long long)positions,
                 dt_shape_text(table).chars);
        return false;
    }
    preparation->workspace = lay_out(preparation->node).bytes;
    return dt_lookup_alarm(preparation, table->dim[0]);
}
