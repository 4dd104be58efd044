#include "eval/config_fields.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Fields of open_clip's that have no part of their own here, with the value that changes nothing; NULL: none does. */
static const struct {
    int where;
    const char *key, *harmless;
} foreign[] = {
    {DT_OF_MODEL, "multimodal_cfg", "null"},
    {DT_OF_MODEL, "nonscalar_logit_scale", "false"},
    {DT_OF_MODEL, "custom_text", NULL}, /* where open_clip keeps the text tower */
    {DT_OF_MODEL, "output_dict", NULL},
    {DT_OF_MODEL, "cast_dtype", NULL},
    {DT_OF_VISION, "patch_dropout", "0"},
    {DT_OF_VISION, "attentional_pool", "false"},
    {DT_OF_VISION, "attn_pooler_queries", NULL},
    {DT_OF_VISION, "attn_pooler_heads", NULL},
    {DT_OF_VISION, "pos_embed_type", "\"learnable\""},
    {DT_OF_VISION, "timm_model_pretrained", NULL},
    {DT_OF_VISION, "timm_proj_bias", "false"},
    {DT_OF_VISION, "timm_drop", "0"},
    {DT_OF_VISION, "timm_drop_path", "0"},
    {DT_OF_TEXT, "hf_tokenizer_name", NULL}, /* the tokenizer comes with the weights or from the run's configuration */
    {DT_OF_TEXT, "tokenizer_mode", NULL},
    {DT_OF_TEXT, "tokenizer_kwargs", NULL},
    {DT_OF_TEXT, "embed_cls", "false"},
    {DT_OF_TEXT, "pad_id", NULL}, /* serves embed_cls and pool_type "eos" */
    {DT_OF_TEXT, "eos_id", NULL},
    {DT_OF_TEXT, "final_ln_after_pool", NULL}, /* the same numbers: a norm of rows, then or before one row is chosen */
    {DT_OF_TEXT, "hf_model_name", "null"},
    {DT_OF_TEXT, "hf_model_pretrained", NULL},
    {DT_OF_TEXT, "hf_proj_type", NULL},
    {DT_OF_TEXT, "hf_pooler_type", NULL},
    {DT_OF_VISION | DT_OF_TEXT, "output_tokens", "false"},
    {DT_OF_VISION | DT_OF_TEXT, "ls_init_value", "null"},
    {DT_OF_VISION | DT_OF_TEXT, "block_type", "\"default\""},
    {DT_OF_VISION | DT_OF_TEXT, "qk_norm", "false"},
    {DT_OF_VISION | DT_OF_TEXT, "scaled_cosine_attn", "false"},
    {DT_OF_VISION | DT_OF_TEXT, "scale_heads", "false"},
    {DT_OF_VISION | DT_OF_TEXT, "scale_attn_inner", "false"},
    {DT_OF_VISION | DT_OF_TEXT, "scale_attn", "false"},
    {DT_OF_VISION | DT_OF_TEXT, "scale_fc", "false"},
};

const char *dt_config_place(char *room, size_t size, const char *path, const char *key)
{
    snprintf(room, size, "%s%s%s", path, *path ? "." : "", key);
    return room;
}

json_t *dt_config_file(const char *path, dt_error *error)
{
    struct stat status;
    if (!stat(path, &status) && S_ISREG(status.st_mode) && !status.st_size) {
        dt_fail(error, "%s: the file is empty; expected an object in JSON", path);
        return NULL;
    }
    return dt_json_load(path, error);
}

bool dt_check_no_device(const char *path, dt_error *error)
{
    struct stat status;
    return stat(path, &status) || S_ISREG(status.st_mode) || S_ISDIR(status.st_mode) ||
           dt_fail(error, "%s is a device or a pipe, expected a regular file", path);
}

bool dt_json_says(const json_t *value, const char *text)
{
    json_t *other = json_loads(text, JSON_DECODE_ANY, NULL);
    bool numbers = json_is_number(value) && json_is_number(other);
    bool equal = numbers ? json_number_value(value) == json_number_value(other) : json_equal(value, other);
    json_decref(other);
    return equal;
}

json_t *dt_own_fields(const json_t *json, dt_described what, const char *file, const char *path, dt_error *error)
{
    char place[256];
    json_t *own = json_copy((json_t *)json);
    if (!own)
        dt_fail(error, "out of memory");
    for (size_t i = 0; own && i < sizeof foreign / sizeof *foreign; i++) {
        const json_t *value = foreign[i].where & what ? json_object_get(own, foreign[i].key) : NULL;
        if (value && !json_is_null(value) && foreign[i].harmless && !dt_json_says(value, foreign[i].harmless)) {
            char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
            dt_fail(error, "%s: %s: %.100s is not supported, only %s", file,
                    dt_config_place(place, sizeof place, path, foreign[i].key), text ? text : "it", foreign[i].harmless);
            free(text);
            json_decref(own);
            return NULL;
        }
        if (value)
            json_object_del(own, foreign[i].key);
    }
    return own;
}

/* PyTorch's GELU has an argument that chooses its approximation; QuickGELU has none. */
static bool settle_activation(const json_t *kwargs, bool quick_gelu, const char *file, const char *path,
                              dt_activation *activation, dt_error *error)
{
    const char *approximate = "none";
    char place[256];
    const dt_json_field fields[] = {{"approximate", DT_JSON_STRING, &approximate, .choices = "none|tanh"}};
    dt_config_place(place, sizeof place, path, "act_kwargs");
    if (kwargs && quick_gelu)
        return dt_fail(error, "%s: %s: does not go with quick_gelu", file, place);
    if (kwargs && !dt_json_read(kwargs, file, place, fields, 1, error))
        return false;
    *activation = quick_gelu ? DT_ACT_QUICK_GELU : strcmp(approximate, "tanh") ? DT_ACT_GELU : DT_ACT_GELU_TANH;
    return true;
}

bool dt_transformer_settle(const dt_transformer_fields *f, bool quick_gelu, bool causal, const char *file, const char *path,
                           dt_transformer_config *c, dt_error *error)
{
    int heads = f->heads ? f->heads : f->width / f->head_width;
    char place[256];
    double eps = f->norm_eps;
    const dt_json_field norm[] = {{"eps", DT_JSON_DOUBLE, &eps, .required = false, .least = 1e-20, .most = 1}};
    if (heads < 1 || f->width % heads)
        return dt_fail(error, "%s: %s: width %d is not a multiple of its %d heads", file, path, f->width, heads);
    *c = (dt_transformer_config){.width = f->width, .layers = f->layers, .heads = heads, .causal = causal};
    /* rounded down, as open_clip has it, but for the last digits of a ratio that is a quotient */
    c->hidden = (int)(f->width * f->mlp_ratio + 1e-6);
    dt_config_place(place, sizeof place, path, "norm_kwargs");
    if (!settle_activation(f->act_kwargs, quick_gelu, file, path, &c->activation, error) ||
        (f->norm_kwargs && !dt_json_read(f->norm_kwargs, file, place, norm, 1, error)))
        return false;
    c->norm_eps = (float)eps;
    return true;
}
