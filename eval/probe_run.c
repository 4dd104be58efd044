#define _GNU_SOURCE /* asprintf */
#include "eval/probe_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/clock.h"

static bool prepare(dt_probe_result *r, dt_features *train, dt_features *validation, dt_features *test,
                    dt_error *error)
{
    const dt_probe_settings *s = &r->settings;
    if (!dt_features_labelled(train, error) || (validation && !dt_features_labelled(validation, error)) ||
        (test && !dt_features_labelled(test, error)))
        return false;
    if (!dt_probe_data_new(&r->data, train, error) || (test && !dt_probe_data_match(&r->data, test, error)))
        return false;
    bool good = validation ? dt_probe_data_validate_on(&r->data, validation, error)
                           : s->C > 0 || dt_probe_data_hold_out(&r->data, s->share, s->seed, error);
    return good && (!s->folds || dt_folds_check(&r->data, s->folds, error)) &&
           (!test || dt_shots_check(&r->data, s->shots, s->shot_count, error));
}

static bool choose(dt_probe_result *r, dt_error *error)
{
    double start = dt_now();
    r->C = r->settings.C;
    if (r->C > 0)
        return true;
    if (!dt_sweep_run(&r->sweep, &r->data, r->data.fit, r->data.fit_count, &r->settings.fits, error))
        return false;
    r->C = r->sweep.points[r->sweep.best].C;
    r->sweep_seconds = dt_now() - start;
    return true;
}

static bool add_scores(void *context, const float *scores, size_t first, size_t count, dt_error *error)
{
    const dt_probe_result *r = context;
    return dt_assessment_add(r->assessment, scores, r->test->labels + first, r->test->images + first, count, error);
}

static bool assess(dt_probe_result *r, dt_error *error)
{
    const dt_features *test = r->test;
    const dt_assessment_options options = {.name = r->name,
                                           .store = test->source,
                                           .classes = r->data.class_count,
                                           .class_names = (const char *const *)r->data.classes,
                                           .seed = r->settings.seed,
                                           .confusion = true};
    return (r->assessment = dt_assessment_new(&options, error)) &&
           dt_probe_score(&r->model, test->rows, NULL, test->count, r->settings.fits.threads, add_scores, r, error);
}

static bool run_shots(dt_probe_result *r, dt_error *error)
{
    const dt_probe_settings *s = &r->settings;
    double start = dt_now();
    if (!(r->shots = calloc(1, sizeof *r->shots)))
        return dt_fail(error, "no memory for a few-shot curve");
    bool good = dt_shot_curve_run(r->shots, &r->data, r->test, s->shots, s->shot_count, s->seeds, s->seed,
                                  s->C, &s->fits, error);
    r->shots_seconds = dt_now() - start;
    return good;
}

static bool run_folds(dt_probe_result *r, dt_error *error)
{
    const dt_probe_settings *s = &r->settings;
    double start = dt_now();
    r->fold_accuracies = calloc((size_t)s->folds, sizeof *r->fold_accuracies);
    r->fold_sizes = calloc((size_t)s->folds, sizeof *r->fold_sizes);
    if (!r->fold_accuracies || !r->fold_sizes)
        return dt_fail(error, "no memory for %d folds", s->folds);
    /* The solution for all rows has seen the rows that a fold leaves out. The minimum that is found does not
     * depend on the start, but how near to it a fit stops does: folds start from nothing. */
    bool good =
        dt_probe_folds(&r->data, s->folds, s->seed, r->C, &s->fits, r->fold_accuracies, r->fold_sizes, error);
    dt_mean_deviation(r->fold_accuracies, (size_t)s->folds, &r->fold_mean, &r->fold_deviation);
    r->folds_seconds = dt_now() - start;
    return good;
}

bool dt_probe_run(dt_probe_result *r, dt_features *train, dt_features *validation, dt_features *test,
                  const dt_probe_settings *settings, dt_error *error)
{
    *r = (dt_probe_result){.settings = *settings, .test = test};
    if (asprintf(&r->name, "%s, %s", settings->set, settings->method) < 0) {
        r->name = NULL;
        return dt_fail(error, "no memory for a name");
    }
    return prepare(r, train, validation, test, error) && choose(r, error) &&
           dt_probe_fit(&r->model, &r->data, NULL, r->data.n, r->C, r->sweep.count ? &r->sweep.model : NULL,
                        &settings->fits, &r->facts, error) &&
           (!test || assess(r, error)) && (!test || !settings->shot_count || run_shots(r, error)) &&
           (!settings->folds || run_folds(r, error));
}

void dt_probe_result_free(dt_probe_result *r)
{
    dt_probe_data_free(&r->data);
    dt_sweep_free(&r->sweep);
    dt_logistic_free(&r->model);
    dt_assessment_free(r->assessment);
    free(r->shots);
    free(r->fold_accuracies);
    free(r->fold_sizes);
    free(r->name);
    *r = (dt_probe_result){0};
}
