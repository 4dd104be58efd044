/* What all measurements of `duet bench` have in common: the clock, the machine's own matrix rate, where the time of a plan went,
 * and how much memory was taken. */
#ifndef DUET_EXPERIMENTS_BENCH_TIMING_H
#define DUET_EXPERIMENTS_BENCH_TIMING_H

#include "data/json.h"
#include "kernels/plan.h"

/* FLOP/s of a large square product (2048^3, on a device up to 8192^3) in the backend's precision, best of `rounds`: the rate that nothing there
 * can beat. 0: no memory. */
double dt_matrix_rate(const dt_backend *backend, int rounds);

/* Seconds a step. Where other programs want the machine too, the processors' time still tells: on one thread it is what a step
 * would take alone. */
typedef struct dt_step_times {
    double median, mean;
    double processor; /* the median of the time that all threads spent */
} dt_step_times;

/* Runs `step` that many times; the caller has run it once before, which is slower than the rest. */
bool dt_time_steps(bool (*step)(void *self, dt_error *error), void *self, int steps, dt_step_times *times, dt_error *error);

/* The same, with the plans' profiles on, so that dt_op_times_of tells where the time went. On a device a profile waits for each kernel, so
 * there the steps are timed first, and done again for the profile. */
bool dt_time_plans(bool (*step)(void *self, dt_error *error), void *self, int steps, dt_plan *const *plans, int count,
                   const dt_backend *backend, dt_step_times *times, dt_error *error);

/* Bytes that are taken of a device's memory, by whomever; 0: it does not say. */
double dt_device_taken(const dt_backend *backend);

/* Where the time of a plan went since dt_plan_profile(plan, true): seconds and FLOP of each op, slowest first, divided by `steps`. */
typedef struct dt_op_time {
    const char *name; /* the plan's */
    double seconds, flops;
} dt_op_time;

typedef struct dt_op_times {
    dt_op_time list[256];
    int count;
    double seconds; /* of all */
    double matrix;  /* of matrix products and convolutions */
} dt_op_times;

void dt_op_times_of(dt_op_times *times, const dt_plan *plan, int steps);
void dt_op_times_print(const dt_op_times *times); /* those of 0.2 % and more */
json_t *dt_op_times_json(const dt_op_times *times); /* [{"op", "seconds", "flops"}]; NULL: no memory */

/* Bytes of the process at its largest. */
double dt_peak_resident(void);

static inline double dt_mebibytes(double bytes)
{
    return bytes / 1048576;
}

#endif
