/* InfoNCE and the sigmoid loss against their definitions in float64, stored references, differences of both
 * orders. */
#include "tests/op_golden.h"

#include <omp.h>

typedef struct row {
    int64_t n, d;
    float scale, bias;
    bool sigmoid;
    dt_precision precision;
} row;

static dt_tensor *build(dt_tensor **x, const void *context)
{
    const row *r = context;
    return r->sigmoid ? dt_sigmoid_loss(x[0], x[1], x[2], x[3]) : dt_infonce(x[0], x[1], x[2]);
}

/* All gradients in one result, so that its differences check the second derivatives. The last input is dloss.
 */
static dt_tensor *build_gradients(dt_tensor **x, const void *context)
{
    const row *r = context;
    int inputs = r->sigmoid ? 4 : 3;
    dt_tensor *loss = build(x, context), *d[4];
    dt_gradient_from(&loss, &x[inputs], 1, x, inputs, d);
    dt_tensor *y = dt_add(dt_mul(d[0], x[1]), dt_mul(d[1], d[2]));
    return r->sigmoid ? dt_mul(y, d[3]) : y;
}

/* The definition: logits[n n] and dlogits[n n]; returns the loss. */
static double infonce(int64_t n, const double *logit, double *dlogit)
{
    double loss = 0;
    for (int columns = 0; columns < 2; columns++)
        for (int64_t i = 0; i < n; i++) {
            double most = -INFINITY, sum = 0;
            int64_t first = columns ? i : i * n, step = columns ? n : 1;
            for (int64_t j = 0; j < n; j++)
                most = fmax(most, logit[first + j * step]);
            for (int64_t j = 0; j < n; j++)
                sum += exp(logit[first + j * step] - most);
            loss += (most + log(sum) - logit[i * n + i]) / (2 * (double)n);
            for (int64_t j = 0; j < n; j++)
                dlogit[first + j * step] +=
                    (exp(logit[first + j * step] - most) / sum - (i == j)) / (2 * (double)n);
        }
    return loss;
}

static double sigmoid_loss(int64_t n, const double *logit, double *dlogit)
{
    double loss = 0;
    for (int64_t k = 0; k < n * n; k++) {
        double z = k / n == k % n ? 1 : -1, x = -z * logit[k];
        loss += (fmax(x, 0) + log1p(exp(-fabs(x)))) / (double)n;
        dlogit[k] = -z / (1 + exp(-x)) / (double)n;
    }
    return loss;
}

/* Within `relative` of the largest value, and `more`. */
static void compare(const char *name, const char *what, const float *got, const double *want, size_t n,
                    double relative, double more)
{
    char label[320];
    double largest = 0;
    float *rounded = malloc(sizeof *rounded * n);
    for (size_t i = 0; i < n; i++) {
        rounded[i] = (float)want[i];
        largest = fmax(largest, fabs(want[i]));
    }
    snprintf(label, sizeof label, "%s: %s", name, what);
    near(label, got, rounded, n, relative * largest + more + 1e-7);
    free(rounded);
}

/* How much the slopes of the logits are rounded before they are multiplied with the features. */
static double rounding(dt_precision precision)
{
    return precision == DT_MIXED ? 0x1p-8 : precision == DT_TF32 ? 0x1p-10 : 0;
}

static void check_reference(const row *r, const op_run *run, const char *name)
{
    int64_t n = r->n, d = r->d;
    const float *a = run->value[0], *b = run->value[1];
    double *logit = calloc((size_t)(n * n), sizeof *logit), *dlogit = calloc((size_t)(n * n), sizeof *dlogit);
    double *da = calloc((size_t)(n * d), sizeof *da), *db = calloc((size_t)(n * d), sizeof *db);
    double *da_size = calloc((size_t)(n * d), sizeof *da), *db_size = calloc((size_t)(n * d), sizeof *db);
    double dscale = 0, dbias = 0, dloss = run->dy[0], scale = r->scale, largest = 0, most_a = 0, most_b = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            for (int64_t k = 0; k < d; k++)
                logit[i * n + j] += (double)a[i * d + k] * b[j * d + k];
            logit[i * n + j] = scale * logit[i * n + j] + (r->sigmoid ? (double)r->bias : 0);
            largest = fmax(largest, fabs(logit[i * n + j]));
        }
    double loss = r->sigmoid ? sigmoid_loss(n, logit, dlogit) : infonce(n, logit, dlogit);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++) {
            double g = dlogit[i * n + j] * dloss, dot = 0;
            for (int64_t k = 0; k < d; k++) {
                da[i * d + k] += scale * g * b[j * d + k];
                db[j * d + k] += scale * g * a[i * d + k];
                da_size[i * d + k] += fabs(scale * g * b[j * d + k]);
                db_size[j * d + k] += fabs(scale * g * a[i * d + k]);
                dot += (double)a[i * d + k] * b[j * d + k];
            }
            dscale += g * dot;
            dbias += g;
        }
    for (int64_t i = 0; i < n * d; i++) {
        most_a = fmax(most_a, da_size[i]);
        most_b = fmax(most_b, db_size[i]);
    }
    double relative = 2e-6 * fmax(1, largest); /* rounded logits move probabilities by as much */
    compare(name, "loss", run->y, &loss, 1, 1e-6 * fmax(1, largest), 0);
    compare(name, "da", run->dx[0], da, (size_t)(n * d), relative, rounding(r->precision) * most_a);
    compare(name, "db", run->dx[1], db, (size_t)(n * d), relative, rounding(r->precision) * most_b);
    compare(name, "dscale", run->dx[2], &dscale, 1, 4 * relative, 0);
    if (r->sigmoid)
        compare(name, "dbias", run->dx[3], &dbias, 1, 4 * relative, 0);
    free(da_size);
    free(db_size);
    free(logit);
    free(dlogit);
    free(da);
    free(db);
}

static float eight_bits(float x)
{
    int exponent;
    float mantissa = frexpf(x, &exponent);
    return ldexpf(rintf(mantissa * 256), exponent - 8);
}

/* Features as a model gives them: of length about 1, pairs alike; of 8 bits, which no precision rounds. */
static float *features(int64_t n, int64_t d, uint64_t seed)
{
    float *x = malloc(sizeof *x * (size_t)(n * d)), *common = malloc(sizeof *x * (size_t)(n * d));
    op_random(x, (size_t)(n * d), seed);
    op_random(common, (size_t)(n * d), 77);
    for (int64_t i = 0; i < n * d; i++)
        x[i] = eight_bits((common[i] + 0.7f * x[i]) / sqrtf(1.5f * (float)d));
    free(common);
    return x;
}

/* The simulator, on which much takes long. */
static bool simulated(void)
{
    const char *path = getenv("DUET_BACKEND");
    return path && strstr(path, "cudasim");
}

static const char *const precisions[] = {"", ", TF32", ", mixed"};

static void check(const row *r)
{
    char name[128];
    dt_backend backend = *op_backend();
    backend.precision = r->precision;
    float *a = features(r->n, r->d, 1), *b = features(r->n, r->d, 2);
    snprintf(name, sizeof name, "%s of %d x %d, scale %g%s", r->sigmoid ? "sigmoid loss" : "infonce", (int)r->n,
             (int)r->d, (double)r->scale, precisions[r->precision]);
    op_case c = {.name = name,
                 .build = build,
                 .context = r,
                 .inputs = r->sigmoid ? 4 : 3,
                 .shape = {dt_dims(r->n, r->d), dt_dims(r->n, r->d)},
                 .value = {a, b, &r->scale, &r->bias}};
    op_run run, again;
    omp_set_num_threads(2);
    if (ok(op_start_on(&run, &c, NULL, &backend), "%s runs", name)) {
        check_reference(r, &run, name);
        if (r->n < 8 && r->scale < 3 && !r->precision)
            op_differences(&run);
    } else {
        printf("# %s\n", run.error);
    }
    omp_set_num_threads(1);
    if (simulated() && r->n > 1000)
        again = (op_run){0};
    else if (ok(op_start_on(&again, &c, NULL, &backend), "%s runs on one thread", name)) {
        near("one thread, two threads: loss", again.y, run.y, 1, 0);
        near("one thread, two threads: da", again.dx[0], run.dx[0], (size_t)(r->n * r->d), 0);
        near("one thread, two threads: db", again.dx[1], run.dx[1], (size_t)(r->n * r->d), 0);
        near("one thread, two threads: dscale", again.dx[2], run.dx[2], 1, 0);
    }
    omp_set_num_threads(2);
    op_end(&run);
    op_end(&again);
    free(a);
    free(b);
}

static void check_second(bool sigmoid)
{
    const row r = {5, 3, 0, 0, sigmoid};
    op_case c = {.name =
                     sigmoid ? "gradient of the sigmoid loss's gradient" : "gradient of infonce's gradient",
                 .build = build_gradients,
                 .context = &r,
                 .inputs = sigmoid ? 5 : 4,
                 .shape = {dt_dims(5, 3), dt_dims(5, 3)}};
    op_check(&c, "runs");
}

/* A single pair cannot be mistaken: exactly no loss and no gradient, whatever the scale. */
static void check_single(void)
{
    const float zeros[5] = {0};
    float a[5] = {1.3f, -2.7f, 0.1f, 9.1f, 1e-3f}, b[5] = {3.1f, 0.2f, -5.5f, 1.7f, 2}, scale = 98.7f, dy = 1;
    const row r = {1, 5, 0, 0, false};
    op_case c = {.name = "a single pair",
                 .build = build,
                 .context = &r,
                 .inputs = 3,
                 .shape = {dt_dims(1, 5), dt_dims(1, 5)},
                 .value = {a, b, &scale},
                 .dy = &dy};
    op_run run;
    if (ok(op_start(&run, &c, NULL), "a single pair runs")) {
        near("loss of a single pair", run.y, zeros, 1, 0);
        near("its gradient", run.dx[0], zeros, 5, 0);
    }
    op_end(&run);
}

static dt_tensor *build_stored(dt_tensor **x, const void *context)
{
    dt_tensor *a = dt_l2_normalize(x[0], 0), *b = dt_l2_normalize(x[1], 0), *scale = dt_exp(x[2]);
    return context ? dt_sigmoid_loss(a, b, scale, x[3]) : dt_infonce(a, b, scale);
}

static void check_stored(const char *family, int n, const json_t *tolerance)
{
    char place[64], *label = place + strlen("losses/");
    snprintf(place, sizeof place, "losses/%s_n%d.safetensors", family, n);
    const char *path = golden(place);
    dt_safetensors *file = path ? dt_safetensors_open(path, NULL) : NULL;
    const json_t *bounds = json_object_get(tolerance, label);
    if (!file || !bounds) {
        skip(place, "the reference is not here");
        return;
    }
    bool sigmoid = !strcmp(family, "siglip");
    const char *const names[] = {"image", "text", sigmoid ? "log_scale" : "logit_scale", "bias"};
    const float one = 1;
    op_case c = {.name = label,
                 .build = build_stored,
                 .context = sigmoid ? &one : NULL,
                 .inputs = sigmoid ? 4 : 3,
                 .dy = &one};
    float *value[4] = {0};
    for (int i = 0; i < c.inputs; i++)
        c.value[i] = value[i] = op_values(file, names[i], &c.shape[i]);
    op_run run;
    if (ok(op_start(&run, &c, NULL), "%s runs", label)) {
        op_compare(file, bounds, label, "loss", run.y, 1);
        for (int i = 0; i < c.inputs; i++) {
            char gradient[64];
            snprintf(gradient, sizeof gradient, "grad_%s", names[i]);
            op_compare(file, bounds, label, gradient, run.dx[i], (size_t)dt_count(&c.shape[i]));
        }
    }
    op_end(&run);
    for (int i = 0; i < 4; i++)
        free(value[i]);
    dt_safetensors_close(file);
}

/* Many pairs, each of them twice: the loss grows by log 2, and gradients are halved. The backends have these in several
 * tiles, and half of them in fewer, or one. */
static void check_twice(void)
{
    const int64_t half = simulated() ? 600 : 4150, d = 4, count = half * d;
    float *a = features(half, d, 1), *b = features(half, d, 2), *twice_a = malloc(sizeof *a * (size_t)count * 2),
          *twice_b = malloc(sizeof *b * (size_t)count * 2), scale = 14, dy = 1;
    for (int i = 0; i < 2; i++) {
        memcpy(twice_a + i * count, a, sizeof *a * (size_t)count);
        memcpy(twice_b + i * count, b, sizeof *b * (size_t)count);
    }
    const row r = {half, d, scale, 0, false, DT_FP32};
    op_case c = {.name = "pairs",
                 .build = build,
                 .context = &r,
                 .inputs = 3,
                 .shape = {dt_dims(half, d), dt_dims(half, d)},
                 .value = {a, b, &scale},
                 .dy = &dy};
    op_run once, twice;
    bool ran = op_start(&once, &c, NULL);
    c.name = "pairs twice";
    c.shape[0] = c.shape[1] = dt_dims(2 * half, d);
    c.value[0] = twice_a, c.value[1] = twice_b;
    if (ok(op_start(&twice, &c, NULL) && ran, "%d pairs, once and twice", (int)half)) {
        float loss = once.y[0] + logf(2), most = 0;
        near("loss of pairs that are there twice", twice.y, &loss, 1, 4e-6);
        for (int64_t i = 0; i < count; i++) {
            once.dx[0][i] /= 2;
            once.dx[1][i] /= 2;
            most = fmaxf(most, fmaxf(fabsf(once.dx[0][i]), fabsf(once.dx[1][i])));
        }
        for (int i = 0; i < 2; i++) {
            near("their da", twice.dx[0] + i * count, once.dx[0], (size_t)count, 2e-5 * most);
            near("their db", twice.dx[1] + i * count, once.dx[1], (size_t)count, 2e-5 * most);
        }
        near("their dscale", twice.dx[2], once.dx[2], 1, 1e-5 * fabsf(once.dx[2][0]));
    }
    op_end(&once);
    op_end(&twice);
    free(a);
    free(b);
    free(twice_a);
    free(twice_b);
}

/* The n x n logits are nowhere. A GPU has large tiles of them. */
static void check_memory(void)
{
    enum { N = 65536 };
    const dt_backend *backend = op_backend();
    const size_t most = backend == dt_cpu() ? 64 << 20 : 1 << 30;
    dt_graph *g = dt_graph_new();
    dt_tensor *x[] = {dt_input(g, "a", DT_F32, dt_dims(N, 4)), dt_input(g, "b", DT_F32, dt_dims(N, 4)),
                      dt_input(g, "scale", DT_F32, (dt_shape){0})};
    dt_tensor *loss = dt_keep(dt_infonce(x[0], x[1], x[2])), *d[3];
    dt_gradient(loss, x, 3, d);
    for (int i = 0; i < 3; i++)
        dt_keep(d[i]);
    dt_plan *plan = dt_plan_new(g, backend, NULL);
    ok(plan && dt_plan_describe(plan).planned_bytes < most, "%d pairs need %.1f MB, not 16384", N,
       plan ? (double)dt_plan_describe(plan).planned_bytes / (1 << 20) : -1);
    dt_plan_free(plan);
    dt_graph_free(g);
}

static void refuse(dt_shape a, dt_shape b, dt_shape scale)
{
    const row r = {0};
    op_case c = {.name = "refused", .build = build, .context = &r, .inputs = 3, .shape = {a, b, scale}};
    op_run run;
    bool refused = !op_start(&run, &c, NULL);
    ok(refused && strstr(run.error, "one shape [n, d]"), "refused: %s", refused ? run.error : "it runs");
    op_end(&run);
}

int main(void)
{
    const row rows[] = {
        {1, 3, 14, 0, false},     {2, 5, 1, 0, false},     {7, 33, 2, 0, false},     {63, 16, 14, 0, false},
        {64, 17, 100, 0, false},  {65, 64, 14, 0, false},  {131, 48, 100, 0, false}, {517, 24, 14, 0, false},
        {2050, 8, 14, 0, false},  {130, 40, 0, 0, false},  {67, 8, -3, 0, false},    {200, 600, 14, 0, false},
        {70, 16, 800, 0, false},
        {1, 3, 10, -10, true},    {2, 5, 1, 0.5f, true},   {7, 33, 2, -1, true},     {64, 17, 10, -10, true},
        {131, 48, 10, -10, true}, {517, 24, 100, 3, true}, {130, 40, 0, -2, true}, {1300, 4, 10, -10, true},
    };
    const row lower[] = {
        {1, 3, 14, 0, false, DT_MIXED},   {65, 64, 14, 0, false, DT_MIXED},   {131, 49, 100, 0, false, DT_MIXED},
        {1300, 8, 14, 0, false, DT_MIXED}, {131, 48, 10, -10, true, DT_MIXED}, {1300, 5, 10, -10, true, DT_MIXED},
        {131, 49, 14, 0, false, DT_TF32}, {131, 49, 10, -10, true, DT_TF32},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        check(&rows[i]);
    for (size_t i = 0; i < sizeof lower / sizeof *lower && op_backend() != dt_cpu(); i++)
        check(&lower[i]);
    check_twice();
    check_second(false);
    check_second(true);
    check_single();
    const char *bounds = golden("losses/tolerance.json");
    json_t *tolerance = bounds ? dt_json_load(bounds, NULL) : NULL;
    const int stored[] = {1, 2, 7, 64, 257};
    for (int i = 0; i < 5; i++) {
        check_stored("infonce", stored[i], tolerance);
        check_stored("siglip", stored[i], tolerance);
    }
    json_decref(tolerance);
    check_memory();
    refuse(dt_dims(3, 4), dt_dims(3, 5), (dt_shape){0});
    refuse(dt_dims(3, 4), dt_dims(3, 4), dt_dims(1));
    refuse(dt_dims(3), dt_dims(3), (dt_shape){0});
    return done();
}
