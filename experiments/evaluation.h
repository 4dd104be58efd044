/* What a training run evaluates as it goes: the sets of the configuration's `evaluate.sets`, each
 *
 *     {"name": "...", "data": "x.lmdb", "classes": "classes.json", "templates": ["a photo of a {}."],
 *      "retrieval": true, "queries": "queries.txt", "every_time": true}
 *
 * Sets without every_time wait for the end. Figures go to the log; at the end also to RUN/evaluation.json and the report. */
#ifndef DUET_EXPERIMENTS_EVALUATION_H
#define DUET_EXPERIMENTS_EVALUATION_H

#include "eval/model.h"
#include "experiments/log.h"

typedef struct dt_evaluation dt_evaluation;

/* Checks the list and opens what it names, so that mistakes show before the training and not after it. Borrows model, list
 * and run. */
dt_evaluation *dt_evaluation_new(dt_model *model, const json_t *sets, const char *run, dt_error *error);
void dt_evaluation_free(dt_evaluation *evaluation); /* NULL is allowed */

/* Evaluates with the parameters as they are now. `last`: the end of the run. */
bool dt_evaluation_run(dt_evaluation *evaluation, dt_logger *log, int64_t step, bool last, dt_error *error);

/* Writes RUN/report.html. */
bool dt_evaluation_report(dt_evaluation *evaluation, dt_error *error);

#endif
