/* Log-sum-exps of the rows and of the columns of logits that are given tile by tile. */
#ifndef DUET_KERNELS_CUDA_LOGSUMEXP_H
#define DUET_KERNELS_CUDA_LOGSUMEXP_H

#include "kernels/cuda/logits.h"

namespace
{

enum { MERGE_ROWS = DT_BLOCK / DT_WARP };

/* A sum of exp(logit) so far is sum exp(most). */
template <class T> struct alignas(2 * sizeof(T)) running {
    float most;
    T sum;
};

using tally = running<float>;
using total = running<double>;

template <class T, class U> __device__ __forceinline__ running<T> merge(running<T> a, running<U> b)
{
    bool swap = b.most > a.most;
    float most = swap ? b.most : a.most, less = swap ? a.most : b.most;
    T much = swap ? (T)b.sum : a.sum, little = swap ? a.sum : (T)b.sum;
    return {most, much + (little == 0 ? 0 : little * expf(less - most))};
}

struct higher {
    __device__ __forceinline__ float operator()(float a, float b) const
    {
        return fmaxf(a, b);
    }
};

/* For each row of the patch, what the threads of the block have is joined, by a warp for each row. All threads get all rows.
 * room: PATCH * DT_BLOCK floats and PATCH more. */
template <class Join> __device__ __forceinline__ void join_rows(float value[PATCH], Join join, float *room)
{
    int warp = threadIdx.x / DT_WARP, lane = threadIdx.x % DT_WARP;
    float *result = room + PATCH * DT_BLOCK;
    __syncthreads(); /* the room may still be read */
    for (int p = 0; p < PATCH; p++)
        room[p * DT_BLOCK + threadIdx.x] = value[p];
    __syncthreads();
    for (int p = warp; p < PATCH; p += DT_BLOCK / DT_WARP) {
        float joined = room[p * DT_BLOCK + lane];
        for (int i = DT_WARP; i < DT_BLOCK; i += DT_WARP)
            joined = join(joined, room[p * DT_BLOCK + i + lane]);
        joined = dt_warp_reduce(joined, join);
        if (lane == 0)
            result[p] = joined;
    }
    __syncthreads();
    for (int p = 0; p < PATCH; p++)
        value[p] = result[p];
}

/* Sums of exp(v - shift) by rows and by columns. With one shift for all of them an exponential is taken once. */
template <bool ONE>
__device__ __forceinline__ void add_exponentials(const float v[PATCH][4], const float row_shift[PATCH],
                                                 const float column_shift[4], float row_sum[PATCH], float column_sum[4])
{
    for (int p = 0; p < PATCH; p++) {
        row_sum[p] = 0;
        for (int k = 0; k < 4; k++) {
            float e = expf(v[p][k] - row_shift[p]);
            row_sum[p] += e;
            column_sum[k] += ONE ? e : expf(v[p][k] - column_shift[k]);
        }
    }
}

/* What is not there is -infinity. */
__device__ __forceinline__ void load_logits(const float *x, const tile &t, quad q, int r, float scale, float v[PATCH][4])
{
    for (int p = 0; p < PATCH; p++) {
        float product[4];
        if (r + p < t.rows)
            load_quad(x, (r + p) * t.stride + q.column, q.count, product);
        for (int k = 0; k < 4; k++)
            v[p][k] = r + p < t.rows && k < q.count ? times(scale, product[k]) : -INFINITY;
    }
}

/* Of a patch's logits: the sums of rows, shifted by row_shift, and of columns, added to `column`. Where all logits are within
 * SPREAD of each other one shift will do: no row or column is so small against it that its sum would lose a digit. */
__device__ __forceinline__ void tally_patch(const float v[PATCH][4], float row_shift[PATCH], float row_sum[PATCH],
                                            tally column[4], float *room)
{
    const float SPREAD = 60;
    float most = -INFINITY, least = INFINITY, column_most[4], column_sum[4] = {0, 0, 0, 0};
    for (int k = 0; k < 4; k++)
        column_most[k] = -INFINITY;
    for (int p = 0; p < PATCH; p++) {
        row_shift[p] = -INFINITY;
        for (int k = 0; k < 4; k++) {
            row_shift[p] = fmaxf(row_shift[p], v[p][k]);
            column_most[k] = fmaxf(column_most[k], v[p][k]);
            least = v[p][k] == -INFINITY ? least : fminf(least, v[p][k]);
        }
        most = fmaxf(most, row_shift[p]);
    }
    most = dt_team_reduce<DT_BLOCK>(most, higher(), room);
    least = -dt_team_reduce<DT_BLOCK>(-least, higher(), room);
    if (most - least <= SPREAD) {
        for (int p = 0; p < PATCH; p++)
            row_shift[p] = most;
        for (int k = 0; k < 4; k++)
            column_most[k] = most;
        add_exponentials<true>(v, row_shift, column_most, row_sum, column_sum);
    } else {
        join_rows(row_shift, higher(), room);
        add_exponentials<false>(v, row_shift, column_most, row_sum, column_sum);
    }
    for (int k = 0; k < 4; k++)
        column[k] = merge(column[k], tally{column_most[k], column_sum[k]});
    join_rows(row_sum, dt_plus<float>(), room);
}

/* Partial sums of rows, row_part[chunks, rows], and columns, column_part[strips, columns], both in lines of `lines`, and
 * the logits of pairs, which are in the tiles on the diagonal. */
__global__ void tally_kernel(const float *x, tile t, const float *scale, int lines, tally *row_part, tally *column_part,
                             float *pairs)
{
    DT_SHARED(float, room, PATCH * DT_BLOCK + PATCH);
    quad q = my_quad(t);
    int first = blockIdx.y * t.strip, end = first + t.strip < t.rows ? first + t.strip : t.rows;
    tally column[4];
    float s = *scale;
    for (int k = 0; k < 4; k++)
        column[k] = {-INFINITY, 0};
    for (int r = first; r < end; r += PATCH) {
        float v[PATCH][4], row_shift[PATCH], row_sum[PATCH];
        load_logits(x, t, q, r, s, v);
        for (int p = 0; p < PATCH; p++)
            for (int k = 0; k < 4; k++)
                if (t.i == t.j && k < q.count && r + p == q.column + k)
                    pairs[r + p] = v[p][k];
        tally_patch(v, row_shift, row_sum, column, room);
        for (int p = 0; p < PATCH; p++)
            if ((int)threadIdx.x == p && r + p < t.rows)
                row_part[blockIdx.x * lines + r + p] = {row_shift[p], row_sum[p]};
    }
    for (int k = 0; k < 4; k++)
        if (k < q.count)
            column_part[blockIdx.y * lines + q.column + k] = column[k];
}

/* The rows of a tile, or its columns, with `parts` partial sums each. */
struct lines_of_tile {
    const tally *part; /* [parts, stride] */
    int parts, stride, count;
    bool first, last;   /* of the tiles that have these lines */
    total *sum;         /* over the tiles so far */
    float *lse;         /* when it was the last */
    const float *pairs; /* rows: the logits of pairs */
    double *loss;       /* for each block */
};

/* Blocks (32 lines, MERGE_ROWS threads for each); y = 0 is for rows and 1 for columns. */
__global__ void merge_kernel(lines_of_tile rows, lines_of_tile columns)
{
    DT_SHARED(total, room, DT_BLOCK);
    lines_of_tile of = blockIdx.y ? columns : rows;
    int line = blockIdx.x * DT_WARP + threadIdx.x;
    total sum = {-INFINITY, 0};
    for (int i = threadIdx.y; i < of.parts && line < of.count; i += MERGE_ROWS)
        sum = merge(sum, of.part[i * of.stride + line]);
    room[threadIdx.y * DT_WARP + threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y)
        return;
    for (int i = 1; i < MERGE_ROWS; i++)
        sum = merge(sum, room[i * DT_WARP + threadIdx.x]);
    if (line < of.count && !of.first)
        sum = merge(sum, of.sum[line]);
    if (line < of.count && !of.last)
        of.sum[line] = sum;
    if (!of.last)
        return;
    double loss = 0;
    if (line < of.count) {
        double lse = sum.most + log(sum.sum);
        of.lse[line] = (float)lse;
        loss = lse / 2 - (of.pairs ? of.pairs[line] : 0);
    }
    loss = dt_warp_reduce(loss, dt_plus<double>());
    if (threadIdx.x == 0 && line < of.count)
        of.loss[blockIdx.x] = loss;
}

} // namespace

#endif
