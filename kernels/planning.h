/* What the files that make a plan (plan.c, fusion.c, memory.c) and those that run it (run.c, trouble.c) share. */
#ifndef DUET_KERNELS_PLANNING_H
#define DUET_KERNELS_PLANNING_H

#include "kernels/plan.h"
#include "kernels/store.h"

/* The nodes that a plan runs, in order (leaves excepted), and how often each tensor id is read or kept. */
typedef struct dt_schedule_list {
    dt_graph *graph;
    dt_arena *arena;
    const dt_node **node;
    int count;
    int *uses;
    int tensors; /* ids that are given out: those of the graph, and of what the planner adds */
} dt_schedule_list;

/* Joins nodes: activation and residual sum into the linear layer before them, neighbouring pointwise nodes into chains.
 * False: no memory. */
bool dt_fuse(dt_schedule_list *list);

/* For plans of DT_MIXED precision: decides which results are bfloat16, and puts casts where types differ. Adds nodes and
 * tensors to the list, whose ids follow those of the graph. False: no memory. */
bool dt_narrow_results(dt_schedule_list *list, const dt_backend *backend);

const dt_kernel *dt_kernel_of(const dt_backend *backend, const dt_op *op); /* NULL: there is none */

/* The tensor that x is a view of, or x. */
static inline const dt_tensor *dt_view_root(const dt_tensor *x)
{
    while (x->node->op->flags & DT_OP_VIEW)
        x = x->node->input[0];
    return x;
}

/* A stretch of memory that is needed from position `first` to `last` (inclusive) of a schedule. */
typedef struct dt_interval {
    size_t size;   /* bytes, a multiple of the alignment */
    int first, last;
    size_t offset; /* the answer */
} dt_interval;

/* Places intervals so that those that live together do not overlap. Returns the bytes needed; *live is the
 * largest sum of sizes alive at one position. SIZE_MAX: no memory to think with. */
size_t dt_place(dt_interval *interval, int count, int positions, size_t *live);

enum { DT_NOWHERE = -1 };

typedef struct dt_plan_step {
    const dt_kernel *kernel; /* NULL: nothing to run (a view, or a store whose value is in place already) */
    dt_call call;
    double flops;
    int timing;    /* its entry in the table of times */
    int workspace; /* its storage; DT_NOWHERE: none asked for */
} dt_plan_step;

/* Where a tensor's bytes are. Views and in-place results share the entry of what they stand on. */
typedef struct dt_storage {
    size_t size;
    int first, last;
    bool given; /* parameters, inputs, constants, gradient buffers: memory outside of the block */
    char *memory;
} dt_storage;

/* What dt_plan_stage was given for an input. */
typedef struct dt_staged {
    const dt_tensor *input;
    const void *host; /* NULL: nothing for the next run */
    void *there;      /* where a device gets it */
} dt_staged;

enum { DT_MAX_STAGED = 8 };

typedef struct dt_timing {
    const char *name;
    double seconds, flops;
} dt_timing;

struct dt_plan {
    dt_graph *graph;
    const dt_backend *backend;
    dt_plan_options options;
    dt_arena *arena;
    dt_schedule_list list;
    dt_plan_step *step;
    int *place; /* tensor id -> storage; DT_NOWHERE: not needed */
    int *last;  /* tensor id -> last position that reads it or a view of it */
    dt_storage *store;
    int stores, capacity;
    void **owned; /* device memory of inputs and constants */
    int owns;
    char *block;
    unsigned reads, writes; /* parts of the parameters, as dt_params_part */
    bool replays;           /* the backend may record this plan's run */
    dt_staged staged[DT_MAX_STAGED];
    int stages;
    bool ran;               /* once, kernel by kernel */
    void *recording;
    dt_plan_facts facts;
    dt_timing *timings;
    int timed;
    bool profile;
    char fault[DT_MESSAGE], message[DT_MESSAGE * 3];
};

static inline size_t dt_bytes_of(const dt_tensor *x)
{
    return (size_t)dt_count(&x->shape) * dt_dtype_size(x->dtype);
}

/* The store of a buffer, which is done when the run ends. */
static inline bool dt_updates_buffer(const dt_node *node)
{
    return node->op == &dt_op_store && ((const dt_store *)node->attributes)->target == DT_STORE_BUFFER;
}

/* "OP (in LABEL)TEXT", kept in plan->message. */
const char *dt_plan_says(dt_plan *plan, const dt_node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
