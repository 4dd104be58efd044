#include "eval/model_file.h"

#include "eval/match.h"
#include "eval/origin.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

dt_st_tensor *dt_model_tensors(const dt_model *model, size_t extra, size_t *count)
{
    size_t own = (size_t)dt_params_count(model->params);
    dt_st_tensor *list = calloc(own + extra + 1, sizeof *list);
    for (size_t i = 0; list && i < own; i++) {
        const dt_param_info *info = dt_params_info(model->params, (int)i);
        list[i] = (dt_st_tensor){.name = info->name, .type = DT_ST_F32, .rank = info->shape.rank,
                                 .data = dt_params_look(model->params, (int)i)};
        memcpy(list[i].shape, info->shape.dim, sizeof info->shape.dim);
    }
    *count = own;
    return list;
}

bool dt_model_gathered(const dt_model *model, dt_error *error)
{
    const char *trouble = dt_params_trouble(model->params);
    return !trouble || dt_fail(error, "the parameters could not be brought back: %s", trouble);
}

bool dt_model_save(const dt_model *model, const char *path, dt_error *error)
{
    size_t count;
    dt_st_tensor *tensors = dt_model_tensors(model, 0, &count);
    char *description = dt_json_text(model->json, 0, error);
    bool good = tensors && description;
    const dt_st_meta meta[] = {{"format", "pt"}, {"duet.model", description}};
    if (good)
        good = dt_model_gathered(model, error) && dt_safetensors_write(path, tensors, count, meta, 2, error);
    else if (!tensors)
        dt_fail(error, "out of memory");
    free(tensors);
    free(description);
    return good;
}

bool dt_model_fill(dt_model *model, const dt_safetensors *file, dt_error *error)
{
    dt_weights *weights = dt_weights_around(file, error);
    bool good = weights && dt_model_match(model, weights, DT_NAMES_DUET, false, error);
    dt_weights_close(weights);
    return good;
}

bool dt_model_read(dt_model *model, const char *path, dt_error *error)
{
    dt_safetensors *file = dt_safetensors_open(path, error);
    bool good = file && dt_model_fill(model, file, error);
    dt_safetensors_close(file);
    return good;
}

bool dt_model_check_finite(const dt_model *model, dt_error *error)
{
    for (int i = 0; i < dt_params_count(model->params); i++) {
        const dt_param_info *info = dt_params_info(model->params, i);
        const float *value = dt_params_look(model->params, i);
        for (size_t k = 0; k < info->count; k++)
            if (!isfinite(value[k]))
                return dt_fail(error, "the model's tensor \"%.200s\" holds %g, at place %zu of %zu", info->name,
                               (double)value[k], k, info->count);
    }
    return true;
}

bool dt_run_checkpoint(const char *run, char *path, size_t size, uint64_t *step)
{
    char folder[4096];
    bool found = false;
    snprintf(folder, sizeof folder, "%s/checkpoints", run);
    DIR *directory = opendir(folder);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        uint64_t number;
        int end = 0;
        if (sscanf(entry->d_name, "step-%" SCNu64 ".safetensors%n", &number, &end) == 1 && end > 0 &&
            !entry->d_name[end] && (!found || number > *step)) {
            found = true;
            *step = number;
            snprintf(path, size, "%s/%s", folder, entry->d_name);
        }
    }
    if (directory)
        closedir(directory);
    return found;
}

static bool exists(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0;
}

bool dt_run_weights(const char *run, char *path, size_t size, dt_error *error)
{
    uint64_t step;
    snprintf(path, size, "%s/model.safetensors", run);
    if (exists(path) || dt_run_checkpoint(run, path, size, &step))
        return true;
    return dt_fail(error, "%s: neither model.safetensors nor a checkpoint is there; is it the folder of a run?", run);
}

/* A description for images of another size: it is asked for once, in the tower, and in the preprocessing. */
static bool set_image_size(json_t *description, int size, dt_error *error)
{
    json_t *vision = json_object_get(description, "vision_cfg"), *preprocess = json_object_get(description, "preprocess_cfg");
    if (!json_is_object(vision) || json_object_set_new(vision, "image_size", json_integer(size)))
        return dt_fail(error, "there is no vision_cfg in which image_size could be set");
    if (json_object_get(preprocess, "size"))
        json_object_set_new(preprocess, "size", json_integer(size));
    json_object_del(preprocess, "resize");
    return true;
}

/* Texts are read at their first largest id (encoders/text.h), which others look for by its name. */
static bool check_end(const dt_model *model, dt_error *error)
{
    const dt_tokenizer *t = model->tokenizer;
    if (!t || !model->config.has_text || model->config.text.read != DT_READ_LARGEST ||
        dt_tokenizer_end(t) == dt_tokenizer_vocab_size(t) - 1)
        return true;
    return dt_fail(error, "the tokenizer's end token is %d, but texts are read at their largest id, and there is %d",
                   dt_tokenizer_end(t), dt_tokenizer_vocab_size(t) - 1);
}

/* `own`: the description came with the weights, which messages about it then name. */
static dt_model *load(dt_origin *origin, bool own, int image_size, dt_error *error)
{
    dt_tokenizer *tokenizer = NULL;
    if ((image_size && !set_image_size(origin->description, image_size, error)) ||
        !dt_origin_tokenizer(origin, &tokenizer, error))
        return NULL;
    dt_model *model = dt_model_declare(origin->description, tokenizer, error);
    bool good = model && check_end(model, error);
    if (!good && own)
        dt_fail_prefix(error, "%s", dt_weights_path(origin->weights));
    if (model)
        snprintf(model->note, sizeof model->note, "%s", origin->note);
    if (!good || !dt_model_match(model, origin->weights, origin->naming, true, error)) {
        dt_model_free(model);
        return NULL;
    }
    model->weights = origin->weights;
    origin->weights = NULL;
    return model;
}

dt_model *dt_model_load_as(const char *path, const json_t *description, int image_size, dt_error *error)
{
    dt_origin origin;
    const char *preset = json_string_value(description);
    json_t *given = preset ? dt_model_preset(preset, error) : json_incref((json_t *)(uintptr_t)description);
    dt_model *model = NULL;
    if (description && !given)
        return NULL;
    if (dt_origin_open(&origin, path, given, error))
        model = load(&origin, !given, image_size, error);
    dt_origin_close(&origin);
    json_decref(given);
    return model;
}

dt_model *dt_model_load(const char *path, dt_error *error)
{
    return dt_model_load_as(path, NULL, 0, error);
}
