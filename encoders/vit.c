#include "encoders/vit.h"

#include <math.h>

#include "encoders/attention_pool.h"

/* images -> one row for each patch: [n, patches, width]. */
static dt_tensor *embed_patches(dt_scope scope, const dt_vit_config *c, dt_tensor *images)
{
    int64_t width = c->transformer.width, size = c->patch_size;
    dt_conv_form form = {.stride = {c->patch_size, c->patch_size}, .dilation = {1, 1}, .groups = 1};
    dt_tensor *weight = dt_param(dt_in(scope, "conv1"), "weight", dt_dims(width, 3, size, size),
                                 dt_within(1 / sqrtf(3.0f * (float)(size * size))));
    dt_tensor *bias = c->patch_bias ? dt_param(dt_in(scope, "conv1"), "bias", dt_dims(width), dt_zeros) : NULL;
    dt_tensor *grid = dt_conv2d(images, weight, bias, form);
    return dt_reshape(grid, dt_dims(images->shape.dim[0], -1, width));
}

static dt_tensor *embed(dt_scope scope, const dt_vit_config *c, dt_tensor *images)
{
    int64_t n = images->shape.dim[0], width = c->transformer.width;
    float deviation = 1 / sqrtf((float)width);
    dt_tensor *x = embed_patches(scope, c, images);
    if (!c->no_class_token) {
        dt_tensor *token = dt_param(scope, "class_embedding", dt_dims(width), dt_gaussian(deviation));
        dt_tensor *sequence[] = {dt_broadcast_to(token, dt_dims(n, 1, width)), x};
        x = dt_concat(sequence, 2, 1);
    }
    x = dt_add(x, dt_param(scope, "positional_embedding", dt_dims(x->shape.dim[1], width), dt_gaussian(deviation)));
    return c->no_norm_before ? x : dt_norm_layer(dt_in(scope, "ln_pre"), x, c->transformer.norm_eps);
}

/* x [n, t, width] -> the one row [n, width] that stands for all. */
static dt_tensor *pool(dt_scope scope, const dt_vit_config *c, dt_tensor *x)
{
    int first = !c->no_class_token;
    switch (c->pool) {
    case DT_POOL_CLASS: return dt_reshape(dt_slice(x, 1, 0, 1), dt_dims(x->shape.dim[0], c->transformer.width));
    case DT_POOL_MEAN: return dt_mean(dt_slice(x, 1, first, x->shape.dim[1] - first), 1u << 1, false);
    default: return dt_probe_pool(dt_in(scope, "attn_pool"), &c->transformer, x);
    }
}

dt_tensor *dt_vit(dt_scope scope, const dt_vit_config *c, dt_tensor *images)
{
    dt_scope last = dt_in(scope, "ln_post");
    dt_tensor *x = dt_transformer(dt_in(scope, "transformer"), &c->transformer, embed(scope, c, images));
    if (c->norm_after_pool || c->pool == DT_POOL_CLASS) /* a norm of rows may as well come after the choice of a row */
        return dt_norm_layer(last, pool(scope, c, x), c->transformer.norm_eps);
    return pool(scope, c, dt_norm_layer(last, x, c->transformer.norm_eps));
}
