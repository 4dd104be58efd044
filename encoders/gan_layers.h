/* What the generators and discriminators of gan.h are made of; for the files gan_*.c only. */
#ifndef DUET_ENCODERS_GAN_LAYERS_H
#define DUET_ENCODERS_GAN_LAYERS_H

#include "encoders/gan.h"
#include "encoders/initial.h"

/* One recording of a generator or a discriminator. */
typedef struct dt_gan_net {
    const dt_gan_config *config;
    dt_gan_norm norm;      /* of this half */
    dt_tensor *condition;  /* NULL: none */
    bool training;
    dt_tensor *alive;      /* how many of the rectifiers' units were above zero, so far; NULL: no rectifier yet */
    int64_t units;         /* of how many */
} dt_gan_net;

/* SCOPE.weight [out, in] and SCOPE.bias, under the net's spectral norm: x [n, in] -> [n, out]. */
dt_tensor *dt_gan_linear(const dt_gan_net *net, dt_scope scope, dt_tensor *x, int64_t out, dt_init init);

/* A square convolution, likewise: kernel `size`, padding (size - 1) / 2, with a bias unless batch norm takes it away again. */
dt_tensor *dt_gan_conv(const dt_gan_net *net, dt_scope scope, dt_tensor *x, int64_t out, int size, int stride, bool bias,
                       dt_init init);

/* Batch norm; with a condition its gain and bias are the condition's: rows of SCOPE.{weight, bias} [classes, c], or
 * 1 + W e and V e with SCOPE.{weight, bias} = W, V [c, numbers]. */
dt_tensor *dt_gan_batch_norm(const dt_gan_net *net, dt_scope scope, dt_tensor *x);

/* SCOPE.NAME of the net's condition: a row of the table [classes, width], or a linear map [width, numbers] without a bias,
 * under the net's spectral norm: [n, width]. */
dt_tensor *dt_gan_condition(const dt_gan_net *net, dt_scope scope, const char *name, int64_t width, dt_init init);

/* max(x, 0) + slope min(x, 0), counted for dt_judgement's `dead`. */
dt_tensor *dt_gan_rectify(dt_gan_net *net, dt_tensor *x, float slope);

/* 4 or 7, from which the image's side is reached by doubling; 0: neither. */
int dt_gan_smallest_side(int image_size);

/* ---- The networks: z -> images or points, and x -> f(x) [n, w] ---- */

dt_tensor *dt_gan_mlp_generator(dt_gan_net *net, dt_scope scope, dt_tensor *z);
dt_tensor *dt_gan_mlp_features(dt_gan_net *net, dt_scope scope, dt_tensor *x);
dt_tensor *dt_dcgan_generator(dt_gan_net *net, dt_scope scope, dt_tensor *z);
dt_tensor *dt_dcgan_features(dt_gan_net *net, dt_scope scope, dt_tensor *x);
dt_tensor *dt_gan_residual_generator(dt_gan_net *net, dt_scope scope, dt_tensor *z);
dt_tensor *dt_gan_residual_features(dt_gan_net *net, dt_scope scope, dt_tensor *x);

#endif
