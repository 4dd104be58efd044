#include "experiments/suite.h"

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
#include "experiments/judge.h"

#include <stdlib.h>
#include <string.h>

enum { TEMPLATES_MAX = 256, TASKS = 4, SEED = 1, BATCH = 128 };

typedef struct set {
    const json_t *json;    /* the entry itself */
    const json_t *weights; /* its own; NULL: the suite's */
    const char *name, *data, *train, *validation, *classes;
    const char *templates[TEMPLATES_MAX];
    size_t template_count, captions, shots[DT_SHOTS_MAX], shot_count;
    int seeds;
    bool after_projection, tasks[TASKS];
    char short_name[256];
} set;

struct dt_suite {
    json_t *json;
    const char *name;
    const json_t *weights; /* a path or a list of paths, for all sets that have none of their own */
    set *sets;
    size_t set_count;
    json_t *results;
};

/* What a task works with. */
typedef struct work {
    const dt_suite_options *options;
    const set *set;
    const char *weights, *name; /* name: of the set */
    dt_model *model;
    char *cache; /* folder */
    char fingerprint[DT_FINGERPRINT]; /* of the model */
} work;

/* Each gives an object with "figures" (eval/findings.h), owned by the caller. */
static json_t *run_zeroshot(const work *w, dt_error *error);
static json_t *run_retrieval(const work *w, dt_error *error);
static json_t *run_probe(const work *w, dt_error *error);
static json_t *run_classify(const work *w, dt_error *error);

static const struct task {
    const char *name;
    json_t *(*run)(const work *w, dt_error *error);
} tasks[TASKS] = {{"zeroshot", run_zeroshot}, {"retrieval", run_retrieval}, {"probe", run_probe}, {"classify", run_classify}};

/* ---- Reading ---- */

static bool read_tasks(set *s, const json_t *list, const char *file, dt_error *error)
{
    if (!json_array_size(list))
        return dt_fail(error, "%s: sets: tasks: expected a list of zeroshot, retrieval, probe, classify", file);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *word = json_string_value(json_array_get(list, i));
        size_t t = 0;
        while (word && t < TASKS && strcmp(tasks[t].name, word))
            t++;
        if (!word || t == TASKS)
            return dt_fail(error, "%s: sets: tasks[%zu]: expected zeroshot, retrieval, probe or classify, found %s", file, i,
                           word ? word : dt_json_kind_name(json_array_get(list, i)));
        s->tasks[t] = true;
    }
    return !s->tasks[2] || s->train ||
           dt_fail(error, "%s: the set %s has the task probe, but no \"train\" data", file, s->name);
}

static bool read_lists(set *s, const json_t *templates, const json_t *shots, const char *file, dt_error *error)
{
    if (json_array_size(templates) > TEMPLATES_MAX || json_array_size(shots) > DT_SHOTS_MAX)
        return dt_fail(error, "%s: sets: at most %d templates and %d numbers of shots are possible", file, TEMPLATES_MAX,
                       DT_SHOTS_MAX);
    for (size_t i = 0; i < json_array_size(templates); i++) {
        const char *text = json_string_value(json_array_get(templates, i));
        if (!text || !dt_template_check(text, error))
            return text ? dt_fail_prefix(error, "%s: sets", file) : dt_fail(error, "%s: sets: templates: expected texts", file);
        s->templates[s->template_count++] = text;
    }
    for (size_t i = 0; i < json_array_size(shots); i++) {
        json_int_t number = json_integer_value(json_array_get(shots, i));
        if (number < 1)
            return dt_fail(error, "%s: sets: shots: expected whole numbers from 1", file);
        s->shots[s->shot_count++] = (size_t)number;
    }
    return true;
}

/* A path or a list of paths. */
static bool check_weights(const json_t *weights, const char *file, const char *path, dt_error *error)
{
    bool good = json_is_string(weights) || json_array_size(weights);
    for (size_t i = 0; i < json_array_size(weights); i++)
        good &= json_is_string(json_array_get(weights, i));
    return good || dt_fail(error, "%s: %sweights: expected a path or a list of paths", file, path);
}

static bool read_set(set *s, const json_t *json, const char *file, dt_error *error)
{
    const json_t *task_list = NULL, *templates = NULL, *shots = NULL;
    s->json = json;
    s->seeds = 3;
    const dt_json_field fields[] = {
        {"name", DT_JSON_STRING, &s->name, .required = false},
        {"data", DT_JSON_STRING, &s->data, .required = true},
        {"train", DT_JSON_STRING, &s->train, .required = false},
        {"validation", DT_JSON_STRING, &s->validation, .required = false},
        {"tasks", DT_JSON_ARRAY, &task_list, .required = true},
        {"templates", DT_JSON_ARRAY, &templates, .required = false},
        {"classes", DT_JSON_STRING, &s->classes, .required = false},
        {"captions", DT_JSON_SIZE, &s->captions, .required = false},
        {"shots", DT_JSON_ARRAY, &shots, .required = false},
        {"seeds", DT_JSON_INT, &s->seeds, .least = 1, .most = DT_SHOT_SEEDS_MAX},
        {"after_projection", DT_JSON_BOOL, &s->after_projection, .required = false},
        {"weights", DT_JSON_ANY, &s->weights, .required = false},
    };
    if (!dt_json_read(json, file, "sets", fields, sizeof fields / sizeof *fields, error))
        return false;
    if (!s->name)
        s->name = dt_dataset_stem(s->data, s->short_name, sizeof s->short_name);
    if (json_is_null(s->weights))
        s->weights = NULL;
    return (!s->weights || check_weights(s->weights, file, "sets: ", error)) &&
           read_lists(s, templates, shots, file, error) && read_tasks(s, task_list, file, error);
}

static const char *weights_at(const json_t *weights, size_t i)
{
    return json_string_value(json_is_string(weights) ? i ? NULL : weights : json_array_get(weights, i));
}

static bool read_suite(dt_suite *suite, const char *file, dt_error *error)
{
    const json_t *sets = NULL;
    suite->name = "suite";
    const dt_json_field fields[] = {
        {"name", DT_JSON_STRING, &suite->name, .required = false},
        {"description", DT_JSON_STRING, NULL, .required = false},
        {"weights", DT_JSON_ANY, &suite->weights, .required = false},
        {"sets", DT_JSON_ARRAY, &sets, .required = true},
    };
    if (!dt_json_read(suite->json, file, "", fields, sizeof fields / sizeof *fields, error) ||
        (suite->weights && !check_weights(suite->weights, file, "", error)))
        return false;
    size_t count = json_array_size(sets);
    suite->sets = calloc(count + 1, sizeof *suite->sets);
    if (!suite->sets || !count)
        return dt_fail(error, count ? "out of memory" : "%s: sets: there are none", file);
    for (size_t i = 0; i < count; i++) {
        set *s = &suite->sets[suite->set_count++];
        if (!read_set(s, json_array_get(sets, i), file, error))
            return false;
        s->weights = s->weights ? s->weights : suite->weights;
        if (!s->weights)
            return dt_fail(error, "%s: neither the suite nor the set %s has \"weights\"", file, s->name);
    }
    return true;
}

dt_suite *dt_suite_load(const char *path, dt_error *error)
{
    dt_suite *suite = calloc(1, sizeof *suite);
    if (suite && (suite->results = json_array()) && (suite->json = dt_json_load(path, error)) &&
        read_suite(suite, path, error))
        return suite;
    if (!suite || !suite->results)
        dt_fail(error, "out of memory");
    dt_suite_free(suite);
    return NULL;
}

void dt_suite_free(dt_suite *suite)
{
    if (!suite)
        return;
    json_decref(suite->json);
    json_decref(suite->results);
    free(suite->sets);
    free(suite);
}

const json_t *dt_suite_results(const dt_suite *suite)
{
    return suite->results;
}

/* ---- The tasks ---- */

/* Features of the data by the cache, which several tasks share. */
static bool features(const work *w, dt_dataset *data, dt_layer layer, dt_features *f, dt_error *error)
{
    const dt_features_options options = {.layer = layer, .cache = w->cache, .weights = w->weights,
                                         .progress = w->options->progress};
    return dt_features_of(f, w->model, data, &options, error);
}

static json_t *run_zeroshot(const work *w, dt_error *error)
{
    const set *s = w->set;
    dt_classes *classes = NULL;
    dt_features f = {0};
    dt_zeroshot_result result = {0};
    json_t *found = NULL;
    dt_dataset *data = dt_dataset_open(s->data, error);
    bool good = data && (!s->classes || (classes = dt_classes_load(s->classes, error))) &&
                features(w, data, DT_LAYER_EMBEDDING, &f, error);
    const dt_zeroshot_options options = {.data = data, .name = w->name, .classes = classes, .templates = s->templates,
                                         .template_count = s->template_count, .images = f.rows, .intervals = true,
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
        dt_captions_retrieve(data, f.rows, w->model, dt_cpu(), BATCH, w->set->captions, w->options->progress, &ranks,
                             &captions, NULL, NULL, error)) {
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
    const set *s = w->set;
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
    dt_examples *examples = NULL;
    json_t *found = NULL;
    bool good = (classes || dt_fail(error, "%s has no classifier; duet finetune makes one", w->weights)) &&
                (names || dt_fail(error, "out of memory"));
    for (size_t c = 0; good && c < classes; c++)
        names[c] = dt_model_class_name(w->model, c);
    if (good && (examples = dt_examples_open(w->set->data, w->model->head.tower, error)) &&
        dt_examples_classes(examples, names, classes, error))
        found = dt_judge_fully(w->model, examples, w->name, SEED, error);
    dt_examples_free(examples);
    free(names);
    return found;
}

/* ---- Running ---- */

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

/* Equal keys, equal figures: the model, the data, and the set's entry with the task. */
static bool key_of(const work *w, const char *task, char key[DT_FINGERPRINT], dt_error *error)
{
    char *entry = dt_json_text(w->set->json, 0, error);
    if (!entry)
        return false;
    uint64_t hash = dt_hash_bytes(0, w->fingerprint, strlen(w->fingerprint));
    hash = dt_hash_bytes(hash, task, strlen(task));
    hash = dt_hash_bytes(hash, entry, strlen(entry));
    free(entry);
    bool good = hash_data(w->set->data, &hash, error) && (!w->set->train || hash_data(w->set->train, &hash, error)) &&
                (!w->set->validation || hash_data(w->set->validation, &hash, error));
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

/* What is there from before comes after the new ones: an interrupted run forgets nothing. */
static bool write_results(const dt_suite *suite, const dt_suite_options *options, const json_t *before, bool all, dt_error *error)
{
    json_t *list = json_copy(suite->results);
    size_t i;
    json_t *old;
    json_array_foreach((json_t *)before, i, old)
    {
        const char *key = json_string_value(json_object_get(old, "key"));
        if (!all && key && !find(list, key))
            json_array_append(list, old);
    }
    json_t *whole = json_pack("{s:s, s:o}", "suite", suite->name, "results", list);
    bool good = whole ? dt_json_write(options->results, whole, error) : dt_fail(error, "out of memory");
    json_decref(whole);
    return good;
}

static void tell(const work *w, const char *task, const char *outcome)
{
    if (w->options->people)
        fprintf(w->options->people, "%s, %s, %s: %s\n", w->weights, w->name, task, outcome);
}

/* The result of one task, new or from before; NULL: it failed. */
static json_t *one_result(const work *w, const struct task *task, const json_t *before, dt_error *error)
{
    char key[DT_FINGERPRINT], outcome[64];
    if (!key_of(w, task->name, key, error))
        return NULL;
    json_t *done = w->options->again ? NULL : find(before, key);
    if (done) {
        tell(w, task->name, "done before");
        return json_incref(done);
    }
    double start = dt_now();
    json_t *found = task->run(w, error);
    if (!found)
        return NULL;
    double seconds = dt_now() - start;
    snprintf(outcome, sizeof outcome, "%.1f s", seconds);
    tell(w, task->name, outcome);
    json_t *result = json_pack("{s:s, s:s, s:s, s:s, s:f, s:O}", "key", key, "weights", w->weights, "set", w->name, "task",
                               task->name, "seconds", seconds, "figures", json_object_get(found, "figures"));
    json_decref(found);
    if (!result)
        dt_fail(error, "no memory for the results, or a name that is not UTF-8");
    return result;
}

/* All tasks of the set with the model. */
static bool run_set(dt_suite *suite, work *w, const json_t *before, size_t *failed, dt_error *error)
{
    for (size_t t = 0; t < TASKS; t++) {
        dt_error why;
        if (!w->set->tasks[t])
            continue;
        json_t *result = one_result(w, &tasks[t], before, &why);
        if (!result) {
            ++*failed;
            tell(w, tasks[t].name, why.message);
        } else if (json_array_append_new(suite->results, result) ||
                   !write_results(suite, w->options, before, false, error)) {
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
    w->model = dt_model_load(weights, error);
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
        for (size_t k = 0; good && (weights = weights_at(w.set->weights, k)); k++) {
            dt_error why;
            if (open_model(&w, weights, &why)) {
                good = run_set(suite, &w, before, failed, error);
            } else {
                ++*failed;
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
