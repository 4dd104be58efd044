/* The --weights of every command. */
#ifndef DUET_EXPERIMENTS_LOAD_H
#define DUET_EXPERIMENTS_LOAD_H

#include "eval/model.h"

#define DT_WEIGHTS_HELP "a run's folder, a .safetensors or .pt file, or a Hugging Face or open_clip directory"

/* dt_model_load; what had to be assumed, or could not be used, is told on stderr in the command's name ("duet embed"). */
dt_model *dt_load_weights(const char *command, const char *path, dt_error *error);

#endif
