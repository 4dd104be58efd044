/* What the configurations of all training commands have in common: defaults, a JSON file over them, overrides from the command
 * line over that; and the parts that they share. Unknown keys and wrong types are refused by name. */
#ifndef DUET_EXPERIMENTS_CONFIG_H
#define DUET_EXPERIMENTS_CONFIG_H

#include "data/json.h"
#include "data/pairs.h"
#include "data/transform.h"
#include "kernels/optimizer.h"

/* Everything in force: the defaults (JSON text, which names every key), the members of the file at `path` (NULL: none), then
 * each override "a.b=c". Where "model" is the path of a file and no preset's name, the description in it stands in its place
 * (dt_model_description), read from where the command is given. The caller owns the object. */
json_t *dt_config_load(const char *defaults, const char *path, const char *const *overrides, size_t count, dt_error *error);

/* "optimizer": {"kind", "lr", "beta1", "beta2", "eps", "momentum", "nesterov", "weight_decay", "clip_norm"}. `file` and
 * `path` ("optimizer") say where it stands, for messages, as below. */
bool dt_config_optimizer(const json_t *json, const char *file, const char *path, dt_optimizer_config *optimizer,
                         double *learning_rate, dt_error *error);

/* "schedule": {"kind": "cosine" or "constant", "warmup"}, over the optimizer's learning rate. */
typedef struct dt_rate_config {
    dt_schedule schedule;
    double base;
    double warmup; /* a share of the steps below 1, or a number of steps */
} dt_rate_config;
bool dt_config_schedule(const json_t *json, const char *file, dt_rate_config *rate, dt_error *error);

/* A length that is given as a share of all `steps` (below 1) or as a number of steps. */
double dt_config_span(double given, int64_t steps);

/* The learning rate of a step, 0 being the first, of `steps`. */
double dt_config_rate(const dt_rate_config *rate, uint64_t step, int64_t steps);

/* "checkpoint": {"every", "keep"}. */
bool dt_config_checkpoint(const json_t *json, const char *file, int64_t *every, int *keep, dt_error *error);

/* "data.train": the stores of a path or a list of paths (dt_pairs_open_list). The caller closes; NULL on failure. */
dt_pairs *dt_config_open_pairs(const json_t *train, dt_error *error);

/* Whether a batch can be filled; the message says how large one is that takes all `count` of them ("pairs"). */
bool dt_config_check_batch(int batch_size, uint64_t count, const char *them, dt_error *error);

/* "augment": the training transform for a model's preprocessing (size, mean, std, interpolation). */
bool dt_config_transform(const json_t *augment, const dt_transform *preprocess, dt_transform *transform, dt_error *error);

#endif
