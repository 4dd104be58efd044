/* Streams: queues of tasks that wait until the host waits for them. Then no more is done than what the host waits
 * for and what that waits for itself by events: as late as CUDA may do it. Which tasks are ordered before a task is
 * settled when it is asked for, by its stream, the events that the stream waits for, and what the host has waited
 * for; an access to device memory by another task, done earlier here but not ordered before it, is a fault if one of
 * the two writes.
 *
 * Not seen: of a word the last write and the last read alone are remembered, so that a read may hide an earlier one
 * by a third stream; host memory is not watched but for what pinned.cpp does. */
#ifndef DUET_TESTS_CUDASIM_STREAM_H
#define DUET_TESTS_CUDASIM_STREAM_H

#include "tests/cudasim/simulator.h"

#include <deque>
#include <string>

/* Pinned memory that a copy will read, as it was when the copy was asked for (pinned.cpp). */
struct cudasim_reading {
    uintptr_t start, end;
    uint64_t sum;
    bool rewritten; /* by a copy since */
};
typedef std::shared_ptr<cudasim_reading> cudasim_shared_reading;

struct cudasim_task {
    std::string name;                                         /* for faults */
    std::function<void(const cudasim_shared_reading &)> run;  /* gets what `asked` returned */
    std::function<cudasim_shared_reading()> asked;            /* each time that it is put into a queue; may be empty */
};
typedef std::shared_ptr<const cudasim_task> cudasim_shared_task;

/* By the number of each stream: its tasks up to this one are ordered before something. */
typedef std::vector<uint64_t> cudasim_clock;

/* A place in a stream: after its first `count` tasks and waits. */
struct cudasim_point {
    std::shared_ptr<cudasim_stream> stream; /* none: nowhere */
    uint64_t count = 0;
    std::shared_ptr<const cudasim_clock> known;
};

/* A task in a queue, or what the stream waits for there. */
struct cudasim_item {
    cudasim_shared_task task;
    cudasim_shared_reading reading;
    cudasim_point before;
    uint64_t count; /* of the stream's items with this one */
    std::shared_ptr<const cudasim_clock> known;
};

/* A task that was done, and when. */
struct cudasim_past {
    uint64_t count, start, end;
    cudasim_shared_task task;
};

/* What a stream was asked for since its capture began. */
struct cudasim_capture {
    std::vector<cudasim_shared_task> tasks;
    cudaStreamCaptureMode mode;
    bool invalid;
};

struct cudasim_stream {
    size_t number;
    bool live;
    uint64_t asked, done; /* items */
    std::shared_ptr<const cudasim_clock> known;
    std::deque<cudasim_item> waiting;
    std::deque<cudasim_past> past; /* those that are not yet known to be ordered before all that may come */
    std::unique_ptr<cudasim_capture> capture;
};

/* ---- stream.cpp ---- */

/* Gives a task to a stream, or to its capture. */
cudaError_t cudasim_ask(cudaStream_t stream, cudasim_task task);

void cudasim_push(cudasim_stream *stream, cudasim_shared_task task);
void cudasim_push_wait(cudasim_stream *stream, const cudasim_point &before);

cudasim_stream *cudasim_stream_of(cudaStream_t handle); /* NULL: none */
cudasim_point cudasim_point_of(cudasim_stream *stream);  /* its end */
const std::vector<std::shared_ptr<cudasim_stream>> &cudasim_streams();

/* Of work that was done at this time: its name, if it is not ordered before what runs now; otherwise NULL. */
const char *cudasim_unordered(uint64_t time);

cudaError_t cudasim_wait_for_all(); /* the host waits for all streams */
void cudasim_streams_reset();

/* ---- graph.cpp ---- */

/* Whether a call that cannot be captured must fail: because `stream` captures, or, without one, because any does
 * that is not relaxed. Then the capture is invalid. cudaSuccess: it need not. */
cudaError_t cudasim_uncaptured(cudasim_stream *stream);

/* ---- pinned.cpp ---- */

/* The allocation of cudaMallocHost in which all of this lies; NULL: none. */
struct cudasim_pinned {
    uintptr_t start, end;
    bool live;
    std::vector<cudasim_shared_reading> readings; /* that wait in a queue */
};
typedef std::shared_ptr<cudasim_pinned> cudasim_shared_pinned;
cudasim_shared_pinned cudasim_pinned_find(const void *memory, size_t bytes);

/* A copy that reads it is asked for; is done: NULL, or what became of the bytes in between. */
cudasim_shared_reading cudasim_pinned_ask(cudasim_pinned *pinned, const void *memory, size_t bytes);
const char *cudasim_pinned_done(cudasim_pinned *pinned, const cudasim_shared_reading &reading);

/* Whether copies that read from here wait; if `rewritten`, a copy now writes it. */
bool cudasim_pinned_awaited(cudasim_pinned *pinned, const void *memory, size_t bytes, bool rewritten);
void cudasim_pinned_reset();

#endif
