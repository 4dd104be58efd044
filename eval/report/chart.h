/* A series as a figure: an inline SVG curve with its axes in HTML, so that the text keeps its size when the
 * curve is stretched to the page. Readable without scripts; style.c's script adds values under the
 * pointer. */
#ifndef DUET_EVAL_REPORT_CHART_H
#define DUET_EVAL_REPORT_CHART_H

#include "data/file.h"
#include "eval/report/plot_axis.h"
#include "eval/report/run_log.h"

typedef struct dt_chart {
    const dt_series *series;
    const char *title; /* UTF-8, escaped here; a hostile one is good */
    dt_unit unit;
    bool from_zero;   /* the vertical axis starts at 0 */
    bool wide_range;  /* a logarithmic axis where all values are positive and the greatest is over 100 times the least */
    double last_step; /* of the horizontal axis, which starts at 0: charts of a page share it */
} dt_chart;

/* Writes one <figure class="chart">. A series without a finite value writes nothing. The faint curve has the
 * points, the strong one their moving average (where they are many and noisy), the band the least and most of
 * each point that stands for several values. */
void dt_chart_write(dt_writer *writer, const dt_chart *chart);

#endif
