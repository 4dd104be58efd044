/* Many evaluations by one file: models x data sets x tasks.
 *
 *   {"name": "small sets",
 *    "weights": "runs/cifar10",                 or a list of runs and weights files
 *    "sets": [{"name": "CIFAR-10",              what to call it; NULL: the data's short name
 *              "data": "packed/cifar10-test.lmdb",
 *              "train": "packed/cifar10-train.lmdb",    the probe's training data
 *              "validation": null,              and what its C is chosen on; null: a tenth of the training data
 *              "tasks": ["zeroshot", "retrieval", "probe", "classify"],
 *              "templates": ["a photo of a {}."], "classes": null,     of zeroshot, as duet zeroshot has them
 *              "captions": 0,                   of an image, for retrieval; 0: all
 *              "shots": [1, 2, 4], "seeds": 3,  few-shot probes too
 *              "after_projection": false,       probe the embeddings
 *              "weights": null}]}               instead of the suite's, for this set
 *
 * "classify" asks the head of a fine-tuned model. */
#ifndef DUET_EXPERIMENTS_SUITE_H
#define DUET_EXPERIMENTS_SUITE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "data/error.h"
#include "eval/dataset.h"
#include "kernels/backend.h"

typedef struct dt_suite dt_suite;

/* Reads and checks the file; nothing that it names is opened yet. */
dt_suite *dt_suite_load(const char *path, dt_error *error);
void dt_suite_free(dt_suite *suite); /* NULL is allowed */

/* Whether all that the suite names is there: models with their weights, data, and lists of classes. What is missing is told in one
 * line, all of it, before a task has run. */
bool dt_suite_check(const dt_suite *suite, dt_error *error);

typedef struct dt_suite_options {
    const char *results; /* the JSON file: {"results": [{"key", "suite", "weights", "set", "task", "precision", "seconds",
                            "figures"}]}; "precision" where it is not fp32 */
    bool again;          /* run also what is done */
    const dt_backend *backend;
    FILE *people;        /* a line for each task; NULL: none */
    dt_progress progress;
} dt_suite_options;

/* Runs what the results do not hold yet and writes them after each task, atomically: a suite that is interrupted goes on
 * where it was. What is done is known by a hash of the contents of model and data, of the task's settings and of the precision,
 * so it is run again when one of them changes; results in another precision stay beside. A task that fails is told, is left
 * out, and the next one runs; *failed counts them. False: the results cannot be read or written. */
bool dt_suite_run(dt_suite *suite, const dt_suite_options *options, size_t *failed, dt_error *error);

/* The results, in the order of the suite; borrowed. */
const json_t *dt_suite_results(const dt_suite *suite);

#endif
