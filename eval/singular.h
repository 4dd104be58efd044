/* The singular values of a dense float64 matrix. */
#ifndef DUET_EVAL_SINGULAR_H
#define DUET_EVAL_SINGULAR_H

#include <stdbool.h>
#include <stddef.h>

#include "data/error.h"

/* Their sum, the nuclear norm, to a few units in the last place of the largest; a [m, n] with m >= n is destroyed.
 * All numbers are finite. By Householder's bidiagonal form and implicit QL steps (Golub and Kahan, 1965). False: no
 * memory, or the steps do not converge. */
bool dt_nuclear_norm(double *a, size_t m, size_t n, double *norm, dt_error *error);

#endif
