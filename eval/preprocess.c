#include "eval/preprocess.h"

#include <string.h>

static bool read_three(const json_t *list, const char *file, const char *key, float three[3], dt_error *error)
{
    if (!list)
        return true;
    for (size_t i = 0; i < 3; i++) {
        const json_t *item = json_array_get(list, i);
        if (json_array_size(list) != 3 || !json_is_number(item))
            return dt_fail(error, "%s: preprocess_cfg.%s: expected a list of three numbers", file, key);
        three[i] = (float)json_number_value(item);
    }
    return true;
}

bool dt_preprocess_read(const json_t *json, const char *file, dt_transform *t, dt_error *error)
{
    const json_t *mean = NULL, *std = NULL, *size = NULL;
    const char *interpolation = "bicubic", *resize_mode = "shortest", *crop = "round";
    const dt_json_field fields[] = {
        {"size", DT_JSON_ANY, &size, .required = false},
        {"mode", DT_JSON_STRING, NULL, .choices = "RGB"},
        {"mean", DT_JSON_ARRAY, &mean, .required = false},
        {"std", DT_JSON_ARRAY, &std, .required = false},
        {"interpolation", DT_JSON_STRING, &interpolation, .choices = "bicubic|bilinear"},
        {"resize_mode", DT_JSON_STRING, &resize_mode, .choices = "shortest|squash"},
        {"resize", DT_JSON_INT, &t->resize, .least = 1, .most = 8192},
        {"crop", DT_JSON_STRING, &crop, .choices = "round|floor"},
        {"fill_color", DT_JSON_ANY, NULL, .required = false}, /* serves a resize_mode that is refused */
    };
    if (!json)
        return true;
    if (!dt_json_read(json, file, "preprocess_cfg", fields, sizeof fields / sizeof *fields, error) ||
        !read_three(mean, file, "mean", t->mean, error) || !read_three(std, file, "std", t->std, error))
        return false;
    for (size_t i = 0; size && i < (json_is_array(size) ? 2 : 1); i++) {
        const json_t *side = json_is_array(size) ? json_array_get(size, i) : size;
        if (json_integer_value(side) != t->size)
            return dt_fail(error, "%s: preprocess_cfg.size: the model takes images of %d by %d pixels", file, t->size, t->size);
    }
    t->interpolation = strcmp(interpolation, "bilinear") ? DT_BICUBIC : DT_BILINEAR;
    t->squash = !strcmp(resize_mode, "squash");
    t->floor_crop = !strcmp(crop, "floor");
    return dt_transform_check(t, error) || dt_fail_prefix(error, "%s: preprocess_cfg", file);
}

static json_t *three(const float x[3])
{
    return json_pack("[o,o,o]", dt_json_float(x[0]), dt_json_float(x[1]), dt_json_float(x[2]));
}

json_t *dt_preprocess_json(const dt_transform *t)
{
    json_t *json = json_pack("{s:i, s:s, s:o, s:o, s:s, s:s}", "size", t->size, "mode", "RGB", "mean", three(t->mean), "std",
                             three(t->std), "interpolation", t->interpolation == DT_BILINEAR ? "bilinear" : "bicubic",
                             "resize_mode", t->squash ? "squash" : "shortest");
    if (json && t->resize && t->resize != t->size)
        json_object_set_new(json, "resize", json_integer(t->resize));
    if (json && t->floor_crop)
        json_object_set_new(json, "crop", json_string("floor"));
    return json;
}
