/* A linear probe's results as JSON and as a file. */
#ifndef DUET_EVAL_PROBE_JSON_H
#define DUET_EVAL_PROBE_JSON_H

#include <jansson.h>
#include <stdbool.h>

#include "data/error.h"
#include "eval/probe_run.h"

/* In the shape of eval/findings.h: dt_assessment_json's lists, where there was a test, and
 *
 *   "figures"  also  "SET: few-shot METHOD, 4 per class", "NAME: 5-fold accuracy"
 *   "curves"         "NAME: choice of C" (accuracy on the validation part), "SET: few-shot METHOD"
 *   "tables"   also  "SET: few-shot METHOD", "NAME: folds"
 *
 * and beside them {"probe": {"train", "test", "features" (a row), "classes", "rows" (fitted), "validated",
 * "C", "iterations", "converged", "seconds" (of the last fit), "sweep_seconds"}}. The caller owns the
 * reference. NULL: no memory, a name that is not UTF-8. */
json_t *dt_probe_json(const dt_probe_result *result, dt_error *error);

/* Writes "weight" [classes, features] and "bias" [classes], float32, with "classes" (a JSON list of names), "C",
 * "features" (`layer`: what the rows were) and "train" (path of the training data) in the metadata. Atomic. */
bool dt_probe_save(const dt_probe_result *result, const char *layer, const char *path, dt_error *error);

#endif
