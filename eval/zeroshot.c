#include "eval/zeroshot.h"

#include <stdlib.h>
#include <string.h>

#include "data/pairs.h"
#include "eval/captions.h"
#include "eval/metrics.h"

enum { BATCH = 128, TOP = 5 };

/* A run's parts that several of its steps need. */
typedef struct run {
    dt_model *model;
    const dt_zeroshot_options *options;
    dt_zeroshot_result *result;
    const dt_backend *backend;
    size_t n, dim;
    float *images;             /* [n, dim] */
    const dt_classes *classes; /* the options' or the data's; NULL: nothing is classified */
    dt_classes *own;           /* the latter */
    int32_t *class_of;         /* which class each of the data's labels is */
    const char *const *templates;
    size_t template_count;
} run;

static bool check(run *r, dt_error *error);
static bool embed_images(run *r, dt_error *error);
static bool classify(run *r, dt_error *error);
static bool retrieve(run *r, dt_error *error);
static bool search(run *r, dt_error *error);

bool dt_zeroshot_run(dt_model *model, const dt_zeroshot_options *options, dt_zeroshot_result *result,
                     dt_error *error)
{
    run r = {.model = model,
             .options = options,
             .result = result,
             .backend = options->backend ? options->backend : dt_cpu(),
             .n = dt_dataset_count(options->data),
             .dim = (size_t)model->config.embed_dim};
    *result =
        (dt_zeroshot_result){.data = dt_dataset_path(options->data), .name = options->name, .images = r.n};
    bool good = check(&r, error) && embed_images(&r, error) && (!r.classes || classify(&r, error)) &&
                (!options->retrieval || retrieve(&r, error)) && (!options->query_count || search(&r, error));
    free(r.images);
    free(r.class_of);
    dt_classes_free(r.own);
    if (!good)
        dt_zeroshot_free(result);
    return good;
}

void dt_zeroshot_free(dt_zeroshot_result *result)
{
    dt_queries_free(result->queries, result->query_count);
    free(result->queries);
    *result = (dt_zeroshot_result){0};
}

/* Everything that can be wrong is found before the images are embedded. */
static bool check_texts(run *r, dt_error *error)
{
    static const char *const standard[] = {DT_DEFAULT_TEMPLATE};
    const dt_zeroshot_options *o = r->options;
    for (size_t i = 0; i < o->query_count; i++)
        if (!dt_caption_check(o->queries[i], error))
            return dt_fail_prefix(error, "query %zu", i + 1);
    if (o->classes && o->classes->prompts && o->template_count)
        return dt_fail(error, "%s has whole prompts, to which no template applies", o->classes->origin);
    r->templates = o->template_count ? o->templates : standard;
    r->template_count = o->template_count ? o->template_count : 1;
    for (size_t i = 0; i < r->template_count; i++)
        if (!dt_template_check(r->templates[i], error))
            return false;
    return true;
}

static bool check(run *r, dt_error *error)
{
    const dt_zeroshot_options *o = r->options;
    size_t labels = dt_dataset_class_count(o->data);
    for (size_t i = 0; i < r->n; i++)
        r->result->labelled += dt_dataset_labels(o->data)[i] >= 0;
    if (!check_texts(r, error))
        return false;
    if (!r->result->labelled || !labels)
        return !o->classes && (o->retrieval || o->query_count)
                   ? true
                   : dt_fail(error, "%s has no %s, so there is nothing to compare predictions with%s",
                             r->result->data, labels ? "image with a class" : "classes",
                             o->classes ? "" : "; try --retrieval");
    if (!o->classes && !(r->own = dt_classes_of(o->data, error)))
        return false;
    r->classes = o->classes ? o->classes : r->own;
    r->class_of = calloc(labels, sizeof *r->class_of);
    return (r->class_of || dt_fail(error, "no memory for %zu classes", labels)) &&
           dt_classes_match(r->classes, o->data, r->class_of, error);
}

/* An encoder's batch: no larger than what there is. */
static int batch_for(const run *r, size_t count)
{
    size_t batch = (size_t)(r->options->batch > 0 ? r->options->batch : BATCH);
    return (int)(count < batch ? count : batch);
}

static bool embed_images(run *r, dt_error *error)
{
    size_t cells;
    if (__builtin_mul_overflow(r->n, r->dim, &cells) || !(r->images = calloc(cells, sizeof *r->images)))
        return dt_fail(error, "no memory for %zu embeddings of width %zu", r->n, r->dim);
    dt_encoder *encoder = dt_image_encoder_new(r->model, r->backend, batch_for(r, r->n), error);
    bool good = encoder && dt_dataset_embed(r->options->data, r->model, encoder, r->options->threads,
                                            r->images, r->options->progress, error);
    dt_encoder_free(encoder);
    return good;
}

static dt_score *add_score(run *r, const char *key, const char *name, double value, size_t n, double chance)
{
    _Static_assert(3 + DT_ATTRIBUTES_MAX + DT_RETRIEVAL_SCORES <= DT_SCORES_MAX, "every score has its place");
    return dt_score_add(r->result->scores, &r->result->score_count, key, name, value, n, chance);
}

/* ---- Classes ---- */

/* The images with a label and their true classes. */
typedef struct labelled {
    size_t n;
    float *rows; /* [n, dim]; the run's own where all have one */
    int32_t *truth, *predicted;
} labelled;

static bool gather(const run *r, labelled *l, dt_error *error)
{
    const int32_t *labels = dt_dataset_labels(r->options->data);
    size_t n = l->n = r->result->labelled;
    l->rows = n == r->n ? r->images : malloc(n * r->dim * sizeof *l->rows);
    l->truth = malloc(n * sizeof *l->truth);
    l->predicted = malloc(n * sizeof *l->predicted);
    if (!l->rows || !l->truth || !l->predicted)
        return dt_fail(error, "no memory for %zu labelled images", n);
    for (size_t i = 0, at = 0; i < r->n; i++) {
        if (labels[i] < 0)
            continue;
        l->truth[at] = r->class_of[labels[i]];
        if (n != r->n)
            memcpy(l->rows + at * r->dim, r->images + i * r->dim, r->dim * sizeof *l->rows);
        at++;
    }
    return true;
}

static bool embed_classes(const run *r, float *weights, dt_error *error)
{
    /* Several templates are embedded a class at a time. */
    size_t texts = r->template_count > 1 && !r->classes->prompts ? r->template_count : r->classes->count;
    dt_encoder *encoder = dt_text_encoder_new(r->model, r->backend, batch_for(r, texts), error);
    bool good = encoder && dt_classes_embed(r->classes, r->templates, r->template_count, r->model, encoder,
                                            weights, r->options->progress, error);
    dt_encoder_free(encoder);
    return good;
}

static void score_attribute(run *r, const dt_attribute *attribute, const labelled *l)
{
    size_t n = 0, right = 0;
    for (size_t i = 0; i < l->n; i++) {
        int32_t truth = attribute->of_class[l->truth[i]];
        n += truth >= 0;
        right += truth >= 0 && truth == attribute->of_class[l->predicted[i]];
    }
    if (!n)
        return;
    char key[96], name[96];
    snprintf(key, sizeof key, "accuracy_%s", attribute->name);
    snprintf(name, sizeof name, "%s accuracy", attribute->name);
    dt_score *score =
        add_score(r, key, name, (double)right / (double)n, n, 1 / (double)attribute->value_count);
    snprintf(score->note, sizeof score->note, "of the predicted class, %zu values", attribute->value_count);
}

static void score_classes(run *r, const dt_classification *counts, const labelled *l)
{
    const dt_classes *classes = r->classes;
    double k = (double)classes->count;
    size_t seen;
    double recall = dt_classification_mean_recall(counts, &seen);
    dt_score *score = add_score(r, "top1", "top-1 accuracy", dt_classification_top(counts, 1), l->n, 1 / k);
    snprintf(score->note, sizeof score->note, "among %zu classes", classes->count);
    score = add_score(r, "top5", "top-5 accuracy", dt_classification_top(counts, 5), l->n, k < 5 ? 1 : 5 / k);
    snprintf(score->note, sizeof score->note, "among %zu classes", classes->count);
    score = add_score(r, "mean_class_recall", "mean per-class recall", recall, l->n, 1 / k);
    snprintf(score->note, sizeof score->note, "over the %zu classes that occur", seen);
    for (size_t i = 0; i < classes->attribute_count; i++)
        score_attribute(r, &classes->attributes[i], l);
}

static bool classify(run *r, dt_error *error)
{
    const dt_classes *classes = r->classes;
    r->result->classes = classes->count;
    labelled l = {0};
    dt_classification *counts = dt_classification_new(classes->count, false, error);
    float *weights = calloc(classes->count * r->dim, sizeof *weights);
    bool good = counts && (weights || dt_fail(error, "no memory for %zu classes", classes->count));
    good =
        good && gather(r, &l, error) && embed_classes(r, weights, error) &&
        dt_classification_add_embeddings(counts, l.rows, l.n, weights, r->dim, l.truth, l.predicted, error);
    if (good)
        score_classes(r, counts, &l);
    dt_classification_free(counts);
    free(weights);
    if (l.rows != r->images)
        free(l.rows);
    free(l.truth);
    free(l.predicted);
    return good;
}

/* ---- Captions ---- */

static bool retrieve(run *r, dt_error *error)
{
    dt_retrieval found;
    if (!dt_captions_retrieve(r->options->data, r->images, r->model, r->backend, batch_for(r, SIZE_MAX),
                              r->options->captions_each, r->options->progress, &found, &r->result->captions, error))
        return false;
    dt_retrieval_scores(&found, r->result->scores, &r->result->score_count);
    return true;
}

/* ---- Queries ---- */

static bool answer(run *r, const float *texts, dt_error *error)
{
    const dt_zeroshot_options *o = r->options;
    dt_captions captions = {0};
    dt_query *queries = calloc(o->query_count, sizeof *queries);
    bool good = queries || dt_fail(error, "no memory for %zu queries", o->query_count);
    for (size_t q = 0; good && q < o->query_count; q++)
        queries[q].text = o->queries[q];
    good = good && dt_dataset_captions(o->data, 0, &captions, error) &&
           dt_queries_answer(&(dt_searched){o->data, r->images, r->dim, &captions, r->classes, r->class_of}, queries,
                             o->query_count, texts, o->top ? o->top : TOP, r->result->queries, error);
    dt_captions_free(&captions);
    free(queries);
    return good;
}

static bool search(run *r, dt_error *error)
{
    const dt_zeroshot_options *o = r->options;
    size_t count = o->query_count;
    float *texts = calloc(count * r->dim, sizeof *texts);
    r->result->queries = calloc(count, sizeof *r->result->queries);
    bool good = (texts && r->result->queries) || dt_fail(error, "no memory for %zu queries", count);
    r->result->query_count = good ? count : 0;
    dt_encoder *encoder = good ? dt_text_encoder_new(r->model, r->backend, batch_for(r, count), error) : NULL;
    good = encoder && dt_embed_texts(r->model, encoder, o->queries, count, texts, (dt_progress){0}, error) &&
           answer(r, texts, error);
    dt_encoder_free(encoder);
    free(texts);
    return good;
}
