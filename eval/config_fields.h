/* What the descriptions of towers have in common; for model_config.c and vision_config.c. */
#ifndef DUET_EVAL_CONFIG_FIELDS_H
#define DUET_EVAL_CONFIG_FIELDS_H

#include "data/json.h"
#include "encoders/clip.h"

typedef enum { DT_OF_MODEL = 1, DT_OF_VISION = 2, DT_OF_TEXT = 4 } dt_described;

/* The description without those fields of open_clip's that mean nothing here (where a tokenizer comes from) or that would ask
 * for parts that Duet does not have (layer scale); the latter are refused, by name and value, unless they have the value that
 * changes nothing. A new object, which the caller frees; NULL on failure. */
json_t *dt_own_fields(const json_t *json, dt_described what, const char *file, const char *path, dt_error *error);

/* A tower's transformer as its description has it: filled by dt_json_read, then settled. */
typedef struct dt_transformer_fields {
    int width, layers;
    int heads, head_width; /* heads 0: as many as have head_width */
    double mlp_ratio;
    double norm_eps;                   /* where norm_kwargs has none */
    const json_t *act_kwargs, *norm_kwargs; /* {"approximate": "tanh"}, {"eps": 1e-6}; NULL: absent */
} dt_transformer_fields;

bool dt_transformer_settle(const dt_transformer_fields *fields, bool quick_gelu, bool causal, const char *file,
                           const char *path, dt_transformer_config *config, dt_error *error);

/* vision_cfg: fills the part of `config` that is the image tower; embed_dim has been read before. */
bool dt_vision_config(const json_t *json, const char *file, const char *path, bool quick_gelu, dt_clip_config *config,
                      dt_error *error);

/* dt_json_load, of which an empty file is told as such. */
json_t *dt_config_file(const char *path, dt_error *error);

/* False for a device or a pipe, which would be waited for; what is not there is good. */
bool dt_check_no_device(const char *path, dt_error *error);

/* Whether a value is the one that `text` is in JSON; numbers by what they are worth (0 and 0.0). */
bool dt_json_says(const json_t *value, const char *text);

/* The same for the networks that also generate: their own fields ("tower": "vae", "gan"), which generative_config.c names. */
bool dt_vae_fields(const json_t *json, const char *file, const char *path, dt_vae_config *config, dt_error *error);
bool dt_gan_fields(const json_t *json, const char *file, const char *path, dt_gan_config *config, dt_error *error);

/* PATH.KEY, a list of 1 to `room` whole numbers from 1 to `most`. */
bool dt_config_ints(const json_t *array, const char *file, const char *path, const char *key, int most, int *values, int room,
                    int *count, dt_error *error);

/* "PATH.KEY" in `room`, KEY alone at the root. Returns room. */
const char *dt_config_place(char *room, size_t size, const char *path, const char *key);

#endif
