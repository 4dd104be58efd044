#include "encoders/residual.h"

#include <math.h>

static dt_tensor *convolve(dt_scope scope, dt_tensor *x, int64_t out, int size, int stride)
{
    int64_t in = x->shape.rank == 4 ? x->shape.dim[3] : 0;
    float deviation = sqrtf(2.0f / (float)(out * size * size)); /* He et al., 2015, by the outputs */
    dt_conv_form form = {.stride = {stride, stride}, .padding = {size / 2, size / 2}, .dilation = {1, 1}, .groups = 1};
    return dt_conv2d(x, dt_param(scope, "weight", dt_dims(out, in, size, size), dt_gaussian(deviation)), NULL, form);
}

static dt_tensor *batch_norm(dt_scope scope, dt_tensor *x, bool training)
{
    dt_shape shape = dt_dims(x->shape.rank == 4 ? x->shape.dim[3] : 0);
    dt_tensor *gamma = dt_param(scope, "weight", shape, dt_ones), *beta = dt_param(scope, "bias", shape, dt_zeros);
    dt_batch_norm_state state = {.running_mean = dt_buffer(scope, "running_mean", shape, dt_zeros),
                                 .running_var = dt_buffer(scope, "running_var", shape, dt_ones),
                                 .momentum = 0.1f, .eps = 1e-5f, .training = training};
    return dt_batch_norm(x, gamma, beta, state);
}

static dt_tensor *basic_block(dt_scope scope, dt_tensor *x, int width, int stride, bool training)
{
    dt_tensor *y = convolve(dt_in(scope, "conv1"), x, width, 3, stride);
    y = dt_relu(batch_norm(dt_in(scope, "bn1"), y, training));
    y = batch_norm(dt_in(scope, "bn2"), convolve(dt_in(scope, "conv2"), y, width, 3, 1), training);
    if (stride != 1 || x->shape.dim[3] != width)
        x = batch_norm(dt_in(scope, "downsample.1"), convolve(dt_in(scope, "downsample.0"), x, width, 1, stride),
                       training);
    return dt_relu(dt_add(y, x));
}

dt_tensor *dt_residual_tower(dt_scope scope, const dt_residual_config *c, dt_tensor *images, bool training)
{
    dt_tensor *x = convolve(dt_in(scope, "conv1"), images, c->widths[0], 3, c->stem_stride);
    x = dt_relu(batch_norm(dt_in(scope, "bn1"), x, training));
    for (int i = 0; i < c->stages; i++)
        for (int j = 0; j < c->blocks[i]; j++)
            x = basic_block(dt_in(scope, "layer%d.%d", i + 1, j), x, c->widths[i], i && !j ? 2 : 1, training);
    return dt_mean(x, 1u << 1 | 1u << 2, false);
}
