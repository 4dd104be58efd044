/* Whether a classifier sees in conditional samples what they were made to show. */
#ifndef DUET_EVAL_CONSISTENCY_H
#define DUET_EVAL_CONSISTENCY_H

#include <jansson.h>

#include "eval/features.h"
#include "eval/picture_set.h"

/* *share: of the pictures, those that the classifier (a model with a head on its image tower) gives the label they
 * were made for: labels [pictures->count], -1 of a picture that does not count. names [name_count] says which class
 * each label means, and is matched with the head's names; NULL: labels number the head's classes. Of `options`
 * (NULL: all defaults) backend, batch, threads and progress count.
 *
 * *found (NULL: not wanted) becomes {"figures": [{"key": "consistency", "name": "SET: label consistency", ...}]},
 * with the chance level and the 95 % bootstrap interval, for eval/findings.h; `checkpoint` is what its note calls
 * the classifier. The caller owns it. False: the model is no classifier of images, a label or name that it does not
 * know, scores that are no numbers. */
bool dt_label_consistency(dt_model *classifier, const dt_picture_set *pictures, const int32_t *labels, const char *const *names,
                          size_t name_count, const dt_features_options *options, const char *set, const char *checkpoint,
                          double *share, json_t **found, dt_error *error);

#endif
