/* Products of float64 matrices of any size and shape, for distances and covariances that float32 would not settle. */
#ifndef DUET_EVAL_PRODUCTS_H
#define DUET_EVAL_PRODUCTS_H

#include <stdbool.h>
#include <stddef.h>

#include "data/error.h"

/* A matrix whose element (i, j) is at[i row + j column]: rows, or columns taken for rows. */
typedef struct dt_matrix {
    const double *at;
    size_t row, column;
} dt_matrix;

/* c [m, n] += a [m, depth] b [depth, n]; with `lower` what lies above the diagonal is left undefined. Element (i, j) is
 * summed in the same order wherever it stands and whatever the threads do: equal rows and columns have equal
 * products, to the bit, and a b' is the transpose of b a'. All processors take part. False: no memory. */
bool dt_multiply(dt_matrix a, dt_matrix b, size_t m, size_t n, size_t depth, bool lower, double *c, dt_error *error);

/* The same for rows of embeddings: c [m, n] = a [m, dim] b [n, dim]'. */
bool dt_inner_products(const double *a, size_t m, const double *b, size_t n, size_t dim, double *c, dt_error *error);

#endif
