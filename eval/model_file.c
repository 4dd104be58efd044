#include "eval/model_file.h"

#include "data/file.h"

#include <dirent.h>
#include <inttypes.h>
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
                                 .data = dt_params_value(model->params, (int)i)};
        memcpy(list[i].shape, info->shape.dim, sizeof info->shape.dim);
    }
    *count = own;
    return list;
}

bool dt_model_save(const dt_model *model, const char *path, dt_error *error)
{
    size_t count;
    dt_st_tensor *tensors = dt_model_tensors(model, 0, &count);
    char *description = dt_json_text(model->json, 0, error);
    bool good = tensors && description;
    const dt_st_meta meta[] = {{"format", "pt"}, {"duet.model", description}};
    if (good)
        good = dt_safetensors_write(path, tensors, count, meta, 2, error);
    else if (!tensors)
        dt_fail(error, "out of memory");
    free(tensors);
    free(description);
    return good;
}

/* Adds to a list of differences, as far as there is room in a message. */
static void list_difference(char *list, size_t size, int *differences, const char *text)
{
    size_t used = strlen(list);
    if (used + strlen(text) + 3 < size)
        snprintf(list + used, size - used, "%s%s", used ? "; " : "", text);
    ++*differences;
}

static bool known(const dt_model *model, const char *name)
{
    return dt_params_find(model->params, name) >= 0 || !strncmp(name, "optimizer.", 10);
}

static bool same_shape(const dt_st_tensor *tensor, const dt_shape *shape)
{
    bool same = tensor->rank == shape->rank;
    for (int i = 0; same && i < shape->rank; i++)
        same = tensor->shape[i] == shape->dim[i];
    return same;
}

/* Compares names and shapes before a single number is changed. */
static bool check_tensors(const dt_model *model, const dt_safetensors *file, dt_error *error)
{
    char list[700] = "", text[400];
    int differences = 0;
    for (int i = 0; i < dt_params_count(model->params); i++) {
        const dt_param_info *info = dt_params_info(model->params, i);
        const dt_st_tensor *tensor = dt_safetensors_find(file, info->name);
        dt_shape found = {.rank = tensor && tensor->rank <= DT_MAX_RANK ? tensor->rank : 0};
        if (tensor)
            memcpy(found.dim, tensor->shape, sizeof(int64_t) * (size_t)found.rank);
        if (!tensor)
            snprintf(text, sizeof text, "%.200s is missing", info->name);
        else if (!same_shape(tensor, &info->shape))
            snprintf(text, sizeof text, "%.100s is %.100s, expected %.100s", info->name, dt_shape_text(&found).chars,
                     dt_shape_text(&info->shape).chars);
        else
            continue;
        list_difference(list, sizeof list, &differences, text);
    }
    for (size_t i = 0; i < dt_safetensors_count(file); i++)
        if (!known(model, dt_safetensors_at(file, i)->name)) {
            snprintf(text, sizeof text, "%.200s is not part of this model", dt_safetensors_at(file, i)->name);
            list_difference(list, sizeof list, &differences, text);
        }
    return !differences || dt_fail(error, "%s does not hold this model, %d tensors differ: %s",
                                   dt_safetensors_path(file), differences, list);
}

bool dt_model_fill(dt_model *model, const dt_safetensors *file, dt_error *error)
{
    if (!check_tensors(model, file, error))
        return false;
    for (int i = 0; i < dt_params_count(model->params); i++) {
        const dt_st_tensor *tensor = dt_safetensors_find(file, dt_params_info(model->params, i)->name);
        if (!dt_st_to_float(tensor, dt_params_value(model->params, i), error))
            return dt_fail_prefix(error, "%s", dt_safetensors_path(file));
    }
    return true;
}

bool dt_model_read(dt_model *model, const char *path, dt_error *error)
{
    dt_safetensors *file = dt_safetensors_open(path, error);
    bool good = file && dt_model_fill(model, file, error);
    dt_safetensors_close(file);
    return good;
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

/* tokenizer.json beside the file, or above its checkpoints folder; NULL without an error where there is none. */
static bool load_tokenizer(const char *weights, dt_tokenizer **tokenizer, dt_error *error)
{
    char path[4200];
    const char *slash = strrchr(weights, '/');
    int length = slash ? (int)(slash - weights) : 1;
    const char *folder = slash ? weights : ".", *const places[] = {"tokenizer.json", "../tokenizer.json"};
    *tokenizer = NULL;
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%.*s/%s", length, folder, places[i]);
        if (exists(path))
            return (*tokenizer = dt_tokenizer_load(path, error)) != NULL;
    }
    return true;
}

dt_model *dt_model_load(const char *path, dt_error *error)
{
    char weights[4096];
    struct stat status;
    dt_tokenizer *tokenizer = NULL;
    dt_model *model = NULL;
    if (stat(path, &status)) {
        dt_fail(error, "%s: no such file or run", path);
        return NULL;
    }
    if (!S_ISDIR(status.st_mode))
        snprintf(weights, sizeof weights, "%s", path);
    else if (!dt_run_weights(path, weights, sizeof weights, error))
        return NULL;
    dt_safetensors *file = dt_safetensors_open(weights, error);
    const char *text = file ? dt_safetensors_meta(file, "duet.model") : NULL;
    if (file && !text)
        dt_fail(error, "%s: no description of a model is in its metadata; Duet did not write it", weights);
    json_t *json = text ? dt_json_parse(text, strlen(text), weights, error) : NULL;
    if (json && load_tokenizer(weights, &tokenizer, error))
        model = dt_model_new(json, tokenizer, 0, error);
    if (model && !dt_model_fill(model, file, error)) {
        dt_model_free(model);
        model = NULL;
    }
    json_decref(json);
    dt_safetensors_close(file);
    return model;
}
