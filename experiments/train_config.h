/* What a pretraining run is told: a JSON file over defaults, with overrides from the command line. The defaults in
 * train_config.c name every key. */
#ifndef DUET_EXPERIMENTS_TRAIN_CONFIG_H
#define DUET_EXPERIMENTS_TRAIN_CONFIG_H

#include "experiments/config.h"

typedef enum { DT_LOSS_INFONCE, DT_LOSS_SIGMOID } dt_loss_kind;

typedef struct dt_train_config {
    json_t *json; /* everything in force; strings and arrays below are borrowed from it */

    const json_t *model;     /* a preset's name or a description (dt_config_load has read a file) */
    const json_t *tokenizer; /* a path, or {"merges": N}: trained on the captions of the training data */
    int merges;              /* that N */

    const json_t *train; /* path, pattern, or list of them */
    int threads;
    size_t cache_bytes;
    bool weighted;
    const char *class_caption;

    const json_t *augment;

    int batch_size, chunk_size; /* chunk 0: the whole batch at once */
    int64_t steps;
    double minutes; /* 0: no limit; else the number of steps is cut, early in the run, to what fits */
    int64_t seed;
    dt_loss_kind loss;
    double max_logit_scale; /* logit_scale is kept in [0, this] */

    dt_optimizer_config optimizer;
    dt_rate_config rate;

    int64_t checkpoint_every;
    int keep_checkpoints;
    int64_t log_every;

    int64_t evaluate_every; /* 0: only at the end */
    const json_t *evaluate; /* a list of what to evaluate */
} dt_train_config;

/* Reads defaults, then the file, then each override "a.b=c". Unknown keys and wrong types are refused by name. */
bool dt_train_config_load(dt_train_config *config, const char *path, const char *const *overrides, size_t count,
                          dt_error *error);
void dt_train_config_free(dt_train_config *config);

#endif
