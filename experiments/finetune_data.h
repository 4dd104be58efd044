/* What a fine-tuning run trains on, validates with and is tested on, with one numbering of the classes: the training data's. */
#ifndef DUET_EXPERIMENTS_FINETUNE_DATA_H
#define DUET_EXPERIMENTS_FINETUNE_DATA_H

#include "experiments/examples.h"
#include "experiments/finetune_config.h"
#include "experiments/judge.h"

enum { DT_FINETUNE_TESTS = 16 };

typedef struct dt_finetune_data {
    const dt_backend *backend; /* that models are judged on: to be set before anything is */
    dt_examples *train, *validation; /* validation NULL: the rows held out, if any */
    dt_examples *tests[DT_FINETUNE_TESTS];
    char test_names[DT_FINETUNE_TESTS][256]; /* short; the whole path where that name is taken */
    size_t test_count;
    size_t *rows, row_count;   /* of the training data: to train on */
    size_t *held, held_count;  /* and held out, class by class */
    const char **classes;      /* [class_count], borrowed from train */
    size_t class_count;
} dt_finetune_data;

/* Opens all that the configuration names. The caller frees, also after a failure. Refused: fewer than two classes, a class in
 * validation or test that training has not. */
bool dt_finetune_data_open(dt_finetune_data *data, const dt_finetune_config *config, dt_error *error);
void dt_finetune_data_close(dt_finetune_data *data); /* zeroes it; a zeroed one is allowed */

/* Whether there is anything to validate with, how much, and how good the model's head is on it. */
size_t dt_finetune_validated(const dt_finetune_data *data);
bool dt_finetune_validate(const dt_finetune_data *data, dt_model *model, dt_verdict *verdict, dt_error *error);

#endif
