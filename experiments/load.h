/* The --weights of every command. */
#ifndef DUET_EXPERIMENTS_LOAD_H
#define DUET_EXPERIMENTS_LOAD_H

#include "eval/model.h"

#define DT_WEIGHTS_HELP "a run's folder, a .safetensors or .pt file, or a Hugging Face or open_clip directory"

/* dt_model_load; what had to be assumed, or could not be used, is told on stderr in the command's name ("duet embed"), and how far
 * a run has come that is not finished; the latter not where the command is to be `quiet`. */
dt_model *dt_load_weights(const char *command, const char *path, bool quiet, dt_error *error);

/* Notes in what was found (eval/findings.h; either may be NULL) that the weights are from the middle of a training, where they are: in each
 * figure, and as "unfinished": {"step": 6, "of": 60}. */
void dt_load_note(json_t *found, const dt_model *model);

#endif
