/* One contrastive training step: both towers, the loss over all pairs of the batch, all gradients, one update.
 *
 * With chunks (gradient caching: Gao et al., "Scaling deep contrastive learning batch size under memory limited setup",
 * 2021) a batch of any size takes the memory of one chunk: every chunk is encoded once without gradients, the loss over all
 * embeddings gives their gradients, then every chunk is encoded again and those are carried back. The result is
 * that of the whole batch, to rounding. */
#ifndef DUET_EXPERIMENTS_TRAINER_H
#define DUET_EXPERIMENTS_TRAINER_H

#include "eval/model.h"
#include "experiments/train_config.h"
#include "kernels/plan.h"

typedef struct dt_trainer dt_trainer;

typedef struct dt_trainer_options {
    int batch_size, chunk_size; /* chunk 0: whole batches; else it divides the batch */
    dt_loss_kind loss;
    dt_optimizer_config optimizer;
    double max_logit_scale; /* logit_scale is kept in [0, this] after each update */
    uint64_t seed;          /* of random ops */
    bool bytes;             /* images come as pixels, which the plan normalises by mean and std (dt_transform.bytes) */
    float mean[3], std[3];
} dt_trainer_options;

/* Borrows model and backend. */
dt_trainer *dt_trainer_new(dt_model *model, const dt_backend *backend, const dt_trainer_options *options,
                           dt_error *error);
void dt_trainer_free(dt_trainer *trainer); /* NULL is allowed */

typedef struct dt_step_result {
    double loss;        /* before the update */
    double grad_norm;   /* of all gradients, before clipping */
    double logit_scale; /* after the update: the logarithm of the inverse temperature */
} dt_step_result;

/* images float32 [batch, size, size, 3], or uint8 where the options say bytes; tokens int32 [batch, context]. A loss or
 * gradient that is not finite is an error, and the parameters stay as they were. */
bool dt_trainer_step(dt_trainer *trainer, const void *images, const int32_t *tokens, float learning_rate,
                     dt_step_result *result, dt_error *error);

/* The same in three parts, for who fetches the next batch while a device computes: give a batch, which must stay as it is until begin is
 * back; begin the step with it; end the step. Between begin and end the next batch may be given. */
bool dt_trainer_give(dt_trainer *trainer, const void *images, const int32_t *tokens, dt_error *error);
bool dt_trainer_begin(dt_trainer *trainer, dt_error *error);
bool dt_trainer_end(dt_trainer *trainer, float learning_rate, dt_step_result *result, dt_error *error);

/* For checkpoints: its count of steps is that of the run. */
dt_optimizer *dt_trainer_optimizer(dt_trainer *trainer);

/* The plan that does most of the work, for measurements. */
dt_plan *dt_trainer_plan(dt_trainer *trainer);

#endif
