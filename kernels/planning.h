/* The passes of planning, between plan.c and its two helpers. */
#ifndef DUET_KERNELS_PLANNING_H
#define DUET_KERNELS_PLANNING_H

#include "kernels/op.h"

/* The nodes that a plan runs, in order (leaves excepted), and how often each tensor id is read or kept. */
typedef struct dt_schedule_list {
    dt_graph *graph;
    dt_arena *arena;
    const dt_node **node;
    int count;
    int *uses;
} dt_schedule_list;

/* Joins nodes: activation and residual sum into the linear layer before them, neighbouring pointwise nodes into chains.
 * False: no memory. */
bool dt_fuse(dt_schedule_list *list);

/* A stretch of memory that is needed from position `first` to `last` (inclusive) of a schedule. */
typedef struct dt_interval {
    size_t size;   /* bytes, a multiple of the alignment */
    int first, last;
    size_t offset; /* the answer */
} dt_interval;

/* Places intervals so that those that live together do not overlap. Returns the bytes needed; *live is the
 * largest sum of sizes alive at one position. SIZE_MAX: no memory to think with. */
size_t dt_place(dt_interval *interval, int count, int positions, size_t *live);

#endif
