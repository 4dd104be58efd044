#include "eval/hf_config.h"

#include "data/file.h"
#include "eval/config_fields.h"
#include "eval/hf_fields.h"
#include "eval/open_clip_config.h"
#include "eval/preprocess.h"

#include <stdio.h>
#include <string.h>

/* One tower of theirs, with the defaults of transformers for its model type. */
typedef struct tower {
    int width, hidden, layers, heads, projection;
    int image_size, patch_size, channels; /* vision */
    int vocab, positions;                 /* text */
    int kv_heads, head_width;             /* 0: not said */
    const json_t *end;                    /* text: the token's id; NULL: not said */
    const char *act;
    double eps;
    bool head; /* vision of SigLIP: the attention pool */
} tower;

static json_t *load(const char *folder, const char *name, dt_error *error)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return dt_config_file(path, error);
}

static bool has(const char *folder, const char *name)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return dt_file_exists(path);
}

bool dt_is_hf_folder(const char *folder)
{
    json_t *config = has(folder, "config.json") ? load(folder, "config.json", NULL) : NULL;
    bool theirs = json_is_string(json_object_get(config, "model_type"));
    json_decref(config);
    return theirs;
}

/* ---- config.json ---- */

static bool read_tower(const json_t *root, const char *file, const char *path, tower *t, dt_hf_unknown *unknown,
                       dt_error *error)
{
    const json_t *json = json_object_get(root, path);
    const dt_json_field fields[] = {
        {"hidden_size", DT_JSON_INT, &t->width, .least = 1, .most = 65536},
        {"intermediate_size", DT_JSON_INT, &t->hidden, .least = 1, .most = 1 << 20},
        {"num_hidden_layers", DT_JSON_INT, &t->layers, .least = 1, .most = 1024},
        {"num_attention_heads", DT_JSON_INT, &t->heads, .least = 1, .most = 65536},
        {"projection_size", DT_JSON_INT, &t->projection, .least = 1, .most = 65536},
        {"image_size", DT_JSON_INT, &t->image_size, .least = 1, .most = 8192},
        {"patch_size", DT_JSON_INT, &t->patch_size, .least = 1, .most = 8192},
        {"num_channels", DT_JSON_INT, &t->channels, .least = 3, .most = 3},
        {"vocab_size", DT_JSON_INT, &t->vocab, .least = 2, .most = 1 << 24},
        {"max_position_embeddings", DT_JSON_INT, &t->positions, .least = 2, .most = 65536},
        {"hidden_act", DT_JSON_STRING, &t->act, .choices = "quick_gelu|gelu|gelu_pytorch_tanh"},
        {"layer_norm_eps", DT_JSON_DOUBLE, &t->eps, .least = 1e-20, .most = 1},
        {"vision_use_head", DT_JSON_BOOL, &t->head, .required = false},
        {"num_key_value_heads", DT_JSON_INT, &t->kv_heads, .least = 1, .most = 65536},
        {"head_dim", DT_JSON_INT, &t->head_width, .least = 1, .most = 65536},
        {"eos_token_id", DT_JSON_ANY, &t->end, .required = false},
    };
    const size_t count = sizeof fields / sizeof *fields;
    return !json || json_is_null(json) ||
           (dt_json_read_known(json, file, path, fields, count, error) &&
            dt_hf_pass_over(json, DT_HF_TOWER, file, path, fields, count, unknown, error));
}

/* What description fields a transformer has; `json` is a new object, NULL where there is no memory. */
static void describe_tower(json_t *json, const tower *t)
{
    json_object_set_new(json, "width", json_integer(t->width));
    json_object_set_new(json, "layers", json_integer(t->layers));
    json_object_set_new(json, "heads", json_integer(t->heads));
    if (t->hidden != 4 * t->width)
        json_object_set_new(json, "mlp_ratio", json_real(dt_mlp_ratio(t->width, t->hidden)));
    if (!strcmp(t->act, "gelu_pytorch_tanh"))
        json_object_set_new(json, "act_kwargs", json_pack("{s:s}", "approximate", "tanh"));
    json_object_set_new(json, "norm_kwargs", json_pack("{s:f}", "eps", t->eps));
}

static json_t *describe(const tower *vision, const tower *text, int embed_dim, bool siglip)
{
    json_t *image = json_pack("{s:i, s:i}", "image_size", vision->image_size, "patch_size", vision->patch_size);
    json_t *words = json_pack("{s:i, s:i}", "context_length", text->positions, "vocab_size", text->vocab);
    describe_tower(image, vision);
    describe_tower(words, text);
    if (siglip) {
        json_object_set_new(image, "tower", json_string("siglip"));
        json_object_set_new(words, "no_causal_mask", json_true());
        json_object_set_new(words, "pool_type", json_string("last"));
        json_object_set_new(words, "proj_bias", json_true());
    }
    json_t *json = json_pack("{s:i, s:b}", "embed_dim", embed_dim, "quick_gelu", !strcmp(vision->act, "quick_gelu"));
    if (siglip)
        json_object_set_new(json, "init_logit_bias", json_integer(-10));
    if (json_object_set_new(json, "vision_cfg", image) + json_object_set_new(json, "text_cfg", words)) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* Heads as CLIP and SigLIP have them: each with its own keys and values, and together as wide as the tower. */
static bool check_heads(const tower *t, const char *path, const char *file, dt_error *error)
{
    if (t->kv_heads && t->kv_heads != t->heads)
        return dt_fail(error, "%s: %s.num_key_value_heads: %d is not supported, only num_attention_heads, %d", file, path,
                       t->kv_heads, t->heads);
    if (t->head_width && (int64_t)t->head_width * t->heads != t->width)
        return dt_fail(error, "%s: %s.head_dim: %d is not supported, only hidden_size / num_attention_heads, %d / %d", file,
                       path, t->head_width, t->width, t->heads);
    return true;
}

/* transformers reads a text at the first such token; an id of 2 means the largest one, after the first published files. */
static bool check_end(const tower *text, const char *file, dt_error *error)
{
    json_int_t end = json_integer_value(text->end);
    if (!json_is_integer(text->end) || end == 2 || end == text->vocab - 1)
        return true;
    return dt_fail(error, "%s: text_config.eos_token_id: %lld is not supported: texts are read at their largest id, and the "
                          "vocabulary has %d", file, (long long)end, text->vocab);
}

static bool check(const tower *vision, const tower *text, int embed_dim, bool siglip, const char *file, dt_error *error)
{
    if (!check_heads(vision, "vision_config", file, error) || !check_heads(text, "text_config", file, error) ||
        (!siglip && !check_end(text, file, error)))
        return false;
    if (!strcmp(vision->act, "quick_gelu") != !strcmp(text->act, "quick_gelu"))
        return dt_fail(error, "%s: hidden_act is \"%s\" in vision_config and \"%s\" in text_config; QuickGELU in one tower "
                              "alone is not supported", file, vision->act, text->act);
    if (siglip && !vision->head)
        return dt_fail(error, "%s: vision_config.vision_use_head: false is not supported", file);
    if (siglip && (text->projection ? text->projection : text->width) != embed_dim)
        return dt_fail(error, "%s: text_config.projection_size is %d, but vision_config.hidden_size %d", file,
                       text->projection ? text->projection : text->width, embed_dim);
    return true;
}

static json_t *read_config(const json_t *root, const char *file, bool siglip, dt_hf_unknown *unknown, dt_error *error)
{
    tower vision = {.width = 768, .hidden = 3072, .layers = 12, .heads = 12, .image_size = 224, .patch_size = 32, .channels = 3,
                    .act = "quick_gelu", .eps = 1e-5};
    tower text = {.width = 512, .hidden = 2048, .layers = 12, .heads = 8, .vocab = 49408, .positions = 77,
                  .act = "quick_gelu", .eps = 1e-5};
    int embed_dim = 512;
    double scale = 2.6592;
    const dt_json_field fields[] = {{"projection_dim", DT_JSON_INT, &embed_dim, .least = 1, .most = 65536},
                                    {"logit_scale_init_value", DT_JSON_DOUBLE, &scale, .least = -20, .most = 20}};
    if (siglip) {
        vision.patch_size = 16;
        vision.head = true;
        text = (tower){.width = 768, .hidden = 3072, .layers = 12, .heads = 12, .vocab = 32000, .positions = 64};
        vision.act = text.act = "gelu_pytorch_tanh";
        vision.eps = text.eps = 1e-6;
    }
    /* The older files say some of it twice; theirs too takes the second. */
    if (!read_tower(root, file, "vision_config", &vision, unknown, error) ||
        !read_tower(root, file, "vision_config_dict", &vision, unknown, error) ||
        !read_tower(root, file, "text_config", &text, unknown, error) ||
        !read_tower(root, file, "text_config_dict", &text, unknown, error) ||
        !dt_json_read_known(root, file, "", fields, 2, error) ||
        !dt_hf_pass_over(root, DT_HF_MODEL, file, "", fields, 2, unknown, error))
        return NULL;
    embed_dim = siglip ? vision.width : embed_dim;
    if (!check(&vision, &text, embed_dim, siglip, file, error))
        return NULL;
    json_t *json = describe(&vision, &text, embed_dim, siglip);
    if (!json)
        dt_fail(error, "out of memory");
    else if (!siglip)
        json_object_set_new(json, "init_logit_scale", json_real(scale));
    return json;
}

/* ---- preprocessor_config.json ---- */

/* A number, {"shortest_edge": n}, or {"height": n, "width": n}: the side, and whether it is that of both axes; `square`: a
 * number is. 0: none of these. */
static int read_size(const json_t *size, bool square, bool *both)
{
    const json_t *edge = json_object_get(size, "shortest_edge"), *height = json_object_get(size, "height");
    *both = height || (square && !edge);
    if (height && !json_equal(height, json_object_get(size, "width")))
        return 0;
    json_int_t side = json_integer_value(height ? height : edge ? edge : size);
    return side > 0 && side <= 8192 ? (int)side : 0;
}

/* Their processor's fields, with defaults. */
typedef struct processor {
    const json_t *size, *crop, *mean, *std;
    bool resize, centre_crop, rescale, normalize;
    double factor;
    int resample;
} processor;

static bool read_processor(const json_t *json, const char *file, processor *p, dt_hf_unknown *unknown, dt_error *error)
{
    const dt_json_field fields[] = {
        {"size", DT_JSON_ANY, &p->size, .required = false},
        {"crop_size", DT_JSON_ANY, &p->crop, .required = false},
        {"image_mean", DT_JSON_ARRAY, &p->mean, .required = false},
        {"image_std", DT_JSON_ARRAY, &p->std, .required = false},
        {"do_resize", DT_JSON_BOOL, &p->resize, .required = false},
        {"do_center_crop", DT_JSON_BOOL, &p->centre_crop, .required = false},
        {"do_rescale", DT_JSON_BOOL, &p->rescale, .required = false},
        {"do_normalize", DT_JSON_BOOL, &p->normalize, .required = false},
        {"rescale_factor", DT_JSON_DOUBLE, &p->factor, .least = 1e-9, .most = 1e9},
        {"resample", DT_JSON_INT, &p->resample, .least = 0, .most = 5},
    };
    const size_t count = sizeof fields / sizeof *fields;
    return dt_json_read_known(json, file, "", fields, count, error) &&
           dt_hf_pass_over(json, DT_HF_PROCESSOR, file, "", fields, count, unknown, error);
}

/* Geometry: a resize by the short side or to a square, then a crop. */
static bool settle_geometry(const processor *p, bool siglip, const char *file, dt_transform *t, dt_error *error)
{
    bool both = siglip, crop_both;
    int side = p->size ? read_size(p->size, siglip, &both) : t->size;
    int crop = p->crop ? read_size(p->crop, true, &crop_both) : t->size;
    if (!side || (p->centre_crop && !crop))
        return dt_fail(error, "%s: size, crop_size: expected a number, a shortest_edge, or a height and an equal width", file);
    if (!p->resize)
        return dt_fail(error, "%s: do_resize: false is not supported; pictures are always resized", file);
    if (!p->centre_crop && !both)
        return dt_fail(error, "%s: do_center_crop: false is not supported where size is a shortest_edge", file);
    int last = p->centre_crop ? crop : side;
    if (last != t->size || side < last)
        return dt_fail(error, "%s: pictures of %d pixels come out, of a resize to %d; the model takes %d", file, last, side,
                       t->size);
    t->squash = both;
    t->resize = side == t->size ? 0 : side;
    return true;
}

/* (x f - mean) / std of bytes x is (x / 255 - mean / k) / (std / k) with k = 255 f. */
static bool settle_colour(const processor *p, const char *file, dt_transform *t, dt_error *error)
{
    double k = p->rescale ? 255 * p->factor : 255;
    for (size_t i = 0; i < 3; i++) {
        const json_t *mean = json_array_get(p->mean, i), *std = json_array_get(p->std, i);
        if ((p->mean && (json_array_size(p->mean) != 3 || !json_is_number(mean))) ||
            (p->std && (json_array_size(p->std) != 3 || !json_is_number(std))))
            return dt_fail(error, "%s: image_mean, image_std: expected lists of three numbers", file);
        double m = !p->normalize ? 0 : mean ? json_number_value(mean) : (double)t->mean[i];
        double s = !p->normalize ? 1 : std ? json_number_value(std) : (double)t->std[i];
        t->mean[i] = (float)(m / k);
        t->std[i] = (float)(s / k);
    }
    if (p->resample != 2 && p->resample != 3)
        return dt_fail(error, "%s: resample: %d is not supported, only 2 (bilinear) and 3 (bicubic)", file, p->resample);
    t->interpolation = p->resample == 2 ? DT_BILINEAR : DT_BICUBIC;
    return dt_transform_check(t, error) || dt_fail_prefix(error, "%s", file);
}

static json_t *read_preprocessor(const char *folder, int image_size, bool siglip, dt_hf_unknown *unknown,
                                 dt_error *error)
{
    const char *file = has(folder, "preprocessor_config.json") ? "preprocessor_config.json"
                       : has(folder, "processor_config.json")  ? "processor_config.json" : NULL;
    dt_transform t = dt_transform_default(DT_TRANSFORM_EVAL, image_size);
    processor p = {.resize = true, .centre_crop = !siglip, .rescale = true, .normalize = true, .factor = 1 / 255.0,
                   .resample = 3};
    t.squash = siglip;
    t.floor_crop = !siglip;
    for (int i = 0; siglip && i < 3; i++)
        t.mean[i] = t.std[i] = 0.5f;
    if (!file)
        return dt_preprocess_json(&t);
    json_t *root = load(folder, file, error), *json = root;
    if (json_is_object(json_object_get(root, "image_processor")))
        json = json_object_get(root, "image_processor");
    char path[4200];
    snprintf(path, sizeof path, "%s/%s", folder, file);
    bool good = root && read_processor(json, path, &p, unknown, error) && settle_geometry(&p, siglip, path, &t, error) &&
                settle_colour(&p, path, &t, error);
    json_decref(root);
    json_t *result = good ? dt_preprocess_json(&t) : NULL;
    if (good && !result)
        dt_fail(error, "out of memory");
    return result;
}

/* ---- */

/* The folder that a file lies in. */
static void folder_of(const char *file, char folder[4096])
{
    const char *slash = strrchr(file, '/');
    snprintf(folder, 4096, "%.*s", slash ? (int)(slash - file + (slash == file)) : 1, slash ? file : ".");
}

json_t *dt_hf_description(const char *file, dt_naming *naming, char *note, size_t room, dt_error *error)
{
    char folder[4096];
    json_t *root = dt_config_file(file, error), *json = NULL;
    const char *type = NULL;
    dt_hf_unknown unknown = {""};
    const dt_json_field fields[] = {
        {"model_type", DT_JSON_STRING, &type, .required = true, .choices = "clip|siglip"}};
    folder_of(file, folder);
    if (root && dt_json_read_known(root, file, "", fields, 1, error)) {
        bool siglip = !strcmp(type, "siglip");
        *naming = siglip ? DT_NAMES_HF_SIGLIP : DT_NAMES_HF_CLIP;
        json = read_config(root, file, siglip, &unknown, error);
    }
    const json_t *vision = json_object_get(json, "vision_cfg");
    json_t *preprocess = json ? read_preprocessor(folder, (int)json_integer_value(json_object_get(vision, "image_size")),
                                                  *naming == DT_NAMES_HF_SIGLIP, &unknown, error) : NULL;
    if (json && (!preprocess || json_object_set_new(json, "preprocess_cfg", preprocess))) {
        json_decref(json);
        json = NULL;
    }
    json_decref(root);
    snprintf(note, room, "%s%s", *unknown.names ? "fields that are not known were passed over: " : "", unknown.names);
    return json;
}
