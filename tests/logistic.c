/* Logistic regression against the true optima of scikit-learn's objective, and by its definition.
 * `logistic bench [ROWS [DIM [CLASSES]]]` prints the course of fits of random features instead. */
#include "eval/logistic.h"

#include "data/json.h"
#include "data/safetensors.h"
#include "data/shuffle.h"
#include "tests/tap.h"

static dt_error error;
static json_t *tolerances;

static float *floats(const dt_safetensors *file, const char *name)
{
    const dt_st_tensor *tensor = dt_safetensors_need(file, name, &error);
    float *values = tensor ? malloc((tensor->count + 1) * sizeof *values) : NULL;
    if (!values || !dt_st_to_float(tensor, values, &error)) {
        printf("Bail out! %s\n", error.message);
        exit(1);
    }
    return values;
}

static int32_t *integers(const dt_safetensors *file, const char *name)
{
    const dt_st_tensor *tensor = dt_safetensors_need(file, name, &error);
    int32_t *values = tensor ? malloc((tensor->count + 1) * sizeof *values) : NULL;
    if (!values || !dt_st_to_int32(tensor, values, &error)) {
        printf("Bail out! %s\n", error.message);
        exit(1);
    }
    return values;
}

/* NULL where the fixture is not there. */
static dt_safetensors *open_golden(const char *name)
{
    const char *path = golden(name);
    return path ? dt_safetensors_open(path, &error) : NULL;
}

static json_t *load_golden(const char *name)
{
    const char *path = golden(name);
    return path ? dt_json_load(path, &error) : NULL;
}

static double number(const json_t *json, const char *key)
{
    return json_number_value(json_object_get(json, key));
}

static double tolerance(const char *file, const char *tensor)
{
    return number(json_object_get(json_object_get(tolerances, file), tensor), "tolerance");
}

static float *as_floats(const double *values, size_t n)
{
    float *out = malloc(n * sizeof *out);
    for (size_t i = 0; i < n; i++)
        out[i] = (float)values[i];
    return out;
}

static void predict(const dt_logistic *model, const float *x, size_t n, float *scores, int32_t *predictions)
{
    ok(dt_logistic_scores(model, x, NULL, n, 0, scores, &error), "scores of %zu rows", n);
    for (size_t i = 0; i < n; i++) {
        predictions[i] = 0;
        for (size_t k = 1; k < model->classes; k++)
            if (scores[i * model->classes + k] > scores[i * model->classes + (size_t)predictions[i]])
                predictions[i] = (int32_t)k;
    }
}

static void softmax(float *scores, size_t n, size_t classes)
{
    for (size_t i = 0; i < n; i++) {
        double sum = 0;
        for (size_t k = 0; k < classes; k++)
            sum += exp((double)scores[i * classes + k]);
        for (size_t k = 0; k < classes; k++)
            scores[i * classes + k] = (float)(exp((double)scores[i * classes + k]) / sum);
    }
}

/* ---- scikit-learn's data ---- */

enum { ROWS = 600, TESTS = 300, DIM = 32, CLASSES = 5 };

typedef struct probe {
    float *train_x, *test_x;
    int32_t *train_y, *test_y;
} probe;

static const dt_logistic_options exact = {.classes = CLASSES, .C = 0.316, .tolerance = 1e-15};

static void check_scores(const dt_logistic *model, const probe *p, const dt_safetensors *expected)
{
    float *scores = malloc(ROWS * CLASSES * sizeof *scores), *want = floats(expected, "test_scores"),
          *want_p = floats(expected, "test_probabilities");
    int32_t *got = malloc(ROWS * sizeof *got), *train = integers(expected, "train_predictions"),
            *test = integers(expected, "test_predictions");
    predict(model, p->train_x, ROWS, scores, got);
    ok(!memcmp(got, train, ROWS * sizeof *got), "predictions of the training rows");
    predict(model, p->test_x, TESTS, scores, got);
    ok(!memcmp(got, test, TESTS * sizeof *got), "predictions of the test rows");
    near("test scores", scores, want, TESTS * CLASSES, tolerance("expected.safetensors", "test_scores"));
    softmax(scores, TESTS, CLASSES);
    near("test probabilities", scores, want_p, TESTS * CLASSES, tolerance("expected.safetensors", "test_probabilities"));
    free(scores), free(want), free(want_p), free(got), free(train), free(test);
}

static void five_classes(const probe *p, const dt_safetensors *expected, const json_t *solution)
{
    dt_logistic model;
    dt_logistic_facts facts;
    if (!ok(dt_logistic_fit(&model, p->train_x, p->train_y, NULL, ROWS, DIM, &exact, &facts, &error), "five classes: %s",
            error.message))
        return;
    float *weights = as_floats(model.weights, CLASSES * DIM), *bias = as_floats(model.bias, CLASSES),
          *want = floats(expected, "coef_exact"), *want_bias = floats(expected, "intercept_exact"), mean = 0;
    for (int k = 0; k < CLASSES; k++)
        mean += want_bias[k] / CLASSES;
    for (int k = 0; k < CLASSES; k++)
        want_bias[k] -= mean;
    near("weights", weights, want, CLASSES * DIM, tolerance("expected.safetensors", "coef_exact"));
    near("intercepts", bias, want_bias, CLASSES, tolerance("expected.safetensors", "intercept_exact"));
    double objective = number(solution, "objective_exact");
    ok(fabs(facts.objective / objective - 1) < 1e-13, "objective %.17g is %.17g", facts.objective, objective);
    ok(facts.converged && facts.gradient_max < 1e-5 && facts.iterations > 3 && facts.evaluations > facts.iterations &&
           facts.seconds > 0,
       "converged to a gradient of %.2g in %d iterations, %d evaluations", facts.gradient_max, facts.iterations,
       facts.evaluations);
    check_scores(&model, p, expected);
    free(weights), free(bias), free(want), free(want_bias);
    dt_logistic_free(&model);
    ok(!model.weights && !model.bias, "a freed model is empty");
}

/* Folds by row numbers, no copies. */
static void folds(const probe *p, const json_t *validation)
{
    const json_t *list = json_object_get(validation, "folds"), *fold;
    size_t f;
    double mean = 0;
    json_array_foreach(list, f, fold)
    {
        const json_t *held = json_object_get(fold, "test_indices");
        size_t rows[ROWS], n = 0, tests = json_array_size(held);
        bool is_held[ROWS] = {false};
        for (size_t i = 0; i < tests; i++)
            is_held[json_integer_value(json_array_get(held, i))] = true;
        for (size_t i = 0; i < ROWS; i++)
            if (!is_held[i])
                rows[n++] = i;
        dt_logistic model;
        dt_logistic_facts facts;
        if (!ok(dt_logistic_fit(&model, p->train_x, p->train_y, rows, n, DIM, &exact, &facts, &error), "fold %zu", f))
            continue;
        float *scores = malloc(ROWS * CLASSES * sizeof *scores);
        int32_t predicted[ROWS];
        predict(&model, p->train_x, ROWS, scores, predicted);
        size_t right = 0;
        for (size_t i = 0; i < ROWS; i++)
            right += is_held[i] && predicted[i] == p->train_y[i];
        double accuracy = (double)right / (double)tests, objective = number(fold, "objective_exact");
        ok(fabs(accuracy - number(fold, "accuracy")) < 1e-12, "fold %zu: accuracy %g", f, accuracy);
        ok(fabs(facts.objective / objective - 1) < 1e-13, "fold %zu: objective %.17g is %.17g", f, facts.objective, objective);
        mean += accuracy / (double)json_array_size(list);
        free(scores);
        dt_logistic_free(&model);
    }
    ok(fabs(mean - number(validation, "mean_accuracy")) < 1e-12, "mean accuracy %g of the folds", mean);
}

static void two_classes(const dt_safetensors *file, const json_t *solution)
{
    enum { N = 150, WIDTH = 10 };
    float *x = floats(file, "x"), *want = floats(file, "coef_exact"), *want_bias = floats(file, "intercept_exact"),
          *want_p = floats(file, "probabilities"), scores[2 * N], w[WIDTH];
    int32_t *y = integers(file, "y"), predicted[N];
    dt_logistic_options options = {.classes = 2, .C = number(solution, "C"), .tolerance = 1e-15};
    dt_logistic model;
    dt_logistic_facts facts;
    if (ok(dt_logistic_fit(&model, x, y, NULL, N, WIDTH, &options, &facts, &error), "two classes: %s", error.message)) {
        for (int j = 0; j < WIDTH; j++)
            w[j] = (float)(model.weights[WIDTH + j] - model.weights[j]);
        float b = (float)(model.bias[1] - model.bias[0]);
        near("two classes: weights", w, want, WIDTH, tolerance("binary.safetensors", "coef_exact"));
        near("two classes: intercept", &b, want_bias, 1, tolerance("binary.safetensors", "intercept_exact"));
        ok(fabs(facts.objective / number(solution, "objective_exact") - 1) < 1e-13, "two classes: objective %.17g",
           facts.objective);
        predict(&model, x, N, scores, predicted);
        size_t right = 0;
        for (int i = 0; i < N; i++)
            right += predicted[i] == y[i];
        ok(fabs((double)right / N - number(solution, "accuracy")) < 1e-12, "two classes: %zu right", right);
        softmax(scores, N, 2);
        near("two classes: probabilities", scores, want_p, 2 * N, 1e-4);
        dt_logistic_free(&model);
    }
    free(x), free(y), free(want), free(want_bias), free(want_p);
}

static void scikit_learn(void)
{
    dt_safetensors *data = open_golden("probe/data.safetensors"), *expected = open_golden("probe/expected.safetensors"),
                   *binary = open_golden("probe/binary.safetensors");
    json_t *solution = load_golden("probe/solution.json"), *validation = load_golden("probe/cross_validation.json"),
           *binary_solution = load_golden("probe/binary.json");
    tolerances = load_golden("probe/tolerance.json");
    if (data && expected && binary && solution && validation && binary_solution && tolerances) {
        probe p = {floats(data, "train_x"), floats(data, "test_x"), integers(data, "train_y"), integers(data, "test_y")};
        five_classes(&p, expected, solution);
        folds(&p, validation);
        two_classes(binary, binary_solution);
        free(p.train_x), free(p.test_x), free(p.train_y), free(p.test_y);
    } else {
        skip("probe", "the fixture is not there");
    }
    dt_safetensors_close(data);
    dt_safetensors_close(expected);
    dt_safetensors_close(binary);
    json_decref(solution);
    json_decref(validation);
    json_decref(binary_solution);
    json_decref(tolerances);
}

/* ---- by definition ---- */

typedef struct problem {
    size_t n, dim, classes;
    float *x;
    int32_t *y;
} problem;

/* Classes around centres of their own, columns of very different size and far from zero. */
static problem make(size_t n, size_t dim, size_t classes, double apart)
{
    problem p = {n, dim, classes, malloc(n * dim * sizeof *p.x), malloc(n * sizeof *p.y)};
    for (size_t i = 0; i < n; i++) {
        p.y[i] = (int32_t)(i % classes);
        for (size_t j = 0; j < dim; j++) {
            double noise = dt_uniform(1, i, j) + dt_uniform(2, i, j) - 1, centre = dt_uniform(3, (uint64_t)p.y[i], j) - 0.5;
            p.x[i * dim + j] = (float)((noise + apart * centre) / sqrt((double)j + 1) + (j % 3 == 1 ? 5 : 0));
        }
    }
    return p;
}

static void drop(problem *p)
{
    free(p->x);
    free(p->y);
}

static dt_logistic any_model(const problem *p)
{
    dt_logistic m = {p->classes, p->dim, malloc(p->classes * p->dim * sizeof(double)), malloc(p->classes * sizeof(double))};
    for (size_t i = 0; i < p->classes * p->dim; i++)
        m.weights[i] = dt_uniform(4, i, 0) - 0.5;
    for (size_t k = 0; k < p->classes; k++)
        m.bias[k] = dt_uniform(5, k, 0);
    return m;
}

/* The objective as the header writes it. */
static double objective(const dt_logistic *m, const problem *p, double C)
{
    double squares = 0, loss = 0, *s = malloc(p->classes * sizeof *s);
    for (size_t i = 0; i < p->classes * p->dim; i++)
        squares += m->weights[i] * m->weights[i];
    for (size_t i = 0; i < p->n; i++) {
        double most = -INFINITY, sum = 0;
        for (size_t k = 0; k < p->classes; k++) {
            s[k] = m->bias[k];
            for (size_t j = 0; j < p->dim; j++)
                s[k] += m->weights[k * p->dim + j] * (double)p->x[i * p->dim + j];
            most = fmax(most, s[k]);
        }
        for (size_t k = 0; k < p->classes; k++)
            sum += exp(s[k] - most);
        loss += most + log(sum) - s[p->y[i]];
    }
    free(s);
    return (p->classes == 2 ? 1 : 0.5) * squares + C * loss;
}

static void gradient_case(size_t n, size_t dim, size_t classes)
{
    problem p = make(n, dim, classes, 1);
    dt_logistic m = any_model(&p);
    double C = 0.3, value, *weights = malloc(classes * dim * sizeof *weights), *bias = malloc(classes * sizeof *bias);
    ok(dt_logistic_objective(&m, p.x, p.y, NULL, n, C, 0, &value, weights, bias, &error), "objective of %zu x %zu x %zu", n,
       dim, classes);
    double want = objective(&m, &p, C), worst = 0, most = 0;
    ok(fabs(value / want - 1) < 1e-13, "objective %.15g is %.15g", value, want);
    for (size_t i = 0; i < classes * (dim + 1); i += 1 + i % 3) {
        double *at = i < classes * dim ? &m.weights[i] : &m.bias[i - classes * dim], kept = *at, h = 1e-5;
        *at = kept + h;
        double above = objective(&m, &p, C);
        *at = kept - h;
        double slope = (above - objective(&m, &p, C)) / (2 * h), got = i < classes * dim ? weights[i] : bias[i - classes * dim];
        *at = kept;
        worst = larger(worst, fabs(slope - got));
        most = fmax(most, fabs(slope));
    }
    ok(worst < 1e-7 * most, "gradient within %.2g of differences (largest %.2g)", worst, most);
    free(weights);
    free(bias);
    dt_logistic_free(&m);
    drop(&p);
}

static double distance(const dt_logistic *a, const dt_logistic *b)
{
    double most = 0;
    for (size_t i = 0; i < a->classes * a->dim; i++)
        most = larger(most, fabs(a->weights[i] - b->weights[i]));
    for (size_t k = 0; k < a->classes; k++)
        most = larger(most, fabs(a->bias[k] - b->bias[k]));
    return most;
}

/* From another C's solution as from nothing; less far to go from a near one; for every number of threads the
 * same. */
static void starts_and_threads(void)
{
    problem p = make(1111, 23, 7, 1);
    dt_logistic_options options = {.classes = 7, .C = 2, .tolerance = 1e-15, .threads = 1};
    dt_logistic cold = {0}, near_one = {0}, warm = {0}, again = {0}, threaded = {0};
    dt_logistic_facts cold_facts, warm_facts;
    ok(dt_logistic_fit(&cold, p.x, p.y, NULL, p.n, p.dim, &options, &cold_facts, &error), "cold");
    options.C = 1.9;
    ok(dt_logistic_fit(&near_one, p.x, p.y, NULL, p.n, p.dim, &options, NULL, &error), "another C");
    for (size_t k = 0; k < p.classes; k++)
        near_one.bias[k] += 3; /* what changes no prediction does not last */
    options.C = 2, options.start = &near_one;
    ok(dt_logistic_fit(&warm, p.x, p.y, NULL, p.n, p.dim, &options, &warm_facts, &error), "warm");
    ok(distance(&cold, &warm) < 1e-5 && fabs(cold_facts.objective / warm_facts.objective - 1) < 1e-13 &&
           warm_facts.evaluations < cold_facts.evaluations,
       "warm is cold within %.2g, in %d and %d evaluations", distance(&cold, &warm), warm_facts.evaluations,
       cold_facts.evaluations);
    options.start = &cold, options.tolerance = 1e-9;
    ok(dt_logistic_fit(&again, p.x, p.y, NULL, p.n, p.dim, &options, &warm_facts, &error) && warm_facts.iterations == 0 &&
           warm_facts.converged && distance(&cold, &again) < 1e-12,
       "nothing to do from the solution");
    options.start = NULL, options.threads = 3, options.tolerance = 1e-15;
    ok(dt_logistic_fit(&threaded, p.x, p.y, NULL, p.n, p.dim, &options, NULL, &error) && distance(&cold, &threaded) == 0,
       "three threads give the bits of one");
    dt_logistic_free(&cold), dt_logistic_free(&near_one), dt_logistic_free(&warm), dt_logistic_free(&again);
    dt_logistic_free(&threaded);
    drop(&p);
}

/* From almost no weights to almost no penalty, classes that can be told apart and not, more columns than
 * rows, equal columns: a minimum each time, which no step away improves. */
static void wide_range(size_t n, size_t dim, size_t classes, double apart)
{
    problem p = make(n, dim, classes, apart);
    for (size_t i = 0; dim > 2 && i < n; i++)
        p.x[i * dim + 2] = p.x[i * dim], p.x[i * dim + dim - 1] = 1;
    for (double C = 1e-6; C < 2e6; C *= 1e4) {
        dt_logistic_options options = {.classes = classes, .C = C};
        dt_logistic model;
        dt_logistic_facts facts;
        bool fitted = dt_logistic_fit(&model, p.x, p.y, NULL, n, dim, &options, &facts, &error);
        if (!ok(fitted && facts.converged, "%zu x %zu x %zu, C %g: %d iterations", n, dim, classes, C, facts.iterations))
            continue;
        double least = objective(&model, &p, C), lower = 0;
        ok(fabs(facts.objective / least - 1) < 1e-10, "objective %.12g is %.12g", facts.objective, least);
        for (uint64_t trial = 0; trial < 20; trial++) {
            dt_logistic moved = any_model(&p);
            for (size_t i = 0; i < classes * dim; i++)
                moved.weights[i] = model.weights[i] * (1 + 0.01 * (dt_uniform(6, i, trial) - 0.5));
            for (size_t k = 0; k < classes; k++)
                moved.bias[k] = model.bias[k] + 0.01 * (dt_uniform(7, k, trial) - 0.5);
            lower = larger(lower, 1 - objective(&moved, &p, C) / least);
            dt_logistic_free(&moved);
        }
        ok(lower <= 1e-8, "no lower nearby (%.2g)", lower);
        dt_logistic_free(&model);
    }
    drop(&p);
}

static void iterations_run_out(void)
{
    problem p = make(200, 11, 3, 1);
    dt_logistic_options options = {.classes = 3, .C = 1, .tolerance = 1e-14, .max_iterations = 2};
    dt_logistic model;
    dt_logistic_facts facts;
    ok(dt_logistic_fit(&model, p.x, p.y, NULL, p.n, p.dim, &options, &facts, &error) && !facts.converged &&
           facts.iterations == 2 && fabs(facts.objective / objective(&model, &p, 1) - 1) < 1e-13,
       "not converged, said so, and the objective is the model's");
    dt_logistic_free(&model);
    drop(&p);
}

/* ---- bad input ---- */

static void refuse(const char *what, const char *message, const problem *p, const size_t *rows, size_t n,
                   dt_logistic_options options)
{
    dt_logistic model;
    error.message[0] = 0;
    ok(!dt_logistic_fit(&model, p->x, p->y, rows, n, p->dim, &options, NULL, &error) && !model.weights &&
           strstr(error.message, message),
       "%s: %s", what, error.message);
}

static void refused(void)
{
    problem p = make(100, 5, 3, 1);
    const dt_logistic_options good = {.classes = 3, .C = 1};
    const size_t rows[] = {0, 1, 3, 4, 6};
    refuse("no rows", "found 0 rows", &p, NULL, 0, good);
    refuse("C of 0", "C is 0", &p, NULL, p.n, (dt_logistic_options){.classes = 3});
    refuse("C negative", "C is -1", &p, NULL, p.n, (dt_logistic_options){.classes = 3, .C = -1});
    refuse("C infinite", "C is inf", &p, NULL, p.n, (dt_logistic_options){.classes = 3, .C = INFINITY});
    refuse("C no number", "C is", &p, NULL, p.n, (dt_logistic_options){.classes = 3, .C = NAN});
    refuse("one class", "of 1 classes", &p, NULL, p.n, (dt_logistic_options){.classes = 1, .C = 1});
    refuse("a label beyond", "row 2 has label 2; expected 0 to 1", &p, NULL, p.n, (dt_logistic_options){.classes = 2, .C = 1});
    refuse("a class without rows", "is of class 3", &p, NULL, p.n, (dt_logistic_options){.classes = 4, .C = 1});
    refuse("a class without rows among those asked for", "none of the 5 rows to fit is of class 2", &p, rows, 5, good);
    const dt_logistic other = {.classes = 3, .dim = 4};
    refuse("another model to start from", "3 classes and 4 features; expected 3 and 5", &p, NULL, p.n,
           (dt_logistic_options){.classes = 3, .C = 1, .start = &other});
    p.x[77 * 5 + 3] = NAN;
    refuse("a feature that is no number", "feature 3 of row 77 is not finite", &p, NULL, p.n, good);
    p.x[77 * 5 + 3] = -INFINITY;
    refuse("a feature that is infinite", "feature 3 of row 77 is not finite", &p, NULL, p.n, good);
    const size_t whole[] = {0, 1, 2, 3, 4, 5};
    dt_logistic model;
    ok(dt_logistic_fit(&model, p.x, p.y, whole, 6, p.dim, &good, NULL, &error), "rows that are not asked for do not count");
    p.x[0] = NAN;
    float scores[3];
    ok(dt_logistic_scores(&model, p.x + 5, NULL, 0, 0, scores, &error), "scores of no rows");
    dt_logistic_free(&model);
    p.y[5] = -1;
    refuse("no label", "row 5 has label -1", &p, NULL, p.n, good);
    drop(&p);
    problem none = {.n = 3, .dim = 0, .classes = 3, .x = NULL, .y = (int32_t[]){0, 1, 2}};
    refuse("no columns", "3 rows of 0", &none, NULL, 3, good);
}

static int bench(int count, char **arguments)
{
    problem p = make(count > 0 ? (size_t)atol(arguments[0]) : 50000, count > 1 ? (size_t)atol(arguments[1]) : 512,
                     count > 2 ? (size_t)atol(arguments[2]) : 10, 0.3);
    dt_logistic last = {0};
    for (int pass = 0; pass < 2; pass++)
        for (double C = 1e-3; C < 2e3; C *= 1e3) {
            dt_logistic_options options = {.classes = p.classes, .C = C, .start = pass && last.dim ? &last : NULL};
            dt_logistic model;
            dt_logistic_facts f;
            if (!dt_logistic_fit(&model, p.x, p.y, NULL, p.n, p.dim, &options, &f, &error)) {
                fprintf(stderr, "%s\n", error.message);
                return 1;
            }
            printf("%s, C %g: objective %.10g, gradient %.2g, %d iterations, %d evaluations, %.2f s%s\n",
                   options.start ? "warm" : "cold", C, f.objective, f.gradient_max, f.iterations, f.evaluations, f.seconds,
                   f.converged ? "" : ", not converged");
            dt_logistic_free(&last);
            last = model;
        }
    dt_logistic_free(&last);
    drop(&p);
    return 0;
}

int main(int count, char **arguments)
{
    if (count > 1 && !strcmp(arguments[1], "bench"))
        return bench(count - 2, arguments + 2);
    scikit_learn();
    gradient_case(97, 13, 5);
    gradient_case(150, 4, 33);
    gradient_case(3000, 1, 2);
    starts_and_threads();
    wide_range(300, 9, 4, 0.3);
    wide_range(120, 40, 3, 3);
    wide_range(20, 60, 2, 1);
    iterations_run_out();
    refused();
    return done();
}
