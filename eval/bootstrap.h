/* Percentile bootstrap: how far a figure would move had other samples been drawn (Efron and Tibshirani, "An
 * Introduction to the Bootstrap", 1993, chapter 13). The n samples are drawn again n times with replacement,
 * the figure is computed from the draw, and the middle 95 % of what comes out over many draws are the
 * interval.
 *
 * A draw is told as `times` [n]: how often each sample is in it. Every draw is a pure function of (seed, its
 * number, n) by Philox, so that the bounds do not depend on the number of threads.
 *
 * A statistic that is biased by small numbers (a calibration error grows with noise; an F1 moves where a class has
 * a row or two, which a draw has not at all or several times) has the bias of its draws in its bounds, which then
 * lie beside the value or have it at their edge: dt_bounds_hold. */
#ifndef DUET_EVAL_BOOTSTRAP_H
#define DUET_EVAL_BOOTSTRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

enum { DT_BOOTSTRAP_DRAWS = 1000 }; /* what is usual */

typedef struct dt_bounds {
    double low, high;       /* the 2.5 and 97.5 percentiles, with linear interpolation */
    double mean, deviation; /* of the draws */
} dt_bounds;

/* Whether the bounds are an interval for `value`, the statistic of the samples themselves: it lies within, and
 * the draws' mean is not further from it than a quarter of their deviation, the bias that may be ignored by
 * Efron and Tibshirani (section 10.3). The value has then about the same bias again, so the bounds lie by half a
 * deviation beside the truth at most, and hold it in 92 of 100 cases in place of 95. Of more there is no
 * interval: their correction for bias (chapter 14) moves the percentiles by twice the normal quantile of the
 * share of draws below the value, and where that share is a few in a hundred it asks for percentiles that a
 * thousand draws do not have. False of NaN bounds. */
bool dt_bounds_hold(const dt_bounds *bounds, double value);

/* Computes `count` statistics of one draw into values. scratch is zeroed and of the size that was asked for.
 * Called from several threads at a time. A statistic that a draw does not have is NaN, and that draw does not
 * count for it. */
typedef void dt_bootstrap_statistics(const void *context, const uint32_t *times, void *scratch,
                                     double *values);

typedef struct dt_bootstrap_options {
    size_t n;     /* samples; 1 to UINT32_MAX */
    size_t draws; /* 0: DT_BOOTSTRAP_DRAWS */
    uint64_t seed;
    size_t count;        /* statistics of a draw */
    size_t scratch_size; /* bytes */
} dt_bootstrap_options;

/* bounds [count]; all NaN of a statistic that no draw had. */
bool dt_bootstrap(const dt_bootstrap_options *options, dt_bootstrap_statistics *statistics,
                  const void *context, dt_bounds *bounds, dt_error *error);

/* Of the mean of values [n]: a share, where they are 0 and 1. */
bool dt_bootstrap_mean(const float *values, size_t n, size_t draws, uint64_t seed, dt_bounds *bounds,
                       dt_error *error);

#endif
