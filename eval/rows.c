#include "eval/rows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

float *dt_rows_padded(const float *rows, size_t n, size_t padded, size_t dim)
{
    size_t cells;
    float *copy = __builtin_mul_overflow(padded, dim, &cells) ? NULL : calloc(cells, sizeof *copy);
    if (copy)
        memcpy(copy, rows, n * dim * sizeof *copy);
    return copy;
}

bool dt_rows_check(const char *what, const float *rows, size_t n, size_t dim, dt_error *error)
{
    for (size_t i = 0; i < n; i++) {
        int odd = 0;
        for (size_t d = 0; d < dim; d++)
            odd |= !(fabsf(rows[i * dim + d]) < INFINITY);
        if (odd)
            return dt_fail(error, "the embedding of %s %zu is not finite; the model has diverged", what, i);
    }
    return true;
}
