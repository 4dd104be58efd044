/* An assessment's figures and their intervals. A figure is a function of how often each row counts: once for
 * its value, as often as it was drawn for its interval. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/pairs.h"
#include "eval/assessment.h"
#include "eval/bootstrap.h"
#include "eval/calibration.h"
#include "eval/roc.h"

enum { TOP1, TOP5, MEAN_RECALL, MACRO_F1, WEIGHTED_F1, ECE, ROC_AUC, FIGURES };

typedef struct ranked {
    const dt_assessment *assessment;
    dt_roc_row *rows; /* sorted by margin; NULL: there are not two classes */
} ranked;

/* Sums over the rows of a draw. */
typedef struct sums {
    double gaps[DT_CALIBRATION_BINS]; /* rows that are right, less their confidences */
    size_t top5;
    size_t by_class[]; /* support, predicted, right: [3, classes] */
} sums;

static size_t sums_size(const dt_assessment *a)
{
    return sizeof(sums) + 3 * a->options.classes * sizeof(size_t);
}

/* Classes that have rows, of which the draw has none: it says nothing about them. (Classes without any rows count as wrong, as
 * scikit-learn counts them.) */
static size_t undrawn_classes(const dt_assessment *a, const size_t *support)
{
    size_t count = 0;
    for (size_t c = 0; c < a->options.classes; c++)
        count += !support[c] && dt_classification_support(a->counts)[c];
    return count;
}

static void compute(const void *context, const uint32_t *times, void *scratch, double *values)
{
    const ranked *r = context;
    const dt_assessment *a = r->assessment;
    const size_t n = a->n, classes = a->options.classes;
    sums *s = scratch;
    size_t *support = s->by_class, *predicted = support + classes, *right = predicted + classes;
    for (size_t i = 0; i < n; i++) {
        const dt_assessed *x = &a->samples[i];
        const bool good = x->truth == x->predicted;
        support[x->truth] += times[i];
        predicted[x->predicted] += times[i];
        right[x->truth] += good ? times[i] : 0;
        s->top5 += x->rank < 5 ? times[i] : 0;
        s->gaps[x->confidence_bin] += times[i] * (good - x->confidence);
    }
    const dt_prf_means means = dt_prf_mean(support, predicted, right, classes);
    double gaps = 0;
    for (int i = 0; i < DT_CALIBRATION_BINS; i++)
        gaps += fabs(s->gaps[i]);
    values[TOP1] = means.micro.recall;
    values[TOP5] = (double)s->top5 / (double)n;
    values[MEAN_RECALL] = dt_mean_recall(support, right, classes, NULL);
    values[MACRO_F1] = means.macro.f1 * (double)classes / (double)(classes - undrawn_classes(a, support));
    values[WEIGHTED_F1] = means.weighted.f1;
    values[ECE] = gaps / (double)n;
    values[ROC_AUC] = r->rows ? dt_roc_area(r->rows, n, times) : NAN;
}

/* The values, and the bounds: NaN where no intervals are wanted. */
static bool measure(const dt_assessment *a, double *values, dt_bounds *bounds, dt_error *error)
{
    if (!a->n)
        return dt_fail(error, "none of %zu images has a label; there is nothing to compare predictions with",
                       a->passed_over);
    ranked r = {.assessment = a};
    uint32_t *once = malloc(a->n * sizeof *once);
    sums *scratch = calloc(1, sums_size(a));
    bool good = once && scratch;
    if (good && a->options.classes == 2)
        good = (r.rows = malloc(a->n * sizeof *r.rows)) != NULL;
    if (!good)
        dt_fail(error, "no memory to assess %zu rows", a->n);
    for (size_t i = 0; good && i < a->n; i++) {
        once[i] = 1;
        if (r.rows)
            r.rows[i] = (dt_roc_row){a->samples[i].margin, i, a->samples[i].truth == 1};
    }
    if (good && r.rows)
        dt_roc_sort(r.rows, a->n);
    if (good)
        compute(&r, once, scratch, values);
    for (int i = 0; i < FIGURES; i++)
        bounds[i] = (dt_bounds){NAN, NAN, NAN, NAN};
    if (good && a->options.resamples >= 0)
        good = dt_bootstrap(&(dt_bootstrap_options){.n = a->n,
                                                    .draws = (size_t)a->options.resamples,
                                                    .seed = a->options.seed,
                                                    .count = FIGURES,
                                                    .scratch_size = sums_size(a)},
                            compute, &r, bounds, error);
    free(once);
    free(scratch);
    free(r.rows);
    return good;
}

typedef struct figure {
    const char *key, *name;
    double chance; /* NaN: guessing has no level of its own */
    const char *note;
} figure;

static json_t *figure_json(const dt_assessment *a, const figure *f, double value, dt_bounds bounds)
{
    const char *set = a->options.name;
    json_t *json = json_pack("{s:s, s:o, s:f, s:I, s:s}", "key", f->key, "name",
                             json_sprintf("%s%s%s", set ? set : "", set ? ": " : "", f->name), "value", value,
                             "n", (json_int_t)a->n, "note", f->note);
    if (!isnan(f->chance))
        json_object_set_new(json, "chance", json_real(f->chance));
    if (dt_bounds_hold(&bounds, value)) {
        json_object_set_new(json, "low", json_real(bounds.low));
        json_object_set_new(json, "high", json_real(bounds.high));
    }
    return json;
}

/* "of cat against dog", where the names are fit for it. */
static void note_pair(const dt_assessment *a, char *note, size_t size)
{
    const char *const *names = a->options.class_names;
    if (!names || (size_t)snprintf(note, size, "of %s against %s", names[1], names[0]) >= size ||
        !dt_caption_check(note, NULL))
        snprintf(note, size, "of class 1 against class 0");
}

json_t *dt_assessment_figures(const dt_assessment *a, dt_error *error)
{
    double values[FIGURES];
    dt_bounds bounds[FIGURES];
    if (!measure(a, values, bounds, error))
        return NULL;
    const size_t classes = a->options.classes;
    const double guess = 1 / (double)classes;
    char among[64], over[64], all[64], bins[64], pair[256] = "";
    size_t seen;
    dt_classification_mean_recall(a->counts, &seen);
    snprintf(among, sizeof among, "among %zu classes", classes);
    snprintf(over, sizeof over, "over the %zu classes that occur", seen);
    snprintf(all, sizeof all, "over all %zu classes", classes);
    snprintf(bins, sizeof bins, "%d bins; less is better", DT_CALIBRATION_BINS);
    if (classes == 2)
        note_pair(a, pair, sizeof pair);
    const figure figures[FIGURES] = {
        [TOP1] = {"top1", "top-1 accuracy", guess, among},
        [TOP5] = {"top5", "top-5 accuracy", 5 * guess, among},
        [MEAN_RECALL] = {"mean_class_recall", "mean per-class recall", guess, over},
        [MACRO_F1] = {"macro_f1", "macro F1", NAN, all},
        [WEIGHTED_F1] = {"weighted_f1", "weighted F1", NAN, "classes weighted by their rows"},
        [ECE] = {"ece", "expected calibration error", NAN, bins},
        [ROC_AUC] = {"roc_auc", "ROC-AUC", 0.5, pair},
    };
    json_t *list = json_array();
    bool good = list != NULL;
    for (int i = 0; good && i < FIGURES; i++)
        if (!isnan(values[i]) && (i != TOP5 || classes > 5))
            good = json_array_append_new(list, figure_json(a, &figures[i], values[i], bounds[i])) == 0;
    if (good)
        return list;
    json_decref(list);
    dt_fail(error, "no memory for figures");
    return NULL;
}
