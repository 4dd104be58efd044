/* What `duet vae` is told: a JSON file over defaults, with overrides from the command line. The defaults in vae_config.c name every
 * key. */
#ifndef DUET_EXPERIMENTS_VAE_CONFIG_H
#define DUET_EXPERIMENTS_VAE_CONFIG_H

#include "experiments/generative.h"

typedef struct dt_vae_train_config {
    bool binarise;         /* pixels are drawn anew each time: 1 with the probability that is their intensity */
    bool importance;       /* the importance-weighted bound instead of the ELBO */
    int samples;           /* of z for each image */
    double beta;           /* weight of the KL divergence */
    double warmup;         /* over which beta rises from 0: a share of all steps below 1, or a number of steps */
    float free_bits;       /* nats of each latent dimension's KL that cost nothing */
    dt_optimizer_config optimizer;
    int64_t evaluate_every; /* steps; 0: at the end only */
    int bound_samples;      /* of the importance-weighted estimate of log p(x) at the end; 0: none */
    int64_t test_seed;      /* of the one binarisation of the test images, and of the estimate's draws */
} dt_vae_train_config;

/* Fills run->config, run->json too. */
bool dt_vae_config_load(dt_vae_train_config *config, dt_generative *run, const char *path, const char *const *overrides,
                        size_t count, dt_error *error);

#endif
