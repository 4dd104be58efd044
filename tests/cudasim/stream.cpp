/* Streams, events, and the order between tasks that follows from them (stream.h). */
#include "tests/cudasim/stream.h"

#include <algorithm>
#include <map>

struct cudasim_event {
    cudasim_point point;
};

namespace
{

typedef std::shared_ptr<const cudasim_clock> known_clock;

known_clock host = std::make_shared<cudasim_clock>(); /* what it has waited for */
std::map<cudasim_event *, std::unique_ptr<cudasim_event>> events;
std::vector<cudasim_past> unordered; /* with what runs now, by time */
int depth;                           /* of waits within waits */

/* All streams that ever were, in the order of their numbers; the first is the default stream. */
std::vector<std::shared_ptr<cudasim_stream>> &all_streams()
{
    static std::vector<std::shared_ptr<cudasim_stream>> streams;
    if (streams.empty())
        streams.push_back(std::make_shared<cudasim_stream>(cudasim_stream{0, true, 0, 0, host, {}, {}, nullptr}));
    return streams;
}

uint64_t count_in(const known_clock &clock, size_t number)
{
    return number < clock->size() ? (*clock)[number] : 0;
}

/* Clocks are shared until they change, for most tasks learn nothing new. */
void learn(known_clock *clock, size_t number, uint64_t count)
{
    if (count_in(*clock, number) >= count)
        return;
    auto more = std::make_shared<cudasim_clock>(**clock);
    more->resize(std::max(more->size(), number + 1));
    (*more)[number] = count;
    *clock = more;
}

void learn_all(known_clock *clock, const known_clock &from)
{
    for (size_t i = 0; clock->get() != from.get() && i < from->size(); i++)
        learn(clock, i, (*from)[i]);
}

void learn_point(known_clock *clock, const cudasim_point &point)
{
    learn_all(clock, point.known);
    learn(clock, point.stream->number, point.count);
}

/* ---- Doing the work ---- */

void find_unordered(const cudasim_stream *stream, const cudasim_item &item)
{
    unordered.clear();
    for (const auto &other : all_streams()) {
        uint64_t known = count_in(item.known, other->number);
        for (auto past = other->past.rbegin(); other.get() != stream && past != other->past.rend(); ++past)
            if (past->count > known)
                unordered.push_back(*past);
            else
                break;
    }
    std::sort(unordered.begin(), unordered.end(),
              [](const cudasim_past &a, const cudasim_past &b) { return a.start < b.start; });
}

void perform(cudasim_stream *stream, const cudasim_item &item)
{
    cudasim_moment &now = cudasim_now;
    now.work_start = now.block_start = now.barrier = ++now.time;
    now.thread = 0;
    find_unordered(stream, item);
    now.settled = unordered.empty() ? now.work_start : unordered.front().start;
    item.task->run(item.reading);
    stream->past.push_back({item.count, now.work_start, now.time, item.task});
    ++now.time;
}

/* Does a stream's tasks up to this one, and first those that they wait for; after a fault nothing is done. */
void advance(cudasim_stream *stream, uint64_t count)
{
    while (stream->done < count) {
        cudasim_item item = std::move(stream->waiting.front());
        stream->waiting.pop_front();
        if (!item.task)
            advance(item.before.stream.get(), item.before.count);
        else if (cudasim_state() == cudaSuccess)
            perform(stream, item);
        stream->done = item.count;
    }
}

/* Forgets what is ordered before all that waits and all that can still be asked for. */
void forget_past()
{
    for (const auto &stream : all_streams()) {
        uint64_t known = count_in(host, stream->number);
        for (const auto &other : all_streams())
            if (other != stream && !other->waiting.empty())
                known = std::min(known, count_in(other->waiting.front().known, stream->number));
        while (!stream->past.empty() && stream->past.front().count <= known)
            stream->past.pop_front();
    }
}

/* The host waits. */
cudaError_t wait_for(const cudasim_point &point)
{
    if (depth++ == 0)
        cudasim_memory_open();
    advance(point.stream.get(), point.count);
    if (--depth == 0)
        cudasim_memory_close();
    learn_point(&host, point);
    forget_past();
    return cudasim_state();
}

/* The host looks: what is done is known then, and what is not comes one task nearer. */
cudaError_t look_at(const cudasim_point &point)
{
    cudasim_stream *stream = point.stream.get();
    if (stream->done >= point.count)
        return wait_for(point);
    cudasim_memory_open();
    advance(stream, stream->done + 1);
    cudasim_memory_close();
    return cudasim_refuse(cudaErrorNotReady);
}

cudasim_event *event_of(cudaEvent_t event)
{
    return events.count(event) ? event : nullptr;
}

} // namespace

const std::vector<std::shared_ptr<cudasim_stream>> &cudasim_streams()
{
    return all_streams();
}

cudasim_stream *cudasim_stream_of(cudaStream_t handle)
{
    for (const auto &stream : all_streams())
        if (stream->live && (stream.get() == handle || (!handle && stream->number == 0)))
            return stream.get();
    return nullptr;
}

cudasim_point cudasim_point_of(cudasim_stream *stream)
{
    learn_all(&stream->known, host);
    return {all_streams()[stream->number], stream->asked, stream->known};
}

void cudasim_push(cudasim_stream *stream, cudasim_shared_task task)
{
    learn_all(&stream->known, host);
    cudasim_shared_reading reading = task->asked ? task->asked() : nullptr;
    stream->waiting.push_back({std::move(task), reading, {}, ++stream->asked, stream->known});
}

void cudasim_push_wait(cudasim_stream *stream, const cudasim_point &before)
{
    if (!before.stream || before.stream.get() == stream)
        return;
    learn_point(&stream->known, before);
    stream->waiting.push_back({nullptr, nullptr, before, ++stream->asked, stream->known});
}

cudaError_t cudasim_ask(cudaStream_t handle, cudasim_task task)
{
    cudasim_stream *stream = cudasim_stream_of(handle);
    if (!stream)
        return cudasim_refuse(cudaErrorInvalidResourceHandle);
    auto shared = std::make_shared<const cudasim_task>(std::move(task));
    if (stream->capture && stream->capture->invalid)
        return cudasim_refuse(cudaErrorStreamCaptureInvalidated);
    if (stream->capture)
        stream->capture->tasks.push_back(shared);
    else
        cudasim_push(stream, shared);
    return cudasim_state();
}

const char *cudasim_unordered(uint64_t time)
{
    auto later = std::upper_bound(unordered.begin(), unordered.end(), time,
                                  [](uint64_t at, const cudasim_past &past) { return at < past.start; });
    return later != unordered.begin() && time <= (later - 1)->end ? (later - 1)->task->name.c_str() : nullptr;
}

void cudasim_streams_reset()
{
    for (const auto &stream : all_streams()) {
        stream->waiting.clear();
        stream->past.clear();
        stream->done = stream->asked;
        stream->capture = nullptr;
    }
}

cudaError_t cudasim_wait_for_all()
{
    for (const auto &stream : all_streams())
        wait_for(cudasim_point_of(stream.get()));
    return cudasim_state();
}

/* ---- The runtime's functions ---- */

/* Streams that wait for the default stream by themselves are not implemented. */
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    if (flags != cudaStreamNonBlocking)
        return cudasim_refuse(cudaErrorInvalidValue);
    auto &streams = all_streams();
    streams.push_back(std::make_shared<cudasim_stream>(cudasim_stream{streams.size(), true, 0, 0, host, {}, {}, nullptr}));
    *stream = streams.back().get();
    return cudasim_state();
}

/* What it was asked for is done; the host does not know by that. */
cudaError_t cudaStreamDestroy(cudaStream_t handle)
{
    cudasim_stream *stream = handle ? cudasim_stream_of(handle) : nullptr;
    if (!stream)
        return cudasim_refuse(cudaErrorInvalidResourceHandle);
    if (cudaError_t error = cudasim_uncaptured(stream))
        return error;
    cudasim_memory_open();
    advance(stream, stream->asked);
    cudasim_memory_close();
    stream->live = false;
    return cudasim_state();
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle)
{
    cudasim_stream *stream = cudasim_stream_of(handle);
    cudaError_t error = stream ? cudasim_uncaptured(stream) : cudasim_refuse(cudaErrorInvalidResourceHandle);
    return error ? error : wait_for(cudasim_point_of(stream));
}

cudaError_t cudaStreamQuery(cudaStream_t handle)
{
    cudasim_stream *stream = cudasim_stream_of(handle);
    cudaError_t error = stream ? cudasim_uncaptured(stream) : cudasim_refuse(cudaErrorInvalidResourceHandle);
    return error ? error : look_at(cudasim_point_of(stream));
}

cudaError_t cudaDeviceSynchronize(void)
{
    for (const auto &stream : all_streams())
        if (cudaError_t error = cudasim_uncaptured(stream.get()))
            return error;
    return cudasim_wait_for_all();
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags)
{
    if (flags != cudaEventDisableTiming)
        return cudasim_refuse(cudaErrorInvalidValue);
    auto made = std::make_unique<cudasim_event>();
    *event = made.get();
    events[*event] = std::move(made);
    return cudasim_state();
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    return events.erase(event) ? cudasim_state() : cudasim_refuse(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t handle)
{
    cudasim_stream *stream = cudasim_stream_of(handle);
    if (!stream || !event_of(event))
        return cudasim_refuse(cudaErrorInvalidResourceHandle);
    if (cudaError_t error = cudasim_uncaptured(stream))
        return error;
    event->point = cudasim_point_of(stream);
    return cudasim_state();
}

/* An event that was never recorded is nothing to wait for. */
cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned flags)
{
    cudasim_stream *stream = cudasim_stream_of(handle);
    if (!stream || !event_of(event) || flags)
        return cudasim_refuse(flags ? cudaErrorInvalidValue : cudaErrorInvalidResourceHandle);
    if (cudaError_t error = cudasim_uncaptured(stream))
        return error;
    cudasim_push_wait(stream, event->point);
    return cudasim_state();
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    cudaError_t error = event_of(event) ? cudasim_uncaptured(nullptr) : cudasim_refuse(cudaErrorInvalidResourceHandle);
    return error ? error : event->point.stream ? wait_for(event->point) : cudasim_state();
}

cudaError_t cudaEventQuery(cudaEvent_t event)
{
    cudaError_t error = event_of(event) ? cudasim_uncaptured(nullptr) : cudasim_refuse(cudaErrorInvalidResourceHandle);
    return error ? error : event->point.stream ? look_at(event->point) : cudasim_state();
}
