/* A whole linear probe: regulariser chosen, regression fitted, tested; few-shot curve and cross-validation
 * where wanted.
 *
 *     dt_probe_result result;
 *     if (dt_probe_run(&result, &train, NULL, &test, &settings, &error))
 *         json_t *found = dt_probe_json(&result, &error);      (eval/probe_json.h)
 *     dt_probe_result_free(&result);
 */
#ifndef DUET_EVAL_PROBE_RUN_H
#define DUET_EVAL_PROBE_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"
#include "eval/assessment.h"
#include "eval/features.h"
#include "eval/few_shot.h"
#include "eval/probe.h"

typedef struct dt_probe_settings {
    const char *set;    /* what to call the data: "CIFAR-10 test" */
    const char *method; /* and the probe: "probe" */
    double C;           /* 0: chosen on the validation part */
    double share;       /* of the training that is held out where there is no validation data */
    uint64_t seed;      /* of the part held out, the folds, the shots, the bootstrap */
    const size_t *shots;
    size_t shot_count, seeds; /* seeds: draws for each number of shots */
    int folds;                /* 0: none */
    dt_probe_options fits;
} dt_probe_settings;

typedef struct dt_probe_result { /* texts and settings are borrowed */
    dt_probe_settings settings;
    char *name; /* "SET, METHOD" */
    dt_probe_data data;
    const dt_features *test; /* NULL: there was none */
    dt_sweep sweep;          /* count 0: C was given */
    double sweep_seconds;
    double C;
    dt_logistic model;
    dt_logistic_facts facts;   /* of the last fit, of all rows */
    dt_assessment *assessment; /* of the test rows; NULL without */
    dt_shot_curve *shots;      /* NULL: not wanted */
    double shots_seconds;
    double *fold_accuracies; /* [settings.folds]; NULL: not wanted */
    size_t *fold_sizes;
    double fold_mean, fold_deviation, folds_seconds;
} dt_probe_result;

/* train, validation (may be NULL: a share of train is held out, if anything is to be chosen) and test (may be
 * NULL: nothing is tested; then there are no shots) lose their unlabelled rows (dt_features_labelled); train
 * also its other rows. They must live as long as the result, which the caller frees with
 * dt_probe_result_free, also after a failure. */
bool dt_probe_run(dt_probe_result *result, dt_features *train, dt_features *validation, dt_features *test,
                  const dt_probe_settings *settings, dt_error *error);
void dt_probe_result_free(dt_probe_result *result); /* zeroes it */

#endif
