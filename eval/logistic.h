/* Logistic regression on frozen features: the linear probe of Radford et al., "Learning transferable visual
 * models from natural language supervision", ICML 2021, appendix A.3.
 *
 * Minimises, by L-BFGS to convergence, in float64, what scikit-learn's LogisticRegression(C) minimises:
 *
 *     1/2 sum W^2 + C sum_i [log sum_k exp(w_k . x_i + b_k) - (w_y . x_i + b_y)]
 *
 * The intercepts b are not penalised. Two classes are the exception there: one weight vector w with the
 * logistic loss. That is the above with C/2 and w = w_1 - w_0, so the objective of two classes is here twice
 * the above with C/2, which is 1/2 |w|^2 + C sum_i log(1 + exp(-s_i (w . x_i + b))), s_i = +-1, at the
 * optimum (w_0 = -w_1). */
#ifndef DUET_EVAL_LOGISTIC_H
#define DUET_EVAL_LOGISTIC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

typedef struct dt_logistic {
    size_t classes, dim;
    double *weights; /* [classes, dim]; over the classes they sum to zero */
    double *bias;    /* [classes]; the same */
} dt_logistic;

typedef struct dt_logistic_options {
    size_t classes; /* at least 2 */
    double C;       /* inverse strength of the penalty: positive, finite */
    /* The fit ends when what the objective can still lose, as judged from its gradient and curvature, is
     * below this share of it. 0: 1e-9, which settles predictions; 1e-15 is the end of float64. */
    double tolerance;
    int max_iterations;       /* 0: 1000, as in the paper */
    int threads;              /* 0: OpenMP's default; the result is the same for every number */
    const dt_logistic *start; /* same classes and dim: the solution for another C, say. NULL, or one
                               * of a greater objective than no weights have: no weights */
} dt_logistic_options;

typedef struct dt_logistic_facts {
    double objective;    /* at the model returned, as above */
    double gradient_max; /* the largest entry of its gradient there */
    int iterations, evaluations;
    bool converged; /* false: max_iterations were not enough */
    double seconds;
} dt_logistic_facts;

/* Fits x [.., dim] with labels [..] in 0 .. classes - 1: the first n rows or, where `rows` [n] is given,
 * those (of which each may occur any number of times), so that folds and few-shot samples need no copies. The
 * caller frees the model with dt_logistic_free; after a failure it is empty. facts may be NULL. Refused, with
 * row, column or class in the message: fewer than two classes, a label out of range, a class without rows
 * (its intercept would be minus infinity), a feature that is not finite, a C that is not positive and finite. */
bool dt_logistic_fit(dt_logistic *model, const float *x, const int32_t *labels, const size_t *rows, size_t n,
                     size_t dim, const dt_logistic_options *options, dt_logistic_facts *facts,
                     dt_error *error);
void dt_logistic_free(dt_logistic *model); /* zeroes it; a zeroed one is allowed */

/* The objective of a model and its gradient by weights [classes, dim] and bias [classes]; either may be NULL.
 * The same is refused. */
bool dt_logistic_objective(const dt_logistic *model, const float *x, const int32_t *labels,
                           const size_t *rows, size_t n, double C, int threads, double *objective,
                           double *weights_gradient, double *bias_gradient, dt_error *error);

/* scores [n, classes] = x W' + b of the first n rows of x [.., dim], or of those in `rows` [n]. Their softmax are the
 * probabilities, with two classes too. threads as above. */
bool dt_logistic_scores(const dt_logistic *model, const float *x, const size_t *rows, size_t n, int threads,
                        float *scores, dt_error *error);

#endif
