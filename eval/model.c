#include "eval/model.h"

#include "eval/preprocess.h"
#include "eval/presets.h"
#include "eval/weights.h"
#include "kernels/op.h"

#include <stdlib.h>
#include <string.h>

const char *dt_model_preset_name(size_t i)
{
    return dt_presets[i].name;
}

json_t *dt_model_preset(const char *name, dt_error *error)
{
    char known[1024] = "";
    for (size_t i = 0; dt_presets[i].name; i++) {
        if (!strcmp(dt_presets[i].name, name))
            return dt_json_parse(dt_presets[i].text, strlen(dt_presets[i].text), name, error);
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "", dt_presets[i].name);
    }
    dt_fail(error, "no model preset is called '%s', nor is there such a file; the presets are %s", name, known);
    return NULL;
}

/* Records everything once, for the parameters' names and shapes. */
static bool declare_parameters(dt_model *model, dt_error *error)
{
    dt_graph *g = dt_graph_new();
    if (!g)
        return dt_fail(error, "out of memory");
    dt_scope root = {g, model->params, ""};
    const dt_clip_config *c = &model->config;
    int64_t size = dt_clip_image_size(c);
    dt_tensor *images = NULL, *tokens = NULL;
    if (size) {
        images = dt_input(g, "images", DT_F32, dt_dims(2, size, size, 3));
        dt_clip_image(root, c, images, true);
    }
    if (c->vision == DT_VISION_VAE)
        dt_vae_declare(root, &c->vae);
    if (c->vision == DT_VISION_GAN)
        dt_gan_declare(root, &c->gan);
    if (c->has_text) {
        tokens = dt_input(g, "tokens", DT_I32, dt_dims(2, c->text.context_length));
        dt_clip_text(root, c, tokens);
        dt_clip_logit_scale(root, c);
    }
    if (c->has_logit_bias)
        dt_clip_logit_bias(root, c);
    if (model->head.classes && model->head.tower == DT_TOWER_IMAGE && !images)
        dt_graph_fail(g, "head", "this model knows points of the plane, and no images");
    else if (model->head.classes)
        dt_classifier(root, c, &model->head, model->head.tower == DT_TOWER_TEXT ? tokens : images, true);
    bool good = !dt_graph_error(g) || dt_fail(error, "model: %s", dt_graph_error(g));
    dt_graph_free(g);
    return good;
}

/* The vocabulary: the tokenizer's where the description leaves it open. */
static bool settle_vocabulary(dt_model *model, dt_error *error)
{
    int *size = &model->config.text.vocab_size;
    if (!model->config.has_text)
        return true;
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

/* Pixels as generative models see them, from `low` to 1. */
static void set_range(dt_transform *preprocess, float low)
{
    for (int i = 0; i < 3; i++) {
        preprocess->mean[i] = -low / (1 - low);
        preprocess->std[i] = 1 / (1 - low);
    }
}

dt_model *dt_model_declare(const json_t *json, dt_tokenizer *tokenizer, dt_error *error)
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
    if (!model->json || !dt_model_config(model->json, preset ? preset : "model", "", &model->config, &model->head, error) ||
        !settle_vocabulary(model, error)) {
        dt_model_free(model);
        return NULL;
    }
    model->preprocess = dt_transform_default(DT_TRANSFORM_EVAL, dt_clip_image_size(&model->config));
    if (model->config.vision == DT_VISION_VAE || model->config.vision == DT_VISION_GAN)
        set_range(&model->preprocess, model->config.vision == DT_VISION_VAE ? 0 : -1);
    const json_t *preprocess = json_object_get(model->json, "preprocess_cfg");
    if (!dt_preprocess_read(preprocess, preset ? preset : "model", &model->preprocess, error) ||
        !declare_parameters(model, error)) {
        dt_model_free(model);
        return NULL;
    }
    return model;
}

dt_model *dt_model_new(const json_t *json, dt_tokenizer *tokenizer, uint64_t seed, dt_error *error)
{
    dt_model *model = dt_model_declare(json, tokenizer, error);
    if (!model || dt_params_allocate(model->params, seed))
        return model;
    dt_fail(error, "no memory for the model's parameters");
    dt_model_free(model);
    return NULL;
}

dt_model *dt_model_with_head(dt_model *old, json_t *head, dt_error *error)
{
    json_t *json = json_deep_copy(old->json);
    dt_model *model = NULL;
    if (!json || !head || json_object_set(json, "head", head))
        dt_fail(error, "out of memory");
    else
        model = dt_model_declare(json, old->tokenizer, error);
    if (json && head)
        old->tokenizer = NULL; /* it went to the new model, or down with it */
    if (model && !dt_params_place(model->params, NULL)) {
        dt_fail(error, "no memory for the model's parameters");
        dt_model_free(model);
        model = NULL;
    }
    for (int i = 0; model && i < dt_params_count(model->params); i++) {
        const dt_param_info *info = dt_params_info(model->params, i);
        int from = dt_params_find(old->params, info->name);
        if (from >= 0 && strncmp(info->name, "head.", 5))
            memcpy(dt_params_value(model->params, i), dt_params_look(old->params, from), info->count * sizeof(float));
    }
    json_decref(json);
    json_decref(head);
    dt_model_free(old);
    return model;
}

const char *dt_model_class_name(const dt_model *model, size_t c)
{
    return json_string_value(json_array_get(json_object_get(json_object_get(model->json, "head"), "classes"), c));
}

void dt_model_free(dt_model *model)
{
    if (!model)
        return;
    json_decref(model->json);
    dt_params_free(model->params);
    dt_tokenizer_free(model->tokenizer);
    dt_weights_close(model->weights); /* after the parameters that lie there */
    free(model);
}
