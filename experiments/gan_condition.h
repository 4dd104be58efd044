/* What a generator is told to draw: a class, or a text by its embedding from another model's text tower. A model that has been trained
 * so says it in its description, "generator": {"classes": [names]} or {"text": {"weights": path, "fingerprint": its hash, "template":
 * text, "prompts": [texts]}}. */
#ifndef DUET_EXPERIMENTS_GAN_CONDITION_H
#define DUET_EXPERIMENTS_GAN_CONDITION_H

#include "data/loader.h"
#include "eval/model.h"

typedef struct dt_conditions {
    dt_condition kind;
    const dt_backend *backend; /* of the text tower */
    size_t width;      /* numbers of a vector; 1 for a class */
    json_t *names;     /* of classes, or prompts: what pictures are shown for; owned */
    dt_model *text;    /* vectors: whose text tower; owned */
    dt_encoder *encoder;
    void *room;        /* of one batch */
    int batch;
} dt_conditions;

/* For training: completes the description (vision_cfg.condition: {"kind": "class"} gets the data's classes, {"kind": "vector"} the width of the
 * text embedding) and says in it what it will be conditioned on. weights: of the text tower, where vectors are asked for; NULL: none. The backend is
 * borrowed, here and below. quiet: as dt_load_weights has it. */
bool dt_conditions_train(dt_conditions *c, const dt_backend *backend, json_t *description, const dt_pairs *pairs,
                         const char *weights, const char *template, int batch, bool quiet, dt_error *error);

/* For drawing: as the model's description has it; weights: of the text tower, in place of those (NULL: those). */
bool dt_conditions_draw(dt_conditions *c, const dt_backend *backend, const dt_model *model, const char *weights,
                        bool quiet, dt_error *error);
void dt_conditions_free(dt_conditions *c); /* zeroes it; a zeroed one is allowed */

/* Of each sample of a training batch: int32 [batch] or float32 [batch, width], borrowed until the next call; NULL on failure. Not for
 * DT_CONDITION_NONE. */
const void *dt_conditions_of(dt_conditions *c, const dt_batch *batch, dt_error *error);

/* The condition of one class name, or of a prompt, written to `row`: an int32 or `width` floats. */
bool dt_condition_named(dt_conditions *c, const char *name, void *row, dt_error *error);

/* As the data has them, of `count` pictures evenly spread over it: for measuring, where conditions must be as frequent as there. Rows that
 * the caller frees; NULL on failure. */
void *dt_conditions_spread(dt_conditions *c, const dt_pairs *pairs, const char *template, size_t count, dt_error *error);

size_t dt_condition_bytes(const dt_conditions *c); /* of one row; 0: none */

#endif
