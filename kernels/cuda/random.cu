/* Random numbers. A thread draws whole Philox blocks of four words, for four neighbours at a time. Seed and step are
 * read from device memory, so that a recorded run draws new numbers each time. */
#include "kernels/cuda/launch.h"
#include "kernels/random.h"

extern "C" {
extern const dt_kernel dt_cuda_random[];
}

namespace
{

/* The words of elements 4 block .. 4 block + 3 of a stream. */
__device__ __forceinline__ dt_philox words_of(const dt_moment &now, uint32_t stream, int64_t block)
{
    return dt_random_block(now.seed, stream, now.step, (uint64_t)block);
}

__device__ __forceinline__ void uniforms_from(dt_philox words, float to[4])
{
    for (int k = 0; k < 4; k++)
        to[k] = dt_random_uniform(words.v[k]);
}

/* dt_random_normal of both pairs of words, within 1e-6. */
__device__ __forceinline__ void normals_from(dt_philox words, float to[4])
{
    for (int k = 0; k < 4; k += 2) {
        float sine, cosine, radius = sqrtf(-2 * logf(((float)(words.v[k] >> 8) + 0.5f) * 0x1p-24f));
        dt_random_turn(dt_random_uniform(words.v[k + 1]), &sine, &cosine);
        to[k] = radius * cosine;
        to[k + 1] = radius * sine;
    }
}

template <bool NORMAL> __global__ void draw_kernel(const dt_moment *moment, uint32_t stream, int64_t count, float *y)
{
    const dt_moment now = *moment;
    for (int64_t block = dt_thread(); 4 * block < count; block += dt_threads()) {
        float four[4];
        dt_philox words = words_of(now, stream, block);
        if (NORMAL)
            normals_from(words, four);
        else
            uniforms_from(words, four);
        if (4 * block + 4 <= count)
            dt_store4(y, 4 * block, four);
        for (int64_t i = 4 * block; i < count && count < 4 * block + 4; i++)
            dt_store(y, i, four[i - 4 * block]);
    }
}

/* y may be x. */
template <class T>
__global__ void dropout_kernel(const dt_moment *moment, dt_random_form form, const T *x, int64_t count, bool fours, T *y)
{
    const dt_moment now = *moment;
    float scale = 1 / (1 - form.rate);
    for (int64_t block = dt_thread(); 4 * block < count; block += dt_threads()) {
        float keep[4], four[4];
        uniforms_from(words_of(now, form.stream, block), keep);
        if (fours && 4 * block + 4 <= count) {
            dt_load4(x, 4 * block, four);
            for (int k = 0; k < 4; k++)
                four[k] = keep[k] >= form.rate ? four[k] * scale : 0;
            dt_store4(y, 4 * block, four);
            continue;
        }
        for (int64_t i = 4 * block; i < count && i < 4 * block + 4; i++)
            dt_store(y, i, keep[i - 4 * block] >= form.rate ? dt_load(x, i) * scale : 0);
    }
}

template <bool NORMAL> void draw(const dt_call *call, const char *name)
{
    const dt_random_form *form = (const dt_random_form *)call->node->attributes;
    int64_t count = dt_count(&call->node->output[0].shape);
    DT_LAUNCH(draw_kernel<NORMAL>, dt_grid(count, 4 * DT_BLOCK), DT_BLOCK, 0, dt_cuda_moment(), form->stream, count,
              (float *)call->out[0]);
    dt_cuda_check(call, name);
}

void run_normals(const dt_call *call)
{
    draw<true>(call, "random_normals");
}

void run_uniforms(const dt_call *call)
{
    draw<false>(call, "random_uniforms");
}

void run_dropout(const dt_call *call)
{
    const dt_random_form *form = (const dt_random_form *)call->node->attributes;
    int64_t count = dt_count(&call->node->output[0].shape);
    dt_by_type(call->node->input[0]->dtype, [&](auto zero) {
        using T = decltype(zero);
        const T *x = (const T *)call->in[0];
        T *y = (T *)call->out[0];
        DT_LAUNCH(dropout_kernel<T>, dt_grid(count, 4 * DT_BLOCK), DT_BLOCK, 0, dt_cuda_moment(), *form, x, count,
                  dt_aligned4(x) && dt_aligned4(y), y);
    });
    dt_cuda_check(call, "dropout");
}

} // namespace

const dt_kernel dt_cuda_random[] = {{&dt_op_normals, run_normals, NULL, NULL},
                                    {&dt_op_uniforms, run_uniforms, NULL, NULL},
                                    {&dt_op_dropout, run_dropout, NULL, NULL, DT_NARROW_SAME, 1, 1},
                                    {}};
