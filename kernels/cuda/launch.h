/* The contract for all .cu files. They are compiled twice: by nvcc for a GPU, and by a C++ compiler against
 * tests/cudasim/cuda_runtime.h, where the same source runs on the CPU and every access is checked. So that both can:
 *
 *   - kernels are started by DT_LAUNCH, never by <<<>>>;
 *   - shared memory is declared by DT_SHARED (a fixed size) or DT_DYNAMIC_SHARED (the size that the launch gives);
 *   - no PTX, wmma, cooperative groups or inline assembly, no waiting for other blocks, and no atomics on floats, whose sums
 *     would depend on the order; what a kernel uses beyond this the stand-in header refuses at compile time;
 *   - lanes that shuffle are whole warps: blocks of a multiple of 32 threads, and a warp leaves a kernel as one;
 *   - all threads of a block reach the same __syncthreads, those included that have nothing left to do;
 *   - lengths that can pass 2^31 are int64_t.
 *
 * A family is kernels/cuda/NAME.cu with a table `dt_cuda_NAME` of dt_kernel, as kernels/cpu/NAME.c has its own. A kernel's run
 * function enqueues on dt_cuda_stream() and returns at once; it ends with dt_cuda_check(call, "NAME").
 *
 * Towards bfloat16: kernels take element types as template parameters, read and write elements only through dt_load and
 * dt_store, and compute in float. bfloat16 activations then need the two overloads here for their type, the instantiation
 * where the launch picks it by the tensor's dtype, and no change inside of kernels. */
#ifndef DUET_KERNELS_CUDA_LAUNCH_H
#define DUET_KERNELS_CUDA_LAUNCH_H

#include <cuda_runtime.h>
#include <math.h>
#include <stdint.h>

extern "C" {
#include "kernels/backend.h"
#include "kernels/ops.h"
}

/* DT_LAUNCH(kernel, grid, block, bytes of dynamic shared memory, arguments...), on the current stream. A template's
 * name with commas goes into parentheses. */
#ifdef __CUDACC__
#define DT_LAUNCH(kernel, grid, block, shared, ...) kernel<<<grid, block, shared, dt_cuda_stream()>>>(__VA_ARGS__)
#define DT_SHARED(type, name, count) __shared__ type name[count]
#define DT_DYNAMIC_SHARED(type, name)                                                                             \
    extern __shared__ __align__(16) unsigned char dt_dynamic_shared[];                                            \
    type *name = reinterpret_cast<type *>(dt_dynamic_shared)
#else
#define DT_LAUNCH(kernel, grid, block, shared, ...)                                                               \
    cudasim_launch({#kernel, __FILE__, __LINE__}, grid, block, shared, dt_cuda_stream(), kernel, __VA_ARGS__)
#define DT_SHARED(type, name, count)                                                                              \
    static const char name##_site = 0;                                                                            \
    type *name = static_cast<type *>(cudasim_shared(&name##_site, #name, sizeof(type) * (count)))
#define DT_DYNAMIC_SHARED(type, name) type *name = static_cast<type *>(cudasim_dynamic_shared())
#endif

/* ---- Host ---- */

/* What all kernels and copies of this backend are enqueued on. */
cudaStream_t dt_cuda_stream(void);

/* After the launches of a kernel: a launch that was refused becomes the call's fault. Faults of the kernel itself come to light
 * later, in dt_backend.finish. */
void dt_cuda_check(const dt_call *call, const char *name);

static constexpr int DT_WARP = 32, DT_BLOCK = 256, DT_MAX_GRID = 1 << 20;

static inline int64_t dt_parts(int64_t count, int64_t each)
{
    return (count + each - 1) / each;
}

/* Blocks for n items, `each` to a block; at most DT_MAX_GRID: kernels walk on in strides of the whole grid. */
static inline unsigned dt_grid(int64_t n, int64_t each)
{
    int64_t blocks = dt_parts(n, each);
    return (unsigned)(blocks < DT_MAX_GRID ? blocks : DT_MAX_GRID);
}

/* ---- Device ---- */

static __device__ __forceinline__ float dt_load(const float *x, int64_t i)
{
    return x[i];
}

static __device__ __forceinline__ void dt_store(float *x, int64_t i, float value)
{
    x[i] = value;
}

/* The thread's number in the grid, and how many threads the grid has, for blocks of one dimension. */
static __device__ __forceinline__ int64_t dt_thread(void)
{
    return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
}

static __device__ __forceinline__ int64_t dt_threads(void)
{
    return (int64_t)gridDim.x * blockDim.x;
}

template <class T> struct dt_plus {
    __device__ __forceinline__ T operator()(T a, T b) const
    {
        return a + b;
    }
};

/* The larger; a NaN stays once it is met. */
struct dt_larger {
    __device__ __forceinline__ float operator()(float a, float b) const
    {
        return a > b || a != a ? a : b;
    }
};

template <class T> static __device__ __forceinline__ T dt_from_lane(T value, int distance)
{
    return __shfl_xor_sync(0xffffffffu, value, distance);
}

/* join over the 32 lanes, the result in every lane. A butterfly: join must be commutative, then all lanes get the same bits. */
template <class T, class Join> static __device__ __forceinline__ T dt_warp_reduce(T value, Join join)
{
    for (int distance = DT_WARP / 2; distance; distance /= 2)
        value = join(value, dt_from_lane(value, distance));
    return value;
}

/* The same over a block of `warps` warps (a power of two, at most 32), of which this is warp `warp`, lane `lane`. `room` is
 * shared memory for `warps` values, free for other use after the next __syncthreads; all threads of the block must come
 * here. */
template <class T, class Join>
static __device__ __forceinline__ T dt_block_reduce(T value, Join join, T *room, int warps, int warp, int lane)
{
    value = dt_warp_reduce(value, join);
    if (warps == 1)
        return value;
    __syncthreads(); /* the room may still be read from the reduction before */
    if (lane == 0)
        room[warp] = value;
    __syncthreads();
    value = room[lane & (warps - 1)];
    for (int distance = warps / 2; distance; distance /= 2)
        value = join(value, dt_from_lane(value, distance));
    return value;
}

/* A team of threads that works on one row: a warp (rows of a block side by side, block (32, rows)) or a whole block
 * (THREADS, 1). */
template <int THREADS, class T, class Join>
static __device__ __forceinline__ T dt_team_reduce(T value, Join join, T *room)
{
    if (THREADS == DT_WARP)
        return dt_warp_reduce(value, join);
    return dt_block_reduce(value, join, room, THREADS / DT_WARP, threadIdx.x / DT_WARP, threadIdx.x % DT_WARP);
}

#endif
