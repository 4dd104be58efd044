/* Reading a model's description. */
#include "eval/model.h"

#include <string.h>

enum { CLASSES_MAX = 1 << 20 };

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

static bool read_pixels(const json_t *json, const char *file, const char *path, dt_clip_config *c, dt_error *error)
{
    const dt_json_field fields[] = {
        {"tower", DT_JSON_STRING, NULL, .choices = "pixels"},
        {"image_size", DT_JSON_INT, &c->pixels, .required = true, .least = 1, .most = 8192},
    };
    return dt_json_read(json, file, path, fields, sizeof fields / sizeof *fields, error);
}

static bool read_vision(const json_t *json, const char *file, const char *path, dt_activation activation,
                        dt_clip_config *c, dt_error *error)
{
    const char *tower = json_string_value(json_object_get(json, "tower"));
    if (tower && !strcmp(tower, "residual")) {
        c->vision = DT_VISION_RESIDUAL;
        return read_residual(json, file, path, &c->residual, error);
    }
    if (tower && !strcmp(tower, "pixels")) {
        c->vision = DT_VISION_PIXELS;
        return read_pixels(json, file, path, c, error);
    }
    c->vision = DT_VISION_VIT;
    return read_vit(json, file, path, activation, &c->vit, error);
}

static bool read_head(const json_t *json, const char *file, const char *path, const dt_clip_config *c,
                      dt_head_config *head, dt_error *error)
{
    const char *tower = "image", *input = "features";
    const json_t *classes = NULL;
    const dt_json_field fields[] = {
        {"tower", DT_JSON_STRING, &tower, .required = true, .choices = "image|text"},
        {"input", DT_JSON_STRING, &input, .required = true, .choices = "features|embedding"},
        {"classes", DT_JSON_ARRAY, &classes, .required = true},
    };
    if (!dt_json_read(json, file, path, fields, sizeof fields / sizeof *fields, error))
        return false;
    if (json_array_size(classes) < 2 || json_array_size(classes) > CLASSES_MAX)
        return dt_fail(error, "%s: %s.classes: %zu classes; expected 2 to %d", file, path, json_array_size(classes),
                       CLASSES_MAX);
    for (size_t i = 0; i < json_array_size(classes); i++)
        if (!json_is_string(json_array_get(classes, i)))
            return dt_fail(error, "%s: %s.classes[%zu]: expected a name, found %s", file, path, i,
                           dt_json_kind_name(json_array_get(classes, i)));
    *head = (dt_head_config){.classes = (int)json_array_size(classes), .on_embedding = !strcmp(input, "embedding"),
                             .tower = strcmp(tower, "text") ? DT_TOWER_IMAGE : DT_TOWER_TEXT};
    return head->tower == DT_TOWER_IMAGE || c->has_text ||
           dt_fail(error, "%s: %s.tower: the model has no text tower", file, path);
}

bool dt_model_config(const json_t *json, const char *file, const char *path, dt_clip_config *c, dt_head_config *head,
                     dt_error *error)
{
    const json_t *vision = NULL, *text = NULL, *preprocess = NULL, *head_json = NULL;
    bool quick_gelu = false;
    char place[256];
    *c = (dt_clip_config){.init_logit_scale = 2.6592600f /* ln(1 / 0.07) */, .init_logit_bias = -10};
    const dt_json_field fields[] = {
        {"embed_dim", DT_JSON_INT, &c->embed_dim, .least = 1, .most = 65536},
        {"quick_gelu", DT_JSON_BOOL, &quick_gelu, .required = false},
        {"init_logit_scale", DT_JSON_FLOAT, &c->init_logit_scale, .least = -20, .most = 20},
        {"init_logit_bias", DT_JSON_FLOAT, &c->init_logit_bias, .least = -1000, .most = 1000},
        {"vision_cfg", DT_JSON_OBJECT, &vision, .required = true},
        {"text_cfg", DT_JSON_OBJECT, &text, .required = false},
        {"preprocess_cfg", DT_JSON_OBJECT, &preprocess, .required = false},
        {"head", DT_JSON_OBJECT, &head_json, .required = false},
    };
    if (!dt_json_read(json, file, path, fields, sizeof fields / sizeof *fields, error))
        return false;
    json_t *bias = json_object_get(json, "init_logit_bias");
    c->has_logit_bias = bias && !json_is_null(bias);
    dt_activation activation = quick_gelu ? DT_ACT_QUICK_GELU : DT_ACT_GELU;
    *head = (dt_head_config){0};
    c->has_text = text != NULL;
    if (text && !c->embed_dim)
        return dt_fail(error, "%s: embed_dim is missing: the width of the space in which the towers meet", file);
    if (!read_vision(vision, file, join(place, sizeof place, path, "vision_cfg"), activation, c, error) ||
        (text && !read_text(text, file, join(place, sizeof place, path, "text_cfg"), activation, &c->text, error)))
        return false;
    return !head_json || read_head(head_json, file, join(place, sizeof place, path, "head"), c, head, error);
}
