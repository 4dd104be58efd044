/* What every trainer says of a loss or gradient that is not finite. */
#ifndef DUET_EXPERIMENTS_NOT_FINITE_H
#define DUET_EXPERIMENTS_NOT_FINITE_H

#include "data/error.h"
#include "kernels/plan.h"

/* "the loss is not finite; it began here: ...": runs the plan once more to find where, on parameters that are still those of the step
 * (what is not finite is no update). Always false. */
bool dt_not_finite(dt_plan *plan, uint64_t seed, uint64_t step, const char *what, dt_error *error);

#endif
