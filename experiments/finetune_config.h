/* What a fine-tuning run is told: a JSON file over defaults, with overrides from the command line. The defaults in
 * finetune_config.c name every key. */
#ifndef DUET_EXPERIMENTS_FINETUNE_CONFIG_H
#define DUET_EXPERIMENTS_FINETUNE_CONFIG_H

#include "encoders/classifier.h"
#include "experiments/config.h"

typedef struct dt_finetune_config {
    json_t *json; /* everything in force; strings and arrays below are borrowed from it */

    const char *weights;     /* the run or file to start from; NULL: a fresh `model` */
    const json_t *model;     /* a preset's name or a description, where there are no weights */
    const char *tokenizer;   /* with a fresh model and the text tower */
    dt_tower tower;
    bool zeroshot;           /* the head starts from the text tower's embeddings of the classes, on unit embeddings; else at zero */
    bool on_embedding;       /* a new head sees the unit embedding instead of the features before the projection */
    const json_t *templates; /* of the class prompts */

    int layers; /* blocks that are trained, from the last one on; 0: the head alone; -1: everything */
    double layer_decay; /* the learning rate of a block, as a share of that of the one behind it */
    double smoothing, mixup;

    const char *train, *validation; /* validation NULL: a share of the training data */
    double validation_share;        /* 0: no validation */
    const json_t *test;             /* a path, a list of them, or NULL */
    int threads;
    size_t cache_bytes;

    const json_t *augment;
    int batch_size, epochs, patience; /* patience 0: no early stopping */
    int64_t seed;
    dt_optimizer_config optimizer;
    dt_rate_config rate;
    int64_t checkpoint_every, log_every;
    int keep_checkpoints;
    int interpolate; /* points between the weights at the start and at the end, where these are compared; 0: none */
} dt_finetune_config;

/* Reads defaults, then the file (NULL: none), then each override "a.b=c". */
bool dt_finetune_config_load(dt_finetune_config *config, const char *path, const char *const *overrides, size_t count,
                             dt_error *error);
void dt_finetune_config_free(dt_finetune_config *config);

#endif
