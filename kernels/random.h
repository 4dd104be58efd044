/* Philox-4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a
 * counter-based generator. A number is a pure function of (seed, stream, step, index), the same on every
 * backend and for every thread count, so that a resumed run draws what the uninterrupted one drew. */
#ifndef DUET_KERNELS_RANDOM_H
#define DUET_KERNELS_RANDOM_H

#include <math.h>
#include <stdint.h>

/* What nvcc needs to compile these functions for the GPU too. */
#ifdef __CUDACC__
#define DT_EVERYWHERE __host__ __device__
#else
#define DT_EVERYWHERE
#endif

typedef struct dt_philox {
    uint32_t v[4];
} dt_philox;

DT_EVERYWHERE static inline dt_philox dt_philox_block(dt_philox counter, uint32_t key0, uint32_t key1)
{
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * counter.v[0], p1 = (uint64_t)0xCD9E8D57u * counter.v[2];
        dt_philox next = {{(uint32_t)(p1 >> 32) ^ counter.v[1] ^ key0, (uint32_t)p1,
                           (uint32_t)(p0 >> 32) ^ counter.v[3] ^ key1, (uint32_t)p0}};
        counter = next;
        key0 += 0x9E3779B9u, key1 += 0xBB67AE85u;
    }
    return counter;
}

/* Four words for block `index` of `stream` at `step`. Streams below 2^32, steps below 2^32, blocks below 2^64. */
DT_EVERYWHERE static inline dt_philox dt_random_block(uint64_t seed, uint32_t stream, uint32_t step, uint64_t index)
{
    dt_philox counter = {{(uint32_t)index, (uint32_t)(index >> 32), stream, step}};
    return dt_philox_block(counter, (uint32_t)seed, (uint32_t)(seed >> 32));
}

/* Uniform in [0, 1), on the grid of 2^-24. */
DT_EVERYWHERE static inline float dt_random_uniform(uint32_t word)
{
    return (float)(word >> 8) * 0x1p-24f;
}

/* sin and cos of 2 pi u, u in [0, 1], absolute error 2e-7: by quarter turns, Taylor polynomials up to pi / 4. */
DT_EVERYWHERE static inline void dt_random_turn(float u, float *sine, float *cosine)
{
    int quarter = (int)(4 * u + 0.5f);
    float x = (4 * u - (float)quarter) * 1.57079632679489662f, z = x * x;
    float s = x * (1 + z * (-1.0f / 6 + z * (1.0f / 120 + z * (-1.0f / 5040 + z * (1.0f / 362880)))));
    float c = 1 + z * (-1.0f / 2 + z * (1.0f / 24 + z * (-1.0f / 720 + z * (1.0f / 40320))));
    float near = quarter & 1 ? c : s, far = quarter & 1 ? s : c;
    *sine = quarter & 2 ? -near : near;
    *cosine = (quarter + 1) & 2 ? -far : far;
}

/* Two independent standard normals from two words (Box and Muller). */
DT_EVERYWHERE static inline void dt_random_normal(uint32_t u, uint32_t v, float *a, float *b)
{
    float radius = sqrtf(-2.0f * logf(((float)(u >> 8) + 0.5f) * 0x1p-24f));
    float angle = 6.28318530717958648f * dt_random_uniform(v);
    *a = radius * cosf(angle);
    *b = radius * sinf(angle);
}

#endif
