/* Layer norm. A row has a warp and stays in its registers between mean, centred squares and y, so that it is read once; rows
 * that are too long for that, or that cannot be read four at a time, are read again for each. The gradient makes dx in the
 * same way and sums dgamma and dbeta on the way, each block for rows of its own; a second kernel adds up what the blocks have.
 *
 * Sums are float32 within a block and float64 beyond. Which rows a block has follows from the shape alone, and so do the
 * bits of the results. */
#include "kernels/cuda/layer_norm.h"
#include "kernels/cuda/team.h"

namespace
{

enum {
    PARTS = 1024,  /* that a sum over rows is cut into, at most */
    GRAD_WARPS = 4 /* of a block that sums over rows */
};

__device__ __forceinline__ int64_t lesser(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

struct rows {
    int64_t count, width;
    int64_t each; /* rows for whose share of dgamma and dbeta one block is there */
    float eps;
};

rows rows_of(const dt_node *node)
{
    const dt_shape *x = &node->input[0]->shape;
    int64_t count = dt_span(x, 0, x->rank - 1), each = dt_parts(count, PARTS);
    return {count, x->dim[x->rank - 1], each > GRAD_WARPS ? each : (int64_t)GRAD_WARPS,
            ((const dt_norm_form *)node->attributes)->eps};
}

/* Where four k of a lane is in its row. */
__device__ __forceinline__ int four_at(int k)
{
    return 4 * ((int)threadIdx.x + k * DT_WARP);
}

/* A row in the registers of a warp, FOURS times four neighbours a lane; zeros beyond its end. */
template <int FOURS, class T> __device__ __forceinline__ void load_row(const T *row, int64_t width, float to[FOURS][4])
{
    for (int k = 0; k < FOURS; k++) {
        if (four_at(k) < width)
            dt_load4(row, four_at(k), to[k]);
        else
            to[k][0] = to[k][1] = to[k][2] = to[k][3] = 0;
    }
}

template <int FOURS, class T>
__global__ void layer_norm_kernel(const T *x, const float *gamma, const float *beta, rows r, T *y, float *means, float *rstds)
{
    for (int64_t row = first_row(); row < r.count; row += row_stride()) {
        float v[FOURS][4], sum = 0, squares = 0;
        load_row<FOURS>(x + row * r.width, r.width, v);
        for (int k = 0; k < FOURS; k++)
            for (int i = 0; i < 4; i++)
                sum += v[k][i];
        float mean = dt_warp_reduce(sum, dt_plus<float>()) / (float)r.width;
        for (int k = 0; k < FOURS; k++)
            for (int i = 0; i < 4 && four_at(k) < r.width; i++)
                squares += (v[k][i] - mean) * (v[k][i] - mean);
        float rstd = 1 / sqrtf(dt_warp_reduce(squares, dt_plus<float>()) / (float)r.width + r.eps);
        for (int k = 0; k < FOURS; k++) {
            float scale[4], shift[4];
            if (four_at(k) >= r.width)
                break;
            dt_load4(gamma, four_at(k), scale);
            dt_load4(beta, four_at(k), shift);
            for (int i = 0; i < 4; i++)
                v[k][i] = (v[k][i] - mean) * rstd * scale[i] + shift[i];
            dt_store4(y + row * r.width, four_at(k), v[k]);
        }
        if (threadIdx.x == 0) {
            means[row] = mean;
            rstds[row] = rstd;
        }
    }
}

/* The same for rows of any width. */
template <int THREADS, class T>
__global__ void layer_norm_any_kernel(const T *x, const float *gamma, const float *beta, rows r, T *y, float *means,
                                      float *rstds)
{
    DT_SHARED(float, room, DT_BLOCK / DT_WARP);
    for (int64_t row = first_row(); row < r.count; row += row_stride()) {
        const T *from = x + row * r.width;
        float sum = 0, squares = 0;
        for (int64_t j = threadIdx.x; j < r.width; j += THREADS)
            sum += dt_load(from, j);
        float mean = dt_team_reduce<THREADS>(sum, dt_plus<float>(), room) / (float)r.width;
        for (int64_t j = threadIdx.x; j < r.width; j += THREADS)
            squares += (dt_load(from, j) - mean) * (dt_load(from, j) - mean);
        float rstd = 1 / sqrtf(dt_team_reduce<THREADS>(squares, dt_plus<float>(), room) / (float)r.width + r.eps);
        for (int64_t j = threadIdx.x; j < r.width; j += THREADS)
            dt_store(y + row * r.width, j, (dt_load(from, j) - mean) * rstd * gamma[j] + beta[j]);
        if (threadIdx.x == 0) {
            means[row] = mean;
            rstds[row] = rstd;
        }
    }
}

/* Calls launch with the FOURS, a constant, that rows of this width need; false: they are too long. */
template <class Launch> bool by_width(int64_t width, Launch launch)
{
    if (width <= 128)
        launch(std::integral_constant<int, 1>());
    else if (width <= 256)
        launch(std::integral_constant<int, 2>());
    else if (width <= 384)
        launch(std::integral_constant<int, 3>());
    else if (width <= 512)
        launch(std::integral_constant<int, 4>());
    else if (width <= 768)
        launch(std::integral_constant<int, 6>());
    else if (width <= 1024)
        launch(std::integral_constant<int, 8>());
    else if (width <= 1280)
        launch(std::integral_constant<int, 10>());
    else
        return false;
    return true;
}

template <class T> void layer_norm(const dt_call *call)
{
    rows r = rows_of(call->node);
    const T *x = (const T *)call->in[0];
    const float *gamma = (const float *)call->in[1], *beta = (const float *)call->in[2];
    T *y = (T *)call->out[0];
    float *means = (float *)call->out[1], *rstds = (float *)call->out[2];
    bool fours = r.width % 4 == 0 && dt_aligned4(x) && dt_aligned4(gamma) && dt_aligned4(beta) && dt_aligned4(y);
    if (fours && by_width(r.width, [&](auto n) {
            DT_LAUNCH((layer_norm_kernel<decltype(n)::value, T>), dt_grid(r.count, warps.y), warps, 0, x, gamma, beta, r, y,
                      means, rstds);
        }))
        return;
    by_team(r.width <= SHORT_ROW, r.count, [&](auto threads, unsigned grid, dim3 block) {
        DT_LAUNCH((layer_norm_any_kernel<threads(), T>), grid, block, 0, x, gamma, beta, r, y, means, rstds);
    });
}

/* ---- Its gradient: with xn = (x - mean) rstd and g = gamma dy, dx = rstd (g - mean(g) - xn mean(g xn)) + more. ---- */

template <class T> struct layer_grad {
    const T *x;
    const float *gamma, *means, *rstds;
    const T *dy, *more; /* more may be NULL, or dx itself */
    rows r;
    T *dx;
    float *part; /* [parts, 2, width]: sums for dgamma and dbeta over the rows of each block */
};

/* The sums of a block's warps, four columns of a lane after another, into the block's row of `part`. */
template <int FOURS>
__device__ void add_warps(const float dgamma[FOURS][4], const float dbeta[FOURS][4], int64_t width, float *room, float *part)
{
    int thread = (int)(threadIdx.y * DT_WARP + threadIdx.x);
    for (int k = 0; k < FOURS; k++) {
        __syncthreads();
        for (int i = 0; i < 4; i++) {
            room[(threadIdx.y * 8 + i) * DT_WARP + threadIdx.x] = dgamma[k][i];
            room[(threadIdx.y * 8 + 4 + i) * DT_WARP + threadIdx.x] = dbeta[k][i];
        }
        __syncthreads();
        int64_t column = k * 4 * DT_WARP + thread; /* as many threads as columns */
        for (int which = 0; which < 2 && column < width; which++) {
            float sum = 0;
            for (int warp = 0; warp < GRAD_WARPS; warp++)
                sum += room[(warp * 8 + which * 4 + thread % 4) * DT_WARP + thread / 4];
            part[which * width + column] = sum;
        }
    }
}

template <int FOURS, class T> __global__ void layer_norm_grad_kernel(layer_grad<T> f)
{
    static_assert(GRAD_WARPS == 4, "add_warps has a thread for each of the 128 columns that a warp holds in its fours");
    DT_SHARED(float, room, GRAD_WARPS * 8 * DT_WARP);
    int64_t width = f.r.width, end = lesser((blockIdx.x + 1) * f.r.each, f.r.count);
    float dgamma[FOURS][4] = {}, dbeta[FOURS][4] = {};
    for (int64_t row = blockIdx.x * f.r.each + threadIdx.y; row < end; row += GRAD_WARPS) {
        float xn[FOURS][4], g[FOURS][4], mean = f.means[row], rstd = f.rstds[row];
        pair sums = {0, 0};
        load_row<FOURS>(f.x + row * width, width, xn);
        load_row<FOURS>(f.dy + row * width, width, g);
        for (int k = 0; k < FOURS; k++) {
            float scale[4];
            if (four_at(k) >= width)
                break;
            dt_load4(f.gamma, four_at(k), scale);
            for (int i = 0; i < 4; i++) {
                xn[k][i] = (xn[k][i] - mean) * rstd;
                dgamma[k][i] += g[k][i] * xn[k][i];
                dbeta[k][i] += g[k][i];
                g[k][i] *= scale[i];
                sums.a += g[k][i];
                sums.b += g[k][i] * xn[k][i];
            }
        }
        sums = dt_warp_reduce(sums, dt_plus_pair());
        float level = sums.a / (float)width, pull = sums.b / (float)width;
        for (int k = 0; k < FOURS; k++) {
            if (four_at(k) >= width)
                break;
            for (int i = 0; i < 4; i++)
                g[k][i] = (g[k][i] - level - xn[k][i] * pull) * rstd;
            if (f.more) {
                dt_load4(f.more + row * width, four_at(k), xn[k]);
                for (int i = 0; i < 4; i++)
                    g[k][i] += xn[k][i];
            }
            dt_store4(f.dx + row * width, four_at(k), g[k]);
        }
    }
    add_warps<FOURS>(dgamma, dbeta, width, room, f.part + blockIdx.x * 2 * width);
}

/* dx for rows of any width. */
template <int THREADS, class T> __global__ void layer_norm_grad_any_kernel(layer_grad<T> f)
{
    DT_SHARED(pair, room, DT_BLOCK / DT_WARP);
    for (int64_t row = first_row(); row < f.r.count; row += row_stride()) {
        int64_t first = row * f.r.width;
        float mean = f.means[row], rstd = f.rstds[row];
        pair sums = {0, 0};
        for (int64_t j = threadIdx.x; j < f.r.width; j += THREADS) {
            float g = dt_load(f.dy, first + j) * f.gamma[j];
            sums.a += g;
            sums.b += g * (dt_load(f.x, first + j) - mean) * rstd;
        }
        sums = dt_team_reduce<THREADS>(sums, dt_plus_pair(), room);
        float level = sums.a / (float)f.r.width, pull = sums.b / (float)f.r.width;
        for (int64_t j = threadIdx.x; j < f.r.width; j += THREADS) {
            float g = dt_load(f.dy, first + j) * f.gamma[j], xn = (dt_load(f.x, first + j) - mean) * rstd;
            dt_store(f.dx, first + j, (g - level - xn * pull) * rstd + (f.more ? dt_load(f.more, first + j) : 0));
        }
    }
}

/* dgamma and dbeta for rows of any width: block b has 32 columns, b % tiles, of part b / tiles. */
template <class T> __global__ void layer_norm_columns_kernel(layer_grad<T> f)
{
    DT_SHARED(pair, room, DT_BLOCK);
    int64_t width = f.r.width, tiles = (width + DT_WARP - 1) / DT_WARP, parts = (f.r.count + f.r.each - 1) / f.r.each;
    for (int64_t b = blockIdx.x; b < tiles * parts; b += gridDim.x) {
        int64_t column = b % tiles * DT_WARP + threadIdx.x, part = b / tiles, end = lesser((part + 1) * f.r.each, f.r.count);
        pair sum = {0, 0};
        for (int64_t row = part * f.r.each + threadIdx.y; row < end && column < width; row += blockDim.y) {
            float u = dt_load(f.dy, row * width + column);
            sum.a += u * (dt_load(f.x, row * width + column) - f.means[row]) * f.rstds[row];
            sum.b += u;
        }
        __syncthreads(); /* the room may still be read from the tile before */
        room[threadIdx.y * DT_WARP + threadIdx.x] = sum;
        __syncthreads();
        for (unsigned k = 1; k < blockDim.y && threadIdx.y == 0; k++)
            sum = dt_plus_pair()(sum, room[k * DT_WARP + threadIdx.x]);
        if (threadIdx.y == 0 && column < width) {
            f.part[part * 2 * width + column] = sum.a;
            f.part[(part * 2 + 1) * width + column] = sum.b;
        }
    }
}

/* The sum of the rows of part [parts, 2, width], by blocks of 32 x 32 threads on 32 columns. */
__global__ void sum_parts_kernel(const float *part, int64_t parts, int64_t width, float *dgamma, float *dbeta)
{
    DT_SHARED(double, room, DT_WARP * DT_WARP);
    for (int64_t from = blockIdx.x * DT_WARP; from < 2 * width; from += gridDim.x * DT_WARP) {
        int64_t column = from + threadIdx.x;
        double sum = 0;
        for (int64_t k = threadIdx.y; k < parts && column < 2 * width; k += DT_WARP)
            sum += part[k * 2 * width + column];
        __syncthreads(); /* the room may still be read from the columns before */
        room[threadIdx.y * DT_WARP + threadIdx.x] = sum;
        for (unsigned half = DT_WARP / 2; half; half /= 2) {
            __syncthreads();
            if (threadIdx.y < half)
                room[threadIdx.y * DT_WARP + threadIdx.x] += room[(threadIdx.y + half) * DT_WARP + threadIdx.x];
        }
        if (threadIdx.y == 0 && column < 2 * width)
            *(column < width ? dgamma + column : dbeta + (column - width)) = (float)room[threadIdx.x];
    }
}

template <class T> void layer_norm_grad(const dt_call *call)
{
    layer_grad<T> f = {(const T *)call->in[0],     (const float *)call->in[1], (const float *)call->in[2],
                       (const float *)call->in[3], (const T *)call->in[4],     call->node->inputs > 5 ? (const T *)call->in[5] : NULL,
                       rows_of(call->node),        (T *)call->out[0],          (float *)call->workspace};
    int64_t parts = dt_parts(f.r.count, f.r.each);
    bool fours = f.r.width % 4 == 0 && dt_aligned4(f.x) && dt_aligned4(f.gamma) && dt_aligned4(f.dy) && dt_aligned4(f.dx) &&
                 dt_aligned4(f.more);
    if (!fours || !by_width(f.r.width, [&](auto n) {
            DT_LAUNCH((layer_norm_grad_kernel<decltype(n)::value, T>), (unsigned)parts, dim3(DT_WARP, GRAD_WARPS), 0, f);
        })) {
        /* First the sums: dx may take the place of `more`, and that be dy. */
        DT_LAUNCH(layer_norm_columns_kernel<T>, dt_grid(parts * dt_parts(f.r.width, DT_WARP), 1), warps, 0, f);
        by_team(f.r.width <= SHORT_ROW, f.r.count, [&](auto threads, unsigned grid, dim3 block) {
            DT_LAUNCH((layer_norm_grad_any_kernel<threads(), T>), grid, block, 0, f);
        });
    }
    DT_LAUNCH(sum_parts_kernel, dt_grid(2 * f.r.width, DT_WARP), dim3(DT_WARP, DT_WARP), 0, f.part, parts, f.r.width,
              (float *)call->out[1], (float *)call->out[2]);
}

} // namespace

void dt_cuda_layer_norm(const dt_call *call)
{
    dt_by_type(call->node->input[0]->dtype, [&](auto zero) { layer_norm<decltype(zero)>(call); });
    dt_cuda_check(call, "layer_norm");
}

bool dt_cuda_prepare_layer_norm_grad(dt_preparation *preparation)
{
    rows r = rows_of(preparation->node);
    preparation->workspace = sizeof(float) * 2 * (size_t)(dt_parts(r.count, r.each) * r.width);
    return true;
}

void dt_cuda_layer_norm_grad(const dt_call *call)
{
    dt_by_type(call->node->input[0]->dtype, [&](auto zero) { layer_norm_grad<decltype(zero)>(call); });
    dt_cuda_check(call, "layer_norm_grad");
}
