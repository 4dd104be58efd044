/* Gaussians on a ring in the plane (Goodfellow et al.'s successors use 8 of them): data that shows at a glance which modes a
 * generator has lost. */
#ifndef DUET_EXPERIMENTS_RING_H
#define DUET_EXPERIMENTS_RING_H

#include <stddef.h>
#include <stdint.h>

typedef struct dt_ring {
    int modes;        /* 0: no ring */
    double radius;
    double deviation; /* of each mode */
} dt_ring;

/* `count` points [count, 2], a pure function of (seed, step). */
void dt_ring_draw(const dt_ring *ring, uint64_t seed, uint64_t step, float *points, size_t count);

typedef struct dt_ring_coverage {
    int modes;    /* that have at least a twentieth of their due share of points within three deviations */
    double close; /* share of all points within three deviations of some mode */
} dt_ring_coverage;

dt_ring_coverage dt_ring_judge(const dt_ring *ring, const float *points, size_t count);

#endif
