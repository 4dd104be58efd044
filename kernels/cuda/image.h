/* Walking over channels-last images [batch, height, width, channels] for kernels in which a thread has one pixel and, where
 * the number of channels and the addresses allow it, four neighbouring channels, so that a warp reads whole lines of
 * memory. */
#ifndef DUET_KERNELS_CUDA_IMAGE_H
#define DUET_KERNELS_CUDA_IMAGE_H

#include "kernels/cuda/divide.h"

/* The work on one image batch, in items of `wide` channels of a pixel. */
struct dt_pixels {
    int64_t count, groups, height, width;
    dt_divisor<uint32_t> by_groups, by_height, by_width; /* for a count up to INT32_MAX */
};

/* Where an item lies. */
struct dt_place {
    int64_t image, row, column, channel;
};

static inline dt_pixels dt_pixels_of(const dt_shape *shape, int wide)
{
    dt_pixels p = {dt_count(shape) / wide, shape->dim[3] / wide, shape->dim[1], shape->dim[2]};
    if (p.count <= INT32_MAX) {
        dt_divide_by(&p.by_groups, p.groups);
        dt_divide_by(&p.by_height, p.height);
        dt_divide_by(&p.by_width, p.width);
    }
    return p;
}

template <int WIDE> static __device__ __forceinline__ dt_place dt_place_of(const dt_pixels &p, int64_t item)
{
    if (p.count <= INT32_MAX) {
        dt_split<uint32_t> pixel = dt_split_by((uint32_t)item, p.by_groups), line = dt_split_by(pixel.over, p.by_width),
                           image = dt_split_by(line.over, p.by_height);
        return {(int64_t)image.over, (int64_t)image.rest, (int64_t)line.rest, (int64_t)pixel.rest * WIDE};
    }
    int64_t pixel = item / p.groups, line = pixel / p.width;
    return {line / p.height, line % p.height, pixel % p.width, item % p.groups * WIDE};
}

/* For a kernel that computes output 0 from input 0, both images of one type: calls launch(type, wide, pixels, grid) with a
 * zero of the element type, the width as an integral constant, and the result's pixels. */
template <class Launch> static inline void dt_by_pixels(const dt_call *call, Launch launch)
{
    const dt_node *node = call->node;
    const dt_shape *shape = &node->output[0].shape;
    const dt_dtype type = node->input[0]->dtype;
    bool four = shape->dim[3] % 4 == 0 && dt_aligned4(call->in[0], type) && dt_aligned4(call->out[0], type);
    dt_by_type(type, [&](auto zero) {
        auto with = [&](auto wide) {
            dt_pixels pixels = dt_pixels_of(shape, wide());
            launch(zero, wide, pixels, dt_grid(pixels.count, DT_BLOCK));
        };
        dt_by_fours(four, with);
    });
}

#endif
