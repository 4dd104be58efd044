/* What a variational autoencoder has to show: samples, reconstructions beside originals, the way between two images, and the whole plane
 * of two latent numbers. */
#ifndef DUET_EXPERIMENTS_VAE_VIEWS_H
#define DUET_EXPERIMENTS_VAE_VIEWS_H

#include "experiments/generative.h"

typedef struct dt_vae_views dt_vae_views;

/* Borrows model and backend. `count`: pictures of a sheet. Originals are images of the data at `path`, evenly
 * spread over it. */
dt_vae_views *dt_vae_views_new(dt_model *model, const dt_backend *backend, int count, const char *path, uint64_t seed,
                               dt_error *error);
void dt_vae_views_free(dt_vae_views *views); /* NULL is allowed */

/* Sheets of what the model draws now, into the run; `last`: all of them, else samples and reconstructions. */
bool dt_vae_views_show(dt_vae_views *views, const dt_generative *run, bool last, dt_error *error);

/* z [count, latent] -> the means of p(x|z), float32 [count, size, size, channels], in [0, 1]. Not for a VQ-VAE. */
bool dt_vae_views_decode(dt_vae_views *views, const float *z, size_t count, float *pictures, dt_error *error);

#endif
