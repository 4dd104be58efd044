/* How good a classifier is on labelled samples. */
#ifndef DUET_EXPERIMENTS_JUDGE_H
#define DUET_EXPERIMENTS_JUDGE_H

#include "experiments/examples.h"

typedef struct dt_verdict {
    double accuracy, loss; /* loss: mean cross-entropy, without smoothing */
    size_t n;
} dt_verdict;

/* The model's head on the samples numbered rows [count]; NULL: all of them. */
bool dt_judge(dt_model *model, const dt_backend *backend, const dt_examples *examples, const size_t *rows, size_t count,
              dt_verdict *verdict, dt_error *error);

/* All samples in full: what eval/assessment.h finds, under that name. The caller owns the object. */
json_t *dt_judge_fully(dt_model *model, const dt_backend *backend, const dt_examples *examples, const char *name, uint64_t seed,
                       dt_error *error);

#endif
