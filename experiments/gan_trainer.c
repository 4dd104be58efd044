#include "experiments/gan_trainer.h"
#include "experiments/not_finite.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One network's update. */
typedef struct player {
    const char *prefix; /* of its parameters */
    dt_graph *graph;
    dt_plan *plan;
    dt_optimizer *optimizer;
    dt_tensor *samples, *condition; /* inputs; NULL where there are none */
    dt_tensor *loss, *real, *fake, *dead, *penalty; /* kept scalars; NULL where there are none */
} player;

struct dt_gan_trainer {
    dt_model *model;
    const dt_backend *backend;
    const dt_gan_train_config *config;
    int batch;
    uint64_t seed;
    player discriminator, generator;
    dt_params *average; /* of the generator alone */
    int *source;        /* for each of its entries: which of the model's */
    float generator_last[2]; /* loss and gradient norm of its last update, for the log; NaN: there was none yet */
};

static dt_scope root(const dt_gan_trainer *t, const player *p)
{
    return (dt_scope){p->graph, t->model->params, ""};
}

static dt_tensor *keep_mean(dt_tensor *x)
{
    return dt_keep(dt_mean(x, DT_ALL, false));
}

static dt_tensor *generate(const dt_gan_trainer *t, const player *p)
{
    const dt_gan_config *g = &t->model->config.gan;
    dt_tensor *z = dt_random_normals(p->graph, dt_dims(t->batch, g->latent));
    return dt_generator(root(t, p), g, z, p->condition, true);
}

/* The penalty with its weight, or NULL. `real` has a handle of its own, through which nothing but its logits depends on it. */
static dt_tensor *record_penalty(const dt_gan_trainer *t, const player *p, dt_tensor *real, dt_tensor *real_logits, dt_tensor *fake)
{
    float weight = t->config->penalty_weight;
    if (t->config->penalty == DT_PENALTY_NONE)
        return NULL;
    if (t->config->penalty == DT_PENALTY_R1)
        return dt_scale(dt_slope_square(real_logits, real), weight / 2);
    dt_tensor *at = dt_between(real, fake, dt_random_uniforms(p->graph, dt_dims(t->batch)));
    dt_tensor *logits = dt_discriminator(root(t, p), &t->model->config.gan, at, p->condition, true).logits;
    return dt_scale(dt_slope_penalty(logits, at), weight);
}

static void record_discriminator(dt_gan_trainer *t)
{
    player *p = &t->discriminator;
    const dt_gan_config *g = &t->model->config.gan;
    int64_t size = g->image_size;
    bool points = g->network == DT_GAN_MLP;
    p->samples = dt_input(p->graph, points ? "points" : "images", DT_F32,
                          points ? dt_dims(t->batch, g->channels) : dt_dims(t->batch, size, size, 3));
    p->condition = dt_gan_condition_input(p->graph, g, t->batch);
    dt_tensor *real = dt_identity(points ? p->samples : dt_gan_target(g, p->samples));
    dt_tensor *fake = dt_stop_gradient(generate(t, p));
    dt_judgement on_real = dt_discriminator(root(t, p), g, real, p->condition, true);
    dt_judgement on_fake = dt_discriminator(root(t, p), g, fake, p->condition, true);
    dt_tensor *loss = dt_discriminator_loss(t->config->loss, on_real.logits, on_fake.logits);
    dt_tensor *penalty = record_penalty(t, p, real, on_real.logits, fake);
    p->loss = dt_keep(loss);
    p->real = keep_mean(on_real.logits);
    p->fake = keep_mean(on_fake.logits);
    p->dead = dt_keep(on_real.dead);
    p->penalty = penalty ? dt_keep(penalty) : NULL;
    dt_store_gradients(penalty ? dt_add(loss, penalty) : loss, false);
}

static void record_generator(dt_gan_trainer *t)
{
    player *p = &t->generator;
    const dt_gan_config *g = &t->model->config.gan;
    p->condition = dt_gan_condition_input(p->graph, g, t->batch);
    dt_judgement on_fake = dt_discriminator(root(t, p), g, generate(t, p), p->condition, true);
    p->loss = dt_keep(dt_generator_loss(t->config->loss, on_fake.logits));
    dt_store_gradients(p->loss, false);
}

/* From here only this network's parameters are trained: what its graph stores gradients of, and what its optimizer moves. */
static void take_turn(dt_gan_trainer *t, const player *p)
{
    dt_params *params = t->model->params;
    for (int i = 0; i < dt_params_count(params); i++)
        dt_params_set_rate(params, i, !strncmp(dt_params_info(params, i)->name, p->prefix, strlen(p->prefix)) ? 1 : 0);
}

static bool make_player(dt_gan_trainer *t, player *p, const char *prefix, const dt_optimizer_config *optimizer,
                        void (*record)(dt_gan_trainer *t), const dt_backend *backend, dt_error *error)
{
    char message[DT_MESSAGE];
    p->prefix = prefix;
    if (!(p->graph = dt_graph_new()))
        return dt_fail(error, "out of memory");
    if (!(p->optimizer = dt_optimizer_new(optimizer, t->model->params, backend)))
        return dt_fail(error, "%s", dt_optimizer_no_memory(optimizer, t->model->params, backend, message));
    take_turn(t, p);
    record(t);
    p->plan = dt_plan_new(p->graph, backend, &(dt_plan_options){.batch = t->batch});
    if (p->plan)
        return true;
    dt_fail(error, "%s", dt_graph_error(p->graph));
    return dt_fail_prefix(error, "of the steps of both networks, the %.*s's alone", (int)strlen(prefix) - 1, prefix);
}

/* ---- The average ---- */

static bool make_average(dt_gan_trainer *t, dt_error *error)
{
    const dt_gan_config *g = &t->model->config.gan;
    dt_graph *graph = dt_graph_new();
    t->average = dt_params_new();
    if (!graph || !t->average) {
        dt_graph_free(graph);
        return dt_fail(error, "out of memory");
    }
    dt_scope scope = {graph, t->average, ""};
    dt_generator(scope, g, dt_input(graph, "z", DT_F32, dt_dims(2, g->latent)), dt_gan_condition_input(graph, g, 2), false);
    bool good = !dt_graph_error(graph) || dt_fail(error, "%s", dt_graph_error(graph));
    dt_graph_free(graph);
    good = good && (dt_params_allocate(t->average, 0) || dt_fail(error, "no memory for the generator's average"));
    int count = dt_params_count(t->average);
    good = good && ((t->source = calloc((size_t)count + 1, sizeof *t->source)) || dt_fail(error, "out of memory"));
    for (int i = 0; good && i < count; i++)
        t->source[i] = dt_params_find(t->model->params, dt_params_info(t->average, i)->name);
    return good;
}

/* average := decay average + (1 - decay) generator; running statistics follow at once. */
static void follow(dt_gan_trainer *t, float decay)
{
    for (int i = 0; i < dt_params_count(t->average); i++)
        dt_params_blend(t->average, i, t->model->params, t->source[i], t->backend,
                        dt_params_info(t->average, i)->trainable ? decay : 0);
}

dt_params *dt_gan_trainer_average(dt_gan_trainer *t)
{
    return t->average;
}

void dt_gan_trainer_settle(dt_gan_trainer *t)
{
    for (int i = 0; i < dt_params_count(t->average); i++)
        memcpy(dt_params_value(t->model->params, t->source[i]), dt_params_look(t->average, i),
               sizeof(float) * dt_params_info(t->average, i)->count);
}

/* ---- */

dt_gan_trainer *dt_gan_trainer_new(dt_model *model, const dt_backend *backend, const dt_gan_train_config *config, int batch_size,
                                   uint64_t seed, dt_error *error)
{
    dt_gan_trainer *t = calloc(1, sizeof *t);
    if (!t) {
        dt_fail(error, "out of memory");
        return NULL;
    }
    *t = (dt_gan_trainer){.model = model, .backend = backend, .config = config, .batch = batch_size, .seed = seed, .generator_last = {NAN, NAN}};
    if (config->penalty != DT_PENALTY_NONE && model->config.gan.discriminator_norm == DT_GAN_NORM_BATCH) {
        dt_fail(error, "objective.penalty: a slope is of one sample alone, which batch norm in the discriminator makes it not; "
                       "choose the discriminator_norm \"none\" or \"spectral\"");
        dt_gan_trainer_free(t);
        return NULL;
    }
    if (!make_average(t, error) ||
        !make_player(t, &t->discriminator, "discriminator.", &config->discriminator, record_discriminator, backend, error) ||
        !make_player(t, &t->generator, "generator.", &config->generator, record_generator, backend, error)) {
        dt_gan_trainer_free(t);
        return NULL;
    }
    follow(t, 0);
    return t;
}

static void free_player(player *p)
{
    dt_plan_free(p->plan);
    dt_graph_free(p->graph);
    dt_optimizer_free(p->optimizer);
}

void dt_gan_trainer_free(dt_gan_trainer *t)
{
    if (!t)
        return;
    free_player(&t->discriminator);
    free_player(&t->generator);
    dt_params_free(t->average);
    free(t->source);
    free(t);
}

static double read_scalar(const player *p, const dt_tensor *x)
{
    float value = 0;
    dt_plan_read(p->plan, x, &value);
    return (double)value;
}

/* One update of one network; *norm: of its gradients. */
static bool play(dt_gan_trainer *t, player *p, const float *samples, const void *condition, uint64_t step, double rate,
                 double *loss, double *norm, dt_error *error)
{
    take_turn(t, p);
    if (p->samples)
        dt_plan_write(p->plan, p->samples, samples);
    if (p->condition)
        dt_plan_write(p->plan, p->condition, condition);
    uint64_t seed = t->seed + (p == &t->generator ? 0x9E3779B97F4A7C15u : 0);
    const char *message = dt_plan_run(p->plan, seed, (uint32_t)step);
    if (message)
        return dt_fail(error, "%s", message);
    *loss = read_scalar(p, p->loss);
    *norm = isfinite(*loss) ? dt_optimizer_step(p->optimizer, (float)rate) : NAN;
    char what[64];
    snprintf(what, sizeof what, "the %s of the %.*s", isfinite(*loss) ? "gradient" : "loss", (int)strlen(p->prefix) - 1, p->prefix);
    return isfinite(*norm) || dt_not_finite(p->plan, seed, step, what, error);
}

static void report(const dt_gan_trainer *t, double loss, double norm, dt_step_found *found)
{
    const player *d = &t->discriminator;
    found->loss = loss;
    dt_found(found, "d_loss", loss);
    bool updated = !isnan(t->generator_last[0]);
    if (updated)
        dt_found(found, "g_loss", (double)t->generator_last[0]);
    dt_found(found, "real_logit", read_scalar(d, d->real));
    dt_found(found, "fake_logit", read_scalar(d, d->fake));
    dt_found(found, "d_grad_norm", norm);
    if (updated)
        dt_found(found, "g_grad_norm", (double)t->generator_last[1]);
    dt_found(found, "dead_units", read_scalar(d, d->dead));
    if (d->penalty)
        dt_found(found, "penalty", read_scalar(d, d->penalty));
}

bool dt_gan_trainer_step(dt_gan_trainer *t, const float *samples, const void *condition, uint64_t step, double rate,
                         double generator_rate, dt_step_found *found, dt_error *error)
{
    double loss, norm;
    if (!play(t, &t->discriminator, samples, condition, step, rate, &loss, &norm, error))
        return false;
    uint64_t critic_steps = (uint64_t)t->config->critic_steps;
    if ((step + 1) % critic_steps == 0) {
        double generator_loss, generator_norm, updates = (double)(step / critic_steps);
        if (!play(t, &t->generator, NULL, condition, step, generator_rate, &generator_loss, &generator_norm, error))
            return false;
        t->generator_last[0] = (float)generator_loss;
        t->generator_last[1] = (float)generator_norm;
        /* At first the average forgets faster, or it would hold the random start for thousands of updates. */
        follow(t, (float)fmin(t->config->average, (1 + updates) / (10 + updates)));
    }
    report(t, loss, norm, found);
    return true;
}

dt_optimizer *dt_gan_trainer_optimizer(dt_gan_trainer *t)
{
    return t->discriminator.optimizer;
}

size_t dt_gan_trainer_extras(dt_gan_trainer *t, dt_extra extras[DT_GAN_EXTRAS])
{
    size_t count = 0;
    size_t first = SIZE_MAX, end = 0; /* where the generator's parameters lie: its optimizer has moments of no others */
    for (int i = 0; i < dt_params_count(t->model->params); i++) {
        const dt_param_info *info = dt_params_info(t->model->params, i);
        bool own = info->trainable && !strncmp(info->name, t->generator.prefix, strlen(t->generator.prefix));
        first = own && info->offset < first ? info->offset : first;
        end = own && info->offset + info->count > end ? info->offset + info->count : end;
    }
    for (int i = 0; i < dt_optimizer_slots(t->generator.optimizer); i++) {
        extras[count] = (dt_extra){.values = dt_optimizer_slot(t->generator.optimizer, i) + first, .count = end - first};
        snprintf(extras[count].name, sizeof extras[count].name, "training.generator.%s",
                 dt_optimizer_slot_name(t->generator.optimizer, i));
        count++;
    }
    extras[count++] = (dt_extra){"training.average", dt_params_values(t->average), dt_params_size(t->average)};
    extras[count++] = (dt_extra){"training.generator_last", t->generator_last, 2};
    if (dt_params_buffer_size(t->average))
        extras[count++] = (dt_extra){"training.average_buffers", dt_params_buffers(t->average), dt_params_buffer_size(t->average)};
    return count;
}

void dt_gan_trainer_restored(dt_gan_trainer *t, uint64_t step)
{
    dt_optimizer_set_steps(t->generator.optimizer, step / (uint64_t)t->config->critic_steps);
}

dt_plan *dt_gan_trainer_plan(dt_gan_trainer *t, bool generator)
{
    return generator ? t->generator.plan : t->discriminator.plan;
}
