#include "eval/zeroshot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/pairs.h"
#include "eval/assessment.h"
#include "eval/captions.h"
#include "eval/map.h"
#include "eval/origin.h"

enum { BATCH = 128, TOP = 5 };

/* A run's parts that several of its steps need. */
typedef struct run {
    dt_model *model;
    const dt_zeroshot_options *options;
    dt_zeroshot_result *result;
    const dt_backend *backend;
    size_t n, dim;
    const float *images;       /* [n, dim]: the options', or ... */
    float *embedded;           /* ... this run's own */
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
    free(r.embedded);
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
    json_decref(result->details);
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
    if (!r->model->config.has_text)
        return dt_fail(error, "this model has no text tower");
    if (!r->model->tokenizer)
        return dt_no_tokenizer(r->model, error);
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
    if ((r->images = r->options->images))
        return true;
    if (__builtin_mul_overflow(r->n, r->dim, &cells) || !(r->embedded = calloc(cells, sizeof *r->embedded)))
        return dt_fail(error, "no memory for %zu embeddings of width %zu", r->n, r->dim);
    r->images = r->embedded;
    dt_encoder *encoder = dt_image_encoder_new(r->model, r->backend, batch_for(r, r->n), error);
    bool good = encoder && dt_dataset_embed(r->options->data, r->model, encoder, r->options->threads,
                                            r->embedded, r->options->progress, error);
    dt_encoder_free(encoder);
    return good;
}

static dt_score *add_score(run *r, const char *key, const char *name, double value, size_t n, double chance)
{
    _Static_assert(7 + DT_ATTRIBUTES_MAX + DT_RETRIEVAL_SCORES <= DT_SCORES_MAX, "every score has its place");
    return dt_score_add(r->result->scores, &r->result->score_count, key, name, value, n, chance);
}

/* ---- Classes ---- */

/* The classes of the images by the numbers of the classes; -1: no label. The caller frees. */
static int32_t *true_classes(const run *r, dt_error *error)
{
    const int32_t *labels = dt_dataset_labels(r->options->data);
    int32_t *truth = malloc(r->n * sizeof *truth);
    if (!truth)
        dt_fail(error, "no memory for %zu labels", r->n);
    for (size_t i = 0; truth && i < r->n; i++)
        truth[i] = labels[i] < 0 ? -1 : r->class_of[labels[i]];
    return truth;
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

static void score_attribute(run *r, const dt_attribute *attribute, const dt_assessment *a)
{
    size_t n = 0, right = 0;
    for (size_t i = 0; i < a->n; i++) {
        int32_t truth = attribute->of_class[a->samples[i].truth];
        n += truth >= 0;
        right += truth >= 0 && truth == attribute->of_class[a->samples[i].predicted];
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

static double number_or_nan(const json_t *object, const char *key)
{
    const json_t *number = json_object_get(object, key);
    return number ? json_number_value(number) : (double)NAN;
}

/* The assessment's figures become scores, the set's name before theirs taken off, as dt_zeroshot_json puts it there for all. */
static void take_figures(run *r, const json_t *figures)
{
    size_t i, prefix = r->options->name ? strlen(r->options->name) + 2 : 0;
    const json_t *figure;
    json_array_foreach((json_t *)figures, i, figure)
    {
        dt_score *s = add_score(r, json_string_value(json_object_get(figure, "key")),
                                json_string_value(json_object_get(figure, "name")) + prefix,
                                number_or_nan(figure, "value"), (size_t)json_integer_value(json_object_get(figure, "n")),
                                number_or_nan(figure, "chance"));
        s->low = number_or_nan(figure, "low");
        s->high = number_or_nan(figure, "high");
        snprintf(s->note, sizeof s->note, "%s", json_string_value(json_object_get(figure, "note")));
    }
}

/* Where the images and the classes' prompts lie. */
static bool map_classes(run *r, const float *weights, const int32_t *truth, dt_error *error)
{
    const dt_zeroshot_options *o = r->options;
    const char *const *names = (const char *const *)r->classes->names;
    const dt_towers towers = {.n = r->n, .m = r->classes->count, .dim = r->dim, .images = r->images, .texts = weights,
                              .labels = truth, .words = names, .classes = names, .class_count = r->classes->count};
    json_t *map = dt_map_json(&towers, o->name ? o->name : r->result->data, r->result->data, error);
    return map && (json_object_set_new(r->result->details, "maps", json_pack("[o]", map)) == 0 ||
                   dt_fail(error, "no memory for the map"));
}

static bool assess(run *r, dt_assessment *a, const float *weights, const int32_t *truth, dt_error *error)
{
    if (!dt_assessment_add_embeddings(a, r->images, weights, r->dim, truth, NULL, r->n, error))
        return false;
    json_t *found = r->options->details ? dt_assessment_json(a, error)
                                        : json_pack("{s:o}", "figures", dt_assessment_figures(a, error));
    if (!found)
        return false;
    take_figures(r, json_object_get(found, "figures"));
    json_object_del(found, "figures");
    for (size_t i = 0; i < r->classes->attribute_count; i++)
        score_attribute(r, &r->classes->attributes[i], a);
    if (r->options->details)
        r->result->details = found;
    else
        json_decref(found);
    return !r->options->details || map_classes(r, weights, truth, error);
}

static bool classify(run *r, dt_error *error)
{
    const dt_classes *classes = r->classes;
    r->result->classes = classes->count;
    int at = dt_params_find(r->model->params, "logit_scale");
    double scale = at < 0 ? 1 : exp((double)*dt_params_look(r->model->params, at));
    if (!isfinite(scale))
        return dt_fail(error, "the temperature is not a number; the model has diverged");
    const dt_assessment_options options = {
        .name = r->options->name, .store = r->result->data, .classes = classes->count,
        .class_names = (const char *const *)classes->names, .confusion = r->options->details,
        .scale = scale,
        .resamples = r->options->intervals ? 0 : -1};
    dt_assessment *a = dt_assessment_new(&options, error);
    float *weights = calloc(classes->count * r->dim, sizeof *weights);
    int32_t *truth = true_classes(r, error);
    bool good = a && truth && (weights || dt_fail(error, "no memory for %zu classes", classes->count)) &&
                embed_classes(r, weights, error) && assess(r, a, weights, truth, error);
    dt_assessment_free(a);
    free(weights);
    free(truth);
    return good;
}

/* ---- Captions ---- */

static bool retrieve(run *r, dt_error *error)
{
    const dt_zeroshot_options *o = r->options;
    dt_retrieval found;
    json_t *map = NULL;
    bool mapped = o->details && !json_object_get(r->result->details, "maps"); /* else the classes' prompts are on one already */
    if (!dt_captions_retrieve(o->data, r->images, r->model, r->backend, batch_for(r, SIZE_MAX), o->captions_each,
                              o->intervals, o->progress, &found, &r->result->captions,
                              o->name ? o->name : r->result->data, mapped ? &map : NULL, error))
        return false;
    if (mapped && !r->result->details)
        r->result->details = json_object();
    if (map && json_object_set_new(r->result->details, "maps", json_pack("[o]", map)))
        return dt_fail(error, "no memory for the map");
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
