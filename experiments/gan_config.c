#include "experiments/gan_config.h"

static const char defaults[] =
    "{"
    "\"name\": null, \"description\": null, \"model\": null, \"weights\": null,"
    "\"data\": {\"train\": null, \"test\": null, \"threads\": 1, \"cache_mb\": 1024},"
    "\"ring\": {\"modes\": 0, \"radius\": 2, \"deviation\": 0.02},"
    "\"text\": {\"weights\": null, \"template\": \"a photo of a {}.\"},"
    "\"augment\": {\"mode\": \"none\"},"
    "\"batch_size\": 64, \"epochs\": 0, \"steps\": 0, \"seed\": 1,"
    "\"objective\": {\"loss\": \"non_saturating\", \"critic_steps\": 1, \"penalty\": \"none\", \"penalty_weight\": 10},"
    "\"generator\": {\"kind\": \"adam\", \"lr\": 0.0002, \"beta1\": 0.5, \"beta2\": 0.999, \"eps\": 1e-8,"
    "  \"momentum\": 0.9, \"nesterov\": false, \"weight_decay\": 0, \"clip_norm\": 0},"
    "\"discriminator\": {\"kind\": \"adam\", \"lr\": 0.0002, \"beta1\": 0.5, \"beta2\": 0.999, \"eps\": 1e-8,"
    "  \"momentum\": 0.9, \"nesterov\": false, \"weight_decay\": 0, \"clip_norm\": 0},"
    "\"average\": 0.999,"
    "\"schedule\": {\"kind\": \"constant\", \"warmup\": 0},"
    "\"checkpoint\": {\"every\": 1000, \"keep\": 2},"
    "\"log_every\": 20,"
    "\"pictures\": {\"every\": 1000, \"count\": 100},"
    "\"measure\": {\"weights\": null, \"layer\": \"features\", \"count\": 10000, \"classifier\": null}"
    "}";

static bool read_objective(dt_gan_train_config *c, const json_t *objective, const char *file, dt_error *error)
{
    static const char penalties[] = "none|wgan_gp|r1";
    const char *loss = NULL, *penalty = NULL;
    const dt_json_field fields[] = {
        {"loss", DT_JSON_STRING, &loss, .choices = dt_gan_loss_names},
        {"critic_steps", DT_JSON_INT, &c->critic_steps, .least = 1, .most = 1000},
        {"penalty", DT_JSON_STRING, &penalty, .choices = penalties},
        {"penalty_weight", DT_JSON_FLOAT, &c->penalty_weight, .least = 0, .most = 1e6},
    };
    if (!dt_json_read(objective, file, "objective", fields, sizeof fields / sizeof *fields, error))
        return false;
    c->loss = (dt_gan_loss)dt_choice_index(dt_gan_loss_names, loss);
    c->penalty = (dt_penalty)dt_choice_index(penalties, penalty);
    return true;
}

static bool read_ring(dt_gan_train_config *c, const json_t *ring, const char *file, dt_error *error)
{
    const dt_json_field fields[] = {
        {"modes", DT_JSON_INT, &c->ring.modes, .least = 0, .most = 1024},
        {"radius", DT_JSON_DOUBLE, &c->ring.radius, .least = 1e-3, .most = 1e3},
        {"deviation", DT_JSON_DOUBLE, &c->ring.deviation, .least = 1e-6, .most = 1e3},
    };
    return dt_json_read(ring, file, "ring", fields, 3, error);
}

/* The part of "measure" that only conditional generators have. */
static json_t *take_classifier(dt_gan_train_config *c, const json_t *measure, const char *file, dt_error *error)
{
    json_t *rest = json_copy((json_t *)measure);
    const json_t *name = json_object_get(measure, "classifier");
    c->classifier = json_string_value(name);
    if (!rest || (name && !json_is_null(name) && !c->classifier)) {
        dt_fail(error, "%s: measure.classifier: expected a path", file);
        json_decref(rest);
        return NULL;
    }
    json_object_del(rest, "classifier");
    return rest;
}

static bool settle(dt_gan_train_config *c, dt_generative_config *g, const char *file, dt_error *error)
{
    if (!g->train == !c->ring.modes)
        return dt_fail(error, "%s: expected data.train or ring.modes, one of the two; found %s", file,
                       g->train ? "both" : "neither");
    return !g->epochs || g->train || dt_fail(error, "%s: epochs: a ring has none; give \"steps\"", file);
}

static bool read(dt_gan_train_config *c, dt_generative *r, const char *file, dt_error *error)
{
    dt_generative_config *g = &r->config;
    dt_generative_parts parts = {0};
    double generator_rate = 0;
    const json_t *generator = NULL, *discriminator = NULL, *objective = NULL, *ring = NULL, *text = NULL, *measure = NULL;
    const dt_json_field fields[] = {
        {"name", DT_JSON_STRING, NULL, .required = false}, /* these two are for the report */
        {"description", DT_JSON_STRING, NULL, .required = false},
        {"model", DT_JSON_ANY, &g->model, .required = true},
        {"weights", DT_JSON_STRING, &g->weights, .required = false},
        {"data", DT_JSON_OBJECT, &parts.data, .required = true},
        {"ring", DT_JSON_OBJECT, &ring, .required = true},
        {"text", DT_JSON_OBJECT, &text, .required = true},
        {"augment", DT_JSON_OBJECT, &g->augment, .required = true},
        {"batch_size", DT_JSON_INT, &g->batch_size, .least = 2, .most = 1 << 20},
        {"epochs", DT_JSON_INT64, &g->epochs, .least = 0, .most = 1e9},
        {"steps", DT_JSON_INT64, &g->steps, .least = 0, .most = 4e9},
        {"seed", DT_JSON_INT64, &g->seed, .required = false},
        {"objective", DT_JSON_OBJECT, &objective, .required = true},
        {"generator", DT_JSON_OBJECT, &generator, .required = true},
        {"discriminator", DT_JSON_OBJECT, &discriminator, .required = true},
        {"average", DT_JSON_DOUBLE, &c->average, .least = 0, .most = 0.9999999},
        {"schedule", DT_JSON_OBJECT, &parts.schedule, .required = true},
        {"checkpoint", DT_JSON_OBJECT, &parts.checkpoint, .required = true},
        {"log_every", DT_JSON_INT64, &g->log_every, .least = 1, .most = 1e15},
        {"pictures", DT_JSON_OBJECT, &parts.pictures, .required = true},
        {"measure", DT_JSON_OBJECT, &measure, .required = true},
    };
    const dt_json_field texts[] = {
        {"weights", DT_JSON_STRING, &c->text_weights, .required = false},
        {"template", DT_JSON_STRING, &c->template, .required = true},
    };
    if (!dt_json_read(r->json, file, "", fields, sizeof fields / sizeof *fields, error) ||
        !dt_config_optimizer(generator, file, "generator", &c->generator, &generator_rate, error) ||
        !dt_config_optimizer(discriminator, file, "discriminator", &c->discriminator, &g->rate.base, error) ||
        !read_objective(c, objective, file, error) || !read_ring(c, ring, file, error) ||
        !dt_json_read(text, file, "text", texts, 2, error))
        return false;
    json_t *own = take_classifier(c, measure, file, error);
    parts.measure = own;
    bool good = own && dt_generative_read(g, &parts, file, error);
    json_decref(own);
    c->generator_rate = g->rate;
    c->generator_rate.base = generator_rate;
    return good && settle(c, g, file, error);
}

bool dt_gan_config_load(dt_gan_train_config *c, dt_generative *r, const char *path, const char *const *overrides,
                        size_t count, dt_error *error)
{
    *c = (dt_gan_train_config){.critic_steps = 1};
    r->json = dt_config_load(defaults, path, overrides, count, error);
    return r->json && read(c, r, path, error);
}
