/* A confusion matrix as HTML: a heat map that is a table, and the worst-confused classes with pictures. */
#ifndef DUET_EVAL_REPORT_PLOT_CONFUSION_H
#define DUET_EVAL_REPORT_PLOT_CONFUSION_H

#include "eval/findings.h"
#include "eval/report/pictures.h"

/* A cell's colour goes by its share of the true class's images (not in proportion: a few in a hundred are to
 * be seen); its number and share stand in its title, and where classes are few the number in the cell. */
void dt_confusion_write(dt_writer *writer, const dt_confusion *confusion, dt_pictures *pictures);

#endif
