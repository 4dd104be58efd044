/* A run's curves as HTML: what is known by name first, then the rest of the log. */
#ifndef DUET_EVAL_REPORT_TRAINING_H
#define DUET_EVAL_REPORT_TRAINING_H

#include "data/file.h"
#include "eval/report/plot_axis.h"
#include "eval/report/run_log.h"

/* A series that has a title of its own. */
typedef struct dt_known_series {
    const char *event, *key, *title;
    dt_unit unit; /* DT_UNIT_SHARE: where no value is above 1 */
    bool from_zero, wide_range;
} dt_known_series;

/* The known series in the order of the page; NULL beyond the last. */
const dt_known_series *dt_training_known(size_t i);

bool dt_training_is_known(const dt_series *series);

/* The unit of a known series as it was logged. */
dt_unit dt_training_unit(const dt_known_series *known, const dt_series *series);

/* Writes which step was kept, where validations tell; the charts of all series, those with one value as a table;
 * and what was passed over in the log. */
void dt_training_write(dt_writer *writer, const dt_run_log *log);

#endif
