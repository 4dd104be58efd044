/* How weights start that nothing published prescribes. */
#ifndef DUET_ENCODERS_INITIAL_H
#define DUET_ENCODERS_INITIAL_H

#include <math.h>

#include "kernels/params.h"

/* He et al., 2015, for rectifiers: normal with variance 2 / in, for numbers that come from `in` others. */
static inline dt_init dt_he(int64_t in)
{
    return dt_gaussian(sqrtf(2.0f / (float)in));
}

/* Glorot & Bengio, 2010: uniform within gain sqrt(6 / (in + out)), for numbers that come from `in` and go to `out` others. */
static inline dt_init dt_glorot(int64_t in, int64_t out, float gain)
{
    return dt_within(gain * sqrtf(6.0f / (float)(in + out)));
}

#endif
