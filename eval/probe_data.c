#include "eval/probe_data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/folds.h"
#include "eval/name_list.h"

enum { NAME = 100 }; /* bytes of a class's name in a message */

/* The name of a label, or its number. */
static const char *name_of(const dt_features *f, int32_t label, char number[16])
{
    if (f->classes)
        return f->classes[label];
    snprintf(number, 16, "%d", label);
    return number;
}

/* Numbers the labels that occur, and keeps their names. */
static bool number_classes(dt_probe_data *d, const dt_features *train, dt_error *error)
{
    d->named = train->classes;
    d->label_count = train->class_count;
    d->class_of_label = calloc(d->label_count + 1, sizeof *d->class_of_label);
    d->classes = calloc(d->label_count + 1, sizeof *d->classes);
    bool good =
        (d->class_of_label && d->classes) || dt_fail(error, "no memory for %zu classes", d->label_count);
    for (size_t i = 0; good && i < train->count; i++)
        d->class_of_label[train->labels[i]] = 1;
    for (size_t label = 0; good && label < d->label_count; label++) {
        char number[16];
        if (!d->class_of_label[label]) {
            d->class_of_label[label] = -1;
            continue;
        }
        d->class_of_label[label] = (int32_t)d->class_count;
        if ((d->classes[d->class_count] = strdup(name_of(train, (int32_t)label, number))))
            d->class_count++;
        else
            good = dt_fail(error, "no memory for %zu classes", d->label_count);
    }
    return good;
}

bool dt_probe_data_new(dt_probe_data *d, dt_features *train, dt_error *error)
{
    *d = (dt_probe_data){
        .source = train->source, .dim = train->width, .n = train->count, .trained = train->count};
    if (!number_classes(d, train, error))
        return false;
    if (d->class_count < 2)
        return dt_fail(error,
                       "%s: all of its %zu images are of the class '%.*s'; expected two classes or more",
                       d->source, d->n, NAME, d->class_count ? d->classes[0] : "");
    for (size_t i = 0; i < d->n; i++)
        train->labels[i] = d->class_of_label[train->labels[i]];
    d->x = train->rows;
    d->labels = train->labels;
    train->rows = NULL;
    train->labels = NULL;
    train->count = 0;
    d->fit = calloc(d->n + 1, sizeof *d->fit);
    for (size_t i = 0; d->fit && i < d->n; i++)
        d->fit[d->fit_count++] = i;
    return d->fit || dt_fail(error, "no memory for %zu rows", d->n);
}

void dt_probe_data_free(dt_probe_data *d)
{
    for (size_t c = 0; d->classes && c < d->class_count; c++)
        free(d->classes[c]);
    free(d->classes);
    free(d->class_of_label);
    free(d->fit);
    free(d->held);
    free(d->x);
    free(d->labels);
    *d = (dt_probe_data){0};
}

/* The training's class of each label of other data; -1: none. The caller frees. */
static int32_t *match_labels(const dt_probe_data *d, const dt_features *other, dt_error *error)
{
    int32_t *class_of_label = calloc(other->class_count + 1, sizeof *class_of_label);
    if (!class_of_label) {
        dt_fail(error, "no memory for %zu classes", other->class_count);
        return NULL;
    }
    if (!d->named || !other->classes) {
        for (size_t label = 0; label < other->class_count; label++)
            class_of_label[label] = label < d->label_count ? d->class_of_label[label] : -1;
        return class_of_label;
    }
    json_t *index = dt_name_index((const char *const *)d->classes, d->class_count, NULL, error);
    if (!index) {
        dt_fail_prefix(error, "%s", d->source);
        free(class_of_label);
        return NULL;
    }
    for (size_t label = 0; label < other->class_count; label++)
        class_of_label[label] = dt_name_number(index, other->classes[label]);
    json_decref(index);
    return class_of_label;
}

bool dt_probe_data_match(const dt_probe_data *d, dt_features *other, dt_error *error)
{
    if (other->width != d->dim)
        return dt_fail(error, "%s has %zu features a row, %s has %zu; expected the same", other->source,
                       other->width, d->source, d->dim);
    int32_t *class_of_label = match_labels(d, other, error);
    bool good = class_of_label;
    for (size_t i = 0; good && i < other->count; i++) {
        char number[16];
        int32_t class = class_of_label[other->labels[i]];
        if (class < 0)
            good = dt_fail(error, "image %zu of %s is of the class '%.*s', which no image of %s has",
                           other->images[i], other->source, NAME, name_of(other, other->labels[i], number),
                           d->source);
        other->labels[i] = class;
    }
    free(class_of_label);
    return good;
}

bool dt_probe_data_validate_on(dt_probe_data *d, dt_features *validation, dt_error *error)
{
    if (!dt_probe_data_match(d, validation, error))
        return false;
    size_t n = d->n + validation->count;
    float *x = realloc(d->x, n * d->dim * sizeof *x);
    d->x = x ? x : d->x;
    int32_t *labels = realloc(d->labels, n * sizeof *labels);
    d->labels = labels ? labels : d->labels;
    d->held = calloc(validation->count, sizeof *d->held);
    if (!x || !labels || !d->held)
        return dt_fail(error, "no memory for %zu rows of %zu features", n, d->dim);
    memcpy(x + d->n * d->dim, validation->rows, validation->count * d->dim * sizeof *x);
    memcpy(labels + d->n, validation->labels, validation->count * sizeof *labels);
    for (size_t i = d->n; i < n; i++)
        d->held[d->held_count++] = i;
    d->n = n;
    return true;
}

bool dt_probe_data_hold_out(dt_probe_data *d, double share, uint64_t seed, dt_error *error)
{
    uint8_t *out = calloc(d->n, sizeof *out);
    d->held = calloc(d->n, sizeof *d->held);
    bool good =
        ((out && d->held) || dt_fail(error, "no memory for %zu rows", d->n)) &&
        (dt_split(d->labels, d->n, share, seed, out, error) || dt_fail_prefix(error, "%s", d->source));
    if (good)
        d->fit_count = 0;
    for (size_t i = 0; good && i < d->n; i++) {
        if (out[i])
            d->held[d->held_count++] = i;
        else
            d->fit[d->fit_count++] = i;
    }
    free(out);
    return good;
}

int32_t *dt_probe_data_fit_labels(const dt_probe_data *d, dt_error *error)
{
    int32_t *labels = malloc(d->n * sizeof *labels);
    if (!labels) {
        dt_fail(error, "no memory for %zu labels", d->n);
        return NULL;
    }
    memset(labels, 0xFF, d->n * sizeof *labels); /* -1 */
    for (size_t i = 0; i < d->fit_count; i++)
        labels[d->fit[i]] = d->labels[d->fit[i]];
    return labels;
}

bool dt_probe_data_enough(const dt_probe_data *d, const int32_t *labels, size_t n, size_t least,
                          const char *purpose, dt_error *error)
{
    size_t *counts = calloc(d->class_count, sizeof *counts);
    bool good = counts || dt_fail(error, "no memory for %zu classes", d->class_count);
    for (size_t i = 0; good && i < n; i++)
        if (labels[i] >= 0)
            counts[labels[i]]++;
    for (size_t c = 0; good && c < d->class_count; c++)
        if (counts[c] < least)
            good =
                dt_fail(error, "%s: class '%.*s' has %zu image%s to train on; %s need at least %zu",
                        d->source, NAME, d->classes[c], counts[c], counts[c] == 1 ? "" : "s", purpose, least);
    free(counts);
    return good;
}
