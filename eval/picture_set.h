/* Pictures of one size that lie in memory as pixels, such as a generator draws, on their way to a model. */
#ifndef DUET_EVAL_PICTURE_SET_H
#define DUET_EVAL_PICTURE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"
#include "eval/dataset.h"
#include "eval/model.h"

typedef struct dt_picture_set { /* borrows the pixels */
    const uint8_t *pixels;      /* [count, height, width, channels] */
    size_t count;
    int height, width;
    int channels; /* 1: grey; 3: RGB */
} dt_picture_set;

/* Encodes all of them, in order, into rows [count, dt_encoder_width], each transformed by the model's preprocess as
 * a decoded picture file would be, on `threads` threads (0: one a processor). False: a size or a number of channels
 * that no picture has, no memory, or the encoder failed. */
bool dt_picture_set_encode(const dt_picture_set *set, const dt_model *model, dt_encoder *encoder, int threads, float *rows,
                           dt_progress progress, dt_error *error);

#endif
