/* What the parts of the simulator share. Everything runs on the host's one thread that waits for a stream.
 *
 * Time is a count that moves on at each piece of work, block, barrier and __syncwarp. An access is remembered with
 * the time and the thread; whether it is ordered before another one follows from the times of the barriers in
 * between, and between pieces of work from the streams and events (stream.h). */
#ifndef DUET_TESTS_CUDASIM_SIMULATOR_H
#define DUET_TESTS_CUDASIM_SIMULATOR_H

#include "tests/cudasim/control.h"
#include "tests/cudasim/cuda_runtime.h"

#include <functional>
#include <memory>
#include <vector>

/* None of it is for other shared objects, and so needs no look into their tables. */
#pragma GCC visibility push(hidden)

enum { CUDASIM_LANES = 32, CUDASIM_MAX_THREADS = 1024, CUDASIM_MAX_SHARED = 227 << 10, CUDASIM_PLAIN_SHARED = 48 << 10 };

/* What the hooks look at with every access. */
struct cudasim_moment {
    bool inside = false;     /* a kernel's thread runs, and not the host */
    unsigned thread = 0;     /* its number in the block */
    uint64_t time = 1;       /* now; the others are times of the past, 0 before there were any */
    uint64_t settled = 0;    /* what was done to device memory before is ordered before all that this work does */
    uint64_t work_start = 0, block_start = 0, barrier = 0;
    uint64_t warp_sync[CUDASIM_MAX_THREADS / CUDASIM_LANES] = {};
    uintptr_t stack = 0, stack_size = 0;         /* of the thread */
    uintptr_t arguments = 0, argument_bytes = 0; /* of the launch */
    const cudasim_limits *limits = nullptr;      /* none: any device memory */
};
extern cudasim_moment cudasim_now;

/* A launch, as it was asked for. */
struct cudasim_work {
    cudasim_kernel place;
    const void *kernel;
    dim3 grid, block;
    size_t shared;
    void (*call)(const void *kernel, const void *arguments);
    std::vector<unsigned char> arguments;
    std::shared_ptr<const cudasim_limits> limits;
};

/* ---- block.cpp ---- */

/* Runs all blocks. False: there was a fault, which cudasim_fault has noted. */
bool cudasim_run(const cudasim_work &work);

/* From inside of a kernel: notes what is wrong and gives the launch up. `code` is the address in the kernel that did
 * it. */
[[noreturn]] void cudasim_fault(const void *code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- runtime.cpp ---- */

/* Notes the first fault; it stays the device's error until cudasim_reset. */
void cudasim_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

cudaError_t cudasim_state();                    /* cudaSuccess, or that there was a fault */
cudaError_t cudasim_refuse(cudaError_t reason); /* a call that was not understood; returns the reason */

/* Notes what is wrong with memory that `what` was given, if anything is. */
bool cudasim_complains(const char *what, const void *memory, size_t bytes, bool device);

/* The work of a library on a stream: done in its turn, with device memory open to the host. Each range must be
 * device memory, what is read must have been written before, and what is written counts as written afterwards; a
 * range that is read and written stands in both. `what` names the work in faults. */
struct cudasim_span {
    const void *memory;
    size_t bytes;
};
cudaError_t cudasim_library(cudaStream_t stream, const char *what, std::vector<cudasim_span> reads,
                            std::vector<cudasim_span> writes, std::function<void()> work);

/* ---- memory.cpp ---- */

enum : uintptr_t { CUDASIM_WORD = 4 };

struct cudasim_cell {
    uint64_t write, read; /* access.cpp knows what they mean; 0: never */
};

struct cudasim_allocation {
    uintptr_t start, end;
    bool live;
};

struct cudasim_device {
    uintptr_t base, span;
    cudasim_cell *cells;  /* one for each word from base on */
    cudasim_cell *uppers; /* of the upper halves of words whose halves differ */
};
extern cudasim_device cudasim_memory;

void *cudasim_memory_take(size_t bytes); /* aligned to a page; NULL: none left */
bool cudasim_memory_give(void *memory);  /* false: not the start of a live allocation */
void cudasim_memory_left(size_t *left, size_t *all);

/* The allocation on whose pages an address in the device's span lies, live or not; NULL: none. */
const cudasim_allocation *cudasim_memory_find(uintptr_t at);

/* The host may touch device memory only between these, where the simulator does it for a copy or a kernel. */
void cudasim_memory_open();
void cudasim_memory_close();

/* What is wrong with [memory, memory + bytes) as memory of the device, or of the host; NULL: nothing. */
const char *cudasim_memory_complaint(const void *memory, size_t bytes, bool device);

/* ---- access.cpp ---- */

enum cudasim_access { CUDASIM_READ, CUDASIM_WRITE, CUDASIM_CHANGE }; /* a change is atomic */

/* A read or write of all of a range of device memory by work that is no kernel. NULL, or what is wrong with it:
 * "reads byte ...". */
const char *cudasim_memory_touch(const void *memory, size_t bytes, cudasim_access how);

/* The shared memory of a block that begins, with the launch's dynamic array. */
void cudasim_shared_begin(size_t dynamic);

#pragma GCC visibility pop

#endif
