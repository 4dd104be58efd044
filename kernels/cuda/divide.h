/* Division by a number that is known before the launch. For 32 bits it is a multiplication and a shift (Granlund and Montgomery,
 * "Division by invariant integers using multiplication", 1994); for 64 bits it is what the compiler makes of it, so kernels
 * that find elements by dividing take their index type as a template parameter and are 32 bits wide where that is enough. */
#ifndef DUET_KERNELS_CUDA_DIVIDE_H
#define DUET_KERNELS_CUDA_DIVIDE_H

#include "kernels/cuda/launch.h"

template <class Index> struct dt_divisor;

/* For dividends below 2^31. */
template <> struct dt_divisor<uint32_t> {
    uint32_t by, factor, shift;
};

template <> struct dt_divisor<int64_t> {
    int64_t by;
};

static inline void dt_divide_by(dt_divisor<uint32_t> *d, int64_t by)
{
    d->by = (uint32_t)by;
    d->shift = 0;
    while ((int64_t)1 << d->shift < by)
        d->shift++;
    d->factor = (uint32_t)((((uint64_t)1 << d->shift) - (uint64_t)by) * ((uint64_t)1 << 32) / (uint64_t)by + 1);
}

static inline void dt_divide_by(dt_divisor<int64_t> *d, int64_t by)
{
    d->by = by;
}

static __device__ __forceinline__ uint32_t dt_over(uint32_t n, const dt_divisor<uint32_t> &d)
{
    return ((uint32_t)((uint64_t)n * d.factor >> 32) + n) >> d.shift;
}

static __device__ __forceinline__ int64_t dt_over(int64_t n, const dt_divisor<int64_t> &d)
{
    return n / d.by;
}

/* Quotient and rest. */
template <class Index> struct dt_split {
    Index over, rest;
};

template <class Index> static __device__ __forceinline__ dt_split<Index> dt_split_by(Index n, const dt_divisor<Index> &d)
{
    Index over = dt_over(n, d);
    return {over, n - over * (Index)d.by};
}

/* Calls visit with a zero of the index type for `count` items. Steps of a whole grid beyond the count stay below 2^32. */
template <class Visit> static inline void dt_by_index(int64_t count, Visit visit)
{
    if (count <= INT32_MAX)
        visit((uint32_t)0);
    else
        visit((int64_t)0);
}

#endif
