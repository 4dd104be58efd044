#include "experiments/not_finite.h"

bool dt_not_finite(dt_plan *plan, uint64_t seed, uint64_t step, const char *what, dt_error *error)
{
    const char *where = dt_plan_trouble(plan, seed, (uint32_t)step);
    return dt_fail(error, "%s is not finite; it began here: %s. A lower learning rate, a warm-up or clip_norm may help", what,
                   where ? where : "it does not show when the step is repeated");
}
