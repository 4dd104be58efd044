/* The linear probe of Radford et al., "Learning transferable visual models from natural language
 * supervision", ICML 2021, appendix A.3: a logistic regression (eval/logistic.h) on frozen features, as they
 * are, without standardisation, its regulariser chosen by the accuracy on a validation part.
 *
 *     dt_probe_data data;      ... features of the training, a validation part (eval/probe_data.h)
 *     dt_sweep sweep;
 *     if (dt_sweep_run(&sweep, &data, data.fit, data.fit_count, &options, &error))
 *         dt_probe_fit(&model, &data, NULL, data.n, sweep.points[sweep.best].C, &sweep.model, &options, &facts,
 *                      &error);
 *     dt_sweep_free(&sweep);
 */
#ifndef DUET_EVAL_PROBE_H
#define DUET_EVAL_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"
#include "eval/logistic.h"
#include "eval/probe_data.h"

typedef struct dt_probe_options {
    double tolerance;   /* of every fit; 0: dt_logistic_options' own */
    int max_iterations; /* 0: 1000, as in the paper */
    int threads;        /* of fits and tests; 0: OpenMP's default */
    bool cold;          /* every fit of a sweep starts from nothing, not from the nearest solution: slower, the same answer */
    dt_progress progress;
} dt_probe_options;

/* ---- choosing C ----
 *
 * The candidates are the 97 ends of 96 logarithmically spaced steps from 1e-6 to 1e6, 8 a decade. As in the
 * paper only few are visited, by a parametric binary search: first 1e-6, 1e-4, 1e-2, 1, 1e2, 1e4, 1e6, then
 * both neighbours of the best at half the interval, down to a single step: 7 fits and 4 times 2. Of equal
 * accuracies that with the smaller loss is the better: where a few validation rows are all named right by many C, the
 * strongest regularisation would be sure of nothing. */
enum { DT_SWEEP_STEPS = 96, DT_SWEEP_FITS = 15 };

typedef struct dt_sweep_point {
    int step; /* 0 .. DT_SWEEP_STEPS */
    double C;
    double accuracy, loss; /* on the validation part; loss: mean cross-entropy */
    dt_logistic_facts facts;
} dt_sweep_point;

typedef struct dt_sweep {
    dt_sweep_point points[DT_SWEEP_FITS]; /* by ascending C */
    size_t count;
    size_t best;       /* which of them */
    dt_logistic model; /* the best one's: of the rows that were fitted, without the validation part */
    size_t validated;  /* rows of the validation part */
} dt_sweep;

double dt_sweep_C(int step); /* 10^(-6 + step / 8) */

/* Fits rows [n] of the data for each C that is visited, and judges by the data's held-out rows. The caller
 * frees with dt_sweep_free, also after a failure. */
bool dt_sweep_run(dt_sweep *sweep, const dt_probe_data *data, const size_t *rows, size_t n,
                  const dt_probe_options *options, dt_error *error);
void dt_sweep_free(dt_sweep *sweep); /* zeroes it; a zeroed one is allowed */

/* ---- fitting and testing ---- */

/* The regression of rows [n] of the data; rows NULL with n = data->n: of all, the validation part included.
 * start and facts may be NULL. */
bool dt_probe_fit(dt_logistic *model, const dt_probe_data *data, const size_t *rows, size_t n, double C,
                  const dt_logistic *start, const dt_probe_options *options, dt_logistic_facts *facts,
                  dt_error *error);

/* Gets the scores [count, classes] of the rows first .. first + count - 1 of those that are scored. */
typedef bool dt_probe_take(void *context, const float *scores, size_t first, size_t count, dt_error *error);

/* Hands the scores of rows x [.., dim], of the first n or of those in `rows` [n], to `take`, in order and 1,024 at a
 * time, until it fails. */
bool dt_probe_score(const dt_logistic *model, const float *x, const size_t *rows, size_t n, int threads,
                    dt_probe_take *take, void *context, dt_error *error);

/* The share of those rows whose highest score is that of their label, and their mean cross-entropy (NULL: not wanted). */
bool dt_probe_accuracy(const dt_logistic *model, const float *x, const int32_t *labels, const size_t *rows,
                       size_t n, int threads, double *accuracy, double *loss, dt_error *error);

/* Whether every class has a training row for each fold; the message names the class that has not. */
bool dt_folds_check(const dt_probe_data *data, int k, dt_error *error);

/* Stratified k-fold cross-validation (dt_folds) on the training rows alone, a validation set left out, at one
 * C. accuracies and sizes [k] get each fold's. Refused: what dt_folds_check refuses. */
bool dt_probe_folds(const dt_probe_data *data, int k, uint64_t seed, double C,
                    const dt_probe_options *options, double *accuracies, size_t *sizes, dt_error *error);

/* Mean and standard deviation of a sample (n - 1 in the denominator; 0 of a single value). */
void dt_mean_deviation(const double *values, size_t n, double *mean, double *deviation);

#endif
