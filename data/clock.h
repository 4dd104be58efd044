/* Time spans. */
#ifndef DUET_DATA_CLOCK_H
#define DUET_DATA_CLOCK_H

#include <time.h>

/* Seconds since some moment in the past, never going back. */
static inline double dt_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
