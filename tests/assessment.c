/* What the assessment makes of scores: figures, tables and intervals, by hand and as scikit-learn has them. */
#include "eval/assessment.h"

#include "data/json.h"
#include "data/safetensors.h"
#include "data/shuffle.h"
#include "eval/findings.h"
#include "eval/roc.h"
#include "tests/tap.h"

static dt_error error;

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static bool is_text(const json_t *object, const char *key, const char *want)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text && !strcmp(text, want);
}

static const json_t *find_figure(const json_t *found, const char *key)
{
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(found, "figures"), i, item)
    {
        if (is_text(item, "key", key))
            return item;
    }
    return NULL;
}

static const json_t *only(const json_t *found, const char *list)
{
    const json_t *items = json_object_get(found, list);
    return json_array_size(items) == 1 ? json_array_get(items, 0) : NULL;
}

static bool same_row(const json_t *table, size_t row, const char *name, double precision, double recall, double f1, int n)
{
    json_t *cells = json_array_get(json_object_get(table, "rows"), row);
    const double want[] = {precision, recall, f1, n};
    bool same = json_array_size(cells) == 5 && !strcmp(json_string_value(json_array_get(cells, 0)), name);
    for (size_t i = 0; same && i < 4; i++)
        same = fabs(json_number_value(json_array_get(cells, i + 1)) - want[i]) < 1e-12;
    return same;
}

static void three_tables(const json_t *found)
{
    const json_t *c = only(found, "confusions"), *table = only(found, "tables");
    json_t *worst = json_object_get(c, "worst");
    char *text = json_dumps(json_object_get(c, "counts"), JSON_COMPACT), *pairs = json_dumps(worst, JSON_COMPACT),
         *names = json_dumps(json_object_get(c, "classes"), JSON_COMPACT);
    ok(is_text(c, "name", "hand") && is_text(c, "store", "some.lmdb") && number(c, "n") == 6 && names &&
           !strcmp(names, "[\"cat\",\"dog\",\"class 2\"]"),
       "confusion: names, the one that is no UTF-8 numbered");
    ok(text && !strcmp(text, "[[1,2,0],[0,2,0],[1,0,0]]"), "confusion: counts %s", text);
    ok(pairs && !strcmp(pairs, "[{\"true\":0,\"predicted\":1,\"count\":2,\"of\":3,\"examples\":[22,11]},"
                               "{\"true\":2,\"predicted\":0,\"count\":1,\"of\":1,\"examples\":[66]}]"),
       "the pair most often confused first, the surest example first: %s", pairs);
    free(text);
    free(pairs);
    free(names);
    ok(is_text(table, "name", "hand, by class") && number(table, "n") == 6 &&
           json_array_size(json_object_get(table, "rows")) == 5 && same_row(table, 0, "cat", 1.0 / 2, 1.0 / 3, 0.4, 3) &&
           same_row(table, 1, "dog", 0.5, 1, 2.0 / 3, 2) && same_row(table, 2, "class 2", 0, 0, 0, 1) &&
           same_row(table, 3, "macro mean", 1.0 / 3, 4.0 / 9, 16.0 / 45, 6) &&
           same_row(table, 4, "weighted mean", 5.0 / 12, 0.5, (3 * 0.4 + 2 * 2.0 / 3) / 6, 6),
       "the table by class");
}

/* Six rows by hand, and one without a label. Scores of log-probabilities: a confidence is what it says. */
static void three_classes(void)
{
    const char *const names[] = {"cat", "dog", "\xff"};
    const float p[7][3] = {{.2f, .5f, .3f}, {.1f, .8f, .1f},   {.9f, .05f, .05f},   {.3f, .6f, .1f},
                           {.1f, .2f, .7f}, {.05f, .9f, .05f}, {.75f, .125f, .125f}};
    const int32_t labels[] = {0, 0, 0, 1, -1, 1, 2};
    const size_t indices[] = {11, 22, 33, 44, 50, 55, 66};
    float scores[7][3];
    for (int i = 0; i < 21; i++)
        scores[i / 3][i % 3] = logf(p[i / 3][i % 3]) / 10;
    dt_assessment *a = dt_assessment_new(
        &(dt_assessment_options){
            .name = "hand", .store = "some.lmdb", .classes = 3, .class_names = names, .scale = 10, .confusion = true},
        &error);
    ok(dt_assessment_add(a, scores[0], labels, indices, 3, &error) &&
           dt_assessment_add(a, scores[3], labels + 3, indices + 3, 4, &error) && a->n == 6 && a->passed_over == 1 &&
           a->samples[3].predicted == 1 && a->samples[0].rank == 2 && a->samples[5].index == 66,
       "two blocks, one row passed over");
    json_t *found = dt_assessment_json(a, &error);
    ok(found && number(found, "labelled") == 6 && number(found, "passed_over") == 1 &&
           json_array_size(json_object_get(found, "figures")) == 5,
       "five figures: no top-5, no ROC-AUC");
    const json_t *top1 = json_array_get(json_object_get(found, "figures"), 0), *ece = find_figure(found, "ece");
    ok(is_text(top1, "key", "top1") && is_text(top1, "name", "hand: top-1 accuracy") &&
           is_text(top1, "note", "among 3 classes") && number(top1, "value") == 0.5 && number(top1, "n") == 6 &&
           fabs(number(top1, "chance") - 1.0 / 3) < 1e-12,
       "top-1 accuracy is the headline");
    ok(number(top1, "low") <= 0.5 && number(top1, "high") >= 0.5 && number(top1, "low") >= 0 &&
           number(top1, "low") < number(top1, "high"),
       "its interval");
    const json_t *recall = find_figure(found, "mean_class_recall");
    ok(fabs(number(recall, "value") - 4.0 / 9) < 1e-12 && is_text(recall, "name", "hand: mean per-class recall") &&
           is_text(recall, "note", "over the 3 classes that occur"),
       "mean per-class recall");
    ok(fabs(number(find_figure(found, "macro_f1"), "value") - 16.0 / 45) < 1e-12 &&
           fabs(number(find_figure(found, "weighted_f1"), "value") - (3 * 0.4 + 2 * 2.0 / 3) / 6) < 1e-12 &&
           !json_object_get(find_figure(found, "macro_f1"), "chance"),
       "F1");
    /* Bins: 0.5; 0.6 (right); 0.75 and 0.8 (12/15: the same bin, right-closed); 0.9 twice (right). float32
     * logarithms put 0.6 on either side of 9/15, which is alone in both. */
    double want = (0.5 + 0.4 + 0.75 + 0.8 + 0.2) / 6;
    ok(fabs(number(ece, "value") - want) < 1e-6, "expected calibration error %.7f", number(ece, "value"));
    const json_t *reliability = only(found, "reliability");
    const json_t *last = json_array_get(json_object_get(reliability, "bins"), 13);
    ok(is_text(reliability, "name", "hand") && number(reliability, "ece") == number(ece, "value") &&
           json_array_size(json_object_get(reliability, "bins")) == 15 && number(last, "count") == 2 &&
           number(last, "accuracy") == 1 && fabs(number(last, "confidence") - 0.9) < 1e-6 &&
           fabs(number(last, "high") - 14.0 / 15) < 1e-12,
       "reliability in 15 bins");
    three_tables(found);
    json_decref(found);
    dt_assessment_free(a);
}

/* scikit-learn's figures, through the assessment. */
static void golden_figures(void)
{
    const char *tensors = golden("probe/metrics_edge.safetensors"), *metrics = golden("probe/metrics_edge.json");
    dt_safetensors *file = tensors && metrics ? dt_safetensors_open(tensors, &error) : NULL;
    json_t *want = file ? dt_json_load(metrics, &error) : NULL;
    if (!want) {
        skip("metrics_edge", "the fixture is not there");
        dt_safetensors_close(file);
        return;
    }
    float scores[40 * 5];
    int32_t y[40];
    dt_assessment *a = dt_assessment_new(&(dt_assessment_options){.classes = 5}, &error);
    ok(dt_st_to_float(dt_safetensors_need(file, "scores", &error), scores, &error) &&
           dt_st_to_int32(dt_safetensors_need(file, "y", &error), y, &error) &&
           dt_assessment_add(a, scores, y, NULL, 40, &error),
       "a class never predicted, a class that never occurs");
    json_t *found = dt_assessment_json(a, &error);
    const json_t *macro = json_object_get(want, "macro"), *weighted = json_object_get(want, "weighted");
    ok(fabs(number(find_figure(found, "top1"), "value") - number(want, "accuracy")) < 1e-12 &&
           fabs(number(find_figure(found, "macro_f1"), "value") - number(macro, "f1")) < 1e-6 &&
           fabs(number(find_figure(found, "weighted_f1"), "value") - number(weighted, "f1")) < 1e-6 &&
           is_text(find_figure(found, "mean_class_recall"), "note", "over the 4 classes that occur"),
       "figures as scikit-learn's");
    ok(is_text(find_figure(found, "top1"), "name", "top-1 accuracy") && is_text(only(found, "tables"), "name", "by class") &&
           !only(found, "confusions"),
       "without a name, without confusion");
    json_decref(found);
    dt_assessment_free(a);
    json_decref(want);
    dt_safetensors_close(file);
}

/* The standard deviation of the area: DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988. */
static double area_deviation(const double *scores, const uint8_t *positive, size_t n)
{
    double sum[2] = {0}, squares[2] = {0}, count[2] = {0};
    for (size_t i = 0; i < n; i++) {
        double won = 0, others = 0;
        for (size_t j = 0; j < n; j++) {
            if (positive[j] == positive[i])
                continue;
            won += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
            others++;
        }
        sum[positive[i]] += won / others;
        squares[positive[i]] += won / others * (won / others);
        count[positive[i]]++;
    }
    double variance = 0;
    for (int k = 0; k < 2; k++)
        variance += (squares[k] - sum[k] * sum[k] / count[k]) / (count[k] - 1) / count[k];
    return sqrt(variance);
}

/* The width of an interval is the difference of two percentiles with a standard error of 0.084 deviations
 * each: 3 % of it together. Five times that are allowed. */
static void two_classes(void)
{
    enum { N = 2000 };
    float scores[N][2];
    int32_t labels[N];
    double margins[N];
    uint8_t positive[N];
    dt_roc_row rows[N];
    for (uint64_t i = 0; i < N; i++) {
        positive[i] = dt_hash64(1, i, 0) % 4 == 0;
        labels[i] = positive[i];
        scores[i][0] = (float)(dt_hash64(2, i, 0) % 16);
        scores[i][1] = (float)(dt_hash64(3, i, 0) % 16) + 4.0f * positive[i];
        margins[i] = (double)scores[i][1] - (double)scores[i][0];
        rows[i] = (dt_roc_row){margins[i], i, positive[i]};
    }
    const char *const names[] = {"cat", "dog"};
    dt_assessment_options options = {.classes = 2, .class_names = names, .seed = 9};
    dt_assessment *a = dt_assessment_new(&options, &error);
    dt_assessment_add(a, scores[0], labels, NULL, N, &error);
    json_t *found = dt_assessment_figures(a, &error), *again = dt_assessment_figures(a, &error);
    const json_t *last = json_array_get(found, json_array_size(found) - 1);
    dt_roc_sort(rows, N);
    double area = dt_roc_area(rows, N, NULL);
    ok(is_text(last, "key", "roc_auc") && fabs(number(last, "value") - area) < 1e-12 && number(last, "chance") == 0.5 &&
           is_text(last, "note", "of dog against cat"),
       "ROC-AUC %.4f", area);
    double width = number(last, "high") - number(last, "low"), normal = 2 * 1.96 * area_deviation(margins, positive, N);
    ok(fabs(width / normal - 1) < 0.15, "interval %.4f wide, %.4f by DeLong", width, normal);
    ok(json_equal(found, again), "a function of the seed");
    json_decref(found);
    json_decref(again);
    dt_assessment_free(a);
    options.resamples = -1;
    a = dt_assessment_new(&options, &error);
    labels[0] = 0;
    dt_assessment_add(a, scores[0], labels, NULL, 1, &error);
    found = dt_assessment_figures(a, &error);
    ok(json_array_size(found) == 5 && !json_object_get(json_array_get(found, 0), "low"),
       "one class only: no ROC-AUC; no intervals where none are wanted");
    json_decref(found);
    dt_assessment_free(a);
}

/* 300 classes, of which 299 occur; those of high numbers are recognised less. */
static void many_classes(void)
{
    enum { CLASSES = 300, N = 3000 };
    float *scores = calloc(CLASSES, sizeof *scores);
    dt_assessment *a = dt_assessment_new(
        &(dt_assessment_options){.name = "many", .classes = CLASSES, .resamples = 20, .confusion = true}, &error);
    size_t right = 0;
    bool added = true;
    for (size_t i = 0; i < N; i++) {
        int32_t truth = (int32_t)(i % (CLASSES - 1));
        bool good = dt_uniform(4, i, 0) > (double)truth / CLASSES;
        int32_t predicted = good ? truth : (truth + 1) % CLASSES;
        scores[predicted] = 1;
        added = added && dt_assessment_add(a, scores, &truth, NULL, 1, &error);
        scores[predicted] = 0;
        right += good;
    }
    json_t *found = dt_assessment_json(a, &error);
    const json_t *c = only(found, "confusions"), *table = only(found, "tables");
    ok(added && fabs(number(find_figure(found, "top1"), "value") - (double)right / N) < 1e-12 &&
           number(find_figure(found, "top5"), "value") >= (double)right / N &&
           fabs(number(find_figure(found, "top5"), "chance") - 5.0 / CLASSES) < 1e-12,
       "top-1 and top-5");
    json_t *worst = json_object_get(c, "worst"), *rows = json_object_get(table, "rows");
    bool sorted = json_array_size(worst) == 12 && json_array_size(rows) == 102;
    for (size_t i = 1; sorted && i < 12; i++)
        sorted = number(json_array_get(worst, i - 1), "count") >= number(json_array_get(worst, i), "count");
    for (size_t i = 1; sorted && i < 100; i++)
        sorted = json_number_value(json_array_get(json_array_get(rows, i - 1), 2)) <=
                 json_number_value(json_array_get(json_array_get(rows, i), 2));
    ok(sorted && !json_object_get(c, "counts") && json_array_size(json_object_get(json_array_get(worst, 0), "examples")) == 8,
       "12 pairs with 8 examples, no table of counts, 100 lowest recalls");
    ok(is_text(table, "name", "many, by class: the 100 of lowest recall among 300"), "the name says so");
    const char *path = in("evaluation.json");
    dt_findings findings = {0};
    bool read = dt_json_write(path, found, &error) && dt_findings_read(&findings, path, &error);
    ok(read && findings.figure_count == 6 && findings.confusion_count == 1 && findings.reliability_count == 1 &&
           findings.table_count == 1,
       "evaluation.json can be read: %s", read ? "yes" : error.message);
    dt_findings_free(&findings);
    json_decref(found);
    dt_assessment_free(a);
    free(scores);
}

static void refused(void)
{
    const float scores[] = {0, 1, NAN, 1, 1, 0};
    const int32_t labels[] = {-1, 0, 1}, beyond[] = {2}, below[] = {-2};
    ok(!dt_assessment_new(&(dt_assessment_options){0}, &error) && says(error.message, "cannot count 0 classes"), "no classes: %s",
       error.message);
    ok(!dt_assessment_new(&(dt_assessment_options){.classes = 2, .scale = -1}, &error) &&
           !dt_assessment_new(&(dt_assessment_options){.classes = 2, .scale = NAN}, &error) &&
           says(error.message, "positive number"),
       "a scale that is none");
    ok(!dt_assessment_new(&(dt_assessment_options){.classes = 2, .name = "\xff"}, &error) && says(error.message, "UTF-8"),
       "a name: %s", error.message);
    dt_assessment *a = dt_assessment_new(&(dt_assessment_options){.classes = 2}, &error);
    ok(!dt_assessment_json(a, &error) && says(error.message, "none of 0 images has a label"), "nothing: %s", error.message);
    ok(dt_assessment_add(a, scores, labels, NULL, 1, &error) && !dt_assessment_json(a, &error) &&
           says(error.message, "none of 1 images"),
       "no label: %s", error.message);
    ok(!dt_assessment_add(a, scores, labels, NULL, 3, &error) && says(error.message, "image 2: ") &&
           says(error.message, "is not a number"),
       "a score that is not a number: %s", error.message);
    ok(!dt_assessment_add(a, scores, beyond, NULL, 1, &error) && says(error.message, "label 2"), "a label beyond");
    ok(!dt_assessment_add(a, scores, below, NULL, 1, &error) && says(error.message, "label -2"), "a label below");
    ok(dt_assessment_add(a, scores + 4, labels + 1, NULL, 1, &error) && a->n == 1 && a->passed_over == 2,
       "a good row after bad ones");
    const float infinite[] = {INFINITY, INFINITY};
    ok(dt_assessment_add(a, infinite, labels + 1, NULL, 1, &error), "infinite scores");
    json_t *found = dt_assessment_json(a, &error);
    char *text = found ? dt_json_text(found, 0, &error) : NULL;
    ok(text && !strstr(text, "nan"), "can be written");
    free(text);
    json_decref(found);
    dt_assessment_free(a);
}

/* Embeddings against the definition; numbers exact in float32. Many classes make several blocks of the rows. */
static void embeddings_by_blocks(size_t rows, size_t classes, size_t dim)
{
    float *embeddings = malloc(rows * dim * sizeof *embeddings), *weights = malloc(classes * dim * sizeof *weights);
    int32_t *labels = malloc(rows * sizeof *labels);
    for (size_t i = 0; i < rows * dim; i++)
        embeddings[i] = (float)(dt_hash64(1, i, rows) % 1024) / 512.0f - 1;
    for (size_t i = 0; i < classes * dim; i++)
        weights[i] = (float)(dt_hash64(2, i, classes) % 1024) / 512.0f - 1;
    size_t top1 = 0, top5 = 0, agree = 0;
    for (size_t i = 0; i < rows; i++)
        labels[i] = (int32_t)(dt_hash64(3, i, rows) % classes);
    dt_assessment *a = dt_assessment_new(&(dt_assessment_options){.classes = classes, .resamples = -1}, &error);
    ok(a && dt_assessment_add_embeddings(a, embeddings, weights, dim, labels, NULL, rows, &error) && a->n == rows,
       "%zu embeddings, %zu classes", rows, classes);
    double *s = malloc(classes * sizeof *s);
    for (size_t i = 0; i < rows; i++) {
        size_t best = 0, greater = 0;
        for (size_t c = 0; c < classes; c++) {
            s[c] = 0;
            for (size_t d = 0; d < dim; d++)
                s[c] += (double)embeddings[i * dim + d] * (double)weights[c * dim + d];
            best = s[c] > s[best] ? c : best;
        }
        for (size_t c = 0; c < classes; c++)
            greater += s[c] > s[labels[i]];
        top1 += greater < 1;
        top5 += greater < 5;
        agree += a->samples[i].predicted == (int32_t)best;
    }
    ok(agree == rows && dt_classification_top(a->counts, 1) == (double)top1 / (double)rows &&
           dt_classification_top(a->counts, 5) == (double)top5 / (double)rows,
       "%zu embeddings, %zu classes: as defined", rows, classes);
    dt_assessment_free(a);
    free(s);
    free(embeddings);
    free(weights);
    free(labels);
}

/* rows of each class in turn: seven in eight of the first `named` classes are named right, all others as one of those. */
static json_t *figures_of(size_t classes, size_t rows_each, size_t named)
{
    dt_assessment *a = dt_assessment_new(&(dt_assessment_options){.classes = classes, .seed = 3}, &error);
    float *scores = malloc(classes * sizeof *scores);
    bool good = a && scores;
    for (size_t i = 0; good && i < classes * rows_each; i++) {
        const int32_t label = (int32_t)(i % classes);
        memset(scores, 0, classes * sizeof *scores);
        scores[(size_t)label < named && dt_hash64(1, i, 0) % 8 ? (size_t)label : dt_hash64(2, i, 0) % named] = 1;
        good = dt_assessment_add(a, scores, &label, NULL, 1, &error);
    }
    json_t *list = good ? dt_assessment_figures(a, &error) : NULL;
    free(scores);
    dt_assessment_free(a);
    return json_pack("{s:o*}", "figures", list);
}

/* A row a class: a draw has it not at all, or several times, and then a better F1 than the row itself has. */
static void few_rows_a_class(void)
{
    const char *const keys[] = {"top1", "mean_class_recall", "macro_f1", "weighted_f1"};
    json_t *one = figures_of(400, 1, 100), *many = figures_of(10, 100, 5);
    for (int i = 0; i < 4; i++) {
        const json_t *few = find_figure(one, keys[i]), *enough = find_figure(many, keys[i]);
        ok(few && (json_object_get(few, "low") != NULL) == (i < 2), "%s of a row a class: %s", keys[i],
           i < 2 ? "its interval" : "no interval");
        double value = number(enough, "value"), low = number(enough, "low"), high = number(enough, "high");
        ok(value - low > (high - low) / 4 && high - value > (high - low) / 4, "%s of 100 rows a class: %.3f in %.3f to %.3f",
           keys[i], value, low, high);
    }
    json_decref(one);
    json_decref(many);
}

int main(void)
{
    few_rows_a_class();
    three_classes();
    golden_figures();
    two_classes();
    many_classes();
    refused();
    embeddings_by_blocks(1, 1, 1);
    embeddings_by_blocks(37, 11, 7);
    embeddings_by_blocks(531, 3, 5);
    embeddings_by_blocks(53, 1000003, 1);
    return done();
}
