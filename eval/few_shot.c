#include "eval/few_shot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/folds.h"

/* What every draw needs. */
typedef struct work {
    const dt_probe_data *data;
    const dt_features *test;
    int32_t *labels; /* [n] of the rows to draw from */
    size_t *rows;    /* [n] those drawn */
    size_t drawn;
    double C;
    dt_probe_options options;
} work;

static bool run_draw(work *w, size_t shots, uint64_t seed, dt_shot *shot, dt_error *error)
{
    dt_sweep sweep = {0};
    dt_logistic_facts facts;
    *shot = (dt_shot){.C = w->C};
    bool good = dt_few_shot(w->labels, w->data->n, shots, seed, w->rows, &w->drawn, error);
    if (good && w->C > 0) {
        good = dt_probe_fit(&sweep.model, w->data, w->rows, w->drawn, w->C, NULL, &w->options, &facts, error);
        shot->converged = good && facts.converged;
    } else if (good && (good = dt_sweep_run(&sweep, w->data, w->rows, w->drawn, &w->options, error))) {
        shot->C = sweep.points[sweep.best].C;
        shot->converged = sweep.points[sweep.best].facts.converged;
    }
    good = good && dt_probe_accuracy(&sweep.model, w->test->rows, w->test->labels, NULL, w->test->count,
                                     w->options.threads, &shot->accuracy, NULL, error);
    dt_sweep_free(&sweep);
    return good;
}

static bool run_point(work *w, dt_shot_point *point, size_t seeds, uint64_t first_seed, dt_error *error)
{
    double accuracies[DT_SHOT_SEEDS_MAX];
    for (size_t s = 0; s < seeds; s++) {
        if (!run_draw(w, point->shots, first_seed + s, &point->of_seed[s], error))
            return false;
        accuracies[s] = point->of_seed[s].accuracy;
    }
    dt_mean_deviation(accuracies, seeds, &point->mean, &point->deviation);
    return true;
}

bool dt_shots_check(const dt_probe_data *data, const size_t *shots, size_t count, dt_error *error)
{
    int32_t *labels = dt_probe_data_fit_labels(data, error);
    bool good = labels;
    for (size_t i = 0; good && i < count; i++) {
        char purpose[64];
        snprintf(purpose, sizeof purpose, "%zu shots", shots[i]);
        good = dt_probe_data_enough(data, labels, data->n, shots[i], purpose, error);
    }
    free(labels);
    return good;
}

static int ascending(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;
    return (x > y) - (x < y);
}

/* sorted [DT_SHOTS_MAX] gets the numbers in ascending order, each once; returns how many there are. */
static size_t sort_shots(const size_t *shots, size_t count, size_t *sorted)
{
    size_t kept = 0;
    memcpy(sorted, shots, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, ascending);
    for (size_t i = 0; i < count; i++)
        if (!kept || sorted[i] != sorted[kept - 1])
            sorted[kept++] = sorted[i];
    return kept;
}

bool dt_shot_curve_run(dt_shot_curve *curve, const dt_probe_data *data, const dt_features *test,
                       const size_t *shots, size_t count, size_t seeds, uint64_t first_seed, double C,
                       const dt_probe_options *options, dt_error *error)
{
    *curve = (dt_shot_curve){.seeds = seeds, .tested = test->count};
    if (!count || count > DT_SHOTS_MAX || !seeds || seeds > DT_SHOT_SEEDS_MAX)
        return dt_fail(error, "%zu numbers of shots and %zu seeds; expected 1 to %d and 1 to %d", count,
                       seeds, DT_SHOTS_MAX, DT_SHOT_SEEDS_MAX);
    size_t sorted[DT_SHOTS_MAX];
    count = sort_shots(shots, count, sorted);
    dt_progress progress = options->progress;
    work w = {
        .data = data, .test = test, .C = C, .options = *options, .rows = calloc(data->n, sizeof *w.rows)};
    w.options.progress = (dt_progress){0}; /* draws are told, not fits */
    w.labels = dt_probe_data_fit_labels(data, error);
    bool good = w.labels && (w.rows || dt_fail(error, "no memory for %zu rows", data->n)) &&
                dt_shots_check(data, sorted, count, error);
    for (; good && curve->count < count; curve->count += good) {
        dt_shot_point *point = &curve->points[curve->count];
        point->shots = sorted[curve->count];
        good = run_point(&w, point, seeds, first_seed, error);
        if (progress.tell)
            progress.tell(progress.context, "few-shot probes", curve->count + 1, count);
    }
    free(w.labels);
    free(w.rows);
    return good;
}
