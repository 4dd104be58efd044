/* `duet vae`: variational autoencoders, from a configuration to a finished run, through interruptions. */
#include "experiments/commands.h"

#include "eval/dataset.h"
#include "eval/model_file.h"
#include "experiments/device.h"
#include "experiments/measure.h"
#include "experiments/options.h"
#include "experiments/progress.h"
#include "experiments/shared_options.h"
#include "experiments/vae_bound.h"
#include "experiments/vae_trainer.h"
#include "experiments/vae_views.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MEAN_OF = 1000 };

typedef struct vae {
    dt_generative run;
    dt_vae_train_config config;
    dt_model *model;
    dt_vae_trainer *trainer;
    dt_vae_views *views;
    dt_dataset *test; /* NULL: none */
} vae;

static bool step(void *self, const dt_batch *batch, uint64_t number, double rate, dt_step_found *found, dt_error *error)
{
    vae *e = self;
    return dt_vae_trainer_step(e->trainer, batch->images, number, e->run.state.total_steps, rate, found, error);
}

static bool paint(void *self, dt_generative *run, bool last, dt_error *error)
{
    return dt_vae_views_show(((vae *)self)->views, run, last, error);
}

/* ---- Figures ---- */

static bool measure(vae *e, int samples, dt_vae_bound *bound, dt_error *error)
{
    dt_progress_lines lines = {0};
    const dt_vae_bound_options o = {.data = e->test, .binarise = e->config.binarise, .seed = (uint64_t)e->config.test_seed,
                                    .samples = samples, .threads = e->run.config.threads,
                                    .progress = dt_lasting_progress(&lines, e->run.quiet)};
    return dt_vae_bound_of(e->model, e->run.folder.backend, &o, bound, error);
}

static bool log_test(vae *e, const dt_vae_bound *b, dt_error *error)
{
    const dt_log_value plain[] = {{"elbo", b->elbo}, {"reconstruction", b->reconstruction}, {"kl", b->kl},
                                  {"active_units", b->active}, {"bound", b->bound}};
    const dt_log_value codes[] = {{"reconstruction", b->reconstruction}, {"perplexity", b->perplexity}};
    if (e->model->config.vae.codes)
        return dt_log_event(e->run.log, (int64_t)e->run.state.step, "test", codes, 2, error);
    return dt_log_event(e->run.log, (int64_t)e->run.state.step, "test", plain, b->samples > 1 ? 5 : 4, error);
}

static bool evaluate(void *self, dt_generative *run, dt_error *error)
{
    vae *e = self;
    dt_vae_bound b;
    if (!e->test)
        return true;
    if (!measure(e, 1, &b, error) || !log_test(e, &b, error))
        return false;
    if (e->model->config.vae.codes)
        dt_log_say(run->log, "step %llu: test reconstruction %.2f nats, perplexity %.1f", (unsigned long long)run->state.step,
                   b.reconstruction, b.perplexity);
    else
        dt_log_say(run->log, "step %llu: test ELBO %.2f nats (reconstruction %.2f, KL %.2f, %d active units)",
                   (unsigned long long)run->state.step, b.elbo, b.reconstruction, b.kl, b.active);
    return true;
}

static bool show_codes(vae *e, const dt_vae_bound *b, dt_error *error)
{
    dt_log_say(e->run.log, "test, %zu images: reconstruction %.2f nats, perplexity of the codes %.1f of %d", b->images,
               b->reconstruction, b->perplexity, e->model->config.vae.codes);
    return dt_generative_figure(&e->run, "test reconstruction, -log p(x|z)", "reconstruction", -b->reconstruction, b->images, "nats",
                                error) &&
           dt_generative_figure(&e->run, "perplexity of the codes", "perplexity", b->perplexity, b->images, "codes in use", error);
}

static bool show_elbo(vae *e, const dt_vae_bound *b, dt_error *error)
{
    const dt_vae_config *v = &e->model->config.vae;
    dt_log_say(e->run.log, "test, %zu images: ELBO %.2f nats (reconstruction %.2f, KL %.2f), %d of %d units active", b->images, b->elbo,
               b->reconstruction, b->kl, b->active, v->latent);
    return dt_generative_figure(&e->run, "test -ELBO", "elbo", -b->elbo, b->images, "nats", error) &&
           dt_generative_figure(&e->run, "test KL divergence", "kl", b->kl, b->images, "nats", error) &&
           dt_generative_figure(&e->run, "active latent dimensions", "active_units", b->active, b->images,
                                "variance of the mean over 0.01", error);
}

static bool show_bound(vae *e, const dt_vae_bound *b, dt_error *error)
{
    char note[160];
    snprintf(note, sizeof note, "nats, %d importance samples an image, standard error %.2f", b->samples, b->error);
    dt_log_say(e->run.log, "log p(x) >= %.2f +- %.2f (%d importance samples an image)", b->bound, b->error, b->samples);
    return dt_generative_figure(&e->run, "test -log p(x), upper bound", "nll", -b->bound, b->images, note, error);
}

static bool show(vae *e, const dt_vae_bound *b, dt_error *error)
{
    const dt_vae_config *v = &e->model->config.vae;
    bool bits = dt_vae_is_likelihood(v, e->config.binarise), weighted = b->samples > 1 && bits;
    double per_dimension = dt_vae_bits(v, weighted ? b->bound : b->elbo);
    if (v->codes)
        return show_codes(e, b, error);
    if ((weighted && !show_bound(e, b, error)) || !show_elbo(e, b, error))
        return false;
    if (bits)
        dt_log_say(e->run.log, "%.4f bits per dimension", per_dimension);
    return !bits || dt_generative_figure(&e->run, "test bits per dimension", "bits_per_dim", per_dimension, b->images,
                                         weighted ? "of the bound on log p(x)" : "of the ELBO", error);
}

/* Distances of samples, the means of p(x|z). */
static bool take_distances(vae *e, dt_error *error)
{
    const dt_generative_config *c = &e->run.config;
    const dt_vae_config *v = &e->model->config.vae;
    size_t count = (size_t)c->measure_count, latent = (size_t)v->latent;
    if (!c->measure)
        return true;
    float *z = calloc(count, latent * sizeof *z);
    float *pictures = calloc(count, (size_t)v->image_size * (size_t)v->image_size * (size_t)v->channels * sizeof *pictures);
    bool good = (z && pictures) || dt_fail(error, "no memory for %zu pictures", count);
    if (good) {
        dt_draw_normals((uint64_t)c->seed + 2, z, count * latent);
        const dt_drawn drawn = {.name = "means of p(x|z)", .pictures = pictures, .count = count, .side = v->image_size, .channels = v->channels};
        good = dt_vae_views_decode(e->views, z, count, pictures, error) &&
               dt_measure_drawn(&e->run, "duet vae", &drawn, NULL, error);
    }
    free(z);
    free(pictures);
    return good;
}

static bool finish(void *self, dt_generative *run, dt_error *error)
{
    vae *e = self;
    dt_vae_bound b;
    char path[DT_RUN_PATH];
    if (!dt_model_save(e->model, dt_in_run(run->folder.path, "model.safetensors", path), error) || !take_distances(e, error))
        return false;
    if (!e->test)
        return true;
    int samples = e->config.bound_samples > 0 ? e->config.bound_samples : 1;
    dt_log_say(run->log, "measures the bound on %zu test images with %d samples each (evaluate.bound_samples)", dt_dataset_count(e->test),
               samples);
    if (!measure(e, samples, &b, error) || !log_test(e, &b, error))
        return false;
    return show(e, &b, error);
}

/* ---- From a configuration ---- */

static bool make_model(vae *e, dt_error *error)
{
    if (!(e->model = dt_generative_model(&e->run, e->run.config.model, error)))
        return false;
    if (e->model->config.vision != DT_VISION_VAE)
        return dt_fail(error, "model: vision_cfg.tower: expected \"vae\"; duet gan, pretrain and finetune train the others");
    return !e->config.binarise || e->model->config.vae.likelihood == DT_LIKELIHOOD_BERNOULLI ||
           dt_fail(error, "binarise: pixels of 0 and 1 want the likelihood \"bernoulli\"");
}

/* The decoder starts at the mean image, so that the first steps are not spent on it. */
static bool start_at_mean(vae *e, dt_error *error)
{
    const dt_vae_config *v = &e->model->config.vae;
    size_t places = (size_t)v->image_size * (size_t)v->image_size, channels = (size_t)v->channels;
    float *mean = dt_mean_image(e->model, dt_first_train(&e->run.config), MEAN_OF, error);
    for (size_t i = 0; mean && i < places; i++) /* the channels that are modelled, moved together */
        for (size_t c = 0; c < channels; c++)
            mean[i * channels + c] = mean[i * 3 + c];
    bool good = mean && (dt_vae_start_at(e->model->params, "", v, mean) ||
                         dt_fail(error, "the decoder has no output to start at a mean"));
    free(mean);
    return good;
}

/* What a VQ-VAE has no use for is refused, not passed over. */
static bool check_codes(const vae *e, dt_error *error)
{
    const dt_vae_train_config *c = &e->config;
    if (!e->model->config.vae.codes)
        return true;
    if (c->importance || c->samples != 1 || c->beta != 1 || c->warmup > 0 || c->free_bits > 0)
        return dt_fail(error, "objective: a VQ-VAE has no KL divergence and draws nothing; leave the objective out");
    return !e->run.config.measure || dt_fail(error, "measure.weights: a VQ-VAE has no prior to draw pictures from");
}

/* Originals are shown from the test images; without any, from the first store of the training. */
static bool prepare(vae *e, const dt_device_options *device, bool restart, dt_error *error)
{
    const dt_generative_config *c = &e->run.config;
    char path[DT_RUN_PATH];
    uint64_t step;
    bool resumes = !restart && dt_run_checkpoint(e->run.folder.path, path, sizeof path, &step);
    if (!make_model(e, error) || !check_codes(e, error) || !dt_generative_open_data(&e->run, error) ||
        (c->test && !(e->test = dt_dataset_open(c->test, error))) || !dt_measure_check(&e->run, "duet vae", NULL, error) ||
        !(e->run.folder.backend = dt_device_open(device, DT_DEVICE_SAY_NOTHING, error)) ||
        (!resumes && !c->weights && !start_at_mean(e, error)))
        return false;
    const dt_backend *backend = e->run.folder.backend;
    e->trainer = dt_vae_trainer_new(e->model, backend, &e->config, c->batch_size, (uint64_t)c->seed, error);
    return e->trainer && (e->views = dt_vae_views_new(e->model, backend, c->picture_count, c->test ? c->test : dt_first_train(c),
                                                      (uint64_t)c->seed, error)) != NULL;
}

static void close_vae(vae *e)
{
    dt_vae_views_free(e->views);
    dt_vae_trainer_free(e->trainer);
    dt_dataset_close(e->test);
    dt_generative_close(&e->run);
    dt_model_free(e->model);
}

static int train(vae *e, const char *file, const dt_strings *set, const dt_device_options *device, bool restart)
{
    dt_error error;
    if (!dt_vae_config_load(&e->config, &e->run, file, set->items, set->count, &error) ||
        (!restart && !dt_run_check_config(&e->run.folder, e->run.json, dt_generative_free_keys, &error)) ||
        !prepare(e, device, restart, &error)) {
        fprintf(stderr, "duet vae: %s\n", error.message);
        return DT_EXIT_FAILURE;
    }
    const dt_recipe recipe = {.command = "vae", .self = e, .step = step, .paint = paint, .evaluate = evaluate, .finish = finish,
                              .evaluate_every = e->config.evaluate_every, .model = e->model,
                              .optimizer = dt_vae_trainer_optimizer(e->trainer)};
    return dt_generative_run(&e->run, &recipe, restart);
}

int dt_cmd_vae(int argc, char **argv)
{
    const char *out = NULL;
    dt_strings set = {0};
    bool restart = false, quiet = false;
    dt_device_options device = {0};
    const dt_option options[] = {
        DT_RUN_OPTION(out, "DIR", ")"),
        DT_CONFIG_OPTIONS(set, restart, "optimizer.lr=1e-3"),
        DT_DEVICE_OPTIONS(device),
        DT_QUIET_OPTION('q', quiet),
    };
    const dt_usage usage = {"duet vae", "CONFIG.json",
                            "Trains a variational autoencoder (ELBO, importance-weighted bound, or VQ-VAE) on packed pictures; "
                            "experiments/vae_config.c names every key. The folder of the run gets config.json, log.jsonl, checkpoints, pictures "
                            "along the way, model.safetensors and report.html. A run that was interrupted in any way goes on, to the same bits, "
                            "when the command is given again. Its encoder serves as an image tower: duet probe -w RUN.",
                            options, sizeof options / sizeof *options, .least = 1, .most = 1};
    char **arguments, folder[DT_RUN_PATH];
    int count, status = dt_options_parse(&usage, argc, argv, &arguments, &count);
    if (status >= 0)
        return status;
    dt_run_default_folder(arguments[0], folder);
    vae e = {.run = {.folder = {.path = out ? out : folder}, .quiet = quiet}};
    dt_run_catch_signals(&e.run.folder);
    status = train(&e, arguments[0], &set, &device, restart);
    close_vae(&e);
    return status;
}
