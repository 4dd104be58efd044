/* Where the names of a map's marks may stand so that none lies over another or over a mark. */
#ifndef DUET_EVAL_REPORT_PLOT_LABEL_H
#define DUET_EVAL_REPORT_PLOT_LABEL_H

#include <stdbool.h>
#include <stddef.h>

enum { DT_LABELS_MOST = 24 };

typedef enum dt_label_side { DT_LABEL_RIGHT, DT_LABEL_LEFT, DT_LABEL_ABOVE, DT_LABEL_BELOW, DT_LABEL_NONE } dt_label_side;

/* What is named, as shares of the plot's width and height from its upper left corner. */
typedef struct dt_label {
    double x, y;
    const char *text;   /* UTF-8; "": none, only the mark is in the way */
    dt_label_side side; /* the result; DT_LABEL_NONE: there is no room */
} dt_label;

/* Places labels one after the other on the first side with room, of a plot that is `shape` times as high as it
 * is wide. Widths of texts are estimated, on the wide side. What has room on a page of 390 pixels and on the
 * widest has room between. `count` <= DT_LABELS_MOST. */
void dt_labels_place(dt_label *labels, size_t count, double shape);

/* Whether the place of two labels is taken twice, at a plot of so many pixels; for tests. */
bool dt_labels_overlap(const dt_label *a, const dt_label *b, double shape, double pixels);

#endif
