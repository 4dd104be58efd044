/* Drawing with a generator. */
#ifndef DUET_EXPERIMENTS_GAN_SAMPLER_H
#define DUET_EXPERIMENTS_GAN_SAMPLER_H

#include "data/error.h"
#include "encoders/gan.h"
#include "kernels/backend.h"

typedef struct dt_gan_sampler dt_gan_sampler;

/* Borrows params, which hold generator.* and may change between draws, and config. */
dt_gan_sampler *dt_gan_sampler_new(dt_params *params, const dt_gan_config *config, const dt_backend *backend, dt_error *error);
void dt_gan_sampler_free(dt_gan_sampler *sampler); /* NULL is allowed */

size_t dt_gan_sampler_numbers(const dt_gan_sampler *sampler); /* of a picture, or a point */

/* z [count, latent] and conditions, int32 [count] or float32 [count, condition_width] (NULL: the generator takes none) -> pictures
 * float32 [count, size, size, channels] in [-1, 1], or points [count, channels]; with running statistics, so that a picture is a function
 * of its z and condition alone. */
bool dt_gan_sampler_draw(dt_gan_sampler *sampler, const float *z, const void *conditions, size_t count, float *pictures,
                         dt_error *error);

#endif
