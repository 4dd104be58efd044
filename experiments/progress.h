/* How far a long computation is, on the terminal. */
#ifndef DUET_EXPERIMENTS_PROGRESS_H
#define DUET_EXPERIMENTS_PROGRESS_H

#include "eval/dataset.h"

/* One line on stderr that is written over, where stderr is a terminal and not `quiet`; else nobody listens.
 */
dt_progress dt_terminal_progress(bool quiet);

/* For what takes many minutes: the same on a terminal, else a line on stderr every so many seconds. */
typedef struct dt_progress_lines {
    double every; /* 0: DT_PROGRESS_SECONDS */
    double last;  /* when the last line was written; 0: none yet */
} dt_progress_lines;

enum { DT_PROGRESS_SECONDS = 30 };

/* `lines` is the caller's, and stays until the computation is through. */
dt_progress dt_lasting_progress(dt_progress_lines *lines, bool quiet);

#endif
