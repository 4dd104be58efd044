/* Models as others read them. */
#ifndef DUET_EVAL_EXPORT_H
#define DUET_EVAL_EXPORT_H

#include "eval/model.h"

/* Writes into `folder`, which is made where it is missing, what transformers' from_pretrained reads: config.json,
 * model.safetensors, preprocessor_config.json, and the tokenizer's files where the model has one. CLIP's ViTs become a
 * CLIPModel, SigLIP's a SiglipModel. What neither can hold (residual towers, heads, ...) is refused by name before anything
 * is written. The values are float32, to the bit. */
bool dt_export_hf(const dt_model *model, const char *folder, dt_error *error);

/* The same for open_clip ("local-dir:FOLDER"): open_clip_config.json, open_clip_model.safetensors, the tokenizer's files. */
bool dt_export_open_clip(const dt_model *model, const char *folder, dt_error *error);

#endif
