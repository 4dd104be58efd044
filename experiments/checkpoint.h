/* Checkpoints of a training run: RUN/checkpoints/step-N.safetensors with parameters, buffers, the optimizer's state and the
 * run's counters. Data order, augmentation and dropout are functions of the step, so this is all that there is. */
#ifndef DUET_EXPERIMENTS_CHECKPOINT_H
#define DUET_EXPERIMENTS_CHECKPOINT_H

#include "eval/model.h"
#include "kernels/optimizer.h"

/* Numbers of a run that are neither the model's nor its optimizer's: another optimizer's state, a moving average. */
typedef struct dt_extra {
    char name[64]; /* "training.NAME", which readers of weights pass over */
    float *values; /* [count], borrowed */
    size_t count;
} dt_extra;

/* Beside the tensors: how many steps the run has in all (settled early in a run that is limited in time). */
typedef struct dt_run_state {
    uint64_t step;        /* done */
    int64_t total_steps;
    bool settled;         /* total_steps will not change any more */
    double seconds;       /* of training so far */
    double best;          /* of a run that keeps its best: the score on validation; NaN: none yet */
    uint64_t best_step;   /* when it was reached */
    const dt_extra *extras; /* written and restored with the rest; borrowed */
    size_t extra_count;
} dt_run_state;

/* Writes the checkpoint of state->step atomically, then removes all but the newest `keep`. */
bool dt_checkpoint_save(const char *run, const dt_model *model, dt_optimizer *optimizer, const dt_run_state *state,
                        int keep, dt_error *error);

/* Restores from the newest checkpoint, which must be there. */
bool dt_checkpoint_restore(const char *run, dt_model *model, dt_optimizer *optimizer, dt_run_state *state,
                           dt_error *error);

/* Behind what went wrong in a training: where one can go on from. Always false. */
bool dt_checkpoint_tell(const char *run, dt_error *error);

/* Removes all checkpoints. */
bool dt_checkpoint_clear(const char *run, dt_error *error);

#endif
