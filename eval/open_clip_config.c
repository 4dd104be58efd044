#include "eval/open_clip_config.h"

#include "eval/config_fields.h"
#include "eval/preprocess.h"

#include <math.h>
#include <string.h>

json_t *dt_open_clip_description(const char *path, dt_error *error)
{
    json_t *root = dt_config_file(path, error), *json = NULL;
    const json_t *model = NULL, *preprocess = NULL;
    const dt_json_field fields[] = {{"model_cfg", DT_JSON_OBJECT, &model, .required = true},
                                    {"preprocess_cfg", DT_JSON_OBJECT, &preprocess, .required = false}};
    if (root && dt_json_read_known(root, path, "", fields, 2, error)) {
        json = json_deep_copy(model);
        if (!json || (preprocess && json_object_set(json, "preprocess_cfg", (json_t *)(uintptr_t)preprocess))) {
            dt_fail(error, "out of memory");
            json_decref(json);
            json = NULL;
        }
    }
    json_decref(root);
    return json;
}

double dt_mlp_ratio(int width, int hidden)
{
    double ratio = (double)hidden / width;
    while ((int)(width * ratio) < hidden)
        ratio = nextafter(ratio, 65);
    return ratio;
}

/* What a transformer of either tower has in common. */
static bool put_transformer(json_t *json, const dt_transformer_config *t)
{
    int failed = json_object_set_new(json, "width", json_integer(t->width)) +
                 json_object_set_new(json, "layers", json_integer(t->layers)) +
                 json_object_set_new(json, "mlp_ratio", json_real(dt_mlp_ratio(t->width, t->hidden)));
    if (t->activation == DT_ACT_GELU_TANH)
        failed += json_object_set_new(json, "act_kwargs", json_pack("{s:s}", "approximate", "tanh"));
    if (t->norm_eps != 1e-5f)
        failed += json_object_set_new(json, "norm_kwargs", json_pack("{s:o}", "eps", dt_json_float(t->norm_eps)));
    return !failed;
}

static json_t *vit(const dt_vit_config *v, dt_error *error)
{
    if (v->pool == DT_POOL_PROBE || v->no_class_token || v->patch_bias) {
        dt_fail(error, "open_clip knows SigLIP's image towers by timm's names only, and this model came without one (patches "
                       "of %d, images of %d pixels, width %d, %d layers); if timm has it, name it first: duet convert IN OUT "
                       "--config CONFIG, the preset ViT-B-16-SigLIP or a file with vision_cfg.timm_model_name", v->patch_size,
                v->image_size, v->transformer.width, v->transformer.layers);
        return NULL;
    }
    json_t *json = json_pack("{s:i, s:i, s:i}", "image_size", v->image_size, "patch_size", v->patch_size, "head_width",
                             v->transformer.width / v->transformer.heads);
    if (v->pool == DT_POOL_MEAN)
        json_object_set_new(json, "pool_type", json_string("avg"));
    if (v->no_norm_before)
        json_object_set_new(json, "no_ln_pre", json_true());
    if (v->norm_after_pool)
        json_object_set_new(json, "final_ln_after_pool", json_true());
    put_transformer(json, &v->transformer);
    return json;
}

static json_t *resnet(const dt_resnet_config *r, dt_error *error)
{
    if (!r->heads || r->stages != 4) {
        dt_fail(error, "open_clip has no place for this residual tower, only for CLIP's ModifiedResNet");
        return NULL;
    }
    return json_pack("{s:i, s:[i,i,i,i], s:i, s:i}", "image_size", r->image_size, "layers", r->blocks[0], r->blocks[1],
                     r->blocks[2], r->blocks[3], "width", r->widths[0], "head_width", 32 * r->widths[0] / r->heads);
}

/* The image tower; those of timm keep the description that they came with. */
static json_t *vision(const dt_model *model, dt_error *error)
{
    const dt_clip_config *c = &model->config;
    const json_t *given = json_object_get(model->json, "vision_cfg");
    if (json_is_string(json_object_get(given, "timm_model_name")))
        return json_deep_copy(given);
    if (c->vision == DT_VISION_VIT)
        return vit(&c->vit, error);
    if (c->vision == DT_VISION_RESIDUAL)
        return resnet(&c->resnet, error);
    dt_fail(error, "open_clip has no tower of mere pixels");
    return NULL;
}

static json_t *text(const dt_model *model)
{
    const dt_text_config *t = &model->config.text;
    json_t *json = json_pack("{s:i, s:i, s:i}", "context_length", t->context_length, "vocab_size", t->vocab_size, "heads",
                             t->transformer.heads);
    put_transformer(json, &t->transformer);
    if (!t->transformer.causal)
        json_object_set_new(json, "no_causal_mask", json_true());
    if (t->read != DT_READ_LARGEST)
        json_object_set_new(json, "pool_type", json_string(t->read == DT_READ_LAST ? "last" : "first"));
    if (model->config.text_projection == DT_PROJECT_NONE)
        json_object_set_new(json, "proj_type", json_string("none"));
    if (model->config.text_projection == DT_PROJECT_LINEAR)
        json_object_set_new(json, "proj_bias", json_true());
    if (model->tokenizer) /* open_clip takes the files in the folder, whatever the name */
        json_object_set_new(json, "hf_tokenizer_name", json_string("local"));
    return json;
}

static bool quick(const dt_clip_config *c)
{
    return c->text.transformer.activation == DT_ACT_QUICK_GELU;
}

static bool expressible(const dt_model *model, dt_error *error)
{
    const dt_clip_config *c = &model->config;
    if (model->head.classes)
        return dt_fail(error, "open_clip has no place for a classifier's head");
    if (!c->has_text)
        return dt_fail(error, "open_clip has no models without a text tower");
    if (c->vision == DT_VISION_VIT && quick(c) != (c->vit.transformer.activation == DT_ACT_QUICK_GELU))
        return dt_fail(error, "open_clip has no models with QuickGELU in one tower alone");
    if (model->preprocess.resize && model->preprocess.resize != model->preprocess.size)
        return dt_fail(error, "open_clip has no place for a resize to %d pixels before a crop to %d", model->preprocess.resize,
                       model->preprocess.size);
    return true;
}

json_t *dt_open_clip_config(const dt_model *model, dt_naming *naming, dt_error *error)
{
    const dt_clip_config *c = &model->config;
    json_t *image = expressible(model, error) ? vision(model, error) : NULL;
    if (!image)
        return NULL;
    bool timm = json_object_get(image, "timm_model_name") != NULL;
    *naming = timm ? DT_NAMES_TIMM : DT_NAMES_DUET;
    json_t *cfg = json_pack("{s:i, s:b, s:o, s:o, s:o}", "embed_dim", c->embed_dim, "quick_gelu", quick(c), "init_logit_scale",
                            dt_json_float(c->init_logit_scale), "vision_cfg", image, "text_cfg", text(model));
    if (c->has_logit_bias)
        json_object_set_new(cfg, "init_logit_bias", dt_json_float(c->init_logit_bias));
    if (timm)
        json_object_set_new(cfg, "custom_text", json_true());
    json_t *root = json_pack("{s:o, s:o}", "model_cfg", cfg, "preprocess_cfg", dt_preprocess_json(&model->preprocess));
    if (!root)
        dt_fail(error, "out of memory");
    return root;
}
