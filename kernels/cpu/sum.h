/* Sums along an axis, for the kernels that need them beside others. */
#ifndef DUET_KERNELS_CPU_SUM_H
#define DUET_KERNELS_CPU_SUM_H

#include <stdint.h>

/* y [outer, inner] = the sums of x [outer, reduced, inner] over its middle axis: float32 over fixed stretches, float64 beyond, so
 * that the bits do not depend on the number of threads. */
void dt_sum_axis(const float *x, int64_t outer, int64_t reduced, int64_t inner, float *y);

#endif
