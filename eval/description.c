/* Where a model's description is asked for by one word: a preset's name, or a file. */
#include "data/file.h"
#include "eval/config_fields.h"
#include "eval/hf_config.h"
#include "eval/model.h"
#include "eval/open_clip_config.h"

static json_t *from_hf(const char *path, char *note, size_t room, dt_error *error)
{
    dt_naming naming;
    char own[256];
    json_t *json = dt_hf_description(path, &naming, note ? note : own, note ? room : sizeof own, error);
    if (!json || note || !*own)
        return json;
    dt_fail(error, "%s: for a new model there is too much in it (%s); take these out", path, own);
    json_decref(json);
    return NULL;
}

/* A description in Duet's fields that is one. Takes over `json`. */
static json_t *checked(json_t *json, const char *path, dt_error *error)
{
    if (dt_model_config(json, path, "", &(dt_clip_config){0}, &(dt_head_config){0}, error))
        return json;
    json_decref(json);
    return NULL;
}

static json_t *from_file(const char *path, char *note, size_t room, dt_error *error)
{
    json_t *json = dt_config_file(path, error);
    if (!json || json_object_get(json, "vision_cfg"))
        return json ? checked(json, path, error) : NULL;
    bool open_clip = json_object_get(json, "model_cfg"), hf = json_is_string(json_object_get(json, "model_type"));
    json_decref(json);
    if (open_clip)
        return (json = dt_open_clip_description(path, error)) ? checked(json, path, error) : NULL;
    if (hf)
        return from_hf(path, note, room, error);
    dt_fail(error, "%s: expected a model's description: with vision_cfg, as Duet and open_clip write it, or model_cfg, as in "
                   "open_clip_config.json, or model_type, as in Hugging Face's config.json", path);
    return NULL;
}

json_t *dt_model_description(const char *word, char *note, size_t room, dt_error *error)
{
    if (note)
        *note = 0;
    json_t *json = dt_model_preset(word, error);
    return json || !dt_file_exists(word) ? json : from_file(word, note, room, error);
}
