/* Ways to part labelled rows at random that keep the classes' shares: k folds for cross-validation, a part
 * held out, a few rows of each class. All are pure functions of (labels, seed). A label below 0 is none: such
 * rows are in no fold, are not held out and are not chosen. Memory: 24 bytes a row. */
#ifndef DUET_EVAL_FOLDS_H
#define DUET_EVAL_FOLDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

/* Stratified k-fold: fold_of_row [n] gets 0 .. k-1, -1 without a label. The folds' sizes differ by at most
 * one, and so do the numbers of rows that each class has in them. Refused: k below 2 or above the labelled
 * rows, and a class that occurs but has fewer than k rows. */
bool dt_folds(const int32_t *labels, size_t n, int k, uint64_t seed, int32_t *fold_of_row, dt_error *error);

/* held [n] gets 1 for about `share` (above 0, below 1) of each class and 0 for the rest: of a class with
 * several rows at least one on either side; a class with a single row is not held out. Where no class needs
 * such help, the total is the share of the rows, rounded. Refused: no class with two rows. */
bool dt_split(const int32_t *labels, size_t n, double share, uint64_t seed, uint8_t *held, dt_error *error);

/* `per_class` rows of every class that occurs: their numbers in ascending order in rows (room for n), *count
 * of them. With the same seed fewer rows of a class are among more. Refused: per_class 0, and a class with
 * fewer rows. */
bool dt_few_shot(const int32_t *labels, size_t n, size_t per_class, uint64_t seed, size_t *rows,
                 size_t *count, dt_error *error);

#endif
