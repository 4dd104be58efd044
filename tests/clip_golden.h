/* Building a model from the sizes in a golden config.json, with its parameters and batch. */
#ifndef DUET_TESTS_CLIP_GOLDEN_H
#define DUET_TESTS_CLIP_GOLDEN_H

#include "data/safetensors.h"
#include "eval/model.h"
#include "tests/tap.h"

typedef struct golden_batch {
    int count;
    float *images;   /* [count, size, size, 3], channels last */
    int32_t *tokens; /* [count, context] */
} golden_batch;

static inline long golden_int(const json_t *config, const char *key)
{
    return (long)json_integer_value(json_object_get(config, key));
}

/* The reference's constructor arguments in open_clip's words, which they may be already. */
static inline json_t *golden_description(json_t *config)
{
    if (json_object_get(config, "vision_cfg"))
        return json_incref(config);
    return json_pack("{s:i, s:b, s:{s:i, s:O, s:i, s:O, s:i}, s:{s:i, s:i, s:i, s:i, s:i}}", "embed_dim",
                     (int)golden_int(config, "embed_dim"), "quick_gelu", 1, "vision_cfg", "image_size",
                     (int)golden_int(config, "image_resolution"), "layers", json_object_get(config, "vision_layers"), "width",
                     (int)golden_int(config, "vision_width"), "patch_size", json_object_get(config, "vision_patch_size"),
                     "heads", (int)golden_int(config, "vision_heads"), "text_cfg", "context_length",
                     (int)golden_int(config, "context_length"), "vocab_size", (int)golden_int(config, "vocab_size"), "width",
                     (int)golden_int(config, "transformer_width"), "heads", (int)golden_int(config, "transformer_heads"),
                     "layers", (int)golden_int(config, "transformer_layers"));
}

static inline float *golden_floats(const dt_safetensors *file, const char *name, size_t *count)
{
    const dt_st_tensor *tensor = dt_safetensors_find(file, name);
    float *values = tensor ? calloc(tensor->count ? tensor->count : 1, sizeof *values) : NULL;
    if (values && !dt_st_to_float(tensor, values, NULL)) {
        free(values);
        return NULL;
    }
    if (tensor && count)
        *count = tensor->count;
    return values;
}

/* Gives every parameter and buffer its value from a file of the same names. */
static inline bool golden_fill(dt_model *model, const char *weights, dt_error *error)
{
    dt_safetensors *file = dt_safetensors_open(weights, error);
    bool good = file != NULL;
    for (int i = 0; good && i < dt_params_count(model->params); i++) {
        const dt_param_info *info = dt_params_info(model->params, i);
        size_t count = 0;
        float *values = golden_floats(file, info->name, &count);
        good = (values && count == info->count) || dt_fail(error, "%s: %s is not there", weights, info->name);
        if (good)
            memcpy(dt_params_value(model->params, i), values, count * sizeof *values);
        free(values);
    }
    dt_safetensors_close(file);
    return good;
}

static inline dt_model *golden_model(const char *config_path, const char *weights, json_t **config, dt_error *error)
{
    *config = dt_json_load(config_path, error);
    json_t *json = *config ? golden_description(*config) : NULL;
    dt_model *model = json ? dt_model_new(json, NULL, 1, error) : NULL;
    json_decref(json);
    if (model && !golden_fill(model, weights, error)) {
        dt_model_free(model);
        model = NULL;
    }
    return model;
}

/* Reads images [.., 3, size, size] and tokens of batch `which` (0 where the file holds one batch). */
static inline bool golden_read_batch(const dt_safetensors *file, int which, golden_batch *b)
{
    const dt_st_tensor *images = dt_safetensors_find(file, "images"), *tokens = dt_safetensors_find(file, "tokens");
    int rank = images->rank;
    size_t n = (size_t)images->shape[rank - 4], size = (size_t)images->shape[rank - 1];
    size_t context = (size_t)tokens->shape[tokens->rank - 1], pixels = size * size;
    float *all = golden_floats(file, "images", NULL);
    int32_t *ids = calloc(tokens->count, sizeof *ids);
    b->count = (int)n;
    b->images = calloc(n * pixels * 3, sizeof *b->images);
    b->tokens = calloc(n * context, sizeof *b->tokens);
    bool good = all && ids && dt_st_to_int32(tokens, ids, NULL);
    for (size_t i = 0; good && i < n; i++)
        for (size_t c = 0; c < 3; c++)
            for (size_t p = 0; p < pixels; p++)
                b->images[(i * pixels + p) * 3 + c] = all[(((size_t)which * n + i) * 3 + c) * pixels + p];
    if (good)
        memcpy(b->tokens, ids + (size_t)which * n * context, sizeof *ids * n * context);
    free(all);
    free(ids);
    return good;
}

static inline void golden_free_batch(golden_batch *b)
{
    free(b->images);
    free(b->tokens);
}

/* The tolerance that the reference states for a tensor of a file. */
static inline double golden_tolerance(const json_t *tolerances, const char *file, const char *tensor)
{
    const json_t *entry = json_object_get(json_object_get(tolerances, file), tensor);
    return json_number_value(json_object_get(entry, "tolerance"));
}

#endif
