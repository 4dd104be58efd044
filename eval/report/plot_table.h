/* A table of the findings as HTML: numbers aligned, shares as percent; columns sort at a click, long ones
 * fold. */
#ifndef DUET_EVAL_REPORT_PLOT_TABLE_H
#define DUET_EVAL_REPORT_PLOT_TABLE_H

#include "data/file.h"
#include "eval/findings.h"

enum { DT_TABLE_ROWS_SHOWN = 2000 };

/* A column's numbers are shares where all lie in 0 .. 1 and its title is no "n". Rows whose first cell ends
 * in " mean" stay at the table's foot when it is sorted. */
void dt_table_write(dt_writer *writer, const dt_table *table);

#endif
