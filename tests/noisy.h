/* Made-up pictures, no two of them alike. */
#ifndef DUET_TESTS_NOISY_H
#define DUET_TESTS_NOISY_H

#include "data/image.h"
#include "data/shuffle.h"

/* Noise over a ramp, told from i. */
static inline bool noisy_picture(dt_image *image, int width, int height, int channels, int i, dt_error *error)
{
    if (!dt_image_reserve(image, width, height, channels, error))
        return false;
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width * channels; x++)
            image->pixels[(size_t)y * image->stride + (size_t)x] =
                (uint8_t)(x * 2 + y * 3 + (int)(dt_hash64((uint64_t)i, (uint64_t)x, (uint64_t)y) % 40));
    return true;
}

#endif
