/* `duet gan`: generative adversarial networks, from a configuration to a finished run, through interruptions; and drawing with one. */
#include "experiments/commands.h"

#include "experiments/device.h"
#include "experiments/gan_draw.h"
#include "experiments/gan_trainer.h"
#include "experiments/gan_views.h"
#include "experiments/measure.h"
#include "experiments/options.h"
#include "experiments/shared_options.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { JUDGED = 2500 };

typedef struct gan {
    dt_generative run;
    dt_gan_train_config config;
    dt_model *model;
    dt_conditions conditions;
    dt_gan_trainer *trainer;
    dt_gan_sampler *sampler;
    dt_gan_views views;
    float *points; /* a batch of the ring */
} gan;

static bool step(void *self, const dt_batch *batch, uint64_t number, double rate, dt_step_found *found, dt_error *error)
{
    gan *e = self;
    int64_t total = e->run.state.total_steps;
    double generator_rate = dt_config_rate(&e->config.generator_rate, number, total);
    const void *condition = NULL;
    if (e->conditions.kind != DT_CONDITION_NONE && !(condition = dt_conditions_of(&e->conditions, batch, error)))
        return false;
    if (e->points)
        dt_ring_draw(&e->config.ring, (uint64_t)e->run.config.seed, number, e->points, (size_t)e->run.config.batch_size);
    return dt_gan_trainer_step(e->trainer, e->points ? e->points : batch->images, condition, number, rate, generator_rate, found,
                               error);
}

static bool paint(void *self, dt_generative *run, bool last, dt_error *error)
{
    return dt_gan_views_show(&((gan *)self)->views, run, last, error);
}

static void restored(void *self, uint64_t number)
{
    dt_gan_trainer_restored(((gan *)self)->trainer, number);
}

static bool judge_ring(gan *e, dt_error *error)
{
    float *points = dt_gan_views_draw(&e->views, (uint64_t)e->run.config.seed + 2, JUDGED, NULL, error);
    if (!points)
        return false;
    dt_ring_coverage c = dt_ring_judge(&e->config.ring, points, JUDGED);
    free(points);
    dt_log_say(e->run.log, "%d of %d modes covered, %.1f %% of %d points within three deviations of one", c.modes,
               e->config.ring.modes, 100 * c.close, JUDGED);
    return dt_generative_figure(&e->run, "modes covered", "modes", c.modes, JUDGED, "at least a twentieth of their share of points",
                                error) &&
           dt_generative_found(&e->run,
                               json_pack("{s: [{s: s, s: s, s: f, s: i}]}", "figures", "name",
                                         "points within three deviations of a mode", "key", "close", "value", c.close, "n", JUDGED),
                               error);
}

/* Pictures for conditions as frequent as in the data. */
static bool measure(gan *e, dt_error *error)
{
    const dt_generative_config *c = &e->run.config;
    const dt_gan_config *g = &e->model->config.gan;
    size_t count = (size_t)c->measure_count;
    bool conditioned = g->condition != DT_CONDITION_NONE, classes = g->condition == DT_CONDITION_CLASS;
    if (!c->measure && !e->config.classifier)
        return true;
    void *conditions = conditioned ? dt_conditions_spread(&e->conditions, e->run.pairs, e->config.template, count, error) : NULL;
    float *pictures = !conditioned || conditions ? dt_gan_views_draw(&e->views, (uint64_t)c->seed + 2, count, conditions, error) : NULL;
    const dt_drawn drawn = {.name = "samples", .pictures = pictures, .count = count, .side = g->image_size, .channels = g->channels,
                            .low = -1, .labels = classes ? conditions : NULL, .classes = e->conditions.names};
    bool good = pictures && dt_measure_drawn(&e->run, "duet gan", &drawn, e->config.classifier, error);
    free(pictures);
    free(conditions);
    return good;
}

static bool finish(void *self, dt_generative *run, dt_error *error)
{
    gan *e = self;
    char path[DT_RUN_PATH];
    dt_gan_trainer_settle(e->trainer);
    if (!dt_model_save(e->model, dt_in_run(run->folder.path, "model.safetensors", path), error))
        return false;
    return e->config.ring.modes ? judge_ring(e, error) : measure(e, error);
}

/* ---- From a configuration ---- */

static bool make_model(gan *e, dt_error *error)
{
    const dt_generative_config *c = &e->run.config;
    const dt_gan_train_config *g = &e->config;
    json_t *description = json_deep_copy(c->model);
    bool good = (description || dt_fail(error, "out of memory")) &&
                dt_conditions_train(&e->conditions, e->run.folder.backend, description, e->run.pairs,
                                    g->text_weights, g->template, c->batch_size, e->run.quiet, error);
    e->model = good ? dt_generative_model(&e->run, description, error) : NULL;
    json_decref(description);
    if (!e->model)
        return false;
    if (e->model->config.vision != DT_VISION_GAN)
        return dt_fail(error, "model: vision_cfg.tower: expected \"gan\"; duet vae, pretrain and finetune train the others");
    bool points = e->model->config.gan.network == DT_GAN_MLP;
    if (points && (c->measure || g->classifier))
        return dt_fail(error, "measure: distances are between pictures; a ring's points are judged by the modes they cover");
    if (g->classifier && e->model->config.gan.condition != DT_CONDITION_CLASS)
        return dt_fail(error, "measure.classifier: it is asked whether it sees the class that a picture was made for, but this generator "
                              "is not conditioned on classes");
    return points == (g->ring.modes > 0) ||
           dt_fail(error, points ? "model: the network \"mlp\" makes points of the plane; give \"ring\" in place of data.train"
                                 : "model: a ring's points want the network \"mlp\"");
}

static bool prepare(gan *e, const dt_device_options *device, dt_error *error)
{
    const dt_generative_config *c = &e->run.config;
    if ((c->train && !dt_generative_open_data(&e->run, error)) ||
        !(e->run.folder.backend = dt_device_open(device, DT_DEVICE_SAY_NOTHING, error)) || !make_model(e, error) ||
        !dt_measure_check(&e->run, "duet gan", e->config.classifier, error))
        return false;
    const dt_gan_config *g = &e->model->config.gan;
    if (e->config.ring.modes && g->channels != 2)
        return dt_fail(error, "model: vision_cfg.channels is %d, but a ring's points have 2 numbers", g->channels);
    if (e->config.ring.modes && !(e->points = calloc((size_t)c->batch_size * 2, sizeof(float))))
        return dt_fail(error, "out of memory");
    if (e->conditions.text) {
        e->run.tokenizer = e->conditions.text->tokenizer;
        e->run.context = e->conditions.text->config.text.context_length;
        e->run.class_caption = e->config.template;
    }
    e->trainer = dt_gan_trainer_new(e->model, e->run.folder.backend, &e->config, c->batch_size, (uint64_t)c->seed, error);
    e->sampler = e->trainer ? dt_gan_sampler_new(dt_gan_trainer_average(e->trainer), g, e->run.folder.backend, error) : NULL;
    e->views = (dt_gan_views){e->sampler, g, &e->conditions, &e->config.ring, c->picture_count, (uint64_t)c->seed};
    return e->sampler != NULL;
}

static void close_gan(gan *e)
{
    dt_gan_sampler_free(e->sampler);
    dt_gan_trainer_free(e->trainer);
    dt_generative_close(&e->run);
    dt_conditions_free(&e->conditions);
    dt_model_free(e->model);
    free(e->points);
}

/* The extras' memory is the host's copy of what a device may have changed: asking for it again brings it up to date. */
static void gather(void *self)
{
    gan *e = self;
    dt_extra extras[DT_GAN_EXTRAS];
    dt_gan_trainer_extras(e->trainer, extras);
}

static int train(gan *e, const char *file, const dt_strings *set, const dt_device_options *device, bool restart)
{
    dt_error error;
    dt_extra extras[DT_GAN_EXTRAS];
    if (!dt_gan_config_load(&e->config, &e->run, file, set->items, set->count, &error) ||
        (!restart && !dt_run_check_config(&e->run.folder, e->run.json, dt_generative_free_keys, &error)) ||
        !prepare(e, device, &error)) {
        fprintf(stderr, "duet gan: %s\n", error.message);
        return DT_EXIT_FAILURE;
    }
    const dt_recipe recipe = {.command = "gan", .self = e, .step = step, .paint = paint, .finish = finish, .gather = gather,
                              .restored = restored,
                              .model = e->model, .optimizer = dt_gan_trainer_optimizer(e->trainer), .extras = extras,
                              .extra_count = dt_gan_trainer_extras(e->trainer, extras)};
    return dt_generative_run(&e->run, &recipe, restart);
}

static int train_file(const char *file, const char *out, const dt_strings *set, const dt_device_options *device, bool restart,
                      bool quiet)
{
    char folder[DT_RUN_PATH];
    dt_run_default_folder(file, folder);
    gan e = {.run = {.folder = {.path = out ? out : folder}, .quiet = quiet}};
    dt_run_catch_signals(&e.run.folder);
    int status = train(&e, file, set, device, restart);
    close_gan(&e);
    return status;
}

/* What is wrong with the words together, or NULL; `training`: one of those that a training alone has. */
static const char *mistake(const dt_gan_draw *draw, int files, bool training)
{
    if ((draw->weights != NULL) == (files > 0))
        return "expected a CONFIG.json to train by, or --weights to draw with, one of the two";
    if (draw->weights)
        return training ? "--set and --restart are for training, not for drawing with --weights" : NULL;
    bool drawing = draw->prompts.count || draw->classes.count || draw->count || draw->text_weights || draw->seed != INT64_MIN;
    return drawing ? "--prompt, --class, --count, --seed and --text-weights are for drawing with --weights" : NULL;
}

int dt_cmd_gan(int argc, char **argv)
{
    const char *out = NULL;
    dt_strings set = {0};
    dt_gan_draw draw = {.seed = INT64_MIN}; /* not given */
    bool restart = false, quiet = false;
    dt_device_options device = {0};
    const dt_option options[] = {
        DT_RUN_OPTION(out, "DIR|FILE.png", "); with -w: where to draw to (default: samples.png)"),
        DT_CONFIG_OPTIONS(set, restart, "generator.lr=1e-4"),
        DT_DEVICE_OPTIONS(device),
        DT_QUIET_OPTION('q', quiet),
        {"weights", 'w', DT_STRING, &draw.weights, "RUN|FILE", .help = "draw with a trained generator: a sheet (FILE.png), or one file a picture (DIR)"},
        {"prompt", 'p', DT_STRINGS, &draw.prompts, "TEXT", .help = "with -w: what to draw, of a generator conditioned on text"},
        {"class", 'c', DT_STRINGS, &draw.classes, "NAME",
         .help = "with -w: what to draw, of a generator conditioned on classes (default: all)"},
        {"count", 'n', DT_INT, &draw.count, "N",
         .help = "with -w: pictures in all, rounded up to as many for each prompt or class (default: 64, or 8 for each)",
         .least = 1, .most = 1 << 24},
        {"seed", 0, DT_LONG, &draw.seed, "N", .help = "with -w: seed of what is drawn (default: 1)"},
        {"text-weights", 0, DT_STRING, &draw.text_weights, "RUN|FILE",
         .help = "with -w: model whose text tower reads the prompts (default: that of the training)"},
    };
    const dt_usage usage = {"duet gan", "CONFIG.json | -w RUN",
                            "Trains a generator against a discriminator (experiments/gan_config.c names every key), or draws with a "
                            "trained one. The folder of a run gets config.json, log.jsonl, checkpoints, pictures along the way, "
                            "model.safetensors and report.html. A run that was interrupted in any way goes on, to the same bits, when "
                            "the command is given again.",
                            options, sizeof options / sizeof *options, .least = 0, .most = 1};
    char **arguments;
    int count, status = dt_options_parse(&usage, argc, argv, &arguments, &count);
    if (status >= 0)
        return status;
    const char *wrong = mistake(&draw, count, restart || set.count);
    if (wrong) {
        fprintf(stderr, "duet gan: %s; see duet gan --help\n", wrong);
        return DT_EXIT_USAGE;
    }
    draw.seed = draw.seed == INT64_MIN ? 1 : draw.seed;
    draw.out = out;
    draw.device = &device;
    draw.quiet = quiet;
    return draw.weights ? dt_gan_draw_run(&draw) : train_file(arguments[0], out, &set, &device, restart, quiet);
}
