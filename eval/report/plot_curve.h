/* Several series over one axis as a figure: lines with points, intervals and a legend. */
#ifndef DUET_EVAL_REPORT_PLOT_CURVE_H
#define DUET_EVAL_REPORT_PLOT_CURVE_H

#include "eval/findings.h"
#include "eval/report/plot_axis.h"

/* How a curve is to look; a zeroed one is good. */
typedef struct dt_curve_look {
    dt_unit unit;      /* of y */
    bool from_zero;    /* y starts at 0 */
    bool wide_y;       /* a logarithmic y where all values are positive and the greatest is over 100 times the least */
    bool x_from_zero;  /* x starts at 0 */
    const char *group; /* plots of one group show their values at the same x under the pointer; NULL: this one alone */
} dt_curve_look;

/* The look of a curve of the findings: y are shares where all lie in 0 .. 1 and its title names no loss. */
dt_curve_look dt_curve_look_of(const dt_curve *curve);

/* Writes one <figure>. A curve without points writes nothing. Colours go by the place of a line in the curve,
 * so that an empty line keeps the colours of the others; it has no entry in the legend. */
void dt_curve_write(dt_writer *writer, const dt_curve *curve, const dt_curve_look *look);

#endif
