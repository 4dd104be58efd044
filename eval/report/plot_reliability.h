/* A calibration plot as HTML: how often predictions of each confidence are right, over how many there are. */
#ifndef DUET_EVAL_REPORT_PLOT_RELIABILITY_H
#define DUET_EVAL_REPORT_PLOT_RELIABILITY_H

#include "data/file.h"
#include "eval/findings.h"

/* Each bin's bar is its share of right predictions, with its 95 % interval (Wilson, 1927); the diagonal is
 * perfect calibration. */
void dt_reliability_write(dt_writer *writer, const dt_reliability *reliability);

#endif
