/* Bytes of pixels to numbers. What is written is four times what is read (bfloat16: twice): a thread writes 16 bytes at once,
 * those of its neighbours beside them, and reads the bytes that belong there. */
#include "kernels/cuda/divide.h"
#include "kernels/cuda/launch.h"

extern "C" {
extern const dt_kernel dt_cuda_pixels[];
}

namespace
{

/* Threads of a block, a multiple of 3 and of 4, so that each thread meets the same channels in every round; and the groups of
 * bytes that a thread asks for before it waits for the first. */
enum { THREADS = 192, ROUNDS = 4 };
static_assert(THREADS % 12 == 0 && THREADS % DT_WARP == 0, "the channels of a thread stay the same");

/* G neighbours: 1, or a multiple of 4. */
template <int G> struct alignas(G) byte_group {
    uint32_t of[G / 4];
    __device__ __forceinline__ float at(int k) const
    {
        return (float)(of[k / 4] >> 8 * (k % 4) & 255);
    }
};

template <> struct byte_group<1> {
    uint8_t of;
    __device__ __forceinline__ float at(int) const
    {
        return (float)of;
    }
};

template <class T, int G> struct alignas(G * sizeof(T)) group {
    T of[G];
};

template <class T, int G>
__global__ void normalize_kernel(const uint8_t *x, const DT_CONSTANT dt_pixel_form form, int channels, int64_t count, T *y)
{
    float scale[G], bias[G];
    DT_UNROLL
    for (int k = 0; k < G; k++) {
        int channel = (int)(threadIdx.x * G + k) % channels;
        scale[k] = form.scale[channel];
        bias[k] = form.bias[channel];
    }
    const int64_t groups = count / G, stride = dt_threads(), thread = dt_thread();
    for (int64_t first = thread; first < groups; first += ROUNDS * stride) {
        byte_group<G> in[ROUNDS] = {};
        DT_UNROLL
        for (int r = 0; r < ROUNDS; r++)
            if (first + r * stride < groups)
                in[r] = reinterpret_cast<const byte_group<G> *>(x)[first + r * stride];
        DT_UNROLL
        for (int r = 0; r < ROUNDS; r++) {
            group<T, G> out;
            DT_UNROLL
            for (int k = 0; k < G; k++)
                dt_narrow_to(&out.of[k], fmaf(in[r].at(k), scale[k], bias[k]));
            if (first + r * stride < groups)
                reinterpret_cast<group<T, G> *>(y)[first + r * stride] = out;
        }
    }
    for (int64_t i = groups * G + thread; i < count; i += stride) /* fewer than a group */
        dt_store(y, i, fmaf((float)x[i], form.scale[i % channels], form.bias[i % channels]));
}

template <class T, int G> void start(const dt_call *call)
{
    const dt_shape *shape = &call->node->output[0].shape;
    const dt_pixel_form *form = (const dt_pixel_form *)call->node->attributes;
    int64_t count = dt_count(shape);
    DT_LAUNCH((normalize_kernel<T, G>), dt_grid(count, THREADS * G * ROUNDS), THREADS, 0, (const uint8_t *)call->in[0], *form,
              (int)shape->dim[3], count, (T *)call->out[0]);
}

void run(const dt_call *call)
{
    dt_by_type(call->node->output[0].dtype, [&](auto zero) {
        using T = decltype(zero);
        constexpr int G = 16 / sizeof(T);
        if (dt_aligned(call->in[0], G) && dt_aligned(call->out[0], 16))
            start<T, G>(call);
        else
            start<T, 1>(call);
    });
    dt_cuda_check(call, "normalize_pixels");
}

} // namespace

const dt_kernel dt_cuda_pixels[] = {{&dt_op_normalize_pixels, run, NULL, NULL, DT_NARROW_SOURCE, 0, 1}, {}};
