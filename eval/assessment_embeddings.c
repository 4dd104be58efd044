/* Scores of embeddings against the classes' own. */
#include <stdlib.h>
#include <string.h>

#include "eval/assessment.h"
#include "eval/rows.h"
#include "kernels/cpu/onednn.h"

enum { BLOCK_SCORES = 4 << 20 }; /* of a block, as far as the least number of rows allows */

/* What one block is multiplied in. Its shape is always the same (eval/rows.h). */
typedef struct product {
    size_t rows, classes, padded, dim; /* padded: classes */
    float *weights;                    /* [padded, dim] */
    float *embeddings;                 /* [rows, dim] */
    float *wide, *scores;              /* [rows, padded], [rows, classes] */
} product;

static bool product_make(product *p, const float *weights, size_t classes, size_t dim, dt_error *error)
{
    *p = (product){.classes = classes, .padded = dt_rows_even(classes), .dim = dim};
    p->rows = BLOCK_SCORES / p->padded / DT_ROWS_EVEN * DT_ROWS_EVEN;
    p->rows = p->rows < DT_ROWS_EVEN ? DT_ROWS_EVEN : p->rows > 10 * DT_ROWS_EVEN ? 10 * DT_ROWS_EVEN : p->rows;
    p->weights = dt_rows_padded(weights, classes, p->padded, dim);
    p->embeddings = malloc(p->rows * dim * sizeof *p->embeddings);
    p->wide = malloc(p->rows * p->padded * sizeof *p->wide);
    p->scores = malloc(p->rows * classes * sizeof *p->scores);
    return (p->weights && p->embeddings && p->wide && p->scores) ||
           dt_fail(error, "no memory for the scores of %zu classes", classes);
}

static void product_free(product *p)
{
    free(p->weights);
    free(p->embeddings);
    free(p->wide);
    free(p->scores);
}

/* Fills the first `count` rows of scores. */
static bool multiply(product *p, const float *rows, size_t count, dt_error *error)
{
    memcpy(p->embeddings, rows, count * p->dim * sizeof *rows);
    memset(p->embeddings + count * p->dim, 0, (p->rows - count) * p->dim * sizeof *rows);
    if (!dt_sgemm(false, true, (int64_t)p->rows, (int64_t)p->padded, (int64_t)p->dim, 1, p->embeddings, (int64_t)p->dim,
                  p->weights, (int64_t)p->dim, 0, p->wide, (int64_t)p->padded))
        return dt_fail(error, "cannot multiply %zu embeddings of width %zu with %zu classes", count, p->dim, p->classes);
    for (size_t i = 0; i < count; i++)
        memcpy(p->scores + i * p->classes, p->wide + i * p->padded, p->classes * sizeof *p->scores);
    return true;
}

bool dt_assessment_add_embeddings(dt_assessment *a, const float *embeddings, const float *weights, size_t dim,
                                  const int32_t *labels, const size_t *indices, size_t rows, dt_error *error)
{
    product p;
    bool good = product_make(&p, weights, a->options.classes, dim, error);
    for (size_t at = 0; good && at < rows; at += p.rows) {
        size_t part = rows - at < p.rows ? rows - at : p.rows;
        good = multiply(&p, embeddings + at * dim, part, error) &&
               dt_assessment_add(a, p.scores, labels + at, indices ? indices + at : NULL, part, error);
    }
    product_free(&p);
    return good;
}
