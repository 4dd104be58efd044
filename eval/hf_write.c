/* A model's description as the configuration files of a Hugging Face directory. */
#include "eval/hf_config.h"

#include <string.h>

static const char *const acts[] = {[DT_ACT_GELU] = "gelu", [DT_ACT_QUICK_GELU] = "quick_gelu",
                                   [DT_ACT_GELU_TANH] = "gelu_pytorch_tanh"};

static json_t *transformer(const dt_transformer_config *t)
{
    return json_pack("{s:i, s:i, s:i, s:i, s:s, s:o}", "hidden_size", t->width, "intermediate_size", t->hidden,
                     "num_hidden_layers", t->layers, "num_attention_heads", t->heads, "hidden_act", acts[t->activation],
                     "layer_norm_eps", dt_json_float(t->norm_eps));
}

static json_t *vision(const dt_clip_config *c, bool siglip)
{
    json_t *json = transformer(&c->vit.transformer);
    json_object_set_new(json, "image_size", json_integer(c->vit.image_size));
    json_object_set_new(json, "patch_size", json_integer(c->vit.patch_size));
    json_object_set_new(json, "model_type", json_string(siglip ? "siglip_vision_model" : "clip_vision_model"));
    if (!siglip)
        json_object_set_new(json, "projection_dim", json_integer(c->embed_dim));
    return json;
}

static json_t *text(const dt_model *model, bool siglip)
{
    const dt_clip_config *c = &model->config;
    const dt_tokenizer *t = model->tokenizer;
    int start = t ? dt_tokenizer_start(t) : c->text.vocab_size - 2, end = t ? dt_tokenizer_end(t) : c->text.vocab_size - 1;
    json_t *json = transformer(&c->text.transformer);
    json_object_set_new(json, "vocab_size", json_integer(c->text.vocab_size));
    json_object_set_new(json, "max_position_embeddings", json_integer(c->text.context_length));
    if (start >= 0) /* SigLIP's tokenizer has none */
        json_object_set_new(json, "bos_token_id", json_integer(start));
    json_object_set_new(json, "eos_token_id", json_integer(end));
    json_object_set_new(json, "pad_token_id", json_integer(end));
    json_object_set_new(json, "model_type", json_string(siglip ? "siglip_text_model" : "clip_text_model"));
    json_object_set_new(json, siglip ? "projection_size" : "projection_dim", json_integer(c->embed_dim));
    return json;
}

/* What a CLIPModel is, and what a SiglipModel. */
static bool is_clip(const dt_clip_config *c)
{
    const dt_vit_config *v = &c->vit;
    return v->pool == DT_POOL_CLASS && !v->no_class_token && !v->patch_bias && !v->no_norm_before &&
           c->image_projection == DT_PROJECT_MATRIX && c->text_projection == DT_PROJECT_MATRIX && c->text.transformer.causal &&
           c->text.read == DT_READ_LARGEST;
}

static bool is_siglip(const dt_clip_config *c)
{
    const dt_vit_config *v = &c->vit;
    return v->pool == DT_POOL_PROBE && v->no_class_token && v->patch_bias && v->no_norm_before &&
           c->image_projection == DT_PROJECT_NONE && c->text_projection == DT_PROJECT_LINEAR && !c->text.transformer.causal &&
           c->text.read == DT_READ_LAST && c->has_logit_bias;
}

static bool expressible(const dt_model *model, dt_error *error)
{
    const dt_clip_config *c = &model->config;
    if (model->head.classes)
        return dt_fail(error, "Hugging Face's CLIPModel has no place for a classifier's head");
    if (!c->has_text)
        return dt_fail(error, "Hugging Face's CLIPModel has no place for an image tower without a text tower");
    if (c->vision != DT_VISION_VIT)
        return dt_fail(error, "Hugging Face's CLIPModel has ViT towers only, and this model's image tower is %s",
                       c->vision == DT_VISION_RESIDUAL ? "a residual network" : "mere pixels");
    if (is_siglip(c))
        return true;
    if (!is_clip(c))
        return dt_fail(error, "this model is neither Hugging Face's CLIPModel (class token, causal text) nor its SiglipModel "
                              "(attention pool, text without mask)");
    return !c->has_logit_bias || dt_fail(error, "Hugging Face's CLIPModel has no place for a logit_bias");
}

json_t *dt_hf_config(const dt_model *model, dt_naming *naming, dt_error *error)
{
    const dt_clip_config *c = &model->config;
    if (!expressible(model, error))
        return NULL;
    bool siglip = is_siglip(c);
    *naming = siglip ? DT_NAMES_HF_SIGLIP : DT_NAMES_HF_CLIP;
    json_t *json = json_pack("{s:[s], s:s, s:s, s:o, s:o}", "architectures", siglip ? "SiglipModel" : "CLIPModel", "model_type",
                             siglip ? "siglip" : "clip", "dtype", "float32", "text_config", text(model, siglip),
                             "vision_config", vision(c, siglip));
    if (json && !siglip) {
        json_object_set_new(json, "projection_dim", json_integer(c->embed_dim));
        json_object_set_new(json, "logit_scale_init_value", dt_json_float(c->init_logit_scale));
    }
    if (!json)
        dt_fail(error, "out of memory");
    return json;
}

static json_t *square(int side)
{
    return json_pack("{s:i, s:i}", "height", side, "width", side);
}

static json_t *three(const float x[3])
{
    return json_pack("[o,o,o]", dt_json_float(x[0]), dt_json_float(x[1]), dt_json_float(x[2]));
}

json_t *dt_hf_preprocessor(const dt_model *model, dt_naming naming, dt_error *error)
{
    const dt_transform *t = &model->preprocess;
    bool siglip = naming == DT_NAMES_HF_SIGLIP;
    int resize = t->resize ? t->resize : t->size;
    if (siglip && (!t->squash || resize != t->size)) {
        dt_fail(error, "Hugging Face's SiglipImageProcessor cannot crop, and this model's pictures are cropped to %d pixels",
                t->size);
        return NULL;
    }
    json_t *json = json_pack("{s:s, s:s, s:b, s:b, s:b, s:b, s:i, s:f, s:o, s:o, s:o}", "image_processor_type",
                             siglip ? "SiglipImageProcessor" : "CLIPImageProcessor", "processor_class",
                             siglip ? "SiglipProcessor" : "CLIPProcessor", "do_convert_rgb", 1, "do_resize", 1, "do_rescale", 1,
                             "do_normalize", 1, "resample", t->interpolation == DT_BILINEAR ? 2 : 3, "rescale_factor",
                             1 / 255.0, "image_mean", three(t->mean), "image_std", three(t->std), "size",
                             t->squash ? square(resize) : json_pack("{s:i}", "shortest_edge", resize));
    if (json && !siglip) {
        json_object_set_new(json, "do_center_crop", json_true());
        json_object_set_new(json, "crop_size", square(t->size));
    }
    if (!json)
        dt_fail(error, "out of memory");
    return json;
}
