/* What a run's generated pictures are worth, by the "measure" of its configuration: distances to the test images (without any: to the
 * training images) in the space of a named model, and whether a classifier sees what they were made to show. */
#ifndef DUET_EXPERIMENTS_MEASURE_H
#define DUET_EXPERIMENTS_MEASURE_H

#include "experiments/generative.h"

/* Whether what a run will be measured with can be opened, before it trains for hours. */
bool dt_measure_check(const dt_generative *run, const char *command, const char *classifier, dt_error *error);

typedef struct dt_drawn {
    const char *name; /* what figures call them: "samples" */
    const float *pictures; /* [count, side, side, channels], from `low` to 1 */
    size_t count;
    int side, channels;
    float low;
    const int32_t *labels; /* [count], what each was made to show; NULL: not stated */
    const json_t *classes; /* names of the labels */
} dt_drawn;

/* Says the figures and puts them into the run's evaluation.json. Without "measure.weights" no distance is taken, without a classifier
 * (a path; NULL) or labels no consistency. */
bool dt_measure_drawn(const dt_generative *run, const char *command, const dt_drawn *drawn, const char *classifier, dt_error *error);

/* Floats from `low` to 1 as bytes, rounded; the caller frees. NULL: no memory. */
uint8_t *dt_picture_bytes(const float *pictures, size_t numbers, float low);

/* The first path of data.train. */
const char *dt_first_train(const dt_generative_config *config);

#endif
