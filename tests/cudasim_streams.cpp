/* Streams, events, pinned memory and graphs of the simulator: what is not ordered is found, whichever of the two was
 * done first, and what is ordered passes. */
#include "tests/cudasim_room.h"
#include "tests/cudasim/simulator.h"

namespace
{

enum { N = 256 };

cudaStream_t second, third;
cudaEvent_t ready, taken;
float *pinned; /* N floats of the host */

__global__ void fill(float *x, float value)
{
    x[threadIdx.x] = value;
}

__global__ void add_one(float *x)
{
    x[threadIdx.x] += 1;
}

__global__ void twice(const float *x, float *y)
{
    y[threadIdx.x] = 2 * x[threadIdx.x];
}

float first_of(const float *x)
{
    float value = 0;
    cudaMemcpyAsync(&value, x, sizeof value, cudaMemcpyDeviceToHost, stream);
    cudaStreamSynchronize(stream);
    return value;
}

/* `on` waits for all that `before` was asked for. */
void follow(cudaStream_t before, cudaStream_t on)
{
    cudaEventRecord(ready, before);
    cudaStreamWaitEvent(on, ready, 0);
}

void library(cudaStream_t on, float *from, float *to)
{
    cudasim_library(on, "library", {{from, sizeof(float) * N}}, {{to, sizeof(float) * N}},
                    [=] { memcpy(to, from, sizeof(float) * N); });
}

/* ---- Order ---- */

void test_no_event(void)
{
    expect("a kernel reads what another stream writes", [] {
        LAUNCH_ON(second, fill, 1, N, 0, device, 1);
        LAUNCH_ON(stream, twice, 1, N, 0, device, other);
    }, "with no event in between", "on another stream");
    expect("a kernel writes what another stream reads", [] {
        LAUNCH_ON(stream, twice, 1, N, 0, device, other);
        LAUNCH_ON(second, fill, 1, N, 0, device, 1);
    }, "fill writes byte", "that twice read on another stream");
    expect("two streams write", [] {
        LAUNCH_ON(stream, fill, 1, N, 0, device, 1);
        LAUNCH_ON(second, fill, 1, N, 0, device, 2);
    }, "fill writes byte", "that fill wrote on another stream");
    expect("a copy to the host", [] {
        LAUNCH_ON(second, fill, 1, N, 0, device, 1);
        cudaMemcpyAsync(pinned, device, 4, cudaMemcpyDeviceToHost, stream);
    }, "that cudaMemcpyAsync read on another stream", "fill writes");
    expect("a copy to the device", [] {
        LAUNCH_ON(stream, twice, 1, N, 0, device, other);
        cudaMemcpyAsync(device, pinned, 4, cudaMemcpyHostToDevice, second);
    }, "cudaMemcpyAsync of 4 bytes writes", "that twice read");
    expect("memory that is cleared", [] {
        LAUNCH_ON(stream, twice, 1, N, 0, device, other);
        cudaMemsetAsync(device, 0, 4, second);
    }, "cudaMemsetAsync of 4 bytes writes", "that twice read");
    expect("a library's reading", [] {
        LAUNCH_ON(stream, fill, 1, N, 0, device, 1);
        library(second, device, other);
    }, "library of 1024 bytes reads", "that fill wrote");
    expect("a library's writing", [] {
        LAUNCH_ON(stream, twice, 1, N, 0, other, device);
        library(second, device + 0, other);
    }, "library of 1024 bytes", "that twice");
    expect("the default stream, which waits for none of these", [] {
        LAUNCH_ON(nullptr, fill, 1, N, 0, device, 1);
        LAUNCH_ON(second, twice, 1, N, 0, device, other);
    }, "on another stream", "with no event in between");
    expect_none("two streams that read", [] {
        LAUNCH_ON(second, twice, 1, N, 0, device, other);
        cudaMemcpyAsync(pinned, device, 4, cudaMemcpyDeviceToHost, stream);
    });
    expect_none("two streams at different places", [] {
        LAUNCH_ON(second, fill, 1, N / 2, 0, device, 1);
        LAUNCH_ON(stream, fill, 1, N / 2, 0, device + N / 2, 2);
    });
}

void test_events(void)
{
    expect_none("an event in between", [] {
        LAUNCH_ON(second, fill, 1, N, 0, device, 5);
        follow(second, stream);
        LAUNCH_ON(stream, twice, 1, N, 0, device, other);
    });
    ok(first_of(other) == 10, "and what was written before it is read: %g", (double)first_of(other));
    expect_none("an event after a reading", [] {
        LAUNCH_ON(stream, twice, 1, N, 0, device, other);
        follow(stream, second);
        LAUNCH_ON(second, fill, 1, N, 0, device, 1);
    });
    expect_none("from stream to stream to stream", [] {
        LAUNCH_ON(second, fill, 1, N, 0, device, 1);
        follow(second, third);
        follow(third, stream);
        LAUNCH_ON(stream, add_one, 1, N, 0, device);
    });
    expect("an event from before the writing", [] {
        cudaEventRecord(ready, second);
        LAUNCH_ON(second, fill, 1, N, 0, device, 1);
        cudaStreamWaitEvent(stream, ready, 0);
        LAUNCH_ON(stream, twice, 1, N, 0, device, other);
    }, "on another stream", "with no event in between");
    expect("an event that is waited for too late", [] {
        LAUNCH_ON(second, fill, 1, N, 0, device, 1);
        cudaEventRecord(ready, second);
        LAUNCH_ON(stream, twice, 1, N, 0, device, other);
        cudaStreamWaitEvent(stream, ready, 0);
    }, "on another stream", "with no event in between");
    expect_none("the wait is for what was recorded then", [] {
        LAUNCH_ON(second, fill, 1, N, 0, device, 1);
        follow(second, stream);
        cudaEventRecord(ready, third);
        LAUNCH_ON(stream, twice, 1, N, 0, device, other);
    });
    cudaEvent_t never;
    cudaEventCreateWithFlags(&never, cudaEventDisableTiming);
    ok(cudaStreamWaitEvent(stream, never, 0) == cudaSuccess && cudaEventQuery(never) == cudaSuccess &&
           cudaEventSynchronize(never) == cudaSuccess && cudaStreamSynchronize(stream) == cudaSuccess,
       "an event that was never recorded is nothing to wait for");
    ok(cudaEventDestroy(never) == cudaSuccess && cudaEventDestroy(never) == cudaErrorInvalidResourceHandle &&
           cudaEventRecord(never, stream) == cudaErrorInvalidResourceHandle &&
           cudaStreamWaitEvent(stream, never, 0) == cudaErrorInvalidResourceHandle &&
           cudaEventCreateWithFlags(&never, 0) == cudaErrorInvalidValue,
       "what is no event, and what would take the time, is refused");
    cudaGetLastError();
}

/* Two buffers in turn: filled by one stream while the other computes. */
void batches(bool wait_until_taken)
{
    cudaEvent_t sent[2], free_again[2];
    for (int i = 0; i < 2; i++) {
        cudaEventCreateWithFlags(&sent[i], cudaEventDisableTiming);
        cudaEventCreateWithFlags(&free_again[i], cudaEventDisableTiming);
    }
    for (int step = 0; step < 6; step++) {
        float *room = device + step % 2 * (N / 2);
        if (wait_until_taken)
            cudaStreamWaitEvent(second, free_again[step % 2], 0);
        cudaMemcpyAsync(room, pinned + step % 2 * (N / 2), 2 * N, cudaMemcpyHostToDevice, second);
        cudaEventRecord(sent[step % 2], second);
        cudaStreamWaitEvent(stream, sent[step % 2], 0);
        LAUNCH_ON(stream, twice, 1, N / 2, 0, room, other);
        cudaEventRecord(free_again[step % 2], stream);
    }
    for (int i = 0; i < 2; i++) {
        cudaEventDestroy(sent[i]);
        cudaEventDestroy(free_again[i]);
    }
}

void test_host(void)
{
    expect_none("a host that waits in between", [] {
        LAUNCH_ON(second, fill, 1, N, 0, device, 1);
        cudaStreamSynchronize(second);
        LAUNCH_ON(stream, twice, 1, N, 0, device, other);
    });
    expect("a host that waits too late", [] {
        LAUNCH_ON(second, fill, 1, N, 0, device, 1);
        LAUNCH_ON(stream, twice, 1, N, 0, device, other);
        cudaStreamSynchronize(second);
    }, "twice reads", "that fill wrote on another stream");
    expect_none("buffers in turn", [] { batches(true); });
    expect("buffers that are filled again too early", [] { batches(false); }, "cudaMemcpyAsync", "on another stream");

    cudaMemsetAsync(device, 0, sizeof(float) * N, stream);
    cudaMemcpyAsync(pinned, device, 4, cudaMemcpyDeviceToHost, stream);
    cudaEventRecord(ready, stream);
    cudaMemcpyAsync(pinned + 1, device, 4, cudaMemcpyDeviceToHost, stream);
    cudaStreamSynchronize(second);
    ok(isnan(pinned[0]), "waiting for one stream brings nothing of another");
    cudaEventSynchronize(ready);
    ok(pinned[0] == 0 && isnan(pinned[1]), "waiting for an event brings what is before it");
    int calls = 0;
    cudaEventRecord(ready, stream);
    LAUNCH_ON(second, fill, 1, N, 0, other, 1);
    while (cudaEventQuery(ready) == cudaErrorNotReady && calls < 100)
        calls++;
    ok(calls == 1 && pinned[1] == 0, "an event comes while it is asked for: %d calls", calls);
    ok(cudaStreamQuery(second) == cudaErrorNotReady && cudaStreamQuery(second) == cudaSuccess, "so does a stream");
    cudaGetLastError();
}

/* ---- Memory ---- */

void test_pinned(void)
{
    float *paged = static_cast<float *>(calloc(N, sizeof *paged)), *gone;
    paged[0] = 3;
    cudaMemcpyAsync(device, paged, 4, cudaMemcpyHostToDevice, stream);
    paged[0] = 4;
    ok(first_of(device) == 3, "of pageable memory the bytes are taken at the call");
    free(paged);
    expect("pinned memory that changes before it is read", [] {
        pinned[0] = 3;
        cudaMemcpyAsync(device, pinned, 4, cudaMemcpyHostToDevice, stream);
        pinned[0] = 4;
    }, "the host changed them", "cudaMemcpyAsync of 4 bytes");
    expect_none("pinned memory that changes beside it", [] {
        pinned[0] = 3;
        cudaMemcpyAsync(device, pinned, 4, cudaMemcpyHostToDevice, stream);
        pinned[1] = 4;
    });
    expect_none("or that a copy fills after and before", [] {
        pinned[0] = 3;
        cudaMemcpyAsync(device, pinned, 4, cudaMemcpyHostToDevice, stream);
        LAUNCH(add_one, 1, 1, 0, device);
        cudaMemcpyAsync(pinned, device, 4, cudaMemcpyDeviceToHost, stream);
        cudaMemcpyAsync(other, pinned, 4, cudaMemcpyHostToDevice, stream);
    });
    ok(first_of(device) == 4 && first_of(other) == 4 && pinned[0] == 4, "and all have what they should");
    cudaMallocHost(reinterpret_cast<void **>(&gone), 64);
    ok(isnan(gone[0]), "new pinned memory holds nothing of use");
    cudaMemcpyAsync(device, gone, 4, cudaMemcpyHostToDevice, stream);
    cudaFreeHost(gone);
    ok(strstr(complaint(), "that was released"), "pinned memory that is released too early: %s", complaint());
    cudasim_reset();
    ok(cudaFreeHost(gone) == cudaErrorInvalidValue && *complaint(), "and twice: %s", complaint());
    cudasim_reset();
    expect("a kernel in pinned memory", [] { LAUNCH(fill, 1, 1, 0, pinned, 0); }, "host memory", "fill writes");
}

void test_device(void)
{
    cudaDeviceProp properties;
    size_t left, all, less;
    void *memory;
    int driver = 0, runtime = 0;
    cudasim_set_memory(1 << 20);
    ok(cudaGetDeviceProperties(&properties, 0) == cudaSuccess && !strcmp(properties.name, "CUDA simulator") &&
           properties.totalGlobalMem == 1 << 20 && properties.major >= 8 && properties.multiProcessorCount > 0,
       "a device of %zu bytes", properties.totalGlobalMem);
    ok(cudaGetDeviceProperties(&properties, 1) == cudaErrorInvalidDevice, "and no other");
    cudaGetLastError();
    ok(cudaDriverGetVersion(&driver) == cudaSuccess && cudaRuntimeGetVersion(&runtime) == cudaSuccess && driver >= runtime &&
           runtime == CUDART_VERSION,
       "versions %d and %d", driver, runtime);
    cudaMemGetInfo(&left, &all);
    ok(all == 1 << 20 && left < all, "%zu of %zu bytes are left", left, all);
    ok(cudaMalloc(&memory, left + 1) == cudaErrorMemoryAllocation && !memory &&
           cudaGetLastError() == cudaErrorMemoryAllocation && cudaMalloc(&memory, left) == cudaSuccess,
       "no more can be taken");
    cudaMemGetInfo(&less, &all);
    ok(less == 0 && cudaFree(memory) == cudaSuccess, "then none is left");
    cudaMemGetInfo(&less, &all);
    ok(less == left, "and again what was");
    cudasim_set_memory((size_t)8 << 30);
}

/* ---- Graphs ---- */

/* What `ask` asks the stream for, as a graph. */
cudaGraphExec_t captured(void (*ask)())
{
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t exec = nullptr;
    if (cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) != cudaSuccess)
        return nullptr;
    ask();
    if (cudaStreamEndCapture(stream, &graph) == cudaSuccess)
        cudaGraphInstantiate(&exec, graph, 0);
    cudaGraphDestroy(graph);
    return exec;
}

void test_graphs(void)
{
    LAUNCH(fill, 1, N, 0, device, 1);
    cudaStreamSynchronize(stream);
    static float step = 10;
    cudaGraphExec_t exec = captured([] {
        cudaStreamCaptureStatus status = cudaStreamCaptureStatusNone;
        LAUNCH(add_one, 1, N, 0, device);
        LAUNCH(twice, 1, N, 0, device, other);
        cudaMemcpyAsync(device, other, sizeof(float) * N, cudaMemcpyDeviceToDevice, stream);
        library(stream, device, other);
        LAUNCH(fill, 1, N, 0, other, step);
        ok(cudaStreamIsCapturing(stream, &status) == cudaSuccess && status == cudaStreamCaptureStatusActive, "a capture");
    });
    step = 20;
    ok(exec && first_of(device) == 1, "what is captured is not done");
    cudaGraphLaunch(exec, stream);
    ok(first_of(device) == 4 && first_of(other) == 10, "until it is launched, as it was asked for: %g %g",
       (double)first_of(device), (double)first_of(other));
    cudaGraphLaunch(exec, stream);
    cudaGraphLaunch(exec, stream);
    ok(first_of(device) == 22, "each time anew: %g", (double)first_of(device));
    cudaGraphLaunch(exec, second);
    cudaGraphLaunch(exec, third);
    ok(!*complaint() && first_of(device) == 94, "launches of one graph follow each other on all streams: %s", complaint());
    cudasim_reset();
    cudaGraphLaunch(exec, stream);
    LAUNCH_ON(second, fill, 1, N, 0, device, 1);
    ok(strstr(complaint(), "on another stream"), "but other work does not: %s", complaint());
    cudasim_reset();
    cudaMemsetAsync(device, 0, sizeof(float) * N, stream);
    cudaGraphLaunch(exec, stream);
    ok(cudaGraphExecDestroy(exec) == cudaSuccess && first_of(device) == 2, "a launch outlives its graph");
    ok(cudaGraphLaunch(exec, stream) == cudaErrorInvalidValue && cudaGraphExecDestroy(exec) == cudaErrorInvalidValue,
       "which then is none");
    exec = captured([] { LAUNCH(fill, 1, N + 1, 0, device, 1); });
    cudaGraphLaunch(exec, stream);
    ok(strstr(complaint(), "fill writes byte 1024"), "faults in graphs are found: %s", complaint());
    cudasim_reset();
    cudaGraphExecDestroy(exec);
    exec = captured([] {
        cudaMemcpyAsync(device, pinned, 4, cudaMemcpyHostToDevice, stream);
        LAUNCH(add_one, 1, 1, 0, device);
        cudaMemcpyAsync(pinned + 1, device, 4, cudaMemcpyDeviceToHost, stream);
    });
    for (int i = 0; i < 2; i++) {
        pinned[0] = (float)(7 + i);
        cudaGraphLaunch(exec, stream);
        bool early = !isnan(pinned[1]);
        cudaStreamSynchronize(stream);
        ok(!early && pinned[1] == (float)(8 + i), "pinned memory is read by each launch: %g", (double)pinned[1]);
    }
    cudaGraphExecDestroy(exec);
}

/* A call that no capture allows fails and takes the capture with it; after that all is as before. */
void refused(const char *name, cudaStreamCaptureMode mode, bool allowed, cudaError_t (*call)())
{
    cudaGraph_t graph = nullptr;
    cudaStreamBeginCapture(stream, mode);
    LAUNCH(fill, 1, N, 0, device, 1);
    cudaError_t error = call();
    LAUNCH(fill, 1, N, 0, device, 2);
    cudaError_t after = cudaGetLastError(), end = cudaStreamEndCapture(stream, &graph);
    if (allowed)
        ok(!error && !after && !end && graph, "%s: allowed", name);
    else
        ok(error == cudaErrorStreamCaptureUnsupported && after == cudaErrorStreamCaptureInvalidated &&
               end == cudaErrorStreamCaptureInvalidated && !graph,
           "%s: %s", name, cudaGetErrorString(error));
    cudaGetLastError();
    cudaGraphDestroy(graph);
    cudaGetLastError();
    LAUNCH(fill, 1, N, 0, device, 3);
    ok(first_of(device) == 3, "%s, and then the stream works", name);
}

void test_captures(void)
{
    static void *memory;
    const cudaStreamCaptureMode strict = cudaStreamCaptureModeThreadLocal, relaxed = cudaStreamCaptureModeRelaxed;
    cudaEventRecord(ready, second);
    refused("waiting for a stream", relaxed, false, [] { return cudaStreamSynchronize(stream); });
    refused("waiting for another stream", strict, true, [] { return cudaStreamSynchronize(second); });
    refused("waiting for all", relaxed, false, [] { return cudaDeviceSynchronize(); });
    refused("asking a stream", relaxed, false, [] { return cudaStreamQuery(stream); });
    refused("memory", strict, false, [] { return cudaMalloc(&memory, 4); });
    refused("memory when relaxed", relaxed, true, [] { return cudaMalloc(&memory, 4); });
    refused("releasing memory", strict, false, [] { return cudaFree(memory); });
    refused("releasing memory when relaxed", relaxed, true, [] { return cudaFree(memory); });
    refused("pinned memory", strict, false, [] { return cudaMallocHost(&memory, 4); });
    refused("a copy from pageable memory", relaxed, false, [] {
        float value = 0;
        return cudaMemcpyAsync(device, &value, 4, cudaMemcpyHostToDevice, stream);
    });
    refused("a copy to pageable memory", relaxed, false, [] {
        float value = 0;
        return cudaMemcpyAsync(&value, device, 4, cudaMemcpyDeviceToHost, stream);
    });
    refused("an event", relaxed, false, [] { return cudaEventRecord(taken, stream); });
    refused("an event of another stream", relaxed, false, [] { return cudaStreamWaitEvent(stream, ready, 0); });
    refused("asking for an event", strict, false, [] { return cudaEventQuery(ready); });
    cudaGraph_t graph;
    ok(cudaStreamEndCapture(stream, &graph) == cudaErrorStreamCaptureUnmatched && !graph, "an end without a beginning");
    ok(cudaStreamBeginCapture(nullptr, strict) == cudaErrorStreamCaptureUnsupported, "the default stream");
    ok(cudaStreamBeginCapture(stream, strict) == cudaSuccess &&
           cudaStreamBeginCapture(stream, strict) == cudaErrorIllegalState &&
           cudaStreamEndCapture(stream, &graph) == cudaSuccess,
       "a beginning within a capture");
    cudaGraphExec_t exec;
    ok(cudaGraphInstantiate(&exec, graph, 1) == cudaErrorInvalidValue, "flags that are not implemented");
    ok(cudaGraphDestroy(graph) == cudaSuccess && cudaGraphDestroy(graph) == cudaErrorInvalidValue &&
           cudaGraphInstantiate(&exec, graph, 0) == cudaErrorInvalidValue,
       "graphs that are none");
    cudaGetLastError();
}

} // namespace

int main()
{
    make_room(N);
    for (cudaStream_t *made : {&second, &third})
        cudaStreamCreateWithFlags(made, cudaStreamNonBlocking);
    for (cudaEvent_t *made : {&ready, &taken})
        cudaEventCreateWithFlags(made, cudaEventDisableTiming);
    cudaMallocHost(reinterpret_cast<void **>(&pinned), sizeof(float) * N);
    test_no_event();
    test_events();
    test_host();
    test_pinned();
    test_device();
    test_graphs();
    test_captures();
    return done();
}
