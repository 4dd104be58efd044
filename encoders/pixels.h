/* The tower that does nothing: an image's own grey values as its features. A linear head on it is multinomial logistic
 * regression, the simplest baseline there is. */
#ifndef DUET_ENCODERS_PIXELS_H
#define DUET_ENCODERS_PIXELS_H

#include "kernels/ops.h"

/* images [n, size, size, 3], normalised -> the mean of the three channels of every pixel, [n, size * size]. No parameters. */
dt_tensor *dt_pixels(dt_tensor *images);

#endif
