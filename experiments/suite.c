#include "experiments/suite_parts.h"

#include "data/json.h"
#include "eval/classes.h"

#include <stdlib.h>
#include <string.h>

typedef dt_suite_set set;

const char *const dt_suite_tasks[DT_TASKS] = {"zeroshot", "retrieval", "probe", "classify"};

static bool read_tasks(set *s, const json_t *list, const char *file, dt_error *error)
{
    if (!json_array_size(list))
        return dt_fail(error, "%s: sets: tasks: expected a list of zeroshot, retrieval, probe, classify", file);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *word = json_string_value(json_array_get(list, i));
        size_t t = 0;
        while (word && t < DT_TASKS && strcmp(dt_suite_tasks[t], word))
            t++;
        if (!word || t == DT_TASKS)
            return dt_fail(error, "%s: sets: tasks[%zu]: expected zeroshot, retrieval, probe or classify, found %s", file, i,
                           word ? word : dt_json_kind_name(json_array_get(list, i)));
        s->tasks[t] = true;
    }
    return !s->tasks[DT_TASK_PROBE] || s->train ||
           dt_fail(error, "%s: the set %s has the task probe, but no \"train\" data", file, s->name);
}

static bool read_lists(set *s, const json_t *templates, const json_t *shots, const char *file, dt_error *error)
{
    if (json_array_size(templates) > DT_SUITE_TEMPLATES || json_array_size(shots) > DT_SHOTS_MAX)
        return dt_fail(error, "%s: sets: at most %d templates and %d numbers of shots are possible", file, DT_SUITE_TEMPLATES,
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

const char *dt_suite_weights(const json_t *weights, size_t i)
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
