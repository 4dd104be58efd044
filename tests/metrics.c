#include "eval/metrics.h"

#include "data/json.h"
#include "data/safetensors.h"
#include "data/shuffle.h"
#include "tests/tap.h"

static dt_error error;

static bool same_table(const json_t *want, const size_t *got, size_t classes)
{
    bool same = json_array_size(want) == classes;
    for (size_t i = 0; same && i < classes * classes; i++)
        same = (size_t)json_integer_value(json_array_get(json_array_get(want, i / classes), i % classes)) ==
               got[i];
    return same;
}

static bool close_to(double got, const json_t *want)
{
    return json_is_number(want) && fabs(got - json_number_value(want)) < 1e-6;
}

static bool same_prf(const json_t *want, dt_prf got)
{
    return close_to(got.precision, json_object_get(want, "precision")) &&
           close_to(got.recall, json_object_get(want, "recall")) &&
           close_to(got.f1, json_object_get(want, "f1"));
}

static void golden_prf(const dt_classification *counts, size_t classes, const json_t *want, const char *name)
{
    const json_t *by_class = json_object_get(want, "per_class");
    bool same = json_array_size(json_object_get(by_class, "f1")) == classes;
    for (size_t c = 0; c < classes; c++) {
        dt_prf prf = dt_classification_prf(counts, c);
        same = same && close_to(prf.precision, json_array_get(json_object_get(by_class, "precision"), c)) &&
               close_to(prf.recall, json_array_get(json_object_get(by_class, "recall"), c)) &&
               close_to(prf.f1, json_array_get(json_object_get(by_class, "f1"), c)) &&
               close_to((double)dt_classification_support(counts)[c],
                        json_array_get(json_object_get(by_class, "support"), c));
    }
    ok(same, "%s precision, recall and F1 of each class", name);
    dt_prf_means means = dt_classification_means(counts);
    ok(same_prf(json_object_get(want, "macro"), means.macro), "%s macro means", name);
    ok(same_prf(json_object_get(want, "micro"), means.micro), "%s micro means", name);
    ok(same_prf(json_object_get(want, "weighted"), means.weighted), "%s weighted means", name);
    ok(close_to(means.micro.f1, json_object_get(want, "accuracy")), "%s micro F1 is the accuracy", name);
}

/* scikit-learn's numbers, predictions included. */
static void golden_case(const char *tensors, const char *truths, const char *scores_name,
                        const char *predictions_name, const char *metrics)
{
    const char *path = golden(tensors), *labels_path = golden(truths), *expected = golden(metrics);
    dt_safetensors *file = path && labels_path && expected ? dt_safetensors_open(path, &error) : NULL;
    dt_safetensors *labels_file = file ? dt_safetensors_open(labels_path, &error) : NULL;
    json_t *want = labels_file ? dt_json_load(expected, &error) : NULL;
    if (!want) {
        skip(metrics, "the fixture is not there");
        dt_safetensors_close(file);
        dt_safetensors_close(labels_file);
        return;
    }
    const dt_st_tensor *scores = dt_safetensors_need(file, scores_name, &error);
    const char *labels_name = labels_file && dt_safetensors_find(labels_file, "test_y") ? "test_y" : "y";
    size_t rows = (size_t)scores->shape[0], classes = (size_t)scores->shape[1];
    float *values = malloc(rows * classes * sizeof *values);
    int32_t *y = malloc(rows * sizeof *y), *predicted = malloc(rows * sizeof *predicted),
            *want_predicted = malloc(rows * sizeof *want_predicted);
    dt_st_to_float(scores, values, &error);
    dt_st_to_int32(dt_safetensors_need(labels_file, labels_name, &error), y, &error);
    dt_st_to_int32(dt_safetensors_need(file, predictions_name, &error), want_predicted, &error);
    dt_classification *counts = dt_classification_new(classes, true, &error);
    ok(dt_classification_add(counts, values, rows / 3, y, predicted, &error) &&
           dt_classification_add(counts, values + rows / 3 * classes, rows - rows / 3, y + rows / 3,
                                 predicted + rows / 3, &error),
       "%s runs in two blocks", metrics);
    ok(!memcmp(predicted, want_predicted, rows * sizeof *predicted), "%s predictions", metrics);
    ok(fabs(dt_classification_top(counts, 1) - json_number_value(json_object_get(want, "top_1_accuracy"))) <
           1e-12,
       "%s top-1", metrics);
    ok(fabs(dt_classification_top(counts, 3) - json_number_value(json_object_get(want, "top_3_accuracy"))) <
           1e-12,
       "%s top-3", metrics);
    size_t seen;
    double recall = dt_classification_mean_recall(counts, &seen);
    const json_t *balanced = json_object_get(want, "balanced_accuracy");
    double macro = json_number_value(json_object_get(json_object_get(want, "macro"), "recall"));
    ok(fabs(recall - (balanced ? json_number_value(balanced) : macro * (double)classes / (double)seen)) <
           1e-12,
       "%s mean per-class recall over %zu classes", metrics, seen);
    ok(same_table(json_object_get(want, "confusion_matrix"), dt_classification_confusion(counts), classes),
       "%s confusion", metrics);
    golden_prf(counts, classes, want, metrics);
    dt_classification_free(counts);
    free(values);
    free(y);
    free(predicted);
    free(want_predicted);
    json_decref(want);
    dt_safetensors_close(file);
    dt_safetensors_close(labels_file);
}

static void ties(void)
{
    const float scores[] = {1, 1, 1, 0, 2, 2, 0, 1, 2};
    const int32_t labels[] = {2, 1, 0};
    int32_t predicted[3];
    dt_classification *counts = dt_classification_new(3, false, &error);
    ok(dt_classification_add(counts, scores, 3, labels, predicted, &error), "ties run");
    ok(predicted[0] == 0 && predicted[1] == 1 && predicted[2] == 2, "the first of equals is predicted");
    ok(fabs(dt_classification_top(counts, 1) - 1.0 / 3) < 1e-12 &&
           fabs(dt_classification_top(counts, 2) - 1.0 / 3) < 1e-12 &&
           dt_classification_top(counts, 3) == 1 && dt_classification_top(counts, 99) == 1,
       "of equal scores the first comes first: top-1 is the share of right predictions");
    size_t seen;
    ok(fabs(dt_classification_mean_recall(counts, &seen) - 1.0 / 3) < 1e-12 && seen == 3,
       "recall counts predictions only");
    ok(dt_classification_support(counts)[2] == 1 && dt_classification_prf(counts, 1).recall == 1 &&
           dt_classification_prf(counts, 2).recall == 0 && dt_classification_prf(counts, 1).precision == 1 &&
           !dt_classification_confusion(counts),
       "counts by class");
    dt_classification_free(counts);
}

/* A share of 1 is exactly 1: a little more would be shown as a plain number. */
static void perfect(void)
{
    size_t counts[100], good = 0;
    for (size_t classes = 1; classes <= 100; classes++) {
        counts[classes - 1] = classes * classes % 7 + 1;
        dt_prf_means means = dt_prf_mean(counts, counts, counts, classes);
        good += means.macro.f1 == 1 && means.micro.f1 == 1 && means.weighted.f1 == 1 &&
                means.weighted.recall == 1 && dt_mean_recall(counts, counts, classes, NULL) == 1;
    }
    ok(good == 100, "perfect predictions of %zu numbers of classes", good);
    dt_prf_means none = dt_prf_mean(counts, counts, counts, 0);
    ok(none.macro.f1 == 0 && none.micro.f1 == 0 && none.weighted.f1 == 0, "no classes");
}

static void refused(void)
{
    dt_classification *counts = dt_classification_new(2, false, &error);
    const float scores[] = {0, 1, NAN, 1};
    const int32_t beyond[] = {2}, none[] = {-1}, good[] = {0, 1};
    ok(dt_classification_top(counts, 1) == 0 && dt_classification_mean_recall(counts, NULL) == 0,
       "nothing counted");
    ok(!dt_classification_add(counts, scores, 1, beyond, NULL, &error) &&
           strstr(error.message, "row 0 has label 2; expected 0 to 1"),
       "a label beyond the classes");
    ok(!dt_classification_add(counts, scores, 1, none, NULL, &error) && strstr(error.message, "label -1"),
       "no label");
    ok(!dt_classification_add(counts, scores, 2, good, NULL, &error) &&
           strstr(error.message, "row 1 for class 0 is not a number"),
       "a score that is not a number");
    ok(dt_classification_support(counts)[0] + dt_classification_support(counts)[1] == 1 &&
           dt_classification_top(counts, 2) == 1,
       "rows before the bad one are counted");
    dt_classification_free(counts);
    dt_prf nothing = dt_prf_of(0, 0, 0);
    ok(nothing.precision == 0 && nothing.recall == 0 && nothing.f1 == 0, "undefined ratios are 0");
    ok(!dt_classification_new(0, false, &error) && says(error.message, "cannot count 0 classes"), "no classes");
    ok(!dt_classification_new((size_t)1 << 40, true, &error) && says(error.message, "cannot count 1099511627776 classes"), "too many classes");
}

int main(void)
{
    golden_case("probe/expected.safetensors", "probe/data.safetensors", "test_scores", "test_predictions",
                "probe/metrics.json");
    golden_case("probe/metrics_edge.safetensors", "probe/metrics_edge.safetensors", "scores", "predictions",
                "probe/metrics_edge.json");
    ties();
    perfect();
    refused();
    return done();
}
