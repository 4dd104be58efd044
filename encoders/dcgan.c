/* DCGAN (Radford, Metz & Chintala, 2016): every layer halves or doubles the side with 4x4 kernels and stride 2. */
#include "encoders/gan_layers.h"
#include "encoders/transformer.h"

enum { KERNEL = 4, LARGEST_MULTIPLE = 8 };

static const float slope = 0.2f;

static dt_init initial(void)
{
    return dt_gaussian(0.02f);
}

/* Channels where the side is that. The layer next to the image has config->width of them. */
static int64_t channels(const dt_gan_config *c, int64_t side)
{
    int64_t multiple = c->image_size / 2 / side;
    return c->width * (multiple < LARGEST_MULTIPLE ? multiple : LARGEST_MULTIPLE);
}

static dt_tensor *twice_as_large(dt_scope scope, dt_tensor *x, int64_t out, bool bias)
{
    dt_conv_form form = {.stride = {2, 2}, .padding = {1, 1}, .dilation = {1, 1}, .groups = 1};
    dt_tensor *w = dt_param(scope, "weight", dt_dims(dt_width(x), out, KERNEL, KERNEL), initial());
    return dt_conv_transpose2d(x, w, bias ? dt_param(scope, "bias", dt_dims(out), dt_zeros) : NULL, form, (int[]){0, 0});
}

dt_tensor *dt_dcgan_generator(dt_gan_net *net, dt_scope scope, dt_tensor *z)
{
    const dt_gan_config *c = net->config;
    int64_t side = dt_gan_smallest_side(c->image_size), width = channels(c, side);
    dt_tensor *w = dt_param(dt_in(scope, "linear"), "weight", dt_dims(side * side * width, c->latent), initial());
    dt_tensor *x = dt_reshape(dt_linear(z, w, NULL), dt_dims(z->shape.dim[0], side, side, width));
    for (int i = 1; side < c->image_size; i++, side *= 2) {
        bool last = 2 * side == c->image_size;
        x = dt_gan_rectify(net, dt_gan_batch_norm(net, dt_in(scope, "bn%d", i), x), 0);
        x = twice_as_large(dt_in(scope, "conv%d", i), x, last ? c->channels : channels(c, 2 * side), last);
    }
    return dt_tanh(x);
}

dt_tensor *dt_dcgan_features(dt_gan_net *net, dt_scope scope, dt_tensor *x)
{
    const dt_gan_config *c = net->config;
    int64_t side = c->image_size, smallest = dt_gan_smallest_side(c->image_size);
    for (int i = 1; side > smallest; i++) {
        bool normed = i > 1 && net->norm == DT_GAN_NORM_BATCH;
        side /= 2;
        x = dt_gan_conv(net, dt_in(scope, "conv%d", i), x, channels(c, side), KERNEL, 2, !normed, initial());
        x = dt_gan_rectify(net, normed ? dt_gan_batch_norm(net, dt_in(scope, "bn%d", i), x) : x, slope);
    }
    return dt_reshape(x, dt_dims(x->shape.dim[0], -1));
}
