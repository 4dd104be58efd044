/* The generator against published vectors, the distributions of the random ops, that numbers depend on seed, step, op and
 * place only, and that another backend draws what the CPU draws. */
#include "tests/bf16.h"
#include "tests/op_check.h"

#include <omp.h>

/* From the known-answer file of Random123 (Salmon et al.), philox4x32 with 10 rounds. */
static void check_generator(void)
{
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } rows[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (int i = 0; i < 3; i++) {
        dt_philox counter;
        memcpy(counter.v, rows[i].counter, sizeof counter.v);
        dt_philox got = dt_philox_block(counter, rows[i].key[0], rows[i].key[1]);
        ok(!memcmp(got.v, rows[i].want, sizeof got.v), "Philox vector %d", i);
    }
}

enum { MANY = 1000003, FEW = 100003 /* where a kernel is simulated */ };

static int count;

typedef struct drawn {
    const dt_backend *backend;
    dt_graph *graph;
    dt_plan *plan;
    dt_tensor *normals, *uniforms, *again, *x, *dropped, *dx;
} drawn;

static bool start(drawn *r, const dt_backend *backend)
{
    dt_graph *g = r->graph = dt_graph_new();
    r->backend = backend;
    r->normals = dt_keep(dt_random_normals(g, dt_dims(count)));
    r->uniforms = dt_keep(dt_random_uniforms(g, dt_dims(count)));
    r->again = dt_keep(dt_random_normals(g, dt_dims(count)));
    r->x = dt_input(g, "x", DT_F32, dt_dims(count));
    r->dropped = dt_keep(dt_dropout(r->x, 0.3f));
    dt_gradient_from(&r->dropped, &r->x, 1, &r->x, 1, &r->dx);
    dt_keep(r->dx);
    r->plan = dt_plan_new(g, backend, NULL);
    return r->plan != NULL;
}

static bool run(const drawn *r, uint64_t seed, uint32_t step)
{
    const char *fault = dt_plan_run(r->plan, seed, step);
    if (!fault && r->backend->finish)
        fault = r->backend->finish();
    if (fault)
        printf("# %s\n", fault);
    return !fault;
}

static void stop(drawn *r)
{
    dt_plan_free(r->plan);
    dt_graph_free(r->graph);
}

static float *values(const drawn *r, const dt_tensor *x)
{
    float *to = malloc(sizeof *to * (size_t)count);
    dt_plan_read(r->plan, x, to);
    return to;
}

/* The mean of x^power. */
static double moment(const float *x, int power)
{
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += pow(x[i], power);
    return sum / count;
}

static double product(const float *x, const float *y, int lag)
{
    double sum = 0;
    for (int i = lag; i < count; i++)
        sum += (double)x[i] * y[i - lag];
    return sum / (count - lag);
}

/* Sample moments are within five standard errors of the distribution's; the seed is fixed. */
static void check_moments(const drawn *r)
{
    const double error = 5 / sqrt(count);
    float *n = values(r, r->normals), *u = values(r, r->uniforms), *m = values(r, r->again);
    const double want[] = {0, 1, 0, 3}, deviation[] = {1, 1.4142, 3.873, 9.798};
    for (int k = 1; k <= 4; k++)
        ok(fabs(moment(n, k) - want[k - 1]) < error * deviation[k - 1], "normal moment %d is %.4f", k,
           moment(n, k));
    ok(fabs(moment(u, 1) - 0.5) < error * 0.2887, "uniforms have the mean %.5f", moment(u, 1));
    ok(fabs(moment(u, 2) - 1.0 / 3) < error * 0.2981, "uniforms have the mean square %.5f", moment(u, 2));
    bool inside = true;
    for (int i = 0; i < count; i++)
        inside &= u[i] >= 0 && u[i] < 1;
    ok(inside, "uniforms are in [0, 1)");
    for (int lag = 1; lag <= 4; lag++)
        ok(fabs(product(n, n, lag)) < error, "neighbours at %d are independent (%.5f)", lag,
           product(n, n, lag));
    ok(fabs(product(n, m, 0)) < error, "two ops draw independent numbers (%.5f)", product(n, m, 0));
    free(n);
    free(u);
    free(m);
}

/* Element i is word i mod 4 of block i / 4 of the op's stream, and normals are made of pairs of words. */
static void check_layout(const drawn *r, uint64_t seed, uint32_t step)
{
    enum { N = 1001 };
    float *n = values(r, r->normals), *u = values(r, r->uniforms), normal[N + 3], uniform[N + 3];
    for (int i = 0; i < N; i += 4) {
        dt_philox a = dt_random_block(seed, 0, step, (uint64_t)i / 4),
                  b = dt_random_block(seed, 1, step, (uint64_t)i / 4);
        for (int k = 0; k < 4; k++)
            uniform[i + k] = dt_random_uniform(b.v[k]);
        dt_random_normal(a.v[0], a.v[1], &normal[i], &normal[i + 1]);
        dt_random_normal(a.v[2], a.v[3], &normal[i + 2], &normal[i + 3]);
    }
    near("uniforms by the definition", u, uniform, N, 0);
    near("normals by the definition", n, normal, N, 2e-6);
    free(n);
    free(u);
}

static void check_dropout(const drawn *r, const float *x)
{
    float *y = values(r, r->dropped), *dx = values(r, r->dx);
    int kept = 0;
    bool right = true;
    for (int i = 0; i < count; i++) {
        kept += y[i] != 0;
        right &= y[i] == 0 || fabsf(y[i] - x[i] / 0.7f) < 1e-6f * fabsf(x[i]) * 2;
    }
    ok(fabs(kept / (double)count - 0.7) < 5 * 0.4583 / sqrt(count), "dropout keeps %.4f",
       kept / (double)count);
    ok(right, "what is kept is scaled by 1 / 0.7");
    near("the gradient has the same mask", dx, y, (size_t)count, 0); /* the upstream was x */
    free(y);
    free(dx);
}

static bool same(const drawn *r, const dt_tensor *x, const float *before)
{
    float *now = values(r, x);
    bool equal = !memcmp(now, before, sizeof *now * (size_t)count);
    free(now);
    return equal;
}

static dt_tensor *build_dropout(dt_tensor **x, const void *context)
{
    return dt_dropout(dt_square(x[0]), *(const float *)context);
}

static void check_rates(void)
{
    const float zero = 0, half = 0.5f, bad[] = {-0.1f, 1, NAN};
    op_case c = {
        .name = "dropout", .build = build_dropout, .context = &half, .inputs = 1, .shape = {dt_dims(3, 37)}};
    op_run run;
    if (ok(op_start(&run, &c, NULL), "dropout runs"))
        op_differences(&run);
    op_end(&run);
    c.context = &zero;
    if (ok(op_start(&run, &c, NULL), "rate 0 runs"))
        for (int i = 0; i < 111; i++)
            run.dy[i] = run.value[0][i] * run.value[0][i];
    near("rate 0 changes nothing", run.y, run.dy, 111, 1e-6);
    op_end(&run);
    for (int i = 0; i < 3; i++) {
        c.context = &bad[i];
        bool refused = !op_start(&run, &c, NULL);
        ok(refused && strstr(run.error, "rate"), "rate %g is refused", (double)bad[i]);
        op_end(&run);
    }
}

/* The same words as the CPU's, and so the same uniforms and masks; normals within 1e-6. */
static void check_same_as_cpu(const drawn *r, const float *x, uint64_t seed, uint32_t step)
{
    drawn host;
    if (!ok(start(&host, dt_cpu()), "the CPU plans the same"))
        return;
    dt_plan_write(host.plan, host.x, x);
    run(&host, seed, step);
    float *normals = values(&host, host.normals), *uniforms = values(&host, host.uniforms);
    float *dropped = values(&host, host.dropped), *got = values(r, r->normals);
    ok(same(r, r->uniforms, uniforms), "uniforms are those of the CPU");
    ok(same(r, r->dropped, dropped), "dropout is that of the CPU");
    near("normals are those of the CPU", got, normals, (size_t)count, 1e-6);
    free(normals);
    free(uniforms);
    free(dropped);
    free(got);
    stop(&host);
}

/* Few numbers, and such as leave a part of the last block of words: each is one of the long run's. */
static void check_lengths(const drawn *r, uint64_t seed, uint32_t step)
{
    const int lengths[] = {1, 3, 31, 33, 770, 4097};
    float *uniforms = values(r, r->uniforms);
    int all = count;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        drawn few;
        count = lengths[i];
        if (ok(start(&few, r->backend), "%d numbers can be planned", count)) {
            float *x = calloc((size_t)count, sizeof *x);
            dt_plan_write(few.plan, few.x, x);
            ok(run(&few, seed, step) && same(&few, few.uniforms, uniforms), "%d uniforms are the first of many", count);
            free(x);
        }
        stop(&few);
    }
    count = all;
    free(uniforms);
}

/* Dropout in bfloat16: the mask of float32, kept values rounded once. */
static void check_bf16(const dt_backend *backend, int n)
{
    float *x = malloc(sizeof *x * (size_t)n), *want = malloc(sizeof *x * (size_t)n), *got = malloc(sizeof *x * (size_t)n);
    op_random(x, (size_t)n, 6);
    double worst = 0;
    for (int narrow = 1; narrow >= 0; narrow--) {
        drawn r = {.backend = backend, .graph = dt_graph_new()};
        r.x = dt_input(r.graph, "x", DT_F32, dt_dims(n));
        r.dropped = dt_keep(dt_dropout(r.x, 0.25f));
        r.x->dtype = r.dropped->dtype = narrow ? DT_BF16 : DT_F32;
        r.plan = dt_plan_new(r.graph, backend, NULL);
        if (narrow)
            bf16_write(r.plan, r.x, x);
        else
            dt_plan_write(r.plan, r.x, x);
        ok(run(&r, 77, 3), "dropout of %d runs in %s", n, narrow ? "bfloat16" : "float32");
        if (narrow)
            bf16_read(r.plan, r.dropped, got);
        else
            dt_plan_read(r.plan, r.dropped, want);
        stop(&r);
    }
    for (int i = 0; i < n; i++)
        worst = larger(worst, fabs((double)got[i] - want[i]) / fmax(fabs((double)want[i]), 1e-30));
    ok(worst <= 0x1p-8, "dropout of %d in bfloat16 is that of float32, rounded (%.1e)", n, worst);
    free(x);
    free(want);
    free(got);
}

int main(void)
{
    check_generator();
    const dt_backend *backend = op_backend();
    drawn r;
    count = backend == dt_cpu() ? MANY : FEW;
    float *x = malloc(sizeof *x * (size_t)count);
    for (int i = 0; i < count; i++)
        x[i] = 1 + (float)(i % 1000) * 1e-3f;
    const uint64_t seed = 0x123456789abcdefu;
    omp_set_num_threads(2);
    if (!ok(start(&r, backend), "random ops can be planned"))
        return done();
    dt_plan_write(r.plan, r.x, x);
    ok(run(&r, seed, 5), "random ops run");
    check_moments(&r);
    check_layout(&r, seed, 5);
    check_dropout(&r, x);
    check_lengths(&r, seed, 5);
    if (backend != dt_cpu())
        check_same_as_cpu(&r, x, seed, 5);
    float *normals = values(&r, r.normals), *dropped = values(&r, r.dropped);
    omp_set_num_threads(1);
    run(&r, seed, 5);
    ok(same(&r, r.normals, normals) && same(&r, r.dropped, dropped), "one thread draws what two drew");
    run(&r, seed, 6);
    ok(!same(&r, r.normals, normals) && !same(&r, r.dropped, dropped), "another step draws other numbers");
    run(&r, seed + (1ull << 40), 5);
    ok(!same(&r, r.normals, normals), "the high half of the seed counts");
    run(&r, seed, 5);
    ok(same(&r, r.normals, normals), "and again the first numbers");
    stop(&r);
    free(normals);
    free(dropped);
    free(x);
    check_rates();
    for (int n = 1; backend != dt_cpu() && n < 3000; n = 5 * n + 2)
        check_bf16(backend, n);
    return done();
}
