/* What a run was made with. */
#ifndef DUET_EXPERIMENTS_VERSION_H
#define DUET_EXPERIMENTS_VERSION_H

#include <jansson.h>

#include "kernels/backend.h"

#define DT_VERSION "0.1.0"

/* {"duet", "compiler", "onednn", "lmdb", "threads", "device": "cpu" or "cuda", "gpu": its name where it is one, "precision"}; the
 * caller owns the reference. NULL: no memory. */
json_t *dt_versions(const dt_backend *backend);

#endif
