/* Layer, group and batch norm against one definition in float64, stored references, differences of both
 * orders. */
#include "tests/op_golden.h"

#include <omp.h>

typedef enum { LAYER, GROUP, BATCH } kind;

typedef struct row {
    kind which;
    dt_shape shape;
    int groups;
    float offset; /* of x: what the mean has to take out */
} row;

static dt_params *buffers; /* of the batch norm that is being recorded */

static dt_batch_norm_state state_in(dt_graph *g, int64_t c, float momentum, bool training)
{
    dt_scope root = {g, buffers, ""};
    return (dt_batch_norm_state){.running_mean = dt_buffer(root, "running_mean", dt_dims(c), dt_zeros),
                                 .running_var = dt_buffer(root, "running_var", dt_dims(c), dt_ones),
                                 .momentum = momentum,
                                 .eps = 1e-5f,
                                 .training = training};
}

static dt_tensor *normalise(dt_tensor **x, const row *r)
{
    if (r->which == LAYER)
        return dt_layer_norm(x[0], x[1], x[2], 1e-5f);
    if (r->which == GROUP)
        return dt_group_norm(x[0], x[1], x[2], r->groups, 1e-5f);
    dt_tensor *y =
        dt_batch_norm(x[0], x[1], x[2], state_in(dt_graph_of(x[0]), x[1]->shape.dim[0], 0.1f, true));
    dt_params_allocate(buffers, 1);
    return y;
}

static dt_tensor *build(dt_tensor **x, const void *context)
{
    return normalise(x, context);
}

/* All three gradients in one result, so that its differences check the second derivatives. */
static dt_tensor *build_gradients(dt_tensor **x, const void *context)
{
    dt_tensor *y = normalise(x, context), *d[3];
    dt_gradient_from(&y, &x[3], 1, x, 3, d);
    return dt_add(dt_mul(d[0], x[0]), dt_mul(d[1], d[2]));
}

/* x [n, rows, c] in groups; the definition, and its gradient by the chain rule in full. */
typedef struct reference {
    int64_t n, rows, c, groups;
    double *y, *dx, *dgamma, *dbeta;
} reference;

static void reference_group(const reference *f, const op_run *r, int64_t sample, int64_t group)
{
    const float *x = r->value[0], *gamma = r->value[1], *beta = r->value[2], *dy = r->dy;
    int64_t width = f->c / f->groups, count = f->rows * width;
    int64_t *at = malloc(sizeof *at * (size_t)count);
    double mean = 0, var = 0, plain = 0, crossed = 0;
    for (int64_t k = 0; k < count; k++)
        at[k] = (sample * f->rows + k / width) * f->c + group * width + k % width;
    for (int64_t k = 0; k < count; k++)
        mean += x[at[k]] / (double)count;
    for (int64_t k = 0; k < count; k++)
        var += (x[at[k]] - mean) * (x[at[k]] - mean) / (double)count;
    double rstd = 1 / sqrt(var + (double)1e-5f);
    for (int64_t k = 0; k < count; k++) {
        int64_t j = at[k] % f->c;
        double xn = (x[at[k]] - mean) * rstd;
        f->y[at[k]] = xn * gamma[j] + beta[j];
        f->dgamma[j] += dy[at[k]] * xn;
        f->dbeta[j] += dy[at[k]];
        plain += (double)dy[at[k]] * gamma[j] / (double)count;
        crossed += dy[at[k]] * gamma[j] * xn / (double)count;
    }
    for (int64_t k = 0; k < count; k++)
        f->dx[at[k]] =
            rstd * ((double)dy[at[k]] * gamma[at[k] % f->c] - plain - (x[at[k]] - mean) * rstd * crossed);
    free(at);
}

static void compare(const char *name, const float *got, const double *want, size_t n, double relative)
{
    double largest = 0;
    float *rounded = malloc(sizeof *rounded * n);
    for (size_t i = 0; i < n; i++) {
        rounded[i] = (float)want[i];
        largest = fmax(largest, fabs(want[i]));
    }
    near(name, got, rounded, n, relative * largest + 1e-6);
    free(rounded);
}

static void check_reference(const row *r, const op_run *run, const char *name)
{
    int64_t c = r->shape.dim[r->shape.rank - 1], all = dt_count(&r->shape);
    int64_t n = r->which == LAYER ? all / c : r->which == GROUP ? r->shape.dim[0] : 1;
    reference f = {n,    all / c / n, c,    r->which == LAYER ? 1 : r->which == GROUP ? r->groups : c,
                   NULL, NULL,        NULL, NULL};
    double **part[] = {&f.y, &f.dx, &f.dgamma, &f.dbeta};
    for (int i = 0; i < 4; i++)
        *part[i] = calloc((size_t)all, sizeof(double));
    for (int64_t s = 0; s < n; s++)
        for (int64_t g = 0; g < f.groups; g++)
            reference_group(&f, run, s, g);
    char label[320];
    const char *const names[] = {"y", "dx", "dgamma", "dbeta"};
    const float *const got[] = {run->y, run->dx[0], run->dx[1], run->dx[2]};
    double loose = r->offset ? 2e-4 : 4e-6; /* a mean of 1000 is rounded to 3e-5 */
    for (int i = 0; i < 4; i++) {
        snprintf(label, sizeof label, "%s: %s", name, names[i]);
        compare(label, got[i], *part[i], (size_t)(i < 2 ? all : c), i == 3 ? 1e-6 : loose);
        free(*part[i]);
    }
}

static void check(const row *r, bool small)
{
    char name[256];
    const char *const kinds[] = {"layer norm", "group norm", "batch norm"};
    int64_t c = r->shape.dim[r->shape.rank - 1];
    size_t all = (size_t)dt_count(&r->shape);
    float *x = malloc(sizeof *x * all);
    op_random(x, all, 5);
    for (size_t i = 0; i < all; i++)
        x[i] += r->offset;
    snprintf(name, sizeof name, "%s %s %d", kinds[r->which], dt_shape_text(&r->shape).chars, r->groups);
    op_case k = {.name = name,
                 .build = build,
                 .context = r,
                 .inputs = 3,
                 .shape = {r->shape, dt_dims(c), dt_dims(c)},
                 .value = {x}};
    op_run run, again;
    buffers = dt_params_new();
    omp_set_num_threads(2);
    if (ok(op_start(&run, &k, NULL), "%s runs", name)) {
        check_reference(r, &run, name);
        if (small)
            op_differences(&run);
    } else {
        printf("# %s\n", run.error);
    }
    dt_params_free(buffers);
    buffers = dt_params_new();
    omp_set_num_threads(1);
    if (ok(op_start(&again, &k, NULL), "%s runs on one thread", name)) {
        near("one thread, two threads: y", again.y, run.y, all, 0);
        near("one thread, two threads: dx", again.dx[0], run.dx[0], all, 0);
        near("one thread, two threads: dgamma", again.dx[1], run.dx[1], (size_t)c, 0);
        near("one thread, two threads: dbeta", again.dx[2], run.dx[2], (size_t)c, 0);
    }
    op_end(&run);
    op_end(&again);
    dt_params_free(buffers);
    omp_set_num_threads(2);
    free(x);
}

static void check_second(const row *r)
{
    char name[256];
    int64_t c = r->shape.dim[r->shape.rank - 1];
    snprintf(name, sizeof name, "gradient of norm %d's gradient, %s", (int)r->which,
             dt_shape_text(&r->shape).chars);
    op_case k = {.name = name,
                 .build = build_gradients,
                 .context = r,
                 .inputs = 4,
                 .shape = {r->shape, dt_dims(c), dt_dims(c), r->shape}};
    op_run run;
    buffers = dt_params_new();
    if (ok(op_start(&run, &k, NULL), "%s runs", name))
        op_differences(&run);
    else
        printf("# %s\n", run.error);
    op_end(&run);
    dt_params_free(buffers);
}

static float eps_of(const void *settings)
{
    return (float)json_number_value(json_object_get(settings, "eps"));
}

static dt_tensor *stored_layer(dt_tensor **x, const void *settings)
{
    return dt_layer_norm(x[0], x[1], x[2], eps_of(settings));
}

static dt_tensor *stored_group(dt_tensor **x, const void *settings)
{
    return dt_group_norm(x[0], x[1], x[2], op_setting(settings, "groups", 0, 0), eps_of(settings));
}

/* Stored batch norms have running statistics, before and after. */
static void check_stored_batch(const char *label, bool training)
{
    char place[128];
    snprintf(place, sizeof place, "ops/%s", label);
    const char *path = golden(place), *bounds_path = golden("ops/tolerance.json");
    dt_safetensors *file = path ? dt_safetensors_open(path, NULL) : NULL;
    json_t *tolerance = bounds_path ? dt_json_load(bounds_path, NULL) : NULL;
    const json_t *bounds = json_object_get(tolerance, label);
    if (!file || !bounds) {
        skip(place, "the reference is not here");
        return;
    }
    const char *const names[] = {"x", "weight", "bias", "dy", "running_mean", "running_var"};
    float *value[6], *got = NULL;
    dt_shape shape[6];
    for (int i = 0; i < 6; i++)
        value[i] = op_values(file, names[i], &shape[i]);
    dt_graph *g = dt_graph_new();
    buffers = dt_params_new();
    dt_tensor *in[4], *y, *d[3];
    for (int i = 0; i < 4; i++)
        in[i] = dt_input(g, names[i], DT_F32, shape[i]);
    y = dt_keep(dt_batch_norm(in[0], in[1], in[2], state_in(g, shape[1].dim[0], 0.1f, training)));
    dt_gradient_from(&y, &in[3], 1, in, 3, d);
    for (int i = 0; i < 3; i++)
        dt_keep(d[i]);
    dt_params_allocate(buffers, 1);
    size_t c = (size_t)shape[1].dim[0], all = (size_t)dt_count(&shape[0]);
    for (int i = 0; i < 2; i++)
        memcpy(dt_params_value(buffers, i), value[4 + i], sizeof(float) * c);
    dt_plan *plan = dt_plan_new(g, dt_cpu(), NULL);
    for (int i = 0; plan && i < 4; i++)
        dt_plan_write(plan, in[i], value[i]);
    if (ok(plan && !dt_plan_run(plan, 1, 0), "%s runs", label)) {
        got = malloc(sizeof *got * all);
        dt_plan_read(plan, y, got);
        op_compare(file, bounds, label, "y", got, all);
        const char *const gradients[] = {"grad_x", "grad_weight", "grad_bias"};
        for (int i = 0; i < 3; i++) {
            dt_plan_read(plan, d[i], got);
            op_compare(file, bounds, label, gradients[i], got, i ? c : all);
        }
        const char *const after[] = {"new_running_mean", "new_running_var"};
        for (int i = 0; training && i < 2; i++)
            op_compare(file, bounds, label, after[i], dt_params_value(buffers, i), c);
        for (int i = 0; !training && i < 2; i++)
            near("evaluation leaves the running statistics", dt_params_value(buffers, i), value[4 + i], c, 0);
    }
    for (int i = 0; i < 6; i++)
        free(value[i]);
    free(got);
    dt_plan_free(plan);
    dt_params_free(buffers);
    dt_graph_free(g);
    dt_safetensors_close(file);
    json_decref(tolerance);
}

static void refuse(const row *r, dt_shape gamma, const char *part)
{
    op_case k = {
        .name = "refused", .build = build, .context = r, .inputs = 3, .shape = {r->shape, gamma, gamma}};
    op_run run;
    buffers = dt_params_new();
    bool refused = !op_start(&run, &k, NULL);
    ok(refused && strstr(run.error, part), "refused, saying '%s': %s", part, refused ? run.error : "it runs");
    op_end(&run);
    dt_params_free(buffers);
}

int main(void)
{
    const row rows[] = {
        {LAYER, dt_dims(1), 0, 0},        {LAYER, dt_dims(7, 5), 0, 0},
        {LAYER, dt_dims(3, 5, 17), 0, 0}, {LAYER, dt_dims(13, 64), 0, 0},
        {LAYER, dt_dims(2, 127), 0, 0},   {GROUP, dt_dims(2, 3, 5, 12), 3, 0},
        {GROUP, dt_dims(1, 7, 8), 1, 0},  {GROUP, dt_dims(3, 5, 5, 6), 6, 0},
        {GROUP, dt_dims(2, 15), 3, 0},    {BATCH, dt_dims(5, 1), 0, 0},
        {BATCH, dt_dims(9, 5), 0, 0},     {BATCH, dt_dims(4, 5, 3, 6), 0, 0},
    };
    const row large[] = {
        {LAYER, dt_dims(2087, 33), 0, 0},       {LAYER, dt_dims(197, 384), 0, 0},
        {LAYER, dt_dims(50, 1031), 0, 1000},    {GROUP, dt_dims(2, 41, 41, 16), 4, 0},
        {GROUP, dt_dims(3, 67, 130), 13, 1000}, {GROUP, dt_dims(5, 2, 2, 640), 32, 0},
        {BATCH, dt_dims(3001, 3), 0, 0},        {BATCH, dt_dims(7, 31, 17, 16), 0, 1000},
        {BATCH, dt_dims(41, 40, 130), 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check(&rows[i], true);
        if (i % 4 == 2 || i > 9)
            check_second(&rows[i]);
    }
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        check(&large[i], false);
    op_golden("layer_norm", stored_layer);
    op_golden("group_norm", stored_group);
    check_stored_batch("batch_norm_train_0.safetensors", true);
    check_stored_batch("batch_norm_train_1.safetensors", true);
    check_stored_batch("batch_norm_eval_0.safetensors", false);
    refuse(&(row){LAYER, dt_dims(3, 4), 0, 0}, dt_dims(3), "gamma");
    refuse(&(row){LAYER, {0}, 0, 0}, dt_dims(3), "axes");
    refuse(&(row){GROUP, dt_dims(3, 4, 10), 4, 0}, dt_dims(10), "4 groups do not divide the 10 channels");
    refuse(&(row){GROUP, dt_dims(3, 4, 10), 0, 0}, dt_dims(10), "groups");
    refuse(&(row){BATCH, dt_dims(1, 10), 0, 0}, dt_dims(10), "two or more");
    return done();
}
