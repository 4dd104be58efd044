/* Pictures that travel as bytes: a quarter of what their floats take on the way to a device. */
#ifndef DUET_KERNELS_OPS_PIXELS_H
#define DUET_KERNELS_OPS_PIXELS_H

#include "kernels/graph.h"
#include "kernels/op.h"

/* x uint8 [n, h, w, c], 1 <= c <= 4 -> float32 of the same shape: (x / 255 - mean) / std by channel, std > 0; mean and std are
 * [c], copied now. On the CPU the very floats that the transforms of data/transform.h give where they are not asked for bytes. No gradient. */
dt_tensor *dt_normalize_pixels(dt_tensor *x, const float *mean, const float *std);

/* ---- For the backends; attributes: y = x * scale + bias, rounded once where the device has fused multiply-adds ---- */

enum { DT_PIXEL_CHANNELS = 4 };

typedef struct dt_pixel_form {
    float scale[DT_PIXEL_CHANNELS], bias[DT_PIXEL_CHANNELS]; /* by channel */
} dt_pixel_form;

extern const dt_op dt_op_normalize_pixels;

#endif
