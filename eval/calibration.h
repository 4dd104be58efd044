/* How far a classifier's confidence can be believed: the expected calibration error (Guo, Pleiss, Sun and
 * Weinberger, "On calibration of modern neural networks", ICML 2017, equation 3). Rows are sorted into bins
 * of equal width by the probability of their predicted class; the error is the mean over the rows of
 * |accuracy - confidence| of their bin. */
#ifndef DUET_EVAL_CALIBRATION_H
#define DUET_EVAL_CALIBRATION_H

#include <stdbool.h>
#include <stddef.h>

enum { DT_CALIBRATION_BINS = 15 }; /* bin i holds (i / 15, (i + 1) / 15]; the first also 0 */

/* Sums of a bin. */
typedef struct dt_calibration_bin {
    size_t count, right;
    double confidence;
} dt_calibration_bin;

typedef struct dt_calibration { /* zeroed: without rows */
    dt_calibration_bin bins[DT_CALIBRATION_BINS];
} dt_calibration;

/* The probability of the predicted class, the largest of softmax(scale * scores): in [1 / classes, 1]. Scores
 * may be infinite, not NaN; scale is positive. */
double dt_confidence(const float *scores, size_t classes, double scale);

/* Confidences are in 0 .. 1. */
size_t dt_calibration_bin_of(double confidence);
void dt_calibration_add(dt_calibration *calibration, double confidence, bool right);

/* The expected calibration error; without rows 0. */
double dt_calibration_error(const dt_calibration *calibration);

#endif
