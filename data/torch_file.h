/* State dicts in the zip format of PyTorch 1.6 and later (torch.save: .pt, .pth, .bin), and the tensors of TorchScript archives
 * (torch.jit.save), read in place. An archive NAME.zip holds
 *
 *   NAME/data.pkl    a pickle of dictionaries; a tensor is a call of _rebuild_tensor_v2 with a storage, offset, shape and strides
 *   NAME/data/KEY    the bytes of storage KEY, stored, little-endian
 *   NAME/byteorder   "little"; absent in older files
 *
 * (torch/serialization.py). Nothing of it is run; see data/pickle.h. Classes that are known: OrderedDict, tensors, parameters,
 * typed storages, sizes, devices, dtypes; and TorchScript's modules, which are dictionaries of their attributes here.
 *
 * Which tensors: those of the dictionary at the root, or of "state_dict", "model_state_dict" or "model" in it where that is a
 * dictionary (training checkpoints). Dictionaries and modules in dictionaries give names with dots ("visual.conv1.weight").
 * "module." before every name is taken away. What is neither a tensor nor a dictionary is passed over. In a TorchScript archive
 * plain tensor attributes cannot be told from parameters: OpenAI's have scalars such as "context_length" beside the weights. */
#ifndef DUET_DATA_TORCH_FILE_H
#define DUET_DATA_TORCH_FILE_H

#include "data/safetensors.h"

typedef struct dt_torch_file dt_torch_file;

/* Reads an archive in memory; bytes[size] must stay, for tensors point into it. A tensor whose dimensions lie in another order
 * (channels_last, a transposition) is served as a row-major copy; other strides, storages that do not hold their tensors,
 * and complex or quantised types are refused. `path` stands in messages. NULL on failure. */
dt_torch_file *dt_torch_parse(const void *bytes, size_t size, const char *path, dt_error *error);
void dt_torch_close(dt_torch_file *file); /* NULL is allowed */

/* All tensors, in the order of the dictionary; no two have the same name. */
const dt_st_tensor *dt_torch_tensors(const dt_torch_file *file, size_t *count);

#endif
