/* Scratch memory for each thread of a kernel: a slice of the call's workspace. The number of threads is
 * settled when the plan is made, and the kernel runs with as many, whatever the settings are by then. */
#ifndef DUET_KERNELS_CPU_SCRATCH_H
#define DUET_KERNELS_CPU_SCRATCH_H

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/backend.h"

typedef struct dt_scratch {
    int threads;
    size_t slice; /* bytes, a multiple of 64 */
} dt_scratch;

/* For prepare: `bytes` for each of at most `items` threads (more would have nothing to do). */
static inline bool dt_scratch_ask(dt_preparation *preparation, size_t bytes, int64_t items)
{
    dt_scratch *scratch = malloc(sizeof *scratch);
    if (!scratch) {
        snprintf(preparation->message, sizeof preparation->message, "out of memory while planning");
        return false;
    }
    scratch->threads = omp_get_max_threads();
    if (scratch->threads > items)
        scratch->threads = (int)items;
    scratch->slice = (bytes + 63) / 64 * 64;
    preparation->state = scratch;
    preparation->workspace = scratch->slice * (size_t)scratch->threads;
    return true;
}

/* For run: num_threads of its parallel region. */
static inline int dt_scratch_threads(const dt_call *call)
{
    return ((const dt_scratch *)call->state)->threads;
}

/* Inside the region: this thread's slice, aligned to 64 bytes. */
static inline void *dt_scratch_mine(const dt_call *call)
{
    return (char *)call->workspace + ((const dt_scratch *)call->state)->slice * (size_t)omp_get_thread_num();
}

/* What all threads share: whatever prepare added to the workspace after dt_scratch_ask, aligned to 64 bytes.
 */
static inline void *dt_scratch_shared(const dt_call *call)
{
    const dt_scratch *scratch = call->state;
    return (char *)call->workspace + scratch->slice * (size_t)scratch->threads;
}

/* For release: free. */

#endif
