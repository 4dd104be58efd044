/* Philox-4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a
 * counter-based generator. A number is a pure function of (seed, stream, step, index), the same on every
 * backend and for every thread count, so that a resumed run draws what the uninterrupted one drew. */
#ifndef DUET_KERNELS_RANDOM_H
#define DUET_KERNELS_RANDOM_H

#include <math.h>
#include <stdint.h>

typedef struct dt_philox {
    uint32_t v[4];
} dt_philox;

static inline dt_philox dt_philox_block(dt_philox counter, uint32_t key0, uint32_t key1)
{
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * counter.v[0], p1 = (uint64_t)0xCD9E8D57u * counter.v[2];
        counter = (dt_philox){{(uint32_t)(p1 >> 32) ^ counter.v[1] ^ key0, (uint32_t)p1,
                               (uint32_t)(p0 >> 32) ^ counter.v[3] ^ key1, (uint32_t)p0}};
        key0 += 0x9E3779B9u, key1 += 0xBB67AE85u;
    }
    return counter;
}

/* Four words for block `index` of `stream` at `step`. Streams below 2^32, steps below 2^32, blocks below 2^64. */
static inline dt_philox dt_random_block(uint64_t seed, uint32_t stream, uint32_t step, uint64_t index)
{
    dt_philox counter = {{(uint32_t)index, (uint32_t)(index >> 32), stream, step}};
    return dt_philox_block(counter, (uint32_t)seed, (uint32_t)(seed >> 32));
}

/* Uniform in [0, 1), on the grid of 2^-24. */
static inline float dt_random_uniform(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

/* Two independent standard normals from two words (Box and Muller). */
static inline void dt_random_normal(uint32_t u, uint32_t v, float *a, float *b)
{
    float radius = sqrtf(-2.0f * logf(((float)(u >> 8) + 0.5f) * 0x1p-24f));
    float angle = 6.28318530717958648f * dt_random_uniform(v);
    *a = radius * cosf(angle);
    *b = radius * sinf(angle);
}

#endif
