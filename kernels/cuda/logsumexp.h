/* Log-sum-exps of the rows and of the columns of logits that are given tile by tile. */
#ifndef DUET_KERNELS_CUDA_LOGSUMEXP_H
#define DUET_KERNELS_CUDA_LOGSUMEXP_H

#include "kernels/cuda/logits.h"

namespace
{

enum {
    MERGE_ROWS = DT_BLOCK / DT_WARP,
    STRETCH = 4 * DT_WARP,         /* columns of a warp, for which it sums rows */
    LANES_TO_ROW = DT_WARP / PATCH /* which know the sum of a row */
};

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

/* The sum of each row's values over the lanes of a warp; a lane gets that of row lane / LANES_TO_ROW. At each step half of the
 * lanes go on with half of the rows. */
__device__ __forceinline__ float sum_rows(float value[PATCH])
{
    const int lane = threadIdx.x % DT_WARP;
    int distance = DT_WARP / 2;
    DT_UNROLL
    for (int rows = PATCH / 2; rows; rows /= 2, distance /= 2) {
        const bool upper = lane & distance;
        DT_UNROLL
        for (int p = 0; p < rows; p++) {
            const float keep = upper ? value[p + rows] : value[p], give = upper ? value[p] : value[p + rows];
            value[p] = keep + dt_from_lane(give, distance);
        }
    }
    for (; distance; distance /= 2)
        value[0] += dt_from_lane(value[0], distance);
    return value[0];
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

/* All is asked for before the first is used. WHOLE: all of the patch is there; else what is not is -infinity. */
template <bool WHOLE>
__device__ __forceinline__ void load_logits(const float *x, const tile &t, quad q, int r, float scale, float v[PATCH][4])
{
    for (int p = 0; p < PATCH; p++)
        if (WHOLE || r + p < t.rows)
            load_quad(x, (r + p) * t.stride + q.column, WHOLE ? 4 : q.count, v[p]);
    for (int p = 0; p < PATCH; p++)
        for (int k = 0; k < 4; k++)
            v[p][k] = WHOLE || (r + p < t.rows && k < q.count) ? times(scale, v[p][k]) : -INFINITY;
}

/* Of a warp's part of a patch: adds the sums of columns to `column`, and returns that of row lane / LANES_TO_ROW. Where all
 * logits are there and within SPREAD of each other one shift will do: no row or column is so small against it that its sum would
 * lose a digit. */
__device__ __forceinline__ tally tally_patch(const float v[PATCH][4], tally column[4])
{
    const float SPREAD = 60;
    float most = -INFINITY, least = INFINITY, row_shift[PATCH], row_sum[PATCH], column_most[4], column_sum[4] = {0, 0, 0, 0};
    for (int k = 0; k < 4; k++)
        column_most[k] = -INFINITY;
    for (int p = 0; p < PATCH; p++) {
        row_shift[p] = -INFINITY;
        for (int k = 0; k < 4; k++) {
            row_shift[p] = fmaxf(row_shift[p], v[p][k]);
            column_most[k] = fmaxf(column_most[k], v[p][k]);
            least = fminf(least, v[p][k]);
        }
        most = fmaxf(most, row_shift[p]);
    }
    most = dt_warp_reduce(most, higher());
    least = -dt_warp_reduce(-least, higher());
    float shift = most;
    if (most - least <= SPREAD) {
        for (int p = 0; p < PATCH; p++)
            row_shift[p] = most;
        for (int k = 0; k < 4; k++)
            column_most[k] = most;
        add_exponentials<true>(v, row_shift, column_most, row_sum, column_sum);
    } else {
        for (int p = 0; p < PATCH; p++) {
            row_shift[p] = dt_warp_reduce(row_shift[p], higher());
            shift = (int)threadIdx.x % DT_WARP / LANES_TO_ROW == p ? row_shift[p] : shift;
        }
        add_exponentials<false>(v, row_shift, column_most, row_sum, column_sum);
    }
    for (int k = 0; k < 4; k++)
        column[k] = merge(column[k], tally{column_most[k], column_sum[k]});
    return {shift, sum_rows(row_sum)};
}

/* Partial sums of rows, row_part[stretches, rows], and columns, column_part[strips, columns], both in lines of `lines`, and
 * the logits of pairs, which are in the tiles on the diagonal. Warps wait for nobody, and those without columns do nothing. */
__global__ void tally_kernel(const float *x, tile t, const float *scale, int lines, tally *row_part, tally *column_part,
                             float *pairs)
{
    quad q = my_quad(t);
    int first = blockIdx.y * t.strip, end = first + t.strip < t.rows ? first + t.strip : t.rows;
    int stretch = q.column / STRETCH, row = threadIdx.x % DT_WARP / LANES_TO_ROW;
    tally column[4];
    float s = *scale;
    for (int k = 0; k < 4; k++)
        column[k] = {-INFINITY, 0};
    for (int r = first; r < end && stretch * STRETCH < t.columns; r += PATCH) {
        float v[PATCH][4];
        if (is_whole(t, q, r))
            load_logits<true>(x, t, q, r, s, v);
        else
            load_logits<false>(x, t, q, r, s, v);
        for (int p = 0; p < PATCH && t.i == t.j; p++)
            for (int k = 0; k < 4; k++)
                if (k < q.count && r + p == q.column + k)
                    pairs[r + p] = v[p][k];
        const tally sum = tally_patch(v, column);
        if (threadIdx.x % LANES_TO_ROW == 0 && r + row < t.rows)
            row_part[stretch * lines + r + row] = sum;
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
