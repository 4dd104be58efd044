/* Drawing with a trained generator: `duet gan -w RUN`. */
#ifndef DUET_EXPERIMENTS_GAN_DRAW_H
#define DUET_EXPERIMENTS_GAN_DRAW_H

#include "experiments/device.h"

typedef struct dt_gan_draw {
    const char *weights, *text_weights; /* text_weights: perhaps NULL */
    const char *out;                    /* FILE.png: a sheet; else a folder, one file a picture; NULL: samples.png */
    dt_strings prompts, classes;
    int count;                          /* 0: 64, or 8 for each prompt or class */
    int64_t seed;
    const dt_device_options *device;
    bool quiet; /* no word of the device */
} dt_gan_draw;

/* Gives the exit status. */
int dt_gan_draw_run(const dt_gan_draw *draw);

#endif
