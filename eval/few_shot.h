/* The few-shot probe: how the linear probe's accuracy grows with the number of training images of a class. */
#ifndef DUET_EVAL_FEW_SHOT_H
#define DUET_EVAL_FEW_SHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"
#include "eval/probe.h"

enum { DT_SHOTS_MAX = 32, DT_SHOT_SEEDS_MAX = 64 };

typedef struct dt_shot { /* one choice of images */
    double C, accuracy;  /* on the test rows */
    bool converged;      /* the fit whose accuracy it is */
} dt_shot;

typedef struct dt_shot_point {
    size_t shots; /* training images of each class */
    dt_shot of_seed[DT_SHOT_SEEDS_MAX];
    double mean, deviation; /* of the accuracies over the seeds */
} dt_shot_point;

typedef struct dt_shot_curve {
    dt_shot_point points[DT_SHOTS_MAX]; /* by ascending shots */
    size_t count, seeds;
    size_t tested; /* rows */
} dt_shot_curve;

/* Whether there are so many rows to fit of every class; the message names the class that has too few. */
bool dt_shots_check(const dt_probe_data *data, const size_t *shots, size_t count, dt_error *error);

/* For each number of shots [count], in ascending order and once each, and each of the seeds first_seed, first_seed + 1, ...
 * draws that many of the rows to fit of every class (dt_few_shot; the fewer of a seed are among its more), fits them alone
 * and tests. C 0: chosen anew for each draw, on the validation part. Refused: what dt_shots_check refuses. */
bool dt_shot_curve_run(dt_shot_curve *curve, const dt_probe_data *data, const dt_features *test,
                       const size_t *shots, size_t count, size_t seeds, uint64_t first_seed, double C,
                       const dt_probe_options *options, dt_error *error);

#endif
