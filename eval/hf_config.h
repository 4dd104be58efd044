/* The configuration files of a Hugging Face directory as a description of Duet's, and back. */
#ifndef DUET_EVAL_HF_CONFIG_H
#define DUET_EVAL_HF_CONFIG_H

#include "eval/model.h"
#include "eval/names.h"

/* Whether `folder` holds a config.json of theirs: one with a model_type. */
bool dt_is_hf_folder(const char *folder);

/* The description of the model that a config.json is of (model_type "clip" or "siglip"; what is absent has the value that
 * transformers gives it), with the preprocessor_config.json beside it (or the image_processor of processor_config.json; absent:
 * the model type's own). What changes a model and what Duet does not have is refused; `note` names the fields that nobody here
 * knows (eval/hf_fields.h), "": none. The caller frees. NULL on failure. */
json_t *dt_hf_description(const char *file, dt_naming *naming, char *note, size_t room, dt_error *error);

/* config.json and preprocessor_config.json of a model that transformers can hold; otherwise NULL, with what it is that it
 * cannot. New references. */
json_t *dt_hf_config(const dt_model *model, dt_naming *naming, dt_error *error);
json_t *dt_hf_preprocessor(const dt_model *model, dt_naming naming, dt_error *error);

#endif
