/* Several runs side by side: one HTML file that needs nothing else. */
#ifndef DUET_EVAL_REPORT_COMPARE_H
#define DUET_EVAL_REPORT_COMPARE_H

#include <stdbool.h>
#include <stddef.h>

#include "data/error.h"

enum { DT_COMPARED_MOST = 20 };

/* Writes the page `out`, atomically: the keys in which the runs' configurations differ; all figures by name,
 * the best of each marked; and the training curves of all, one over the other. Each run is linked to its
 * report.html, where it has one, by a path from the page's folder. `runs`: 2 to DT_COMPARED_MOST folders of
 * runs. False, and an old page stays as it was: a folder that dt_run_read refuses, or the page cannot be
 * written. */
bool dt_report_compare(const char *const *runs, size_t count, const char *out, dt_error *error);

#endif
