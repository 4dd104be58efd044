/* An assessment in the shape of evaluation.json. */
#include <stdlib.h>
#include <string.h>

#include "data/pairs.h"
#include "eval/assessment.h"
#include "eval/calibration.h"
#include "eval/findings.h"

enum { TABLE_ALL = 200, TABLE_LOWEST = 100 };

static json_t *confusion(const dt_assessment *a);
static json_t *reliability(const dt_assessment *a);
static json_t *table(const dt_assessment *a);

/* A list of the one item; empty where the item is not wanted. NULL: no memory for the item. */
static json_t *list_of(json_t *item, bool wanted)
{
    json_t *list = json_array();
    if (!wanted || json_array_append_new(list, item) == 0)
        return list;
    json_decref(list);
    return NULL;
}

json_t *dt_assessment_json(const dt_assessment *a, dt_error *error)
{
    json_t *figures = dt_assessment_figures(a, error);
    if (!figures)
        return NULL;
    const bool confused = a->options.confusion && a->options.classes <= DT_FINDINGS_MOST;
    json_t *json = json_pack("{s:I, s:I, s:o, s:o, s:o, s:o}", "labelled", (json_int_t)a->n, "passed_over",
                             (json_int_t)a->passed_over, "figures", figures, "confusions",
                             list_of(confused ? confusion(a) : NULL, confused), "reliability",
                             list_of(reliability(a), true), "tables", list_of(table(a), true));
    if (!json)
        dt_fail(error, "no memory for an assessment of %zu images", a->n);
    return json;
}

static const char *name_of(const dt_assessment *a)
{
    return a->options.name ? a->options.name : "predictions";
}

static json_t *class_name(const dt_assessment *a, size_t class)
{
    const char *const *names = a->options.class_names;
    json_t *name = names ? json_string(names[class]) : NULL; /* NULL also of what is no UTF-8 */
    return name ? name : json_sprintf("class %zu", class);
}

/* Appends; once memory was short the list is NULL and stays so. */
static void append(json_t **list, json_t *item)
{
    if (json_array_append_new(*list, item) == 0)
        return;
    json_decref(*list);
    *list = NULL;
}

/* ---- Confusion ---- */

/* Wrong rows by pair of classes, in each pair the surest one first. */
static int by_pair(const void *a, const void *b)
{
    const dt_assessed *x = *(const dt_assessed *const *)a, *y = *(const dt_assessed *const *)b;
    if (x->truth != y->truth)
        return x->truth < y->truth ? -1 : 1;
    if (x->predicted != y->predicted)
        return x->predicted < y->predicted ? -1 : 1;
    if (x->confidence != y->confidence)
        return x->confidence > y->confidence ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

typedef struct pair { /* rows of one class taken for one other */
    const dt_assessed **rows;
    size_t count;
} pair;

/* Keeps the DT_MISTAKES_MOST largest, largest first; of equal ones those that came first. */
static void keep(pair *worst, size_t *kept, pair p)
{
    size_t at = *kept;
    while (at && worst[at - 1].count < p.count)
        at--;
    if (at == DT_MISTAKES_MOST)
        return;
    if (*kept < DT_MISTAKES_MOST)
        (*kept)++;
    memmove(worst + at + 1, worst + at, (*kept - at - 1) * sizeof *worst);
    worst[at] = p;
}

static json_t *pair_json(const dt_assessment *a, const pair *p)
{
    const dt_assessed *first = p->rows[0];
    json_t *examples = json_array();
    for (size_t i = 0; i < p->count && i < DT_EXAMPLES_MOST; i++)
        append(&examples, json_integer((json_int_t)p->rows[i]->index));
    return json_pack("{s:i, s:i, s:I, s:I, s:o}", "true", (int)first->truth, "predicted",
                     (int)first->predicted, "count", (json_int_t)p->count, "of",
                     (json_int_t)dt_classification_support(a->counts)[first->truth], "examples", examples);
}

static json_t *worst_pairs(const dt_assessment *a)
{
    const dt_assessed **wrong = malloc(a->n * sizeof *wrong);
    json_t *list = wrong ? json_array() : NULL;
    size_t count = 0, kept = 0;
    pair worst[DT_MISTAKES_MOST];
    for (size_t i = 0; wrong && i < a->n; i++)
        if (a->samples[i].truth != a->samples[i].predicted)
            wrong[count++] = &a->samples[i];
    if (count)
        qsort(wrong, count, sizeof *wrong, by_pair);
    for (size_t at = 0, end; at < count; at = end) {
        for (end = at; end < count && wrong[end]->truth == wrong[at]->truth &&
                       wrong[end]->predicted == wrong[at]->predicted;)
            end++;
        keep(worst, &kept, (pair){wrong + at, end - at});
    }
    for (size_t i = 0; i < kept; i++)
        append(&list, pair_json(a, &worst[i]));
    free(wrong);
    return list;
}

static json_t *counts_json(const size_t *cells, size_t classes)
{
    json_t *table_rows = json_array();
    for (size_t i = 0; i < classes; i++) {
        json_t *row = json_array();
        for (size_t j = 0; j < classes; j++)
            append(&row, json_integer((json_int_t)cells[i * classes + j]));
        append(&table_rows, row);
    }
    return table_rows;
}

static json_t *confusion(const dt_assessment *a)
{
    const size_t *cells = dt_classification_confusion(a->counts);
    const char *store = a->options.store && dt_caption_check(a->options.store, NULL) ? a->options.store : "";
    json_t *classes = json_array();
    for (size_t c = 0; c < a->options.classes; c++)
        append(&classes, class_name(a, c));
    json_t *json = json_pack("{s:s, s:s, s:I, s:o, s:o}", "name", name_of(a), "store", store, "n",
                             (json_int_t)a->n, "classes", classes, "worst", worst_pairs(a));
    if (json && cells && json_object_set_new(json, "counts", counts_json(cells, a->options.classes))) {
        json_decref(json);
        return NULL;
    }
    return json;
}

/* ---- Reliability ---- */

static json_t *reliability(const dt_assessment *a)
{
    dt_calibration calibration = {0};
    for (size_t i = 0; i < a->n; i++)
        dt_calibration_add(&calibration, a->samples[i].confidence,
                           a->samples[i].truth == a->samples[i].predicted);
    json_t *bins = json_array();
    for (int i = 0; i < DT_CALIBRATION_BINS; i++) {
        const dt_calibration_bin *bin = &calibration.bins[i];
        double rows = bin->count ? (double)bin->count : 1;
        append(&bins, json_pack("{s:f, s:f, s:I, s:f, s:f}", "low", (double)i / DT_CALIBRATION_BINS, "high",
                                (double)(i + 1) / DT_CALIBRATION_BINS, "count", (json_int_t)bin->count,
                                "confidence", bin->confidence / rows, "accuracy", (double)bin->right / rows));
    }
    return json_pack("{s:s, s:I, s:f, s:o}", "name", name_of(a), "n", (json_int_t)a->n, "ece",
                     dt_calibration_error(&calibration), "bins", bins);
}

/* ---- The table by class ---- */

typedef struct by_recall {
    size_t class, support;
    double recall;
} by_recall;

/* Of equal recalls the one that more rows stand behind first. */
static int lowest_first(const void *a, const void *b)
{
    const by_recall *x = a, *y = b;
    if (x->recall != y->recall)
        return x->recall < y->recall ? -1 : 1;
    if (x->support != y->support)
        return x->support > y->support ? -1 : 1;
    return (x->class > y->class) - (x->class < y->class);
}

static json_t *table_row(json_t *name, dt_prf prf, size_t n)
{
    return json_pack("[o, f, f, f, I]", name, prf.precision, prf.recall, prf.f1, (json_int_t)n);
}

/* All classes, or of many those that occur and are recognised least. *shown of them. */
static json_t *class_rows(const dt_assessment *a, size_t *shown)
{
    const size_t classes = a->options.classes, *support = dt_classification_support(a->counts);
    const bool all = classes <= TABLE_ALL;
    by_recall *order = malloc(classes * sizeof *order);
    json_t *rows = order ? json_array() : NULL;
    size_t count = 0;
    for (size_t c = 0; order && c < classes; c++)
        if (all || support[c])
            order[count++] = (by_recall){c, support[c], dt_classification_prf(a->counts, c).recall};
    if (order && !all)
        qsort(order, count, sizeof *order, lowest_first);
    *shown = all || count < TABLE_LOWEST ? count : TABLE_LOWEST;
    for (size_t i = 0; i < *shown; i++)
        append(&rows, table_row(class_name(a, order[i].class),
                                dt_classification_prf(a->counts, order[i].class), order[i].support));
    free(order);
    return rows;
}

static json_t *table(const dt_assessment *a)
{
    const dt_prf_means means = dt_classification_means(a->counts);
    const char *name = a->options.name;
    size_t shown;
    json_t *rows = class_rows(a, &shown);
    append(&rows, table_row(json_string("macro mean"), means.macro, a->n));
    append(&rows, table_row(json_string("weighted mean"), means.weighted, a->n));
    json_t *title = shown == a->options.classes
                        ? json_sprintf("%s%sby class", name ? name : "", name ? ", " : "")
                        : json_sprintf("%s%sby class: the %zu of lowest recall among %zu", name ? name : "",
                                       name ? ", " : "", shown, a->options.classes);
    return json_pack("{s:o, s:I, s:[s, s, s, s, s], s:o}", "name", title, "n", (json_int_t)a->n, "columns",
                     "class", "precision", "recall", "F1", "n", "rows", rows);
}
