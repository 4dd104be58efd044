/* How values become places along an axis of a plot, and where its ticks stand. */
#ifndef DUET_EVAL_REPORT_PLOT_AXIS_H
#define DUET_EVAL_REPORT_PLOT_AXIS_H

#include <stdbool.h>

#include "eval/report/html.h"

typedef enum dt_unit {
    DT_UNIT_NUMBER,
    DT_UNIT_SHARE, /* 0.02 is written as 2 % */
} dt_unit;

enum { DT_TICKS_MOST = 12 };

typedef struct dt_plot_axis {
    double from, to; /* the axis' ends; logarithms (base 10) where `log` */
    bool log;
    double ticks[DT_TICKS_MOST]; /* values */
    int tick_count;
    double step; /* between ticks; 0: they are not evenly spaced */
} dt_plot_axis;

/* Ticks at 1, 2 or 5 times a power of ten, `parts` or fewer steps of them, none closer than `least_step`.
 * from < to, finite. */
dt_plot_axis dt_plot_axis_linear(double from, double to, double parts, double least_step);

/* The axis reaches `room` (a share of its length) beyond both ends. Whole decades, or 1, 2 and 5 in each
 * where they are few. 0 < least <= most. */
dt_plot_axis dt_plot_axis_log(double least, double most, double room);

/* The axis that fits values from `least` to `most` (finite, least <= most): with a little room at both ends,
 * and from 0 where `from_zero`, or where that is near. An axis of shares is at least 0.1 % long. */
dt_plot_axis dt_plot_axis_fit(double least, double most, bool from_zero, dt_unit unit);

/* 0 at the axis' start, 1 at its end. */
double dt_plot_axis_place(const dt_plot_axis *scale, double value);

/* A value in the unit, for people. */
const char *dt_unit_text(double value, dt_unit unit, char room[DT_NUMBER_ROOM]);

/* The labels of a plot's two axes as HTML, with as many digits as tell a tick from the next, placed in percent of the plot;
 * the plot's CSS does the rest. */
void dt_plot_axis_write_labels(dt_writer *writer, const dt_plot_axis *x, dt_unit x_unit, const dt_plot_axis *y,
                           dt_unit y_unit);

/* The horizontal lines at the ticks of `y`, as an SVG path of a plot that is `width` by `height`. */
void dt_plot_axis_write_grid(dt_writer *writer, const dt_plot_axis *y, int width, int height);

#endif
