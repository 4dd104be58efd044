#include "experiments/generative.h"

#include "data/clock.h"
#include "data/file.h"
#include "data/sheet.h"
#include "eval/dataset.h"
#include "eval/findings.h"
#include "eval/model_file.h"
#include "eval/report/report.h"
#include "experiments/commands.h"
#include "experiments/options.h"
#include "kernels/random.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DRAWING = 0x64726177, FEW = 64 }; /* a stream of random numbers far from those of graphs; images read at a time */

/* ---- The configuration ---- */

const char *const dt_generative_free_keys[] = {
    "name", "description", "data.test", "data.threads", "data.cache_mb", "checkpoint", "log_every", "evaluate", "pictures", "measure",
    NULL};

static bool read_data(dt_generative_config *c, const json_t *data, const char *file, dt_error *error)
{
    double cache_mb = 0;
    const dt_json_field fields[] = {
        {"train", DT_JSON_ANY, &c->train, .required = false},
        {"test", DT_JSON_STRING, &c->test, .required = false},
        {"threads", DT_JSON_INT, &c->threads, .least = 0, .most = 256},
        {"cache_mb", DT_JSON_DOUBLE, &cache_mb, .least = 0, .most = 1 << 20},
    };
    if (!dt_json_read(data, file, "data", fields, sizeof fields / sizeof *fields, error))
        return false;
    c->cache_bytes = (size_t)(cache_mb * 1048576);
    return !c->train || json_is_string(c->train) || json_is_array(c->train) ||
           dt_fail(error, "%s: data.train: expected a path or a list of paths, found %s", file, dt_json_kind_name(c->train));
}

static bool read_measure(dt_generative_config *c, const json_t *measure, const char *file, dt_error *error)
{
    const char *layer = "features";
    const dt_json_field fields[] = {
        {"weights", DT_JSON_STRING, &c->measure, .required = false},
        {"layer", DT_JSON_STRING, &layer, .choices = "features|embedding"},
        {"count", DT_JSON_INT, &c->measure_count, .least = 2, .most = 10000000},
    };
    bool good = dt_json_read(measure, file, "measure", fields, sizeof fields / sizeof *fields, error);
    c->measure_layer = strcmp(layer, "features") ? DT_LAYER_EMBEDDING : DT_LAYER_FEATURES;
    return good;
}

bool dt_generative_read(dt_generative_config *c, const dt_generative_parts *parts, const char *file, dt_error *error)
{
    const dt_json_field pictures[] = {
        {"every", DT_JSON_INT64, &c->pictures_every, .least = 0, .most = 1e15},
        {"count", DT_JSON_INT, &c->picture_count, .least = 1, .most = 4096},
    };
    if (!read_data(c, parts->data, file, error) || !dt_config_schedule(parts->schedule, file, &c->rate, error) ||
        !dt_config_checkpoint(parts->checkpoint, file, &c->checkpoint_every, &c->keep_checkpoints, error) ||
        !dt_json_read(parts->pictures, file, "pictures", pictures, 2, error) ||
        !read_measure(c, parts->measure, file, error))
        return false;
    if (!json_is_object(c->model))
        return dt_fail(error, "%s: model: expected a description or the path of one, found %s", file, dt_json_kind_name(c->model));
    return (c->steps > 0) != (c->epochs > 0) ||
           dt_fail(error, "%s: expected \"steps\" or \"epochs\", one of the two; found %s", file,
                   c->steps > 0 ? "both" : "neither");
}

/* ---- Preparing ---- */

dt_model *dt_generative_model(const dt_generative *r, const json_t *description, dt_error *error)
{
    char path[DT_RUN_PATH];
    struct stat file;
    const char *weights = r->config.weights;
    dt_model *model = dt_model_new(description, NULL, (uint64_t)r->config.seed, error);
    if (!model || !weights)
        return model;
    bool folder = stat(weights, &file) == 0 && S_ISDIR(file.st_mode);
    if ((!folder || dt_run_weights(weights, path, sizeof path, error)) && dt_model_read(model, folder ? path : weights, error))
        return model;
    dt_fail_prefix(error, "weights");
    dt_model_free(model);
    return NULL;
}

bool dt_generative_open_data(dt_generative *r, dt_error *error)
{
    r->pairs = dt_config_open_pairs(r->config.train, error);
    return r->pairs && dt_config_check_batch(r->config.batch_size, dt_pairs_count(r->pairs), "pictures", error);
}

static bool open_loader(dt_generative *r, const dt_recipe *recipe, dt_error *error)
{
    const dt_generative_config *c = &r->config;
    dt_loader_options o = {.pairs = r->pairs, .batch_size = c->batch_size, .drop_last = true, .shuffle = true,
                           .tokenizer = r->tokenizer, .context = r->context, .class_caption = r->class_caption,
                           .seed = (uint64_t)c->seed, .batch = r->state.step, .threads = c->threads,
                           .cache_bytes = c->cache_bytes};
    return !r->pairs || (dt_config_transform(c->augment, &recipe->model->preprocess, &o.transform, error) &&
                         (r->loader = dt_loader_open(&o, error)) != NULL);
}

static bool open_log(dt_generative *r, bool resumed, dt_error *error)
{
    char path[DT_RUN_PATH];
    dt_log_options o = {.path = dt_in_run(r->folder.path, "log.jsonl", path), .resume = resumed,
                        .resume_step = (int64_t)r->state.step, .steps = r->state.total_steps, .quiet = r->quiet};
    return (r->log = dt_log_open(&o, error)) != NULL;
}

/* Pictures of an earlier training in this folder. */
static void remove_pictures(const dt_generative *r)
{
    char path[DT_RUN_PATH], file[DT_RUN_PATH + 300];
    DIR *folder = opendir(dt_in_run(r->folder.path, "pictures", path));
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        size_t length = strlen(entry->d_name);
        snprintf(file, sizeof file, "%s/%s", path, entry->d_name);
        if (length > 4 && !strcmp(entry->d_name + length - 4, ".png"))
            unlink(file); /* one that stays does no harm */
    }
    if (folder)
        closedir(folder);
}

static bool prepare(dt_generative *r, const dt_recipe *recipe, bool restart, dt_error *error)
{
    uint64_t step = 0;
    char path[DT_RUN_PATH];
    int64_t epoch = r->pairs ? (int64_t)(dt_pairs_count(r->pairs) / (uint64_t)r->config.batch_size) : 1;
    bool resumes = !restart && dt_run_checkpoint(r->folder.path, path, sizeof path, &step);
    r->state = (dt_run_state){.settled = true, .best = NAN, .extras = recipe->extras, .extra_count = recipe->extra_count,
                              .total_steps = r->config.epochs ? r->config.epochs * epoch : r->config.steps};
    if (!dt_run_claim(&r->folder, error))
        return false;
    if (resumes ? !dt_checkpoint_restore(r->folder.path, recipe->model, recipe->optimizer, &r->state, error)
                : !dt_run_start(&r->folder, recipe->command, r->json, NULL, restart, error))
        return false;
    if (!resumes)
        remove_pictures(r);
    if (resumes && recipe->restored)
        recipe->restored(recipe->self, r->state.step);
    return open_loader(r, recipe, error) && open_log(r, resumes, error);
}

void dt_generative_close(dt_generative *r)
{
    dt_loader_close(r->loader);
    dt_pairs_close(r->pairs);
    dt_log_close(r->log);
    json_decref(r->json);
    dt_run_close(&r->folder);
}

/* ---- Training ---- */

static bool log_step(dt_generative *r, const dt_step_found *found, double rate, dt_error *error)
{
    int64_t step = (int64_t)r->state.step;
    if (step % r->config.log_every && step != r->state.total_steps)
        return true;
    double time = dt_now(), waited = r->loader ? dt_loader_get_stats(r->loader).waited : 0;
    double span = time - r->last > 1e-9 ? time - r->last : 1e-9;
    dt_step_found all = *found;
    dt_found(&all, "lr", rate);
    dt_log_step line = {.step = step, .loss = found->loss, .values = all.values, .value_count = all.count,
                        .pairs_per_second = (double)(step - r->last_step) * r->config.batch_size / span,
                        .waiting = (waited - r->waited) / span};
    r->last = time;
    r->waited = waited;
    r->last_step = step;
    return dt_log_add(r->log, &line, error);
}

static bool one_step(dt_generative *r, const dt_recipe *recipe, dt_error *error)
{
    dt_batch batch;
    dt_step_found found = {.loss = NAN};
    double rate = dt_config_rate(&r->config.rate, r->state.step, r->state.total_steps);
    if ((r->loader && !dt_loader_next(r->loader, &batch, error)) ||
        !recipe->step(recipe->self, r->loader ? &batch : NULL, r->state.step, rate, &found, error))
        return dt_fail_prefix(error, "step %" PRIu64, r->state.step + 1);
    r->state.step++;
    return log_step(r, &found, rate, error);
}

/* The last update may have spoilt what no loss has seen yet: then the checkpoint before it stays. */
static bool check_finite(const dt_recipe *recipe, dt_error *error)
{
    dt_params *params = recipe->model->params;
    for (int i = 0; i < dt_params_count(params); i++) {
        const dt_param_info *info = dt_params_info(params, i);
        const float *value = dt_params_look(params, i);
        for (size_t k = 0; k < info->count; k++)
            if (!isfinite(value[k]))
                return dt_fail(error, "after the update %s holds %g at %zu. A lower learning rate, a warm-up or clip_norm may help",
                               info->name, (double)value[k], k);
    }
    return true;
}

static bool save(dt_generative *r, const dt_recipe *recipe, dt_error *error)
{
    if (!check_finite(recipe, error))
        return dt_fail_prefix(error, "step %" PRIu64, r->state.step);
    r->state.seconds = dt_now() - r->started;
    if (recipe->gather)
        recipe->gather(recipe->self);
    return dt_checkpoint_save(r->folder.path, recipe->model, recipe->optimizer, &r->state, r->config.keep_checkpoints, error);
}

static bool due(int64_t step, int64_t every)
{
    return every && step % every == 0;
}

/* Trains to the end, or to a signal, after which *stopped is set and a checkpoint lies in the run. Pictures and figures are
 * functions of the parameters and the step: what a killed process has made is made again, to the same bits. */
static bool train(dt_generative *r, const dt_recipe *recipe, bool *stopped, dt_error *error)
{
    r->started = dt_now() - r->state.seconds;
    r->last = dt_now();
    r->last_step = (int64_t)r->state.step;
    while ((int64_t)r->state.step < r->state.total_steps) {
        if (!one_step(r, recipe, error))
            return false;
        int64_t step = (int64_t)r->state.step;
        bool end = step == r->state.total_steps;
        if (!end && due(step, recipe->evaluate_every) && !recipe->evaluate(recipe->self, r, error))
            return false;
        if (!end && due(step, r->config.pictures_every) && !recipe->paint(recipe->self, r, false, error))
            return false;
        *stopped = dt_run_interrupted(&r->folder);
        if ((*stopped || end || due(step, r->config.checkpoint_every)) && !save(r, recipe, error))
            return false;
        if (*stopped)
            return true;
    }
    return true;
}

static bool finish(dt_generative *r, const dt_recipe *recipe, dt_error *error)
{
    return recipe->paint(recipe->self, r, true, error) && recipe->finish(recipe->self, r, error) &&
           dt_report_write(r->folder.path, error);
}

int dt_generative_run(dt_generative *r, const dt_recipe *recipe, bool restart)
{
    dt_error error;
    bool stopped = false;
    bool good = prepare(r, recipe, restart, &error);
    uint64_t step = r->state.step;
    good = good && dt_run_say_device(&r->folder, r->log, step, (uint64_t)r->state.total_steps, &error);
    if (good && step > 0 && (int64_t)step < r->state.total_steps)
        dt_log_say(r->log, "resumes after step %" PRIu64 " of %" PRId64, step, r->state.total_steps);
    good = good && (train(r, recipe, &stopped, &error) || dt_checkpoint_tell(r->folder.path, &error));
    dt_run_release_signals(&r->folder); /* the last checkpoint is written */
    if (good && stopped)
        dt_log_say(r->log, "stopped after step %" PRIu64 "; the same command goes on from there", r->state.step);
    else if (good)
        good = finish(r, recipe, &error);
    if (good && !stopped)
        dt_log_say(r->log, "done: %s/model.safetensors, %s/report.html", r->folder.path, r->folder.path);
    if (good)
        return stopped ? 130 : DT_EXIT_GOOD;
    fprintf(stderr, "duet %s: %s\n", recipe->command, error.message);
    return DT_EXIT_FAILURE;
}

/* ---- What a run has to show ---- */

bool dt_generative_found(const dt_generative *r, json_t *found, dt_error *error)
{
    char path[DT_RUN_PATH];
    bool good = (found || dt_fail(error, "out of memory")) &&
                dt_findings_merge(dt_in_run(r->folder.path, "evaluation.json", path), found, error);
    json_decref(found);
    return good;
}

bool dt_generative_figure(const dt_generative *r, const char *name, const char *key, double value, size_t n, const char *note,
                          dt_error *error)
{
    if (!isfinite(value))
        return dt_fail(error, "%s is %g: the training has diverged", name, value);
    return dt_generative_found(r, json_pack("{s: [{s: s, s: s, s: f, s: I, s: s, s: b}]}", "figures", "name", name, "key", key,
                                            "value", value, "n", (json_int_t)n, "note", note, "rank", 1), error);
}

bool dt_generative_picture(const dt_generative *r, const char *name, const char *file, const char *group, const char *caption,
                           dt_error *error)
{
    return dt_generative_found(r, json_pack("{s: [{s: s, s: s, s: s, s: s, s: I}]}", "pictures", "name", name, "file", file, "caption",
                                            caption, "group", group, "step", (json_int_t)r->state.step), error);
}

bool dt_generative_sheet(const dt_generative *r, const dt_titled_sheet *s, dt_error *error)
{
    char kept[128], latest[128], name[128], path[DT_RUN_PATH];
    snprintf(latest, sizeof latest, "%s.png", s->name);
    snprintf(kept, sizeof kept, "pictures/%s-%08" PRIu64 ".png", s->name, r->state.step);
    snprintf(name, sizeof name, s->keep ? "%s, step %" PRIu64 : "%s", s->name, r->state.step);
    if (!dt_sheet_write(dt_in_run(r->folder.path, latest, path), &s->sheet, error))
        return false;
    if (s->keep && (!dt_make_directories(dt_in_run(r->folder.path, "pictures", path), error) ||
                    !dt_sheet_write(dt_in_run(r->folder.path, kept, path), &s->sheet, error)))
        return false;
    return dt_generative_picture(r, name, s->keep ? kept : latest, s->group, s->caption, error);
}

void dt_draw_normals(uint64_t seed, float *numbers, size_t count)
{
    for (size_t i = 0; i < count; i += 4) {
        dt_philox words = dt_random_block(seed, DRAWING, 0, i / 4);
        float four[4];
        dt_random_normal(words.v[0], words.v[1], &four[0], &four[1]);
        dt_random_normal(words.v[2], words.v[3], &four[2], &four[3]);
        memcpy(numbers + i, four, sizeof(float) * (count - i < 4 ? count - i : 4));
    }
}

void dt_draw_between(const float *ends, size_t ways, size_t latent, float *z)
{
    for (size_t i = 0; i < ways * DT_BETWEEN * latent; i++) {
        const float *way = ends + 2 * (i / latent / DT_BETWEEN) * latent;
        float share = (float)(i / latent % DT_BETWEEN) / (DT_BETWEEN - 1);
        z[i] = (1 - share) * way[i % latent] + share * way[latent + i % latent];
    }
}

/* A loader of *count images evenly spread over the data, or of as many as there are. The caller closes both, and frees rows. */
typedef struct spread {
    dt_dataset *data;
    dt_loader *loader;
    uint64_t *rows;
} spread;

static bool open_spread(spread *s, const dt_model *model, const char *path, int batch, int *count, dt_error *error)
{
    *s = (spread){.data = dt_dataset_open(path, error)};
    if (!s->data)
        return false;
    size_t all = dt_dataset_count(s->data), wanted = (size_t)*count < all ? (size_t)*count : all;
    if (!(s->rows = calloc(wanted, sizeof *s->rows)))
        return dt_fail(error, "out of memory");
    for (size_t i = 0; i < wanted; i++)
        s->rows[i] = i * all / wanted;
    *count = (int)wanted;
    dt_loader_options o = {.pairs = dt_dataset_pairs(s->data), .files = dt_dataset_files(s->data),
                           .batch_size = batch < *count ? batch : *count, .rows = s->rows, .row_count = wanted, .epochs = 1,
                           .transform = model->preprocess};
    return (s->loader = dt_loader_open(&o, error)) != NULL;
}

static void close_spread(spread *s)
{
    dt_loader_close(s->loader);
    dt_dataset_close(s->data);
    free(s->rows);
}

static size_t image_numbers(const dt_model *model)
{
    return (size_t)model->preprocess.size * (size_t)model->preprocess.size * 3;
}

float *dt_some_images(const dt_model *model, const char *path, int *count, dt_error *error)
{
    spread s;
    dt_batch batch;
    size_t numbers = image_numbers(model), done = 0;
    bool good = open_spread(&s, model, path, FEW, count, error);
    float *images = good ? calloc((size_t)*count * numbers, sizeof *images) : NULL;
    good = good && (images || dt_fail(error, "no memory for %d images", *count));
    while (good && (good = dt_loader_next(s.loader, &batch, error)) && batch.count) {
        memcpy(images + done * numbers, batch.images, sizeof(float) * (size_t)batch.count * numbers);
        done += (size_t)batch.count;
    }
    close_spread(&s);
    if (good)
        return images;
    free(images);
    return NULL;
}

float *dt_mean_image(const dt_model *model, const char *path, int count, dt_error *error)
{
    spread s;
    dt_batch batch;
    size_t numbers = image_numbers(model);
    float *mean = calloc(numbers, sizeof *mean);
    bool good = open_spread(&s, model, path, FEW, &count, error) && (mean || dt_fail(error, "out of memory"));
    while (good && (good = dt_loader_next(s.loader, &batch, error)) && batch.count)
        for (size_t i = 0; i < (size_t)batch.count * numbers; i++)
            mean[i % numbers] += batch.images[i] / (float)count;
    close_spread(&s);
    if (good)
        return mean;
    free(mean);
    return NULL;
}
