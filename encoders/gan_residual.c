/* The residual pair of Miyato et al., 2018 (appendix B.4, for 32x32), of one width throughout. */
#include "encoders/gan_layers.h"

#include <math.h>

#include "encoders/transformer.h"

/* The reference's: gain sqrt 2 in the branches, 1 in shortcuts and linear layers. */
static dt_tensor *convolve(const dt_gan_net *net, dt_scope scope, dt_tensor *x, int64_t out, int size)
{
    int64_t area = (int64_t)size * size;
    dt_init init = dt_glorot(dt_width(x) * area, out * area, size > 1 ? sqrtf(2) : 1);
    return dt_gan_conv(net, scope, x, out, size, 1, true, init);
}

static dt_tensor *twice_as_large(dt_tensor *x)
{
    return dt_resize(x, 2 * (int)x->shape.dim[1], 2 * (int)x->shape.dim[2], DT_RESIZE_NEAREST, false);
}

static dt_tensor *half_as_large(dt_tensor *x)
{
    return dt_avg_pool2d(x, (dt_pool_form){.kernel = {2, 2}, .stride = {2, 2}});
}

/* A 1x1 convolution goes before the enlargement and behind the reduction: the same numbers for a quarter of the work. */
static dt_tensor *up_block(dt_gan_net *net, dt_scope scope, dt_tensor *x)
{
    int64_t width = dt_width(x);
    dt_tensor *y = dt_gan_rectify(net, dt_gan_batch_norm(net, dt_in(scope, "bn1"), x), 0);
    y = convolve(net, dt_in(scope, "conv1"), twice_as_large(y), width, 3);
    y = dt_gan_rectify(net, dt_gan_batch_norm(net, dt_in(scope, "bn2"), y), 0);
    y = convolve(net, dt_in(scope, "conv2"), y, width, 3);
    return dt_add(y, twice_as_large(convolve(net, dt_in(scope, "shortcut"), x, width, 1)));
}

dt_tensor *dt_gan_residual_generator(dt_gan_net *net, dt_scope scope, dt_tensor *z)
{
    const dt_gan_config *c = net->config;
    int64_t side = dt_gan_smallest_side(c->image_size), inputs = side * side * c->width;
    dt_tensor *x = dt_gan_linear(net, dt_in(scope, "linear"), z, inputs, dt_glorot(c->latent, inputs, 1));
    x = dt_reshape(x, dt_dims(z->shape.dim[0], side, side, c->width));
    for (int i = 1; side < c->image_size; i++, side *= 2)
        x = up_block(net, dt_in(scope, "block%d", i), x);
    x = dt_gan_rectify(net, dt_gan_batch_norm(net, dt_in(scope, "bn"), x), 0);
    return dt_tanh(convolve(net, dt_in(scope, "output"), x, c->channels, 3));
}

/* The first block sees the image itself: nothing is rectified before its first convolution. */
static dt_tensor *down_block(dt_gan_net *net, dt_scope scope, dt_tensor *x, bool first)
{
    int64_t width = net->config->width;
    dt_tensor *y = convolve(net, dt_in(scope, "conv1"), first ? x : dt_gan_rectify(net, x, 0), width, 3);
    y = convolve(net, dt_in(scope, "conv2"), dt_gan_rectify(net, y, 0), width, 3);
    return dt_add(half_as_large(y), convolve(net, dt_in(scope, "shortcut"), half_as_large(x), width, 1));
}

static dt_tensor *plain_block(dt_gan_net *net, dt_scope scope, dt_tensor *x)
{
    int64_t width = net->config->width;
    dt_tensor *y = convolve(net, dt_in(scope, "conv1"), dt_gan_rectify(net, x, 0), width, 3);
    return dt_add(x, convolve(net, dt_in(scope, "conv2"), dt_gan_rectify(net, y, 0), width, 3));
}

dt_tensor *dt_gan_residual_features(dt_gan_net *net, dt_scope scope, dt_tensor *x)
{
    int smallest = dt_gan_smallest_side(net->config->image_size) == 7 ? 7 : 8, i = 1;
    for (; i == 1 || x->shape.dim[1] > smallest; i++)
        x = down_block(net, dt_in(scope, "block%d", i), x, i == 1);
    for (int plain = 0; plain < 2; plain++, i++)
        x = plain_block(net, dt_in(scope, "block%d", i), x);
    return dt_sum(dt_gan_rectify(net, x, 0), 1u << 1 | 1u << 2, false);
}
