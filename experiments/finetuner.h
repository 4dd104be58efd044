/* One step of training a classifier: forward, backward, update. */
#ifndef DUET_EXPERIMENTS_FINETUNER_H
#define DUET_EXPERIMENTS_FINETUNER_H

#include "eval/model.h"
#include "kernels/optimizer.h"
#include "kernels/plan.h"

typedef struct dt_finetuner dt_finetuner;

typedef struct dt_finetuner_options {
    int batch_size;
    int layers;         /* blocks that are trained, from the last one on; 0: the head alone; -1: everything. Unless everything is
                           trained, batch norm keeps the statistics that it has */
    double layer_decay; /* learning rate of a block as a share of that of the one behind it; 1: the same everywhere */
    double smoothing;   /* of labels */
    double mixup;       /* alpha of the Beta distribution (Zhang et al., 2018); 0: none */
    dt_optimizer_config optimizer;
    uint64_t seed;
} dt_finetuner_options;

/* For a model with a head. Sets the rates of its parameters. Borrows model and backend. */
dt_finetuner *dt_finetuner_new(dt_model *model, const dt_backend *backend, const dt_finetuner_options *options,
                               dt_error *error);
void dt_finetuner_free(dt_finetuner *tuner); /* NULL is allowed */

typedef struct dt_finetune_result {
    double loss;
    double accuracy; /* of the batch, before the update; with mixup of the images' greater share */
    double grad_norm;
} dt_finetune_result;

/* samples and labels as dt_feed_next gives them. */
bool dt_finetuner_step(dt_finetuner *tuner, const void *samples, const int32_t *labels, double learning_rate,
                       dt_finetune_result *result, dt_error *error);

dt_optimizer *dt_finetuner_optimizer(dt_finetuner *tuner); /* its steps count the steps taken */

#endif
