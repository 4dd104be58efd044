#include "experiments/finetune_config.h"

#include <stdlib.h>
#include <string.h>

static const char defaults[] =
    "{"
    "\"name\": null, \"description\": null, \"weights\": null, \"model\": null, \"tokenizer\": null,"
    "\"tower\": \"image\", \"head\": null, \"head_input\": null, \"templates\": [\"a photo of a {}.\"],"
    "\"layers\": \"all\", \"layer_decay\": 1, \"label_smoothing\": 0, \"mixup\": 0,"
    "\"data\": {\"train\": null, \"validation\": null, \"validation_share\": 0.1, \"test\": null, \"threads\": 1,"
    "  \"cache_mb\": 256},"
    "\"augment\": {\"mode\": \"random_resized_crop\", \"scale\": [0.5, 1]},"
    "\"batch_size\": 128, \"epochs\": 10, \"patience\": 0, \"seed\": 1,"
    "\"optimizer\": {\"kind\": \"adamw\", \"lr\": 0.0003, \"beta1\": 0.9, \"beta2\": 0.999, \"eps\": 1e-8,"
    "  \"momentum\": 0.9, \"nesterov\": false, \"weight_decay\": 0.05, \"clip_norm\": 1.0},"
    "\"schedule\": {\"kind\": \"cosine\", \"warmup\": 0.05},"
    "\"checkpoint\": {\"every\": 500, \"keep\": 1},"
    "\"log_every\": 10,"
    "\"interpolate\": null"
    "}";

/* "all", "head" or a number of blocks; from the command line that comes as a text, which becomes a number in the configuration. */
static bool read_layers(dt_finetune_config *c, const json_t *value, const char *file, dt_error *error)
{
    const char *word = json_string_value(value);
    char *end = NULL;
    json_int_t number = word ? strtol(word, &end, 10) : json_integer_value(value);
    bool digits = word && *word && !*end;
    if (word && !strcmp(word, "head")) {
        c->layers = 0;
    } else if (word && !strcmp(word, "all")) {
        c->layers = -1;
    } else if ((digits || json_is_integer(value)) && number >= 0 && number <= 1 << 20) {
        c->layers = (int)number;
        return !digits || json_object_set_new(c->json, "layers", json_integer(number)) == 0 || dt_fail(error, "out of memory");
    } else {
        return dt_fail(error, "%s: layers: expected \"all\", \"head\" or a number of blocks", file);
    }
    return true;
}

static bool read_data(dt_finetune_config *c, const json_t *data, const char *file, dt_error *error)
{
    double cache_mb = 0;
    const dt_json_field fields[] = {
        {"train", DT_JSON_STRING, &c->train, .required = true},
        {"validation", DT_JSON_STRING, &c->validation, .required = false},
        {"validation_share", DT_JSON_DOUBLE, &c->validation_share, .least = 0, .most = 0.9},
        {"test", DT_JSON_ANY, &c->test, .required = false},
        {"threads", DT_JSON_INT, &c->threads, .least = 0, .most = 256},
        {"cache_mb", DT_JSON_DOUBLE, &cache_mb, .least = 0, .most = 1 << 20},
    };
    if (!dt_json_read(data, file, "data", fields, sizeof fields / sizeof *fields, error))
        return false;
    c->cache_bytes = (size_t)(cache_mb * 1048576);
    return json_is_null(c->test) || !c->test || json_is_string(c->test) || json_is_array(c->test) ||
           dt_fail(error, "%s: data.test: expected a path or a list of paths, found %s", file, dt_json_kind_name(c->test));
}

/* What hangs together. */
static bool settle(dt_finetune_config *c, const char *file, const char *head, const char *input, int interpolate,
                   dt_error *error)
{
    bool fresh = c->model && !json_is_null(c->model);
    if (!c->weights == !fresh)
        return dt_fail(error, "%s: expected either weights (a run to start from) or model (to start afresh)", file);
    c->zeroshot = head ? !strcmp(head, "zeroshot") : c->weights && c->tower == DT_TOWER_IMAGE;
    if (c->zeroshot && fresh)
        return dt_fail(error, "%s: head: a fresh model has nothing to say about classes; expected \"new\"", file);
    if (!c->zeroshot && interpolate > 0)
        return dt_fail(error, "%s: interpolate: there is nothing to interpolate with unless head is \"zeroshot\"", file);
    c->interpolate = !c->zeroshot ? 0 : interpolate < 0 ? 9 : interpolate;
    if (c->zeroshot && input && !c->on_embedding)
        return dt_fail(error, "%s: head_input: a head from class prompts sees the embedding; expected \"embedding\" or null", file);
    if (c->patience && !c->validation && c->validation_share <= 0)
        return dt_fail(error, "%s: patience: there is no validation to be patient about; set data.validation or "
                              "data.validation_share, or patience 0", file);
    c->on_embedding |= c->zeroshot;
    return c->tower == DT_TOWER_IMAGE || c->mixup <= 0 ||
           dt_fail(error, "%s: mixup: texts cannot be mixed; expected 0", file);
}

static bool read(dt_finetune_config *c, const char *file, dt_error *error)
{
    const json_t *data = NULL, *optimizer = NULL, *schedule = NULL, *checkpoint = NULL, *layers = NULL;
    const char *tower = NULL, *head = NULL, *input = NULL;
    int interpolate = -1; /* not said */
    const dt_json_field fields[] = {
        {"name", DT_JSON_STRING, NULL, .required = false}, /* these two are for the report */
        {"description", DT_JSON_STRING, NULL, .required = false},
        {"weights", DT_JSON_STRING, &c->weights, .required = false},
        {"model", DT_JSON_ANY, &c->model, .required = false},
        {"tokenizer", DT_JSON_STRING, &c->tokenizer, .required = false},
        {"tower", DT_JSON_STRING, &tower, .required = true, .choices = "image|text"},
        {"head", DT_JSON_STRING, &head, .choices = "zeroshot|new"},
        {"head_input", DT_JSON_STRING, &input, .choices = "features|embedding"},
        {"templates", DT_JSON_ARRAY, &c->templates, .required = true},
        {"layers", DT_JSON_ANY, &layers, .required = true},
        {"layer_decay", DT_JSON_DOUBLE, &c->layer_decay, .least = 0.01, .most = 1},
        {"label_smoothing", DT_JSON_DOUBLE, &c->smoothing, .least = 0, .most = 0.99},
        {"mixup", DT_JSON_DOUBLE, &c->mixup, .least = 0, .most = 2},
        {"data", DT_JSON_OBJECT, &data, .required = true},
        {"augment", DT_JSON_OBJECT, &c->augment, .required = true},
        {"batch_size", DT_JSON_INT, &c->batch_size, .least = 2, .most = 1 << 24},
        {"epochs", DT_JSON_INT, &c->epochs, .least = 1, .most = 1 << 20},
        {"patience", DT_JSON_INT, &c->patience, .least = 0, .most = 1 << 20},
        {"seed", DT_JSON_INT64, &c->seed, .required = false},
        {"optimizer", DT_JSON_OBJECT, &optimizer, .required = true},
        {"schedule", DT_JSON_OBJECT, &schedule, .required = true},
        {"checkpoint", DT_JSON_OBJECT, &checkpoint, .required = true},
        {"log_every", DT_JSON_INT64, &c->log_every, .least = 1, .most = 1e15},
        {"interpolate", DT_JSON_INT, &interpolate, .least = 0, .most = 1000},
    };
    if (!dt_json_read(c->json, file, "", fields, sizeof fields / sizeof *fields, error) ||
        !read_data(c, data, file, error) || !read_layers(c, layers, file, error) ||
        !dt_config_optimizer(optimizer, file, "optimizer", &c->optimizer, &c->rate.base, error) ||
        !dt_config_schedule(schedule, file, &c->rate, error) ||
        !dt_config_checkpoint(checkpoint, file, &c->checkpoint_every, &c->keep_checkpoints, error))
        return false;
    c->tower = strcmp(tower, "text") ? DT_TOWER_IMAGE : DT_TOWER_TEXT;
    c->on_embedding = input && !strcmp(input, "embedding");
    return settle(c, file, head, input, interpolate, error);
}

bool dt_finetune_config_load(dt_finetune_config *c, const char *path, const char *const *overrides, size_t count,
                             dt_error *error)
{
    *c = (dt_finetune_config){.json = dt_config_load(defaults, path, overrides, count, error)};
    bool good = c->json && read(c, path ? path : "command line", error);
    if (!good)
        dt_finetune_config_free(c);
    return good;
}

void dt_finetune_config_free(dt_finetune_config *c)
{
    json_decref(c->json);
    *c = (dt_finetune_config){0};
}
