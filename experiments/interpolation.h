/* Between two sets of weights (WiSE-FT: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022). */
#ifndef DUET_EXPERIMENTS_INTERPOLATION_H
#define DUET_EXPERIMENTS_INTERPOLATION_H

#include "eval/model.h"

/* Parameters and buffers of a model at one moment. */
typedef struct dt_snapshot {
    float *values, *buffers;
} dt_snapshot;

bool dt_snapshot_take(dt_snapshot *snapshot, const dt_model *model, dt_error *error);
void dt_snapshot_free(dt_snapshot *snapshot); /* zeroes it; a zeroed one is allowed */

/* The model's parameters and buffers become (1 - share) a + share b: at 0 the bits of a, at 1 those of b. */
void dt_interpolate(dt_model *model, const dt_snapshot *a, const dt_snapshot *b, double share);

#endif
