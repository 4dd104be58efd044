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
 * Kernels that take bfloat16 have element types as template parameters, read and write elements only through dt_load and
 * dt_store, and compute in float; the launch picks the instantiation by the tensors' dtypes (dt_by_type), and the family's table
 * says which operands may be of either type (dt_narrow in kernels/backend.h).
 *
 * A run is recorded into a CUDA graph and replayed with the same arguments: what changes between runs of one plan must lie in
 * device memory. For random ops that is dt_cuda_moment(). A kernel that can meet bad values has an alarm for them. */
#ifndef DUET_KERNELS_CUDA_LAUNCH_H
#define DUET_KERNELS_CUDA_LAUNCH_H

#include <cuda_runtime.h>
#ifdef __CUDACC__
#include <cuda_bf16.h>
#endif
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <type_traits>

extern "C" {
#include "kernels/backend.h"
#include "kernels/ops.h"
}

/* DT_LAUNCH(kernel, grid, block, bytes of dynamic shared memory, arguments...), on the current stream. A template's
 * name with commas goes into parentheses. DT_UNROLL: before loops of a fixed length over arrays that are to be registers.
 * DT_APART: functions that stay functions, for the rare case. DT_CONSTANT: a kernel's parameter, const too, that functions
 * get by reference without a copy of it. */
#ifdef __CUDACC__
#define DT_LAUNCH(kernel, grid, block, shared, ...) kernel<<<grid, block, shared, dt_cuda_stream()>>>(__VA_ARGS__)
#define DT_SHARED(type, name, count) __shared__ type name[count]
#define DT_DYNAMIC_SHARED(type, name)                                                                             \
    extern __shared__ __align__(16) unsigned char dt_dynamic_shared[];                                            \
    type *name = reinterpret_cast<type *>(dt_dynamic_shared)
#define DT_UNROLL   _Pragma("unroll")
#define DT_APART    __noinline__
#define DT_CONSTANT __grid_constant__
#else
#define DT_LAUNCH(kernel, grid, block, shared, ...)                                                               \
    cudasim_launch({#kernel, __FILE__, __LINE__}, grid, block, shared, dt_cuda_stream(), kernel, __VA_ARGS__)
#define DT_SHARED(type, name, count)                                                                              \
    static const char name##_site = 0;                                                                            \
    type *name = static_cast<type *>(cudasim_shared(&name##_site, #name, sizeof(type) * (count)))
#define DT_DYNAMIC_SHARED(type, name) type *name = static_cast<type *>(cudasim_dynamic_shared())
#define DT_UNROLL
#define DT_APART
#define DT_CONSTANT
#endif

/* ---- Host ---- */

/* What all kernels and copies of this backend are enqueued on. */
cudaStream_t dt_cuda_stream(void);

/* After the launches of a kernel: a launch that was refused becomes the call's fault. Faults of the kernel itself come to light
 * later, in dt_backend.finish. */
void dt_cuda_check(const dt_call *call, const char *name);

/* Seed and step of the run, in device memory, for the keys of random numbers. */
struct dt_moment {
    uint64_t seed;
    uint32_t step;
};
const dt_moment *dt_cuda_moment(void);

/* What a kernel cannot say itself: that a value which it read is bad. `raised` is device memory, DT_QUIET until dt_raise lowers it to
 * the least place where something is wrong; dt_backend.finish then reports "OP (in LABEL): " and the text, in which %d stands for
 * that place. One for a call, made by prepare and freed by release. NULL: none is left. */
struct dt_alarm {
    int *raised;
};
enum { DT_QUIET = INT_MAX };
dt_alarm *dt_cuda_alarm_new(const dt_node *node, const char *text);
void dt_cuda_alarm_free(void *alarm);

static constexpr int DT_WARP = 32, DT_BLOCK = 256, DT_MAX_GRID = 1 << 20;

static inline int64_t dt_parts(int64_t count, int64_t each)
{
    return (count + each - 1) / each;
}

/* Bytes up to where the next part of a workspace may begin. */
static inline size_t dt_room(size_t bytes)
{
    return (bytes + 255) / 256 * 256;
}

/* Blocks for n items, `each` to a block; at most DT_MAX_GRID: kernels walk on in strides of the whole grid. */
static inline unsigned dt_grid(int64_t n, int64_t each)
{
    int64_t blocks = dt_parts(n, each);
    return (unsigned)(blocks < DT_MAX_GRID ? blocks : DT_MAX_GRID);
}

struct dt_bf16 {
    uint16_t bits;
};

template <class T> struct alignas(4 * sizeof(T)) dt_four {
    T of[4];
};

/* Calls visit with a zero of the element type that a float tensor has: dt_by_type(x->dtype, [&](auto zero) {
 * using T = decltype(zero); ... }). */
template <class Visit> static inline void dt_by_type(dt_dtype type, Visit visit)
{
    if (type == DT_BF16)
        visit(dt_bf16{});
    else
        visit(float{});
}

/* Calls visit with std::integral_constant 4 or 1: the elements that a thread takes at a time. */
template <class Visit> static inline void dt_by_fours(bool fours, Visit visit)
{
    if (fours)
        visit(std::integral_constant<int, 4>{});
    else
        visit(std::integral_constant<int, 1>{});
}

static inline bool dt_aligned(const void *x, size_t to)
{
    return reinterpret_cast<uintptr_t>(x) % to == 0;
}

/* Can dt_load4 and dt_store4 begin at x? Allocations can, and parameters; views of leaves may not. */
static inline bool dt_aligned4(const void *x, dt_dtype type)
{
    return dt_aligned(x, 4 * dt_dtype_size(type));
}

template <class T> static inline bool dt_aligned4(const T *x)
{
    return dt_aligned(x, sizeof(dt_four<T>));
}

/* Enqueues to[i] = from[i], float32 or bfloat16 each. */
void dt_cuda_convert(void *to, dt_dtype to_type, const void *from, dt_dtype from_type, int64_t count);

/* ---- Device ---- */

static __device__ __forceinline__ void dt_raise(int *alarm, int64_t place)
{
    atomicMin(alarm, (int)(place < DT_QUIET ? place : DT_QUIET - 1));
}

static __device__ __forceinline__ float dt_widen(dt_bf16 x)
{
    uint32_t bits = (uint32_t)x.bits << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static __device__ __forceinline__ float dt_widen(float x)
{
    return x;
}

/* To the nearest, of two equally near to the even one; a NaN stays one. */
static __device__ __forceinline__ void dt_narrow_to(dt_bf16 *to, float value)
{
#ifdef __CUDACC__
    to->bits = __bfloat16_as_ushort(__float2bfloat16_rn(value));
#else
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    to->bits = (uint16_t)(value != value ? bits >> 16 | 0x40 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16);
#endif
}

static __device__ __forceinline__ void dt_narrow_to(float *to, float value)
{
    *to = value;
}

template <class T> static __device__ __forceinline__ float dt_load(const T *x, int64_t i)
{
    return dt_widen(x[i]);
}

template <class T> static __device__ __forceinline__ void dt_store(T *x, int64_t i, float value)
{
    T narrow;
    dt_narrow_to(&narrow, value);
    x[i] = narrow;
}

/* Four neighbours at once, i a multiple of 4 and x aligned for them (dt_aligned4): what keeps the memory's bandwidth busy. */
template <class T> static __device__ __forceinline__ void dt_load4(const T *x, int64_t i, float to[4])
{
    const dt_four<T> four = *reinterpret_cast<const dt_four<T> *>(x + i);
    for (int k = 0; k < 4; k++)
        to[k] = dt_widen(four.of[k]);
}

template <class T> static __device__ __forceinline__ void dt_store4(T *x, int64_t i, const float from[4])
{
    dt_four<T> four;
    for (int k = 0; k < 4; k++)
        dt_narrow_to(&four.of[k], from[k]);
    /* i & -4 is i: nvcc makes four stores where it does not see that i is a multiple of 4. */
    *reinterpret_cast<dt_four<T> *>(x + (i & -4)) = four;
}

/* V neighbours: four, or one wherever it lies. */
template <int V, class T> static __device__ __forceinline__ void dt_load_some(const T *x, int64_t i, float to[V])
{
    if constexpr (V == 4)
        dt_load4(x, i, to);
    else
        to[0] = dt_load(x, i);
}

template <int V, class T> static __device__ __forceinline__ void dt_store_some(T *x, int64_t i, const float from[V])
{
    if constexpr (V == 4)
        dt_store4(x, i, from);
    else
        dt_store(x, i, from[0]);
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
