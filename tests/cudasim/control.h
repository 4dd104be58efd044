/* What a test may ask of the simulator beyond the CUDA runtime. Every fault becomes the device's error: runtime calls return
 * cudaErrorLaunchFailure, and cudaGetErrorString tells it. */
#ifndef DUET_TESTS_CUDASIM_CONTROL_H
#define DUET_TESTS_CUDASIM_CONTROL_H

#include <stddef.h>

/* In which order the threads of a block, and blocks, take their turns. CUDASIM_CHANGING, the default, is a different one of the
 * others at each launch. */
typedef enum { CUDASIM_CHANGING, CUDASIM_FORWARD, CUDASIM_REVERSE, CUDASIM_RANDOM } cudasim_turns;
void cudasim_set_order(cudasim_turns turns);

/* Bytes of device memory in all; 8 GiB unless told. */
void cudasim_set_memory(size_t bytes);

/* Forgets a fault and what is queued; memory stays allocated. */
void cudasim_reset(void);

/* The only parts that launches, enqueued from now on, may touch of the allocations in which these parts lie. NULL or count
 * < 0: no limit. */
enum { CUDASIM_RANGES = 32 };
typedef struct cudasim_range {
    const void *start;
    size_t bytes;
    bool writable;
} cudasim_range;
typedef struct cudasim_limits {
    int count;
    cudasim_range range[CUDASIM_RANGES];
} cudasim_limits;
void cudasim_limit(const cudasim_limits *limits);

#endif
