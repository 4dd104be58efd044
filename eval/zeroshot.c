#include "eval/zeroshot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/pairs.h"
#include "eval/metrics.h"
#include "eval/retrieval.h"

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
    for (size_t i = 0; i < result->query_count; i++)
        free(result->queries[i].hits);
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
    _Static_assert(3 + DT_ATTRIBUTES_MAX + 2 * (DT_RECALLS + 2) <= DT_SCORES_MAX,
                   "every score has its place");
    dt_score *score = &r->result->scores[r->result->score_count++];
    *score = (dt_score){.value = value, .n = n, .chance = chance};
    snprintf(score->key, sizeof score->key, "%s", key);
    snprintf(score->name, sizeof score->name, "%s", name);
    return score;
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

static void score_way(run *r, const char *from, const char *to, const dt_retrieval_way *way)
{
    char key[96], name[96];
    for (int i = 0; i < DT_RECALLS; i++) {
        snprintf(key, sizeof key, "%s_to_%s_r%d", from, to, dt_recall_at[i]);
        snprintf(name, sizeof name, "%s to %s R@%d", from, to, dt_recall_at[i]);
        dt_score *score = add_score(r, key, name, way->recall[i], way->queries, way->recall_chance[i]);
        snprintf(score->note, sizeof score->note, "among %zu", way->gallery);
    }
    const double ranks[] = {way->median_rank, way->mean_rank};
    for (int i = 0; i < 2; i++) {
        snprintf(key, sizeof key, "%s_to_%s_%s_rank", from, to, i ? "mean" : "median");
        snprintf(name, sizeof name, "%s to %s, %s rank", from, to, i ? "mean" : "median");
        dt_score *score = add_score(r, key, name, ranks[i], way->queries, NAN);
        score->rank = true;
        snprintf(score->note, sizeof score->note, "among %zu", way->gallery);
    }
}

static bool retrieve(run *r, dt_error *error)
{
    dt_captions captions;
    if (!dt_dataset_captions(r->options->data, r->options->captions_each, &captions, error))
        return false;
    size_t m = r->result->captions = captions.count;
    if (!m)
        return dt_fail(error, "%s has no captions to find", r->result->data);
    dt_retrieval found;
    float *texts = m <= SIZE_MAX / r->dim ? calloc(m * r->dim, sizeof *texts) : NULL;
    dt_encoder *encoder = texts ? dt_text_encoder_new(r->model, r->backend, batch_for(r, m), error) : NULL;
    bool good = texts || dt_fail(error, "no memory for the embeddings of %zu captions", m);
    good = good && encoder &&
           dt_embed_texts(r->model, encoder, captions.texts, m, texts, r->options->progress, error) &&
           dt_retrieval_run(r->images, r->n, texts, m, r->dim, captions.images, &found, NULL, NULL, error);
    if (good) {
        score_way(r, "image", "text", &found.image_to_text);
        score_way(r, "text", "image", &found.text_to_image);
    }
    dt_encoder_free(encoder);
    free(texts);
    dt_captions_free(&captions);
    return good;
}

/* ---- Queries ---- */

/* Marks the images of which the query is a caption, the class's name or its prompt. False: there are none. */
static bool find_matches(const run *r, const char *query, const dt_captions *captions, bool *matches)
{
    const dt_dataset *data = r->options->data;
    const dt_classes *classes = r->classes;
    bool any = false;
    for (size_t i = 0; i < r->n; i++) {
        int32_t label = dt_dataset_labels(data)[i];
        matches[i] = label >= 0 && !strcasecmp(query, dt_dataset_class_name(data, (size_t)label));
        if (label >= 0 && classes)
            matches[i] |= !strcasecmp(query, classes->names[r->class_of[label]]) ||
                          (classes->prompts && !strcasecmp(query, classes->prompts[r->class_of[label]]));
        any |= matches[i];
    }
    for (size_t c = 0; c < captions->count; c++)
        if (!strcasecmp(query, captions->texts[c]))
            any = matches[captions->images[c]] = true;
    return any;
}

static bool describe_hits(run *r, const int32_t *indices, const float *scores, size_t top, dt_error *error)
{
    dt_captions captions;
    if (!dt_dataset_captions(r->options->data, 0, &captions, error))
        return false;
    bool *matches = calloc(r->n, sizeof *matches);
    bool good = matches || dt_fail(error, "no memory");
    for (size_t q = 0; good && q < r->options->query_count; q++) {
        dt_query_found *found = &r->result->queries[q];
        *found = (dt_query_found){r->options->queries[q], calloc(top, sizeof *found->hits), top};
        good = found->hits || dt_fail(error, "no memory");
        bool known = good && find_matches(r, found->query, &captions, matches);
        for (size_t i = 0; good && i < top; i++) {
            size_t index = (size_t)indices[q * top + i];
            dt_hit_found *hit = &found->hits[i];
            *hit = (dt_hit_found){index, scores[q * top + i], known ? matches[index] : -1, ""};
            good = dt_dataset_describe(r->options->data, index, hit->text, sizeof hit->text, error);
        }
    }
    free(matches);
    dt_captions_free(&captions);
    return good;
}

static bool search(run *r, dt_error *error)
{
    const dt_zeroshot_options *o = r->options;
    size_t count = o->query_count, top = o->top ? o->top : TOP;
    top = top < r->n ? top : r->n;
    int32_t *indices = calloc(count * top, sizeof *indices);
    float *scores = calloc(count * top, sizeof *scores), *texts = calloc(count * r->dim, sizeof *texts);
    r->result->queries = calloc(count, sizeof *r->result->queries);
    bool good = (indices && scores && texts && r->result->queries) ||
                dt_fail(error, "no memory for %zu queries", count);
    r->result->query_count = good ? count : 0;
    dt_encoder *encoder = good ? dt_text_encoder_new(r->model, r->backend, batch_for(r, count), error) : NULL;
    good = good && encoder &&
           dt_embed_texts(r->model, encoder, o->queries, count, texts, (dt_progress){0}, error) &&
           dt_retrieval_search(texts, count, r->images, r->n, r->dim, top, indices, scores, error);
    good = good && describe_hits(r, indices, scores, top, error);
    dt_encoder_free(encoder);
    free(indices);
    free(scores);
    free(texts);
    return good;
}
