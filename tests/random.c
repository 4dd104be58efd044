/* The generator against published vectors, the distributions of the random ops, and that numbers depend on
 * seed, step, op and place only. */
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

enum { COUNT = 1000003 };

typedef struct drawn {
    dt_graph *graph;
    dt_plan *plan;
    dt_tensor *normals, *uniforms, *again, *x, *dropped, *dx;
} drawn;

static bool start(drawn *r)
{
    dt_graph *g = r->graph = dt_graph_new();
    r->normals = dt_keep(dt_random_normals(g, dt_dims(COUNT)));
    r->uniforms = dt_keep(dt_random_uniforms(g, dt_dims(COUNT)));
    r->again = dt_keep(dt_random_normals(g, dt_dims(COUNT)));
    r->x = dt_input(g, "x", DT_F32, dt_dims(COUNT));
    r->dropped = dt_keep(dt_dropout(r->x, 0.3f));
    dt_gradient_from(&r->dropped, &r->x, 1, &r->x, 1, &r->dx);
    dt_keep(r->dx);
    r->plan = dt_plan_new(g, dt_cpu(), NULL);
    return r->plan != NULL;
}

static void stop(drawn *r)
{
    dt_plan_free(r->plan);
    dt_graph_free(r->graph);
}

static float *values(const drawn *r, const dt_tensor *x)
{
    float *to = malloc(sizeof *to * COUNT);
    dt_plan_read(r->plan, x, to);
    return to;
}

/* The mean of x^power. */
static double moment(const float *x, int power)
{
    double sum = 0;
    for (int i = 0; i < COUNT; i++)
        sum += pow(x[i], power);
    return sum / COUNT;
}

static double product(const float *x, const float *y, int lag)
{
    double sum = 0;
    for (int i = lag; i < COUNT; i++)
        sum += (double)x[i] * y[i - lag];
    return sum / (COUNT - lag);
}

/* Sample moments are within five standard errors of the distribution's; the seed is fixed. */
static void check_moments(const drawn *r)
{
    const double error = 5 / sqrt(COUNT);
    float *n = values(r, r->normals), *u = values(r, r->uniforms), *m = values(r, r->again);
    const double want[] = {0, 1, 0, 3}, deviation[] = {1, 1.4142, 3.873, 9.798};
    for (int k = 1; k <= 4; k++)
        ok(fabs(moment(n, k) - want[k - 1]) < error * deviation[k - 1], "normal moment %d is %.4f", k,
           moment(n, k));
    ok(fabs(moment(u, 1) - 0.5) < error * 0.2887, "uniforms have the mean %.5f", moment(u, 1));
    ok(fabs(moment(u, 2) - 1.0 / 3) < error * 0.2981, "uniforms have the mean square %.5f", moment(u, 2));
    bool inside = true;
    for (int i = 0; i < COUNT; i++)
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
    for (int i = 0; i < COUNT; i++) {
        kept += y[i] != 0;
        right &= y[i] == 0 || fabsf(y[i] - x[i] / 0.7f) < 1e-6f * fabsf(x[i]) * 2;
    }
    ok(fabs(kept / (double)COUNT - 0.7) < 5 * 0.4583 / sqrt(COUNT), "dropout keeps %.4f",
       kept / (double)COUNT);
    ok(right, "what is kept is scaled by 1 / 0.7");
    near("the gradient has the same mask", dx, y, COUNT, 0); /* the upstream was x */
    free(y);
    free(dx);
}

static bool same(const drawn *r, const dt_tensor *x, const float *before)
{
    float *now = values(r, x);
    bool equal = !memcmp(now, before, sizeof *now * COUNT);
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

int main(void)
{
    check_generator();
    drawn r;
    float *x = malloc(sizeof *x * COUNT);
    for (int i = 0; i < COUNT; i++)
        x[i] = 1 + (float)(i % 1000) * 1e-3f;
    const uint64_t seed = 0x123456789abcdefu;
    omp_set_num_threads(2);
    if (!ok(start(&r), "random ops can be planned"))
        return done();
    dt_plan_write(r.plan, r.x, x);
    ok(!dt_plan_run(r.plan, seed, 5), "random ops run");
    check_moments(&r);
    check_layout(&r, seed, 5);
    check_dropout(&r, x);
    float *normals = values(&r, r.normals), *dropped = values(&r, r.dropped);
    omp_set_num_threads(1);
    dt_plan_run(r.plan, seed, 5);
    ok(same(&r, r.normals, normals) && same(&r, r.dropped, dropped), "one thread draws what two drew");
    dt_plan_run(r.plan, seed, 6);
    ok(!same(&r, r.normals, normals) && !same(&r, r.dropped, dropped), "another step draws other numbers");
    dt_plan_run(r.plan, seed + (1ull << 40), 5);
    ok(!same(&r, r.normals, normals), "the high half of the seed counts");
    dt_plan_run(r.plan, seed, 5);
    ok(same(&r, r.normals, normals), "and again the first numbers");
    stop(&r);
    free(normals);
    free(dropped);
    free(x);
    check_rates();
    return done();
}
