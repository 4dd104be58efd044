/* open_clip_config.json, read and written. */
#ifndef DUET_EVAL_OPEN_CLIP_CONFIG_H
#define DUET_EVAL_OPEN_CLIP_CONFIG_H

#include "eval/model.h"
#include "eval/names.h"

/* The two parts of such a file, model_cfg and preprocess_cfg, as one description. The caller frees. NULL on failure. */
json_t *dt_open_clip_description(const char *path, dt_error *error);

/* {"model_cfg": {...}, "preprocess_cfg": {...}}, a new reference, and the names that open_clip has for such a model's tensors.
 * NULL for a model that open_clip cannot hold, with what it is that it cannot. */
json_t *dt_open_clip_config(const dt_model *model, dt_naming *naming, dt_error *error);

/* The ratio that an MLP of `hidden` features behind `width` has, such that width times it, rounded down, is `hidden` again. */
double dt_mlp_ratio(int width, int hidden);

#endif
