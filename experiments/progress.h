/* How far a long computation is, on the terminal. */
#ifndef DUET_EXPERIMENTS_PROGRESS_H
#define DUET_EXPERIMENTS_PROGRESS_H

#include "eval/dataset.h"

/* One line on stderr that is written over, where stderr is a terminal and not `quiet`; else nobody listens.
 */
dt_progress dt_terminal_progress(bool quiet);

#endif
