/* Attention against its definition in float64, stored references, differences of both orders; on a GPU's backend also between
 * bfloat16 tensors. */
#include "tests/op_golden.h"

#include <omp.h>
#include <stdint.h>

typedef struct row {
    int64_t n, t, w;
    int heads;
    bool causal;
    float size; /* of qkv; large: probabilities of almost 0 and 1 */
} row;

static dt_tensor *build(dt_tensor **x, const void *context)
{
    const row *r = context;
    return dt_attention(x[0], r->heads, r->causal);
}

static dt_tensor *build_gradient(dt_tensor **x, const void *context)
{
    const row *r = context;
    dt_tensor *y = dt_attention(x[0], r->heads, r->causal), *dx;
    dt_gradient_from(&y, &x[1], 1, x, 1, &dx);
    return dx;
}

static dt_tensor *build_layer(dt_tensor **x, const void *settings)
{
    dt_tensor *qkv = dt_linear(x[0], x[1], x[2]);
    return dt_linear(
        dt_attention(qkv, op_setting(settings, "heads", 0, 0), op_setting(settings, "causal", 0, 0)), x[3],
        x[4]);
}

/* One query of one head: adds to dqkv, writes y, returns the log-sum-exp. Pointers are to the head's first column of the
 * sample. */
static double reference_query(const row *r, const float *q, const float *dy, int64_t i, double *y, double *dq)
{
    int64_t d = r->w / r->heads, stride = 3 * r->w, seen = r->causal ? i + 1 : r->t;
    double *p = malloc(sizeof *p * (size_t)seen), *dp = calloc((size_t)seen, sizeof *dp);
    double most = -INFINITY, sum = 0, drop = 0, scale = 1 / sqrt((double)d);
    for (int64_t j = 0; j < seen; j++) {
        p[j] = 0;
        for (int64_t c = 0; c < d; c++)
            p[j] += scale * q[i * stride + c] * q[j * stride + r->w + c];
        most = fmax(most, p[j]);
    }
    for (int64_t j = 0; j < seen; j++)
        sum += p[j] = exp(p[j] - most);
    for (int64_t j = 0; j < seen; j++) {
        p[j] /= sum;
        for (int64_t c = 0; c < d; c++) {
            y[i * r->w + c] += p[j] * q[j * stride + 2 * r->w + c];
            dq[j * stride + 2 * r->w + c] += p[j] * dy[i * r->w + c];
            dp[j] += (double)dy[i * r->w + c] * q[j * stride + 2 * r->w + c];
        }
        drop += p[j] * dp[j];
    }
    for (int64_t j = 0; j < seen; j++)
        for (int64_t c = 0; c < d; c++) {
            double ds = scale * p[j] * (dp[j] - drop);
            dq[i * stride + c] += ds * q[j * stride + r->w + c];
            dq[j * stride + r->w + c] += ds * q[i * stride + c];
        }
    free(p);
    free(dp);
    return most + log(sum);
}

/* y, lse and dqkv, all zero before. */
static void reference(const row *r, const float *qkv, const float *dy, double *y, double *lse, double *dqkv)
{
    for (int64_t s = 0; s < r->n; s++)
        for (int64_t h = 0; h < r->heads; h++)
            for (int64_t i = 0; i < r->t; i++) {
                int64_t at = s * r->t * r->w, column = h * (r->w / r->heads);
                lse[(s * r->heads + h) * r->t + i] = reference_query(r, qkv + 3 * at + column, dy + at + column, i,
                                                                     y + at + column, dqkv + 3 * at + column);
            }
}

static void compare(const char *name, const char *what, const float *got, const double *want, size_t n,
                    double relative)
{
    char label[320];
    double largest = 0;
    float *rounded = malloc(sizeof *rounded * n);
    for (size_t i = 0; i < n; i++) {
        rounded[i] = (float)want[i];
        largest = fmax(largest, fabs(want[i]));
    }
    snprintf(label, sizeof label, "%s: %s", name, what);
    near(label, got, rounded, n, relative * largest + 1e-7);
    free(rounded);
}

static void check_reference(const row *r, const op_run *run, const char *name)
{
    double *y = calloc(run->count, sizeof *y), *dx = calloc(3 * run->count, sizeof *dx);
    double *lse = calloc((size_t)(r->n * r->heads * r->t), sizeof *lse);
    reference(r, run->value[0], run->dy, y, lse, dx);
    /* Rounded scores of size s move the probabilities by s 2^-24. */
    double relative = 4e-6 * fmax(1, (double)r->size * r->size);
    compare(name, "y", run->y, y, run->count, relative);
    compare(name, "dqkv", run->dx[0], dx, 3 * run->count, relative);
    free(y);
    free(lse);
    free(dx);
}

static void check(const row *r)
{
    char name[128];
    size_t count = (size_t)(r->n * r->t * r->w * 3);
    float *x = malloc(sizeof *x * count);
    op_random(x, count, 3);
    for (size_t i = 0; i < count; i++)
        x[i] *= r->size;
    snprintf(name, sizeof name, "n %d, t %d, w %d, %d heads%s, size %g", (int)r->n, (int)r->t, (int)r->w,
             r->heads, r->causal ? ", causal" : "", (double)r->size);
    op_case c = {.name = name,
                 .build = build,
                 .context = r,
                 .inputs = 1,
                 .shape = {dt_dims(r->n, r->t, 3 * r->w)},
                 .value = {x}};
    op_run run, again;
    omp_set_num_threads(2);
    if (ok(op_start(&run, &c, NULL), "%s runs", name)) {
        check_reference(r, &run, name);
        if (r->t < 20 && r->size <= 1)
            op_differences(&run);
    } else {
        printf("# %s\n", run.error);
    }
    omp_set_num_threads(1);
    if (ok(op_start(&again, &c, NULL), "%s runs on one thread", name)) {
        near("one thread, two threads: y", again.y, run.y, run.count, 0);
        near("one thread, two threads: dqkv", again.dx[0], run.dx[0], count, 0);
    }
    omp_set_num_threads(2);
    op_end(&run);
    op_end(&again);
    free(x);
}

static void check_second(const row *r)
{
    char name[128];
    snprintf(name, sizeof name, "gradient of the gradient, t %d%s", (int)r->t, r->causal ? ", causal" : "");
    op_case c = {.name = name,
                 .build = build_gradient,
                 .context = r,
                 .inputs = 2,
                 .shape = {dt_dims(r->n, r->t, 3 * r->w), dt_dims(r->n, r->t, r->w)}};
    op_check(&c, "runs");
}

/* What comes later must not move a causal result by a bit. */
static void check_causality(void)
{
    enum { T = 45, W = 16, CUT = 21 };
    row r = {1, T, W, 2, true, 1};
    op_case c = {
        .name = "causality", .build = build, .context = &r, .inputs = 1, .shape = {dt_dims(1, T, 3 * W)}};
    op_run run;
    float before[CUT * W];
    if (ok(op_start(&run, &c, NULL), "a causal case runs")) {
        memcpy(before, run.y, sizeof before);
        for (int i = CUT * 3 * W; i < T * 3 * W; i++)
            run.value[0][i] = 7 - run.value[0][i];
        op_again(&run);
        near("earlier results", run.y, before, CUT * W, 0);
        ok(memcmp(run.y + CUT * W, before, sizeof(float) * W), "later results do change");
    }
    op_end(&run);
}

/* Scores of 10^10, as a training has that runs away: the gradient takes probabilities from a rounded log-sum-exp, and none may
 * become infinite. */
static void check_giants(void)
{
    enum { T = 12, W = 16, COUNT = 2 * T * 3 * W };
    row r = {2, T, W, 2, true, 1};
    float x[COUNT];
    op_random(x, COUNT, 5);
    for (int i = 0; i < COUNT; i++)
        x[i] *= 1e5f;
    op_case c = {.name = "giant scores", .build = build, .context = &r, .inputs = 1, .shape = {dt_dims(2, T, 3 * W)}, .value = {x}};
    op_run run;
    if (ok(op_start(&run, &c, NULL), "giant scores run")) {
        bool finite = true;
        for (int i = 0; i < COUNT; i++)
            finite &= isfinite(run.dx[0][i]) != 0;
        ok(finite, "the gradient of giant scores is finite");
    }
    op_end(&run);
}

/* Scratch memory grows with t, not with t x t. */
static void check_memory(void)
{
    dt_graph *g = dt_graph_new();
    dt_tensor *x = dt_input(g, "x", DT_F32, dt_dims(1, 8192, 48)), *y = dt_keep(dt_attention(x, 1, false)),
              *dx;
    dt_tensor *dy = dt_input(g, "dy", DT_F32, y->shape);
    dt_gradient_from(&y, &dy, 1, &x, 1, &dx);
    dt_keep(dx);
    dt_plan *plan = dt_plan_new(g, op_backend(), NULL);
    ok(plan && dt_plan_describe(plan).planned_bytes < (16 << 20), "8192 positions need %.1f MB, not 256",
       plan ? (double)dt_plan_describe(plan).planned_bytes / (1 << 20) : -1);
    dt_plan_free(plan);
    dt_graph_free(g);
}

/* ---- Of either type, on a backend that has both ---- */

/* Tensors of a row in float32; `type` is what they are on the device, lse excepted. */
typedef struct typed {
    const row *r;
    dt_dtype type;
    size_t count, positions; /* elements of y, of lse */
    float *qkv, *dy, *y, *lse, *dqkv;
} typed;

static float widened(uint16_t bits)
{
    uint32_t wide = (uint32_t)bits << 16;
    float x;
    memcpy(&x, &wide, sizeof x);
    return x;
}

/* Ties to even, as the backends round. */
static uint16_t narrowed(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static void write_typed(dt_plan *plan, dt_tensor *x, const float *from, size_t n)
{
    uint16_t *narrow = malloc(sizeof *narrow * n);
    for (size_t i = 0; i < n; i++)
        narrow[i] = narrowed(from[i]);
    dt_plan_write(plan, x, x->dtype == DT_BF16 ? (const void *)narrow : from);
    free(narrow);
}

static void read_typed(dt_plan *plan, dt_tensor *x, float *to, size_t n)
{
    uint16_t *narrow = malloc(sizeof *narrow * n);
    dt_plan_read(plan, x, x->dtype == DT_BF16 ? (void *)narrow : to);
    for (size_t i = 0; i < n && x->dtype == DT_BF16; i++)
        to[i] = widened(narrow[i]);
    free(narrow);
}

/* Runs the kernels as they are, with no plan that chooses types. What went wrong, or NULL. */
static const char *run_typed(typed *x)
{
    const row *r = x->r;
    dt_graph *g = dt_graph_new();
    dt_tensor *qkv = dt_input(g, "qkv", DT_F32, dt_dims(r->n, r->t, 3 * r->w)), *dqkv;
    dt_tensor *y = dt_keep(dt_attention(qkv, r->heads, r->causal)), *lse = dt_keep(dt_output_of(y, 1));
    dt_tensor *dy = dt_input(g, "dy", DT_F32, y->shape);
    dt_gradient_from(&y, &dy, 1, &qkv, 1, &dqkv);
    dt_keep(dqkv);
    qkv->dtype = y->dtype = dy->dtype = dqkv->dtype = x->type;
    dt_plan *plan = dt_plan_new(g, op_backend(), NULL);
    const char *trouble = plan ? NULL : dt_graph_error(g);
    if (plan) {
        write_typed(plan, qkv, x->qkv, 3 * x->count);
        write_typed(plan, dy, x->dy, x->count);
        trouble = dt_plan_run(plan, 1, 0);
        read_typed(plan, y, x->y, x->count);
        read_typed(plan, lse, x->lse, x->positions);
        read_typed(plan, dqkv, x->dqkv, 3 * x->count);
        const char *late = op_backend()->finish();
        trouble = trouble ? trouble : late;
    }
    if (trouble)
        printf("# %s\n", trouble);
    dt_plan_free(plan);
    dt_graph_free(g);
    return trouble;
}

/* Column block `which` of three, of dqkv. */
static void compare_part(const char *name, const typed *x, const double *want, int which, double relative)
{
    const size_t w = (size_t)x->r->w;
    float *got = malloc(sizeof *got * x->count);
    double *part = malloc(sizeof *part * x->count);
    for (size_t i = 0; i < x->count; i++) {
        size_t at = i / w * 3 * w + (size_t)which * w + i % w;
        got[i] = x->dqkv[at];
        part[i] = want[at];
    }
    compare(name, which == 0 ? "dq" : which == 1 ? "dk" : "dv", got, part, x->count, relative);
    free(got);
    free(part);
}

/* Derived tolerances, of the largest element. float32: as above. bfloat16: what is stored is rounded by 2^-9 of itself. Before
 * that a library may round probabilities and their gradients, which are then averaged, by 2^-9 each; and delta = y . dy is made
 * of a rounded y, another 2^-9, which counts as much as q and k are large. */
static void check_typed(const row *r, dt_dtype type)
{
    char name[128];
    typed x = {r, type, (size_t)(r->n * r->t * r->w), (size_t)(r->n * r->t * r->heads), NULL, NULL, NULL, NULL, NULL};
    x.qkv = calloc(3 * x.count, sizeof(float));
    x.dqkv = calloc(3 * x.count, sizeof(float));
    x.y = calloc(x.count, sizeof(float));
    x.dy = calloc(x.count, sizeof(float));
    x.lse = calloc(x.positions, sizeof(float));
    double *y = calloc(x.count, sizeof *y), *lse = calloc(x.positions, sizeof *lse), *dqkv = calloc(3 * x.count, sizeof *dqkv);
    op_random(x.qkv, 3 * x.count, 3);
    op_random(x.dy, x.count, 4);
    for (size_t i = 0; i < 3 * x.count; i++)
        x.qkv[i] = widened(narrowed(r->size * x.qkv[i]));
    for (size_t i = 0; i < x.count; i++)
        x.dy[i] = widened(narrowed(x.dy[i]));
    snprintf(name, sizeof name, "%s: n %d, t %d, w %d, %d heads%s", dt_dtype_name(type), (int)r->n, (int)r->t, (int)r->w,
             r->heads, r->causal ? ", causal" : "");
    if (ok(!run_typed(&x), "%s runs", name)) {
        const double exact = 4e-6 * fmax(1, (double)r->size * r->size), relative = type == DT_BF16 ? 0x1p-7 * r->size : exact;
        reference(r, x.qkv, x.dy, y, lse, dqkv);
        compare(name, "y", x.y, y, x.count, relative);
        compare(name, "lse", x.lse, lse, x.positions, exact);
        for (int which = 0; which < 3; which++)
            compare_part(name, &x, dqkv, which, relative);
    }
    free(x.qkv);
    free(x.dqkv);
    free(x.y);
    free(x.dy);
    free(x.lse);
    free(y);
    free(lse);
    free(dqkv);
}

/* Heads of each width that has kernels of its own, of a width that a library takes and of one that none does. */
static void check_types(void)
{
    const row rows[] = {
        {2, 1, 8, 1, false, 1},   {2, 1, 10, 2, true, 1},  {1, 70, 20, 1, true, 2},  {1, 45, 122, 2, false, 1},
        {1, 70, 60, 1, true, 1},  {1, 43, 92, 1, true, 1}, {1, 34, 124, 1, false, 1}, {1, 35, 136, 1, true, 1},
        {1, 33, 256, 1, false, 1}, {2, 21, 32, 2, false, 1}, {1, 60, 64, 1, true, 3},
        {1, 50, 52, 1, false, 1}, {9, 5, 16, 2, true, 1}, {8, 3, 8, 1, false, 1},
    };
    if (op_backend() == dt_cpu())
        return;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_typed(&rows[i], DT_F32);
        check_typed(&rows[i], DT_BF16);
    }
}

/* What a GPU's library refuses is done, and said once. */
static void check_notes(void)
{
    if (op_backend() == dt_cpu())
        return;
    void *library = dlopen(getenv("DUET_BACKEND"), RTLD_NOW);
    const char *(*note)(int) = NULL;
    *(void **)&note = dlsym(library, "dt_cuda_notes");
    check_typed(&(row){2, 6, 10, 2, true, 1}, DT_BF16);
    check_typed(&(row){2, 6, 10, 2, true, 1}, DT_BF16);
    int there = 0;
    for (int i = 0; note && note(i); i++)
        there += strstr(note(i), "attention of [2, 6, 30] in ") == note(i) && strstr(note(i), "slower");
    ok(there == 1, "heads that a library refuses are noted once");
    ok(note && !note(-1) && !note(1 << 20), "there are no notes before the first and after the last");
    dlclose(library);
}

static void refuse(dt_shape shape, int heads, const char *part)
{
    row r = {.heads = heads};
    op_case c = {.name = "refused", .build = build, .context = &r, .inputs = 1, .shape = {shape}};
    op_run run;
    bool refused = !op_start(&run, &c, NULL);
    ok(refused && strstr(run.error, part), "refused, saying '%s': %s", part, refused ? run.error : "it runs");
    op_end(&run);
}

int main(void)
{
    const row rows[] = {
        {1, 1, 1, 1, false, 1},    {2, 1, 8, 2, true, 1},    {3, 7, 16, 2, true, 1},
        {2, 17, 24, 4, false, 1},  {1, 5, 6, 6, false, 1},   {5, 16, 128, 4, false, 1},
        {2, 17, 64, 2, true, 1},   {1, 77, 64, 1, true, 1},  {1, 129, 36, 3, false, 1},
        {2, 129, 36, 3, true, 1},  {2, 33, 40, 1, false, 1}, {1, 197, 128, 2, false, 1},
        {1, 50, 72, 1, false, 1},  {1, 131, 80, 1, true, 1}, {1, 1501, 16, 1, false, 1},
        {1, 1501, 16, 1, true, 1}, {2, 37, 32, 2, false, 6}, {2, 37, 32, 2, true, 6},
        {1, 64, 96, 1, false, 1},  {1, 97, 32, 1, false, 1},
    };
    /* A simulated GPU takes some seconds for more. */
    const int64_t longest = op_backend() == dt_cpu() ? INT64_MAX : 131;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        row r = rows[i];
        r.t = r.t < longest ? r.t : longest;
        check(&r);
    }
    check_types();
    check_notes();
    check_second(&(row){2, 5, 6, 2, false, 1});
    check_second(&(row){1, 7, 4, 1, true, 1});
    op_golden("attention", build_layer);
    check_causality();
    check_giants();
    check_memory();
    refuse(dt_dims(2, 3, 10), 1, "3 w");
    refuse(dt_dims(2, 30), 1, "3 w");
    refuse(dt_dims(2, 3, 12), 3, "3 heads do not divide");
    refuse(dt_dims(2, 3, 12), 0, "heads");
    return done();
}
