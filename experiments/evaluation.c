#include "experiments/evaluation.h"
#include "experiments/device.h"

#include "data/file.h"
#include "eval/findings.h"
#include "eval/report/report.h"
#include "eval/texts.h"
#include "eval/zeroshot.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SETS_MAX = 64, TEMPLATES_MAX = 256, PATH = 4096, BATCH = 128 };

typedef struct set {
    dt_zeroshot_options options;
    const char *templates[TEMPLATES_MAX];
    dt_dataset *data;
    dt_classes *classes;
    dt_texts queries;
    bool every_time;
} set;

struct dt_evaluation {
    dt_model *model;
    const char *run;
    set sets[SETS_MAX];
    size_t count;
};

static bool read_templates(set *s, const json_t *list, dt_error *error)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *template = json_string_value(json_array_get(list, i));
        if (i == TEMPLATES_MAX || !template)
            return dt_fail(error, "templates: expected at most %d texts", TEMPLATES_MAX);
        if (!dt_template_check(template, error))
            return false;
        s->templates[s->options.template_count++] = template;
    }
    s->options.templates = s->templates;
    return true;
}

static bool open_set(set *s, const dt_backend *backend, const json_t *json, dt_error *error)
{
    const char *data = NULL, *classes = NULL, *queries = NULL;
    const json_t *templates = NULL;
    s->options = (dt_zeroshot_options){.top = 6, .batch = BATCH, .backend = backend};
    const dt_json_field fields[] = {
        {"name", DT_JSON_STRING, &s->options.name, .required = false},
        {"data", DT_JSON_STRING, &data, .required = true},
        {"classes", DT_JSON_STRING, &classes, .required = false},
        {"templates", DT_JSON_ARRAY, &templates, .required = false},
        {"retrieval", DT_JSON_BOOL, &s->options.retrieval, .required = false},
        {"captions", DT_JSON_SIZE, &s->options.captions_each, .required = false},
        {"queries", DT_JSON_STRING, &queries, .required = false},
        {"every_time", DT_JSON_BOOL, &s->every_time, .required = false},
    };
    if (!dt_json_read(json, "config", "evaluate.sets", fields, sizeof fields / sizeof *fields, error) ||
        !read_templates(s, templates, error) || (queries && !dt_texts_load(&s->queries, queries, true, error)) ||
        (classes && !(s->classes = dt_classes_load(classes, error))) || !(s->data = dt_dataset_open(data, error)))
        return dt_fail_prefix(error, "evaluate.sets");
    s->options.data = s->data;
    s->options.classes = s->classes;
    s->options.queries = (const char *const *)s->queries.items;
    return true;
}

dt_evaluation *dt_evaluation_new(dt_model *model, const dt_backend *backend, const json_t *sets, const char *run,
                                 dt_error *error)
{
    dt_evaluation *e = calloc(1, sizeof *e);
    bool good = e || dt_fail(error, "out of memory");
    if (good)
        *e = (dt_evaluation){.model = model, .run = run};
    if (good && json_array_size(sets) > SETS_MAX)
        good = dt_fail(error, "evaluate.sets: %zu sets; at most %d are possible", json_array_size(sets), SETS_MAX);
    for (size_t i = 0; good && i < json_array_size(sets); i++)
        good = open_set(&e->sets[e->count++], backend, json_array_get(sets, i), error);
    if (!good) {
        dt_evaluation_free(e);
        return NULL;
    }
    return e;
}

void dt_evaluation_free(dt_evaluation *e)
{
    for (size_t i = 0; e && i < e->count; i++) {
        dt_dataset_close(e->sets[i].data);
        dt_classes_free(e->sets[i].classes);
        dt_texts_free(&e->sets[i].queries);
    }
    free(e);
}

/* Figures to the log file, under "SET.KEY". */
static bool log_scores(dt_logger *log, int64_t step, const dt_zeroshot_result *result, dt_error *error)
{
    dt_log_value values[DT_SCORES_MAX];
    char names[DT_SCORES_MAX][200];
    for (size_t i = 0; i < result->score_count; i++) {
        const char *name = result->name ? result->name : "", *dot = *name ? ": " : "";
        snprintf(names[i], sizeof names[i], "%.80s%s%s", name, dot, result->scores[i].key);
        values[i] = (dt_log_value){names[i], result->scores[i].value};
    }
    return dt_log_event(log, step, "evaluation", values, result->score_count, error);
}

/* The figures that people read while it runs. */
static void say_scores(dt_logger *log, const dt_zeroshot_result *result, bool last)
{
    if (result->score_count && last)
        dt_log_say(log, "%s (%zu images)", result->name ? result->name : result->data, result->images);
    for (size_t i = 0; i < result->score_count; i++) {
        const dt_score *s = &result->scores[i];
        if (s->rank || (!last && i > 0))
            continue;
        char chance[48] = "";
        if (!isnan(s->chance))
            snprintf(chance, sizeof chance, "chance %.2f %%", 100 * s->chance);
        if (last)
            dt_log_say(log, "  %-34s %6.2f %%   of %-6zu %s", s->name, 100 * s->value, s->n, chance);
        else
            dt_log_say(log, "%s: %s %.2f %% of %zu", result->name ? result->name : result->data, s->name, 100 * s->value,
                       s->n);
    }
}

static bool run_set(dt_evaluation *e, set *s, dt_logger *log, int64_t step, bool last, dt_error *error)
{
    char path[PATH];
    dt_zeroshot_result result;
    s->options.query_count = last ? s->queries.count : 0;
    s->options.details = s->options.intervals = last;
    if (!dt_zeroshot_run(e->model, &s->options, &result, error))
        return dt_fail_prefix(error, "evaluation, in batches of at most %d beside the training", BATCH);
    say_scores(log, &result, last);
    bool good = log_scores(log, step, &result, error);
    if (good && last) {
        json_t *json = dt_zeroshot_json(&result);
        dt_device_note(json);
        snprintf(path, sizeof path, "%s/evaluation.json", e->run);
        good = json ? dt_findings_merge(path, json, error) : dt_fail(error, "out of memory");
        json_decref(json);
    }
    dt_zeroshot_free(&result);
    return good;
}

bool dt_evaluation_run(dt_evaluation *e, dt_logger *log, int64_t step, bool last, dt_error *error)
{
    for (size_t i = 0; i < e->count; i++)
        if ((last || e->sets[i].every_time) && !run_set(e, &e->sets[i], log, step, last, error))
            return false;
    return true;
}

bool dt_evaluation_report(dt_evaluation *e, dt_error *error)
{
    return dt_report_write(e->run, error);
}
