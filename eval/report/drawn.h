/* The pictures that a run made (samples over training, reconstructions, ...) as HTML. */
#ifndef DUET_EVAL_REPORT_DRAWN_H
#define DUET_EVAL_REPORT_DRAWN_H

#include "eval/report/pictures.h"
#include "eval/report/run.h"

enum {
    DT_DRAWN_GROUPS = 40, /* groups of a page */
    DT_DRAWN_STEPS = 16,  /* pictures of a series, evenly chosen, the first and the last among them */
    DT_DRAWN_PLATES = 24, /* pictures without a step, of a group */
};

/* Writes one <article> a group, in order of first appearance. The pictures that have steps are a series, in their order:
 * where scripts run, one at a time, chosen with a slider; else all, the last one large. */
void dt_drawn_write(dt_writer *writer, const dt_picture_found *found, size_t count, dt_pictures *pictures);

/* Whether two or more of the runs have pictures of the same group. */
bool dt_drawn_shared(const dt_run *runs, size_t count);

/* For each such group the latest picture of each run, side by side: the one of the greatest step, the last of the list
 * where none has steps. */
void dt_drawn_compare(dt_writer *writer, const dt_run *runs, size_t count);

#endif
