/* What a suite names, looked for before its first task. */
#include "experiments/suite_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/file.h"
#include "data/labelled_texts.h"
#include "eval/classes.h"
#include "eval/origin.h"

enum { TOLD = 8 };

/* What was looked for, once each, and what of it is missing. */
typedef struct search {
    json_t *seen; /* of places by their kind, "data packed/x.lmdb" */
    size_t missing;
    dt_error told;
} search;

/* The parameters stay in their file: only its table is read. */
static bool find_model(const char *path, dt_error *why)
{
    dt_origin origin;
    bool good = dt_origin_open(&origin, path, NULL, why);
    dt_origin_close(&origin);
    return good;
}

static bool find_data(const char *path, dt_error *why)
{
    if (dt_is_text_table(path))
        return dt_file_exists(path) || dt_fail(why, "%s: there is no such file", path);
    dt_dataset *data = dt_dataset_open(path, why);
    dt_dataset_close(data);
    return data;
}

static bool find_classes(const char *list, dt_error *why)
{
    dt_classes *classes = dt_classes_load(list, why);
    dt_classes_free(classes);
    return classes;
}

static bool look(search *s, const char *kind, const char *place, bool (*find)(const char *, dt_error *), dt_error *error)
{
    dt_error why, before = s->told;
    char key[4400];
    if (!place)
        return true;
    snprintf(key, sizeof key, "%s %s", kind, place);
    if (json_object_get(s->seen, key))
        return true;
    if (json_object_set_new(s->seen, key, json_true()))
        return dt_fail(error, "no memory to look for %s", place);
    if (!find(place, &why) && s->missing++ < TOLD)
        dt_fail(&s->told, "%s%s%s", before.message, *before.message ? "; " : "", why.message);
    return true;
}

static bool look_for_set(search *s, const dt_suite_set *set, dt_error *error)
{
    const char *weights;
    const bool probe = set->tasks[DT_TASK_PROBE];
    for (size_t i = 0; (weights = dt_suite_weights(set->weights, i)); i++)
        if (!look(s, "weights", weights, find_model, error))
            return false;
    return look(s, "data", set->data, find_data, error) && look(s, "data", probe ? set->train : NULL, find_data, error) &&
           look(s, "data", probe ? set->validation : NULL, find_data, error) &&
           look(s, "classes", set->tasks[DT_TASK_ZEROSHOT] ? set->classes : NULL, find_classes, error);
}

bool dt_suite_check(const dt_suite *suite, dt_error *error)
{
    search s = {.seen = json_object()};
    bool good = s.seen || dt_fail(error, "out of memory");
    for (size_t i = 0; good && i < suite->set_count; i++)
        good = look_for_set(&s, &suite->sets[i], error);
    json_decref(s.seen);
    if (!good || !s.missing)
        return good;
    return dt_fail(error, "no task was run, for %zu %s missing%s: %s", s.missing, s.missing > 1 ? "things are" : "thing is",
                   s.missing > TOLD ? ", among them" : "", s.told.message);
}
