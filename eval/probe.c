#include "eval/probe.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/folds.h"
#include "eval/metrics.h"

enum { FIRST_INTERVAL = 16, BLOCK = 1024 };

double dt_sweep_C(int step)
{
    return pow(10, -6 + step / 8.0);
}

bool dt_probe_fit(dt_logistic *model, const dt_probe_data *data, const size_t *rows, size_t n, double C,
                  const dt_logistic *start, const dt_probe_options *o, dt_logistic_facts *facts,
                  dt_error *error)
{
    const dt_logistic_options options = {.classes = data->class_count,
                                         .C = C,
                                         .tolerance = o->tolerance,
                                         .max_iterations = o->max_iterations,
                                         .threads = o->threads,
                                         .start = start};
    return dt_logistic_fit(model, data->x, data->labels, rows, n, data->dim, &options, facts, error);
}

/* ---- the sweep ---- */

/* A sweep under way: the solution of each point that was visited, in the same order. */
typedef struct search {
    dt_sweep *sweep;
    dt_logistic models[DT_SWEEP_FITS];
    const dt_probe_data *data;
    const size_t *rows;
    size_t n;
    const dt_probe_options *options;
} search;

/* The solution for the nearest C; of two equally near the smaller, whose weights are. NULL: none yet. */
static const dt_logistic *nearest(const search *s, int step)
{
    const dt_logistic *found = NULL;
    for (size_t i = 0, least = SIZE_MAX; i < s->sweep->count; i++) {
        size_t distance = (size_t)abs(s->sweep->points[i].step - step);
        if (distance < least) {
            least = distance;
            found = &s->models[i];
        }
    }
    return found;
}

static size_t best_of(const dt_sweep *sweep)
{
    const dt_sweep_point *p = sweep->points;
    size_t best = 0;
    for (size_t i = 1; i < sweep->count; i++)
        if (p[i].accuracy > p[best].accuracy || (p[i].accuracy == p[best].accuracy && p[i].loss < p[best].loss))
            best = i;
    return best;
}

/* Fits one candidate, unless it lies outside or has been fitted, and puts it in its place. */
static bool visit(search *s, int step, dt_error *error)
{
    dt_sweep *sweep = s->sweep;
    size_t at = 0;
    while (at < sweep->count && sweep->points[at].step < step)
        at++;
    if (step < 0 || step > DT_SWEEP_STEPS || (at < sweep->count && sweep->points[at].step == step))
        return true;
    dt_sweep_point point = {.step = step, .C = dt_sweep_C(step)};
    dt_logistic model = {0};
    if (!dt_probe_fit(&model, s->data, s->rows, s->n, point.C, s->options->cold ? NULL : nearest(s, step),
                      s->options, &point.facts, error))
        return false;
    if (!dt_probe_accuracy(&model, s->data->x, s->data->labels, s->data->held, s->data->held_count,
                           s->options->threads, &point.accuracy, &point.loss, error)) {
        dt_logistic_free(&model);
        return false;
    }
    memmove(sweep->points + at + 1, sweep->points + at, (sweep->count - at) * sizeof *sweep->points);
    memmove(s->models + at + 1, s->models + at, (sweep->count - at) * sizeof *s->models);
    sweep->points[at] = point;
    s->models[at] = model;
    sweep->count++;
    if (s->options->progress.tell)
        s->options->progress.tell(s->options->progress.context, "fits", sweep->count, DT_SWEEP_FITS);
    return true;
}

bool dt_sweep_run(dt_sweep *sweep, const dt_probe_data *data, const size_t *rows, size_t n,
                  const dt_probe_options *options, dt_error *error)
{
    *sweep = (dt_sweep){.validated = data->held_count};
    if (!data->held_count)
        return dt_fail(error, "%s: no rows to validate with", data->source);
    search s = {.sweep = sweep, .data = data, .rows = rows, .n = n, .options = options};
    bool good = true;
    for (int step = 0; good && step <= DT_SWEEP_STEPS; step += FIRST_INTERVAL)
        good = visit(&s, step, error);
    for (int interval = FIRST_INTERVAL / 2; good && interval; interval /= 2) {
        int best = sweep->points[best_of(sweep)].step;
        good = visit(&s, best - interval, error) && visit(&s, best + interval, error);
    }
    sweep->best = best_of(sweep);
    for (size_t i = 0; i < sweep->count; i++)
        if (good && i == sweep->best)
            sweep->model = s.models[i];
        else
            dt_logistic_free(&s.models[i]);
    if (options->progress.tell && sweep->count < DT_SWEEP_FITS) /* at an end of the range there are fewer */
        options->progress.tell(options->progress.context, "fits", DT_SWEEP_FITS, DT_SWEEP_FITS);
    return good;
}

void dt_sweep_free(dt_sweep *sweep)
{
    dt_logistic_free(&sweep->model);
    *sweep = (dt_sweep){0};
}

/* ---- testing ---- */

bool dt_probe_score(const dt_logistic *model, const float *x, const size_t *rows, size_t n, int threads,
                    dt_probe_take *take, void *context, dt_error *error)
{
    float *scores = calloc(BLOCK * model->classes, sizeof *scores);
    bool good = scores || dt_fail(error, "no memory for the scores of %zu classes", model->classes);
    for (size_t i = 0; good && i < n; i += BLOCK) {
        size_t part = n - i < BLOCK ? n - i : BLOCK;
        good = dt_logistic_scores(model, rows ? x : x + i * model->dim, rows ? rows + i : NULL, part, threads, scores,
                                  error) &&
               take(context, scores, i, part, error);
    }
    free(scores);
    return good;
}

typedef struct judged {
    dt_classification *counts;
    const int32_t *labels;
    const size_t *rows;
    size_t classes;
    double loss; /* summed */
} judged;

/* log sum exp(x) - x[label], the greatest taken out. */
static double cross_entropy(const float *x, size_t n, int32_t label)
{
    double most = (double)x[0], sum = 0;
    for (size_t k = 1; k < n; k++)
        most = fmax(most, (double)x[k]);
    for (size_t k = 0; k < n; k++)
        sum += exp((double)x[k] - most);
    return most + log(sum) - (double)x[label];
}

static bool count_right(void *context, const float *scores, size_t first, size_t count, dt_error *error)
{
    judged *j = context;
    int32_t labels[BLOCK];
    for (size_t i = 0; i < count; i++) {
        labels[i] = j->labels[j->rows ? j->rows[first + i] : first + i];
        j->loss += cross_entropy(scores + i * j->classes, j->classes, labels[i]);
    }
    return dt_classification_add(j->counts, scores, count, labels, NULL, error);
}

bool dt_probe_accuracy(const dt_logistic *model, const float *x, const int32_t *labels, const size_t *rows,
                       size_t n, int threads, double *accuracy, double *loss, dt_error *error)
{
    judged j = {dt_classification_new(model->classes, false, error), labels, rows, model->classes, 0};
    bool good = j.counts && dt_probe_score(model, x, rows, n, threads, count_right, &j, error);
    if (good)
        *accuracy = dt_classification_top(j.counts, 1);
    if (good && loss)
        *loss = j.loss / (double)n;
    dt_classification_free(j.counts);
    return good;
}

/* Numbers of the rows inside and outside of a fold. */
static size_t part_rows(const int32_t *fold_of_row, size_t n, int fold, size_t *outside, size_t *inside)
{
    size_t in = 0, out = 0;
    for (size_t i = 0; i < n; i++)
        if (fold_of_row[i] == fold)
            inside[in++] = i;
        else
            outside[out++] = i;
    return in;
}

static bool run_fold(const dt_probe_data *data, const size_t *rows, size_t n, const size_t *tested,
                     size_t test_count, double C, const dt_probe_options *options, double *accuracy,
                     dt_error *error)
{
    dt_logistic model = {0};
    bool good = dt_probe_fit(&model, data, rows, n, C, NULL, options, NULL, error) &&
                dt_probe_accuracy(&model, data->x, data->labels, tested, test_count, options->threads, accuracy, NULL, error);
    dt_logistic_free(&model);
    return good;
}

bool dt_folds_check(const dt_probe_data *data, int k, dt_error *error)
{
    char purpose[32];
    snprintf(purpose, sizeof purpose, "%d folds", k);
    return k < 2 ? dt_fail(error, "cannot make %d folds; expected at least 2", k)
                 : dt_probe_data_enough(data, data->labels, data->trained, (size_t)k, purpose, error);
}

bool dt_probe_folds(const dt_probe_data *data, int k, uint64_t seed, double C,
                    const dt_probe_options *options, double *accuracies, size_t *sizes, dt_error *error)
{
    size_t n = data->trained;
    int32_t *fold_of_row = calloc(n, sizeof *fold_of_row);
    size_t *outside = calloc(n, sizeof *outside), *inside = calloc(n, sizeof *inside);
    bool good =
        (fold_of_row && outside && inside) || dt_fail(error, "no memory for the folds of %zu rows", n);
    good =
        good && dt_folds_check(data, k, error) &&
        (dt_folds(data->labels, n, k, seed, fold_of_row, error) || dt_fail_prefix(error, "%s", data->source));
    for (int fold = 0; good && fold < k; fold++) {
        sizes[fold] = part_rows(fold_of_row, n, fold, outside, inside);
        good = run_fold(data, outside, n - sizes[fold], inside, sizes[fold], C, options, &accuracies[fold],
                        error);
        if (options->progress.tell)
            options->progress.tell(options->progress.context, "folds", (size_t)fold + 1, (size_t)k);
    }
    free(fold_of_row);
    free(outside);
    free(inside);
    return good;
}

void dt_mean_deviation(const double *values, size_t n, double *mean, double *deviation)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += values[i];
    *mean = n ? sum / (double)n : 0;
    for (size_t i = 0; i < n; i++)
        squares += (values[i] - *mean) * (values[i] - *mean);
    *deviation = n > 1 ? sqrt(squares / (double)(n - 1)) : 0;
}
