#include "encoders/gan_layers.h"
#include "encoders/transformer.h"

static dt_tensor *hidden(const dt_gan_net *net, dt_scope scope, dt_tensor *x, int i)
{
    return dt_gan_linear(net, dt_in(scope, "linear%d", i + 1), x, net->config->width, dt_he(dt_width(x)));
}

/* A condition joins z as further inputs of the first layer; of one-hot classes that adds a row of a table to its result. */
dt_tensor *dt_gan_mlp_generator(dt_gan_net *net, dt_scope scope, dt_tensor *z)
{
    const dt_gan_config *c = net->config;
    dt_tensor *x = z;
    for (int i = 0; i < c->layers; i++) {
        x = hidden(net, scope, x, i);
        if (i == 0 && net->condition)
            x = dt_add(x, dt_gan_condition(net, dt_in(scope, "linear1"), "condition", c->width, dt_he(c->latent)));
        x = dt_gan_rectify(net, x, 0);
    }
    return dt_gan_linear(net, dt_in(scope, "output"), x, c->channels, dt_glorot(c->width, c->channels, 1));
}

dt_tensor *dt_gan_mlp_features(dt_gan_net *net, dt_scope scope, dt_tensor *x)
{
    for (int i = 0; i < net->config->layers; i++)
        x = dt_gan_rectify(net, hidden(net, scope, x, i), 0);
    return x;
}
