/* The Cholesky factor of a dense float64 matrix and its inverse, by threads that change nothing in the
 * result. */
#ifndef DUET_EVAL_FACTOR_H
#define DUET_EVAL_FACTOR_H

#include <stddef.h>

/* a [side, side], symmetric and positive definite, of which the lower triangle is read, becomes L with L L' = a, there.
 * Where a is not positive definite the result is not finite. */
void dt_cholesky(double *a, size_t side, int threads);

/* m [height, height] = l^-1 of the lower triangle l [side, side], side <= height; what is beyond the triangle
 * is left as it is. */
void dt_invert_lower(const double *l, size_t side, double *m, size_t height, int threads);

#endif
