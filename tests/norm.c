/* Layer, group and batch norm against one definition in float64, stored references, differences of both
 * orders. */
#include "tests/bf16.h"
#include "tests/op_golden.h"

#include <omp.h>

typedef enum { LAYER, GROUP, BATCH } kind;

typedef struct row {
    kind which;
    dt_shape shape;
    int groups;
    float offset; /* of x: what the mean has to take out */
    bool relu;    /* after the norm; the planner joins them */
} row;

static dt_batch_norm_state state_in(dt_graph *g, dt_params *buffers, int64_t c, float momentum, bool training)
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
    const dt_result results[] = {{DT_F32, r->shape}, {DT_F32, x[1]->shape}, {DT_F32, x[1]->shape}};
    const dt_norm_form form = {.eps = 1e-5f}; /* the op itself: dt_batch_norm needs buffers beside it */
    return dt_record(dt_graph_of(x[0]), &dt_op_batch_norm, &form, sizeof form, 3, x, 3, results);
}

static dt_tensor *build(dt_tensor **x, const void *context)
{
    const row *r = context;
    dt_tensor *y = normalise(x, r);
    return r->relu ? dt_relu(y) : y;
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
    const float *dy; /* that reaches the norm */
    double steepest; /* of gamma dy rstd */
    double *y, *dx, *dgamma, *dbeta;
} reference;

static void reference_group(reference *f, const op_run *r, int64_t sample, int64_t group)
{
    const float *x = r->value[0], *gamma = r->value[1], *beta = r->value[2], *dy = f->dy;
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
        f->steepest = fmax(f->steepest, fabs((double)dy[at[k]] * gamma[j]) * rstd);
        plain += (double)dy[at[k]] * gamma[j] / (double)count;
        crossed += dy[at[k]] * gamma[j] * xn / (double)count;
    }
    for (int64_t k = 0; k < count; k++)
        f->dx[at[k]] =
            rstd * ((double)dy[at[k]] * gamma[at[k] % f->c] - plain - (x[at[k]] - mean) * rstd * crossed);
    free(at);
}

/* Each element may be off by `bound`, and besides by `rounding` of itself. */
static void compare(const char *name, const float *got, const double *want, size_t n, double bound, double rounding)
{
    float *beyond = malloc(sizeof *beyond * n), *none = calloc(n, sizeof *none);
    for (size_t i = 0; i < n; i++) {
        double off = fabs(got[i] - want[i]) - rounding * fabs(want[i]);
        beyond[i] = (float)(off < 0 ? 0 : off); /* a NaN stays one */
    }
    near(name, beyond, none, n, bound);
    free(beyond);
    free(none);
}

static double largest_of(const double *x, int64_t n)
{
    double largest = 0;
    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs(x[i]));
    return largest;
}

/* The results of a run. dx is a difference of terms of the size of gamma dy rstd, rounded to 2^-24. Where x, dy, y and dx are
 * bfloat16, y and dx have been rounded once. */
static void check_reference(const row *r, const op_run *run, const char *name, bool bf16)
{
    int64_t c = r->shape.dim[r->shape.rank - 1], all = dt_count(&r->shape);
    int64_t n = r->which == LAYER ? all / c : r->which == GROUP ? r->shape.dim[0] : 1;
    float *dy = malloc(sizeof *dy * (size_t)all);
    reference f = {.n = n, .rows = all / c / n, .c = c, .dy = dy};
    f.groups = r->which == LAYER ? 1 : r->which == GROUP ? r->groups : (int)c;
    for (int64_t i = 0; i < all; i++)
        dy[i] = r->relu && run->y[i] == 0 ? 0 : run->dy[i];
    double **part[] = {&f.y, &f.dx, &f.dgamma, &f.dbeta};
    for (int i = 0; i < 4; i++)
        *part[i] = calloc((size_t)all, sizeof(double));
    for (int64_t s = 0; s < n; s++)
        for (int64_t g = 0; g < f.groups; g++)
            reference_group(&f, run, s, g);
    for (int64_t i = 0; r->relu && i < all; i++)
        f.y[i] = f.y[i] < 0 ? 0 : f.y[i];
    char label[320];
    const char *const names[] = {"y", "dx", "dgamma", "dbeta"};
    const float *const got[] = {run->y, run->dx[0], run->dx[1], run->dx[2]};
    double loose = r->offset ? 2e-4 : 4e-6; /* a mean of 1000 is rounded to 3e-5 */
    for (int i = 0; i < 4; i++) {
        snprintf(label, sizeof label, "%s: %s", name, names[i]);
        int64_t count = i < 2 ? all : c;
        double bound = (i == 3 ? 1e-6 : loose) * largest_of(*part[i], count) + 1e-6 + (i == 1 ? 0x1p-23 * f.steepest : 0);
        compare(label, got[i], *part[i], (size_t)count, bound, bf16 && i < 2 ? 0x1p-8 : 0);
        free(*part[i]);
    }
    free(dy);
}

static const char *name_of(const row *r)
{
    static char name[256];
    const char *const kinds[] = {"layer norm", "group norm", "batch norm"};
    snprintf(name, sizeof name, "%s %s %d%s", kinds[r->which], dt_shape_text(&r->shape).chars, r->groups,
             r->relu ? ", relu" : "");
    return name;
}

/* The same bits from one thread as from two; on a GPU, from one run as from another. */
static void check_again(const op_case *k, const op_run *run)
{
    op_run again;
    size_t all = (size_t)dt_count(&k->shape[0]), c = (size_t)dt_count(&k->shape[1]);
    omp_set_num_threads(1);
    if (ok(op_start(&again, k, NULL), "%s runs on one thread", k->name)) {
        near("one thread, two threads: y", again.y, run->y, all, 0);
        near("one thread, two threads: dx", again.dx[0], run->dx[0], all, 0);
        near("one thread, two threads: dgamma", again.dx[1], run->dx[1], c, 0);
        near("one thread, two threads: dbeta", again.dx[2], run->dx[2], c, 0);
    }
    op_end(&again);
    omp_set_num_threads(2);
}

static void check(const row *r, bool small)
{
    const char *name = name_of(r);
    int64_t c = r->shape.dim[r->shape.rank - 1];
    size_t all = (size_t)dt_count(&r->shape);
    float *x = malloc(sizeof *x * all);
    op_random(x, all, 5);
    for (size_t i = 0; i < all; i++)
        x[i] += r->offset;
    op_case k = {.name = name, .build = build, .context = r, .inputs = 3, .value = {x},
                 .shape = {r->shape, dt_dims(c), dt_dims(c)}};
    op_run run;
    if (ok(op_start(&run, &k, NULL), "%s runs", name)) {
        check_reference(r, &run, name, false);
        if (small)
            op_differences(&run);
        if (small || run.backend->on_host)
            check_again(&k, &run);
    } else {
        printf("# %s\n", run.error);
    }
    op_end(&run);
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
    if (ok(op_start(&run, &k, NULL), "%s runs", name))
        op_differences(&run);
    else
        printf("# %s\n", run.error);
    op_end(&run);
}

/* x, dy, y and dx in bfloat16, against the definition for the rounded x and dy. */
static void check_bf16(const row *r)
{
    int64_t c = r->shape.dim[r->shape.rank - 1];
    size_t all = (size_t)dt_count(&r->shape);
    dt_graph *g = dt_graph_new();
    dt_tensor *in[4], *d[3];
    float *value[] = {malloc(sizeof(float) * all), malloc(sizeof(float) * (size_t)c), malloc(sizeof(float) * (size_t)c),
                      malloc(sizeof(float) * all)};
    op_run run = {.y = malloc(sizeof(float) * all), .dy = value[3]};
    for (int i = 0; i < 4; i++) {
        bool wide = i == 0 || i == 3;
        in[i] = dt_input(g, "in", DT_F32, wide ? r->shape : dt_dims(c));
        op_random(value[i], wide ? all : (size_t)c, (uint64_t)i + 1);
        run.value[i] = value[i];
    }
    dt_tensor *y = dt_keep(normalise(in, r));
    dt_gradient_from(&y, &in[3], 1, in, 3, d);
    for (int i = 0; i < 3; i++) {
        dt_keep(d[i]);
        run.dx[i] = malloc(sizeof(float) * (i ? (size_t)c : all));
    }
    in[0]->dtype = in[3]->dtype = y->dtype = d[0]->dtype = DT_BF16;
    dt_plan *plan = dt_plan_new(g, op_backend(), NULL);
    bf16_write(plan, in[0], value[0]);
    bf16_write(plan, in[3], value[3]);
    dt_plan_write(plan, in[1], value[1]);
    dt_plan_write(plan, in[2], value[2]);
    const char *fault = dt_plan_run(plan, 1, 0), *trouble = op_backend()->finish();
    if (ok(!fault && !trouble, "%s runs in bfloat16", name_of(r))) {
        bf16_read(plan, y, run.y);
        bf16_read(plan, d[0], run.dx[0]);
        dt_plan_read(plan, d[1], run.dx[1]);
        dt_plan_read(plan, d[2], run.dx[2]);
        check_reference(r, &run, name_of(r), true);
    } else {
        printf("# %s\n", fault ? fault : trouble);
    }
    for (int i = 0; i < 4; i++)
        free(value[i]);
    for (int i = 0; i < 3; i++)
        free(run.dx[i]);
    free(run.y);
    dt_plan_free(plan);
    dt_graph_free(g);
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
    dt_params *buffers = dt_params_new();
    dt_tensor *in[4], *y, *d[3];
    for (int i = 0; i < 4; i++)
        in[i] = dt_input(g, names[i], DT_F32, shape[i]);
    y = dt_keep(dt_batch_norm(in[0], in[1], in[2], state_in(g, buffers, shape[1].dim[0], 0.1f, training)));
    dt_gradient_from(&y, &in[3], 1, in, 3, d);
    for (int i = 0; i < 3; i++)
        dt_keep(d[i]);
    dt_params_allocate(buffers, 1);
    size_t c = (size_t)shape[1].dim[0], all = (size_t)dt_count(&shape[0]);
    for (int i = 0; i < 2; i++)
        memcpy(dt_params_value(buffers, i), value[4 + i], sizeof(float) * c);
    dt_plan *plan = dt_plan_new(g, op_backend(), NULL);
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

static void refuse(op_case k, const char *part)
{
    op_run run;
    bool refused = !op_start(&run, &k, NULL);
    ok(refused && strstr(run.error, part), "refused, saying '%s': %s", part, refused ? run.error : "it runs");
    op_end(&run);
}

static dt_tensor *build_batch(dt_tensor **x, const void *context)
{
    (void)context;
    return dt_batch_norm(x[0], x[1], x[2], (dt_batch_norm_state){x[1], x[2], 0.1f, 1e-5f, true});
}

static void check_refusals(void)
{
    const row layer = {LAYER, {0}, 0, 0}, four = {GROUP, {0}, 4, 0}, none = {GROUP, {0}, 0, 0};
    op_case k = {.name = "refused", .build = build, .context = &layer, .inputs = 3,
                 .shape = {dt_dims(3, 4), dt_dims(3), dt_dims(3)}};
    refuse(k, "gamma");
    k.shape[0] = (dt_shape){0};
    refuse(k, "axes");
    k = (op_case){.name = "refused", .build = build, .context = &four, .inputs = 3,
                  .shape = {dt_dims(3, 4, 10), dt_dims(10), dt_dims(10)}};
    refuse(k, "4 groups do not divide the 10 channels");
    k.context = &none;
    refuse(k, "groups");
    k.shape[0] = dt_dims(1, 10);
    k.build = build_batch;
    refuse(k, "two or more");
}

int main(void)
{
    omp_set_num_threads(2);
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
        {LAYER, dt_dims(50, 1031), 0, 1000},    {LAYER, dt_dims(9001, 3), 0, 0},
        {LAYER, dt_dims(70, 31), 0, 0},         {LAYER, dt_dims(5, 256), 0, 0},
        {LAYER, dt_dims(3, 500), 0, 0},         {LAYER, dt_dims(11, 770), 0, 0},
        {LAYER, dt_dims(41, 768), 0, 1000},     {LAYER, dt_dims(4, 1024), 0, 0},
        {LAYER, dt_dims(9, 1280), 0, 0},        {LAYER, dt_dims(3, 1284), 0, 0},
        {LAYER, dt_dims(1, 4097), 0, 0},        {LAYER, dt_dims(5003, 4), 0, 0},
        {GROUP, dt_dims(2, 41, 41, 16), 4, 0},  {GROUP, dt_dims(3, 67, 130), 13, 1000},
        {GROUP, dt_dims(5, 2, 2, 640), 32, 0},  {GROUP, dt_dims(1100, 5, 8), 2, 0},
        {GROUP, dt_dims(2, 5000, 4), 1, 1000},  {GROUP, dt_dims(2, 3, 7, 12), 3, 0, true},
        {BATCH, dt_dims(3001, 3), 0, 0},        {BATCH, dt_dims(7, 31, 17, 16), 0, 1000},
        {BATCH, dt_dims(41, 40, 130), 0, 0},    {BATCH, dt_dims(9001, 1), 0, 0},
        {BATCH, dt_dims(2, 4097), 0, 0},        {BATCH, dt_dims(77, 31), 0, 0, true},
        {BATCH, dt_dims(300, 64), 0, 0, true},
    };
    const row narrow[] = {
        {LAYER, dt_dims(1, 1), 0, 0},     {LAYER, dt_dims(7, 33), 0, 0},   {LAYER, dt_dims(13, 64), 0, 0},
        {LAYER, dt_dims(29, 768), 0, 0},  {LAYER, dt_dims(3, 770), 0, 0},  {LAYER, dt_dims(2, 4097), 0, 0},
        {GROUP, dt_dims(2, 9, 12), 3, 0}, {GROUP, dt_dims(3, 25, 6), 6, 0}, {GROUP, dt_dims(2, 67, 64), 8, 0},
        {BATCH, dt_dims(31, 3), 0, 0},    {BATCH, dt_dims(300, 64), 0, 0}, {BATCH, dt_dims(41, 130), 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check(&rows[i], true);
        if (i % 4 == 2 || i > 9)
            check_second(&rows[i]);
    }
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        check(&large[i], false);
    for (size_t i = 0; i < sizeof narrow / sizeof *narrow && op_backend() != dt_cpu(); i++)
        check_bf16(&narrow[i]);
    op_golden("layer_norm", stored_layer);
    op_golden("group_norm", stored_group);
    check_stored_batch("batch_norm_train_0.safetensors", true);
    check_stored_batch("batch_norm_train_1.safetensors", true);
    check_stored_batch("batch_norm_eval_0.safetensors", false);
    check_refusals();
    return done();
}
