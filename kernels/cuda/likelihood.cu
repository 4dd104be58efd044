/* Log-likelihoods, one pass over the decoder's output each way. A row has a warp, or a block where it is long. */
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

/* sum x l - log(1 + e^l) over a thread's share of a row. With log(1 + e^l) = max(l, 0) + log(1 + e^-|l|) the sum of
 * logarithms is that of a product, so that one logarithm serves many elements. */
template <int THREADS, int VECTOR> __device__ double share_of_row(const float *logits, const float *x, int64_t width)
{
    double total = 0;
    for (int64_t i = threadIdx.x * VECTOR; i < width;) {
        float sum = 0, product = 1;
        for (int n = 0; n < DEPTH && i < width; n += VECTOR, i += THREADS * VECTOR) {
            float l[VECTOR], sample[VECTOR];
            dt_load_some<VECTOR>(logits, i, l);
            dt_load_some<VECTOR>(x, i, sample);
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
            dt_load_some<VECTOR>(logits + r * s.width, i, l);
            dt_load_some<VECTOR>(x + r / s.each * s.width, i, sample);
            for (int k = 0; k < VECTOR; k++)
                l[k] = u * (sample[k] - 1 / (1 + expf(-l[k])));
            dt_store_some<VECTOR>(dx + r * s.width, i, l);
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
    const float *logits = (const float *)call->in[0], *x = (const float *)call->in[1], *out = (const float *)call->out[0];
    bool fours = s.width % 4 == 0 && dt_aligned4(logits) && dt_aligned4(x) && dt_aligned4(out);
    by_team(s.width <= SHORT_ROW, s.count, [&](auto threads, unsigned grid, dim3 team) {
        dt_by_fours(fours, [&](auto vector) { launch(threads, vector, grid, team); });
    });
}

void run_rows(const dt_call *call)
{
    rows s = rows_of(call->node);
    by_width(call, s, [&](auto threads, auto vector, unsigned grid, dim3 team) {
        DT_LAUNCH((rows_kernel<threads(), vector()>), grid, team, 0, (const float *)call->in[0],
                  (const float *)call->in[1], s, (float *)call->out[0]);
    });
    dt_cuda_check(call, "bernoulli_rows");
}

void run_grad(const dt_call *call)
{
    rows s = rows_of(call->node);
    by_width(call, s, [&](auto threads, auto vector, unsigned grid, dim3 team) {
        DT_LAUNCH((grad_kernel<threads(), vector()>), grid, team, 0, (const float *)call->in[0],
                  (const float *)call->in[1], (const float *)call->in[2], s, (float *)call->out[0]);
    });
    dt_cuda_check(call, "bernoulli_rows_grad");
}

} // namespace

const dt_kernel dt_cuda_likelihood[] = {{&dt_op_bernoulli_rows, run_rows, NULL, NULL},
                                        {&dt_op_bernoulli_rows_grad, run_grad, NULL, NULL},
                                        {}};
