#include "experiments/config.h"

#include "eval/model.h"

#include <inttypes.h>
#include <string.h>

/* Two settings of different "mode" have nothing to say to each other: what fits one is no default of the other. */
static bool another_mode(const json_t *a, const json_t *b)
{
    const json_t *one = json_object_get(a, "mode"), *other = json_object_get(b, "mode");
    return one && other && !json_equal((json_t *)one, (json_t *)other);
}

/* Puts the members of `from` over those of `onto`, descending into objects that both have; a model's description and
 * other values that are free in form are replaced whole. */
static void overlay(json_t *onto, const json_t *from)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)from, key, value)
    {
        json_t *there = json_object_get(onto, key);
        if (json_is_object(there) && json_is_object(value) && !another_mode(there, value))
            overlay(there, value);
        else
            json_object_set(onto, key, value);
    }
}

/* "model": "FILE.json" becomes what is in the file, so that a run's config.json stands by itself; a preset's name stays one. */
static bool settle_model(json_t *json, const char *path, dt_error *error)
{
    const char *word = json_string_value(json_object_get(json, "model"));
    if (!word)
        return true;
    for (size_t i = 0; dt_model_preset_name(i); i++)
        if (!strcmp(word, dt_model_preset_name(i)))
            return true;
    json_t *description = dt_model_description(word, NULL, 0, error);
    if (!description)
        return dt_fail_prefix(error, "%s: model", path ? path : "command line");
    return json_object_set_new(json, "model", description) == 0 || dt_fail(error, "out of memory");
}

json_t *dt_config_load(const char *defaults, const char *path, const char *const *overrides, size_t count, dt_error *error)
{
    json_t *file = path ? dt_json_load(path, error) : json_object();
    json_t *json = file ? dt_json_parse(defaults, strlen(defaults), "defaults", error) : NULL;
    bool good = json && (json_is_object(file) ||
                         dt_fail(error, "%s: expected an object, found %s", path, dt_json_kind_name(file)));
    if (good) {
        overlay(json, file);
        json_object_del(json, "versions"); /* the config.json of a run serves as a configuration too */
        json_object_del(json, "command");
    }
    for (size_t i = 0; good && i < count; i++)
        good = dt_json_set(json, NULL, overrides[i], error);
    json_decref(file);
    if (good && settle_model(json, path, error))
        return json;
    json_decref(json);
    return NULL;
}

bool dt_config_optimizer(const json_t *json, const char *file, const char *path, dt_optimizer_config *o,
                         double *learning_rate, dt_error *error)
{
    const char *kind = NULL;
    const dt_json_field fields[] = {
        {"kind", DT_JSON_STRING, &kind, .choices = "adamw|adam|sgd"},
        {"lr", DT_JSON_DOUBLE, learning_rate, .least = 0, .most = 1000},
        {"beta1", DT_JSON_FLOAT, &o->beta1, .least = 0, .most = 0.999999},
        {"beta2", DT_JSON_FLOAT, &o->beta2, .least = 0, .most = 0.9999999},
        {"eps", DT_JSON_FLOAT, &o->eps, .least = 0, .most = 1},
        {"momentum", DT_JSON_FLOAT, &o->momentum, .least = 0, .most = 1},
        {"nesterov", DT_JSON_BOOL, &o->nesterov, .required = false},
        {"weight_decay", DT_JSON_FLOAT, &o->weight_decay, .least = 0, .most = 1000},
        {"clip_norm", DT_JSON_FLOAT, &o->clip_norm, .least = 0, .most = 1e30},
    };
    if (!dt_json_read(json, file, path, fields, sizeof fields / sizeof *fields, error))
        return false;
    o->kind = !strcmp(kind, "sgd") ? DT_SGD : !strcmp(kind, "adam") ? DT_ADAM : DT_ADAMW;
    return true;
}

bool dt_config_schedule(const json_t *json, const char *file, dt_rate_config *rate, dt_error *error)
{
    const char *kind = NULL;
    const dt_json_field fields[] = {
        {"kind", DT_JSON_STRING, &kind, .choices = "cosine|constant"},
        {"warmup", DT_JSON_DOUBLE, &rate->warmup, .least = 0, .most = 1e12},
    };
    if (!dt_json_read(json, file, "schedule", fields, sizeof fields / sizeof *fields, error))
        return false;
    rate->schedule = strcmp(kind, "constant") ? DT_SCHEDULE_COSINE : DT_SCHEDULE_CONSTANT;
    return true;
}

double dt_config_span(double given, int64_t steps)
{
    return given < 1 ? given * (double)steps : given;
}

double dt_config_rate(const dt_rate_config *rate, uint64_t step, int64_t steps)
{
    double warmup = dt_config_span(rate->warmup, steps);
    return dt_learning_rate(rate->schedule, rate->base, step, (uint64_t)(warmup + 0.5), (uint64_t)steps);
}

bool dt_config_checkpoint(const json_t *json, const char *file, int64_t *every, int *keep, dt_error *error)
{
    const dt_json_field fields[] = {
        {"every", DT_JSON_INT64, every, .least = 1, .most = 1e15},
        {"keep", DT_JSON_INT, keep, .least = 1, .most = 100000},
    };
    return dt_json_read(json, file, "checkpoint", fields, sizeof fields / sizeof *fields, error);
}

static bool read_pair(const json_t *array, const char *key, double *pair, dt_error *error)
{
    if (!array)
        return true;
    for (size_t i = 0; i < 2; i++) {
        if (json_array_size(array) != 2 || !json_is_number(json_array_get(array, i)))
            return dt_fail(error, "augment.%s: expected two numbers, least and most", key);
        pair[i] = json_number_value(json_array_get(array, i));
    }
    return true;
}

bool dt_config_transform(const json_t *augment, const dt_transform *preprocess, dt_transform *t, dt_error *error)
{
    static const struct {
        const char *name;
        dt_transform_mode mode;
    } modes[] = {{"none", DT_TRANSFORM_EVAL}, {"random_resized_crop", DT_TRANSFORM_RANDOM_RESIZED_CROP},
                 {"jitter", DT_TRANSFORM_JITTER}, {"pad_crop", DT_TRANSFORM_PAD_CROP}};
    const char *name = json_string_value(json_object_get(augment, "mode"));
    dt_transform_mode mode = DT_TRANSFORM_RANDOM_RESIZED_CROP;
    for (size_t i = 0; name && i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(name, modes[i].name))
            mode = modes[i].mode;
    *t = dt_transform_default(mode, preprocess->size);
    t->interpolation = preprocess->interpolation;
    t->resize = preprocess->resize;
    t->squash = preprocess->squash;
    t->floor_crop = preprocess->floor_crop;
    memcpy(t->mean, preprocess->mean, sizeof t->mean);
    memcpy(t->std, preprocess->std, sizeof t->std);
    const json_t *scale = NULL, *ratio = NULL;
    const dt_json_field fields[] = {
        {"mode", DT_JSON_STRING, NULL, .required = true, .choices = "none|random_resized_crop|jitter|pad_crop"},
        {"flip", DT_JSON_DOUBLE, &t->flip, .least = 0, .most = 1},
        {"scale", DT_JSON_ARRAY, &scale, .required = false},
        {"ratio", DT_JSON_ARRAY, &ratio, .required = false},
        {"shift", DT_JSON_DOUBLE, &t->shift, .least = 0, .most = 1},
        {"padding", DT_JSON_INT, &t->padding, .least = 0, .most = 8192},
        {"reflect", DT_JSON_BOOL, &t->reflect, .required = false},
        {"full_decode", DT_JSON_BOOL, &t->full_decode, .required = false},
        {"colour_jitter", DT_JSON_DOUBLE, &t->colour_jitter, .least = 0, .most = 1},
        {"brightness", DT_JSON_DOUBLE, &t->brightness, .least = 0, .most = 1},
        {"contrast", DT_JSON_DOUBLE, &t->contrast, .least = 0, .most = 1},
        {"saturation", DT_JSON_DOUBLE, &t->saturation, .least = 0, .most = 1},
        {"hue", DT_JSON_DOUBLE, &t->hue, .least = 0, .most = 0.5},
        {"grayscale", DT_JSON_DOUBLE, &t->grayscale, .least = 0, .most = 1},
    };
    return dt_json_read(augment, "config", "augment", fields, sizeof fields / sizeof *fields, error) &&
           read_pair(scale, "scale", t->scale, error) && read_pair(ratio, "ratio", t->ratio, error) &&
           dt_transform_check(t, error);
}

dt_pairs *dt_config_open_pairs(const json_t *train, dt_error *error)
{
    const char *paths[256];
    size_t count = 0;
    if (json_is_string(train))
        paths[count++] = json_string_value(train);
    for (size_t i = 0; i < json_array_size(train); i++) {
        if (count == 256 || !json_is_string(json_array_get(train, i))) {
            dt_fail(error, "data.train: expected at most 256 paths");
            return NULL;
        }
        paths[count++] = json_string_value(json_array_get(train, i));
    }
    return dt_pairs_open_list(paths, count, error);
}

bool dt_config_check_batch(int batch_size, uint64_t count, const char *them, dt_error *error)
{
    if ((uint64_t)batch_size <= count)
        return true;
    if (count < 2)
        return dt_fail(error, "batch_size is %d, but there are only %" PRIu64 " %s", batch_size, count, them);
    return dt_fail(error, "batch_size is %d, but there are only %" PRIu64 " %s; --set batch_size=%" PRIu64 " takes them all",
                   batch_size, count, them, count);
}
