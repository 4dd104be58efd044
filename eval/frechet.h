/* The Frechet distance of two Gaussians, |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) (Dowson and Landau, 1982), in
 * float64. Of image features it is the FID (Heusel et al., 2017). It is the squared 2-Wasserstein distance, so it
 * grows with the square of the features.
 *
 * With S = F'F for both, the trace of (S1 S2)^(1/2) is the sum of the singular values of F1 F2'. Nothing is squared
 * on the way, so that covariances with eigenvalues of many sizes, or with none in some directions (fewer rows than
 * features), lose no digits: equal ones are 0 apart to some 1e-13 of their trace. */
#ifndef DUET_EVAL_FRECHET_H
#define DUET_EVAL_FRECHET_H

#include <stdbool.h>
#include <stddef.h>

#include "data/error.h"

enum { DT_FRECHET_DIM_MOST = 4096 };

typedef struct dt_gaussian {
    size_t dim;
    double *mean;       /* [dim] */
    double *covariance; /* [dim, dim], of which the lower triangle is read */
} dt_gaussian;

/* Mean and unbiased covariance (n - 1) of rows [n, dim]; the caller frees with dt_gaussian_free, also after a
 * failure. False: fewer than 2 rows, more features than DT_FRECHET_DIM_MOST, a row that is not finite. */
bool dt_gaussian_fit(dt_gaussian *gaussian, const float *rows, size_t n, size_t dim, dt_error *error);
void dt_gaussian_free(dt_gaussian *gaussian); /* zeroes it */

/* Time grows with dim^3: 512 features take a fraction of a second, 2,048 some seconds. False: the dimensions differ, a
 * number is not finite, a covariance has a negative eigenvalue that rounding does not explain. */
bool dt_frechet_distance(const dt_gaussian *a, const dt_gaussian *b, double *distance, dt_error *error);

#endif
