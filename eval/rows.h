/* Embeddings as rows of a matrix, ready to be multiplied. */
#ifndef DUET_EVAL_ROWS_H
#define DUET_EVAL_ROWS_H

#include <stdbool.h>
#include <stddef.h>

#include "data/error.h"

/* Equal embeddings shall have equal inner products, to the bit: else what nothing tells apart is ranked by
 * rounding. The library has kernels for the last rows and columns of a product that sum in another order than
 * those for the rest (oneDNN with AVX2: where there are not 24 rows or 16 columns left). So products that are
 * compared have the same shape, with multiples of this on both sides. */
enum { DT_ROWS_EVEN = 48 };

static inline size_t dt_rows_even(size_t n) /* the next such multiple */
{
    return (n + DT_ROWS_EVEN - 1) / DT_ROWS_EVEN * DT_ROWS_EVEN;
}

/* A copy of rows [n, dim] with zeros behind, up to [padded, dim]. The caller frees. NULL: no memory. */
float *dt_rows_padded(const float *rows, size_t n, size_t padded, size_t dim);

/* False: a row of rows [n, dim] is not finite; the message says which `what` it is ("image"). */
bool dt_rows_check(const char *what, const float *rows, size_t n, size_t dim, dt_error *error);

#endif
