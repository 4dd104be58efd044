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

static bool read_rest(dt_train_config *c, const json_t *schedule, const json_t *checkpoint, const json_t *evaluate,
                      const char *file, dt_error *error)
{
    const dt_json_field evaluate_fields[] = {
        {"every", DT_JSON_INT64, &c->evaluate_every, .least = 0, .most = 1e15},
        {"sets", DT_JSON_ARRAY, &c->evaluate, .required = true},
    };
    return dt_config_schedule(schedule, file, &c->rate, error) &&
           dt_config_checkpoint(checkpoint, file, &c->checkpoint_every, &c->keep_checkpoints, error) &&
           dt_json_read(evaluate, file, "evaluate", evaluate_fields, 2, error);
}

static bool read_tokenizer(dt_train_config *c, const char *file, dt_error *error)
{
    const dt_json_field fields[] = {{"merges", DT_JSON_INT, &c->merges, .required = true, .least = 0, .most = 1048000}};
    if (json_is_object(c->tokenizer))
        return dt_json_read(c->tokenizer, file, "tokenizer", fields, 1, error);
    return json_is_string(c->tokenizer) ||
           dt_fail(error, "%s: tokenizer: expected a path or {\"merges\": N}, found %s", file, dt_json_kind_name(c->tokenizer));
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
        !read_data(c, data, file, error) || !dt_config_optimizer(optimizer, file, "optimizer", &c->optimizer, &c->rate.base, error) ||
        !read_rest(c, schedule, checkpoint, evaluate, file, error) || !read_tokenizer(c, file, error))
        return false;
    c->loss = strcmp(loss, "sigmoid") ? DT_LOSS_INFONCE : DT_LOSS_SIGMOID;
    if (c->chunk_size && c->batch_size % c->chunk_size)
        return dt_fail(error, "%s: batch_size %d is not a multiple of chunk_size %d", file, c->batch_size, c->chunk_size);
    return json_is_string(c->model) || json_is_object(c->model) ||
           dt_fail(error, "%s: model: expected a preset's name, the path of a description, or a description, found %s", file,
                   dt_json_kind_name(c->model));
}

bool dt_train_config_load(dt_train_config *c, const char *path, const char *const *overrides, size_t count,
                          dt_error *error)
{
    *c = (dt_train_config){.json = dt_config_load(defaults, path, overrides, count, error)};
    bool good = c->json && read(c, path, error);
    if (!good)
        dt_train_config_free(c);
    return good;
}

void dt_train_config_free(dt_train_config *c)
{
    json_decref(c->json);
    *c = (dt_train_config){0};
}
