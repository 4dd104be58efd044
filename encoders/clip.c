#include "encoders/clip.h"

#include <math.h>

int dt_clip_image_size(const dt_clip_config *c)
{
    switch (c->vision) {
    case DT_VISION_RESIDUAL: return c->resnet.image_size;
    case DT_VISION_PIXELS: return c->pixels;
    case DT_VISION_VAE: return c->vae.image_size;
    case DT_VISION_GAN: return c->gan.image_size;
    default: return c->vit.image_size;
    }
}

bool dt_clip_mixes_batch(const dt_clip_config *c)
{
    return c->vision == DT_VISION_RESIDUAL;
}

static dt_tensor *project(dt_scope scope, const char *name, dt_tensor *x, dt_clip_projection kind, int64_t embed_dim)
{
    if (!embed_dim || kind == DT_PROJECT_NONE)
        return x;
    int64_t width = dt_width(x);
    float deviation = 1 / sqrtf((float)width);
    if (kind == DT_PROJECT_LINEAR)
        return dt_linear_layer(dt_in(scope, "%s", name), x, embed_dim, deviation);
    return dt_matmul(x, dt_param(scope, name, dt_dims(width, embed_dim), dt_gaussian(deviation)), false, false);
}

dt_tensor *dt_clip_image_features(dt_scope scope, const dt_clip_config *c, dt_tensor *images, bool training)
{
    dt_scope visual = dt_in(scope, "visual");
    switch (c->vision) {
    case DT_VISION_RESIDUAL: return dt_resnet(visual, &c->resnet, images, training);
    case DT_VISION_PIXELS: return dt_pixels(images);
    case DT_VISION_VAE: return dt_vae_features(scope, &c->vae, images);
    case DT_VISION_GAN: return dt_gan_features(scope, &c->gan, images);
    default: return dt_vit(visual, &c->vit, images);
    }
}

dt_tensor *dt_clip_text_features(dt_scope scope, const dt_clip_config *c, dt_tensor *tokens)
{
    return dt_text_tower(scope, &c->text, tokens);
}

dt_tensor *dt_clip_project_image(dt_scope scope, const dt_clip_config *c, dt_tensor *features)
{
    return project(dt_in(scope, "visual"), "proj", features, c->image_projection, c->embed_dim);
}

dt_tensor *dt_clip_project_text(dt_scope scope, const dt_clip_config *c, dt_tensor *features)
{
    return project(scope, "text_projection", features, c->text_projection, c->embed_dim);
}

dt_tensor *dt_clip_image(dt_scope scope, const dt_clip_config *c, dt_tensor *images, bool training)
{
    return dt_clip_project_image(scope, c, dt_clip_image_features(scope, c, images, training));
}

dt_tensor *dt_clip_text(dt_scope scope, const dt_clip_config *c, dt_tensor *tokens)
{
    return dt_clip_project_text(scope, c, dt_clip_text_features(scope, c, tokens));
}

dt_tensor *dt_clip_logit_scale(dt_scope scope, const dt_clip_config *c)
{
    return dt_param(scope, "logit_scale", (dt_shape){0}, dt_filled(c->init_logit_scale));
}

dt_tensor *dt_clip_logit_bias(dt_scope scope, const dt_clip_config *c)
{
    return dt_param(scope, "logit_bias", (dt_shape){0}, dt_filled(c->init_logit_bias));
}
