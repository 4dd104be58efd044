#include "experiments/train_config.h"

#include <string.h>

static const char defaults[] =
    "{"
    "\"name\": null, \"description\": null, \"model\": null, \"tokenizer\": null,"
    "\"data\": {\"train\": null, \"threads\": 1, \"cache_mb\": 0, \"weighted\": true, \"class_caption\": null},"
    "\"augment\": {\"mode\": \"random_resized_crop\"},"
    "\"batch_size\": 256, \"chunk_size\": 0, \"steps\": null, \"minutes\": 0, \"seed\": 1,"
    "\"loss\": \"infonce\", \"max_logit_scale\": 4.605170185988092,"
    "\"optimizer\": {\"kind\": \"adamw\", \"lr\": 0.001, \"beta1\": 0.9, \"beta2\": 0.98, \"eps\": 1e-6,"
    "  \"momentum\": 0.9, \"nesterov\": false, \"weight_decay\": 0.1, \"clip_norm\": 1.0},"
    "\"schedule\": {\"kind\": \"cosine\", \"warmup\": 0.05},"
    "\"checkpoint\": {\"every\": 500, \"keep\": 2},"
    "\"log_every\": 1,"
    "\"evaluate\": {\"every\": 0, \"sets\": []}"
    "}";

/* Puts the members of `from` over those of `onto`, descending into objects that both have; a model's description and
 * other values that are free in form are replaced whole. */
static void overlay(json_t *onto, const json_t *from)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)from, key, value)
    {
        json_t *there = json_object_get(onto, key);
        if (json_is_object(there) && json_is_object(value))
            overlay(there, value);
        else
            json_object_set(onto, key, value);
    }
}

static bool read_data(dt_train_config *c, const json_t *data, const char *file, dt_error *error)
{
    double cache_mb = 0;
    const dt_json_field fields[] = {
        {"train", DT_JSON_ANY, &c->train, .required = true},
        {"threads", DT_JSON_INT, &c->threads, .least = 0, .most = 256},
        {"cache_mb", DT_JSON_DOUBLE, &cache_mb, .least = 0, .most = 1 << 20},
        {"weighted", DT_JSON_BOOL, &c->weighted, .required = false},
        {"class_caption", DT_JSON_STRING, &c->class_caption, .required = false},
    };
    if (!dt_json_read(data, file, "data", fields, sizeof fields / sizeof *fields, error))
        return false;
    c->cache_bytes = (size_t)(cache_mb * 1048576);
    return json_is_string(c->train) || json_is_array(c->train) ||
           dt_fail(error, "%s: data.train: expected a path or a list of paths, found %s", file,
                   dt_json_kind_name(c->train));
}

static bool read_optimizer(dt_train_config *c, const json_t *json, const char *file, dt_error *error)
{
    const char *kind = NULL;
    dt_optimizer_config *o = &c->optimizer;
    const dt_json_field fields[] = {
        {"kind", DT_JSON_STRING, &kind, .choices = "adamw|adam|sgd"},
        {"lr", DT_JSON_DOUBLE, &c->learning_rate, .least = 0, .most = 1000},
        {"beta1", DT_JSON_FLOAT, &o->beta1, .least = 0, .most = 0.999999},
        {"beta2", DT_JSON_FLOAT, &o->beta2, .least = 0, .most = 0.9999999},
        {"eps", DT_JSON_FLOAT, &o->eps, .least = 0, .most = 1},
        {"momentum", DT_JSON_FLOAT, &o->momentum, .least = 0, .most = 1},
        {"nesterov", DT_JSON_BOOL, &o->nesterov, .required = false},
        {"weight_decay", DT_JSON_FLOAT, &o->weight_decay, .least = 0, .most = 1000},
        {"clip_norm", DT_JSON_FLOAT, &o->clip_norm, .least = 0, .most = 1e30},
    };
    if (!dt_json_read(json, file, "optimizer", fields, sizeof fields / sizeof *fields, error))
        return false;
    o->kind = !strcmp(kind, "sgd") ? DT_SGD : !strcmp(kind, "adam") ? DT_ADAM : DT_ADAMW;
    return true;
}

static bool read_rest(dt_train_config *c, const json_t *schedule, const json_t *checkpoint, const json_t *evaluate,
                      const char *file, dt_error *error)
{
    const char *kind = NULL;
    const dt_json_field schedule_fields[] = {
        {"kind", DT_JSON_STRING, &kind, .choices = "cosine|constant"},
        {"warmup", DT_JSON_DOUBLE, &c->warmup, .least = 0, .most = 1e12},
    };
    const dt_json_field checkpoint_fields[] = {
        {"every", DT_JSON_INT64, &c->checkpoint_every, .least = 1, .most = 1e15},
        {"keep", DT_JSON_INT, &c->keep_checkpoints, .least = 1, .most = 100000},
    };
    const dt_json_field evaluate_fields[] = {
        {"every", DT_JSON_INT64, &c->evaluate_every, .least = 0, .most = 1e15},
        {"sets", DT_JSON_ARRAY, &c->evaluate, .required = true},
    };
    if (!dt_json_read(schedule, file, "schedule", schedule_fields, 2, error) ||
        !dt_json_read(checkpoint, file, "checkpoint", checkpoint_fields, 2, error) ||
        !dt_json_read(evaluate, file, "evaluate", evaluate_fields, 2, error))
        return false;
    c->schedule = strcmp(kind, "constant") ? DT_SCHEDULE_COSINE : DT_SCHEDULE_CONSTANT;
    return true;
}

static bool read(dt_train_config *c, const char *file, dt_error *error)
{
    const json_t *data = NULL, *optimizer = NULL, *schedule = NULL, *checkpoint = NULL, *evaluate = NULL;
    const char *loss = NULL;
    const dt_json_field fields[] = {
        {"name", DT_JSON_STRING, NULL, .required = false}, /* these two are for the report */
        {"description", DT_JSON_STRING, NULL, .required = false},
        {"model", DT_JSON_ANY, &c->model, .required = true},
        {"tokenizer", DT_JSON_ANY, &c->tokenizer, .required = true},
        {"data", DT_JSON_OBJECT, &data, .required = true},
        {"augment", DT_JSON_OBJECT, &c->augment, .required = true},
        {"batch_size", DT_JSON_INT, &c->batch_size, .least = 2, .most = 1 << 24},
        {"chunk_size", DT_JSON_INT, &c->chunk_size, .least = 0, .most = 1 << 24},
        {"steps", DT_JSON_INT64, &c->steps, .required = true, .least = 1, .most = 4e9},
        {"minutes", DT_JSON_DOUBLE, &c->minutes, .least = 0, .most = 1e9},
        {"seed", DT_JSON_INT64, &c->seed, .required = false},
        {"loss", DT_JSON_STRING, &loss, .choices = "infonce|sigmoid"},
        {"max_logit_scale", DT_JSON_DOUBLE, &c->max_logit_scale, .least = 0, .most = 50},
        {"optimizer", DT_JSON_OBJECT, &optimizer, .required = true},
        {"schedule", DT_JSON_OBJECT, &schedule, .required = true},
        {"checkpoint", DT_JSON_OBJECT, &checkpoint, .required = true},
        {"log_every", DT_JSON_INT64, &c->log_every, .least = 1, .most = 1e15},
        {"evaluate", DT_JSON_OBJECT, &evaluate, .required = true},
    };
    if (!dt_json_read(c->json, file, "", fields, sizeof fields / sizeof *fields, error) ||
        !read_data(c, data, file, error) || !read_optimizer(c, optimizer, file, error) ||
        !read_rest(c, schedule, checkpoint, evaluate, file, error))
        return false;
    c->loss = strcmp(loss, "sigmoid") ? DT_LOSS_INFONCE : DT_LOSS_SIGMOID;
    if (c->chunk_size && c->batch_size % c->chunk_size)
        return dt_fail(error, "%s: batch_size %d is not a multiple of chunk_size %d", file, c->batch_size, c->chunk_size);
    if (!json_is_string(c->tokenizer) && !json_is_object(c->tokenizer))
        return dt_fail(error, "%s: tokenizer: expected a path or {\"merges\": N}, found %s", file,
                       dt_json_kind_name(c->tokenizer));
    return json_is_string(c->model) || json_is_object(c->model) ||
           dt_fail(error, "%s: model: expected a preset's name or a description, found %s", file,
                   dt_json_kind_name(c->model));
}

bool dt_train_config_load(dt_train_config *c, const char *path, const char *const *overrides, size_t count,
                          dt_error *error)
{
    *c = (dt_train_config){0};
    json_t *file = dt_json_load(path, error);
    c->json = file ? dt_json_parse(defaults, sizeof defaults - 1, "defaults", error) : NULL;
    if (c->json && !json_is_object(file))
        dt_fail(error, "%s: expected an object, found %s", path, dt_json_kind_name(file));
    bool good = c->json && json_is_object(file);
    if (good) {
        overlay(c->json, file);
        json_object_del(c->json, "versions"); /* the config.json of a run serves as a configuration too */
    }
    for (size_t i = 0; good && i < count; i++)
        good = dt_json_set(c->json, NULL, overrides[i], error);
    json_decref(file);
    good = good && read(c, path, error);
    if (!good)
        dt_train_config_free(c);
    return good;
}

void dt_train_config_free(dt_train_config *c)
{
    json_decref(c->json);
    *c = (dt_train_config){0};
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

bool dt_train_transform(const dt_train_config *config, const dt_transform *preprocess, dt_transform *t, dt_error *error)
{
    static const struct {
        const char *name;
        dt_transform_mode mode;
    } modes[] = {{"none", DT_TRANSFORM_EVAL}, {"random_resized_crop", DT_TRANSFORM_RANDOM_RESIZED_CROP},
                 {"jitter", DT_TRANSFORM_JITTER}, {"pad_crop", DT_TRANSFORM_PAD_CROP}};
    const char *name = json_string_value(json_object_get(config->augment, "mode"));
    dt_transform_mode mode = DT_TRANSFORM_RANDOM_RESIZED_CROP;
    for (size_t i = 0; name && i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(name, modes[i].name))
            mode = modes[i].mode;
    *t = dt_transform_default(mode, preprocess->size);
    t->interpolation = preprocess->interpolation;
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
    return dt_json_read(config->augment, "config", "augment", fields, sizeof fields / sizeof *fields, error) &&
           read_pair(scale, "scale", t->scale, error) && read_pair(ratio, "ratio", t->ratio, error) &&
           dt_transform_check(t, error);
}
