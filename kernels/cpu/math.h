/* Elementary functions that the compiler can turn into vector code: no branches, no calls, no tables. The error of
 * each is stated against float64, measured by tests/pointwise.c. */
#ifndef DUET_KERNELS_CPU_MATH_H
#define DUET_KERNELS_CPU_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float dt_bits_to_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t dt_float_to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* exp x, 2 ulp: x = n ln 2 + r with |r| <= ln 2 / 2, e^r by its Taylor polynomial of degree 7, then 2^n in two factors so that
 * nothing overflows on the way: denormal results come out too, below -104 it is 0, above 88.72 infinity; NaN stays. */
static inline float dt_fast_exp(float x)
{
    float bounded = x < -104.0f ? -104.0f : x;
    bounded = bounded > 89.0f ? 89.0f : bounded;
    const float magic = 12582912.0f; /* 1.5 2^23: adding it rounds to an integer */
    float n = bounded * 1.44269504088896341f + magic - magic;
    float r = bounded - n * 0.693359375f + n * 2.12194440e-4f; /* ln 2 in two parts (Cody & Waite) */
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    int32_t whole = (int32_t)n, half = whole / 2;
    float scaled = p * dt_bits_to_float((uint32_t)(half + 127) << 23) *
                   dt_bits_to_float((uint32_t)(whole - half + 127) << 23);
    scaled = x < -104.0f ? 0.0f : scaled;
    return x != x ? x : scaled;
}

/* log x, 2 ulp: x = 2^e m with m in [sqrt 1/2, sqrt 2), log m = 2 atanh(s), s = (m - 1) / (m + 1). */
static inline float dt_fast_log(float x)
{
    float normal = x < 1.17549435e-38f ? x * 8388608.0f : x; /* denormals are lifted by 2^23 */
    uint32_t bits = dt_float_to_bits(normal);
    int32_t e = (int32_t)((bits - 0x3f3504f3u) >> 23);
    e = e >= 256 ? e - 512 : e;
    float m = dt_bits_to_float(bits - ((uint32_t)e << 23));
    float lifted = x < 1.17549435e-38f ? (float)e - 23.0f : (float)e;
    float s = (m - 1.0f) / (m + 1.0f), z = s * s;
    float series = 1.0f / 9 + z * (1.0f / 11);
    series = 1.0f / 7 + z * series;
    series = 1.0f / 5 + z * series;
    series = 1.0f / 3 + z * series;
    float small = lifted * -2.12194440e-4f + 2.0f * s * z * series;
    float result = lifted * 0.693359375f + (2.0f * s + small);
    result = x == 0 ? -INFINITY : result;
    result = x < 0 ? NAN : result;
    return x == INFINITY || x != x ? x : result;
}

static inline float dt_fast_sigmoid(float x)
{
    return 1.0f / (1.0f + dt_fast_exp(-x));
}

/* tanh x, absolute error 2e-7: an odd Taylor polynomial near 0, where the exponential form loses digits. */
static inline float dt_fast_tanh(float x)
{
    float z = x * x;
    float near = x * (1.0f + z * (-1.0f / 3 + z * (2.0f / 15 + z * (-17.0f / 315 + z * (62.0f / 2835)))));
    float a = fabsf(x), e = dt_fast_exp(-2.0f * a);
    float far = copysignf((1.0f - e) / (1.0f + e), x);
    return a < 0.25f ? near : far;
}

static inline float dt_gelu_tanh_inner(float x)
{
    return dt_fast_tanh(0.797884560802865356f * (x + 0.044715f * x * x * x));
}

static inline float dt_fast_gelu_tanh(float x)
{
    return 0.5f * x * (1 + dt_gelu_tanh_inner(x));
}

static inline float dt_fast_gelu_tanh_slope(float x)
{
    float t = dt_gelu_tanh_inner(x), u = 0.797884560802865356f * (1 + 3 * 0.044715f * x * x);
    return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * u;
}

/* erf x, absolute error 3e-7: Taylor up to |x| = 1, beyond it Abramowitz & Stegun 7.1.26. */
static inline float dt_fast_erf(float x)
{
    float z = x * x;
    float near = 1.0f / 6894720 - z * (1.0f / 76204800);
    near = 1.0f / 685440 - z * near;
    near = 1.0f / 75600 - z * near;
    near = 1.0f / 9360 - z * near;
    near = 1.0f / 1320 - z * near;
    near = 1.0f / 216 - z * near;
    near = 1.0f / 42 - z * near;
    near = 1.0f / 10 - z * near;
    near = 1.0f / 3 - z * near;
    near = 1.12837916709551257f * x * (1.0f - z * near);
    float a = fabsf(x), t = 1.0f / (1.0f + 0.3275911f * a);
    float tail = t * (0.254829592f + t * (-0.284496736f + t * (1.421413741f + t * (-1.453152027f + t * 1.061405429f))));
    float far = copysignf(1.0f - tail * dt_fast_exp(-z), x);
    return a < 1.0f ? near : far;
}

/* log(1 + e^x) = max(x, 0) + log1p(e^-|x|); log1p(u) = log(1 + u) with the rounding of 1 + u undone. */
static inline float dt_fast_softplus(float x)
{
    float u = dt_fast_exp(-fabsf(x)), one = 1.0f + u, lost = u - (one - 1.0f);
    return (x > 0 ? x : 0) + (dt_fast_log(one) + lost / one);
}

#endif
