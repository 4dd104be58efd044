/* A model as people hold it: the two towers with their parameters, the tokenizer, and the preprocessing of images; read
 * from a preset or configuration, or from the files of a run. */
#ifndef DUET_EVAL_MODEL_H
#define DUET_EVAL_MODEL_H

#include "data/json.h"
#include "data/tokenizer.h"
#include "data/transform.h"
#include "encoders/classifier.h"
#include "kernels/backend.h"

/* Reads a model description with open_clip's field names (embed_dim, vision_cfg, text_cfg, quick_gelu, init_logit_scale, ...;
 * README, "Models"). Without text_cfg it is an image tower alone. A classifier has a "head" too: {"tower": "image" or "text",
 * "input": "features" or "embedding", "classes": [names]}. `file` and `path` say where it stands, for messages. */
bool dt_model_config(const json_t *json, const char *file, const char *path, dt_clip_config *config, dt_head_config *head,
                     dt_error *error);

/* The description of a preset ("ViT-B-32"), an object that the caller frees with json_decref; NULL: no such preset, with the
 * names that there are. Preset i's name, NULL beyond the last. */
json_t *dt_model_preset(const char *name, dt_error *error);
const char *dt_model_preset_name(size_t i);

/* The same for a word that is the name of a preset or else the path of a file: with a description, with open_clip's model_cfg
 * (open_clip_config.json), or of Hugging Face's (config.json). `note` gets what of the last was passed over, "": nothing; NULL:
 * such fields are refused. */
json_t *dt_model_description(const char *word, char *note, size_t room, dt_error *error);

typedef struct dt_model {
    dt_clip_config config;
    dt_head_config head;      /* classes 0: it is no classifier */
    json_t *json;             /* the description that config was read from */
    dt_params *params;        /* allocated */
    dt_tokenizer *tokenizer;  /* NULL: the model came without one */
    dt_transform preprocess;  /* evaluation: size, resize, mean, std, interpolation */
    struct dt_weights *weights; /* of a loaded model: the files that its values lie in; NULL: they are its own */
    char note[512];             /* of a loaded model: what was assumed, or could not be used; "": nothing */
} dt_model;

/* A model with fresh parameters, a pure function of the seed. `json` is a description or the name of a preset; takes over
 * `tokenizer` (may be NULL; otherwise its vocabulary must fit text_cfg.vocab_size, or set it where it is absent). */
dt_model *dt_model_new(const json_t *json, dt_tokenizer *tokenizer, uint64_t seed, dt_error *error);

/* The parts of dt_model_new, for what gives the values itself: parameters are named and have shapes, but no values yet. */
dt_model *dt_model_declare(const json_t *json, dt_tokenizer *tokenizer, dt_error *error);

/* From a run's folder (its newest weights), a file of tensors, an open_clip folder or a Hugging Face folder (eval/origin.h),
 * with the tokenizer that lies there. Values that can stay in the file's map do, so they are to be read only: training wants
 * a model of its own (dt_model_new, dt_model_with_head). */
dt_model *dt_model_load(const char *path, dt_error *error);

/* The same with another description (an object, or the name of a preset; NULL: the one that comes with it), or for images of
 * another size (0: the description's), to which positional embeddings are interpolated. */
dt_model *dt_model_load_as(const char *path, const json_t *description, int image_size, dt_error *error);

/* The same model with a (new) head, described as above, whose parameters are zero; its values are its own. Takes over model
 * and head, also when it fails. */
dt_model *dt_model_with_head(dt_model *model, json_t *head, dt_error *error);
const char *dt_model_class_name(const dt_model *model, size_t c); /* of the head; NULL beyond the last */
void dt_model_free(dt_model *model); /* NULL is allowed */

/* Writes parameters and buffers under their names, with the description in the metadata, as safetensors. Atomic. */
bool dt_model_save(const dt_model *model, const char *path, dt_error *error);

/* Fills the model's parameters and buffers from a safetensors file with those names (eval/match.h). */
bool dt_model_read(dt_model *model, const char *path, dt_error *error);

/* ---- Embeddings ---- */

/* What an encoder gives for a sample. */
typedef enum dt_layer {
    DT_LAYER_EMBEDDING, /* after the projection, of unit length: where images and texts are compared */
    DT_LAYER_FEATURES,  /* of the tower, before the projection: what the CLIP paper's linear probe takes */
    DT_LAYER_LOGITS,    /* of the model's head, which must be on that tower */
} dt_layer;

/* One tower in evaluation mode with a plan for up to `batch` samples. Borrows the model, whose parameters may change between
 * runs (training continues while an encoder lives). */
typedef struct dt_encoder dt_encoder;
dt_encoder *dt_encoder_new(dt_model *model, const dt_backend *backend, dt_tower tower, dt_layer layer, int batch,
                           dt_error *error);
/* The same for embeddings. */
dt_encoder *dt_image_encoder_new(dt_model *model, const dt_backend *backend, int batch, dt_error *error);
dt_encoder *dt_text_encoder_new(dt_model *model, const dt_backend *backend, int batch, dt_error *error);
void dt_encoder_free(dt_encoder *encoder); /* NULL is allowed */
int dt_encoder_batch(const dt_encoder *encoder);
size_t dt_encoder_width(const dt_encoder *encoder); /* of a row: embed_dim, the tower's width, or the number of classes */

/* Encodes count <= batch samples: images float32 [count, size, size, 3] normalised, or tokens int32 [count, context]; writes
 * rows float32 [count, width]. */
bool dt_encoder_run(dt_encoder *encoder, const void *samples, int count, float *rows, dt_error *error);

/* Encodes texts (NUL-terminated UTF-8), tokenised by the model's tokenizer, a batch at a time, into [count, width]. */
bool dt_encode_texts(dt_model *model, dt_encoder *encoder, const char *const *texts, size_t count, float *embeddings,
                     dt_error *error);

/* The classifier weights of the CLIP paper: for each class the mean of its prompts' unit embeddings, brought to unit length.
 * prompts[c * templates + t] is class c in template t. -> [classes, embed_dim]. */
bool dt_encode_classes(dt_model *model, dt_encoder *encoder, const char *const *prompts, size_t classes, size_t templates,
                       float *weights, dt_error *error);

#endif
