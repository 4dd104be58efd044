#include "encoders/vit.h"

#include <math.h>

/* images -> one row for each patch: [n, patches, width]. */
static dt_tensor *embed_patches(dt_scope scope, const dt_vit_config *c, dt_tensor *images)
{
    int64_t width = c->transformer.width, size = c->patch_size;
    dt_conv_form form = {.stride = {c->patch_size, c->patch_size}, .dilation = {1, 1}, .groups = 1};
    dt_tensor *weight = dt_param(dt_in(scope, "conv1"), "weight", dt_dims(width, 3, size, size),
                                 dt_within(1 / sqrtf(3.0f * (float)(size * size))));
    dt_tensor *grid = dt_conv2d(images, weight, NULL, form);
    return dt_reshape(grid, dt_dims(images->shape.dim[0], -1, width));
}

dt_tensor *dt_vit(dt_scope scope, const dt_vit_config *c, dt_tensor *images)
{
    int64_t n = images->shape.dim[0], width = c->transformer.width;
    float deviation = 1 / sqrtf((float)width);
    dt_tensor *patches = embed_patches(scope, c, images);
    dt_tensor *token = dt_param(scope, "class_embedding", dt_dims(width), dt_gaussian(deviation));
    dt_tensor *place = dt_param(scope, "positional_embedding", dt_dims(patches->shape.dim[1] + 1, width),
                                dt_gaussian(deviation));
    dt_tensor *sequence[] = {dt_broadcast_to(token, dt_dims(n, 1, width)), patches};
    dt_tensor *x = dt_add(dt_concat(sequence, 2, 1), place);
    x = dt_norm_layer(dt_in(scope, "ln_pre"), x, c->transformer.norm_eps);
    x = dt_transformer(dt_in(scope, "transformer"), &c->transformer, x);
    x = dt_reshape(dt_slice(x, 1, 0, 1), dt_dims(n, width));
    return dt_norm_layer(dt_in(scope, "ln_post"), x, c->transformer.norm_eps);
}
