/* The configuration files of a Hugging Face directory as a description of Duet's, and back. */
#ifndef DUET_EVAL_HF_CONFIG_H
#define DUET_EVAL_HF_CONFIG_H

#include "eval/model.h"
#include "eval/names.h"

/* Whether `folder` holds a config.json of theirs: one with a model_type. */
bool dt_is_hf_folder(const char *folder);

/* The description of the model in `folder`: from config.json (model_type "clip" or "siglip"; what is absent has the value
 * that transformers gives it) and preprocessor_config.json (or the image_processor of processor_config.json; absent: the
 * model type's own). The caller frees. NULL on failure, such as for parts that Duet does not have. */
json_t *dt_hf_description(const char *folder, dt_naming *naming, dt_error *error);

/* config.json and preprocessor_config.json of a model that transformers can hold; otherwise NULL, with what it is that it
 * cannot. New references. */
json_t *dt_hf_config(const dt_model *model, dt_naming *naming, dt_error *error);
json_t *dt_hf_preprocessor(const dt_model *model, dt_naming naming, dt_error *error);

#endif
