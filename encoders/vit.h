/* The vision transformer (Dosovitskiy et al., 2021) as CLIP has it: a norm before the blocks, no bias in the patch
 * embedding, the class token read out. */
#ifndef DUET_ENCODERS_VIT_H
#define DUET_ENCODERS_VIT_H

#include "encoders/transformer.h"

typedef struct dt_vit_config {
    int image_size, patch_size; /* pixels; a rest below one patch is dropped */
    dt_transformer_config transformer;
} dt_vit_config;

/* images [n, size, size, 3], normalised -> the class token's features [n, width], before the projection. Parameters:
 * SCOPE.{class_embedding, positional_embedding, conv1, ln_pre, transformer, ln_post}. */
dt_tensor *dt_vit(dt_scope scope, const dt_vit_config *config, dt_tensor *images);

#endif
