#include "encoders/clip.h"

#include <math.h>

int dt_clip_image_size(const dt_clip_config *c)
{
    return c->vision == DT_VISION_VIT ? c->vit.image_size : c->residual.image_size;
}

bool dt_clip_mixes_batch(const dt_clip_config *c)
{
    return c->vision == DT_VISION_RESIDUAL;
}

/* x [n, width] times the parameter NAME [width, embed_dim], stored as published checkpoints have it. */
static dt_tensor *project(dt_scope scope, const char *name, dt_tensor *x, int64_t embed_dim)
{
    int64_t width = x->shape.dim[x->shape.rank - 1];
    dt_init init = dt_gaussian(1 / sqrtf((float)width));
    return dt_matmul(x, dt_param(scope, name, dt_dims(width, embed_dim), init), false, false);
}

dt_tensor *dt_clip_image(dt_scope scope, const dt_clip_config *c, dt_tensor *images, bool training)
{
    dt_scope visual = dt_in(scope, "visual");
    dt_tensor *features = c->vision == DT_VISION_VIT ? dt_vit(visual, &c->vit, images)
                                                     : dt_residual_tower(visual, &c->residual, images, training);
    return project(visual, "proj", features, c->embed_dim);
}

dt_tensor *dt_clip_text(dt_scope scope, const dt_clip_config *c, dt_tensor *tokens)
{
    return project(scope, "text_projection", dt_text_tower(scope, &c->text, tokens), c->embed_dim);
}

dt_tensor *dt_clip_logit_scale(dt_scope scope, const dt_clip_config *c)
{
    return dt_param(scope, "logit_scale", (dt_shape){0}, dt_filled(c->init_logit_scale));
}

dt_tensor *dt_clip_logit_bias(dt_scope scope, const dt_clip_config *c)
{
    return dt_param(scope, "logit_bias", (dt_shape){0}, dt_filled(c->init_logit_bias));
}
