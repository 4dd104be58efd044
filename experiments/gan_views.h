/* What a generator has to show: samples of the same z each time, a row for each class or prompt; the way between two z; points of a
 * ring beside the real ones. */
#ifndef DUET_EXPERIMENTS_GAN_VIEWS_H
#define DUET_EXPERIMENTS_GAN_VIEWS_H

#include "experiments/gan_condition.h"
#include "experiments/gan_config.h"
#include "experiments/gan_sampler.h"

typedef struct dt_gan_views {
    dt_gan_sampler *sampler; /* borrowed, as all that follows */
    const dt_gan_config *model;
    dt_conditions *conditions;
    const dt_ring *ring;
    int count; /* pictures of a sheet */
    uint64_t seed;
} dt_gan_views;

/* Sheets of what the generator draws now, into the run; `last`: the way between z too. */
bool dt_gan_views_show(const dt_gan_views *views, const dt_generative *run, bool last, dt_error *error);

/* count pictures or points of the prior, for these conditions (NULL where there are none), in memory that the caller frees. NULL on
 * failure. */
float *dt_gan_views_draw(const dt_gan_views *views, uint64_t seed, size_t count, const void *conditions, dt_error *error);

#endif
