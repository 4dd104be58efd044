#include "encoders/resnet.h"

#include <math.h>

#include "encoders/attention_pool.h"

static dt_tensor *convolve(dt_scope scope, dt_tensor *x, int64_t out, int size, int stride)
{
    float deviation = sqrtf(2.0f / (float)(out * size * size));
    dt_conv_form form = {.stride = {stride, stride}, .padding = {size / 2, size / 2}, .dilation = {1, 1}, .groups = 1};
    dt_shape shape = dt_dims(out, dt_width(x), size, size);
    return dt_conv2d(x, dt_param(scope, "weight", shape, dt_gaussian(deviation)), NULL, form);
}

static dt_tensor *batch_norm(dt_scope scope, dt_tensor *x, dt_init init, bool training)
{
    dt_shape shape = dt_dims(dt_width(x));
    dt_tensor *gamma = dt_param(scope, "weight", shape, init), *beta = dt_param(scope, "bias", shape, dt_zeros);
    dt_batch_norm_state state = {.running_mean = dt_buffer(scope, "running_mean", shape, dt_zeros),
                                 .running_var = dt_buffer(scope, "running_var", shape, dt_ones),
                                 .momentum = 0.1f, .eps = 1e-5f, .training = training};
    return dt_batch_norm(x, gamma, beta, state);
}

/* Convolution `i` of its scope, its norm, and ReLU. */
static dt_tensor *unit(dt_scope scope, int i, dt_tensor *x, int width, int size, int stride, bool training)
{
    x = convolve(dt_in(scope, "conv%d", i), x, width, size, stride);
    return dt_relu(batch_norm(dt_in(scope, "bn%d", i), x, dt_ones, training));
}

static dt_tensor *halve(dt_tensor *x)
{
    return dt_avg_pool2d(x, (dt_pool_form){.kernel = {2, 2}, .stride = {2, 2}});
}

static dt_tensor *shortcut(dt_scope scope, dt_tensor *x, int width, int stride, bool training)
{
    x = convolve(dt_in(scope, "downsample.0"), x, width, 1, stride);
    return batch_norm(dt_in(scope, "downsample.1"), x, dt_ones, training);
}

static dt_tensor *basic_block(dt_scope scope, dt_tensor *x, int width, int stride, bool training)
{
    dt_tensor *y = unit(scope, 1, x, width, 3, stride, training);
    y = batch_norm(dt_in(scope, "bn2"), convolve(dt_in(scope, "conv2"), y, width, 3, 1), dt_ones, training);
    if (stride != 1 || dt_width(x) != width)
        x = shortcut(scope, x, width, stride, training);
    return dt_relu(dt_add(y, x));
}

static dt_tensor *bottleneck(dt_scope scope, const dt_resnet_config *c, dt_tensor *x, int width, int stride, bool training)
{
    bool pooled = c->antialiased && stride > 1;
    dt_tensor *y = unit(scope, 1, x, width, 1, 1, training);
    y = unit(scope, 2, y, width, 3, pooled ? 1 : stride, training);
    y = convolve(dt_in(scope, "conv3"), pooled ? halve(y) : y, 4 * (int64_t)width, 1, 1);
    y = batch_norm(dt_in(scope, "bn3"), y, dt_zeros, training);
    if (stride > 1 || dt_width(x) != 4 * width)
        x = shortcut(scope, pooled ? halve(x) : x, 4 * width, pooled ? 1 : stride, training);
    return dt_relu(dt_add(y, x));
}

static dt_tensor *stem(dt_scope scope, const dt_resnet_config *c, dt_tensor *images, bool training)
{
    const dt_pool_form maximum = {.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}};
    int width = c->widths[0];
    if (c->stem == DT_STEM_SMALL)
        return unit(scope, 1, images, width, 3, c->stem_stride, training);
    if (c->stem == DT_STEM_LARGE)
        return dt_max_pool2d(unit(scope, 1, images, width, 7, 2, training), maximum);
    dt_tensor *x = unit(scope, 1, images, width / 2, 3, 2, training);
    x = unit(scope, 2, x, width / 2, 3, 1, training);
    return halve(unit(scope, 3, x, width, 3, 1, training));
}

dt_tensor *dt_resnet(dt_scope scope, const dt_resnet_config *c, dt_tensor *images, bool training)
{
    dt_tensor *x = stem(scope, c, images, training);
    for (int i = 0; i < c->stages; i++)
        for (int j = 0; j < c->blocks[i]; j++) {
            dt_scope at = dt_in(scope, "layer%d.%d", i + 1, j);
            int stride = i && !j ? 2 : 1;
            x = c->bottleneck ? bottleneck(at, c, x, c->widths[i], stride, training)
                              : basic_block(at, x, c->widths[i], stride, training);
        }
    if (c->heads)
        return dt_attention_pool(dt_in(scope, "attnpool"), x, c->heads, c->embed_dim);
    return dt_mean(x, 1u << 1 | 1u << 2, false);
}
