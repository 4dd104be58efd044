/* What is done to pictures before a model sees them, as descriptions have it: preprocess_cfg, with open_clip's field names. */
#ifndef DUET_EVAL_PREPROCESS_H
#define DUET_EVAL_PREPROCESS_H

#include "data/json.h"
#include "data/transform.h"

/* Reads
 *   size           pixels; must be transform->size, the model's own
 *   mean, std      three numbers each (absent: as in `transform`)
 *   interpolation  "bicubic" (absent) or "bilinear"
 *   resize_mode    "shortest" (absent): the short side becomes `resize`, then the centre is cut out; "squash": both sides
 *   resize         pixels (absent: size); Duet's own field: open_clip always resizes to the size
 * `json` may be NULL: nothing changes. */
bool dt_preprocess_read(const json_t *json, const char *file, dt_transform *transform, dt_error *error);

/* The same written; NULL: no memory. */
json_t *dt_preprocess_json(const dt_transform *transform);

#endif
