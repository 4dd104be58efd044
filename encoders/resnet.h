/* Residual networks as image towers (He et al., 2016): the plain family, CLIP's ModifiedResNet (Radford et al., 2021, 2.4),
 * and small ones for small images. */
#ifndef DUET_ENCODERS_RESNET_H
#define DUET_ENCODERS_RESNET_H

#include "kernels/ops.h"
#include "kernels/params.h"

enum { DT_RESNET_STAGES = 8 };

typedef enum {
    DT_STEM_SMALL, /* one 3x3 convolution */
    DT_STEM_LARGE, /* a 7x7 convolution with stride 2 and a 3x3 maximum with stride 2: the plain family's */
    DT_STEM_DEEP,  /* three 3x3 convolutions, the first with stride 2, the last of twice the width, and a 2x2 mean: CLIP's */
} dt_resnet_stem;

typedef struct dt_resnet_config {
    int image_size; /* pixels */
    int stages;     /* at most DT_RESNET_STAGES */
    int widths[DT_RESNET_STAGES]; /* channels of each stage's 3x3 convolutions; the stem ends with those of the first */
    int blocks[DT_RESNET_STAGES]; /* of each stage; all stages but the first start with stride 2 */
    dt_resnet_stem stem;
    int stem_stride;  /* of the small stem: 1 or 2 */
    bool bottleneck;  /* blocks 1x1, 3x3, 1x1 that end with 4 times the width; else 3x3, 3x3 */
    bool antialiased; /* of bottlenecks: means over 2x2 take the place of strides, in the branch and in the shortcut */
    int heads;        /* of the attention pool (attention_pool.h) at the end; 0: the mean over positions */
    int embed_dim;    /* features that the attention pool ends with: it is the tower's projection too */
} dt_resnet_config;

/* images [n, size, size, 3], normalised -> features [n, channels of the last stage], or [n, embed_dim] from an attention pool.
 * In training, batch norm uses the batch and updates its running statistics (momentum 0.1, eps 1e-5). Parameters, named as
 * torchvision's and OpenAI's: SCOPE.{conv1, bn1 (deep stem: .. conv3, bn3), layerI.J.{conv1, bn1, conv2, bn2, conv3, bn3,
 * downsample.0, downsample.1}, attnpool}, from layer1.0. Convolutions start as He et al., 2015, by the outputs; a bottleneck's
 * last norm at zero (Goyal et al., 2017), so that every block starts as its shortcut. */
dt_tensor *dt_resnet(dt_scope scope, const dt_resnet_config *config, dt_tensor *images, bool training);

#endif
