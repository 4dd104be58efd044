#include "eval/probe_json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/safetensors.h"
#include "eval/name_list.h"

static json_t *facts(const dt_probe_result *r)
{
    json_t *json = json_pack("{s:s, s:I, s:I, s:I, s:f, s:i, s:b, s:f}", "train", r->data.source, "features",
                             (json_int_t)r->data.dim, "classes", (json_int_t)r->data.class_count, "rows",
                             (json_int_t)r->data.n, "C", r->C, "iterations", r->facts.iterations, "converged",
                             r->facts.converged, "seconds", r->facts.seconds);
    if (json && r->test)
        json_object_set_new(json, "test", json_string(r->test->source));
    if (json && r->sweep.count) {
        json_object_set_new(json, "validated", json_integer((json_int_t)r->sweep.validated));
        json_object_set_new(json, "sweep_seconds", json_real(r->sweep_seconds));
    }
    return json;
}

static json_t *curve(json_t *name, const char *x, const char *y, json_t *bars, const char *series, size_t n, json_t *points)
{
    return json_pack("{s:o, s:s, s:s, s:o*, s:b, s:[{s:s, s:I, s:o}]}", "name", name, "x", x, "y", y, "bars", bars, "wide", 1,
                     "series", "name", series, "n", (json_int_t)n, "points", points);
}

static json_t *sweep_curve(const dt_probe_result *r)
{
    json_t *points = json_array();
    for (size_t i = 0; i < r->sweep.count; i++)
        json_array_append_new(points, json_pack("[f, f]", r->sweep.points[i].C, r->sweep.points[i].accuracy));
    return curve(json_sprintf("%s: choice of C", r->name), "C", "accuracy", NULL, "validation part",
                 r->sweep.validated, points);
}

static json_t *shots_name(const dt_probe_result *r)
{
    return json_sprintf("%s: few-shot %s", r->settings.set, r->settings.method);
}

static json_t *shots_curve(const dt_probe_result *r)
{
    json_t *points = json_array();
    for (size_t i = 0; i < r->shots->count; i++) {
        const dt_shot_point *p = &r->shots->points[i];
        json_array_append_new(points,
                              json_pack("[f, f, f, f]", (double)p->shots, p->mean,
                                        fmax(0, p->mean - p->deviation), fmin(1, p->mean + p->deviation)));
    }
    return curve(shots_name(r), "images per class", "accuracy",
                 json_sprintf("one standard deviation over %zu draws", r->shots->seeds), r->settings.set,
                 r->shots->tested, points);
}

/* The C of every draw: "0.1 1 0.1". */
static json_t *chosen(const dt_shot_point *p, size_t seeds)
{
    char text[DT_SHOT_SEEDS_MAX * 16] = "";
    for (size_t s = 0, used = 0; s < seeds; s++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%.3g", s ? " " : "", p->of_seed[s].C);
    return json_string(text);
}

/* Shots as texts: a column of numbers up to 1 would be read as shares. */
static json_t *shots_table(const dt_probe_result *r)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < r->shots->count; i++) {
        const dt_shot_point *p = &r->shots->points[i];
        json_array_append_new(rows, json_pack("[o, f, f, o, I]", json_sprintf("%zu", p->shots), p->mean,
                                              p->deviation, chosen(p, r->shots->seeds),
                                              (json_int_t)r->shots->tested));
    }
    char deviation[64];
    snprintf(deviation, sizeof deviation, "deviation over %zu draws", r->shots->seeds);
    return json_pack("{s:o, s:I, s:[s, s, s, s, s], s:o}", "name", shots_name(r), "n",
                     (json_int_t)r->shots->tested, "columns", "images per class", "accuracy", deviation, "C",
                     "n", "rows", rows);
}

static json_t *shots_figure(const dt_probe_result *r, const dt_shot_point *p)
{
    return json_pack("{s:o, s:o, s:f, s:f, s:I, s:f, s:o}", "name",
                     json_sprintf("%s: few-shot %s, %zu per class", r->settings.set, r->settings.method, p->shots), "key",
                     json_sprintf("shots_%zu", p->shots), "value", p->mean, "deviation", p->deviation, "n",
                     (json_int_t)r->shots->tested, "chance", 1 / (double)r->data.class_count, "note",
                     json_sprintf("mean of %zu draws, standard deviation %.2f %%", r->shots->seeds, 100 * p->deviation));
}

static json_t *folds_figure(const dt_probe_result *r)
{
    return json_pack("{s:o, s:s, s:f, s:I, s:f, s:o}", "name",
                     json_sprintf("%s: %d-fold accuracy", r->name, r->settings.folds), "key", "folds",
                     "value", r->fold_mean, "n", (json_int_t)r->data.trained, "chance",
                     1 / (double)r->data.class_count, "note",
                     json_sprintf("mean over folds of the training data, standard deviation %.2f %%",
                                  100 * r->fold_deviation));
}

static json_t *folds_table(const dt_probe_result *r)
{
    json_t *rows = json_array();
    for (int i = 0; i < r->settings.folds; i++)
        json_array_append_new(rows, json_pack("[o, f, I]", json_sprintf("fold %d", i + 1),
                                              r->fold_accuracies[i], (json_int_t)r->fold_sizes[i]));
    json_array_append_new(rows, json_pack("[s, f, I]", "mean", r->fold_mean, (json_int_t)r->data.trained));
    return json_pack("{s:o, s:I, s:[s, s, s], s:o}", "name", json_sprintf("%s: folds", r->name), "n",
                     (json_int_t)r->data.trained, "columns", "fold", "accuracy", "n", "rows", rows);
}

/* At the end of a list of the object, which is made where there is none. */
static bool append(json_t *json, const char *list, json_t *item)
{
    if (!json_object_get(json, list))
        json_object_set_new(json, list, json_array());
    return json_array_append_new(json_object_get(json, list), item) == 0;
}

json_t *dt_probe_json(const dt_probe_result *r, dt_error *error)
{
    json_t *json = r->assessment ? dt_assessment_json(r->assessment, error) : json_object();
    if (!json && r->assessment)
        return NULL;
    bool good = json_object_set_new(json, "probe", facts(r)) == 0;
    if (r->sweep.count)
        good &= append(json, "curves", sweep_curve(r));
    if (r->shots)
        good &= append(json, "curves", shots_curve(r)) && append(json, "tables", shots_table(r));
    for (size_t i = 0; r->shots && i < r->shots->count; i++)
        good &= append(json, "figures", shots_figure(r, &r->shots->points[i]));
    if (r->fold_accuracies)
        good &= append(json, "figures", folds_figure(r)) && append(json, "tables", folds_table(r));
    if (good)
        return json;
    dt_fail(error, "no memory for the results, or a name that is not UTF-8");
    json_decref(json);
    return NULL;
}

bool dt_probe_save(const dt_probe_result *r, const char *layer, const char *path, dt_error *error)
{
    size_t classes = r->model.classes, dim = r->model.dim;
    float *weight = calloc(classes * dim, sizeof *weight), *bias = calloc(classes, sizeof *bias);
    char C[32], *names = dt_names_text((const char *const *)r->data.classes, classes, error);
    snprintf(C, sizeof C, "%.17g", r->C);
    bool good = (names || dt_fail_prefix(error, "%s", r->data.source)) &&
                ((weight && bias) || dt_fail(error, "no memory for the weights of %zu classes", classes));
    for (size_t i = 0; good && i < classes * dim; i++)
        weight[i] = (float)r->model.weights[i];
    for (size_t c = 0; good && c < classes; c++)
        bias[c] = (float)r->model.bias[c];
    const dt_st_tensor tensors[] = {
        {.name = "weight",
         .type = DT_ST_F32,
         .rank = 2,
         .shape = {(int64_t)classes, (int64_t)dim},
         .data = weight},
        {.name = "bias", .type = DT_ST_F32, .rank = 1, .shape = {(int64_t)classes}, .data = bias},
    };
    const dt_st_meta meta[] = {{"classes", names}, {"C", C}, {"features", layer}, {"train", r->data.source}};
    good = good && dt_safetensors_write(path, tensors, 2, meta, sizeof meta / sizeof *meta, error);
    free(weight);
    free(bias);
    free(names);
    return good;
}
