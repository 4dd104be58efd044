/* `duet finetune`: a classifier from a pretrained tower, through interruptions. */
#define _GNU_SOURCE /* asprintf */
#include "experiments/commands.h"
#include "experiments/load.h"

#include "data/clock.h"
#include "data/file.h"
#include "eval/head.h"
#include "eval/model_file.h"
#include "experiments/checkpoint.h"
#include "experiments/device.h"
#include "experiments/feed.h"
#include "experiments/finetune_results.h"
#include "experiments/finetuner.h"
#include "experiments/options.h"
#include "experiments/run_folder.h"
#include "experiments/shared_options.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TEMPLATES_MAX = 256, BATCH = 128 };

typedef struct run {
    dt_run_folder folder;
    dt_finetune_config config;
    dt_model *model;
    dt_finetune_data data;
    dt_snapshot start;             /* the model before training, for interpolation */
    dt_finetuner *tuner;
    dt_feed *feed;
    dt_logger *log;
    dt_run_state state;
    double started;                /* when this process began to train, less the seconds of earlier ones */
    double last, waited;           /* at the last line of the log */
    int64_t last_step;
} run;

static const char *in_run(const run *r, const char *name, char room[DT_RUN_PATH])
{
    return dt_in_run(r->folder.path, name, room);
}

/* ---- Preparing ---- */

static bool open_model(run *r, bool quiet, dt_error *error)
{
    const dt_finetune_config *c = &r->config;
    dt_tokenizer *tokenizer = NULL;
    if (c->weights)
        return (r->model = dt_load_weights("duet finetune", c->weights, quiet, error)) != NULL;
    if (c->tokenizer && !(tokenizer = dt_tokenizer_load(c->tokenizer, error)))
        return false;
    json_t *json = json_is_string(c->model) ? dt_model_preset(json_string_value(c->model), error) : json_deep_copy(c->model);
    if (json && c->tower == DT_TOWER_IMAGE && !tokenizer) { /* nobody would train its text tower */
        json_object_del(json, "text_cfg");
        json_object_del(json, "init_logit_bias");
        if (!c->on_embedding)
            json_object_del(json, "embed_dim");
    }
    r->model = json ? dt_model_new(json, tokenizer, (uint64_t)c->seed, error) : NULL;
    json_decref(json);
    return r->model != NULL;
}

/* A diverged model is not worth starting from, and its losses would blame the learning rate. */
static bool check_weights(const run *r, dt_error *error)
{
    for (int i = 0; i < dt_params_count(r->model->params); i++) {
        const dt_param_info *info = dt_params_info(r->model->params, i);
        const float *value = dt_params_look(r->model->params, i);
        for (size_t k = 0; k < info->count; k++)
            if (!isfinite(value[k]))
                return dt_fail(error, "%s: %s is not finite at %zu; this model has diverged",
                               r->config.weights ? r->config.weights : "model", info->name, k);
    }
    return true;
}

/* From the class prompts, or from nothing; then what training starts from is kept where it will be compared with. */
static bool make_head(run *r, dt_error *error)
{
    const dt_finetune_config *c = &r->config;
    const dt_finetune_data *d = &r->data;
    const char *templates[TEMPLATES_MAX];
    size_t count = json_array_size(c->templates);
    bool good = true;
    if (count < 1 || count > TEMPLATES_MAX)
        return dt_fail(error, "templates: %zu; expected 1 to %d", count, TEMPLATES_MAX);
    for (size_t t = 0; good && t < count; t++) {
        templates[t] = json_string_value(json_array_get(c->templates, t));
        good = templates[t] ? dt_template_check(templates[t], error) : dt_fail(error, "templates: expected texts");
    }
    const dt_classes classes = {.origin = (char *)c->train, .count = d->class_count, .names = (char **)d->classes};
    if (good && c->zeroshot)
        good = dt_model_head_from_classes(&r->model, c->tower, &classes, templates, count, r->folder.backend, BATCH, (dt_progress){0},
                                          error);
    else if (good)
        good = dt_model_head_new(&r->model, c->tower, c->on_embedding, d->classes, d->class_count, error);
    return good && (!c->interpolate || dt_snapshot_take(&r->start, r->model, error));
}

static bool open_tuner(run *r, bool resumes, dt_error *error)
{
    const dt_finetune_config *c = &r->config;
    dt_finetuner_options o = {.batch_size = c->batch_size, .layers = c->layers, .layer_decay = c->layer_decay,
                              .smoothing = c->smoothing, .mixup = c->mixup, .optimizer = c->optimizer,
                              .seed = (uint64_t)c->seed};
    r->state = (dt_run_state){.settled = true, .best = NAN,
                              .total_steps = (int64_t)(r->data.row_count / (size_t)c->batch_size) * c->epochs};
    r->tuner = dt_finetuner_new(r->model, r->folder.backend, &o, error);
    return r->tuner && (!resumes || dt_checkpoint_restore(r->folder.path, r->model, dt_finetuner_optimizer(r->tuner),
                                                          &r->state, error));
}

/* From the batch of that number on. */
static bool open_feed(run *r, uint64_t batch, dt_error *error)
{
    const dt_finetune_config *c = &r->config;
    dt_feed_options o = {.examples = r->data.train, .rows = r->data.rows, .row_count = r->data.row_count, .model = r->model,
                         .batch_size = c->batch_size, .seed = (uint64_t)c->seed, .batch = batch,
                         .threads = c->threads, .cache_bytes = c->cache_bytes};
    return dt_config_transform(c->augment, &r->model->preprocess, &o.transform, error) &&
           (r->feed = dt_feed_open(&o, error)) != NULL;
}

static bool open_log(run *r, bool resumed, bool quiet, dt_error *error)
{
    char path[DT_RUN_PATH];
    dt_log_options o = {.path = in_run(r, "log.jsonl", path), .resume = resumed, .resume_step = (int64_t)r->state.step,
                        .steps = r->state.total_steps, .quiet = quiet};
    return (r->log = dt_log_open(&o, error)) != NULL;
}

/* The first writing of a run, which replaces what an earlier one left in the folder. */
static bool begin(run *r, bool restart, dt_error *error)
{
    static const char *const left[] = {"best.safetensors", "interpolated.safetensors"};
    char path[DT_RUN_PATH];
    if (!dt_run_start(&r->folder, "finetune", r->config.json, r->model->tokenizer, restart, error))
        return false;
    for (size_t i = 0; i < sizeof left / sizeof *left; i++)
        unlink(in_run(r, left[i], path));
    return true;
}

/* The run's folder must not be the one whose weights it starts from: these would be written over. */
static bool check_folder(const run *r, dt_error *error)
{
    struct stat own, other;
    char folder[DT_RUN_PATH];
    if (!r->config.weights || stat(r->folder.path, &own) || stat(r->config.weights, &other))
        return true;
    if (!S_ISDIR(other.st_mode)) {
        const char *slash = strrchr(r->config.weights, '/');
        snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - r->config.weights) : 1,
                 slash ? r->config.weights : ".");
        if (stat(*folder ? folder : "/", &other))
            return true;
    }
    return own.st_dev != other.st_dev || own.st_ino != other.st_ino ||
           dt_fail(error, "%s is where the weights come from; choose another --out", r->folder.path);
}

static bool prepare(run *r, const dt_device_options *device, bool restart, bool quiet, dt_error *error)
{
    uint64_t step = 0;
    char path[DT_RUN_PATH];
    if (!check_folder(r, error) || (!restart && !dt_run_check_config(&r->folder, r->config.json, NULL, error)) ||
        !open_model(r, quiet, error) || !check_weights(r, error) ||
        !dt_finetune_data_open(&r->data, &r->config, error) ||
        !(r->folder.backend = r->data.backend = dt_device_open(device, DT_DEVICE_SAY_NOTHING, error)) || !make_head(r, error))
        return false;
    bool resumes = !restart && dt_run_checkpoint(r->folder.path, path, sizeof path, &step);
    return open_feed(r, step, error) && open_tuner(r, resumes, error) && dt_run_claim(&r->folder, error) &&
           (resumes || begin(r, restart, error)) && open_log(r, resumes, quiet, error);
}

static void close_run(run *r)
{
    dt_feed_close(r->feed);
    dt_finetuner_free(r->tuner);
    dt_snapshot_free(&r->start);
    dt_finetune_data_close(&r->data);
    dt_model_free(r->model);
    dt_log_close(r->log);
    dt_finetune_config_free(&r->config);
    dt_run_close(&r->folder);
}

/* ---- Training ---- */

static bool log_step(run *r, const dt_finetune_result *result, double rate, dt_error *error)
{
    int64_t step = (int64_t)r->state.step;
    if (step % r->config.log_every && step != r->state.total_steps)
        return true;
    double time = dt_now(), waited = dt_feed_waited(r->feed), span = time - r->last > 1e-9 ? time - r->last : 1e-9;
    const dt_log_value values[] = {{"accuracy", result->accuracy}, {"lr", rate}, {"grad_norm", result->grad_norm}};
    dt_log_step line = {.step = step, .loss = result->loss, .values = values, .value_count = 3,
                        .pairs_per_second = (double)(step - r->last_step) * r->config.batch_size / span,
                        .waiting = (waited - r->waited) / span};
    r->last = time;
    r->waited = waited;
    r->last_step = step;
    return dt_log_add(r->log, &line, error);
}

/* At the end of an epoch: the best so far is kept in best.safetensors, which a repetition after a kill writes the same again.
 * *enough: nothing has become better for `patience` epochs. */
static bool validate(run *r, uint64_t per_epoch, bool *enough, dt_error *error)
{
    char path[DT_RUN_PATH];
    dt_verdict verdict;
    if (!dt_finetune_validate(&r->data, r->model, &verdict, error))
        return false;
    const dt_log_value values[] = {{"accuracy", verdict.accuracy}, {"loss", verdict.loss}};
    if (!dt_log_event(r->log, (int64_t)r->state.step, "validation", values, 2, error))
        return false;
    bool better = !(verdict.accuracy <= r->state.best);
    if (better) {
        r->state.best = verdict.accuracy;
        r->state.best_step = r->state.step;
    }
    uint64_t since = (r->state.step - r->state.best_step) / per_epoch;
    *enough = r->config.patience && since >= (uint64_t)r->config.patience;
    dt_log_say(r->log, "epoch %llu: validation accuracy %.2f %% of %zu, loss %.4f%s",
               (unsigned long long)(r->state.step / per_epoch), 100 * verdict.accuracy, verdict.n, verdict.loss,
               better ? "" : *enough ? " (no better: enough)" : " (no better)");
    return !better || dt_model_save(r->model, in_run(r, "best.safetensors", path), error);
}

static bool save(run *r, dt_error *error)
{
    r->state.seconds = dt_now() - r->started;
    return dt_checkpoint_save(r->folder.path, r->model, dt_finetuner_optimizer(r->tuner), &r->state,
                              r->config.keep_checkpoints, error);
}

static bool one_step(run *r, dt_error *error)
{
    const void *samples;
    const int32_t *labels;
    dt_finetune_result result;
    double rate = dt_config_rate(&r->config.rate, r->state.step, r->state.total_steps);
    if (!dt_feed_next(r->feed, &samples, &labels, error) ||
        !dt_finetuner_step(r->tuner, samples, labels, rate, &result, error))
        return dt_fail_prefix(error, "step %llu", (unsigned long long)r->state.step + 1);
    r->state.step++;
    return log_step(r, &result, rate, error);
}

/* Trains to the end, or to a signal, after which *stopped is set and a checkpoint lies in the run. */
static bool train(run *r, bool *stopped, dt_error *error)
{
    uint64_t per_epoch = dt_feed_batches(r->feed);
    r->started = dt_now() - r->state.seconds;
    r->last = dt_now();
    r->last_step = (int64_t)r->state.step;
    bool enough = false;
    if (r->state.step == 0 && dt_finetune_validated(&r->data) && !validate(r, per_epoch, &enough, error))
        return false; /* the start is the first candidate for the best */
    while ((int64_t)r->state.step < r->state.total_steps) {
        enough = false;
        if (!one_step(r, error))
            return false;
        bool epoch = r->state.step % per_epoch == 0;
        if (epoch && dt_finetune_validated(&r->data) && !validate(r, per_epoch, &enough, error))
            return false;
        if (enough)
            r->state.total_steps = (int64_t)r->state.step;
        *stopped = dt_run_interrupted(&r->folder);
        bool due = epoch || (int64_t)r->state.step % r->config.checkpoint_every == 0;
        if ((*stopped || due) && !save(r, error))
            return false;
        if (*stopped)
            return true;
    }
    return true;
}

static bool finish(run *r, dt_error *error)
{
    const dt_finetune_end end = {.folder = r->folder.path, .model = r->model, .data = &r->data,
                                 .start = r->config.interpolate ? &r->start : NULL, .interpolate = r->config.interpolate,
                                 .seed = (uint64_t)r->config.seed, .log = r->log};
    return dt_finetune_finish(&end, error);
}

static void say_left_out(run *r, const dt_examples *examples)
{
    size_t count = examples ? dt_examples_left_out(examples) : 0;
    if (count)
        dt_log_say(r->log, "%zu samples of %s have no class and are left out", count, dt_examples_path(examples));
}

static int finetune(run *r, const dt_device_options *device, bool restart, bool quiet)
{
    dt_error error;
    bool stopped = false;
    char path[DT_RUN_PATH];
    bool good = prepare(r, device, restart, quiet, &error);
    if (good) {
        good = dt_run_say_device(&r->folder, r->log, r->state.step, (uint64_t)r->state.total_steps, &error);
        say_left_out(r, r->data.train);
        say_left_out(r, r->data.validation);
        for (size_t i = 0; i < r->data.test_count; i++)
            say_left_out(r, r->data.tests[i]);
    }
    if (good && r->state.step > 0 && (int64_t)r->state.step < r->state.total_steps)
        dt_log_say(r->log, "resumes after step %llu of %lld", (unsigned long long)r->state.step,
                   (long long)r->state.total_steps);
    good = good && (train(r, &stopped, &error) || dt_checkpoint_tell(r->folder.path, &error));
    dt_run_release_signals(&r->folder);
    if (good && stopped)
        dt_log_say(r->log, "stopped after step %llu; the same command goes on from there", (unsigned long long)r->state.step);
    else if (good)
        good = finish(r, &error);
    if (!good)
        fprintf(stderr, "duet finetune: %s\n", error.message);
    else if (!stopped)
        dt_log_say(r->log, "done: %s, %s/report.html", in_run(r, "model.safetensors", path), r->folder.path);
    return good ? stopped ? 130 : DT_EXIT_GOOD : DT_EXIT_FAILURE;
}

/* ---- The command line ---- */

/* Overrides "a.b=JSON" in the order in which they take effect. */
typedef struct overrides {
    char *items[512];
    size_t count;
} overrides;

/* Takes over `value`, if anything was `said`. */
static bool override(overrides *o, const char *key, bool said, json_t *value, dt_error *error)
{
    if (!said) {
        json_decref(value);
        return true;
    }
    char *text = value ? dt_json_text(value, 0, error) : NULL, *item = NULL;
    bool good = (value || dt_fail(error, "%s: what was given is not UTF-8", key)) && text &&
                (asprintf(&item, "%s=%s", key, text) >= 0 || dt_fail(error, "out of memory"));
    if (good)
        o->items[o->count++] = item;
    free(text);
    json_decref(value);
    return good;
}

typedef struct words {
    const char *weights, *train, *validation, *tower, *head, *layers;
    int epochs;
    dt_strings test, set;
} words;

static bool override_text(overrides *o, const char *key, const char *text, dt_error *error)
{
    return override(o, key, text != NULL, text ? json_string(text) : NULL, error);
}

/* "all", "head" or a number. */
static bool override_layers(overrides *o, const char *text, dt_error *error)
{
    char *end = NULL;
    long number = text ? strtol(text, &end, 10) : 0;
    return text && *text && !*end ? override(o, "layers", true, json_integer(number), error)
                                  : override_text(o, "layers", text, error);
}

static bool override_list(overrides *o, const char *key, const dt_strings *strings, dt_error *error)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < strings->count; i++)
        if (json_array_append_new(list, json_string(strings->items[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    return override(o, key, strings->count > 0, list, error);
}

static bool gather(overrides *o, const words *w, dt_error *error)
{
    bool good = override_text(o, "weights", w->weights, error) && override_text(o, "tower", w->tower, error) &&
                override_text(o, "head", w->head, error) && override_layers(o, w->layers, error) &&
                override(o, "epochs", w->epochs > 0, json_integer(w->epochs), error) &&
                override_text(o, "data.train", w->train, error) &&
                override_text(o, "data.validation", w->validation, error) &&
                override_list(o, "data.test", &w->test, error);
    for (size_t i = 0; good && i < w->set.count; i++) {
        good = (o->items[o->count] = strdup(w->set.items[i])) || dt_fail(error, "out of memory");
        o->count += good;
    }
    return good;
}

static bool load_config(run *r, const char *file, const words *w, dt_error *error)
{
    overrides o = {.count = 0};
    bool good = gather(&o, w, error) &&
                dt_finetune_config_load(&r->config, file, (const char *const *)o.items, o.count, error);
    for (size_t i = 0; i < o.count; i++)
        free(o.items[i]);
    return good;
}

int dt_cmd_finetune(int argc, char **argv)
{
    const char *out = NULL;
    words w = {.epochs = 0};
    bool restart = false, quiet = false;
    dt_device_options device = {0};
    const dt_option options[] = {
        {"weights", 'w', DT_STRING, &w.weights, "RUN|FILE", .help = "start from " DT_WEIGHTS_HELP},
        {"train", 0, DT_STRING, &w.train, "DATA",
         .help = "what to train on: a pair store or a folder of class folders; for texts also .csv, .tsv, .jsonl"},
        {"validation", 0, DT_STRING, &w.validation, "DATA", .help = "what to choose the best epoch by (default: a tenth of the training data)"},
        {"test", 0, DT_STRINGS, &w.test, "DATA", .help = "what to measure the result on"},
        {"tower", 0, DT_CHOICE, &w.tower, "image|text", .help = "which tower gets a classifier (default: image)"},
        {"head", 0, DT_CHOICE, &w.head, "zeroshot|new", .help = "start from the class prompts' embeddings (default for the image tower of --weights), or from nothing"},
        {"layers", 0, DT_STRING, &w.layers, "all|head|N", .help = "what is trained: everything, the head, or the last N blocks too (default: all)"},
        {"epochs", 0, DT_INT, &w.epochs, "N", .help = "passes over the training data (default: 10)", .least = 1, .most = 1 << 20},
        DT_RUN_OPTION(out, "DIR", ", else runs/finetune)"),
        DT_CONFIG_OPTIONS(w.set, restart, "optimizer.lr=1e-4"),
        DT_DEVICE_OPTIONS(device),
        DT_QUIET_OPTION('q', quiet),
    };
    const dt_usage usage = {"duet finetune", "[CONFIG.json]",
                            "Trains a classifier on one tower of a model, by a configuration, by options, or both (options count "
                            "last; experiments/finetune_config.c names every key). The best epoch on validation is kept. From a zero-shot "
                            "start the accuracy along the way between the old and the new weights is measured too. A run that was "
                            "interrupted in any way goes on, to the same bits, when the command is given again.",
                            options, sizeof options / sizeof *options, .least = 0, .most = 1};
    char **arguments, folder[DT_RUN_PATH];
    int count, status = dt_options_parse(&usage, argc, argv, &arguments, &count);
    if (status >= 0)
        return status;
    if (!count && !w.train && !w.set.count) {
        fprintf(stderr, "duet finetune: nothing to train on; give CONFIG.json, or --weights and --train; see duet finetune --help\n");
        return DT_EXIT_USAGE;
    }
    dt_run_default_folder(count ? arguments[0] : "finetune", folder);
    run r = {.folder = {.path = out ? out : folder}};
    dt_run_catch_signals(&r.folder);
    dt_error error;
    if (!load_config(&r, count ? arguments[0] : NULL, &w, &error)) {
        fprintf(stderr, "duet finetune: %s\n", error.message);
        status = DT_EXIT_FAILURE;
    } else {
        status = finetune(&r, &device, restart, quiet);
    }
    close_run(&r);
    return status;
}
