/* Rows that are worked on by teams: short ones have a warp each, side by side in a block; long ones a block each. And sums
 * of two numbers at once, which such rows often need. */
#ifndef DUET_KERNELS_CUDA_TEAM_H
#define DUET_KERNELS_CUDA_TEAM_H

#include "kernels/cuda/launch.h"

namespace
{

enum { SHORT_ROW = 1024 /* elements up to which a warp has a row */ };

const dim3 warps(DT_WARP, DT_BLOCK / DT_WARP);

__device__ __forceinline__ int64_t first_row(void)
{
    return (int64_t)blockIdx.x * blockDim.y + threadIdx.y;
}

__device__ __forceinline__ int64_t row_stride(void)
{
    return (int64_t)gridDim.x * blockDim.y;
}

/* Calls launch(THREADS of a team as a constant, grid, block) for so many rows. */
template <class Launch> void by_team(bool short_rows, int64_t count, Launch launch)
{
    if (short_rows)
        launch(std::integral_constant<int, DT_WARP>(), dt_grid(count, warps.y), warps);
    else
        launch(std::integral_constant<int, DT_BLOCK>(), dt_grid(count, 1), dim3(DT_BLOCK));
}

struct alignas(8) pair {
    float a, b;
};

struct dt_plus_pair {
    __device__ __forceinline__ pair operator()(pair x, pair y) const
    {
        return {x.a + y.a, x.b + y.b};
    }
};

__device__ __forceinline__ pair dt_from_lane(pair value, int distance)
{
    return {::dt_from_lane(value.a, distance), ::dt_from_lane(value.b, distance)};
}

} // namespace

#endif
