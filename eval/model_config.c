/* Reading a model's description. quick_gelu is open_clip's: false where it is not given. The presets have open_clip's names and
 * meaning too: weights that OpenAI trained want NAME-quickgelu (RN50-quickgelu, ViT-B-32-quickgelu), others NAME. */
#include "eval/model.h"

#include "eval/config_fields.h"

#include <string.h>

enum { CLASSES_MAX = 1 << 20 };

static bool settle_text(const dt_transformer_fields *f, bool quick_gelu, bool causal, const char *pool, const char *file,
                        const char *path, dt_clip_config *c, dt_error *error)
{
    c->text.read = !strcmp(pool, "argmax") ? DT_READ_LARGEST : !strcmp(pool, "last") ? DT_READ_LAST : DT_READ_FIRST;
    if (c->text_projection == DT_PROJECT_NONE && f->width != c->embed_dim)
        return dt_fail(error, "%s: embed_dim is %d, but %s.width is %d, and proj_type is \"none\"", file, c->embed_dim, path,
                       f->width);
    return dt_transformer_settle(f, quick_gelu, causal, file, path, &c->text.transformer, error);
}

static bool read_text(const json_t *json, const char *file, const char *path, bool quick_gelu, dt_clip_config *c,
                      dt_error *error)
{
    dt_transformer_fields f = {.width = 512, .layers = 12, .head_width = 64, .mlp_ratio = 4, .norm_eps = 1e-5};
    const char *pool = "argmax", *projection = "linear";
    bool sees_all = false, bias = false;
    c->text = (dt_text_config){.context_length = 77};
    const dt_json_field fields[] = {
        {"context_length", DT_JSON_INT, &c->text.context_length, .least = 2, .most = 65536},
        {"vocab_size", DT_JSON_INT, &c->text.vocab_size, .least = 2, .most = 1 << 24},
        {"width", DT_JSON_INT, &f.width, .least = 1, .most = 65536},
        {"layers", DT_JSON_INT, &f.layers, .least = 1, .most = 1024},
        {"heads", DT_JSON_INT, &f.heads, .least = 1, .most = 65536},
        {"mlp_ratio", DT_JSON_DOUBLE, &f.mlp_ratio, .least = 0.01, .most = 64},
        {"no_causal_mask", DT_JSON_BOOL, &sees_all, .required = false},
        {"pool_type", DT_JSON_STRING, &pool, .choices = "argmax|last|first"},
        {"proj_type", DT_JSON_STRING, &projection, .choices = "linear|none"},
        {"proj_bias", DT_JSON_BOOL, &bias, .required = false},
        {"act_kwargs", DT_JSON_OBJECT, &f.act_kwargs, .required = false},
        {"norm_kwargs", DT_JSON_OBJECT, &f.norm_kwargs, .required = false},
    };
    json_t *own = dt_own_fields(json, DT_OF_TEXT, file, path, error);
    bool good = own && dt_json_read(own, file, path, fields, sizeof fields / sizeof *fields, error);
    c->text_projection = !strcmp(projection, "none") ? DT_PROJECT_NONE : bias ? DT_PROJECT_LINEAR : DT_PROJECT_MATRIX;
    good = good && settle_text(&f, quick_gelu, !sees_all, pool, file, path, c, error);
    json_decref(own);
    return good;
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
        {"generator", DT_JSON_OBJECT, NULL, .required = false}, /* what a GAN is conditioned on (experiments/gan_condition.h) */
    };
    json_t *own = dt_own_fields(json, DT_OF_MODEL, file, path, error);
    bool good = own && dt_json_read(own, file, path, fields, sizeof fields / sizeof *fields, error);
    json_decref(own);
    if (!good)
        return false;
    json_t *bias = json_object_get(json, "init_logit_bias");
    c->has_logit_bias = bias && !json_is_null(bias);
    *head = (dt_head_config){0};
    c->has_text = text != NULL;
    if (text && !c->embed_dim)
        return dt_fail(error, "%s: embed_dim is missing: the width of the space in which the towers meet", file);
    if (!dt_vision_config(vision, file, dt_config_place(place, sizeof place, path, "vision_cfg"), quick_gelu, c, error) ||
        (text && !read_text(text, file, dt_config_place(place, sizeof place, path, "text_cfg"), quick_gelu, c, error)))
        return false;
    return !head_json || read_head(head_json, file, dt_config_place(place, sizeof place, path, "head"), c, head, error);
}
