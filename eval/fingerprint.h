/* What rows of features depend on, as short texts: equal texts, equal features. */
#ifndef DUET_EVAL_FINGERPRINT_H
#define DUET_EVAL_FINGERPRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"
#include "data/transform.h"
#include "eval/dataset.h"
#include "eval/model.h"

enum { DT_FINGERPRINT = 17, DT_PREPROCESSING = 224 }; /* room for the texts, their NUL included */

/* A hash of bytes that goes on from `hash` (0 at first): 64 bits, against accidents and not against malice.
 */
uint64_t dt_hash_bytes(uint64_t hash, const void *data, size_t size);
void dt_hash_text16(uint64_t hash, char text[DT_FINGERPRINT]); /* as 16 hexadecimal digits */

/* Of a model's content: its description and the names and values of all parameters and buffers, whatever file
 * they came from. False: no memory. */
bool dt_model_fingerprint(dt_model *model, char text[DT_FINGERPRINT], dt_error *error);

/* Of data without reading all of it: labels and class names; of a store the meta record, sizes and times of
 * its files, the sizes of all pictures and the bytes of some; of a folder names, sizes and times of its
 * files. Moving data changes nothing, replacing or touching it does. */
bool dt_dataset_fingerprint(const dt_dataset *dataset, char text[DT_FINGERPRINT], dt_error *error);

/* How images are brought to the model, in words: "32 px, bicubic, mean 0.48 0.46 0.41, std 0.27 0.26 0.28".
 */
void dt_preprocessing_text(const dt_transform *transform, char text[DT_PREPROCESSING]);

#endif
