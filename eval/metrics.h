/* How often scores name the right class: top-k accuracy, precision and recall by class, confusion. Rows come
 * in blocks, so that the whole matrix of samples x classes never stands in memory.
 *
 * A sample's rank is the number of classes before its own when they are sorted by score, of equal scores the
 * class of the lower number first; it counts for top-k when its rank is below k. The prediction is the class
 * of rank 0. So a model that cannot tell classes apart is right by chance only. */
#ifndef DUET_EVAL_METRICS_H
#define DUET_EVAL_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"
#include "eval/precision_recall.h"

typedef struct dt_classification dt_classification;

/* Counts nothing yet. `confusion` keeps a table of classes x classes too. The caller frees. NULL: no classes,
 * more than INT32_MAX of them, or no memory. */
dt_classification *dt_classification_new(size_t classes, bool confusion, dt_error *error);
void dt_classification_free(dt_classification *counts); /* NULL is allowed */

/* Adds rows of scores [rows, classes], one after the other, with their labels [rows] in 0 .. classes-1.
 * `predictions` [rows] gets the predicted classes; NULL: not wanted. A label out of range (-1, no label,
 * included) and a score that is not a number are errors; rows before the bad one have then been counted. */
bool dt_classification_add(dt_classification *counts, const float *scores, size_t rows, const int32_t *labels,
                           int32_t *predictions, dt_error *error);

/* Adds one row: *predicted gets its predicted class, *rank the rank of its own. */
bool dt_classification_add_row(dt_classification *counts, const float *scores, int32_t label,
                               int32_t *predicted, size_t *rank, dt_error *error);

/* The share of rows whose rank is below k; k beyond the classes gives 1. Without rows: 0. */
double dt_classification_top(const dt_classification *counts, size_t k);

/* dt_mean_recall, dt_prf_of and dt_prf_mean (eval/precision_recall.h) of the counts. */
double dt_classification_mean_recall(const dt_classification *counts, size_t *seen);
dt_prf dt_classification_prf(const dt_classification *counts, size_t class);
dt_prf_means dt_classification_means(const dt_classification *counts);

/* Rows of each class [classes]. Borrowed, as the next. */
const size_t *dt_classification_support(const dt_classification *counts);

/* [classes, classes], true class by predicted class; NULL when it was not asked for. */
const size_t *dt_classification_confusion(const dt_classification *counts);

#endif
