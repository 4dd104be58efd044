/* What a linear probe is trained and tested on: rows of features with one numbering of the classes. */
#ifndef DUET_EVAL_PROBE_DATA_H
#define DUET_EVAL_PROBE_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"
#include "eval/features.h"

typedef struct dt_probe_data {
    const char *source; /* of the training data, for messages; borrowed */
    float *x;           /* [n, dim]: the training rows, then those of a validation set */
    int32_t *labels;    /* [n] in 0 .. class_count-1 */
    size_t n, dim;
    size_t trained;     /* how many of them are the training data's own */
    size_t *fit, *held; /* numbers of the rows to fit and of those to validate with, ascending */
    size_t fit_count, held_count;
    char **classes; /* [class_count] the classes that occur in training, in the order of their labels there */
    size_t class_count;

    int32_t *class_of_label; /* [labels] of the training data, -1: does not occur */
    size_t label_count;
    bool named; /* the training data names its classes; without names they are matched by number */
} dt_probe_data;

/* Takes the rows of `train` over (all labelled: dt_features_labelled), which is left without rows. The caller
 * frees with dt_probe_data_free, also after a failure; train must live as long. Refused: fewer than two
 * classes that occur. */
bool dt_probe_data_new(dt_probe_data *data, dt_features *train, dt_error *error);
void dt_probe_data_free(dt_probe_data *data); /* zeroes it; a zeroed one is allowed */

/* Turns the labels of other rows into the training's classes: by name, or by number where either has no
 * names. Refused: another width, a class that no row of training has. */
bool dt_probe_data_match(const dt_probe_data *data, dt_features *other, dt_error *error);

/* Which rows validate: all of a validation set, which is copied behind the training rows; or a share of the
 * training, above 0 and below 1, class by class (dt_split). */
bool dt_probe_data_validate_on(dt_probe_data *data, dt_features *validation, dt_error *error);
bool dt_probe_data_hold_out(dt_probe_data *data, double share, uint64_t seed, dt_error *error);

/* The labels [n] of the rows to fit, -1 in place of the others: for what chooses rows by their labels. The
 * caller frees. */
int32_t *dt_probe_data_fit_labels(const dt_probe_data *data, dt_error *error);

/* Whether every class has `least` rows among labels [n] (-1: none); the message names the class, and what
 * they are needed for: "5 folds". */
bool dt_probe_data_enough(const dt_probe_data *data, const int32_t *labels, size_t n, size_t least,
                          const char *purpose, dt_error *error);

#endif
