/* A stand-in for the CUDA runtime's header: the part that Duet's kernels use, on the CPU. What is not here does not
 * compile, and what is here behaves as the CUDA programming guide says or reports a fault; nothing is ignored.
 *
 * A launch is put into its stream's queue and run when the host waits for the stream (stream.h). Blocks run one
 * after another, the threads of a block as fibers (fiber.h) that change places at barriers and shuffles. The .cu
 * files are compiled with the compiler's instrumentation for race detection (-fsanitize=thread), whose hooks
 * access.cpp implements itself: every read and write of a kernel is checked for where it goes, whether anything was
 * written there, and whether another thread might be there at the same time. */
#ifndef DUET_TESTS_CUDASIM_CUDA_RUNTIME_H
#define DUET_TESTS_CUDASIM_CUDA_RUNTIME_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <tuple>
#include <type_traits>

/* ---- Words of the language ---- */

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};

struct uint3 {
    unsigned x, y, z;
};

/* Constant as long as one thread runs one kernel, so the compiler may read them once. */
extern "C" __attribute__((const)) uint3 cudasim_thread_index(void);
extern "C" __attribute__((const)) uint3 cudasim_block_index(void);
extern "C" __attribute__((const)) uint3 cudasim_block_size(void);
extern "C" __attribute__((const)) uint3 cudasim_grid_size(void);
#define threadIdx (cudasim_thread_index())
#define blockIdx  (cudasim_block_index())
#define blockDim  (cudasim_block_size())
#define gridDim   (cudasim_grid_size())

/* ---- Barriers and shuffles ---- */

struct cudasim_place {
    const char *file;
    int line;
};

enum cudasim_warp_kind { CUDASIM_SYNCWARP, CUDASIM_INDEXED, CUDASIM_UP, CUDASIM_DOWN, CUDASIM_XOR, CUDASIM_BALLOT };

void cudasim_barrier(cudasim_place place);
uint64_t cudasim_warp(cudasim_warp_kind kind, unsigned mask, uint64_t value, int argument, cudasim_place place);

#define CUDASIM_HERE const char *file = __builtin_FILE(), int line = __builtin_LINE()

static inline void __syncthreads(CUDASIM_HERE)
{
    cudasim_barrier({file, line});
}

static inline void __syncwarp(unsigned mask = 0xffffffffu, CUDASIM_HERE)
{
    cudasim_warp(CUDASIM_SYNCWARP, mask, 0, 0, {file, line});
}

template <class T>
static inline T cudasim_shuffle(cudasim_warp_kind kind, unsigned mask, T value, int argument, cudasim_place place)
{
    static_assert(std::is_arithmetic<T>::value && sizeof(T) >= 4 && sizeof(T) <= 8, "CUDA shuffles 4 and 8 byte numbers");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = cudasim_warp(kind, mask, bits, argument, place);
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Over the whole warp; narrower widths are not implemented and so not declared. */
template <class T> static inline T __shfl_sync(unsigned mask, T value, int lane, CUDASIM_HERE)
{
    return cudasim_shuffle(CUDASIM_INDEXED, mask, value, lane, {file, line});
}

template <class T> static inline T __shfl_up_sync(unsigned mask, T value, unsigned distance, CUDASIM_HERE)
{
    return cudasim_shuffle(CUDASIM_UP, mask, value, (int)distance, {file, line});
}

template <class T> static inline T __shfl_down_sync(unsigned mask, T value, unsigned distance, CUDASIM_HERE)
{
    return cudasim_shuffle(CUDASIM_DOWN, mask, value, (int)distance, {file, line});
}

template <class T> static inline T __shfl_xor_sync(unsigned mask, T value, int distance, CUDASIM_HERE)
{
    return cudasim_shuffle(CUDASIM_XOR, mask, value, distance, {file, line});
}

static inline unsigned __ballot_sync(unsigned mask, int predicate, CUDASIM_HERE)
{
    return (unsigned)cudasim_warp(CUDASIM_BALLOT, mask, predicate != 0, 0, {file, line});
}

static inline int __any_sync(unsigned mask, int predicate, CUDASIM_HERE)
{
    return cudasim_warp(CUDASIM_BALLOT, mask, predicate != 0, 0, {file, line}) != 0;
}

static inline int __all_sync(unsigned mask, int predicate, CUDASIM_HERE)
{
    return cudasim_warp(CUDASIM_BALLOT, mask, predicate != 0, 0, {file, line}) == mask;
}

/* Only on integers: sums of floats would depend on the order. */
int atomicAdd(int *to, int value);
int atomicMin(int *to, int value);
int atomicMax(int *to, int value);

/* Shared memory of the block that runs: one array for each place that declares one, and the launch's dynamic array. */
void *cudasim_shared(const void *site, const char *name, size_t bytes);
void *cudasim_dynamic_shared(void);

/* ---- The runtime ---- */

#define CUDART_VERSION 13000

typedef enum cudaError {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInvalidDevice = 101,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorIllegalState = 401,
    cudaErrorNotReady = 600,
    cudaErrorLaunchFailure = 719,
    cudaErrorStreamCaptureUnsupported = 900,
    cudaErrorStreamCaptureInvalidated = 901,
    cudaErrorStreamCaptureUnmatched = 903
} cudaError_t;

typedef struct cudasim_stream *cudaStream_t;
typedef struct cudasim_event *cudaEvent_t;
typedef struct cudasim_graph *cudaGraph_t;
typedef struct cudasim_graph_exec *cudaGraphExec_t;

enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum { cudaStreamNonBlocking = 1, cudaEventDisableTiming = 2 };
enum cudaDeviceAttr { cudaDevAttrMaxSharedMemoryPerBlockOptin = 97 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum cudaStreamCaptureMode { cudaStreamCaptureModeThreadLocal = 1, cudaStreamCaptureModeRelaxed = 2 };
enum cudaStreamCaptureStatus {
    cudaStreamCaptureStatusNone = 0,
    cudaStreamCaptureStatusActive = 1,
    cudaStreamCaptureStatusInvalidated = 2
};

struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem;
    int major, minor;
    int multiProcessorCount;
};

const char *cudaGetErrorString(cudaError_t error); /* after a fault: what, in which kernel, and where */
cudaError_t cudaGetLastError(void);
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device);
cudaError_t cudaMemGetInfo(size_t *left, size_t *all);
cudaError_t cudaMalloc(void **memory, size_t bytes);
cudaError_t cudaFree(void *memory);

/* Of the host; only with this do copies run beside the host. It is no memory for kernels here. */
cudaError_t cudaMallocHost(void **memory, size_t bytes);
cudaError_t cudaFreeHost(void *memory);

/* From memory of cudaMallocHost the bytes are read when the copy is done, and a fault if the host changed them since
 * the call; from other host memory they are taken at the call. What goes to the host is there when the host has
 * waited. */
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream);

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream); /* each call that answers cudaErrorNotReady does a piece of the work */
cudaError_t cudaDeviceSynchronize(void);

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags = 0);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event); /* as cudaStreamQuery */

/* A graph is what one stream was asked for during the capture. Other streams do not join in: their events, and other
 * graphs, end it, and so does what would wait or needs memory that can be changed before the graph runs. */
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode);
cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus *status);
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph);
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags = 0);
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream);
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec);
cudaError_t cudaGraphDestroy(cudaGraph_t graph);

cudaError_t cudasim_set_attribute(const void *kernel, cudaFuncAttribute attribute, int value);

template <class... P>
static inline cudaError_t cudaFuncSetAttribute(void (*kernel)(P...), cudaFuncAttribute attribute, int value)
{
    return cudasim_set_attribute(reinterpret_cast<const void *>(kernel), attribute, value);
}

/* ---- Launches ---- */

struct cudasim_kernel {
    const char *name, *file;
    int line;
};

/* `call(kernel, arguments)` runs one thread, with a copy of these `bytes` bytes of arguments. */
void cudasim_enqueue(cudasim_kernel place, const void *kernel, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                     void (*call)(const void *kernel, const void *arguments), const void *arguments, size_t bytes);

/* Arguments are converted to the kernel's parameter types and copied now, as a launch does. */
template <class... P, class... A>
static inline void cudasim_launch(cudasim_kernel place, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                                  void (*kernel)(P...), A... arguments)
{
    static_assert((std::is_trivially_copyable<P>::value && ...), "kernel parameters are copied bit by bit");
    using packed = std::tuple<P...>;
    auto call = [](const void *function, const void *from) {
        std::apply(reinterpret_cast<void (*)(P...)>(const_cast<void *>(function)), *static_cast<const packed *>(from));
    };
    const packed values(static_cast<P>(arguments)...);
    cudasim_enqueue(place, reinterpret_cast<const void *>(kernel), grid, block, shared, stream, call, &values, sizeof values);
}

#endif
