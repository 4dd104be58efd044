/* Bringing a checkpoint's tensors to a model's parameters and buffers. */
#ifndef DUET_EVAL_MATCH_H
#define DUET_EVAL_MATCH_H

#include "eval/model.h"
#include "eval/names.h"
#include "eval/weights.h"

/* Gives every parameter and buffer its value. Names and shapes are compared first: what is missing, superfluous or of another
 * shape is listed in the message, blocks that differ alike once with *; of more than 40 such the first six of each kind, and how
 * many more there are. Then nothing is read. Axes of length 1 in front make no difference. A logit_scale or logit_bias that is
 * not finite is refused.
 *
 * A model that is declared only (dt_model_declare) gets its values in place: those that lie in the file as float32 in Duet's
 * layout stay in the map (weights must outlive the model), all others are copied, tensor by tensor, each one's part of the map
 * given back after it. A model that is allocated gets a copy of all.
 *
 * With `resize`, positional embeddings of images for another grid are interpolated (eval/positions.h). */
bool dt_model_match(dt_model *model, const dt_weights *weights, dt_naming naming, bool resize, dt_error *error);

#endif
