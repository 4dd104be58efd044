/* One step of training a generator against a discriminator. A step is one update of the discriminator; every critic_steps-th is
 * followed by one of the generator, whose moving average is kept beside it (after n updates with a decay of at most (1 + n) / (10 + n)). */
#ifndef DUET_EXPERIMENTS_GAN_TRAINER_H
#define DUET_EXPERIMENTS_GAN_TRAINER_H

#include "experiments/gan_config.h"
#include "kernels/plan.h"

typedef struct dt_gan_trainer dt_gan_trainer;

/* Borrows model (with vision_cfg "gan"), config and backend. */
dt_gan_trainer *dt_gan_trainer_new(dt_model *model, const dt_backend *backend, const dt_gan_train_config *config, int batch_size,
                                   uint64_t seed, dt_error *error);
void dt_gan_trainer_free(dt_gan_trainer *trainer); /* NULL is allowed */

/* samples: images float32 [batch, size, size, 3] in [-1, 1], or points [batch, 2]; condition as encoders/gan.h has it (NULL: none), of the
 * samples and of what is generated. Found: loss and d_loss, g_loss, real_logit and fake_logit (means), d_grad_norm and g_grad_norm, penalty,
 * dead_units (the discriminator's, on real samples); of the generator what its last update gave. What is not finite is an error that names the first such tensor; the parameters of
 * that network stay as they were. */
bool dt_gan_trainer_step(dt_gan_trainer *trainer, const float *samples, const void *condition, uint64_t step, double rate,
                         double generator_rate, dt_step_found *found, dt_error *error);

/* What is shown and saved: the moving average of the generator, parameters and running statistics, under the same names. */
dt_params *dt_gan_trainer_average(dt_gan_trainer *trainer);

/* Puts the average in the place of the generator in the model; for the end of a run. */
void dt_gan_trainer_settle(dt_gan_trainer *trainer);

/* For checkpoints: the discriminator's optimizer is the run's; the rest are extras (at most DT_GAN_EXTRAS). */
enum { DT_GAN_EXTRAS = 5 };
dt_optimizer *dt_gan_trainer_optimizer(dt_gan_trainer *trainer);
size_t dt_gan_trainer_extras(dt_gan_trainer *trainer, dt_extra extras[DT_GAN_EXTRAS]);
void dt_gan_trainer_restored(dt_gan_trainer *trainer, uint64_t step);

/* The plans of the two updates, for measurements. */
dt_plan *dt_gan_trainer_plan(dt_gan_trainer *trainer, bool generator);

#endif
