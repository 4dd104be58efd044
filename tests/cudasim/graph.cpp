/* Graphs: lists of tasks that a stream was asked for, to be given to a stream as often as one likes. */
#include "tests/cudasim/stream.h"

#include <map>

struct cudasim_graph {
    std::vector<cudasim_shared_task> tasks;
};

/* The runs of one of these follow each other, whatever the streams. */
struct cudasim_graph_exec {
    std::vector<cudasim_shared_task> tasks;
    cudasim_point last;
};

namespace
{

std::map<cudasim_graph *, std::unique_ptr<cudasim_graph>> graphs;
std::map<cudasim_graph_exec *, std::unique_ptr<cudasim_graph_exec>> execs;

} // namespace

cudaError_t cudasim_uncaptured(cudasim_stream *stream)
{
    cudaError_t error = cudaSuccess;
    for (const auto &other : cudasim_streams()) {
        cudasim_capture *capture = other->capture.get();
        if (!capture || (stream ? stream != other.get() : capture->mode == cudaStreamCaptureModeRelaxed))
            continue;
        error = capture->invalid ? cudaErrorStreamCaptureInvalidated : cudaErrorStreamCaptureUnsupported;
        capture->invalid = true;
    }
    return error ? cudasim_refuse(error) : cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode)
{
    cudasim_stream *stream = cudasim_stream_of(handle);
    if (!stream || (mode != cudaStreamCaptureModeThreadLocal && mode != cudaStreamCaptureModeRelaxed))
        return cudasim_refuse(stream ? cudaErrorInvalidValue : cudaErrorInvalidResourceHandle);
    if (!handle || stream->capture)
        return cudasim_refuse(handle ? cudaErrorIllegalState : cudaErrorStreamCaptureUnsupported);
    stream->capture = std::make_unique<cudasim_capture>();
    stream->capture->mode = mode;
    return cudasim_state();
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus *status)
{
    cudasim_stream *stream = cudasim_stream_of(handle);
    if (!stream)
        return cudasim_refuse(cudaErrorInvalidResourceHandle);
    *status = !stream->capture            ? cudaStreamCaptureStatusNone
              : stream->capture->invalid ? cudaStreamCaptureStatusInvalidated
                                         : cudaStreamCaptureStatusActive;
    return cudasim_state();
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t *graph)
{
    cudasim_stream *stream = cudasim_stream_of(handle);
    *graph = nullptr;
    if (!stream || !stream->capture)
        return cudasim_refuse(stream ? cudaErrorStreamCaptureUnmatched : cudaErrorInvalidResourceHandle);
    auto capture = std::move(stream->capture);
    if (capture->invalid)
        return cudasim_refuse(cudaErrorStreamCaptureInvalidated);
    auto made = std::make_unique<cudasim_graph>();
    made->tasks = std::move(capture->tasks);
    *graph = made.get();
    graphs[*graph] = std::move(made);
    return cudasim_state();
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long flags)
{
    *exec = nullptr;
    if (!graphs.count(graph) || flags)
        return cudasim_refuse(cudaErrorInvalidValue);
    auto made = std::make_unique<cudasim_graph_exec>();
    made->tasks = graph->tasks;
    *exec = made.get();
    execs[*exec] = std::move(made);
    return cudasim_state();
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t handle)
{
    cudasim_stream *stream = cudasim_stream_of(handle);
    if (!stream || !execs.count(exec))
        return cudasim_refuse(stream ? cudaErrorInvalidValue : cudaErrorInvalidResourceHandle);
    if (cudaError_t error = cudasim_uncaptured(stream))
        return error;
    cudasim_push_wait(stream, exec->last);
    for (const cudasim_shared_task &task : exec->tasks)
        cudasim_push(stream, task);
    exec->last = cudasim_point_of(stream);
    return cudasim_state();
}

/* Runs that still wait keep their tasks. */
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
    return execs.erase(exec) ? cudasim_state() : cudasim_refuse(cudaErrorInvalidValue);
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
    return graphs.erase(graph) ? cudasim_state() : cudasim_refuse(cudaErrorInvalidValue);
}
