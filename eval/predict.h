/* What a classifier says of samples that nobody has labelled: the likeliest classes of each, with their
 * probabilities, as a stream of any length in the memory of a few batches.
 *
 *     dt_predictor *p = dt_predictor_new(model, dt_cpu(), 32, 3, &error);
 *     if (p && dt_predict_images(p, pairs, NULL, 0, &listener, &error)) ...
 *     dt_predictor_free(p);
 */
#ifndef DUET_EVAL_PREDICT_H
#define DUET_EVAL_PREDICT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "eval/classes.h"
#include "eval/dataset.h"
#include "eval/model.h"

typedef struct dt_guess {
    int32_t class;      /* of the model's head */
    double probability; /* softmax of the head's scores */
} dt_guess;

/* Who is told; false from either, with the error set, ends the stream. */
typedef struct dt_predict_listener {
    /* Sample `index`'s likeliest classes, best first, of equals the first one first; in the order of the samples. */
    bool (*named)(void *context, size_t index, const dt_guess *best, size_t count, dt_error *error);
    /* Sample `index` cannot be read; why names its file, but of a store not the pair. All that its batch refuses comes
     * before what it names. */
    bool (*refused)(void *context, size_t index, const dt_error *why, dt_error *error);
    void *context;
    dt_progress progress; /* of images, after each batch */
} dt_predict_listener;

/* For the tower that the model's head stands on; a model without a head is an error. Names the `top` likeliest
 * classes, or all there are. Borrows the model. */
typedef struct dt_predictor dt_predictor;
dt_predictor *dt_predictor_new(dt_model *model, const dt_backend *backend, int batch, size_t top, dt_error *error);
void dt_predictor_free(dt_predictor *predictor); /* NULL is allowed */

/* Names all images of a pair store, or of files; the other one is NULL. `threads` decode (0: one a processor). An
 * image that cannot be read is refused, and the others are named all the same. False: the model's scores are no
 * numbers, there is no memory, or the listener said so. */
bool dt_predict_images(dt_predictor *predictor, const dt_pairs *pairs, const dt_image_files *files, int threads,
                       const dt_predict_listener *listener, dt_error *error);

/* Names texts, which must be captions (dt_caption_check, data/pairs.h); none is refused. */
bool dt_predict_texts(dt_predictor *predictor, const char *const *texts, size_t count,
                      const dt_predict_listener *listener, dt_error *error);

#endif
