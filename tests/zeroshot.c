/* Zero-shot classification and retrieval by a model, against its embeddings taken one by one. */
#include "eval/findings.h"
#include "tests/small_set.h"

/* How many others lie nearer than `than` by more than `margin`, in double precision; a negative margin counts equals too. */
static size_t greater(const float *row, const float *others, size_t n, double than, double margin)
{
    size_t count = 0;
    for (size_t j = 0; j < n; j++) {
        double s = 0;
        for (int d = 0; d < DIM; d++)
            s += (double)row[d] * (double)others[j * DIM + (size_t)d];
        count += s > than + margin;
    }
    return count;
}

static double dot(const float *a, const float *b)
{
    double s = 0;
    for (int d = 0; d < DIM; d++)
        s += (double)a[d] * (double)b[d];
    return s;
}

static const dt_score *score_of(const dt_zeroshot_result *result, const char *key)
{
    static const dt_score none = {.value = -1};
    for (size_t i = 0; i < result->score_count; i++)
        if (!strcmp(result->scores[i].key, key))
            return &result->scores[i];
    return &none;
}

typedef struct counted {
    size_t n, top1, legs_right; /* images with a label; named right; with the right number of legs */
    size_t t2i, asked;          /* captions that find their image among five; images with captions */
    size_t i2t_least, i2t_most; /* images that find a caption among five: equal captions all before it, or none */
} counted;

/* What attributes.json says of the classes stands here once more. */
static counted count_plainly(int unlabelled, const float *images, const float *weights, const float *texts,
                             const dt_captions *captions)
{
    static const int class_of[CLASSES] = {1, 2, 0}, legs[4] = {4, 6, 6, 4};
    counted k = {0};
    for (int i = 0; i < IMAGES; i++) {
        double best = -2;
        for (size_t c = 0; c < captions->count; c++)
            if (captions->images[c] == i)
                best = fmax(best, dot(images + i * DIM, texts + c * DIM));
        k.asked += best > -2;
        k.i2t_most += best > -2 && greater(images + i * DIM, texts, captions->count, best, 1e-7) < 5;
        k.i2t_least += best > -2 && greater(images + i * DIM, texts, captions->count, best, -1e-7) <= 5; /* itself too */
        if (unlabelled && i % unlabelled == 0)
            continue;
        int truth = class_of[label_of(i)], predicted = 0;
        for (int c = 1; c < 4; c++)
            if (dot(images + i * DIM, weights + c * DIM) > dot(images + i * DIM, weights + predicted * DIM))
                predicted = c;
        k.n++;
        k.top1 += predicted == truth;
        k.legs_right += legs[predicted] == legs[truth];
    }
    for (size_t c = 0; c < captions->count; c++)
        k.t2i += greater(texts + c * DIM, images, IMAGES, dot(texts + c * DIM, images + captions->images[c] * DIM), 1e-7) < 5;
    return k;
}

/* Top-k, attributes and retrieval against embeddings taken one by one. */
static void figures(const char *store, int unlabelled)
{
    dt_dataset *data = dt_dataset_open(store, &error);
    dt_classes *classes = dt_classes_load(in("attributes.json"), &error);
    const dt_zeroshot_options options = {
        .data = data, .classes = classes, .retrieval = true, .name = "set", .batch = 3, .threads = 2};
    dt_zeroshot_result r = {0};
    if (!ok(data && classes && dt_zeroshot_run(model, &options, &r, &error), "%s evaluates", store)) {
        printf("# %s\n", error.message);
        return;
    }
    float images[IMAGES * DIM], weights[4 * DIM], texts[12 * DIM];
    static const char *const prompts[] = {"one cow", "an ant", "some bee", "a dog"};
    dt_encoder *encoder = dt_text_encoder_new(model, dt_cpu(), 1, &error);
    dt_captions captions = {0};
    ok(embed(data, 1, 1, images) && dt_encode_texts(model, encoder, prompts, 4, weights, &error) &&
           dt_dataset_captions(data, 0, &captions, &error) &&
           dt_encode_texts(model, encoder, captions.texts, captions.count, texts, &error),
       "%s one by one", store);
    const counted k = count_plainly(unlabelled, images, weights, texts, &captions);
    const size_t n = k.n;
    const dt_score *s = score_of(&r, "top1");
    ok(s->n == n && fabs(s->value - (double)k.top1 / (double)n) < 1e-12 && fabs(s->chance - 0.25) < 1e-12, "%s top-1 %g", store,
       s->value);
    ok(score_of(&r, "top5")->value < 0, "%s no top-5 of four classes", store);
    s = score_of(&r, "accuracy_legs");
    ok(s->n == n && fabs(s->value - (double)k.legs_right / (double)n) < 1e-12 && s->chance == 0.5, "%s legs %g", store,
       s->value);
    s = score_of(&r, "accuracy_milk"); /* known of two classes only */
    ok(s->n < n && s->chance == 0.5, "%s an attribute that not every class has", store);
    s = score_of(&r, "text_to_image_r5");
    ok(s->n == captions.count && fabs(s->value - (double)k.t2i / (double)s->n) < 1e-12 &&
           fabs(s->chance - 5.0 / IMAGES) < 1e-12,
       "%s text to image %g", store, s->value);
    s = score_of(&r, "image_to_text_r5");
    double found = s->value * (double)k.asked + 1e-9;
    ok(s->n == k.asked && found >= (double)k.i2t_least && found < (double)k.i2t_most + 1e-6, "%s image to text %g", store,
       s->value);
    ok(isnan(s->low) && isnan(score_of(&r, "top1")->low), "%s no intervals that nobody asked for", store);
    ok(score_of(&r, "text_to_image_median_rank")->value >= 1 && r.captions == captions.count && r.labelled == n,
       "%s ranks and counts", store);
    dt_encoder_free(encoder);
    dt_captions_free(&captions);
    dt_zeroshot_free(&r);
    dt_classes_free(classes);
    dt_dataset_close(data);
}

/* Into an evaluation file that holds other figures already. */
static void merging(const json_t *json, double top1)
{
    put_text("evaluation.json", "{\"kept\": 1, \"figures\": [{\"name\": \"headline\", \"value\": 0.5}, "
                                "{\"name\": \"set: top-1 accuracy\", \"value\": 9}]}");
    ok(dt_findings_merge(in("evaluation.json"), json, &error) && dt_findings_merge(in("evaluation.json"), json, &error),
       "merged twice");
    json_t *merged = dt_json_load(in("evaluation.json"), &error);
    const json_t *list = json_object_get(merged, "figures");
    ok(json_array_size(list) == 1 + json_array_size(json_object_get(json, "figures")) &&
           json_array_size(json_object_get(merged, "galleries")) == 3 && json_object_get(merged, "kept"),
       "nothing doubled, nothing lost");
    ok(json_number_value(json_object_get(json_array_get(list, 1), "value")) == top1,
       "a figure of the same name replaced in its place");
    json_decref(merged);
    put_text("odd.json", "{\"figures\": 3}");
    failed_with(dt_findings_merge(in("odd.json"), json, &error), "figures: expected a list", "a file of another form");
    char *before = dt_file_read(in("odd.json"), 100, NULL, &error);
    ok(before && !strcmp(before, "{\"figures\": 3}"), "which stays as it was");
    free(before);
    ok(dt_findings_merge(in("fresh.json"), json, &error) && dt_file_exists(in("fresh.json")), "a file made");
}

static void queries(void)
{
    dt_dataset *data = dt_dataset_open(in("full.lmdb"), &error);
    static const char *const asked[] = {"number by", "COW", "something else"};
    dt_zeroshot_options options = {.data = data, .queries = asked, .query_count = 3, .top = 99, .name = "set"};
    dt_zeroshot_result r;
    if (!ok(dt_zeroshot_run(model, &options, &r, &error), "queries run"))
        return;
    ok(r.query_count == 3 && r.queries[0].count == IMAGES, "no more hits than there are images");
    bool sorted = true, marked = true;
    for (size_t q = 0; q < 3; q++)
        for (size_t i = 0; i < IMAGES; i++) {
            const dt_hit_found *h = &r.queries[q].hits[i];
            sorted &= !i || h->score <= h[-1].score;
            marked &= h->correct == (q == 0 ? h->index == 1 : q == 1 ? label_of((int)h->index) == 2 : -1);
        }
    ok(sorted, "best first");
    ok(marked, "what is right, and what cannot be known");
    json_t *json = dt_zeroshot_json(&r);
    const json_t *hit = json_array_get(json_object_get(json_array_get(json_object_get(json, "galleries"), 2), "hits"), 0);
    ok(json_is_null(json_object_get(hit, "correct")) && json_is_real(json_object_get(hit, "score")), "hits as JSON");
    merging(json, score_of(&r, "top1")->value);
    json_decref(json);
    dt_zeroshot_free(&r);
    static const char *const wrong[] = {"fine", "\xc3("};
    options.queries = wrong;
    options.query_count = 2;
    failed_with(dt_zeroshot_run(model, &options, &r, &error), "query 2: ", "a query that is not UTF-8");
    dt_dataset_close(data);
}

static void not_classified(void)
{
    dt_dataset *data = dt_dataset_open(in("plain.lmdb"), &error);
    dt_zeroshot_options options = {.data = data};
    dt_zeroshot_result r;
    failed_with(dt_zeroshot_run(model, &options, &r, &error), "has no classes", "a store without classes");
    options.retrieval = true;
    ok(dt_zeroshot_run(model, &options, &r, &error) && r.classes == 0 && score_of(&r, "top1")->value < 0 &&
           score_of(&r, "text_to_image_r1")->value >= 0,
       "retrieval alone");
    dt_zeroshot_free(&r);
    options.classes = dt_classes_load("ant,bee", &error);
    failed_with(dt_zeroshot_run(model, &options, &r, &error), "has no classes", "classes for images without labels");
    dt_classes_free((dt_classes *)options.classes);
    dt_dataset_close(data);
    data = dt_dataset_open(in("bare.lmdb"), &error);
    options.data = data;
    options.classes = NULL;
    failed_with(dt_zeroshot_run(model, &options, &r, &error), "has no captions", "retrieval without captions");
    dt_dataset_close(data);
}

/* A diverged model must not come out with good figures. */
static void diverged(void)
{
    dt_model *bad = small_model(2);
    float *values = dt_params_values(bad->params);
    for (size_t i = 0; i < dt_params_size(bad->params); i++)
        values[i] = NAN;
    dt_dataset *data = dt_dataset_open(in("full.lmdb"), &error);
    const dt_zeroshot_options options = {.data = data};
    dt_zeroshot_result r;
    failed_with(dt_zeroshot_run(bad, &options, &r, &error), "diverged", "parameters that are not numbers");
    dt_dataset_close(data);
    dt_model_free(bad);
}

int main(void)
{
    put_attributes();
    if (ok(make_small_set() && make_store(in("mixed.lmdb"), (plan){true, true, 4}) &&
               make_store(in("plain.lmdb"), (plan){false, true, 0}) && make_store(in("bare.lmdb"), (plan){true, false, 1}),
           "a model and four stores")) {
        figures(in("full.lmdb"), 0);
        figures(in("mixed.lmdb"), 4);
        queries();
        not_classified();
        diverged();
    } else {
        printf("# %s\n", error.message);
    }
    dt_model_free(model);
    return done();
}
