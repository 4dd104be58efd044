/* Noisy series of a log: when to show a moving average, and what it is. */
#ifndef DUET_EVAL_REPORT_SMOOTH_H
#define DUET_EVAL_REPORT_SMOOTH_H

#include "eval/report/run_log.h"

/* Whether the curve goes up and down so often that the eye needs an average. */
bool dt_series_noisy(const dt_series *series);

/* The moving average at each point, values[DT_SERIES_POINTS]; NaN where a point has no finite value. The
 * window shrinks at the ends so that it stays centred and does not flatten a steep start, down to a third, so
 * that the curve does not end in noise. `log`, for a logarithmic axis: the geometric mean, which is the
 * middle of what the eye sees (all values must be positive). */
void dt_series_smooth(const dt_series *series, bool log, double values[DT_SERIES_POINTS]);

#endif
