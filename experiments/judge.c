#include "experiments/judge.h"

#include "eval/assessment.h"

#include <math.h>
#include <stdlib.h>

enum { BATCH = 128, BLOCK_SCORES = 16 << 20 };

/* Takes a block of logits [count, classes] of the samples first, first + 1, ... of those that are judged. */
typedef bool taker(void *context, const float *logits, size_t first, size_t count, dt_error *error);

/* The head's logits of the samples numbered rows [count] (NULL: the first `count`), a bounded number at a time. */
static bool each_block(dt_model *model, const dt_backend *backend, const dt_examples *examples, const size_t *rows, size_t count,
                       taker *take, void *context, dt_error *error)
{
    size_t classes = (size_t)model->head.classes, block = BLOCK_SCORES / classes / BATCH * BATCH;
    block = block < BATCH ? BATCH : block > count ? count : block;
    size_t *which = malloc((block + 1) * sizeof *which);
    float *logits = malloc((block + 1) * classes * sizeof *logits);
    bool good = (which && logits) || dt_fail(error, "no memory for the scores of %zu classes", classes);
    dt_encoder *encoder = good ? dt_encoder_new(model, backend, model->head.tower, DT_LAYER_LOGITS,
                                                count < BATCH ? (int)count : BATCH, error)
                               : NULL;
    good = encoder != NULL;
    for (size_t at = 0; good && at < count; at += block) {
        size_t part = count - at < block ? count - at : block;
        for (size_t i = 0; i < part; i++)
            which[i] = rows ? rows[at + i] : at + i;
        good = dt_examples_encode(examples, which, part, model, encoder, logits, (dt_progress){0}, error) &&
               take(context, logits, at, part, error);
    }
    dt_encoder_free(encoder);
    free(which);
    free(logits);
    return good;
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

/* Counts what is right, and adds up the loss. */
typedef struct counting {
    const int32_t *labels; /* of all samples */
    const size_t *rows;
    size_t classes, right;
    double loss;
} counting;

static bool count_block(void *context, const float *logits, size_t first, size_t count, dt_error *error)
{
    counting *c = context;
    (void)error;
    for (size_t i = 0; i < count; i++) {
        const float *x = logits + i * c->classes;
        size_t label = (size_t)c->labels[c->rows ? c->rows[first + i] : first + i], best = 0;
        for (size_t k = 1; k < c->classes; k++)
            best = x[k] > x[best] ? k : best;
        c->right += best == label;
        c->loss += log_sum_exp(x, c->classes) - (double)x[label];
    }
    return true;
}

bool dt_judge(dt_model *model, const dt_backend *backend, const dt_examples *examples, const size_t *rows, size_t count,
              dt_verdict *verdict, dt_error *error)
{
    counting c = {.labels = dt_examples_labels(examples), .rows = rows, .classes = (size_t)model->head.classes};
    count = rows ? count : dt_examples_count(examples);
    bool good = each_block(model, backend, examples, rows, count, count_block, &c, error);
    *verdict = (dt_verdict){.n = count, .accuracy = (double)c.right / (double)count, .loss = c.loss / (double)count};
    return good && (isfinite(verdict->loss) || dt_fail(error, "the scores on %s are not finite; the model has diverged",
                                                       dt_examples_path(examples)));
}

/* Hands blocks on. */
typedef struct assessing {
    dt_assessment *assessment;
    const dt_examples *examples;
} assessing;

static bool assess_block(void *context, const float *logits, size_t first, size_t count, dt_error *error)
{
    const assessing *a = context;
    const uint64_t *indices = dt_examples_indices(a->examples);
    return dt_assessment_add(a->assessment, logits, dt_examples_labels(a->examples) + first, indices ? indices + first : NULL,
                             count, error);
}

json_t *dt_judge_fully(dt_model *model, const dt_backend *backend, const dt_examples *examples, const char *name, uint64_t seed,
                       dt_error *error)
{
    size_t classes = (size_t)model->head.classes;
    const char **names = malloc(classes * sizeof *names);
    for (size_t c = 0; names && c < classes; c++)
        names[c] = dt_model_class_name(model, c);
    const dt_assessment_options options = {.name = name, .classes = classes, .class_names = names, .seed = seed,
                                           .store = dt_examples_images(examples) ? dt_examples_path(examples) : NULL,
                                           .confusion = true};
    assessing a = {names ? dt_assessment_new(&options, error) : NULL, examples};
    if (!names)
        dt_fail(error, "no memory for %zu classes", classes);
    json_t *found = NULL;
    if (a.assessment && each_block(model, backend, examples, NULL, dt_examples_count(examples), assess_block, &a, error))
        found = dt_assessment_json(a.assessment, error);
    dt_assessment_free(a.assessment);
    free(names);
    return found;
}
