/* One pass over the features of a logistic regression: value and gradient, curvature, or scores. Used by
 * eval/logistic.c.
 *
 * Features are float32, arithmetic is float64. A row of features x becomes [x - mean, 1], so that the
 * intercept is one more weight; coefficients stand in panels (eval/panels.h) of `height` rows x classes, rows
 * beyond dim + 1 being zero. A column that is no class (padding) has the intercept DT_LOGISTIC_NEVER, which
 * gives it probability 0 exactly.
 *
 * The rows are cut into slices whose number depends on the problem only, and the sums of the slices are added
 * in their order: results are the same for every number of threads. */
#ifndef DUET_EVAL_LOGISTIC_PASS_H
#define DUET_EVAL_LOGISTIC_PASS_H

#include <stddef.h>
#include <stdint.h>

#include "data/error.h"
#include "eval/panels.h"

#define DT_LOGISTIC_NEVER (-1e300)

typedef struct dt_logistic_pass {
    const float *x; /* [.., dim] */
    const int32_t *labels;
    const size_t *rows; /* [n]: which rows of x and labels; NULL: the first n */
    size_t n, dim, classes;
    size_t height; /* dim + 1, padded */
    dt_panels by_class;
    double *mean; /* [dim] */

    int threads;
    dt_panels by_column; /* of the curvature */
    size_t stride, blocks, slices;
    double *sums, *scratch, *losses; /* by slice, by thread, by slice */
    size_t sums_size, scratch_size;
} dt_logistic_pass;

/* Everything is borrowed; labels may be NULL where only scores are asked for. threads 0: OpenMP's default.
 * The means are zero until they are measured. False: no memory, or more columns than DT_LOGISTIC_DIM. The
 * caller closes, also after a failure. */
enum { DT_LOGISTIC_DIM = 16384 };
bool dt_logistic_pass_open(dt_logistic_pass *pass, const float *x, const int32_t *labels, const size_t *rows,
                           size_t n, size_t dim, size_t classes, int threads, dt_error *error);
void dt_logistic_pass_close(dt_logistic_pass *pass);

/* Sets the means to those of the features. A feature that is not finite is an error. */
bool dt_logistic_pass_centre(dt_logistic_pass *pass, dt_error *error);

/* The mean over the rows of -log softmax(scores)[label], and its gradient [height, classes] in panels. */
double dt_logistic_pass_loss(dt_logistic_pass *pass, const double *coefficients, double *gradient);

/* (1/n) sum of w x x', [dim + 1, dim + 1] dense, lower triangle only: the curvature of the mean loss at these
 * coefficients, averaged over the directions between the K classes. By the scores of a row the curvature is
 * diag(p) - p p'. What adds the same to all scores changes no loss, so that K - 1 directions are free, and its mean over
 * them, w, is its trace over their number:
 *
 *     w = (1 - sum_k p_k^2) / (K - 1) */
void dt_logistic_pass_curvature(dt_logistic_pass *pass, const double *coefficients, double *curvature);

/* scores [n, classes], not normalised. */
void dt_logistic_pass_scores(dt_logistic_pass *pass, const double *coefficients, float *scores);

#endif
