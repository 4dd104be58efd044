/* Up- and downsampling of channels-last images, as torch.nn.functional.interpolate without antialiasing. */
#ifndef DUET_KERNELS_OPS_RESIZE_H
#define DUET_KERNELS_OPS_RESIZE_H

#include "kernels/graph.h"
#include "kernels/op.h"

typedef enum { DT_RESIZE_NEAREST, DT_RESIZE_BILINEAR, DT_RESIZE_BICUBIC } dt_resize_kind;

/* x [n, h, w, c] -> [n, height, width, c]. Nearest takes floor(i h / height); bicubic has a = -0.75 and
 * clamps at the borders (Keys, 1981). align_corners maps corner to corner (bilinear and bicubic; an error
 * with nearest); otherwise pixel centres are mapped. */
dt_tensor *dt_resize(dt_tensor *x, int height, int width, dt_resize_kind how, bool align_corners);

/* ---- For the backends: resize: x -> y, resize_grad: dy -> dx, a linear pair; attributes: ---- */

typedef struct dt_resize_form {
    dt_resize_kind how;
    bool align_corners;
} dt_resize_form;

extern const dt_op dt_op_resize, dt_op_resize_grad;

#endif
