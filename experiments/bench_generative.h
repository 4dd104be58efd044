/* Measures the training steps of `duet vae` and `duet gan`: the update that their trainers make, on random data. */
#ifndef DUET_EXPERIMENTS_BENCH_GENERATIVE_H
#define DUET_EXPERIMENTS_BENCH_GENERATIVE_H

#include "data/error.h"
#include "kernels/backend.h"

typedef struct dt_generative_bench {
    const char *file; /* a configuration of that command; what it names as data is not opened */
    bool gan;
    int batch; /* 0: the configuration's */
    int steps; /* to time */
    bool ops, json;
    const dt_backend *backend;
} dt_generative_bench;

/* Prints ms a step, images/s, model FLOP/s beside the matrix rate of the same run, and memory; with `ops` where the time of each
 * plan goes (a GAN has two), and what lies outside of them. A step of a GAN is critic_steps updates of the discriminator and one of
 * the generator. What a condition takes from the data in training is 10 classes, or a vector of 512 numbers, unless the
 * configuration says. */
bool dt_bench_generative(const dt_generative_bench *bench, dt_error *error);

#endif
