#include "encoders/transformer.h"

#include <math.h>

int64_t dt_width(const dt_tensor *x)
{
    return x->shape.rank ? x->shape.dim[x->shape.rank - 1] : 0;
}

dt_tensor *dt_norm_layer(dt_scope scope, dt_tensor *x, float eps)
{
    dt_shape shape = dt_dims(dt_width(x));
    return dt_layer_norm(x, dt_param(scope, "weight", shape, dt_ones), dt_param(scope, "bias", shape, dt_zeros), eps);
}

dt_tensor *dt_linear_layer(dt_scope scope, dt_tensor *x, int64_t out, float deviation)
{
    return dt_linear(x, dt_param(scope, "weight", dt_dims(out, dt_width(x)), dt_gaussian(deviation)),
                     dt_param(scope, "bias", dt_dims(out), dt_zeros));
}

/* The deviation of what ends a residual branch: the sum over all branches keeps its size. */
static float ending(const dt_transformer_config *c)
{
    return 1 / sqrtf((float)c->width * 2 * (float)c->layers);
}

static dt_tensor *attention(dt_scope scope, const dt_transformer_config *c, dt_tensor *x)
{
    int64_t width = c->width;
    dt_tensor *weight = dt_param(scope, "in_proj_weight", dt_dims(3 * width, width),
                                 dt_gaussian(1 / sqrtf((float)width)));
    dt_tensor *bias = dt_param(scope, "in_proj_bias", dt_dims(3 * width), dt_zeros);
    dt_tensor *mixed = dt_attention(dt_linear(x, weight, bias), c->heads, c->causal);
    return dt_linear_layer(dt_in(scope, "out_proj"), mixed, width, ending(c));
}

dt_tensor *dt_perceptron(dt_scope scope, const dt_transformer_config *c, dt_tensor *x)
{
    dt_tensor *hidden = dt_linear_layer(dt_in(scope, "c_fc"), x, c->hidden, 1 / sqrtf(2 * (float)c->width));
    return dt_linear_layer(dt_in(scope, "c_proj"), dt_activate(hidden, c->activation), c->width, ending(c));
}

static dt_tensor *block(dt_scope scope, const dt_transformer_config *c, dt_tensor *x)
{
    x = dt_add(x, attention(dt_in(scope, "attn"), c, dt_norm_layer(dt_in(scope, "ln_1"), x, c->norm_eps)));
    return dt_add(x, dt_perceptron(dt_in(scope, "mlp"), c, dt_norm_layer(dt_in(scope, "ln_2"), x, c->norm_eps)));
}

dt_tensor *dt_transformer(dt_scope scope, const dt_transformer_config *c, dt_tensor *x)
{
    for (int i = 0; i < c->layers; i++)
        x = block(dt_in(scope, "resblocks.%d", i), c, x);
    return x;
}
