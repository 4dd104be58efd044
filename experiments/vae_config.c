#include "experiments/vae_config.h"

#include <string.h>

static const char defaults[] =
    "{"
    "\"name\": null, \"description\": null, \"model\": null, \"weights\": null,"
    "\"data\": {\"train\": null, \"test\": null, \"threads\": 1, \"cache_mb\": 1024},"
    "\"augment\": {\"mode\": \"none\"}, \"binarise\": false,"
    "\"batch_size\": 100, \"epochs\": 0, \"steps\": 0, \"seed\": 1,"
    "\"objective\": {\"kind\": \"elbo\", \"samples\": 1, \"beta\": 1.0, \"warmup\": 0, \"free_bits\": 0},"
    "\"optimizer\": {\"kind\": \"adam\", \"lr\": 0.001, \"beta1\": 0.9, \"beta2\": 0.999, \"eps\": 1e-8,"
    "  \"momentum\": 0.9, \"nesterov\": false, \"weight_decay\": 0, \"clip_norm\": 0},"
    "\"schedule\": {\"kind\": \"constant\", \"warmup\": 0},"
    "\"checkpoint\": {\"every\": 5000, \"keep\": 2},"
    "\"log_every\": 100,"
    "\"evaluate\": {\"every\": 0, \"bound_samples\": 100, \"seed\": 1},"
    "\"pictures\": {\"every\": 0, \"count\": 64},"
    "\"measure\": {\"weights\": null, \"layer\": \"features\", \"count\": 10000}"
    "}";

static bool read_objective(dt_vae_train_config *c, const json_t *objective, const char *file, dt_error *error)
{
    const char *kind = NULL;
    const dt_json_field fields[] = {
        {"kind", DT_JSON_STRING, &kind, .choices = "elbo|iwae"},
        {"samples", DT_JSON_INT, &c->samples, .least = 1, .most = 100000},
        {"beta", DT_JSON_DOUBLE, &c->beta, .least = 0, .most = 1e6},
        {"warmup", DT_JSON_DOUBLE, &c->warmup, .least = 0, .most = 1e12},
        {"free_bits", DT_JSON_FLOAT, &c->free_bits, .least = 0, .most = 1000},
    };
    if (!dt_json_read(objective, file, "objective", fields, sizeof fields / sizeof *fields, error))
        return false;
    c->importance = !strcmp(kind, "iwae");
    return !c->importance || c->free_bits == 0 ||
           dt_fail(error, "%s: objective.free_bits: the importance-weighted bound has no KL divergence of its own; expected 0", file);
}

static bool read(dt_vae_train_config *c, dt_generative *r, const char *file, dt_error *error)
{
    dt_generative_config *g = &r->config;
    dt_generative_parts parts = {0};
    const json_t *optimizer = NULL, *objective = NULL, *evaluate = NULL;
    const dt_json_field fields[] = {
        {"name", DT_JSON_STRING, NULL, .required = false}, /* these two are for the report */
        {"description", DT_JSON_STRING, NULL, .required = false},
        {"model", DT_JSON_ANY, &g->model, .required = true},
        {"weights", DT_JSON_STRING, &g->weights, .required = false},
        {"data", DT_JSON_OBJECT, &parts.data, .required = true},
        {"augment", DT_JSON_OBJECT, &g->augment, .required = true},
        {"binarise", DT_JSON_BOOL, &c->binarise, .required = false},
        {"batch_size", DT_JSON_INT, &g->batch_size, .least = 1, .most = 1 << 24},
        {"epochs", DT_JSON_INT64, &g->epochs, .least = 0, .most = 1e9},
        {"steps", DT_JSON_INT64, &g->steps, .least = 0, .most = 4e9},
        {"seed", DT_JSON_INT64, &g->seed, .required = false},
        {"objective", DT_JSON_OBJECT, &objective, .required = true},
        {"optimizer", DT_JSON_OBJECT, &optimizer, .required = true},
        {"schedule", DT_JSON_OBJECT, &parts.schedule, .required = true},
        {"checkpoint", DT_JSON_OBJECT, &parts.checkpoint, .required = true},
        {"log_every", DT_JSON_INT64, &g->log_every, .least = 1, .most = 1e15},
        {"evaluate", DT_JSON_OBJECT, &evaluate, .required = true},
        {"pictures", DT_JSON_OBJECT, &parts.pictures, .required = true},
        {"measure", DT_JSON_OBJECT, &parts.measure, .required = true},
    };
    const dt_json_field evaluation[] = {
        {"every", DT_JSON_INT64, &c->evaluate_every, .least = 0, .most = 1e15},
        {"bound_samples", DT_JSON_INT, &c->bound_samples, .least = 0, .most = 10000000},
        {"seed", DT_JSON_INT64, &c->test_seed, .required = false},
    };
    if (!dt_json_read(r->json, file, "", fields, sizeof fields / sizeof *fields, error) ||
        !dt_config_optimizer(optimizer, file, "optimizer", &c->optimizer, &g->rate.base, error) ||
        !read_objective(c, objective, file, error) || !dt_json_read(evaluate, file, "evaluate", evaluation, 3, error) ||
        !dt_generative_read(g, &parts, file, error))
        return false;
    return g->train || dt_fail(error, "%s: data.train is missing", file);
}

bool dt_vae_config_load(dt_vae_train_config *c, dt_generative *r, const char *path, const char *const *overrides,
                        size_t count, dt_error *error)
{
    *c = (dt_vae_train_config){.samples = 1};
    r->json = dt_config_load(defaults, path, overrides, count, error);
    return r->json && read(c, r, path, error);
}
