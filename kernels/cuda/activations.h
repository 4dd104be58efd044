/* Activations and their slopes. */
#ifndef DUET_KERNELS_CUDA_ACTIVATIONS_H
#define DUET_KERNELS_CUDA_ACTIVATIONS_H

#include "kernels/cuda/launch.h"

namespace
{

__device__ __forceinline__ float sigmoid(float x)
{
    return 1 / (1 + expf(-x));
}

__device__ __forceinline__ float softplus(float x)
{
    return (x > 0 ? x : 0) + log1pf(expf(-fabsf(x)));
}

/* x times the normal distribution at x. */
__device__ __forceinline__ float gelu(float x)
{
    return x * (0.5f * (1 + erff(x * 0.707106781186547524f)));
}

/* 1 / x for x from 1 on, within 2 units in its last place. */
__device__ __forceinline__ float reciprocal(float x)
{
#ifdef __CUDACC__
    return __fdividef(1, x);
#else
    return 1 / x;
#endif
}

/* The normal distribution at x plus x times its density, by one exponential for both: with t = exp(-x^2 / 2) the distribution
 * at -|x| is t r(|x|), where r falls smoothly, here a polynomial in u = 1 / (1 + 0.38 |x|) without a constant (the form of
 * Hastings, 1955; fitted by exchange), which makes t r off by 1.8e-8 at most. t (|x| / sqrt(2 pi) - r) is by how much the slope
 * at |x| is above 1, and the slope at -|x| is that negated. The result is within 2e-7 of the true one, with u and t off by as
 * much as NVIDIA allows them within 3e-7. */
__device__ __forceinline__ float gelu_slope(float x)
{
    const float coefficient[] = {0.0502437288f, -0.257707786f, 0.407430329f, -0.0469124856f, 0.200992427f, 0.14595377f};
    float size = fabsf(x), u = reciprocal(fmaf(0.38f, size, 1)), r = coefficient[0];
    DT_UNROLL
    for (int i = 1; i < 6; i++)
        r = fmaf(r, u, coefficient[i]);
    float above = exp2f(-0.721347520444481704f * x * x) * fmaf(size, 0.398942280401432678f, -r * u);
    return x >= 0 ? 1 + above : -above;
}

__device__ __forceinline__ float gelu_tanh_inner(float x)
{
    return tanhf(0.797884560802865356f * (x + 0.044715f * x * x * x));
}

__device__ __forceinline__ float gelu_tanh(float x)
{
    return 0.5f * x * (1 + gelu_tanh_inner(x));
}

__device__ __forceinline__ float gelu_tanh_slope(float x)
{
    float t = gelu_tanh_inner(x), u = 0.797884560802865356f * (1 + 3 * 0.044715f * x * x);
    return 0.5f * (1 + t) + 0.5f * x * (1 - t * t) * u;
}

__device__ __forceinline__ float quick_gelu(float x)
{
    return x * sigmoid(1.702f * x);
}

__device__ __forceinline__ float quick_gelu_slope(float x)
{
    float s = sigmoid(1.702f * x);
    return s + 1.702f * x * s * (1 - s);
}

} // namespace

#endif
