#include "eval/export.h"

#include "data/file.h"
#include "data/safetensors.h"
#include "data/tokenizer_hf.h"
#include "eval/hf_config.h"
#include "eval/open_clip_config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Tensors under other names ---- */

/* The list that is written, and what it points to. */
typedef struct listing {
    dt_st_tensor *tensors;
    size_t count;
    dt_foreign_name *names; /* by parameter */
    float **turned;         /* by parameter: a transposed copy; NULL: none */
    size_t params;
} listing;

static void listing_free(listing *l)
{
    for (size_t i = 0; l->turned && i < l->params; i++)
        free(l->turned[i]);
    free(l->turned);
    free(l->names);
    free(l->tensors);
}

static float *turn(const float *from, int64_t rows, int64_t columns)
{
    float *to = malloc(sizeof *to * (size_t)(rows * columns));
    for (int64_t r = 0; to && r < rows; r++)
        for (int64_t c = 0; c < columns; c++)
            to[c * rows + r] = from[r * columns + c];
    return to;
}

/* The parts of parameter i. The first takes a third of the rows, and so does each of three; of two, the second has the rest. */
static bool list_parts(listing *l, const dt_param_info *info, const float *value, size_t i, dt_error *error)
{
    const dt_foreign_name *f = &l->names[i];
    dt_shape shape = info->shape;
    if (f->transposed) {
        if (!(l->turned[i] = turn(value, shape.dim[0], shape.dim[1])))
            return dt_fail(error, "out of memory");
        value = l->turned[i];
        shape = dt_dims(info->shape.dim[1], info->shape.dim[0]);
    }
    for (int p = 0; p < f->parts; p++) {
        dt_st_tensor *t = &l->tensors[l->count++];
        *t = (dt_st_tensor){.name = f->name[p], .type = DT_ST_F32, .rank = f->leading + shape.rank, .data = value};
        for (int k = 0; k < f->leading; k++)
            t->shape[k] = 1;
        memcpy(t->shape + f->leading, shape.dim, sizeof *shape.dim * (size_t)shape.rank);
        if (f->parts > 1) {
            int64_t thirds = f->parts == 2 && p == 1 ? 2 : 1, rows = shape.dim[0] / 3 * thirds;
            t->shape[f->leading] = rows;
            value += rows * (int64_t)(info->count / (size_t)shape.dim[0]);
        }
    }
    return true;
}

static bool list_tensors(listing *l, const dt_model *model, dt_naming naming, dt_error *error)
{
    l->params = (size_t)dt_params_count(model->params);
    l->tensors = calloc(l->params * DT_NAME_PARTS + 1, sizeof *l->tensors);
    l->names = calloc(l->params + 1, sizeof *l->names);
    l->turned = calloc(l->params + 1, sizeof *l->turned);
    if (!l->tensors || !l->names || !l->turned)
        return dt_fail(error, "out of memory");
    for (size_t i = 0; i < l->params; i++) {
        const dt_param_info *info = dt_params_info(model->params, (int)i);
        if (!dt_foreign_name_of(naming, info->name, &l->names[i]))
            return dt_fail(error, "the format has no place for \"%s\"", info->name);
        if (!list_parts(l, info, dt_params_look(model->params, (int)i), i, error))
            return false;
    }
    return true;
}

static bool write_tensors(const dt_model *model, dt_naming naming, const char *folder, const char *name, dt_error *error)
{
    const dt_st_meta meta = {"format", "pt"};
    listing l = {0};
    char *path = dt_join(folder, name);
    bool good = path || dt_fail(error, "out of memory");
    good = good && list_tensors(&l, model, naming, error) && dt_safetensors_write(path, l.tensors, l.count, &meta, 1, error);
    listing_free(&l);
    free(path);
    return good;
}

/* ---- Folders ---- */

static bool write_json(const char *folder, const char *name, const json_t *json, dt_error *error)
{
    char *path = dt_join(folder, name);
    bool good = path ? dt_json_write(path, json, error) : dt_fail(error, "out of memory");
    free(path);
    return good;
}

static bool write_tokenizer(const dt_model *model, const char *folder, dt_error *error)
{
    return !model->tokenizer || dt_tokenizer_save_hf(model->tokenizer, folder, model->config.text.context_length, error);
}

bool dt_export_hf(const dt_model *model, const char *folder, dt_error *error)
{
    dt_naming naming;
    json_t *config = dt_hf_config(model, &naming, error);
    json_t *preprocessor = config ? dt_hf_preprocessor(model, naming, error) : NULL;
    bool good = preprocessor && dt_make_directories(folder, error) && write_json(folder, "config.json", config, error) &&
                write_json(folder, "preprocessor_config.json", preprocessor, error) && write_tokenizer(model, folder, error) &&
                write_tensors(model, naming, folder, "model.safetensors", error);
    json_decref(config);
    json_decref(preprocessor);
    return good;
}

bool dt_export_open_clip(const dt_model *model, const char *folder, dt_error *error)
{
    dt_naming naming;
    json_t *config = dt_open_clip_config(model, &naming, error);
    bool good = config && dt_make_directories(folder, error) && write_json(folder, "open_clip_config.json", config, error) &&
                write_tokenizer(model, folder, error) &&
                write_tensors(model, naming, folder, "open_clip_model.safetensors", error);
    json_decref(config);
    return good;
}
