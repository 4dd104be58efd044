/* Log-likelihoods, one pass over the decoder's output each way. A row has a warp, or a block where it is long. */
#include "kernels/cuda/launch.h"

#include <type_traits>

#include "kernels/cuda/team.h"

extern "C" {
extern const dt_kernel dt_cuda_likelihood[];
}

namespace
{

/* A product of at most DEPTH factors in (1, 2] stays below 2^DEPTH: far from overflow. */
enum { DEPTH = 64 };

struct rows {
    int64_t count, width, each; /* `each` rows of logits belong to one of x */
};

template <int VECTOR> __device__ __forceinline__ void load(const float *x, int64_t i, float to[VECTOR])
{
    if constexpr (VECTOR == 4)
        dt_load4(x, i, to);
    else
        to[0] = dt_load(x, i);
}

/* sum x l - log(1 + e^l) over a thread's share of a row. With log(1 + e^l) = max(l, 0) + log(1 + e^-|l|) the sum of
 * logarithms is that of a product, so that one logarithm serves many elements. */
template <int THREADS, int VECTOR> __device__ double share_of_row(const float *logits, const float *x, int64_t width)
{
    double total = 0;
    for (int64_t i = threadIdx.x * VECTOR; i < width;) {
        float sum = 0, product = 1;
        for (int n = 0; n < DEPTH && i < width; n += VECTOR, i += THREADS * VECTOR) {
            float l[VECTOR], sample[VECTOR];
            load<VECTOR>(logits, i, l);
            load<VECTOR>(x, i, sample);
            for (int k = 0; k < VECTOR; k++) {
                sum += sample[k] * l[k] - (l[k] > 0 ? l[k] : 0);
                product += product * expf(-fabsf(l[k]));
            }
        }
        total += sum - logf(product);
    }
    return total;
}

template <int THREADS, int VECTOR> __global__ void rows_kernel(const float *logits, const float *x, rows s, float *y)
{
    DT_SHARED(double, room, DT_BLOCK / DT_WARP);
    for (int64_t r = first_row(); r < s.count; r += row_stride()) {
        double total = share_of_row<THREADS, VECTOR>(logits + r * s.width, x + r / s.each * s.width, s.width);
        total = dt_team_reduce<THREADS>(total, dt_plus<double>(), room);
        if (threadIdx.x == 0)
            y[r] = (float)total;
    }
}

/* dx may be any of the operands that has its size: an element is read by none but the thread that writes it. */
template <int THREADS, int VECTOR>
__global__ void grad_kernel(const float *logits, const float *x, const float *upstream, rows s, float *dx)
{
    for (int64_t r = first_row(); r < s.count; r += row_stride())
        for (int64_t i = threadIdx.x * VECTOR; i < s.width; i += THREADS * VECTOR) {
            float l[VECTOR], sample[VECTOR], u = upstream[r];
            load<VECTOR>(logits + r * s.width, i, l);
            load<VECTOR>(x + r / s.each * s.width, i, sample);
            for (int k = 0; k < VECTOR; k++)
                l[k] = u * (sample[k] - 1 / (1 + expf(-l[k])));
            if constexpr (VECTOR == 4)
                dt_store4(dx + r * s.width, i, l);
            else
                dt_store(dx + r * s.width, i, l[0]);
        }
}

rows rows_of(const dt_node *node)
{
    const dt_shape *l = &node->input[0]->shape;
    return {l->dim[0], dt_span(l, 1, l->rank), l->dim[0] / node->input[1]->shape.dim[0]};
}

/* Calls launch with the team and the vector, as constants, that rows of this width have. */
template <class Launch> void by_width(const dt_call *call, rows s, Launch launch)
{
    std::integral_constant<int, DT_WARP> warp;
    std::integral_constant<int, DT_BLOCK> block;
    std::integral_constant<int, 1> one;
    std::integral_constant<int, 4> four;
    bool small = s.width <= SHORT_ROW;
    bool fours = s.width % 4 == 0 && in_fours(call->in[0]) && in_fours(call->in[1]) && in_fours(call->out[0]);
    unsigned grid = dt_grid(s.count, small ? warps.y : 1);
    if (small && fours)
        launch(warp, four, grid, warps);
    else if (small)
        launch(warp, one, grid, warps);
    else if (fours)
        launch(block, four, grid, dim3(DT_BLOCK));
    else
        launch(block, one, grid, dim3(DT_BLOCK));
}

void run_rows(const dt_call *call)
{
    rows s = rows_of(call->node);
    by_width(call, s, [&](auto threads, auto vector, unsigned grid, dim3 team) {
        DT_LAUNCH((rows_kernel<decltype(threads)::value, decltype(vector)::value>), grid, team, 0, (const float *)call->in[0],
                  (const float *)call->in[1], s, (float *)call->out[0]);
    });
    dt_cuda_check(call, "bernoulli_rows");
}

void run_grad(const dt_call *call)
{
    rows s = rows_of(call->node);
    by_width(call, s, [&](auto threads, auto vector, unsigned grid, dim3 team) {
        DT_LAUNCH((grad_kernel<decltype(threads)::value, decltype(vector)::value>), grid, team, 0, (const float *)call->in[0],
                  (const float *)call->in[1], (const float *)call->in[2], s, (float *)call->out[0]);
    });
    dt_cuda_check(call, "bernoulli_rows_grad");
}

} // namespace

const dt_kernel dt_cuda_likelihood[] = {{&dt_op_bernoulli_rows, run_rows, NULL, NULL},
                                        {&dt_op_bernoulli_rows_grad, run_grad, NULL, NULL},
                                        {}};
