/* The runtime's functions for memory, copies, launches and the device itself, and the device's error. */
#include "tests/cudasim/stream.h"

#include <map>
#include <stdarg.h>
#include <stdio.h>

namespace
{

enum { PARAMETER_BYTES = 4096 };

std::string fault;         /* "" : none */
cudaError_t refused;       /* the last call that was not understood, until it is asked for */
std::map<const void *, int> dynamic_limit; /* of kernels that asked for more shared memory */
std::shared_ptr<const cudasim_limits> limits;

bool touches(const std::string &what, const void *memory, size_t bytes, cudasim_access how)
{
    const char *trouble = cudasim_memory_touch(memory, bytes, how);
    if (trouble)
        cudasim_note("%s of %zu bytes %s", what.c_str(), bytes, trouble);
    return !trouble;
}

void copy_now(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    static const char name[] = "cudaMemcpyAsync";
    bool to_device = kind != cudaMemcpyDeviceToHost, from_device = kind != cudaMemcpyHostToDevice;
    if (cudasim_complains("cudaMemcpyAsync to", to, bytes, to_device) ||
        cudasim_complains("cudaMemcpyAsync from", from, bytes, from_device))
        return;
    if ((!from_device || touches(name, from, bytes, CUDASIM_READ)) && (!to_device || touches(name, to, bytes, CUDASIM_WRITE)))
        memmove(to, from, bytes);
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

cudaError_t cudasim_state()
{
    return fault.empty() ? cudaSuccess : cudaErrorLaunchFailure;
}

cudaError_t cudasim_refuse(cudaError_t reason)
{
    return refused = reason;
}

bool cudasim_complains(const char *what, const void *memory, size_t bytes, bool device)
{
    const char *complaint = cudasim_memory_complaint(memory, bytes, device);
    if (complaint)
        cudasim_note("%s of %zu bytes: %p %s", what, bytes, memory, complaint);
    return complaint != nullptr;
}

void cudasim_enqueue(cudasim_kernel place, const void *kernel, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                     void (*call)(const void *kernel, const void *arguments), const void *arguments, size_t bytes)
{
    const unsigned char *first = static_cast<const unsigned char *>(arguments);
    if (!fits(place, kernel, grid, block, shared, bytes))
        cudasim_refuse(cudaErrorInvalidConfiguration);
    else
        cudasim_ask(stream, {place.name,
                             [work = cudasim_work{place, kernel, grid, block, shared, call, {first, first + bytes}, limits}](
                                 const cudasim_shared_reading &) { cudasim_run(work); },
                             nullptr});
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
    case cudaErrorIllegalState: return "the operation cannot be performed in the present state";
    case cudaErrorNotReady: return "device not ready";
    case cudaErrorLaunchFailure: return fault.c_str();
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorStreamCaptureInvalidated: return "operation failed due to a previous error during capture";
    case cudaErrorStreamCaptureUnmatched: return "the capture was not initiated in this stream";
    }
    return "unrecognized error code";
}

cudaError_t cudaGetLastError(void)
{
    cudaError_t error = refused ? refused : cudasim_state();
    refused = cudaSuccess;
    return error;
}

cudaError_t cudaGetDeviceCount(int *count)
{
    *count = 1;
    return cudaSuccess;
}

/* The limits are those of compute capability 9.0, to which launches are held. */
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device)
{
    size_t left;
    if (device != 0)
        return cudasim_refuse(cudaErrorInvalidDevice);
    *properties = {"CUDA simulator", 0, 9, 0, 4};
    cudasim_memory_left(&left, &properties->totalGlobalMem);
    return cudasim_state();
}

cudaError_t cudaDriverGetVersion(int *version)
{
    return cudaRuntimeGetVersion(version);
}

cudaError_t cudaRuntimeGetVersion(int *version)
{
    *version = CUDART_VERSION;
    return cudasim_state();
}

cudaError_t cudaSetDevice(int device)
{
    return device == 0 ? cudaSuccess : cudasim_refuse(cudaErrorInvalidDevice);
}

cudaError_t cudaGetDevice(int *device)
{
    *device = 0;
    return cudasim_state();
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device)
{
    if (device != 0 || attribute != cudaDevAttrMaxSharedMemoryPerBlockOptin)
        return cudasim_refuse(device ? cudaErrorInvalidDevice : cudaErrorInvalidValue);
    *value = CUDASIM_MAX_SHARED;
    return cudasim_state();
}

cudaError_t cudaMemGetInfo(size_t *left, size_t *all)
{
    cudasim_memory_left(left, all);
    return cudasim_state();
}

cudaError_t cudaMalloc(void **memory, size_t bytes)
{
    *memory = nullptr;
    if (cudaError_t error = cudasim_uncaptured(nullptr))
        return error;
    *memory = bytes ? cudasim_memory_take(bytes) : nullptr;
    return *memory || !bytes ? cudasim_state() : cudasim_refuse(cudaErrorMemoryAllocation);
}

/* Waits for the device, as the real one does. */
cudaError_t cudaFree(void *memory)
{
    if (cudaError_t error = cudasim_uncaptured(nullptr))
        return error;
    cudasim_wait_for_all();
    if (memory && !cudasim_memory_give(memory)) {
        cudasim_note("cudaFree: %p is no live allocation", memory);
        return cudasim_refuse(cudaErrorInvalidValue);
    }
    return cudasim_state();
}

namespace
{

cudasim_task copy_to_host(void *to, const void *from, size_t bytes, const cudasim_shared_pinned &pinned)
{
    /* A result on its way is no result: until the stream is waited for, NaNs lie in its place. */
    auto asked = [=]() -> cudasim_shared_reading {
        if (!cudasim_memory_complaint(to, bytes, false) && !(pinned && cudasim_pinned_awaited(pinned.get(), to, bytes, false)))
            memset(to, 0xff, bytes);
        return nullptr;
    };
    auto run = [=](const cudasim_shared_reading &) {
        if (pinned && !pinned->live) {
            cudasim_note("cudaMemcpyAsync of %zu bytes to host memory that was released", bytes);
            return;
        }
        copy_now(to, from, bytes, cudaMemcpyDeviceToHost);
        if (pinned)
            cudasim_pinned_awaited(pinned.get(), to, bytes, true);
    };
    return {"cudaMemcpyAsync", run, asked};
}

cudasim_task copy_from_pinned(void *to, const void *from, size_t bytes, const cudasim_shared_pinned &pinned)
{
    auto asked = [=] { return cudasim_pinned_ask(pinned.get(), from, bytes); };
    auto run = [=](const cudasim_shared_reading &reading) {
        const char *trouble = cudasim_pinned_done(pinned.get(), reading);
        if (trouble)
            cudasim_note("cudaMemcpyAsync of %zu bytes from host memory %p%s", bytes, from, trouble);
        else
            copy_now(to, from, bytes, cudaMemcpyHostToDevice);
    };
    return {"cudaMemcpyAsync", run, asked};
}

/* Of memory that is not pinned the bytes are taken at once. */
cudasim_task copy_from_host(void *to, const void *from, size_t bytes)
{
    if (cudasim_memory_complaint(from, bytes, false))
        return {"cudaMemcpyAsync",
                [=](const cudasim_shared_reading &) { cudasim_complains("cudaMemcpyAsync from", from, bytes, false); }, nullptr};
    const unsigned char *first = static_cast<const unsigned char *>(from);
    auto taken = std::make_shared<const std::vector<unsigned char>>(first, first + bytes);
    return {"cudaMemcpyAsync",
            [=](const cudasim_shared_reading &) { copy_now(to, taken->data(), bytes, cudaMemcpyHostToDevice); }, nullptr};
}

} // namespace

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t handle)
{
    cudasim_stream *stream = cudasim_stream_of(handle);
    if (!stream || kind < cudaMemcpyHostToDevice || kind > cudaMemcpyDeviceToDevice)
        return cudasim_refuse(stream ? cudaErrorInvalidValue : cudaErrorInvalidResourceHandle);
    if (kind == cudaMemcpyDeviceToDevice)
        return cudasim_ask(handle, {"cudaMemcpyAsync",
                                    [=](const cudasim_shared_reading &) { copy_now(to, from, bytes, kind); }, nullptr});
    auto pinned = cudasim_pinned_find(kind == cudaMemcpyHostToDevice ? from : to, bytes);
    cudaError_t error = pinned ? cudaSuccess : cudasim_uncaptured(stream);
    if (error)
        return error;
    return cudasim_ask(handle, kind == cudaMemcpyDeviceToHost ? copy_to_host(to, from, bytes, pinned)
                               : pinned                       ? copy_from_pinned(to, from, bytes, pinned)
                                                              : copy_from_host(to, from, bytes));
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t stream)
{
    auto run = [=](const cudasim_shared_reading &) {
        if (!cudasim_complains("cudaMemsetAsync", to, bytes, true) && touches("cudaMemsetAsync", to, bytes, CUDASIM_WRITE))
            memset(to, value, bytes);
    };
    return cudasim_ask(stream, {"cudaMemsetAsync", run, nullptr});
}

cudaError_t cudasim_library(cudaStream_t stream, const char *what, std::vector<cudasim_span> reads,
                            std::vector<cudasim_span> writes, std::function<void()> work)
{
    std::string name = what;
    auto run = [=](const cudasim_shared_reading &) {
        for (const auto *spans : {&reads, &writes})
            for (const cudasim_span &range : *spans)
                if (cudasim_complains(name.c_str(), range.memory, range.bytes, true) ||
                    !touches(name, range.memory, range.bytes, spans == &reads ? CUDASIM_READ : CUDASIM_WRITE))
                    return;
        work();
    };
    return cudasim_ask(stream, {name, run, nullptr});
}

cudaError_t cudasim_set_attribute(const void *kernel, cudaFuncAttribute attribute, int value)
{
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || value > CUDASIM_MAX_SHARED)
        return cudasim_refuse(cudaErrorInvalidValue);
    dynamic_limit[kernel] = value;
    return cudasim_state();
}

void cudasim_reset(void)
{
    fault.clear();
    refused = cudaSuccess;
    cudasim_streams_reset();
    cudasim_pinned_reset();
}

void cudasim_limit(const cudasim_limits *wanted)
{
    limits = wanted && wanted->count >= 0 ? std::make_shared<const cudasim_limits>(*wanted) : nullptr;
}
