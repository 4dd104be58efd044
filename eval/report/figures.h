/* The figures of an evaluation as HTML: the first as the headline, the rest as a table with bars; each with
 * what it was measured on, what guessing would give, and how sure it is, as far as the findings say. */
#ifndef DUET_EVAL_REPORT_FIGURES_H
#define DUET_EVAL_REPORT_FIGURES_H

#include "eval/findings.h"
#include "eval/report/html.h"

void dt_figures_write(dt_writer *writer, const dt_figure *figures, size_t count);

/* A value of the figure for people: a share as percent, "–" for a NaN. The result lies in `room`. */
const char *dt_figure_text(const dt_figure *figure, double value, char room[DT_NUMBER_ROOM]);

/* The interval, "85.3 to 86.7 %", in `room`; "" without one. */
enum { DT_INTERVAL_ROOM = DT_RANGE_ROOM };
const char *dt_figure_interval(const dt_figure *figure, char room[DT_INTERVAL_ROOM]);

/* Whether less is better: ranks, losses and calibration errors, by name and key. */
bool dt_figure_lower_better(const dt_figure *figure);

#endif
