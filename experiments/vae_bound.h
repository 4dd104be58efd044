/* What a variational autoencoder is worth on images that it was not trained on: ELBO, and the importance-weighted estimate of log p(x)
 * (Burda et al., 2016). */
#ifndef DUET_EXPERIMENTS_VAE_BOUND_H
#define DUET_EXPERIMENTS_VAE_BOUND_H

#include "eval/dataset.h"

typedef struct dt_vae_bound_options {
    const dt_dataset *data;
    bool binarise; /* each pixel drawn once and for all, a function of (seed, image, place) */
    uint64_t seed;
    int samples;   /* of z an image; 1 gives the ELBO alone */
    int threads;
    dt_progress progress;
} dt_vae_bound_options;

/* In nats, means over the images. */
typedef struct dt_vae_bound {
    size_t images;
    int samples;
    double elbo, reconstruction, kl; /* of a VQ-VAE: reconstruction alone */
    double bound;                    /* log 1/k sum exp(log weight), k = samples */
    double error;                    /* standard error of the mean of `bound` over images */
    int active;                      /* dimensions of z whose mean varies by more than 0.01 (Burda et al.) */
    double perplexity;               /* of a VQ-VAE's codes over all images */
} dt_vae_bound;

/* The model has vision_cfg "vae". */
bool dt_vae_bound_of(dt_model *model, const dt_backend *backend, const dt_vae_bound_options *options, dt_vae_bound *bound,
                     dt_error *error);

#endif
