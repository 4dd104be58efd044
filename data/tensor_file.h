/* One file of tensors, read through a map, whatever its format: safetensors (data/safetensors.h) or PyTorch's zip archives
 * (data/torch_file.h). The first bytes say which it is, not the name. */
#ifndef DUET_DATA_TENSOR_FILE_H
#define DUET_DATA_TENSOR_FILE_H

#include "data/safetensors.h"

typedef struct dt_tensor_file dt_tensor_file;

/* Tensors, names and data are borrowed from the result; no two have the same name. PyTorch's format of before 1.6 and other
 * pickles are refused by name. NULL on failure. */
dt_tensor_file *dt_tensor_file_open(const char *path, dt_error *error);
void dt_tensor_file_close(dt_tensor_file *file); /* NULL is allowed */

size_t dt_tensor_file_count(const dt_tensor_file *file);
const dt_st_tensor *dt_tensor_file_at(const dt_tensor_file *file, size_t i); /* in the order of the file */

const char *dt_tensor_file_meta(const dt_tensor_file *file, const char *key); /* safetensors' metadata; NULL: none */
const char *dt_tensor_file_path(const dt_tensor_file *file);

/* The memory of a tensor that has been read is not needed for now; reading it again brings it back. Does nothing for a tensor
 * that is not in the map, be it another file's or a copy. */
void dt_tensor_file_release(const dt_tensor_file *file, const dt_st_tensor *tensor);

#endif
