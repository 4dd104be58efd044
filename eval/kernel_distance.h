/* Distances of two sets of features by a kernel: the squared maximum mean discrepancy, mean k(x, x') + mean k(y, y')
 * - 2 mean k(x, y) (Gretton et al., 2012). Other than the Frechet distance they assume no shape, and the unbiased
 * one has no bias at small numbers. All in float64, in the memory of a few thousand rows; time is the product of
 * both counts. */
#ifndef DUET_EVAL_KERNEL_DISTANCE_H
#define DUET_EVAL_KERNEL_DISTANCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

/* Rows of features [n, dim]. */
typedef struct dt_feature_rows {
    const float *rows;
    size_t n, dim;
} dt_feature_rows;

enum { DT_KID_SUBSETS = 100, DT_KID_SUBSET = 1000 };

typedef struct dt_kid {
    double value;
    size_t subsets, subset; /* how many, of how many rows of each side; 0: too few rows */
    double mean, deviation; /* of the subsets' values; NaN without */
} dt_kid;

/* The kernel inception distance of Binkowski et al. (2018): unbiased, without the pairs (x, x), and with the kernel
 * (x.y / dim + 1)^3. `value` is of all rows. Others report the mean over 100 subsets of 1,000 and its standard
 * deviation: these are `mean` and `deviation` over `subsets` (0: DT_KID_SUBSETS) draws without replacement of
 * DT_KID_SUBSET rows or half of the smaller side, which are a pure function of the seed. False: fewer than 2 rows on
 * a side, rows of different width or not finite, no memory. */
bool dt_kid_distance(dt_feature_rows a, dt_feature_rows b, size_t subsets, uint64_t seed, dt_kid *kid, dt_error *error);

/* The CMMD of Jayasumana et al. (2024), for embeddings of CLIP: the kernel exp(-|x - y|^2 / (2 10^2)) of rows
 * brought to unit length, all pairs counted as in the published code (biased: a set is 0 apart from itself), times
 * 1000. A row of zeros is taken to be at right angles to all others. False as above. */
bool dt_cmmd_distance(dt_feature_rows a, dt_feature_rows b, double *cmmd, dt_error *error);

#endif
