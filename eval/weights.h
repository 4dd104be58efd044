/* The tensors of a checkpoint in whatever number of files. */
#ifndef DUET_EVAL_WEIGHTS_H
#define DUET_EVAL_WEIGHTS_H

#include "data/safetensors.h"

typedef struct dt_weights dt_weights;

/* A file of tensors, or the index of several, NAME.index.json: {"weight_map": {"TENSOR": "FILE"}}. The files of an index lie
 * beside it; every tensor must lie where the index says. Tensors, names and data are borrowed from the result. */
dt_weights *dt_weights_open(const char *path, dt_error *error);

/* The same over a file that is open, and stays the caller's. */
dt_weights *dt_weights_around(const dt_safetensors *file, dt_error *error);

void dt_weights_close(dt_weights *weights); /* NULL is allowed */

const char *dt_weights_path(const dt_weights *weights);
size_t dt_weights_count(const dt_weights *weights);
const dt_st_tensor *dt_weights_at(const dt_weights *weights, size_t i);  /* in the order of their names */
int dt_weights_find(const dt_weights *weights, const char *name);        /* its place in that order; -1: none */
const char *dt_weights_meta(const dt_weights *weights, const char *key); /* NULL: none */

/* The memory of a tensor that has been read is not needed for now; reading it again brings it back. */
void dt_weights_release(const dt_weights *weights, const dt_st_tensor *tensor);

#endif
