#include "encoders/gan_layers.h"

#include "encoders/spectral.h"
#include "encoders/transformer.h"

int dt_gan_smallest_side(int image_size)
{
    while (image_size > 7 && image_size % 2 == 0)
        image_size /= 2;
    return image_size == 4 || image_size == 7 ? image_size : 0;
}

static dt_tensor *weight(const dt_gan_net *net, dt_scope scope, const char *name, dt_shape shape, dt_init init)
{
    dt_tensor *w = dt_param(scope, name, shape, init);
    return net->norm == DT_GAN_NORM_SPECTRAL ? dt_spectral_normalize(dt_in(scope, "%s", name), w, net->training) : w;
}

dt_tensor *dt_gan_linear(const dt_gan_net *net, dt_scope scope, dt_tensor *x, int64_t out, dt_init init)
{
    dt_tensor *w = weight(net, scope, "weight", dt_dims(out, dt_width(x)), init);
    return dt_linear(x, w, dt_param(scope, "bias", dt_dims(out), dt_zeros));
}

dt_tensor *dt_gan_conv(const dt_gan_net *net, dt_scope scope, dt_tensor *x, int64_t out, int size, int stride, bool bias,
                       dt_init init)
{
    int padding = (size - 1) / 2;
    dt_conv_form form = {.stride = {stride, stride}, .padding = {padding, padding}, .dilation = {1, 1}, .groups = 1};
    dt_tensor *w = weight(net, scope, "weight", dt_dims(out, dt_width(x), size, size), init);
    return dt_conv2d(x, w, bias ? dt_param(scope, "bias", dt_dims(out), dt_zeros) : NULL, form);
}

dt_tensor *dt_gan_condition(const dt_gan_net *net, dt_scope scope, const char *name, int64_t width, dt_init init)
{
    const dt_gan_config *c = net->config;
    if (c->condition == DT_CONDITION_CLASS)
        return dt_embedding(weight(net, scope, name, dt_dims(c->classes, width), init), net->condition);
    return dt_linear(net->condition, weight(net, scope, name, dt_dims(width, c->condition_width), init), NULL);
}

static dt_batch_norm_state statistics(dt_scope scope, dt_shape shape, bool training)
{
    return (dt_batch_norm_state){.running_mean = dt_buffer(scope, "running_mean", shape, dt_zeros),
                                 .running_var = dt_buffer(scope, "running_var", shape, dt_ones),
                                 .momentum = 0.1f, .eps = 1e-5f, .training = training};
}

dt_tensor *dt_gan_batch_norm(const dt_gan_net *net, dt_scope scope, dt_tensor *x)
{
    int64_t c = dt_width(x);
    dt_shape shape = dt_dims(c), each = dt_dims(x->shape.dim[0], 1, 1, c);
    dt_batch_norm_state state = statistics(scope, shape, net->training);
    if (!net->condition) {
        dt_tensor *gain = dt_param(scope, "weight", shape, dt_ones), *bias = dt_param(scope, "bias", shape, dt_zeros);
        return dt_batch_norm(x, gain, bias, state);
    }
    bool table = net->config->condition == DT_CONDITION_CLASS;
    dt_tensor *gain = dt_gan_condition(net, scope, "weight", c, table ? dt_ones : dt_gaussian(0.02f));
    dt_tensor *bias = dt_gan_condition(net, scope, "bias", c, table ? dt_zeros : dt_gaussian(0.02f));
    dt_tensor *normal = dt_batch_norm(x, dt_fill(scope.graph, shape, 1), dt_fill(scope.graph, shape, 0), state);
    gain = table ? gain : dt_affine(gain, 1, 1);
    return dt_add(dt_mul(normal, dt_reshape(gain, each)), dt_reshape(bias, each));
}

dt_tensor *dt_gan_rectify(dt_gan_net *net, dt_tensor *x, float slope)
{
    dt_tensor *y = slope > 0 ? dt_leaky_relu(x, slope) : dt_relu(x);
    unsigned all_but_channels = (1u << (x->shape.rank - 1)) - 1;
    dt_tensor *above = dt_sum(dt_relu(y), all_but_channels, false);
    dt_tensor *alive = dt_sum(dt_greater(above, dt_fill(dt_graph_of(x), above->shape, 0)), DT_ALL, false);
    net->alive = net->alive ? dt_add(net->alive, alive) : alive;
    net->units += dt_width(x);
    return y;
}
