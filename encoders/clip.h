/* CLIP (Radford et al., 2021): an image tower and a text tower whose projections meet in one space; SigLIP (Zhai et al., 2023)
 * too, with its own towers. */
#ifndef DUET_ENCODERS_CLIP_H
#define DUET_ENCODERS_CLIP_H

#include "encoders/gan.h"
#include "encoders/pixels.h"
#include "encoders/resnet.h"
#include "encoders/text.h"
#include "encoders/vae.h"
#include "encoders/vit.h"

typedef enum {
    DT_VISION_VIT,
    DT_VISION_RESIDUAL, /* resnet.h */
    DT_VISION_PIXELS,
    DT_VISION_VAE, /* the encoder's mean; a decoder belongs to the model */
    DT_VISION_GAN, /* the discriminator's features; a generator belongs to the model */
} dt_vision_kind;

/* From a tower's features to the common space. */
typedef enum {
    DT_PROJECT_MATRIX, /* NAME [width, embed_dim]: CLIP's */
    DT_PROJECT_LINEAR, /* NAME.weight [embed_dim, width] and NAME.bias: SigLIP's of texts (Hugging Face: text_model.head) */
    DT_PROJECT_NONE,   /* the features are in that space: attention pools, SigLIP's of images */
} dt_clip_projection;

typedef struct dt_clip_config {
    int embed_dim; /* 0: no projections, which only a model without a text tower can do without */
    dt_vision_kind vision;
    dt_vit_config vit;       /* when vision is DT_VISION_VIT */
    dt_resnet_config resnet; /* when vision is DT_VISION_RESIDUAL */
    int pixels;              /* when vision is DT_VISION_PIXELS: the side of the image */
    dt_vae_config vae;       /* when vision is DT_VISION_VAE */
    dt_gan_config gan;       /* when vision is DT_VISION_GAN */
    bool has_text;
    dt_text_config text;
    dt_clip_projection image_projection, text_projection;
    float init_logit_scale; /* the logarithm of the inverse temperature; CLIP: ln(1 / 0.07) */
    bool has_logit_bias;    /* for the sigmoid loss */
    float init_logit_bias;  /* SigLIP: -10 */
} dt_clip_config;

int dt_clip_image_size(const dt_clip_config *config); /* pixels; 0: a GAN of points, which has no image tower */

/* Whether the image tower depends on the other samples of a batch in training (batch norm): then a batch cannot be cut into
 * chunks without changing the result. */
bool dt_clip_mixes_batch(const dt_clip_config *config);

/* The towers. images [n, size, size, 3], normalised, or tokens int32 [n, context] -> features [n, width]. Parameters:
 * visual.*, those of vae.h and gan.h under their own names, and as encoders/text.h. */
dt_tensor *dt_clip_image_features(dt_scope scope, const dt_clip_config *config, dt_tensor *images, bool training);
dt_tensor *dt_clip_text_features(dt_scope scope, const dt_clip_config *config, dt_tensor *tokens);

/* Features [n, width] -> embeddings [n, embed_dim], not yet of unit length; the features themselves where embed_dim is 0 or
 * there is no projection. Parameters: visual.proj and text_projection (dt_clip_projection). */
dt_tensor *dt_clip_project_image(dt_scope scope, const dt_clip_config *config, dt_tensor *features);
dt_tensor *dt_clip_project_text(dt_scope scope, const dt_clip_config *config, dt_tensor *features);

/* Both together: images or tokens -> embeddings. */
dt_tensor *dt_clip_image(dt_scope scope, const dt_clip_config *config, dt_tensor *images, bool training);
dt_tensor *dt_clip_text(dt_scope scope, const dt_clip_config *config, dt_tensor *tokens);

/* logit_scale (a logarithm), and logit_bias where the model has one, both scalars. */
dt_tensor *dt_clip_logit_scale(dt_scope scope, const dt_clip_config *config);
dt_tensor *dt_clip_logit_bias(dt_scope scope, const dt_clip_config *config);

#endif
