/* The end of a fine-tuning run: the best weights, the tests, the way between the old and the new weights, the report. */
#ifndef DUET_EXPERIMENTS_FINETUNE_RESULTS_H
#define DUET_EXPERIMENTS_FINETUNE_RESULTS_H

#include "experiments/finetune_data.h"
#include "experiments/interpolation.h"
#include "experiments/log.h"

typedef struct dt_finetune_end { /* everything is borrowed */
    const char *folder; /* of the run */
    dt_model *model;    /* as training left it; afterwards the best */
    const dt_finetune_data *data;
    const dt_snapshot *start; /* the weights before training; NULL: no interpolation */
    int interpolate;          /* points between start and end */
    uint64_t seed;            /* of the bootstrap */
    dt_logger *log;
} dt_finetune_end;

/* Writes model.safetensors (of the best epoch, which lies in best.safetensors, where there is validation), evaluation.json,
 * report.html and, after an interpolation with validation, interpolated.safetensors: the weights that are best on it. May be
 * repeated on a run that is finished. */
bool dt_finetune_finish(const dt_finetune_end *end, dt_error *error);

#endif
