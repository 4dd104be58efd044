/* CLIP (Radford et al., 2021): an image tower and a text tower whose projections meet in one space. */
#ifndef DUET_ENCODERS_CLIP_H
#define DUET_ENCODERS_CLIP_H

#include "encoders/residual.h"
#include "encoders/text.h"
#include "encoders/vit.h"

typedef enum { DT_VISION_VIT, DT_VISION_RESIDUAL } dt_vision_kind;

typedef struct dt_clip_config {
    int embed_dim;
    dt_vision_kind vision;
    dt_vit_config vit;           /* when vision is DT_VISION_VIT */
    dt_residual_config residual; /* when vision is DT_VISION_RESIDUAL */
    dt_text_config text;
    float init_logit_scale; /* the logarithm of the inverse temperature; CLIP: ln(1 / 0.07) */
    bool has_logit_bias;    /* for the sigmoid loss */
    float init_logit_bias;  /* SigLIP: -10 */
} dt_clip_config;

int dt_clip_image_size(const dt_clip_config *config);

/* Whether the image tower depends on the other samples of a batch in training (batch norm): then a batch cannot be cut into
 * chunks without changing the result. */
bool dt_clip_mixes_batch(const dt_clip_config *config);

/* images [n, size, size, 3], normalised -> embeddings [n, embed_dim], not yet of unit length. Parameters: visual.* and
 * visual.proj [width, embed_dim]. */
dt_tensor *dt_clip_image(dt_scope scope, const dt_clip_config *config, dt_tensor *images, bool training);

/* tokens int32 [n, context] -> embeddings [n, embed_dim]. Parameters: as encoders/text.h and text_projection. */
dt_tensor *dt_clip_text(dt_scope scope, const dt_clip_config *config, dt_tensor *tokens);

/* logit_scale (a logarithm), and logit_bias where the model has one, both scalars. */
dt_tensor *dt_clip_logit_scale(dt_scope scope, const dt_clip_config *config);
dt_tensor *dt_clip_logit_bias(dt_scope scope, const dt_clip_config *config);

#endif
