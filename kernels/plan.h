/* Running a graph. A plan fixes the order, drops what no result needs, joins nodes that one kernel can do, gives every
 * intermediate a place in one block of memory by the time that it lives, and settles library descriptors once;
 * dt_plan_run then replays it. A plan belongs to one set of shapes. */
#ifndef DUET_KERNELS_PLAN_H
#define DUET_KERNELS_PLAN_H

#include "kernels/backend.h"
#include "kernels/graph.h"
#include "kernels/params.h"

typedef struct dt_plan dt_plan;

typedef struct dt_plan_options {
    bool no_fusion; /* one kernel a node: for tests and for finding faults */
    bool no_replay; /* kernel by kernel each time, where a backend could record a run and replay it */
    int64_t batch;  /* for the message that there is no memory: how many samples the inputs hold; 0: not said */
} dt_plan_options;

/* Plans what dt_keep, dt_store_gradients and dt_update ask of g. Borrows g, its parameters (which must be
 * allocated) and the backend; g must not be recorded into while the plan lives. `options` may be NULL. On an error the result
 * is NULL and dt_graph_error(g) says why. */
dt_plan *dt_plan_new(dt_graph *g, const dt_backend *backend, const dt_plan_options *options);
void dt_plan_free(dt_plan *plan);

/* Copies the whole of an input from host memory, or of an input or kept tensor to it. Other tensors have no
 * memory of their own: asking for one is a programming error and returns false. */
bool dt_plan_write(dt_plan *plan, const dt_tensor *input, const void *host);
bool dt_plan_read(const dt_plan *plan, const dt_tensor *kept, void *host);

/* As dt_plan_write, but at the start of the next run, and a device copies meanwhile: `host` must stay as it is until dt_plan_start is back.
 * False also where there is no memory for it. */
bool dt_plan_stage(dt_plan *plan, const dt_tensor *input, const void *host);

/* Where the backend has an input or kept tensor; NULL: nowhere. */
const void *dt_plan_at(const dt_plan *plan, const dt_tensor *kept);

/* Runs everything once; random ops draw the numbers of (seed, step). Returns NULL, or what went wrong: a text that
 * lives until the next run. Gradients and buffers may then be partly written. */
const char *dt_plan_run(dt_plan *plan, uint64_t seed, uint32_t step);

/* The same in two parts, for who has other things to do while a device computes: dt_plan_start asks for the run (the CPU has done
 * it when the call is back), dt_plan_finish waits for it. The inputs must not be written between. After a start that returned an error
 * nothing is left to wait for. */
const char *dt_plan_start(dt_plan *plan, uint64_t seed, uint32_t step);
const char *dt_plan_finish(dt_plan *plan);

/* Which float32 tensor first holds a number that is not finite: runs everything once more on the inputs that lie there, looks at
 * what each kernel reads that it was given and at all that it makes, and stops where something is found. Returns NULL (all is
 * finite), or a text that lives until the next run, such as
 *     conv (in discriminator.conv2) gave inf at 1234 of [64, 16, 16, 128]
 *     the parameter generator.fc.weight holds nan at 3 of [512, 100]    (or: the input, the buffer)
 * with the place counted in row-major order. A chain of pointwise ops has the names of its parts: "exp, mul (in ...)"; a gradient's kernel
 * has the label of the op that it differentiates. Gradients and buffers stay as they are; kept tensors do not. To be called before
 * parameters change: what a step of the optimizer has spoilt is all that would be found. */
const char *dt_plan_trouble(dt_plan *plan, uint64_t seed, uint32_t step);

typedef struct dt_plan_facts {
    int nodes;              /* recorded and needed */
    int kernels;            /* run, after fusion */
    size_t planned_bytes;   /* the block of intermediates and workspaces */
    size_t live_bytes;      /* the largest sum of what lives at one time: no plan can be smaller */
    size_t input_bytes;     /* inputs and constants, beside it */
    bool recorded;          /* a device replays a recording of the run, from the second on */
    double flops;           /* matrix products and convolutions of one run, a multiply-add counted as two */
} dt_plan_facts;
dt_plan_facts dt_plan_describe(const dt_plan *plan);

/* Time spent by op, in seconds, since dt_plan_profile(plan, true). Entry i of 0.. until NULL is returned. */
void dt_plan_profile(dt_plan *plan, bool on);
const char *dt_plan_time(const dt_plan *plan, int i, double *seconds, double *flops);

#endif
