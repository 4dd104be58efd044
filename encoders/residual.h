/* A small residual network (He et al., 2016): a strided stem, stages of basic blocks, mean over positions. */
#ifndef DUET_ENCODERS_RESIDUAL_H
#define DUET_ENCODERS_RESIDUAL_H

#include "kernels/ops.h"
#include "kernels/params.h"

enum { DT_RESIDUAL_STAGES = 8 };

typedef struct dt_residual_config {
    int image_size;                 /* pixels */
    int stages;                     /* at most DT_RESIDUAL_STAGES */
    int widths[DT_RESIDUAL_STAGES]; /* channels of each stage; the stem has those of the first */
    int blocks[DT_RESIDUAL_STAGES]; /* basic blocks of each stage; all stages but the first start with stride 2 */
    int stem_stride;                /* 1 or 2 */
} dt_residual_config;

/* images [n, size, size, 3], normalised -> features [n, widths[stages - 1]]. In training, batch norm uses the batch and
 * updates its running statistics. Parameters, named as torchvision's: SCOPE.{conv1, bn1, layerI.J.{conv1, bn1, conv2, bn2,
 * downsample.0, downsample.1}}. */
dt_tensor *dt_residual_tower(dt_scope scope, const dt_residual_config *config, dt_tensor *images, bool training);

#endif
