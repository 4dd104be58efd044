/* Fields of Hugging Face's configuration files that Duet has no use for: which of them may be passed over. */
#ifndef DUET_EVAL_HF_FIELDS_H
#define DUET_EVAL_HF_FIELDS_H

#include <stddef.h>

#include "data/json.h"

typedef enum { DT_HF_MODEL = 1, DT_HF_TOWER = 2, DT_HF_PROCESSOR = 4 } dt_hf_part;

/* Names of fields that nobody here knows, as "a, b.c"; "": none. They are passed over, as transformers does. */
typedef struct dt_hf_unknown {
    char names[200];
} dt_hf_unknown;

/* Looks through the members of `json` that are not in `known`. Those that change what a model computes (rotary positions,
 * norms of queries and keys, quantised weights ...) are refused by name and value, unless they are switched off or have the
 * value that CLIP and SigLIP have anyway. Those of training and of text generation are passed over in silence; all others that
 * say something are added to `unknown` (NULL: not wanted). */
bool dt_hf_pass_over(const json_t *json, dt_hf_part part, const char *file, const char *path, const dt_json_field *known,
                     size_t count, dt_hf_unknown *unknown, dt_error *error);

#endif
