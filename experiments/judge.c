#include "experiments/judge.h"

#include "eval/assessment.h"

#include <math.h>
#include <stdlib.h>

enum { BATCH = 128 };

/* Logits [count, classes], to be freed; NULL: a failure. */
static float *logits_of(dt_model *model, const dt_examples *examples, const size_t *rows, size_t count, dt_error *error)
{
    size_t classes = (size_t)model->head.classes, cells;
    if (__builtin_mul_overflow(count, classes, &cells) || cells > SIZE_MAX / sizeof(float)) {
        dt_fail(error, "%zu samples of %zu classes are too many", count, classes);
        return NULL;
    }
    float *logits = malloc((cells + 1) * sizeof *logits);
    dt_encoder *encoder = logits ? dt_encoder_new(model, dt_cpu(), model->head.tower, DT_LAYER_LOGITS,
                                                  count < BATCH ? (int)count : BATCH, error)
                                 : NULL;
    if (!logits)
        dt_fail(error, "no memory for the scores of %zu samples", count);
    bool good = encoder && dt_examples_encode(examples, rows, count, model, encoder, logits, (dt_progress){0}, error);
    dt_encoder_free(encoder);
    if (good)
        return logits;
    free(logits);
    return NULL;
}

/* log sum exp(x), the greatest taken out. */
static double log_sum_exp(const float *x, size_t n)
{
    double most = (double)x[0], sum = 0;
    for (size_t i = 1; i < n; i++)
        most = (double)x[i] > most ? (double)x[i] : most;
    for (size_t i = 0; i < n; i++)
        sum += exp((double)x[i] - most);
    return most + log(sum);
}

bool dt_judge(dt_model *model, const dt_examples *examples, const size_t *rows, size_t count, dt_verdict *verdict,
              dt_error *error)
{
    size_t classes = (size_t)model->head.classes, right = 0;
    count = rows ? count : dt_examples_count(examples);
    float *logits = logits_of(model, examples, rows, count, error);
    *verdict = (dt_verdict){.n = count};
    if (!logits)
        return false;
    for (size_t i = 0; i < count; i++) {
        const float *x = logits + i * classes;
        int32_t label = dt_examples_labels(examples)[rows ? rows[i] : i];
        size_t best = 0;
        for (size_t c = 1; c < classes; c++)
            best = x[c] > x[best] ? c : best;
        right += best == (size_t)label;
        verdict->loss += (log_sum_exp(x, classes) - (double)x[label]) / (double)count;
    }
    verdict->accuracy = (double)right / (double)count;
    free(logits);
    return isfinite(verdict->loss) || dt_fail(error, "the scores on %s are not finite; the model has diverged",
                                              dt_examples_path(examples));
}

json_t *dt_judge_fully(dt_model *model, const dt_examples *examples, const char *name, uint64_t seed, dt_error *error)
{
    size_t classes = (size_t)model->head.classes, count = dt_examples_count(examples);
    const char **names = malloc(classes * sizeof *names);
    for (size_t c = 0; names && c < classes; c++)
        names[c] = dt_model_class_name(model, c);
    const dt_assessment_options options = {.name = name, .classes = classes, .class_names = names, .seed = seed,
                                           .store = dt_examples_images(examples) ? dt_examples_path(examples) : NULL,
                                           .confusion = true};
    dt_assessment *a = names ? dt_assessment_new(&options, error) : NULL;
    if (!names)
        dt_fail(error, "no memory for %zu classes", classes);
    float *logits = a ? logits_of(model, examples, NULL, count, error) : NULL;
    json_t *found = NULL;
    if (logits && dt_assessment_add(a, logits, dt_examples_labels(examples), dt_examples_indices(examples), count, error))
        found = dt_assessment_json(a, error);
    free(logits);
    dt_assessment_free(a);
    free(names);
    return found;
}
