/* What a training run evaluates as it goes: the entries of the configuration's `evaluate.sets`, each
 *
 *     {"name": "held-out people",      put before its figures
 *      "data": "packed/x.lmdb",        a pair store or a folder (eval/dataset.h)
 *      "classes": "classes.json",      as duet zeroshot --classes; absent: those of the data
 *      "templates": ["a photo of a {}."],
 *      "retrieval": true,              images and captions find each other
 *      "captions": 1,                  only the first so many captions of an image count; 0: all
 *      "queries": "queries.txt",       texts to find images for, one a line; at the end only
 *      "every_time": true}             also during the training, each `evaluate.every` steps
 *
 * Figures go to the log; at the end also to RUN/evaluation.json, which the report shows. */
#ifndef DUET_EXPERIMENTS_EVALUATION_H
#define DUET_EXPERIMENTS_EVALUATION_H

#include "eval/model.h"
#include "experiments/log.h"

typedef struct dt_evaluation dt_evaluation;

/* Checks the list and opens what it names, so that mistakes show before the training and not after it. Borrows model, backend,
 * list and run. */
dt_evaluation *dt_evaluation_new(dt_model *model, const dt_backend *backend, const json_t *sets, const char *run,
                                 dt_error *error);
void dt_evaluation_free(dt_evaluation *evaluation); /* NULL is allowed */

/* Evaluates with the parameters as they are now. `last`: the end of the run. */
bool dt_evaluation_run(dt_evaluation *evaluation, dt_logger *log, int64_t step, bool last, dt_error *error);

/* Writes RUN/report.html. */
bool dt_evaluation_report(dt_evaluation *evaluation, dt_error *error);

#endif
