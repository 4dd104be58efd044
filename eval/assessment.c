#include "eval/assessment.h"

#include <math.h>
#include <stdlib.h>

#include "data/pairs.h"
#include "eval/calibration.h"
#include "eval/findings.h"

dt_assessment *dt_assessment_new(const dt_assessment_options *options, dt_error *error)
{
    const double scale = options->scale == 0 ? 1 : options->scale;
    if (options->name && !dt_caption_check(options->name, error)) {
        dt_fail_prefix(error, "the name of an assessment");
        return NULL;
    }
    if (!(scale > 0 && isfinite(scale))) {
        dt_fail(error, "cannot scale scores by %g; expected a positive number", scale);
        return NULL;
    }
    dt_assessment *a = calloc(1, sizeof *a);
    if (!a) {
        dt_fail(error, "no memory for an assessment");
        return NULL;
    }
    a->options = *options;
    a->options.scale = scale;
    a->counts = dt_classification_new(options->classes,
                                      options->confusion && options->classes <= DT_CONFUSION_CLASSES, error);
    if (a->counts)
        return a;
    free(a);
    return NULL;
}

void dt_assessment_free(dt_assessment *assessment)
{
    if (!assessment)
        return;
    dt_classification_free(assessment->counts);
    free(assessment->samples);
    free(assessment);
}

static bool reserve(dt_assessment *a, size_t rows, dt_error *error)
{
    size_t need, bytes;
    if (__builtin_add_overflow(a->n, rows, &need))
        return dt_fail(error, "cannot assess %zu more rows", rows);
    if (need <= a->capacity)
        return true;
    size_t capacity = need < 2 * a->capacity ? 2 * a->capacity : need;
    dt_assessed *samples =
        __builtin_mul_overflow(capacity, sizeof *samples, &bytes) ? NULL : realloc(a->samples, bytes);
    if (!samples)
        return dt_fail(error, "no memory to assess %zu rows", need);
    a->samples = samples;
    a->capacity = capacity;
    return true;
}

static bool add_row(dt_assessment *a, const float *scores, int32_t label, size_t index, dt_error *error)
{
    const size_t classes = a->options.classes;
    dt_assessed *s = &a->samples[a->n];
    size_t rank;
    *s = (dt_assessed){.index = index, .truth = label};
    if (!dt_classification_add_row(a->counts, scores, label, &s->predicted, &rank, error))
        return dt_fail_prefix(error, "image %zu", index);
    s->rank = (int32_t)rank;
    s->confidence = dt_confidence(scores, classes, a->options.scale);
    s->confidence_bin = (int32_t)dt_calibration_bin_of(s->confidence);
    if (classes == 2 && scores[0] != scores[1]) /* equal infinities have no difference */
        s->margin = (double)scores[1] - (double)scores[0];
    a->n++;
    return true;
}

bool dt_assessment_add(dt_assessment *assessment, const float *scores, const int32_t *labels,
                       const size_t *indices, size_t rows, dt_error *error)
{
    if (!reserve(assessment, rows, error))
        return false;
    for (size_t i = 0; i < rows; i++) {
        size_t number = assessment->n + assessment->passed_over;
        if (labels[i] == -1)
            assessment->passed_over++;
        else if (!add_row(assessment, scores + i * assessment->options.classes, labels[i],
                          indices ? indices[i] : number, error))
            return false;
    }
    return true;
}
