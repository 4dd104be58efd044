/* The linear probe on stored features: the search for C against all 97 candidates, few-shot draws, folds, and
 * classes that have to be matched. */
#include "eval/probe_run.h"

#include "data/safetensors.h"
#include "data/shuffle.h"
#include "eval/findings.h"
#include "eval/folds.h"
#include "eval/probe_json.h"
#include "tests/tap.h"

static dt_error error;

/* Two tensors of a stored file as features. */
static bool stored(dt_features *f, const char *x, const char *y)
{
    const char *path = golden("probe/data.safetensors");
    dt_safetensors *file = path ? dt_safetensors_open(path, &error) : NULL;
    if (!file)
        return false;
    const dt_st_tensor *rows = dt_safetensors_need(file, x, &error),
                       *labels = dt_safetensors_need(file, y, &error);
    size_t n = (size_t)rows->shape[0], dim = (size_t)rows->shape[1];
    *f = (dt_features){.source = strdup(x), .count = n, .width = dim, .class_count = 5};
    f->rows = malloc(n * dim * sizeof *f->rows);
    f->labels = malloc(n * sizeof *f->labels);
    f->images = calloc(n, sizeof *f->images);
    bool good = dt_st_to_float(rows, f->rows, &error) && dt_st_to_int32(labels, f->labels, &error);
    dt_safetensors_close(file);
    return good;
}

/* n rows of two features; the label is drawn by `of`, names may be NULL. */
static dt_features made(const char *source, size_t n, const char *const *names, size_t classes,
                        int32_t (*of)(size_t i))
{
    dt_features f = {.source = strdup(source), .count = n, .width = 2, .class_count = classes};
    f.rows = calloc(n * 2, sizeof *f.rows);
    f.labels = calloc(n, sizeof *f.labels);
    f.images = calloc(n, sizeof *f.images);
    f.classes = names ? calloc(classes + 1, sizeof *f.classes) : NULL;
    for (size_t c = 0; names && c < classes; c++)
        f.classes[c] = strdup(names[c]);
    for (size_t i = 0; i < n; i++) {
        f.labels[i] = of(i);
        f.images[i] = i;
        double angle = 2 * M_PI * f.labels[i] / 5 + 0.1 * dt_uniform(1, i, 0);
        f.rows[2 * i] = (float)cos(angle);
        f.rows[2 * i + 1] = (float)sin(angle);
    }
    return f;
}

/* ---- the sweep ---- */

/* The search, over a table of the accuracies of all candidates. */
static bool better(const double *accuracy, const double *loss, int a, int b)
{
    return accuracy[a] > accuracy[b] || (accuracy[a] == accuracy[b] && loss[a] < loss[b]);
}

static int search_table(const double *accuracy, const double *loss, bool *visited)
{
    int best = 0;
    for (int step = 0; step <= DT_SWEEP_STEPS; step += 16) {
        visited[step] = true;
        best = better(accuracy, loss, step, best) ? step : best;
    }
    for (int half = 8; half; half /= 2) {
        int centre = best;
        for (int side = -1; side <= 1; side += 2) {
            int step = centre + side * half;
            if (step < 0 || step > DT_SWEEP_STEPS)
                continue;
            visited[step] = true;
            if (better(accuracy, loss, step, best))
                best = step;
        }
    }
    return best;
}

static bool same_sweep(const dt_sweep *a, const dt_sweep *b)
{
    bool same = a->count == b->count && a->best == b->best;
    for (size_t i = 0; same && i < a->count; i++)
        same = a->points[i].step == b->points[i].step && a->points[i].accuracy == b->points[i].accuracy;
    return same;
}

static void against_all(const dt_probe_data *data, const dt_probe_options *options, const dt_sweep *sweep)
{
    double accuracy[DT_SWEEP_STEPS + 1], loss[DT_SWEEP_STEPS + 1];
    bool visited[DT_SWEEP_STEPS + 1] = {false}, good = true;
    for (int step = 0; good && step <= DT_SWEEP_STEPS; step++) {
        dt_logistic model = {0};
        good = dt_probe_fit(&model, data, data->fit, data->fit_count, dt_sweep_C(step), NULL, options, NULL,
                            &error) &&
               dt_probe_accuracy(&model, data->x, data->labels, data->held, data->held_count, 2, &accuracy[step],
                                 &loss[step], &error);
        dt_logistic_free(&model);
    }
    ok(good, "all 97 candidates");
    int best = search_table(accuracy, loss, visited);
    size_t expected = 0, right = 0;
    for (int step = 0; step <= DT_SWEEP_STEPS; step++)
        expected += visited[step];
    for (size_t i = 0; i < sweep->count; i++)
        right +=
            visited[sweep->points[i].step] && sweep->points[i].accuracy == accuracy[sweep->points[i].step];
    ok(sweep->count == expected && right == expected,
       "the search visits what it should (%zu of %zu), with the same accuracies", right, expected);
    ok(sweep->points[sweep->best].step == best, "and finds the best of them (%d, expected %d)",
       sweep->points[sweep->best].step, best);
    bool top = true;
    for (int step = best - 1; step <= best + 1; step += 2)
        top = top && (step < 0 || step > DT_SWEEP_STEPS || accuracy[step] <= accuracy[best]);
    ok(top, "which none of its neighbours exceeds");
}

static void sweep_test(void)
{
    dt_features train;
    if (!stored(&train, "train_x", "train_y"))
        return skip("sweep", "no probe/data.safetensors");
    dt_probe_data data;
    dt_probe_options options = {.tolerance = 1e-13, .threads = 1};
    dt_sweep warm, cold;
    ok(dt_probe_data_new(&data, &train, &error) && dt_probe_data_hold_out(&data, 0.3, 1, &error) &&
           data.held_count > 150 && data.fit_count + data.held_count == 600,
       "a part held out");
    ok(dt_sweep_run(&warm, &data, data.fit, data.fit_count, &options, &error) &&
           warm.validated == data.held_count,
       "a sweep");
    against_all(&data, &options, &warm);
    options.cold = true;
    ok(dt_sweep_run(&cold, &data, data.fit, data.fit_count, &options, &error), "from nothing each time");
    ok(same_sweep(&warm, &cold), "the same choice and accuracies");
    double worst = 0;
    for (size_t i = 0; i < warm.model.classes * warm.model.dim; i++)
        worst = larger(worst, fabs(warm.model.weights[i] - cold.model.weights[i]));
    ok(worst < 1e-5, "and weights (worst %.2g)", worst);
    int warm_steps = 0, cold_steps = 0;
    for (size_t i = 0; i < warm.count; i++) {
        warm_steps += warm.points[i].facts.iterations;
        cold_steps += cold.points[i].facts.iterations;
    }
    ok(warm_steps < cold_steps, "in fewer iterations (%d, %d)", warm_steps, cold_steps);
    dt_sweep_free(&warm);
    dt_sweep_free(&cold);
    dt_probe_data_free(&data);
    dt_features_free(&train);
}

static int32_t alternate(size_t i)
{
    return (int32_t)(i % 2);
}

static void ties(void)
{
    dt_features train = made("easy", 40, NULL, 2, alternate);
    dt_probe_data data;
    dt_sweep sweep;
    ok(dt_probe_data_new(&data, &train, &error) && dt_probe_data_hold_out(&data, 0.25, 1, &error) &&
           dt_sweep_run(&sweep, &data, data.fit, data.fit_count, &(dt_probe_options){0}, &error),
       "classes that any C tells apart");
    bool least = true;
    for (size_t i = 0; i < sweep.count; i++)
        least = least && sweep.points[i].accuracy == 1 && sweep.points[sweep.best].loss <= sweep.points[i].loss;
    ok(least && sweep.points[sweep.best].step > 48 && sweep.points[0].loss > 0.69,
       "equal accuracies: the least loss, not a model that is sure of nothing");
    ok(fabs(dt_sweep_C(0) - 1e-6) < 1e-18 && fabs(dt_sweep_C(48) - 1) < 1e-12 &&
           fabs(dt_sweep_C(96) - 1e6) < 1e-6 && fabs(dt_sweep_C(44) - 0.31622776601683794) < 1e-12,
       "the grid");
    dt_sweep_free(&sweep);
    dt_probe_data_free(&data);
    dt_features_free(&train);
}

/* ---- a whole run ---- */

static bool run_stored(dt_probe_result *result, dt_features *train, dt_features *test,
                       dt_probe_settings settings)
{
    settings.set = "stored";
    settings.method = "probe";
    settings.share = settings.share > 0 ? settings.share : 0.1;
    return stored(train, "train_x", "train_y") && stored(test, "test_x", "test_y") &&
           dt_probe_run(result, train, NULL, test, &settings, &error);
}

static void free_run(dt_probe_result *result, dt_features *train, dt_features *test)
{
    dt_probe_result_free(result);
    dt_features_free(train);
    dt_features_free(test);
}

static size_t length(const json_t *json, const char *list)
{
    return json_array_size(json_object_get(json, list));
}

static void saved(const dt_probe_result *r, const char *path)
{
    ok(dt_probe_save(r, "features", path, &error), "saves");
    dt_safetensors *file = dt_safetensors_open(path, &error);
    const dt_st_tensor *weight = dt_safetensors_need(file, "weight", &error),
                       *bias = dt_safetensors_need(file, "bias", &error);
    ok(weight && bias && dt_st_has_shape(weight, 2, (int64_t[]){5, 32}, &error) &&
           dt_st_has_shape(bias, 1, (int64_t[]){5}, &error) &&
           ((const float *)weight->data)[33] == (float)r->model.weights[33],
       "weights and bias");
    ok(!strcmp(dt_safetensors_meta(file, "classes"), "[\"0\", \"1\", \"2\", \"3\", \"4\"]") &&
           strtod(dt_safetensors_meta(file, "C"), NULL) == 0.316,
       "class names and C (%s)", dt_safetensors_meta(file, "classes"));
    dt_safetensors_close(file);
}

static void whole_run(void)
{
    dt_features train, test;
    dt_probe_result r;
    if (!golden("probe/data.safetensors"))
        return skip("a run", "no probe/data.safetensors");
    ok(run_stored(&r, &train, &test, (dt_probe_settings){.C = 0.316, .folds = 5}), "a run with a given C");
    ok(r.data.n == 600 && !r.sweep.count && r.facts.converged, "on all rows, converged");
    json_t *json = dt_probe_json(&r, &error);
    double top1 =
        json_number_value(json_object_get(json_array_get(json_object_get(json, "figures"), 0), "value"));
    ok(fabs(top1 - 0.7766666666666666) < 1e-12, "the reference's accuracy (%.6f)", top1);
    ok(length(json, "curves") == 0 && length(json, "tables") == 2 && length(json, "confusions") == 1 &&
           length(json, "reliability") == 1,
       "parts of the JSON");
    json_decref(json);
    saved(&r, in("probe.safetensors"));
    size_t tested = 0;
    for (int i = 0; i < 5; i++)
        tested += r.fold_sizes[i];
    ok(tested == 600 && fabs(r.fold_mean - 0.775) < 0.03 && r.fold_deviation > 0, "five folds (%.4f)",
       r.fold_mean);
    free_run(&r, &train, &test);

    const size_t shots[] = {1, 4};
    ok(run_stored(&r, &train, &test, (dt_probe_settings){.shots = shots, .shot_count = 2, .seeds = 3}),
       "a run with a sweep");
    json = dt_probe_json(&r, &error);
    ok(r.sweep.validated == 60 && r.data.n == 600 && r.C == r.sweep.points[r.sweep.best].C &&
           length(json, "curves") == 2 && length(json, "tables") == 2,
       "and its curves");
    json_decref(json);
    free_run(&r, &train, &test);
}

/* The accuracies of cross-validation on folds that are made and fitted here, row by row. */
static void folds_by_hand(void)
{
    dt_features train;
    if (!stored(&train, "train_x", "train_y"))
        return skip("folds", "no probe/data.safetensors");
    dt_probe_data data;
    double found[4], expected;
    size_t sizes[4], rows[600], in = 0, right = 0;
    int32_t fold[600];
    ok(dt_probe_data_new(&data, &train, &error) &&
           dt_probe_folds(&data, 4, 9, 0.1, &(dt_probe_options){0}, found, sizes, &error) &&
           dt_folds(data.labels, 600, 4, 9, fold, &error),
       "four folds");
    for (size_t i = 0; i < 600; i++)
        if (fold[i] != 2)
            rows[in++] = i;
    dt_logistic model;
    float scores[5];
    ok(dt_logistic_fit(&model, data.x, data.labels, rows, in, data.dim,
                       &(dt_logistic_options){.classes = 5, .C = 0.1}, NULL, &error),
       "one of them by hand");
    for (size_t i = 0; i < 600; i++) {
        if (fold[i] != 2 || !dt_logistic_scores(&model, data.x, &i, 1, 1, scores, &error))
            continue;
        int best = 0;
        for (int c = 1; c < 5; c++)
            best = scores[c] > scores[best] ? c : best;
        right += best == data.labels[i];
    }
    expected = (double)right / (double)(600 - in);
    ok(sizes[2] == 600 - in && fabs(found[2] - expected) < 1e-12, "agrees (%.4f, %.4f)", found[2], expected);
    dt_logistic_free(&model);
    dt_probe_data_free(&data);
    dt_features_free(&train);
}

/* The report reads what was found. */
static void readable(const dt_probe_result *r)
{
    const char *path = in("evaluation.json");
    dt_findings findings;
    json_t *json = dt_probe_json(r, &error);
    bool good = json && dt_findings_merge(path, json, &error) && dt_findings_read(&findings, path, &error);
    ok(good, "can be read%s%s", good ? "" : ": ", good ? "" : error.message);
    ok(good && findings.figure_count == json_array_size(json_object_get(json, "figures")), "no two figures have one name");
    if (good)
        dt_findings_free(&findings);
    json_decref(json);
}

static void few_shots(void)
{
    dt_features train, test;
    dt_probe_result a, b;
    if (!golden("probe/data.safetensors"))
        return skip("few shots", "no probe/data.safetensors");
    const size_t shots[] = {1, 2, 16}, more[] = {16, 1, 16};
    dt_probe_settings settings = {.C = 1, .shots = shots, .shot_count = 3, .seeds = 4, .seed = 5};
    ok(run_stored(&a, &train, &test, settings), "few shots");
    const dt_shot_point *p = a.shots->points;
    ok(a.shots->count == 3 && p[0].mean < p[2].mean && p[0].deviation > 0 && p[2].mean > 0.4 &&
           p[2].of_seed[1].C == 1,
       "more shots, more right (%.3f, %.3f, %.3f)", p[0].mean, p[1].mean, p[2].mean);
    dt_features train_b, test_b;
    settings.shots = more;
    settings.shot_count = 3;
    ok(run_stored(&b, &train_b, &test_b, settings), "again");
    ok(b.shots->count == 2 && b.shots->points[0].shots == 1 && b.shots->points[1].shots == 16, "in order, each once");
    readable(&b);
    bool same = true, differs = false;
    for (int s = 0; s < 4; s++) {
        same = same && p[2].of_seed[s].accuracy == b.shots->points[1].of_seed[s].accuracy &&
               p[0].of_seed[s].accuracy == b.shots->points[0].of_seed[s].accuracy;
        differs = differs || p[0].of_seed[s].accuracy != p[0].of_seed[0].accuracy;
    }
    ok(same && differs, "a draw depends on its seed alone");
    free_run(&b, &train_b, &test_b);
    settings.seed = 6; /* its first draw is the second of seed 5 */
    ok(run_stored(&b, &train_b, &test_b, settings) &&
           b.shots->points[0].of_seed[0].accuracy == p[0].of_seed[1].accuracy,
       "seeds count up");
    free_run(&b, &train_b, &test_b);
    free_run(&a, &train, &test);
}

/* ---- classes ---- */

static int32_t third(size_t i)
{
    return (int32_t)(i % 3 == 1 ? 3 : i % 3);
}

static int32_t back(size_t i)
{
    return (int32_t)(i % 2 ? 0 : 1);
}

static int32_t only_one(size_t i)
{
    return i ? 0 : 1;
}

static void matching(void)
{
    static const char *const names[] = {"ant", "bee", "cow", "dog"}, *const others[] = {"dog", "ant", "eel"};
    dt_features train = made("train", 30, names, 4, third), test = made("test", 10, others, 3, back),
                plain = made("plain", 10, NULL, 4, third);
    dt_probe_data data;
    ok(dt_probe_data_new(&data, &train, &error) && data.class_count == 3 && !strcmp(data.classes[0], "ant") &&
           !strcmp(data.classes[1], "cow") && !strcmp(data.classes[2], "dog") && data.labels[1] == 2 &&
           data.labels[2] == 1,
       "a class without images is left out");
    ok(dt_probe_data_match(&data, &test, &error) && test.labels[0] == 0 && test.labels[1] == 2,
       "classes by name");
    ok(dt_probe_data_match(&data, &plain, &error) && plain.labels[1] == 2 && plain.labels[2] == 1,
       "by number without names");
    dt_features_free(&test);
    test = made("test", 10, others, 3, third); /* label 2 is the eel; 3 would be beyond */
    for (size_t i = 0; i < 10; i++)
        test.labels[i] = test.labels[i] == 3 ? 0 : test.labels[i];
    ok(!dt_probe_data_match(&data, &test, &error), "a class that training never saw");
    ok(says(error.message, "image 2 of test is of the class 'eel', which no image of train has"), "is named");
    dt_features_free(&test);
    test = made("test", 10, NULL, 2, alternate);
    ok(!dt_probe_data_match(&data, &test, &error), "a number that training never saw");
    ok(says(error.message, "image 1 of test is of the class '1', which no image of train has"), "a number is named");
    test.width = 1;
    ok(!dt_probe_data_match(&data, &test, &error), "another width");
    ok(says(error.message, "test has 1 features a row, train has 2"), "another width is told");
    dt_features_free(&plain);
    plain = made("plain", 10, NULL, 4, third);
    ok(dt_probe_data_validate_on(&data, &plain, &error) && data.n == 40 && data.trained == 30 &&
           data.fit_count == 30 && data.held_count == 10 && data.held[0] == 30 && data.labels[31] == 2 &&
           data.x[60] == plain.rows[0],
       "a validation set stands behind the training");
    dt_probe_data_free(&data);
    dt_features_free(&train);
    dt_features_free(&test);
    dt_features_free(&plain);
}

static void odd_names(void)
{
    static const char *const names[] = {"ant", "b\xe9", "cow", "dog"};
    dt_features train = made("train", 30, names, 4, alternate), test = made("test", 10, names, 4, alternate);
    dt_probe_data data;
    ok(dt_probe_data_new(&data, &train, &error) && !dt_probe_data_match(&data, &test, &error), "a name that is not UTF-8");
    ok(says(error.message, "train: the name of class 1, 'b\\xe9', is not UTF-8"), "is shown");
    dt_probe_data_free(&data);
    dt_features_free(&train);
    dt_features_free(&test);
}

/* More rows than a block has, in an order of their own. */
static void scoring(void)
{
    enum { N = 2500 };
    dt_features f = made("rows", N, NULL, 2, alternate);
    dt_logistic model;
    size_t rows[N];
    double all, chosen, one;
    ok(dt_logistic_fit(&model, f.rows, f.labels, NULL, N, 2, &(dt_logistic_options){.classes = 2, .C = 1}, NULL, &error),
       "two classes");
    for (size_t i = 0; i < N; i++) {
        rows[i] = N - 1 - i;
        f.labels[i] = i % 5 ? f.labels[i] : 1 - f.labels[i];
    }
    ok(dt_probe_accuracy(&model, f.rows, f.labels, NULL, N, 1, &all, NULL, &error) && all == 0.8, "the share of all rows (%g)", all);
    ok(dt_probe_accuracy(&model, f.rows, f.labels, rows, N, 3, &chosen, NULL, &error) && chosen == all, "the same rows backwards");
    ok(dt_probe_accuracy(&model, f.rows, f.labels, rows + 4, 1, 0, &one, NULL, &error) && one == 0 &&
           dt_probe_accuracy(&model, f.rows, f.labels, rows + 5, 4, 0, &one, NULL, &error) && one == 1,
       "some rows");
    dt_logistic_free(&model);
    dt_features_free(&f);
}

static void too_few(void)
{
    dt_features train = made("scarce", 20, NULL, 2, only_one),
                single = made("single", 20, NULL, 2, alternate);
    dt_probe_data data;
    double accuracies[3];
    size_t sizes[3];
    ok(dt_probe_data_new(&data, &train, &error) &&
           !dt_probe_folds(&data, 3, 1, 1, &(dt_probe_options){0}, accuracies, sizes, &error),
       "folds of a class with one image");
    ok(says(error.message, "scarce: class '1' has 1 image to train on; 3 folds need at least 3"), "the class is named");
    dt_shot_curve curve;
    dt_features test = made("test", 4, NULL, 2, alternate);
    ok(!dt_shot_curve_run(&curve, &data, &test, (size_t[]){1, 2}, 2, 1, 1, 1, &(dt_probe_options){0}, &error),
       "more shots than images");
    ok(says(error.message, "scarce: class '1' has 1 image to train on; 2 shots need at least 2"), "the class and its images are told");
    dt_probe_data_free(&data);
    for (size_t i = 0; i < 20; i++)
        single.labels[i] = 0;
    ok(!dt_probe_data_new(&data, &single, &error), "one class alone");
    ok(says(error.message, "single: all of its 20 images are of the class '0'"), "one class is named");
    dt_probe_data_free(&data);
    dt_features_free(&train);
    dt_features_free(&single);
    dt_features_free(&test);
}

static void statistics(void)
{
    double mean, deviation;
    dt_mean_deviation((double[]){1, 2, 4}, 3, &mean, &deviation);
    ok(fabs(mean - 7.0 / 3) < 1e-12 && fabs(deviation - 1.5275252316519468) < 1e-12, "mean and deviation");
    dt_mean_deviation((double[]){0.5}, 1, &mean, &deviation);
    ok(mean == 0.5 && deviation == 0, "of one");
}

int main(void)
{
    sweep_test();
    ties();
    whole_run();
    folds_by_hand();
    few_shots();
    matching();
    odd_names();
    scoring();
    too_few();
    statistics();
    return done();
}
