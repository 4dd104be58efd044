#include "eval/head.h"
#include "eval/origin.h"

#include <math.h>

/* {"tower", "input", "classes"} (eval/model.h); NULL: no memory, or a name that is not UTF-8. */
static json_t *describe(dt_tower tower, bool on_embedding, const char *const *names, size_t count)
{
    json_t *list = json_array();
    for (size_t c = 0; list && c < count; c++)
        if (json_array_append_new(list, json_string(names[c])) != 0) {
            json_decref(list);
            list = NULL;
        }
    return list ? json_pack("{s:s, s:s, s:o}", "tower", tower == DT_TOWER_TEXT ? "text" : "image", "input",
                            on_embedding ? "embedding" : "features", "classes", list)
                : NULL;
}

static bool give_up(dt_model **model)
{
    dt_model_free(*model);
    *model = NULL;
    return false;
}

bool dt_model_head_new(dt_model **model, dt_tower tower, bool on_embedding, const char *const *names, size_t count,
                       dt_error *error)
{
    bool text = tower == DT_TOWER_TEXT;
    if (text && !(*model)->config.has_text)
        dt_fail(error, "the model has no text tower to classify texts with");
    else if (text && !(*model)->tokenizer)
        dt_no_tokenizer(*model, error);
    if (text && (!(*model)->config.has_text || !(*model)->tokenizer))
        return give_up(model);
    *model = dt_model_with_head(*model, describe(tower, on_embedding, names, count), error);
    return *model != NULL;
}

static bool embed_prompts(dt_model *model, const dt_classes *classes, const char *const *templates,
                          size_t template_count, const dt_backend *backend, int batch, dt_progress progress,
                          dt_error *error)
{
    int head = dt_params_find(model->params, "head.weight");
    float *weight = dt_params_value(model->params, head);
    float scale = expf(*dt_params_look(model->params, dt_params_find(model->params, "logit_scale")));
    size_t count = classes->count * (size_t)model->config.embed_dim;
    dt_encoder *encoder = dt_text_encoder_new(model, backend, batch, error);
    bool good = encoder &&
                dt_classes_embed(classes, templates, template_count, model, encoder, weight, progress, error);
    weight = dt_params_value(model->params, head); /* asked for again: the encoder has run since */
    for (size_t i = 0; good && i < count; i++)
        weight[i] *= scale;
    dt_encoder_free(encoder);
    return good;
}

bool dt_model_head_from_classes(dt_model **model, dt_tower tower, const dt_classes *classes, const char *const *templates,
                                size_t template_count, const dt_backend *backend, int batch, dt_progress progress,
                                dt_error *error)
{
    bool good = (*model)->config.has_text || dt_fail(error, "the model has no text tower to read class names with; give it a new head (--head new)");
    good = good && ((*model)->tokenizer || dt_no_tokenizer(*model, error));
    good = good && (classes->count > 1 || dt_fail(error, "%s: one class; expected at least two", classes->origin));
    if (!good)
        return give_up(model);
    return dt_model_head_new(model, tower, true, (const char *const *)classes->names, classes->count, error) &&
           (embed_prompts(*model, classes, templates, template_count, backend, batch, progress, error) || give_up(model));
}
