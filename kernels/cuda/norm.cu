/* Group and batch norm share one scheme, because batch norm is group norm of a single sample with a group for each channel: a
 * block takes some channels of some rows and writes two sums of each channel (mean and centred squares, or those of the
 * gradient), a second kernel joins them by group, a third one goes over the elements again. Threads have four neighbouring
 * channels each and rows in strides.
 *
 * Sums are float32 within a block and float64 beyond. Which rows a block has follows from the shape alone, and so do the
 * bits of the results. */
#include "kernels/cuda/layer_norm.h"
#include "kernels/cuda/team.h"

extern "C" {
extern const dt_kernel dt_cuda_norm[];
}

namespace
{

enum {
    BLOCKS = 1024, /* about so many go over the elements */
    DEPTH = 8,     /* rows that a thread has in flight, as long as it keeps no more than their sums */
    FEW = 256      /* sums up to which a warp, and not a block, joins them */
};

/* x as `samples` of `rows` by `c` channels in `groups`. */
struct grid {
    int64_t samples, rows, c, groups;
    int64_t each, parts, tiles; /* a block has `each` rows, of which a sample has `parts`, and one of `tiles` of the channels */
    int across;                 /* threads beside each other on a row, a power of two; DT_BLOCK / across below each other */
    float eps;
    bool batch, relu;
};

grid grid_of(const dt_node *node)
{
    const dt_shape *x = &node->input[0]->shape;
    const dt_norm_form *form = (const dt_norm_form *)node->attributes;
    grid g = {};
    g.batch = node->op == &dt_op_batch_norm || node->op == &dt_op_batch_norm_grad;
    g.samples = g.batch ? 1 : x->dim[0];
    g.c = x->dim[x->rank - 1];
    g.rows = dt_count(x) / g.samples / g.c;
    g.groups = g.batch ? g.c : form->groups;
    g.eps = form->eps;
    g.relu = form->relu;
    int64_t fours = dt_parts(g.c, 4);
    for (g.across = 1; g.across < fours && g.across < DT_WARP; g.across *= 2)
        ;
    g.tiles = dt_parts(fours, g.across);
    int64_t parts = BLOCKS / (g.samples * g.tiles), flight = DT_BLOCK / g.across * DEPTH;
    g.each = dt_parts(dt_parts(g.rows, parts < 1 ? 1 : parts), flight) * flight;
    g.parts = dt_parts(g.rows, g.each);
    return g;
}

int64_t blocks_of(const grid &g)
{
    return g.samples * g.parts * g.tiles;
}

/* Where a thread is in block b: its first channel, how many it has (0: none are left), and its rows of all rows. */
struct place {
    int64_t sample, part, channel, row, end;
    int channels, down, stride;
};

__device__ __forceinline__ place place_of(const grid &g, int64_t b)
{
    place p;
    int64_t left, last;
    p.down = (int)threadIdx.x / g.across;
    p.stride = DT_BLOCK / g.across;
    p.sample = b / g.tiles / g.parts;
    p.part = b / g.tiles % g.parts;
    p.channel = 4 * (b % g.tiles * g.across + threadIdx.x % g.across);
    left = g.c - p.channel;
    p.channels = left < 0 ? 0 : left > 4 ? 4 : (int)left;
    last = (p.part + 1) * g.each < g.rows ? (p.part + 1) * g.each : g.rows;
    p.end = p.channels ? p.sample * g.rows + last : 0;
    p.row = p.sample * g.rows + p.part * g.each + p.down;
    return p;
}

/* The four channels of a thread in one row; zeros where there are fewer. V: 4 where they can be accessed at once, known to the
 * compiler, because it puts waits between loads that depend on a choice. */
template <int V, class T>
__device__ __forceinline__ void load(const grid &g, const place &p, const T *x, int64_t row, float to[4])
{
    int64_t at = row * g.c + p.channel;
    if constexpr (V == 4)
        dt_load4(x, at, to);
    else
        for (int i = 0; i < 4; i++)
            to[i] = i < p.channels ? dt_load(x, at + i) : 0;
}

template <int V, class T>
__device__ __forceinline__ void store(const grid &g, const place &p, T *y, int64_t row, const float from[4])
{
    int64_t at = row * g.c + p.channel;
    if constexpr (V == 4)
        dt_store4(y, at, from);
    else
        for (int i = 0; i < p.channels; i++)
            dt_store(y, at + i, from[i]);
}

/* Up to COUNT rows of a thread from p.row on; returns how many there are. */
template <int V, int COUNT, class T>
__device__ __forceinline__ int load_rows(const grid &g, const place &p, const T *x, float to[COUNT][4])
{
    int count = 0;
    for (int k = 0; k < COUNT; k++) {
        to[k][0] = to[k][1] = to[k][2] = to[k][3] = 0;
        if (p.row + k * p.stride < p.end) {
            load<V>(g, p, x, p.row + k * p.stride, to[k]);
            count = k + 1;
        }
    }
    return count;
}

/* Two sums for each of the thread's channels, over n rows. */
struct sums {
    float a[4], b[4], n;
};

/* a: means, b: squares about them (Chan, Golub & LeVeque, 1983). */
struct join_moments {
    __device__ __forceinline__ void operator()(sums &s, const sums &t) const
    {
        float n = s.n + t.n, share = n > 0 ? t.n / n : 0;
        for (int i = 0; i < 4; i++) {
            float apart = t.a[i] - s.a[i];
            s.a[i] += apart * share;
            s.b[i] += t.b[i] + apart * apart * s.n * share;
        }
        s.n = n;
    }
};

struct join_products {
    __device__ __forceinline__ void operator()(sums &s, const sums &t) const
    {
        for (int i = 0; i < 4; i++) {
            s.a[i] += t.a[i];
            s.b[i] += t.b[i];
        }
    }
};

/* Joins the sums of the threads below each other and writes those of the block: `part` is [samples, c, parts], so that all of
 * a group lie together. */
template <class Join> __device__ void finish_sums(const grid &g, const place &p, sums s, Join join, sums *room, pair *part)
{
    for (int half = p.stride / 2; half; half /= 2) {
        __syncthreads();
        room[threadIdx.x] = s;
        __syncthreads();
        if (p.down < half)
            join(s, room[threadIdx.x + half * g.across]);
    }
    for (int i = 0; i < p.channels && p.down == 0; i++)
        part[(p.sample * g.c + p.channel + i) * g.parts + p.part] = {s.a[i], s.b[i]};
}

/* Mean and centred squares of every channel in each block, each thread taking them of a few rows at a time. */
template <int V, class T> __global__ void moments_kernel(const T *x, grid g, pair *part)
{
    DT_SHARED(sums, room, DT_BLOCK);
    for (int64_t b = blockIdx.x; b < g.samples * g.parts * g.tiles; b += gridDim.x) {
        place p = place_of(g, b);
        sums all = {};
        for (; p.row < p.end; p.row += DEPTH * p.stride) {
            float v[DEPTH][4];
            int count = load_rows<V, DEPTH>(g, p, x, v);
            sums few = {};
            few.n = (float)count;
            for (int i = 0; i < 4; i++) {
                for (int k = 0; k < DEPTH; k++)
                    few.a[i] += v[k][i];
                few.a[i] /= few.n;
                for (int k = 0; k < DEPTH; k++)
                    few.b[i] += k < count ? (v[k][i] - few.a[i]) * (v[k][i] - few.a[i]) : 0;
            }
            join_moments()(all, few);
        }
        finish_sums(g, p, all, join_moments(), room, part);
    }
}

/* A walk of a team of THREADS over the sums of `channels` neighbouring channels, of which each has `parts`. */
template <int THREADS> struct walk {
    int64_t channel, part, channels, parts;
    __device__ walk(int64_t channels_, int64_t parts_)
        : channel(threadIdx.x / parts_), part(threadIdx.x % parts_), channels(channels_), parts(parts_)
    {
    }
    __device__ __forceinline__ bool inside(void) const
    {
        return channel < channels;
    }
    __device__ __forceinline__ void step(void)
    {
        channel += THREADS / parts;
        part += THREADS % parts;
        channel += part >= parts;
        part -= part >= parts ? parts : 0;
    }
};

/* Mean, and var of a batch or rstd of a group; a team for each. The sums are of what the first mean leaves. */
template <int THREADS> __global__ void settle_kernel(const pair *part, grid g, float *means, float *seconds)
{
    DT_SHARED(double, room, DT_BLOCK / DT_WARP);
    int64_t channels = g.c / g.groups, last = g.rows - (g.parts - 1) * g.each;
    for (int64_t s = first_row(); s < g.samples * g.groups; s += row_stride()) {
        const pair *from = part + s * channels * g.parts;
        double shift = from[0].a, sum = 0, squares = 0, total = (double)g.rows * (double)channels;
        for (walk<THREADS> w(channels, g.parts); w.inside(); w.step()) {
            pair moments = from[w.channel * g.parts + w.part];
            double n = (double)(w.part == g.parts - 1 ? last : g.each), apart = moments.a - shift;
            sum += n * apart;
            squares += moments.b + n * apart * apart;
        }
        double mean = dt_team_reduce<THREADS>(sum, dt_plus<double>(), room) / total;
        double var = dt_team_reduce<THREADS>(squares, dt_plus<double>(), room) / total - mean * mean;
        var = var < 0 ? 0 : var;
        if (threadIdx.x == 0) {
            means[s] = (float)(shift + mean);
            seconds[s] = (float)(g.batch ? var : 1 / sqrt(var + g.eps));
        }
    }
}

__device__ __forceinline__ int64_t statistic_of(const grid &g, int64_t sample, int64_t channel)
{
    return sample * g.groups + channel / (g.c / g.groups);
}

template <class Real> __device__ __forceinline__ Real rstd_of(const grid &g, Real second)
{
    return g.batch ? 1 / sqrt(second + (Real)g.eps) : second;
}

/* y = (x - mean) rstd gamma + beta. The last blocks first: what was read last is the most likely to be in the cache. */
template <int V, class T>
__global__ void apply_kernel(const T *x, const float *gamma, const float *beta, grid g, const float *means,
                             const float *seconds, T *y)
{
    float least = g.relu ? 0 : -INFINITY;
    for (int64_t b = g.samples * g.parts * g.tiles - 1 - blockIdx.x; b >= 0; b -= gridDim.x) {
        place p = place_of(g, b);
        float mean[4] = {}, second[4] = {}, scale[4] = {}, shift[4] = {};
        for (int i = 0; i < p.channels; i++) {
            int64_t s = statistic_of(g, p.sample, p.channel + i);
            mean[i] = means[s];
            second[i] = seconds[s];
            scale[i] = gamma[p.channel + i];
            shift[i] = beta[p.channel + i];
        }
        for (int i = 0; i < 4; i++) /* after all was asked for */
            scale[i] *= rstd_of(g, second[i]);
        for (; p.row < p.end; p.row += DEPTH * p.stride) {
            float v[DEPTH][4];
            int count = load_rows<V, DEPTH>(g, p, x, v);
            DT_UNROLL
            for (int k = 0; k < DEPTH; k++) {
                for (int i = 0; i < 4; i++) {
                    float value = (v[k][i] - mean[i]) * scale[i] + shift[i];
                    v[k][i] = value < least ? least : value; /* a NaN stays one */
                }
                if (k < count)
                    store<V>(g, p, y, p.row + k * p.stride, v[k]);
            }
        }
    }
}

bool prepare(dt_preparation *preparation)
{
    grid g = grid_of(preparation->node);
    preparation->workspace = sizeof(pair) * (size_t)(g.samples * g.c * g.parts);
    return true;
}

/* Can all of a thread's channels be accessed at once, in a tensor that begins at x? */
template <class T> bool in_fours(const grid &g, const T *x)
{
    return g.c % 4 == 0 && dt_aligned4(x);
}

template <class T> void norm(const dt_call *call)
{
    grid g = grid_of(call->node);
    const T *x = (const T *)call->in[0];
    T *y = (T *)call->out[0];
    pair *part = (pair *)call->workspace;
    float *means = (float *)call->out[1], *seconds = (float *)call->out[2];
    unsigned blocks = dt_grid(blocks_of(g), 1);
    dt_by_fours(in_fours(g, x), [&](auto four) { DT_LAUNCH((moments_kernel<four(), T>), blocks, DT_BLOCK, 0, x, g, part); });
    by_team(g.c / g.groups * g.parts <= FEW, g.samples * g.groups, [&](auto threads, unsigned teams, dim3 block) {
        DT_LAUNCH(settle_kernel<threads()>, teams, block, 0, part, g, means, seconds);
    });
    dt_by_fours(in_fours(g, x) && in_fours(g, y), [&](auto four) {
        DT_LAUNCH((apply_kernel<four(), T>), blocks, DT_BLOCK, 0, x, (const float *)call->in[1], (const float *)call->in[2], g,
                  means, seconds, y);
    });
}

void run(const dt_call *call)
{
    dt_by_type(call->node->input[0]->dtype, [&](auto zero) { norm<decltype(zero)>(call); });
    dt_cuda_check(call, call->node->op->name);
}

/* ---- Their gradient: with xc = x - mean and means over a group,
 * dx = rstd gamma dy - rstd^3 mean(gamma dy xc) xc - rstd mean(gamma dy). ---- */

/* What all of its kernels work on. */
template <class T> struct gradient {
    const T *x;
    const float *gamma, *means, *seconds;
    const T *dy;
    grid g;
    T *dx;
    float *dgamma, *dbeta;
    pair *part;   /* [samples, c, parts]: sums of dy and of dy xc */
    pair *factor; /* [samples, groups]: rstd mean(gamma dy) and rstd^3 mean(gamma dy xc) */
};

enum { DEPTH_GRAD = DEPTH / 2 }; /* of two tensors at once */

template <int V, class T> __global__ void products_kernel(gradient<T> f)
{
    DT_SHARED(sums, room, DT_BLOCK);
    for (int64_t b = blockIdx.x; b < f.g.samples * f.g.parts * f.g.tiles; b += gridDim.x) {
        place p = place_of(f.g, b);
        sums all = {};
        float mean[4] = {};
        for (int i = 0; i < p.channels; i++)
            mean[i] = f.means[statistic_of(f.g, p.sample, p.channel + i)];
        for (; p.row < p.end; p.row += DEPTH_GRAD * p.stride) {
            float v[DEPTH_GRAD][4], u[DEPTH_GRAD][4];
            load_rows<V, DEPTH_GRAD>(f.g, p, f.x, v);
            load_rows<V, DEPTH_GRAD>(f.g, p, f.dy, u);
            for (int i = 0; i < 4; i++)
                for (int k = 0; k < DEPTH_GRAD; k++) {
                    all.a[i] += u[k][i];
                    all.b[i] += u[k][i] * (v[k][i] - mean[i]);
                }
        }
        finish_sums(f.g, p, all, join_products(), room, f.part);
    }
}

/* The factors of each group, by a team; for a batch, where a group is a channel, dgamma and dbeta too. */
template <int THREADS, class T> __global__ void settle_factors_kernel(gradient<T> f)
{
    DT_SHARED(double, room, DT_BLOCK / DT_WARP);
    int64_t channels = f.g.c / f.g.groups;
    for (int64_t s = first_row(); s < f.g.samples * f.g.groups; s += row_stride()) {
        const float *gamma = f.gamma + s % f.g.groups * channels;
        double plain = 0, crossed = 0, total = (double)f.g.rows * (double)channels;
        for (walk<THREADS> w(channels, f.g.parts); w.inside(); w.step()) {
            pair products = f.part[(s * channels + w.channel) * f.g.parts + w.part];
            double weight = f.g.batch ? 1 : gamma[w.channel];
            plain += weight * products.a;
            crossed += weight * products.b;
        }
        plain = dt_team_reduce<THREADS>(plain, dt_plus<double>(), room);
        crossed = dt_team_reduce<THREADS>(crossed, dt_plus<double>(), room);
        double rstd = rstd_of(f.g, (double)f.seconds[s]), weight = f.g.batch ? gamma[0] : 1;
        if (threadIdx.x == 0) {
            f.factor[s] = {(float)(rstd * weight * plain / total), (float)(rstd * rstd * rstd * weight * crossed / total)};
            if (f.g.batch) {
                f.dgamma[s] = (float)(crossed * rstd);
                f.dbeta[s] = (float)plain;
            }
        }
    }
}

/* dgamma = sum dy xc rstd and dbeta = sum dy of each channel over all samples, by a team. */
template <int THREADS, class T> __global__ void settle_channels_kernel(gradient<T> f)
{
    DT_SHARED(double, room, DT_BLOCK / DT_WARP);
    for (int64_t j = first_row(); j < f.g.c; j += row_stride()) {
        double dgamma = 0, dbeta = 0;
        for (walk<THREADS> w(f.g.samples, f.g.parts); w.inside(); w.step()) { /* the channel in one sample after another */
            pair products = f.part[(w.channel * f.g.c + j) * f.g.parts + w.part];
            dbeta += products.a;
            dgamma += products.b * (double)f.seconds[statistic_of(f.g, w.channel, j)];
        }
        dgamma = dt_team_reduce<THREADS>(dgamma, dt_plus<double>(), room);
        dbeta = dt_team_reduce<THREADS>(dbeta, dt_plus<double>(), room);
        if (threadIdx.x == 0) {
            f.dgamma[j] = (float)dgamma;
            f.dbeta[j] = (float)dbeta;
        }
    }
}

template <int V, class T> __global__ void apply_grad_kernel(gradient<T> f)
{
    for (int64_t b = f.g.samples * f.g.parts * f.g.tiles - 1 - blockIdx.x; b >= 0; b -= gridDim.x) {
        place p = place_of(f.g, b);
        float mean[4] = {}, second[4] = {}, scale[4] = {};
        pair factor[4] = {};
        for (int i = 0; i < p.channels; i++) {
            int64_t s = statistic_of(f.g, p.sample, p.channel + i);
            mean[i] = f.means[s];
            second[i] = f.seconds[s];
            scale[i] = f.gamma[p.channel + i];
            factor[i] = f.factor[s];
        }
        for (int i = 0; i < 4; i++)
            scale[i] *= rstd_of(f.g, second[i]);
        for (; p.row < p.end; p.row += DEPTH_GRAD * p.stride) {
            float v[DEPTH_GRAD][4], u[DEPTH_GRAD][4];
            int count = load_rows<V, DEPTH_GRAD>(f.g, p, f.x, v);
            load_rows<V, DEPTH_GRAD>(f.g, p, f.dy, u);
            DT_UNROLL
            for (int k = 0; k < DEPTH_GRAD; k++) {
                for (int i = 0; i < 4; i++)
                    u[k][i] = u[k][i] * scale[i] - (v[k][i] - mean[i]) * factor[i].b - factor[i].a;
                if (k < count)
                    store<V>(f.g, p, f.dx, p.row + k * p.stride, u[k]);
            }
        }
    }
}

bool prepare_grad(dt_preparation *preparation)
{
    grid g = grid_of(preparation->node);
    preparation->workspace = sizeof(pair) * (size_t)(g.samples * g.c * g.parts + g.samples * g.groups);
    return true;
}

template <class T> void norm_grad(const dt_call *call)
{
    gradient<T> f = {(const T *)call->in[0], (const float *)call->in[1], (const float *)call->in[2], (const float *)call->in[3],
                     (const T *)call->in[4], grid_of(call->node),        (T *)call->out[0],          (float *)call->out[1],
                     (float *)call->out[2],  (pair *)call->workspace};
    f.factor = f.part + f.g.samples * f.g.c * f.g.parts;
    bool fours = in_fours(f.g, f.x) && in_fours(f.g, f.dy) && in_fours(f.g, f.dx);
    unsigned blocks = dt_grid(blocks_of(f.g), 1);
    dt_by_fours(fours, [&](auto four) { DT_LAUNCH((products_kernel<four(), T>), blocks, DT_BLOCK, 0, f); });
    by_team(f.g.c / f.g.groups * f.g.parts <= FEW, f.g.samples * f.g.groups, [&](auto threads, unsigned teams, dim3 block) {
        DT_LAUNCH((settle_factors_kernel<threads(), T>), teams, block, 0, f);
    });
    if (!f.g.batch)
        by_team(f.g.samples * f.g.parts <= FEW, f.g.c, [&](auto threads, unsigned teams, dim3 block) {
            DT_LAUNCH((settle_channels_kernel<threads(), T>), teams, block, 0, f);
        });
    dt_by_fours(fours, [&](auto four) { DT_LAUNCH((apply_grad_kernel<four(), T>), blocks, DT_BLOCK, 0, f); });
}

void run_grad(const dt_call *call)
{
    dt_by_type(call->node->input[0]->dtype, [&](auto zero) { norm_grad<decltype(zero)>(call); });
    dt_cuda_check(call, call->node->op->name);
}

} // namespace

/* x and y are of one type, and so are x, dy, dx and what is added to dx; all else is float32. */
#define FORWARD  DT_NARROW_SAME, 1u << 0, 1u << 0
#define BACKWARD DT_NARROW_SAME, 1u << 0 | 1u << 4 | 1u << 5, 1u << 0

const dt_kernel dt_cuda_norm[] = {
    {&dt_op_layer_norm, dt_cuda_layer_norm, NULL, NULL, FORWARD},
    {&dt_op_layer_norm_grad, dt_cuda_layer_norm_grad, dt_cuda_prepare_layer_norm_grad, NULL, BACKWARD},
    {&dt_op_group_norm, run, prepare, NULL, FORWARD},
    {&dt_op_group_norm_grad, run_grad, prepare_grad, NULL, BACKWARD},
    {&dt_op_batch_norm, run, prepare, NULL, FORWARD},
    {&dt_op_batch_norm_grad, run_grad, prepare_grad, NULL, BACKWARD},
    {}};
