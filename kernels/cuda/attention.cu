/* Attention. Between bfloat16 tensors cuDNN does it, where it can (sdpa.h); all else is done here, in float32 and without t x t
 * scores in memory: a block has one tile of rows of one head of one sample (attention_tile.h), and walks over the tiles of the
 * other side with what it collects in registers, as in Dao, "FlashAttention-2", 2023. The gradient is two kernels, neither of
 * which adds to memory: one has a tile of queries (dq), the other a tile of keys (dk, dv). */
#include "kernels/cuda/attention_tile.h"
#include "kernels/cuda/notes.h"
#include "kernels/cuda/sdpa.h"

#include <stdio.h>
#include <stdlib.h>

extern "C" {
extern const dt_kernel dt_cuda_attention[];
}

namespace
{

/* ---- Forward ---- */

constexpr float LOG2_E = 1.44269504088896341f, LN_2 = 0.69314718055994531f;

/* Of the rows of a thread: the largest score so far, and the thread's share of the sum of 2^(score - largest). Scores are
 * logarithms to the base of 2. */
template <class Tile> struct running {
    float most[Tile::EACH], sum[Tile::EACH];
};

/* Products -> 2^(score - largest), with sums and what is collected lowered to the new largest. Rows from `first` on see columns
 * from `from` on, `count` of them, in causal attention up to their own. */
template <class Tile>
__device__ __forceinline__ void exponentiate(const sizes &s, int first, int from, int count, float p[Tile::EACH][Tile::STEPS],
                                             running<Tile> &r, float y[Tile::EACH][Tile::OWN])
{
    bool some_unseen = count < Tile::COLUMNS || (s.causal && from + count > first + 1);
    for (int i = 0; i < Tile::EACH; i++) {
        int last = s.causal ? first + my_row(Tile::EACH) + i - from : Tile::COLUMNS;
        float most = r.most[i], sum = 0;
        for (int j = 0; j < Tile::STEPS; j++) {
            int column = my_lane() + ACROSS * j;
            p[i][j] *= s.scale * LOG2_E;
            if (some_unseen && (column >= count || column > last))
                p[i][j] = -INFINITY;
            most = dt_larger()(p[i][j], most);
        }
        most = row_reduce(most, dt_larger());
        for (int j = 0; j < Tile::STEPS; j++)
            sum += p[i][j] = exp2f(p[i][j] - most);
        float lower = exp2f(r.most[i] - most);
        r.most[i] = most;
        r.sum[i] = r.sum[i] * lower + sum;
        for (int c = 0; c < Tile::OWN; c++)
            y[i][c] *= lower;
    }
}

template <class Tile> constexpr size_t forward_floats = (Tile::ROWS + 2 * Tile::COLUMNS) * Tile::LD + Tile::ROWS * Tile::LS;

template <class T, class Tile> __global__ void forward_kernel(const T *qkv, sizes s, T *y, float *lse)
{
    DT_DYNAMIC_SHARED(float, q);
    float *k = q + Tile::ROWS * Tile::LD, *v = k + Tile::COLUMNS * Tile::LD, *scores = v + Tile::COLUMNS * Tile::LD;
    const int64_t stride = 3 * (int64_t)s.w;
    const int depth = (s.d + 3) / 4 * 4;
    for (int64_t block = blockIdx.x; block < s.items * s.tiles; block += gridDim.x) {
        const place here = place_of<Tile>(s, block, true);
        const T *head = qkv + here.at3;
        const int seen = s.causal ? here.first + here.rows : s.t;
        running<Tile> r;
        float mixed[Tile::EACH][Tile::OWN], p[Tile::EACH][Tile::STEPS];
        for (int i = 0; i < Tile::EACH; i++) {
            r.most[i] = -INFINITY;
            r.sum[i] = 0;
            for (int c = 0; c < Tile::OWN; c++)
                mixed[i][c] = 0;
        }
        fetch<Tile, Tile::ROWS>(head + here.first * stride, stride, here.rows, s, q);
        for (int from = 0; from < seen; from += Tile::COLUMNS) {
            const int count = seen - from < Tile::COLUMNS ? seen - from : Tile::COLUMNS;
            fetch<Tile, Tile::COLUMNS>(head + s.w + from * stride, stride, count, s, k);
            fetch<Tile, Tile::COLUMNS>(head + 2 * s.w + from * stride, stride, count, s, v);
            __syncthreads();
            scores_of<Tile>(q, k, depth, count, p);
            exponentiate<Tile>(s, here.first, from, count, p, r, mixed);
            keep_scores<Tile>(p, scores);
            __syncwarp();
            collect<Tile>(scores, v, count, mixed);
            __syncthreads(); /* the tiles are free */
        }
        for (int i = 0; i < Tile::EACH; i++) {
            const int row = my_row(Tile::EACH) + i;
            const float sum = row_reduce(r.sum[i], dt_plus<float>());
            r.sum[i] = 1 / sum;
            if (my_lane() == 0 && row < here.rows)
                lse[here.item * s.t + here.first + row] = (r.most[i] + log2f(sum)) * LN_2;
        }
        put<Tile>(mixed, r.sum, s, here.rows, s.w, y + here.at + (int64_t)here.first * s.w);
    }
}

/* ---- Gradient ---- */

/* From the product of q and k, and the query's log-sum-exp. No score is above it; roundings of giant ones are. */
__device__ __forceinline__ float probability(const sizes &s, float product, float lse, bool visible)
{
    const float below = (product * s.scale - lse) * LOG2_E;
    return visible ? exp2f(below > 0 ? 0 : below) : 0;
}

template <class Tile>
constexpr size_t gradient_floats = 2 * (Tile::ROWS + Tile::COLUMNS) * Tile::LD + Tile::ROWS * Tile::LS + 2 * Tile::COLUMNS;

/* What both kernels read; delta [n, heads, t] is y . dy of each query, which the first writes and the second reads. */
template <class T> struct operands {
    const T *qkv, *y, *dy;
    const float *lse;
    float *delta;
    T *dqkv;
};

/* y . dy and lse of the thread's rows; dy is in shared memory. */
template <class Tile, class T>
__device__ __forceinline__ void row_terms(const operands<T> &o, const sizes &s, const place &here, const float *dy,
                                          float lse[Tile::EACH], float delta[Tile::EACH])
{
    for (int i = 0; i < Tile::EACH; i++) {
        const int row = my_row(Tile::EACH) + i;
        const bool there = row < here.rows;
        const int64_t at = here.item * s.t + here.first + row;
        const T *y = o.y + here.at + (int64_t)(here.first + row) * s.w;
        float sum = 0;
        for (int column = my_lane(); column < s.d && there; column += ACROSS)
            sum += dt_load(y, column) * dy[row * Tile::LD + column];
        delta[i] = row_reduce(sum, dt_plus<float>());
        lse[i] = there ? o.lse[at] : 0;
        if (my_lane() == 0 && there)
            o.delta[at] = delta[i];
    }
}

template <class T, class Tile> __global__ void query_kernel(operands<T> o, sizes s)
{
    DT_DYNAMIC_SHARED(float, q);
    float *dy = q + Tile::ROWS * Tile::LD, *k = dy + Tile::ROWS * Tile::LD, *v = k + Tile::COLUMNS * Tile::LD,
          *scores = v + Tile::COLUMNS * Tile::LD;
    const int64_t stride = 3 * (int64_t)s.w;
    const int depth = (s.d + 3) / 4 * 4;
    for (int64_t block = blockIdx.x; block < s.items * s.tiles; block += gridDim.x) {
        const place here = place_of<Tile>(s, block, true);
        const T *head = o.qkv + here.at3;
        const int seen = s.causal ? here.first + here.rows : s.t;
        float dq[Tile::EACH][Tile::OWN] = {}, p[Tile::EACH][Tile::STEPS], dp[Tile::EACH][Tile::STEPS];
        float lse[Tile::EACH], delta[Tile::EACH], factor[Tile::EACH];
        fetch<Tile, Tile::ROWS>(head + here.first * stride, stride, here.rows, s, q);
        fetch<Tile, Tile::ROWS>(o.dy + here.at + (int64_t)here.first * s.w, s.w, here.rows, s, dy);
        __syncthreads();
        row_terms<Tile>(o, s, here, dy, lse, delta);
        for (int from = 0; from < seen; from += Tile::COLUMNS) {
            const int count = seen - from < Tile::COLUMNS ? seen - from : Tile::COLUMNS;
            fetch<Tile, Tile::COLUMNS>(head + s.w + from * stride, stride, count, s, k);
            fetch<Tile, Tile::COLUMNS>(head + 2 * s.w + from * stride, stride, count, s, v);
            __syncthreads();
            scores_of<Tile>(q, k, depth, count, p);
            scores_of<Tile>(dy, v, depth, count, dp);
            for (int i = 0; i < Tile::EACH; i++)
                for (int j = 0; j < Tile::STEPS; j++) {
                    const int column = my_lane() + ACROSS * j, row = here.first + my_row(Tile::EACH) + i;
                    const bool visible = column < count && (!s.causal || from + column <= row);
                    dp[i][j] = probability(s, p[i][j], lse[i], visible) * (dp[i][j] - delta[i]);
                }
            keep_scores<Tile>(dp, scores);
            __syncwarp();
            collect<Tile>(scores, k, count, dq);
            __syncthreads(); /* the tiles are free */
        }
        for (int i = 0; i < Tile::EACH; i++)
            factor[i] = s.scale;
        put<Tile>(dq, factor, s, here.rows, stride, o.dqkv + here.at3 + here.first * stride);
    }
}

/* Rows are keys here, and columns queries. */
template <class T, class Tile> __global__ void key_kernel(operands<T> o, sizes s)
{
    DT_DYNAMIC_SHARED(float, k);
    float *v = k + Tile::ROWS * Tile::LD, *q = v + Tile::ROWS * Tile::LD, *dy = q + Tile::COLUMNS * Tile::LD,
          *scores = dy + Tile::COLUMNS * Tile::LD, *lse = scores + Tile::ROWS * Tile::LS, *delta = lse + Tile::COLUMNS;
    const int64_t stride = 3 * (int64_t)s.w;
    const int depth = (s.d + 3) / 4 * 4;
    for (int64_t block = blockIdx.x; block < s.items * s.tiles; block += gridDim.x) {
        const place here = place_of<Tile>(s, block, false);
        const T *head = o.qkv + here.at3;
        float dk[Tile::EACH][Tile::OWN] = {}, dv[Tile::EACH][Tile::OWN] = {};
        float p[Tile::EACH][Tile::STEPS], dp[Tile::EACH][Tile::STEPS], one[Tile::EACH], factor[Tile::EACH];
        fetch<Tile, Tile::ROWS>(head + s.w + here.first * stride, stride, here.rows, s, k);
        fetch<Tile, Tile::ROWS>(head + 2 * s.w + here.first * stride, stride, here.rows, s, v);
        for (int from = s.causal ? here.first : 0; from < s.t; from += Tile::COLUMNS) {
            const int count = s.t - from < Tile::COLUMNS ? s.t - from : Tile::COLUMNS;
            fetch<Tile, Tile::COLUMNS>(head + from * stride, stride, count, s, q);
            fetch<Tile, Tile::COLUMNS>(o.dy + here.at + (int64_t)from * s.w, s.w, count, s, dy);
            if ((int)threadIdx.x < Tile::COLUMNS) {
                const bool there = (int)threadIdx.x < count;
                const int64_t at = here.item * s.t + from + threadIdx.x;
                lse[threadIdx.x] = there ? o.lse[at] : 0;
                delta[threadIdx.x] = there ? o.delta[at] : 0;
            }
            __syncthreads();
            scores_of<Tile>(k, q, depth, count, p);
            for (int i = 0; i < Tile::EACH; i++)
                for (int j = 0; j < Tile::STEPS; j++) {
                    const int column = my_lane() + ACROSS * j, row = here.first + my_row(Tile::EACH) + i;
                    const bool visible = column < count && (!s.causal || from + column >= row);
                    p[i][j] = probability(s, p[i][j], lse[column], visible);
                }
            keep_scores<Tile>(p, scores);
            __syncwarp();
            collect<Tile>(scores, dy, count, dv);
            scores_of<Tile>(v, dy, depth, count, dp);
            for (int i = 0; i < Tile::EACH; i++)
                for (int j = 0; j < Tile::STEPS; j++)
                    dp[i][j] = p[i][j] * (dp[i][j] - delta[my_lane() + ACROSS * j]);
            __syncwarp(); /* the probabilities were read */
            keep_scores<Tile>(dp, scores);
            __syncwarp();
            collect<Tile>(scores, q, count, dk);
            __syncthreads(); /* the tiles are free */
        }
        for (int i = 0; i < Tile::EACH; i++) {
            factor[i] = s.scale;
            one[i] = 1;
        }
        put<Tile>(dk, factor, s, here.rows, stride, o.dqkv + here.at3 + s.w + here.first * stride);
        put<Tile>(dv, one, s, here.rows, stride, o.dqkv + here.at3 + 2 * s.w + here.first * stride);
    }
}

/* ---- Host ---- */

/* How the library does a node: `each` for one part of the samples after another, `rest` (NULL: nothing is left over) for the
 * last part. */
struct library {
    dt_sdpa *each, *rest;
};

/* The library wants 16 bytes. Its workspace is enough for what is done here instead. */
bool for_library(const dt_call *call)
{
    uintptr_t all = 0;
    for (int i = 0; i < call->node->inputs; i++)
        all |= (uintptr_t)call->in[i];
    for (int o = 0; o < call->node->outputs; o++)
        all |= (uintptr_t)call->out[o];
    if (call->state && all % 16)
        dt_cuda_note(call->node, "a view that is not aligned to 16 bytes; own kernels in float32, which are slower");
    return call->state && all % 16 == 0;
}

/* Calls run for each part, with its number of the first sample. */
template <class Run> void by_parts(const dt_call *call, Run run)
{
    const library *l = (const library *)call->state;
    const int64_t n = call->node->input[0]->shape.dim[0], each = dt_sdpa_samples(l->each);
    for (int64_t first = 0; first < n; first += each)
        run(first + each <= n ? l->each : l->rest, first);
}

sizes sizes_of(const dt_node *node)
{
    const dt_shape *qkv = &node->input[0]->shape;
    const dt_attention_form *form = (const dt_attention_form *)node->attributes;
    const int w = (int)(qkv->dim[2] / 3), d = w / form->heads;
    return {qkv->dim[0] * form->heads, (int)qkv->dim[1], w, d, form->heads, 0, form->causal, d % 4 == 0,
            1 / sqrtf((float)d)};
}

/* Calls visit with the tiling for heads of d numbers and t positions. Rows of a tile that lie behind the last position cost as
 * much as others: 197 positions are five tiles of 40 rather than four of 64. */
template <class Visit> void by_tiling(sizes s, Visit visit)
{
    auto chosen = [&](auto tile) {
        s.tiles = (int)dt_parts(s.t, decltype(tile)::ROWS);
        visit(s, tile);
    };
    if (s.d <= 32)
        chosen(tiling<32, 8>{});
    else if (s.d <= 64 && dt_parts(s.t, 40) * 44 < dt_parts(s.t, 64) * 64)
        chosen(tiling<64, 5>{});
    else if (s.d <= 64)
        chosen(tiling<64, 8>{});
    else if (s.d <= 96)
        chosen(tiling<96, 4>{});
    else if (s.d <= 128)
        chosen(tiling<128, 4>{});
    else
        chosen(tiling<WIDEST, 4>{});
}

/* More shared memory than 48 KB has to be asked for. False: it is not given, which is the call's fault. */
template <class Kernel> bool allow(const dt_call *call, Kernel *kernel, size_t floats)
{
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)(floats * sizeof(float)));
    if (error != cudaSuccess)
        snprintf(call->fault, DT_MESSAGE, "attention, asking for %zu bytes of shared memory: %s", floats * sizeof(float),
                 cudaGetErrorString(error));
    return error == cudaSuccess;
}

void forward_by_library(const dt_call *call)
{
    const sizes s = sizes_of(call->node);
    const dt_bf16 *qkv = (const dt_bf16 *)call->in[0];
    dt_bf16 *y = (dt_bf16 *)call->out[0];
    float *lse = (float *)call->out[1];
    by_parts(call, [&](const dt_sdpa *sdpa, int64_t first) {
        const int64_t at = first * s.t * s.w;
        dt_sdpa_forward(sdpa, qkv + 3 * at, y + at, lse + first * s.heads * s.t, call->workspace, call);
    });
}

void backward_by_library(const dt_call *call)
{
    const sizes s = sizes_of(call->node);
    const dt_bf16 *qkv = (const dt_bf16 *)call->in[0], *y = (const dt_bf16 *)call->in[1], *dy = (const dt_bf16 *)call->in[3];
    const float *lse = (const float *)call->in[2];
    dt_bf16 *dqkv = (dt_bf16 *)call->out[0];
    by_parts(call, [&](const dt_sdpa *sdpa, int64_t first) {
        const int64_t at = first * s.t * s.w;
        dt_sdpa_backward(sdpa, qkv + 3 * at, y + at, lse + first * s.heads * s.t, dy + at, dqkv + 3 * at, call->workspace,
                         call);
    });
}

void run_attention(const dt_call *call)
{
    if (for_library(call)) {
        forward_by_library(call);
        return;
    }
    const dt_dtype type = call->node->input[0]->dtype;
    sizes all = sizes_of(call->node);
    all.fours = all.fours && dt_aligned4(call->in[0], type) && dt_aligned4(call->out[0], type);
    by_tiling(all, [&](const sizes &s, auto tile) {
        using Tile = decltype(tile);
        dt_by_type(type, [&](auto zero) {
            using T = decltype(zero);
            if (allow(call, forward_kernel<T, Tile>, forward_floats<Tile>))
                DT_LAUNCH((forward_kernel<T, Tile>), dt_grid(s.items * s.tiles, 1), THREADS,
                          forward_floats<Tile> * sizeof(float), (const T *)call->in[0], s, (T *)call->out[0],
                          (float *)call->out[1]);
        });
    });
    dt_cuda_check(call, "attention");
}

void run_gradient(const dt_call *call)
{
    if (for_library(call)) {
        backward_by_library(call);
        return;
    }
    const dt_dtype type = call->node->input[0]->dtype;
    sizes all = sizes_of(call->node);
    all.fours = all.fours && dt_aligned4(call->in[0], type) && dt_aligned4(call->in[3], type) && dt_aligned4(call->out[0], type);
    by_tiling(all, [&](const sizes &s, auto tile) {
        using Tile = decltype(tile);
        dt_by_type(type, [&](auto zero) {
            using T = decltype(zero);
            const operands<T> o = {(const T *)call->in[0],     (const T *)call->in[1],   (const T *)call->in[3],
                                   (const float *)call->in[2], (float *)call->workspace, (T *)call->out[0]};
            const unsigned grid = dt_grid(s.items * s.tiles, 1);
            const size_t shared = gradient_floats<Tile> * sizeof(float);
            if (!allow(call, query_kernel<T, Tile>, gradient_floats<Tile>) ||
                !allow(call, key_kernel<T, Tile>, gradient_floats<Tile>))
                return;
            DT_LAUNCH((query_kernel<T, Tile>), grid, THREADS, shared, o, s);
            DT_LAUNCH((key_kernel<T, Tile>), grid, THREADS, shared, o, s);
        });
    });
    dt_cuda_check(call, "attention_grad");
}

void release(void *state)
{
    library *l = (library *)state;
    if (!l)
        return;
    dt_sdpa_free(l->each);
    dt_sdpa_free(l->rest);
    free(l);
}

/* NULL: the library refuses; refusal says what. */
library *library_for(const dt_sdpa_form *form, char *refusal)
{
    library *l = (library *)calloc(1, sizeof *l);
    if (!l) {
        snprintf(refusal, DT_MESSAGE, "out of memory while planning");
        return NULL;
    }
    l->each = dt_sdpa_new(form, refusal);
    dt_sdpa_form last = *form;
    last.n = l->each ? form->n % dt_sdpa_samples(l->each) : 0;
    l->rest = last.n ? dt_sdpa_new(&last, refusal) : NULL;
    if (l->each && (!last.n || (l->rest && dt_sdpa_samples(l->rest) == last.n)))
        return l;
    release(l);
    return NULL;
}

size_t workspace_of(const library *l)
{
    const size_t each = dt_sdpa_workspace(l->each), rest = l->rest ? dt_sdpa_workspace(l->rest) : 0;
    return each > rest ? each : rest;
}

/* Of the kernels above on this device. False: there is not enough; message says so. */
bool has_shared_memory(const sizes &s, bool backward, char *message)
{
    int device = 0, most = 0;
    size_t floats = 0;
    by_tiling(s, [&](const sizes &, auto tile) {
        floats = backward ? gradient_floats<decltype(tile)> : forward_floats<decltype(tile)>;
    });
    cudaError_t error = cudaGetDevice(&device);
    if (error == cudaSuccess)
        error = cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
    if (error != cudaSuccess)
        snprintf(message, DT_MESSAGE, "asking for the GPU's shared memory: %s", cudaGetErrorString(error));
    else if (floats * sizeof(float) > (size_t)most)
        snprintf(message, DT_MESSAGE, "heads of %d numbers need %zu bytes of shared memory, and this GPU has %d for a block",
                 s.d, floats * sizeof(float), most);
    return error == cudaSuccess && floats * sizeof(float) <= (size_t)most;
}

/* The library's plans as state; NULL where the kernels above are to be used. */
bool prepare(dt_preparation *preparation, bool backward)
{
    const dt_tensor *qkv = preparation->node->input[0];
    if (qkv->shape.dim[1] > MOST_POSITIONS || qkv->shape.dim[2] > INT_MAX) {
        snprintf(preparation->message, DT_MESSAGE, "on a GPU there can be %d positions and %d numbers in each",
                 (int)MOST_POSITIONS, INT_MAX);
        return false;
    }
    const sizes s = sizes_of(preparation->node);
    if (s.d > WIDEST) {
        snprintf(preparation->message, DT_MESSAGE, "heads of %d numbers; on a GPU they have at most %d", s.d, (int)WIDEST);
        return false;
    }
    preparation->workspace = backward ? sizeof(float) * (size_t)(s.items * s.t) : 0; /* delta */
    if (qkv->dtype == DT_BF16) {
        char refusal[DT_MESSAGE] = "", note[2 * DT_MESSAGE];
        const dt_sdpa_form form = {qkv->shape.dim[0], s.t, s.heads, s.d, s.causal, backward};
        const library *l = library_for(&form, refusal);
        preparation->state = (void *)l;
        snprintf(note, sizeof note, "%s; own kernels in float32, which are slower", refusal);
        if (!l)
            dt_cuda_note(preparation->node, note);
        else if (workspace_of(l) > preparation->workspace)
            preparation->workspace = workspace_of(l);
    }
    return preparation->state || has_shared_memory(s, backward, preparation->message);
}

bool prepare_attention(dt_preparation *preparation)
{
    return prepare(preparation, false);
}

bool prepare_gradient(dt_preparation *preparation)
{
    return prepare(preparation, true);
}

} // namespace

const dt_kernel dt_cuda_attention[] = {
    {&dt_op_attention, run_attention, prepare_attention, release, DT_NARROW_PRODUCT_SAME, 1, 1},
    {&dt_op_attention_grad, run_gradient, prepare_gradient, release, DT_NARROW_PRODUCT_SAME, 1 | 2 | 8, 1},
    {}};
