/* Parameters as lists of tensors in files: between eval/model and what else writes them (training checkpoints). */
#ifndef DUET_EVAL_MODEL_FILE_H
#define DUET_EVAL_MODEL_FILE_H

#include "data/safetensors.h"
#include "eval/model.h"

/* Tensors of all parameters and buffers, in order, pointing into the model; `extra` free entries follow for the caller. The
 * caller frees with free(). NULL: no memory. */
dt_st_tensor *dt_model_tensors(const dt_model *model, size_t extra, size_t *count);

/* Whether what has been gathered from a device can be trusted: to be asked before it is written over something whole. */
bool dt_model_gathered(const dt_model *model, dt_error *error);

/* Fills parameters and buffers from an open file; see dt_model_read. */
bool dt_model_fill(dt_model *model, const dt_safetensors *file, dt_error *error);

/* False where a parameter or buffer is not finite: the message names the first. It reads all values, those of a map included:
 * for after something came out that is not finite. */
bool dt_model_check_finite(const dt_model *model, dt_error *error);

/* The newest weights in a run's folder: RUN/model.safetensors, else the last of RUN/checkpoints. */
bool dt_run_weights(const char *run, char *path, size_t size, dt_error *error);

/* The newest RUN/checkpoints/step-N.safetensors and its step; false where there is none (no error is set). */
bool dt_run_checkpoint(const char *run, char *path, size_t size, uint64_t *step);

#endif
