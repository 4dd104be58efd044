/* The losses that bring two towers together. */
#ifndef DUET_LOSSES_CONTRASTIVE_H
#define DUET_LOSSES_CONTRASTIVE_H

#include "kernels/ops.h"

/* Symmetric InfoNCE on embeddings image, text [n, d], which are brought to unit length here; log_scale is the logarithm
 * of the inverse temperature (Radford et al., 2021, figure 3). -> scalar. */
dt_tensor *dt_clip_loss(dt_tensor *image, dt_tensor *text, dt_tensor *log_scale);

/* The sigmoid loss (Zhai et al., 2023, algorithm 1) on the same. */
dt_tensor *dt_siglip_loss(dt_tensor *image, dt_tensor *text, dt_tensor *log_scale, dt_tensor *bias);

#endif
