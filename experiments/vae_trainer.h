/* One step of training a variational autoencoder: by the ELBO, by the importance-weighted bound, or as a VQ-VAE. */
#ifndef DUET_EXPERIMENTS_VAE_TRAINER_H
#define DUET_EXPERIMENTS_VAE_TRAINER_H

#include "experiments/vae_config.h"
#include "kernels/plan.h"

typedef struct dt_vae_trainer dt_vae_trainer;

/* Borrows model (with vision_cfg "vae"), config and backend. */
dt_vae_trainer *dt_vae_trainer_new(dt_model *model, const dt_backend *backend, const dt_vae_train_config *config, int batch_size,
                                   uint64_t seed, dt_error *error);
void dt_vae_trainer_free(dt_vae_trainer *trainer); /* NULL is allowed */

/* images float32 [batch, size, size, 3] in [0, 1]; total_steps is what a warm-up is a share of. Found, in nats an image: loss (of a VQ-VAE
 * a dimension's, with the commitment); elbo, reconstruction (log p(x|z)) and kl, or bound
 * (importance-weighted), or reconstruction, commitment and perplexity (VQ-VAE); bits_per_dim of the bound where it is one
 * (dt_vae_is_likelihood); grad_norm, beta. What is not finite is an error that names the first such tensor, and the parameters stay as they were. */
bool dt_vae_trainer_step(dt_vae_trainer *trainer, const float *images, uint64_t step, int64_t total_steps, double rate,
                         dt_step_found *found, dt_error *error);

dt_optimizer *dt_vae_trainer_optimizer(dt_vae_trainer *trainer);
dt_plan *dt_vae_trainer_plan(dt_vae_trainer *trainer); /* for measurements */

/* log p(x|z) under the model's likelihood; x [n, ...], rows of z n k -> [n k]. */
dt_tensor *dt_vae_log_prob(const dt_vae_config *config, dt_reconstruction reconstruction, dt_tensor *x);

/* Whether what the ELBO and the bound are of is a likelihood: a Bernoulli of grey values is a cross-entropy only. */
bool dt_vae_is_likelihood(const dt_vae_config *config, bool binarised);

/* Bits a dimension of `nats` an image, where its numbers are levels or bits; of a Gaussian density on levels 1 / 255 apart, the level's
 * share of it. */
double dt_vae_bits(const dt_vae_config *config, double nats);

#endif
