/* Tiles of the logits of contrastive losses, and the passes that turn one into losses or slopes where a logit needs no other. */
#ifndef DUET_KERNELS_CUDA_LOGITS_H
#define DUET_KERNELS_CUDA_LOGITS_H

#include "kernels/cuda/launch.h"

namespace
{

enum {
    PATCH = 8,            /* rows that a block holds in registers at a time */
    CHUNK = 4 * DT_BLOCK, /* columns of a block, four neighbours to a thread */
    TOTAL_BLOCK = 1024    /* threads that add up the parts of all blocks */
};

/* Rows [i, i + rows) against columns [j, j + columns) of the logits, in memory with `stride` from row to row. A block has
 * `strip` rows of it. */
struct tile {
    int64_t i, j;
    int rows, columns, stride, strip;
};

/* A thread's four columns, of which the last tile's edge may leave fewer. */
struct quad {
    int column, count;
};

__device__ __forceinline__ quad my_quad(const tile &t)
{
    int column = blockIdx.x * CHUNK + 4 * threadIdx.x, left = t.columns - column;
    return {column, left < 0 ? 0 : left < 4 ? left : 4};
}

/* Are all rows of the patch from r on there, and all columns of the thread? */
__device__ __forceinline__ bool is_whole(const tile &t, quad q, int r)
{
    return q.count == 4 && r + PATCH <= t.rows;
}

__device__ __forceinline__ void load_quad(const float *x, int at, int count, float to[4])
{
    if (count == 4)
        dt_load4(x, at, to);
    else
        for (int k = 0; k < 3; k++)
            if (k < count)
                to[k] = x[at + k];
}

template <class T> __device__ __forceinline__ void store_quad(T *y, int at, int count, const float from[4])
{
    if (count == 4)
        dt_store4(y, at, from);
    else
        for (int k = 0; k < 3; k++)
            if (k < count)
                dt_store(y, at + k, from[k]);
}

/* The rounded product: fused with what is added next, the logits of a gradient would not be those of the loss, and a pair
 * alone would have a gradient. */
__device__ __forceinline__ float times(float scale, float x)
{
    return fmaf(scale, x, 0);
}

/* A rule turns products x of a tile into slopes, and adds to two sums. */
struct sums {
    float first, second;
};

struct infonce_slope {
    enum { WRITES = 1 };
    const float *scale, *dloss, *row_lse, *column_lse; /* lse: of the tile */
    float share;                                       /* of dloss: 1 / (2 n) */
    struct mine {
        float scale, factor, column_lse[4];
    };
    __device__ __forceinline__ mine start(quad q) const
    {
        mine m = {*scale, *scale * *dloss * share, {0, 0, 0, 0}};
        for (int k = 0; k < 4; k++)
            if (k < q.count)
                m.column_lse[k] = column_lse[q.column + k];
        return m;
    }
    __device__ __forceinline__ float row(int r) const
    {
        return row_lse[r];
    }
    __device__ __forceinline__ float apply(const mine &m, float lse, int k, float x, bool pair, sums &s) const
    {
        float logit = times(m.scale, x), g = expf(logit - lse) + expf(logit - m.column_lse[k]) - (pair ? 2.f : 0.f);
        s.first += g * x;
        return g * m.factor;
    }
};

/* log(1 + e), e from 0 to 1, as e times the polynomial that meets log(1 + e) / e in the ten Chebyshev points between: off by
 * 1.4e-7 of the value at most, rounding included, for half of what log1pf takes. */
__device__ __forceinline__ float log_one_plus(float e)
{
    const float coefficient[] = {-0.00317605701f, 0.0195425265f, -0.0563736111f, 0.105436236f,  -0.152696669f,
                                 0.196632743f,    -0.249516159f, 0.333297104f,   -0.499998927f, 1};
    float y = coefficient[0];
    for (int i = 1; i < 10; i++)
        y = fmaf(y, e, coefficient[i]);
    return y * e;
}

/* Every loss is softplus(z), z the logit of a pair negated and that of a stranger not. */
struct sigmoid_rule {
    const float *scale, *bias;
    struct mine {
        float scale, bias, factor;
    };
    __device__ __forceinline__ float row(int) const
    {
        return 0;
    }
    __device__ __forceinline__ float signed_logit(const mine &m, float x, bool pair) const
    {
        float logit = times(m.scale, x) + m.bias;
        return pair ? -logit : logit;
    }
};

struct sigmoid_value : sigmoid_rule {
    enum { WRITES = 0 };
    __device__ __forceinline__ mine start(quad) const
    {
        return {*scale, *bias, 0};
    }
    __device__ __forceinline__ float apply(const mine &m, float, int, float x, bool pair, sums &s) const
    {
        float z = signed_logit(m, x, pair);
        s.first += fmaxf(z, 0) + log_one_plus(expf(-fabsf(z)));
        return z;
    }
};

struct sigmoid_slope : sigmoid_rule {
    enum { WRITES = 1 };
    const float *dloss;
    float share; /* 1 / n */
    __device__ __forceinline__ mine start(quad) const
    {
        return {*scale, *bias, *scale * *dloss * share};
    }
    __device__ __forceinline__ float apply(const mine &m, float, int, float x, bool pair, sums &s) const
    {
        float slope = 1 / (1 + expf(-signed_logit(m, x, pair))), g = pair ? -slope : slope;
        s.first += g * x;
        s.second += g;
        return g * m.factor;
    }
};

/* One patch from row r on: all is asked for before the last is used. WHOLE: is_whole, and no element needs to be looked for. */
template <bool WHOLE, class Rule, class T>
__device__ __forceinline__ sums sweep_patch(const float *x, const tile &t, const Rule &rule, const typename Rule::mine &m,
                                            quad q, int r, T *g)
{
    float v[PATCH][4];
    sums s = {0, 0};
    int rows = t.rows - r, diagonal = (int)(t.i - t.j) + r - q.column; /* k of the pair in the patch's first row */
    const int count = WHOLE ? 4 : q.count;
    for (int p = 0; p < PATCH; p++)
        if (WHOLE || p < rows)
            load_quad(x, (r + p) * t.stride + q.column, count, v[p]);
    for (int p = 0; p < PATCH; p++)
        if (WHOLE || p < rows) {
            float row = rule.row(r + p);
            for (int k = 0; k < 4; k++)
                if (k < count)
                    v[p][k] = rule.apply(m, row, k, v[p][k], diagonal + p == k, s);
            if (Rule::WRITES)
                store_quad(g, (r + p) * t.stride + q.column, count, v[p]);
        }
    return s;
}

/* g may be x. part: two sums for each block. */
template <class Rule, class T> __global__ void sweep_kernel(const float *x, tile t, Rule rule, T *g, double *part)
{
    DT_SHARED(double, room, DT_BLOCK / DT_WARP);
    quad q = my_quad(t);
    typename Rule::mine m = rule.start(q);
    int first = blockIdx.y * t.strip, end = first + t.strip < t.rows ? first + t.strip : t.rows;
    double one = 0, two = 0;
    for (int r = first; r < end && q.count; r += PATCH) {
        sums s = is_whole(t, q, r) ? sweep_patch<true>(x, t, rule, m, q, r, g) : sweep_patch<false>(x, t, rule, m, q, r, g);
        one += s.first;
        two += s.second;
    }
    one = dt_team_reduce<DT_BLOCK>(one, dt_plus<double>(), room);
    two = dt_team_reduce<DT_BLOCK>(two, dt_plus<double>(), room);
    if (threadIdx.x == 0) {
        int64_t block = (int64_t)blockIdx.y * gridDim.x + blockIdx.x;
        part[2 * block] = one;
        part[2 * block + 1] = two;
    }
}

/* The sum of part[i * width + s] over i, times share and, where there is one, *dloss: into *first for s = 0, *second for 1. A
 * block for each s. */
__global__ void total_kernel(const double *part, int64_t parts, int width, const float *dloss, double share, float *first,
                             float *second)
{
    DT_SHARED(double, room, TOTAL_BLOCK / DT_WARP);
    double sum = 0;
    for (int64_t i = threadIdx.x; i < parts; i += TOTAL_BLOCK)
        sum += part[i * width + blockIdx.x];
    sum = dt_team_reduce<TOTAL_BLOCK>(sum, dt_plus<double>(), room);
    if (threadIdx.x == 0)
        *(blockIdx.x ? second : first) = (float)(sum * share * (dloss ? *dloss : 1));
}

} // namespace

#endif
