#define _GNU_SOURCE /* asprintf */
#include "eval/report/measures.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct measure {
    const char *key, *name;
} measures[] = {
    {"top1", "top-1 accuracy"},
    {"top5", "top-5 accuracy"},
    {"accuracy", "accuracy"},
    {"mean_class_recall", "mean per-class recall"},
    {"macro_f1", "macro F1"},
    {"weighted_f1", "weighted F1"},
    {"ece", "expected calibration error"},
    {"roc_auc", "ROC-AUC"},
};

enum { MEASURES = sizeof measures / sizeof measures[0] };

/* Of "CIFAR-10 test: top1" the "top1". */
static const char *after_set(const char *key)
{
    const char *found = key;
    for (const char *at = key; (at = strstr(at, ": ")); found = at += 2)
        ;
    return found;
}

/* Whether a measure is "image_to_text_r5" or the other way round, and its number. */
static bool is_recall(const char *measure, int *at)
{
    int end = 0;
    bool image = !strncmp(measure, "image_to_text_", 14), text = !strncmp(measure, "text_to_image_", 14);
    return (image || text) && sscanf(measure + 14, "r%5d%n", at, &end) == 1 && !measure[14 + end];
}

static const char accuracy_of[] = "accuracy_"; /* an attribute */
enum { ACCURACY_OF = sizeof accuracy_of - 1 };

/* The caller frees. NULL: no memory. */
static char *name_of(const char *measure)
{
    for (int i = 0; i < MEASURES; i++)
        if (!strcmp(measures[i].key, measure))
            return strdup(measures[i].name);
    int at;
    char *name = NULL;
    if (is_recall(measure, &at))
        return asprintf(&name, "%s R@%d", *measure == 'i' ? "image to text" : "text to image", at) < 0 ? NULL : name;
    if (!strncmp(measure, accuracy_of, ACCURACY_OF))
        return asprintf(&name, "%s accuracy", measure + ACCURACY_OF) < 0 ? NULL : name;
    return strdup(measure);
}

char *dt_measure_title(const char *event, const char *key)
{
    const char *measure = after_set(key);
    bool of_set = measure > key && !strcmp(event, "evaluation"); /* which the set's name makes plain */
    char *name = name_of(measure), *title = NULL;
    if (name && asprintf(&title, "%s%s%.*s%s", of_set ? "" : event, *event && !of_set ? ": " : "",
                         (int)(measure - key), key, name) < 0)
        title = NULL;
    free(name);
    return title;
}

dt_unit dt_measure_unit(const char *key)
{
    const char *measure = after_set(key);
    int at;
    bool share = is_recall(measure, &at) || !strncmp(measure, accuracy_of, ACCURACY_OF);
    for (int i = 0; i < MEASURES; i++)
        share |= !strcmp(measures[i].key, measure);
    return share ? DT_UNIT_SHARE : DT_UNIT_NUMBER;
}
