#include "experiments/bench_generative.h"

#include "experiments/bench_timing.h"
#include "experiments/device.h"
#include "experiments/gan_trainer.h"
#include "experiments/print.h"
#include "experiments/vae_trainer.h"
#include "kernels/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 10, CONDITION_WIDTH = 512, PRODUCT_ROUNDS = 4 };
enum { IMAGES = 1, LABELS, VECTORS }; /* streams of random numbers */

/* A trainer with all that it borrows, and what was measured of it. */
typedef struct subject {
    const dt_generative_bench *bench;
    dt_generative run; /* of which only the configuration is used */
    dt_vae_train_config vae;
    dt_gan_train_config gan;
    dt_model *model;
    int batch;
    int updates; /* of the VAE, or of the discriminator, in a step */
    float *images;
    void *condition; /* NULL: none */
    dt_vae_trainer *vae_trainer;
    dt_gan_trainer *gan_trainer;
    uint64_t update; /* how many were made */
    dt_plan *plan[2];
    const char *plan_name[2];
    int plans;
    double flops, resident, product_rate;
    dt_step_times times;
    dt_op_times ops[2];
} subject;

/* ---- The step ---- */

static bool update(subject *s, dt_error *error)
{
    const dt_generative_config *c = &s->run.config;
    dt_step_found found = {.loss = NAN};
    uint64_t step = s->update++;
    if (s->gan_trainer)
        return dt_gan_trainer_step(s->gan_trainer, s->images, s->condition, step, c->rate.base, s->gan.generator_rate.base, &found,
                                   error);
    return dt_vae_trainer_step(s->vae_trainer, s->images, step, c->steps ? c->steps : 1000000, c->rate.base, &found, error);
}

static bool step(void *self, dt_error *error)
{
    subject *s = self;
    bool good = true;
    for (int i = 0; good && i < s->updates; i++)
        good = update(s, error);
    return good;
}

/* ---- Making it ---- */

/* What training takes from the data. */
static void complete_condition(json_t *description)
{
    json_t *condition = json_object_get(json_object_get(description, "vision_cfg"), "condition");
    const char *kind = json_string_value(json_object_get(condition, "kind"));
    const char *key = kind && !strcmp(kind, "class") ? "classes" : "width";
    if (kind && !json_object_get(condition, key))
        json_object_set_new(condition, key, json_integer(!strcmp(key, "classes") ? CLASSES : CONDITION_WIDTH));
}

static bool make_model(subject *s, dt_error *error)
{
    const dt_generative_bench *b = s->bench;
    bool good = b->gan ? dt_gan_config_load(&s->gan, &s->run, b->file, NULL, 0, error)
                       : dt_vae_config_load(&s->vae, &s->run, b->file, NULL, 0, error);
    if (!good)
        return false;
    json_t *description = json_object_get(s->run.json, "model");
    complete_condition(description);
    if (!(s->model = dt_model_new(description, NULL, (uint64_t)s->run.config.seed, error)))
        return false;
    return s->model->config.vision == (b->gan ? DT_VISION_GAN : DT_VISION_VAE) ||
           dt_fail(error, "%s: model: vision_cfg.tower: expected \"%s\"", b->file, b->gan ? "gan" : "vae");
}

/* Directions at random, as long as dt_conditions_of makes them. */
static float *random_vectors(size_t count, size_t width)
{
    float *rows = calloc(count * width, sizeof *rows);
    if (!rows)
        return NULL;
    dt_draw_normals(VECTORS, rows, count * width);
    for (float *row = rows; row < rows + count * width; row += width) {
        double squares = 0;
        for (size_t i = 0; i < width; i++)
            squares += (double)row[i] * (double)row[i];
        for (size_t i = 0; i < width; i++)
            row[i] *= (float)sqrt((double)width / squares);
    }
    return rows;
}

static int32_t *random_classes(size_t count, int classes)
{
    int32_t *labels = calloc(count, sizeof *labels);
    for (size_t i = 0; labels && i < count; i++)
        labels[i] = (int32_t)(dt_random_block(LABELS, 0, 0, i).v[0] % (uint32_t)classes);
    return labels;
}

static bool make_batch(subject *s, dt_error *error)
{
    const dt_gan_config *g = &s->model->config.gan;
    bool gan = s->bench->gan, points = gan && g->network == DT_GAN_MLP;
    size_t count = (size_t)s->batch, size = (size_t)(gan ? g->image_size : s->model->config.vae.image_size);
    size_t numbers = count * (points ? (size_t)g->channels : size * size * 3);
    s->images = calloc(numbers, sizeof *s->images);
    for (size_t i = 0; s->images && i < numbers; i++) {
        float u = dt_random_uniform(dt_random_block(IMAGES, 0, 0, i).v[0]);
        s->images[i] = gan ? 2 * u - 1 : u;
    }
    bool conditional = gan && g->condition != DT_CONDITION_NONE;
    if (conditional)
        s->condition = g->condition == DT_CONDITION_CLASS ? (void *)random_classes(count, g->classes)
                                                          : (void *)random_vectors(count, (size_t)g->condition_width);
    return (s->images && (s->condition || !conditional)) || dt_fail(error, "no memory for a batch of %d", s->batch);
}

static void use_plan(subject *s, const char *name, dt_plan *plan, int runs)
{
    s->plan_name[s->plans] = name;
    s->plan[s->plans++] = plan;
    s->flops += runs * dt_plan_describe(plan).flops;
}

static bool make_trainer(subject *s, dt_error *error)
{
    uint64_t seed = (uint64_t)s->run.config.seed;
    if (s->bench->gan) {
        if (!(s->gan_trainer = dt_gan_trainer_new(s->model, s->bench->backend, &s->gan, s->batch, seed, error)))
            return false;
        s->updates = s->gan.critic_steps;
        use_plan(s, "discriminator", dt_gan_trainer_plan(s->gan_trainer, false), s->updates);
        use_plan(s, "generator", dt_gan_trainer_plan(s->gan_trainer, true), 1);
        return true;
    }
    if (!(s->vae_trainer = dt_vae_trainer_new(s->model, s->bench->backend, &s->vae, s->batch, seed, error)))
        return false;
    s->updates = 1;
    use_plan(s, "autoencoder", dt_vae_trainer_plan(s->vae_trainer), 1);
    return true;
}

static void close_subject(subject *s)
{
    dt_gan_trainer_free(s->gan_trainer);
    dt_vae_trainer_free(s->vae_trainer);
    dt_generative_close(&s->run);
    dt_model_free(s->model);
    free(s->images);
    free(s->condition);
    free(s);
}

/* ---- Measuring ---- */

static bool measure(subject *s, dt_error *error)
{
    int steps = s->bench->steps;
    if (!step(s, error))
        return false;
    if (!s->bench->backend->on_host && !step(s, error)) /* the second is recorded */
        return false;
    if (!dt_time_plans(step, s, steps, s->plan, s->plans, s->bench->backend, &s->times, error))
        return false;
    for (int i = 0; i < s->plans; i++)
        dt_op_times_of(&s->ops[i], s->plan[i], steps);
    s->resident = dt_peak_resident(); /* before the products, which take more than a small network */
    s->product_rate = dt_matrix_rate(s->bench->backend, PRODUCT_ROUNDS);
    return true;
}

/* Optimizers, moving averages, clearing of gradients: all of a step that no plan does. */
static double outside(const subject *s)
{
    double seconds = s->times.mean;
    for (int i = 0; i < s->plans; i++)
        seconds -= s->ops[i].seconds;
    return seconds;
}

static size_t planned(const subject *s)
{
    size_t bytes = 0;
    for (int i = 0; i < s->plans; i++)
        bytes += dt_plan_describe(s->plan[i]).planned_bytes;
    return bytes;
}

static double images_per_second(const subject *s)
{
    return s->batch * s->updates / s->times.median;
}

static void print_ops(const subject *s)
{
    for (int i = 0; i < s->plans; i++) {
        printf("%s, %d kernels, %.2f ms\n", s->plan_name[i], dt_plan_describe(s->plan[i]).kernels, 1e3 * s->ops[i].seconds);
        dt_op_times_print(&s->ops[i]);
    }
    printf("outside the plan%s, optimizer and the like: %.2f ms\n", s->plans > 1 ? "s" : "", 1e3 * outside(s));
}

static void print_text(const subject *s)
{
    double rate = s->flops / s->times.median;
    printf("%s, batch %d, %.2f M parameters\n", s->bench->file, s->batch, (double)dt_params_trainable(s->model->params) / 1e6);
    printf("  matrix product rate    %9.1f GFLOP/s   in %s\n", s->product_rate / 1e9,
           dt_precision_name(s->bench->backend->precision));
    printf("  training               %9.1f images/s  %.2f ms a step (processors: %.2f)\n", images_per_second(s),
           1e3 * s->times.median, 1e3 * s->times.processor);
    if (s->updates > 1)
        printf("  a step                 %9d updates of the discriminator, one of the generator\n", s->updates);
    printf("  training, model FLOPs  %9.1f GFLOP/s   %.1f %% of the product rate\n", rate / 1e9, 100 * rate / s->product_rate);
    printf("  planned memory         %9.1f MiB\n", dt_mebibytes((double)planned(s)));
    printf("  peak resident memory   %9.1f MiB\n", dt_mebibytes(s->resident));
    if (s->bench->ops)
        print_ops(s);
}

static json_t *plans_json(const subject *s)
{
    json_t *list = json_array();
    for (int i = 0; list && i < s->plans; i++) {
        dt_plan_facts facts = dt_plan_describe(s->plan[i]);
        json_t *plan = json_pack("{s: s, s: i, s: f, s: f, s: I}", "name", s->plan_name[i], "kernels", facts.kernels, "seconds",
                                 s->ops[i].seconds, "flops", facts.flops, "planned_bytes", (json_int_t)facts.planned_bytes);
        if (s->bench->ops)
            json_object_set_new(plan, "ops", dt_op_times_json(&s->ops[i]));
        json_array_append_new(list, plan);
    }
    return list;
}

/* With the configuration in force, so that a peer can be built from it. */
static bool print_json(const subject *s, dt_error *error)
{
    double rate = s->flops / s->times.median;
    json_t *o = json_pack("{s: s, s: s, s: s, s: O, s: i, s: I, s: i, s: f, s: f, s: f, s: f, s: f, s: f, s: f, s: I, s: f, s: o}",
                          "kind", s->bench->gan ? "gan" : "vae", "device", s->bench->backend->name, "precision",
                          dt_precision_name(s->bench->backend->precision), "config", s->run.json, "batch", s->batch, "parameters",
                          (json_int_t)dt_params_trainable(s->model->params), "updates_per_step", s->updates, "seconds_per_step",
                          s->times.median, "processor_seconds_per_step", s->times.processor, "seconds_outside_plans", outside(s),
                          "images_per_second", images_per_second(s), "product_flops", s->product_rate, "train_flops", rate,
                          "train_share_of_product", rate / s->product_rate, "planned_bytes", (json_int_t)planned(s),
                          "peak_resident_bytes",
                          s->resident, "plans", plans_json(s));
    bool good = (o || dt_fail(error, "out of memory")) && dt_print_json(o, 2, error);
    json_decref(o);
    return good;
}

bool dt_bench_generative(const dt_generative_bench *bench, dt_error *error)
{
    subject *s = calloc(1, sizeof *s);
    if (!s)
        return dt_fail(error, "out of memory");
    s->bench = bench;
    bool good = make_model(s, error);
    s->batch = bench->batch ? bench->batch : s->run.config.batch_size;
    good = good && make_batch(s, error) && make_trainer(s, error) && measure(s, error);
    if (good && bench->json)
        good = print_json(s, error);
    else if (good)
        print_text(s);
    close_subject(s);
    return good;
}
