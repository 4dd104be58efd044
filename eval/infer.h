/* What model a file of weights without a description holds, by the shapes of its tensors. */
#ifndef DUET_EVAL_INFER_H
#define DUET_EVAL_INFER_H

#include "data/json.h"
#include "eval/weights.h"

/* The description of a model with OpenAI's names, as the loader of OpenAI's own files infers it: a ViT where there is
 * visual.proj, else a ModifiedResNet; 64 features a head; QuickGELU. These last two cannot be seen in a file. The caller
 * frees. NULL where a tensor that tells something is not there. */
json_t *dt_infer_description(const dt_weights *weights, dt_error *error);

#endif
