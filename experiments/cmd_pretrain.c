/* `duet pretrain`: contrastive training of two towers, from a configuration to a finished run, through interruptions. */
#include "experiments/commands.h"

#include "data/clock.h"
#include "data/bpe_train.h"
#include "data/file.h"
#include "data/loader.h"
#include "eval/model_file.h"
#include "experiments/checkpoint.h"
#include "experiments/device.h"
#include "experiments/evaluation.h"
#include "experiments/log.h"
#include "experiments/options.h"
#include "experiments/run_folder.h"
#include "experiments/shared_options.h"
#include "experiments/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TIMED_FROM = 5, SETTLED_AT = 40 };

typedef struct run {
    dt_run_folder folder;
    dt_train_config config;
    dt_pairs *pairs;
    dt_model *model;
    dt_trainer *trainer;
    dt_loader *loader;
    dt_transform transform;
    dt_logger *log;
    dt_run_state state;
    dt_evaluation *evaluation;
    double started;      /* when this process began to train, less the seconds of earlier ones */
    uint64_t first;      /* steps that were done then */
    double timed;        /* when TIMED_FROM more were done */
    double last, waited; /* at the last line of the log */
    int64_t last_step;
    bool given;          /* the next batch lies with the trainer */
} run;

static const char *in_run(const run *r, const char *name, char room[DT_RUN_PATH])
{
    return dt_in_run(r->folder.path, name, room);
}

/* ---- Preparing ---- */

/* A vocabulary learned from all captions of the training data. */
static dt_tokenizer *learn_tokenizer(const run *r, dt_error *error)
{
    dt_bpe_trainer *trainer = dt_bpe_trainer_new(error);
    bool good = trainer != NULL;
    dt_pair pair;
    for (uint64_t i = 0; good && i < dt_pairs_count(r->pairs); i++) {
        good = dt_pairs_get(r->pairs, i, &pair, error);
        for (size_t k = 0; good && k < pair.caption_count; k++) {
            size_t length;
            const char *text = dt_pair_caption(&pair, k, &length);
            good = dt_bpe_trainer_add(trainer, text, length, error) || dt_fail_prefix(error, "pair %llu", (unsigned long long)i);
        }
    }
    for (size_t c = 0; good && r->config.class_caption && c < dt_pairs_class_count(r->pairs); c++) {
        const char *name = dt_pairs_class_name(r->pairs, c);
        good = dt_bpe_trainer_add(trainer, name, strlen(name), error);
    }
    if (good && r->config.class_caption)
        good = dt_bpe_trainer_add(trainer, r->config.class_caption, strlen(r->config.class_caption), error);
    dt_tokenizer *tokenizer = good ? dt_bpe_trainer_finish(trainer, r->config.merges, error) : NULL;
    dt_bpe_trainer_free(trainer);
    return tokenizer;
}

/* That of the run where it goes on, else the one that the configuration asks for. */
static dt_tokenizer *get_tokenizer(const run *r, bool resumes, dt_error *error)
{
    char path[DT_RUN_PATH];
    if (resumes)
        return dt_tokenizer_load(in_run(r, "tokenizer.json", path), error);
    if (json_is_string(r->config.tokenizer))
        return dt_tokenizer_load(json_string_value(r->config.tokenizer), error);
    return learn_tokenizer(r, error);
}

static bool open_pairs(run *r, dt_error *error)
{
    if (!(r->pairs = dt_config_open_pairs(r->config.train, error)))
        return false;
    return dt_config_check_batch(r->config.batch_size, dt_pairs_count(r->pairs), "pairs", error);
}

static bool open_loader(run *r, dt_error *error)
{
    dt_loader_options o = {.pairs = r->pairs, .tokenizer = r->model->tokenizer,
                           .context = r->model->config.text.context_length, .class_caption = r->config.class_caption,
                           .batch_size = r->config.batch_size, .drop_last = true, .shuffle = true,
                           .weighted = r->config.weighted && dt_pairs_weighted(r->pairs),
                           .seed = (uint64_t)r->config.seed, .batch = r->state.step, .threads = r->config.threads,
                           .cache_bytes = r->config.cache_bytes, .transform = r->transform,
                           .allocate = r->folder.backend->host_allocate, .release = r->folder.backend->host_release};
    return (r->loader = dt_loader_open(&o, error)) != NULL;
}

static bool open_log(run *r, bool resumed, bool quiet, dt_error *error)
{
    char path[DT_RUN_PATH];
    dt_log_options o = {.path = in_run(r, "log.jsonl", path), .resume = resumed, .resume_step = (int64_t)r->state.step,
                        .steps = r->state.total_steps, .quiet = quiet};
    return (r->log = dt_log_open(&o, error)) != NULL;
}

static bool prepare_training(run *r, bool resumes, dt_error *error)
{
    const dt_train_config *c = &r->config;
    dt_tokenizer *tokenizer = get_tokenizer(r, resumes, error);
    dt_transform *t = &r->transform;
    if (!tokenizer || !(r->model = dt_model_new(c->model, tokenizer, (uint64_t)c->seed, error)) ||
        !dt_config_transform(c->augment, &r->model->preprocess, t, error))
        return false;
    t->bytes = dt_transform_gives_bytes(t);
    dt_trainer_options o = {.batch_size = c->batch_size, .chunk_size = c->chunk_size, .loss = c->loss,
                            .optimizer = c->optimizer, .max_logit_scale = c->max_logit_scale,
                            .seed = (uint64_t)c->seed, .bytes = t->bytes, .mean = {t->mean[0], t->mean[1], t->mean[2]},
                            .std = {t->std[0], t->std[1], t->std[2]}};
    r->state = (dt_run_state){.total_steps = c->steps, .settled = c->minutes <= 0, .best = NAN};
    r->trainer = dt_trainer_new(r->model, r->folder.backend, &o, error);
    return r->trainer && (!resumes || dt_checkpoint_restore(r->folder.path, r->model, dt_trainer_optimizer(r->trainer),
                                                            &r->state, error));
}

static bool prepare(run *r, const dt_device_options *device, bool restart, bool quiet, dt_error *error)
{
    uint64_t step;
    char path[DT_RUN_PATH];
    if ((!restart && !dt_run_check_config(&r->folder, r->config.json, NULL, error)) ||
        !open_pairs(r, error) ||
        !(r->folder.backend = dt_device_open(device, DT_DEVICE_SAY_NOTHING, error)))
        return false;
    bool resumes = !restart && dt_run_checkpoint(r->folder.path, path, sizeof path, &step);
    if (!prepare_training(r, resumes, error) || !open_loader(r, error) ||
        !(r->evaluation = dt_evaluation_new(r->model, r->folder.backend, r->config.evaluate, r->folder.path, error)))
        return false;
    return dt_run_claim(&r->folder, error) &&
           (resumes || dt_run_start(&r->folder, "pretrain", r->config.json, r->model->tokenizer, restart, error)) &&
           open_log(r, resumes, quiet, error);
}

static void close_run(run *r)
{
    dt_evaluation_free(r->evaluation);
    dt_trainer_free(r->trainer);
    dt_loader_close(r->loader); /* after what may still copy from its batches */
    dt_model_free(r->model);
    dt_pairs_close(r->pairs);
    dt_log_close(r->log);
    dt_train_config_free(&r->config);
    dt_run_close(&r->folder);
}

/* ---- Training ---- */

/* A run limited in time takes the pace of its first steps and cuts the number of steps once, so that the schedule ends in
 * time and everything after is a function of the step again. True in that moment: it belongs into a checkpoint. */
static bool settle_steps(run *r)
{
    int64_t step = (int64_t)r->state.step, here = step - (int64_t)r->first;
    if (here == TIMED_FROM)
        r->timed = dt_now();
    if (r->state.settled || here < SETTLED_AT)
        return false;
    double pace = (dt_now() - r->timed) / (SETTLED_AT - TIMED_FROM), left = 60 * r->config.minutes - (dt_now() - r->started);
    int64_t fits = step + (int64_t)(0.97 * left / pace);
    r->state.settled = true;
    if (fits < r->state.total_steps) {
        r->state.total_steps = fits > step ? fits : step;
        dt_log_set_steps(r->log, r->state.total_steps);
        dt_log_say(r->log, "%g minutes allow %lld steps instead of %lld (%.0f ms a step)", r->config.minutes,
                   (long long)r->state.total_steps, (long long)r->config.steps, 1e3 * pace);
    }
    return true;
}

static bool log_step(run *r, const dt_step_result *result, double rate, dt_error *error)
{
    int64_t step = (int64_t)r->state.step;
    if (step % r->config.log_every && step != r->state.total_steps)
        return true;
    double time = dt_now(), waited = dt_loader_get_stats(r->loader).waited;
    double span = time - r->last > 1e-9 ? time - r->last : 1e-9;
    const dt_log_value values[] = {{"lr", rate}, {"grad_norm", result->grad_norm},
                                   {"temperature", exp(-result->logit_scale)}};
    dt_log_step line = {.step = step, .loss = result->loss, .values = values, .value_count = 3,
                        .pairs_per_second = (double)(step - r->last_step) * r->config.batch_size / span,
                        .waiting = (waited - r->waited) / span};
    r->last = time;
    r->waited = waited;
    r->last_step = step;
    return dt_log_add(r->log, &line, error);
}

static bool save(run *r, dt_error *error)
{
    r->state.seconds = dt_now() - r->started;
    return dt_checkpoint_save(r->folder.path, r->model, dt_trainer_optimizer(r->trainer), &r->state,
                              r->config.keep_checkpoints, error);
}

static bool give_next(run *r, dt_error *error)
{
    dt_batch batch;
    return r->given = dt_loader_next(r->loader, &batch, error) &&
                      dt_trainer_give(r->trainer, r->transform.bytes ? (const void *)batch.pixels : batch.images, batch.tokens, error);
}

/* The next batch is fetched and sent while a device computes. If there is something wrong with it, that is the next step's to say. */
static bool one_step(run *r, dt_error *error)
{
    dt_error of_next;
    dt_step_result result;
    double rate = dt_config_rate(&r->config.rate, r->state.step, r->state.total_steps);
    bool good = (r->given || give_next(r, error)) && dt_trainer_begin(r->trainer, error);
    r->given = false;
    if (good && (int64_t)r->state.step + 1 < r->state.total_steps)
        give_next(r, &of_next);
    if (!good || !dt_trainer_end(r->trainer, (float)rate, &result, error))
        return dt_fail_prefix(error, "step %llu", (unsigned long long)r->state.step + 1);
    r->state.step++;
    return log_step(r, &result, rate, error);
}

/* Trains to the end, or to a signal, after which *stopped is set and a checkpoint lies in the run. */
static bool train(run *r, bool *stopped, dt_error *error)
{
    const dt_train_config *c = &r->config;
    r->started = dt_now() - r->state.seconds;
    r->first = r->state.step;
    r->last = dt_now();
    r->last_step = (int64_t)r->state.step;
    while ((int64_t)r->state.step < r->state.total_steps) {
        if (!one_step(r, error))
            return false;
        int64_t step = (int64_t)r->state.step;
        bool due = settle_steps(r) || step % c->checkpoint_every == 0 || step == r->state.total_steps;
        *stopped = dt_run_interrupted(&r->folder);
        if ((*stopped || due) && !save(r, error))
            return false;
        if (*stopped)
            return true;
        if (c->evaluate_every && step % c->evaluate_every == 0 && step < r->state.total_steps &&
            !dt_evaluation_run(r->evaluation, r->log, step, false, error))
            return false;
    }
    return true;
}

static bool finish(run *r, dt_error *error)
{
    char path[DT_RUN_PATH];
    return dt_model_save(r->model, in_run(r, "model.safetensors", path), error) &&
           dt_evaluation_run(r->evaluation, r->log, (int64_t)r->state.step, true, error) &&
           dt_evaluation_report(r->evaluation, error);
}

static int pretrain(run *r, const dt_device_options *device, bool restart, bool quiet)
{
    dt_error error;
    bool stopped = false;
    char path[DT_RUN_PATH];
    bool good = prepare(r, device, restart, quiet, &error);
    good = good && dt_run_say_device(&r->folder, r->log, r->state.step, (uint64_t)r->state.total_steps, &error);
    if (good && r->state.step > 0 && (int64_t)r->state.step < r->state.total_steps)
        dt_log_say(r->log, "resumes after step %llu of %lld", (unsigned long long)r->state.step,
                   (long long)r->state.total_steps);
    good = good && (train(r, &stopped, &error) || dt_checkpoint_tell(r->folder.path, &error));
    dt_run_release_signals(&r->folder); /* the last checkpoint is written */
    if (good && stopped)
        dt_log_say(r->log, "stopped after step %llu; the same command goes on from there",
                   (unsigned long long)r->state.step);
    else if (good)
        good = finish(r, &error);
    if (!good)
        fprintf(stderr, "duet pretrain: %s\n", error.message);
    else if (!stopped)
        dt_log_say(r->log, "done: %s, %s/report.html", in_run(r, "model.safetensors", path), r->folder.path);
    return good ? stopped ? 130 : DT_EXIT_GOOD : DT_EXIT_FAILURE;
}

int dt_cmd_pretrain(int argc, char **argv)
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
    const dt_usage usage = {"duet pretrain", "CONFIG.json",
                            "Trains an image tower and a text tower together on packed pairs. The folder of the run "
                            "gets config.json, log.jsonl, checkpoints, model.safetensors and report.html. A run that was "
                            "interrupted in any way goes on, to the same bits, when the command is given again.",
                            options, sizeof options / sizeof *options, .least = 1, .most = 1};
    char **arguments, folder[DT_RUN_PATH];
    int count, status = dt_options_parse(&usage, argc, argv, &arguments, &count);
    if (status >= 0)
        return status;
    dt_run_default_folder(arguments[0], folder);
    run r = {.folder = {.path = out ? out : folder}};
    dt_run_catch_signals(&r.folder);
    dt_error error;
    if (!dt_train_config_load(&r.config, arguments[0], set.items, set.count, &error)) {
        fprintf(stderr, "duet pretrain: %s\n", error.message);
        status = DT_EXIT_FAILURE;
    } else {
        status = pretrain(&r, &device, restart, quiet);
    }
    close_run(&r);
    return status;
}
