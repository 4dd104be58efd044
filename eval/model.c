#include "eval/model.h"

#include "eval/presets.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A tower's transformer as the description has it; widths and counts are bounded so that products cannot overflow. */
typedef struct transformer_fields {
    int width, layers, heads, head_width;
    double mlp_ratio;
} transformer_fields;

static bool finish_transformer(const transformer_fields *f, dt_activation activation, bool causal, const char *file,
                               const char *path, dt_transformer_config *c, dt_error *error)
{
    int heads = f->heads ? f->heads : f->width / f->head_width;
    if (heads < 1 || f->width % heads)
        return dt_fail(error, "%s: %s: width %d is not a multiple of its %d heads", file, path, f->width, heads);
    *c = (dt_transformer_config){.width = f->width, .layers = f->layers, .heads = heads,
                                 .hidden = (int)(f->width * f->mlp_ratio), .activation = activation,
                                 .causal = causal, .norm_eps = 1e-5f};
    return true;
}

static const char *join(char *room, size_t size, const char *path, const char *key)
{
    snprintf(room, size, "%s%s%s", path, *path ? "." : "", key);
    return room;
}

static bool read_vit(const json_t *json, const char *file, const char *path, dt_activation activation,
                     dt_vit_config *c, dt_error *error)
{
    transformer_fields f = {.head_width = 64, .mlp_ratio = 4};
    const dt_json_field fields[] = {
        {"tower", DT_JSON_STRING, NULL, .choices = "vit"},
        {"image_size", DT_JSON_INT, &c->image_size, .required = true, .least = 1, .most = 8192},
        {"patch_size", DT_JSON_INT, &c->patch_size, .required = true, .least = 1, .most = 8192},
        {"width", DT_JSON_INT, &f.width, .required = true, .least = 1, .most = 65536},
        {"layers", DT_JSON_INT, &f.layers, .required = true, .least = 1, .most = 1024},
        {"heads", DT_JSON_INT, &f.heads, .least = 1, .most = 65536},
        {"head_width", DT_JSON_INT, &f.head_width, .least = 1, .most = 65536},
        {"mlp_ratio", DT_JSON_DOUBLE, &f.mlp_ratio, .least = 0.01, .most = 64},
    };
    if (!dt_json_read(json, file, path, fields, sizeof fields / sizeof *fields, error))
        return false;
    if (c->patch_size > c->image_size)
        return dt_fail(error, "%s: %s: a patch of %d pixels does not fit into an image of %d", file, path, c->patch_size,
                       c->image_size);
    return finish_transformer(&f, activation, false, file, path, &c->transformer, error);
}

static bool read_ints(const json_t *array, const char *file, const char *path, const char *key, int *values, int *count,
                      dt_error *error)
{
    *count = (int)json_array_size(array);
    if (*count < 1 || *count > DT_RESIDUAL_STAGES)
        return dt_fail(error, "%s: %s.%s: expected a list of 1 to %d numbers", file, path, key, DT_RESIDUAL_STAGES);
    for (int i = 0; i < *count; i++) {
        const json_t *item = json_array_get(array, (size_t)i);
        json_int_t value = json_integer_value(item);
        if (!json_is_integer(item) || value < 1 || value > 65536)
            return dt_fail(error, "%s: %s.%s[%d]: expected a whole number from 1 to 65536", file, path, key, i);
        values[i] = (int)value;
    }
    return true;
}

static bool read_residual(const json_t *json, const char *file, const char *path, dt_residual_config *c,
                          dt_error *error)
{
    const json_t *widths = NULL, *blocks = NULL;
    int block_count;
    c->stem_stride = 1;
    const dt_json_field fields[] = {
        {"tower", DT_JSON_STRING, NULL, .choices = "residual"},
        {"image_size", DT_JSON_INT, &c->image_size, .required = true, .least = 1, .most = 8192},
        {"widths", DT_JSON_ARRAY, &widths, .required = true},
        {"blocks", DT_JSON_ARRAY, &blocks, .required = true},
        {"stem_stride", DT_JSON_INT, &c->stem_stride, .least = 1, .most = 2},
    };
    if (!dt_json_read(json, file, path, fields, sizeof fields / sizeof *fields, error) ||
        !read_ints(widths, file, path, "widths", c->widths, &c->stages, error) ||
        !read_ints(blocks, file, path, "blocks", c->blocks, &block_count, error))
        return false;
    return c->stages == block_count || dt_fail(error, "%s: %s: %d widths, but %d numbers of blocks", file, path,
                                               c->stages, block_count);
}

static bool read_text(const json_t *json, const char *file, const char *path, dt_activation activation,
                      dt_text_config *c, dt_error *error)
{
    transformer_fields f = {.head_width = 64, .mlp_ratio = 4};
    c->context_length = 77;
    c->vocab_size = 0;
    const dt_json_field fields[] = {
        {"context_length", DT_JSON_INT, &c->context_length, .least = 2, .most = 65536},
        {"vocab_size", DT_JSON_INT, &c->vocab_size, .least = 2, .most = 1 << 24},
        {"width", DT_JSON_INT, &f.width, .required = true, .least = 1, .most = 65536},
        {"layers", DT_JSON_INT, &f.layers, .required = true, .least = 1, .most = 1024},
        {"heads", DT_JSON_INT, &f.heads, .least = 1, .most = 65536},
        {"mlp_ratio", DT_JSON_DOUBLE, &f.mlp_ratio, .least = 0.01, .most = 64},
    };
    return dt_json_read(json, file, path, fields, sizeof fields / sizeof *fields, error) &&
           finish_transformer(&f, activation, true, file, path, &c->transformer, error);
}

bool dt_model_config(const json_t *json, const char *file, const char *path, dt_clip_config *c, dt_error *error)
{
    const json_t *vision = NULL, *text = NULL, *preprocess = NULL;
    bool quick_gelu = false;
    char place[256];
    *c = (dt_clip_config){.init_logit_scale = 2.6592600f /* ln(1 / 0.07) */, .init_logit_bias = -10};
    const dt_json_field fields[] = {
        {"embed_dim", DT_JSON_INT, &c->embed_dim, .required = true, .least = 1, .most = 65536},
        {"quick_gelu", DT_JSON_BOOL, &quick_gelu, .required = false},
        {"init_logit_scale", DT_JSON_FLOAT, &c->init_logit_scale, .least = -20, .most = 20},
        {"init_logit_bias", DT_JSON_FLOAT, &c->init_logit_bias, .least = -1000, .most = 1000},
        {"vision_cfg", DT_JSON_OBJECT, &vision, .required = true},
        {"text_cfg", DT_JSON_OBJECT, &text, .required = true},
        {"preprocess_cfg", DT_JSON_OBJECT, &preprocess, .required = false},
    };
    if (!dt_json_read(json, file, path, fields, sizeof fields / sizeof *fields, error))
        return false;
    json_t *bias = json_object_get(json, "init_logit_bias");
    c->has_logit_bias = bias && !json_is_null(bias);
    dt_activation activation = quick_gelu ? DT_ACT_QUICK_GELU : DT_ACT_GELU;
    const char *tower = json_string_value(json_object_get(vision, "tower"));
    c->vision = tower && !strcmp(tower, "residual") ? DT_VISION_RESIDUAL : DT_VISION_VIT;
    join(place, sizeof place, path, "vision_cfg");
    if (c->vision == DT_VISION_RESIDUAL ? !read_residual(vision, file, place, &c->residual, error)
                                        : !read_vit(vision, file, place, activation, &c->vit, error))
        return false;
    return read_text(text, file, join(place, sizeof place, path, "text_cfg"), activation, &c->text, error);
}

/* mean, std and interpolation of preprocess_cfg over CLIP's own. */
static bool read_preprocess(const json_t *json, dt_transform *t, dt_error *error)
{
    const json_t *mean = NULL, *std = NULL;
    const char *interpolation = "bicubic";
    const dt_json_field fields[] = {
        {"mean", DT_JSON_ARRAY, &mean, .required = false},
        {"std", DT_JSON_ARRAY, &std, .required = false},
        {"interpolation", DT_JSON_STRING, &interpolation, .choices = "bicubic|bilinear"},
    };
    if (!json)
        return true;
    if (!dt_json_read(json, "model", "preprocess_cfg", fields, sizeof fields / sizeof *fields, error))
        return false;
    for (size_t i = 0; i < 3; i++) {
        if (mean)
            t->mean[i] = (float)json_number_value(json_array_get(mean, i));
        if (std)
            t->std[i] = (float)json_number_value(json_array_get(std, i));
    }
    t->interpolation = strcmp(interpolation, "bilinear") ? DT_BICUBIC : DT_BILINEAR;
    return dt_transform_check(t, error);
}

const char *dt_model_preset_name(size_t i)
{
    return dt_presets[i].name;
}

json_t *dt_model_preset(const char *name, dt_error *error)
{
    char known[512] = "";
    for (size_t i = 0; dt_presets[i].name; i++) {
        if (!strcmp(dt_presets[i].name, name))
            return dt_json_parse(dt_presets[i].text, strlen(dt_presets[i].text), name, error);
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", dt_presets[i].name);
    }
    dt_fail(error, "no model preset is called '%s'; there are %s", name, known);
    return NULL;
}

/* Records both towers once, for the parameters' names and shapes. */
static bool declare_parameters(dt_model *model, uint64_t seed, dt_error *error)
{
    dt_graph *g = dt_graph_new();
    if (!g)
        return dt_fail(error, "out of memory");
    dt_scope root = {g, model->params, ""};
    int64_t size = dt_clip_image_size(&model->config);
    dt_clip_image(root, &model->config, dt_input(g, "images", DT_F32, dt_dims(2, size, size, 3)), true);
    dt_clip_text(root, &model->config, dt_input(g, "tokens", DT_I32, dt_dims(2, model->config.text.context_length)));
    dt_clip_logit_scale(root, &model->config);
    if (model->config.has_logit_bias)
        dt_clip_logit_bias(root, &model->config);
    bool good = dt_graph_error(g) ? dt_fail(error, "model: %s", dt_graph_error(g))
                                  : dt_params_allocate(model->params, seed) ||
                                        dt_fail(error, "no memory for the model's parameters");
    dt_graph_free(g);
    return good;
}

/* The vocabulary: the tokenizer's where the description leaves it open. */
static bool settle_vocabulary(dt_model *model, dt_error *error)
{
    int *size = &model->config.text.vocab_size;
    if (!*size && !model->tokenizer)
        return dt_fail(error, "model: text_cfg.vocab_size is not given, and there is no tokenizer to take it from");
    if (!*size) {
        *size = dt_tokenizer_vocab_size(model->tokenizer);
        json_object_set_new(json_object_get(model->json, "text_cfg"), "vocab_size", json_integer(*size));
    }
    if (model->tokenizer && dt_tokenizer_vocab_size(model->tokenizer) > *size)
        return dt_fail(error, "model: text_cfg.vocab_size is %d, but the tokenizer has %d tokens", *size,
                       dt_tokenizer_vocab_size(model->tokenizer));
    return true;
}

dt_model *dt_model_new(const json_t *json, dt_tokenizer *tokenizer, uint64_t seed, dt_error *error)
{
    dt_model *model = calloc(1, sizeof *model);
    if (!model || !(model->params = dt_params_new())) {
        dt_fail(error, "out of memory");
        dt_tokenizer_free(tokenizer);
        free(model);
        return NULL;
    }
    model->tokenizer = tokenizer;
    const char *preset = json_string_value(json);
    model->json = preset ? dt_model_preset(preset, error) : json_deep_copy(json);
    if (!model->json || !dt_model_config(model->json, preset ? preset : "model", "", &model->config, error) ||
        !settle_vocabulary(model, error)) {
        dt_model_free(model);
        return NULL;
    }
    model->preprocess = dt_transform_default(DT_TRANSFORM_EVAL, dt_clip_image_size(&model->config));
    if (!read_preprocess(json_object_get(model->json, "preprocess_cfg"), &model->preprocess, error) ||
        !declare_parameters(model, seed, error)) {
        dt_model_free(model);
        return NULL;
    }
    return model;
}

void dt_model_free(dt_model *model)
{
    if (!model)
        return;
    json_decref(model->json);
    dt_params_free(model->params);
    dt_tokenizer_free(model->tokenizer);
    free(model);
}
