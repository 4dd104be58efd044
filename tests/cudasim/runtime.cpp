/* The runtime's functions: streams whose work waits until the host does, copies, and the device's error. */
#include "tests/cudasim/simulator.h"

#include <deque>
#include <functional>
#include <map>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string>

struct cudasim_stream {
    std::deque<std::function<void()>> waiting;
};

namespace
{

enum { PARAMETER_BYTES = 4096 };

std::string fault;         /* "" : none */
cudaError_t refused;       /* the last call that was not understood, until it is asked for */
cudasim_stream main_stream;
std::map<cudasim_stream *, std::unique_ptr<cudasim_stream>> streams;
std::map<const void *, int> dynamic_limit; /* of kernels that asked for more shared memory */
std::shared_ptr<const cudasim_limits> limits;

cudaError_t state()
{
    return fault.empty() ? cudaSuccess : cudaErrorLaunchFailure;
}

cudaError_t refuse(cudaError_t error)
{
    return refused = error;
}

cudasim_stream *stream_of(cudaStream_t stream)
{
    if (!stream)
        return &main_stream;
    return streams.count(stream) ? stream : nullptr;
}

/* All that waits is done in order; after a fault nothing is. */
void drain(cudasim_stream *stream)
{
    cudasim_memory_open();
    while (!stream->waiting.empty()) {
        auto work = std::move(stream->waiting.front());
        stream->waiting.pop_front();
        if (fault.empty())
            work();
    }
    cudasim_memory_close();
}

bool complains(const char *call, const void *memory, size_t bytes, bool device)
{
    const char *complaint = cudasim_memory_complaint(memory, bytes, device);
    if (complaint)
        cudasim_note("%s of %zu bytes: %p %s", call, bytes, memory, complaint);
    return complaint != nullptr;
}

void copy_now(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    bool to_device = kind != cudaMemcpyDeviceToHost, from_device = kind != cudaMemcpyHostToDevice;
    if (complains("cudaMemcpyAsync to", to, bytes, to_device) || complains("cudaMemcpyAsync from", from, bytes, from_device))
        return;
    if (from_device && !cudasim_memory_written(from, bytes)) {
        cudasim_note("cudaMemcpyAsync of %zu bytes reads device memory that nothing has written", bytes);
        return;
    }
    memmove(to, from, bytes);
    if (to_device)
        cudasim_memory_mark(to, bytes);
}

bool fits(const cudasim_kernel &place, const void *kernel, dim3 grid, dim3 block, size_t shared, size_t bytes)
{
    uint64_t threads = (uint64_t)block.x * block.y * block.z;
    size_t most = dynamic_limit.count(kernel) ? (size_t)dynamic_limit[kernel] : (size_t)CUDASIM_PLAIN_SHARED;
    bool good = threads >= 1 && threads <= CUDASIM_MAX_THREADS && block.z <= 64 && grid.x >= 1 && grid.x < 1u << 31 &&
                grid.y >= 1 && grid.y < 65536 && grid.z >= 1 && grid.z < 65536 && shared <= most &&
                bytes <= PARAMETER_BYTES;
    if (!good)
        printf("# cudasim: %s at %s:%d: no GPU takes %u x %u x %u blocks of %u x %u x %u threads, %zu bytes of shared "
               "memory, %zu bytes of parameters\n",
               place.name, place.file, place.line, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared, bytes);
    return good;
}

} // namespace

void cudasim_note(const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (fault.empty())
        fault = text;
}

void cudasim_enqueue(cudasim_kernel place, const void *kernel, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                     void (*call)(const void *kernel, const void *arguments), const void *arguments, size_t bytes)
{
    cudasim_stream *queue = stream_of(stream);
    const unsigned char *first = static_cast<const unsigned char *>(arguments);
    if (!queue)
        refuse(cudaErrorInvalidResourceHandle);
    else if (!fits(place, kernel, grid, block, shared, bytes))
        refuse(cudaErrorInvalidConfiguration);
    else
        queue->waiting.push_back(
            [work = cudasim_work{place, kernel, grid, block, shared, call, {first, first + bytes}, limits}] {
                cudasim_run(work);
            });
}

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess: return "no error";
    case cudaErrorInvalidValue: return "invalid argument";
    case cudaErrorMemoryAllocation: return "out of memory";
    case cudaErrorInvalidConfiguration: return "invalid configuration argument";
    case cudaErrorInvalidDevice: return "invalid device ordinal";
    case cudaErrorInvalidResourceHandle: return "invalid resource handle";
    case cudaErrorLaunchFailure: return fault.c_str();
    }
    return "unrecognized error code";
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = refused ? refused : state();
    refused = cudaSuccess;
    return error;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 1;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device)
{
    return device == 0 ? cudaSuccess : refuse(cudaErrorInvalidDevice);
}

cudaError_t cudaMalloc(void **memory, size_t bytes)
{
    *memory = bytes ? cudasim_memory_take(bytes) : nullptr;
    return *memory || !bytes ? state() : refuse(cudaErrorMemoryAllocation);
}

/* Waits for the device, as the real one does. */
cudaError_t cudaFree(void *memory)
{
    cudaDeviceSynchronize();
    if (memory && !cudasim_memory_give(memory)) {
        cudasim_note("cudaFree: %p is no live allocation", memory);
        return refuse(cudaErrorInvalidValue);
    }
    return state();
}

/* A result on its way to the host is no result: until the stream is waited for, NaNs lie in its place. */
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream)
{
    cudasim_stream *queue = stream_of(stream);
    if (!queue || kind < cudaMemcpyHostToDevice || kind > cudaMemcpyDeviceToDevice)
        return refuse(queue ? cudaErrorInvalidValue : cudaErrorInvalidResourceHandle);
    if (kind == cudaMemcpyDeviceToHost && !cudasim_memory_complaint(to, bytes, false))
        memset(to, 0xff, bytes);
    queue->waiting.push_back([=] { copy_now(to, from, bytes, kind); });
    return state();
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    cudasim_stream *queue = stream_of(stream);
    if (!queue)
        return refuse(cudaErrorInvalidResourceHandle);
    queue->waiting.push_back([=] {
        if (complains("cudaMemsetAsync", to, bytes, true))
            return;
        memset(to, value, bytes);
        cudasim_memory_mark(to, bytes);
    });
    return state();
}

/* Streams that wait for the default stream by themselves are not implemented. */
cudaError_t cudasim_library(cudaStream_t stream, const char *what, std::vector<cudasim_span> reads,
                            std::vector<cudasim_span> writes, std::function<void()> work)
{
    cudasim_stream *queue = stream_of(stream);
    if (!queue)
        return refuse(cudaErrorInvalidResourceHandle);
    queue->waiting.push_back([=] {
        for (const cudasim_span &range : reads) {
            if (complains(what, range.memory, range.bytes, true))
                return;
            if (!cudasim_memory_written(range.memory, range.bytes)) {
                cudasim_note("%s reads device memory that nothing has written, %zu bytes from %p", what, range.bytes, range.memory);
                return;
            }
        }
        for (const cudasim_span &range : writes)
            if (complains(what, range.memory, range.bytes, true))
                return;
        work();
        for (const cudasim_span &range : writes)
            cudasim_memory_mark(range.memory, range.bytes);
    });
    return state();
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    if (flags != cudaStreamNonBlocking)
        return refuse(cudaErrorInvalidValue);
    auto made = std::make_unique<cudasim_stream>();
    *stream = made.get();
    streams[*stream] = std::move(made);
    return state();
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    cudasim_stream *queue = stream ? stream_of(stream) : nullptr;
    if (!queue)
        return refuse(cudaErrorInvalidResourceHandle);
    drain(queue);
    streams.erase(queue);
    return state();
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    cudasim_stream *queue = stream_of(stream);
    if (!queue)
        return refuse(cudaErrorInvalidResourceHandle);
    drain(queue);
    return state();
}

cudaError_t cudaDeviceSynchronize(void)
{
    drain(&main_stream);
    for (auto &stream : streams)
        drain(stream.second.get());
    return state();
}

cudaError_t cudasim_set_attribute(const void *kernel, cudaFuncAttribute attribute, int value)
{
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || value > CUDASIM_MAX_SHARED)
        return refuse(cudaErrorInvalidValue);
    dynamic_limit[kernel] = value;
    return state();
}

void cudasim_reset(void)
{
    fault.clear();
    refused = cudaSuccess;
    main_stream.waiting.clear();
    for (auto &stream : streams)
        stream.second->waiting.clear();
}

void cudasim_limit(const cudasim_limits *wanted)
{
    limits = wanted && wanted->count >= 0 ? std::make_shared<const cudasim_limits>(*wanted) : nullptr;
}
