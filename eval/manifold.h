/* Precision and recall of distributions (Kynkaanniemi et al., 2019): a set of features is taken for the union of
 * balls around its rows, each reaching to the row's k-th nearest neighbour. Precision is the share of generated rows
 * inside the balls of the real ones (fidelity), recall the share of real rows inside the balls of the generated ones
 * (variety). A ball has its rim; a row's duplicates are its neighbours, at a distance of exactly 0. */
#ifndef DUET_EVAL_MANIFOLD_H
#define DUET_EVAL_MANIFOLD_H

#include <stdbool.h>
#include <stddef.h>

#include "data/error.h"
#include "eval/kernel_distance.h"

enum { DT_MANIFOLD_K = 3, DT_MANIFOLD_K_MOST = 100 };

/* radii [n]: the squared distance of each row to its k-th nearest other row, 1 <= k <= DT_MANIFOLD_K_MOST, k < n. In
 * float64 and the memory of a few thousand rows. False: k out of range, a row that is not finite, no memory. */
bool dt_manifold_radii(dt_feature_rows features, size_t k, double *radii, dt_error *error);

/* *share: of the queries, those inside a ball of the features. Time and memory as above. */
bool dt_manifold_share(dt_feature_rows features, const double *radii, dt_feature_rows queries, double *share, dt_error *error);

#endif
