/* What the keys of an evaluation's values are called. */
#ifndef DUET_EVAL_REPORT_MEASURES_H
#define DUET_EVAL_REPORT_MEASURES_H

#include "eval/report/plot_axis.h"

/* The title of the values of an event: "CIFAR-10 test: top-1 accuracy" for ("evaluation", "CIFAR-10 test: top1"),
 * "end: seconds" for what is not known by name. The caller frees. NULL: no memory. */
char *dt_measure_title(const char *event, const char *key);

/* DT_UNIT_SHARE where a key names a measure whose values are shares. */
dt_unit dt_measure_unit(const char *key);

#endif
