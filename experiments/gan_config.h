/* What `duet gan` is told: a JSON file over defaults, with overrides from the command line. The defaults in gan_config.c name every
 * key. */
#ifndef DUET_EXPERIMENTS_GAN_CONFIG_H
#define DUET_EXPERIMENTS_GAN_CONFIG_H

#include "experiments/generative.h"
#include "experiments/ring.h"
#include "losses/adversarial.h"

typedef enum { DT_PENALTY_NONE, DT_PENALTY_WGAN_GP, DT_PENALTY_R1 } dt_penalty;

typedef struct dt_gan_train_config {
    dt_ring ring;              /* in place of pictures */
    dt_gan_loss loss;
    int critic_steps;          /* updates of the discriminator for each of the generator; steps count those of the discriminator */
    dt_penalty penalty;
    float penalty_weight;      /* WGAN-GP: lambda; R1: gamma */
    dt_optimizer_config generator, discriminator;
    dt_rate_config generator_rate; /* the discriminator's is run->config.rate */
    double average;            /* decay of the generator's moving average; 0: the generator itself is shown and saved */
    const char *text_weights;  /* generators conditioned on text: whose text tower */
    const char *template;      /* the caption of a picture that has a class but no caption of its own */
    const char *classifier;    /* for label consistency; NULL: none */
} dt_gan_train_config;

/* Fills run->config, run->json too. */
bool dt_gan_config_load(dt_gan_train_config *config, dt_generative *run, const char *path, const char *const *overrides,
                        size_t count, dt_error *error);

#endif
