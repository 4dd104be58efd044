/* Running a suite. */
#include "experiments/suite_parts.h"

#include "data/clock.h"
#include "data/file.h"
#include "data/json.h"
#include "data/labelled_texts.h"
#include "eval/captions.h"
#include "eval/classes.h"
#include "eval/features.h"
#include "eval/fingerprint.h"
#include "eval/probe_json.h"
#include "eval/zeroshot.h"
#include "experiments/device.h"
#include "experiments/judge.h"
#include "experiments/load.h"

#include <stdlib.h>
#include <string.h>

enum { SEED = 1, BATCH = 128, CLASSES_BYTES_MOST = 256 << 20 };

/* What a task works with. */
typedef struct work {
    const dt_suite_options *options;
    const dt_suite_set *set;
    const char *weights, *name; /* name: of the set */
    dt_model *model;
    char *cache; /* folder */
    char fingerprint[DT_FINGERPRINT]; /* of the model */
} work;

/* Features of the data by the cache, which several tasks share. */
static bool features(const work *w, dt_dataset *data, dt_layer layer, dt_features *f, dt_error *error)
{
    const dt_features_options options = {.layer = layer, .cache = w->cache, .weights = w->weights,
                                         .backend = w->options->backend, .progress = w->options->progress};
    return dt_features_of(f, w->model, data, &options, error);
}

static json_t *run_zeroshot(const work *w, dt_error *error)
{
    const dt_suite_set *s = w->set;
    dt_classes *classes = NULL;
    dt_features f = {0};
    dt_zeroshot_result result = {0};
    json_t *found = NULL;
    dt_dataset *data = dt_dataset_open(s->data, error);
    bool good = data && (!s->classes || (classes = dt_classes_load(s->classes, error))) &&
                features(w, data, DT_LAYER_EMBEDDING, &f, error);
    const dt_zeroshot_options options = {.data = data, .name = w->name, .classes = classes, .templates = s->templates,
                                         .template_count = s->template_count, .images = f.rows, .intervals = true,
                                         .backend = w->options->backend,
                                         .progress = w->options->progress};
    if (good && dt_zeroshot_run(w->model, &options, &result, error) && !(found = dt_zeroshot_json(&result)))
        dt_fail(error, "no memory for the results");
    dt_zeroshot_free(&result);
    dt_features_free(&f);
    dt_classes_free(classes);
    dt_dataset_close(data);
    return found;
}

static json_t *run_retrieval(const work *w, dt_error *error)
{
    dt_features f = {0};
    dt_retrieval ranks;
    dt_score scores[DT_RETRIEVAL_SCORES];
    size_t captions, count = 0;
    json_t *found = NULL;
    dt_dataset *data = dt_dataset_open(w->set->data, error);
    if (data && features(w, data, DT_LAYER_EMBEDDING, &f, error) &&
        dt_captions_retrieve(data, f.rows, w->model, w->options->backend, BATCH, w->set->captions, true, w->options->progress,
                             &ranks, &captions, NULL, NULL, error)) {
        dt_retrieval_scores(&ranks, scores, &count);
        found = json_pack("{s:o}", "figures", dt_scores_json(scores, count, w->name));
        if (!found)
            dt_fail(error, "no memory for the results");
    }
    dt_features_free(&f);
    dt_dataset_close(data);
    return found;
}

static bool probe_features(const work *w, const char *path, dt_features *f, dt_error *error)
{
    dt_dataset *data = dt_dataset_open(path, error);
    bool good = data && features(w, data, w->set->after_projection ? DT_LAYER_EMBEDDING : DT_LAYER_FEATURES, f, error);
    dt_dataset_close(data);
    return good;
}

static json_t *run_probe(const work *w, dt_error *error)
{
    const dt_suite_set *s = w->set;
    dt_features train = {0}, validation = {0}, test = {0};
    dt_probe_result result = {0};
    const dt_probe_settings settings = {.set = w->name, .method = "probe", .share = 0.1, .seed = SEED, .shots = s->shots,
                                        .shot_count = s->shot_count, .seeds = (size_t)s->seeds,
                                        .fits = {.progress = w->options->progress}};
    json_t *found = NULL;
    if (probe_features(w, s->train, &train, error) &&
        (!s->validation || probe_features(w, s->validation, &validation, error)) &&
        probe_features(w, s->data, &test, error) &&
        dt_probe_run(&result, &train, s->validation ? &validation : NULL, &test, &settings, error))
        found = dt_probe_json(&result, error);
    dt_probe_result_free(&result);
    dt_features_free(&train);
    dt_features_free(&validation);
    dt_features_free(&test);
    return found;
}

static json_t *run_classify(const work *w, dt_error *error)
{
    size_t classes = (size_t)w->model->head.classes;
    const char **names = malloc((classes + 1) * sizeof *names);
    char name[300];
    snprintf(name, sizeof name, "%s, classifier", w->name);
    dt_examples *examples = NULL;
    json_t *found = NULL;
    bool good = (classes || dt_fail(error, "%s has no classifier; duet finetune makes one", w->weights)) &&
                (names || dt_fail(error, "out of memory"));
    for (size_t c = 0; good && c < classes; c++)
        names[c] = dt_model_class_name(w->model, c);
    if (good && (examples = dt_examples_open(w->set->data, w->model->head.tower, error)) &&
        dt_examples_classes(examples, names, classes, error))
        found = dt_judge_fully(w->model, w->options->backend, examples, name, SEED, error);
    dt_examples_free(examples);
    free(names);
    return found;
}

static bool hash_data(const char *path, uint64_t *hash, dt_error *error)
{
    char text[DT_FINGERPRINT];
    if (dt_is_text_table(path)) {
        size_t size;
        char *bytes = dt_file_read(path, (size_t)1 << 30, &size, error);
        *hash = bytes ? dt_hash_bytes(*hash, bytes, size) : 0;
        free(bytes);
        return bytes;
    }
    dt_dataset *data = dt_dataset_open(path, error);
    bool good = data && dt_dataset_fingerprint(data, text, error);
    dt_dataset_close(data);
    *hash = dt_hash_bytes(*hash, text, good ? strlen(text) : 0);
    return good;
}

static bool hash_file(const char *path, uint64_t *hash, dt_error *error)
{
    size_t size;
    char *bytes = dt_file_read(path, CLASSES_BYTES_MOST, &size, error);
    if (bytes)
        *hash = dt_hash_bytes(*hash, bytes, size);
    free(bytes);
    return bytes;
}

static void hash_text(const char *text, uint64_t *hash)
{
    *hash = dt_hash_bytes(*hash, text, strlen(text) + 1);
}

/* What reads texts depends on the vocabulary, which lies beside the weights. */
static bool hash_tokenizer(const work *w, uint64_t *hash, dt_error *error)
{
    const char *slash = strrchr(w->weights, '/');
    char *folder = dt_is_directory(w->weights) ? strdup(w->weights)
                                               : strndup(slash ? w->weights : ".", slash ? (size_t)(slash - w->weights) : 1);
    char *path = folder ? dt_join(folder, "tokenizer.json") : NULL;
    bool good = path ? !dt_file_exists(path) || hash_file(path, hash, error) : dt_fail(error, "out of memory");
    free(path);
    free(folder);
    return good;
}

/* What the task alone reads of the set. */
static bool hash_settings(const work *w, dt_suite_task task, uint64_t *hash, dt_error *error)
{
    const dt_suite_set *s = w->set;
    bool good = task == DT_TASK_PROBE || hash_tokenizer(w, hash, error);
    if (task == DT_TASK_ZEROSHOT) {
        for (size_t i = 0; i < s->template_count; i++)
            hash_text(s->templates[i], hash);
        if (s->classes) /* a file, or the names themselves */
            good = good && (dt_file_exists(s->classes) ? hash_file(s->classes, hash, error) : (hash_text(s->classes, hash), true));
    } else if (task == DT_TASK_RETRIEVAL) {
        *hash = dt_hash_bytes(*hash, &s->captions, sizeof s->captions);
    } else if (task == DT_TASK_PROBE) {
        *hash = dt_hash_bytes(*hash, s->shots, s->shot_count * sizeof *s->shots);
        *hash = dt_hash_bytes(*hash, &s->seeds, sizeof s->seeds);
        *hash = dt_hash_bytes(*hash, &s->after_projection, sizeof s->after_projection);
        good = hash_data(s->train, hash, error) && (!s->validation || hash_data(s->validation, hash, error));
    }
    return good;
}

/* Equal keys, equal figures: of the model, the data, the task and its settings. */
static bool key_of(const work *w, dt_suite_task task, char key[DT_FINGERPRINT], dt_error *error)
{
    uint64_t hash = 0;
    hash_text(w->fingerprint, &hash);
    hash_text(dt_suite_tasks[task], &hash);
    hash_text(w->name, &hash); /* it stands in the figures' names */
    if (w->options->backend->precision != DT_FP32)
        hash_text(dt_precision_name(w->options->backend->precision), &hash);
    bool good = hash_data(w->set->data, &hash, error) && hash_settings(w, task, &hash, error);
    dt_hash_text16(hash, key);
    return good;
}

static json_t *find(const json_t *results, const char *key)
{
    size_t i;
    json_t *result;
    json_array_foreach((json_t *)results, i, result)
    {
        const char *other = json_string_value(json_object_get(result, "key"));
        if (other && !strcmp(other, key))
            return result;
    }
    return NULL;
}

static bool same_text(const json_t *object, const char *key, const char *text)
{
    const char *own = json_string_value(json_object_get(object, key));
    return own && !strcmp(own, text);
}

static const char *precision_of(const json_t *result)
{
    const char *precision = json_string_value(json_object_get(result, "precision"));
    return precision ? precision : dt_precision_name(DT_FP32);
}

/* What is there from before comes after the new ones: of other suites and other precisions always, of this one until all of it is
 * through. */
static bool write_results(const dt_suite *suite, const dt_suite_options *options, const json_t *before, bool all, dt_error *error)
{
    json_t *list = json_copy(suite->results);
    size_t i;
    json_t *old;
    json_array_foreach((json_t *)before, i, old)
    {
        const char *key = json_string_value(json_object_get(old, "key"));
        bool ours = same_text(old, "suite", suite->name) &&
                    !strcmp(precision_of(old), dt_precision_name(options->backend->precision));
        if (key && !find(list, key) && !(all && ours))
            json_array_append(list, old);
    }
    json_t *whole = json_pack("{s:o}", "results", list);
    bool good = whole ? dt_json_write(options->results, whole, error) : dt_fail(error, "out of memory");
    json_decref(whole);
    return good;
}

static void tell(const work *w, const char *task, const char *outcome)
{
    if (w->options->people)
        fprintf(w->options->people, "%s, %s, %s: %s\n", w->weights, w->name, task, outcome);
}

static json_t *run_task(const work *w, dt_suite_task task, dt_error *error)
{
    switch (task) {
    case DT_TASK_ZEROSHOT: return run_zeroshot(w, error);
    case DT_TASK_RETRIEVAL: return run_retrieval(w, error);
    case DT_TASK_PROBE: return run_probe(w, error);
    default: return run_classify(w, error);
    }
}

/* One entry of the results. Figures from before may have been of the same model at another path. */
static json_t *entry(const dt_suite *suite, const work *w, dt_suite_task task, const char *key, double seconds, json_t *figures)
{
    dt_precision precision = w->options->backend->precision; /* what is there from before has the same: it is in the key */
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s*, s:f, s:O}", "key", key, "suite", suite->name, "weights", w->weights, "set",
                     w->name, "task", dt_suite_tasks[task], "precision",
                     precision == DT_FP32 ? NULL : dt_precision_name(precision), "seconds", seconds, "figures", figures);
}

/* The result of one task, new or from before; NULL: it failed. */
static json_t *one_result(const dt_suite *suite, const work *w, dt_suite_task task, const json_t *before, dt_error *error)
{
    char key[DT_FINGERPRINT], outcome[64] = "done before";
    if (!key_of(w, task, key, error))
        return NULL;
    json_t *done = w->options->again ? NULL : find(before, key), *found = NULL;
    double seconds = json_number_value(json_object_get(done, "seconds")), start = dt_now();
    if (!done) {
        if (!(found = run_task(w, task, error)))
            return NULL;
        dt_device_note(found);
        dt_load_note(found, w->model);
        seconds = dt_now() - start;
        snprintf(outcome, sizeof outcome, "%.1f s", seconds);
    }
    json_t *result = entry(suite, w, task, key, seconds, json_object_get(done ? done : found, "figures"));
    json_decref(found);
    if (result)
        tell(w, dt_suite_tasks[task], outcome);
    else
        dt_fail(error, "no memory for the results, or a name that is not UTF-8");
    return result;
}

/* All tasks of the set with the model. */
static bool run_set(dt_suite *suite, work *w, const json_t *before, size_t *failed, dt_error *error)
{
    for (dt_suite_task task = 0; task < DT_TASKS; task++) {
        dt_error why;
        if (!w->set->tasks[task])
            continue;
        json_t *result = one_result(suite, w, task, before, &why);
        if (!result) {
            ++*failed;
            tell(w, dt_suite_tasks[task], why.message);
        } else if (json_array_append_new(suite->results, result)) {
            return dt_fail(error, "no memory for the results");
        } else if (!write_results(suite, w->options, before, false, error)) {
            return false;
        }
    }
    return true;
}

static void close_model(work *w)
{
    dt_model_free(w->model);
    free(w->cache);
    w->model = NULL;
    w->cache = NULL;
}

/* Sets often follow one another with the same model, which then stays. */
static bool open_model(work *w, const char *weights, dt_error *error)
{
    if (w->model && !strcmp(weights, w->weights))
        return true;
    close_model(w);
    w->weights = weights;
    w->model = dt_load_weights("duet evaluate", weights, !w->options->people, error);
    w->cache = w->model ? dt_features_folder(weights) : NULL;
    if (w->cache && dt_model_fingerprint(w->model, w->fingerprint, error))
        return true;
    if (w->model && !w->cache)
        dt_fail(error, "out of memory");
    close_model(w);
    return false;
}

static bool run_all(dt_suite *suite, const dt_suite_options *options, const json_t *before, size_t *failed, dt_error *error)
{
    work w = {.options = options};
    bool good = true;
    for (size_t i = 0; good && i < suite->set_count; i++) {
        const char *weights;
        w.set = &suite->sets[i];
        w.name = w.set->name;
        for (size_t k = 0; good && (weights = dt_suite_weights(w.set->weights, k)); k++) {
            dt_error why;
            if (open_model(&w, weights, &why)) {
                good = run_set(suite, &w, before, failed, error);
            } else {
                for (dt_suite_task task = 0; task < DT_TASKS; task++)
                    *failed += w.set->tasks[task];
                if (options->people)
                    fprintf(options->people, "%s\n", why.message);
            }
        }
    }
    close_model(&w);
    return good;
}

bool dt_suite_run(dt_suite *suite, const dt_suite_options *options, size_t *failed, dt_error *error)
{
    json_t *file = NULL;
    *failed = 0;
    if (dt_file_exists(options->results) && !(file = dt_json_load(options->results, error)))
        return false;
    const json_t *before = json_object_get(file, "results");
    bool good = (!file || json_is_array(before) ||
                 dt_fail(error, "%s: there is no list of results in it; choose another --out", options->results)) &&
                run_all(suite, options, before, failed, error) &&
                write_results(suite, options, before, !*failed, error);
    json_decref(file);
    return good;
}
