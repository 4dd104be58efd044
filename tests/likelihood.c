/* Fused log-likelihoods against the definition in float64, differences of both orders, and any number of threads. */
#include "tests/op_check.h"

#include <omp.h>

typedef struct row {
    int64_t n, k, d;
    float scale; /* of the logits */
    bool binary; /* x is 0 or 1, else anything between */
} row;

OP(bernoulli, dt_bernoulli_rows(x[0], x[1]))

/* Of both gradients one number, so that its differences check the second derivatives; x[2] is the upstream. */
static dt_tensor *bernoulli_gradients(dt_tensor **x, const void *c)
{
    dt_tensor *y = bernoulli(x, c), *d[2];
    dt_gradient_from(&y, &x[2], 1, x, 2, d);
    return dt_add(dt_sum(dt_mul(d[0], x[0]), DT_ALL, false), dt_sum(dt_mul(d[1], dt_square(x[1])), DT_ALL, false));
}

static double softplus(double l)
{
    return fmax(l, 0) + log1p(exp(-fabs(l)));
}

/* Values and the logits' gradient. Running sums have at most 64 terms: 64 2^-24 of the sum of sizes is the most that rounding
 * can do, a tenth of it is far more than it does; a factor 1 + e^-|l| is rounded by 2^-24 besides. */
static void check_values(const row *t, const op_run *r, const char *name)
{
    double worst = 0, steep = 0;
    for (int64_t i = 0; i < t->n * t->k; i++) {
        double want = 0, size = 0;
        for (int64_t j = 0; j < t->d; j++) {
            double l = r->value[0][i * t->d + j], x = r->value[1][i / t->k * t->d + j];
            double slope = r->dy[i] * (x - 1 / (1 + exp(-l)));
            want += x * l - softplus(l);
            size += fabs(x * l) + softplus(l) + 1;
            steep = larger(steep, fabs(r->dx[0][i * t->d + j] - slope) / fmax(1, fabs(r->dy[i])));
        }
        worst = larger(worst, fabs(r->y[i] - want) / size);
    }
    ok(worst < 6.4 * 0x1p-24, "%s agrees with float64 (%.1e of the terms' sizes)", name, worst);
    ok(steep < 4 * 0x1p-24, "%s: so does the gradient for the logits (%.1e)", name, steep);
}

static void check_threads(op_run *r, const char *name)
{
    size_t n = (size_t)dt_count(&r->c->shape[0]), bytes = sizeof(float) * n;
    float *y = malloc(sizeof *y * r->count), *dx = malloc(bytes);
    memcpy(y, r->y, sizeof *y * r->count);
    memcpy(dx, r->dx[0], bytes);
    omp_set_num_threads(1);
    op_again(r);
    omp_set_num_threads(2);
    ok(!memcmp(y, r->y, sizeof *y * r->count) && !memcmp(dx, r->dx[0], bytes), "%s: the same with one thread", name);
    free(y);
    free(dx);
}

static void fill(const row *t, float *logits, float *x)
{
    size_t count = (size_t)(t->n * t->k * t->d), samples = (size_t)(t->n * t->d);
    op_random(logits, count, 3);
    op_random(x, samples, 4);
    for (size_t i = 0; i < count; i++)
        logits[i] *= t->scale;
    for (size_t i = 0; i < samples; i++)
        x[i] = t->binary ? (float)(x[i] > 0) : 1 / (1 + expf(-x[i]));
}

static void check(const row *t)
{
    char name[128];
    snprintf(name, sizeof name, "bernoulli n %d, k %d, d %d, scale %g", (int)t->n, (int)t->k, (int)t->d, (double)t->scale);
    float *logits = malloc(sizeof *logits * (size_t)(t->n * t->k * t->d)), *x = malloc(sizeof *x * (size_t)(t->n * t->d));
    fill(t, logits, x);
    op_case c = {.name = name, .build = bernoulli, .inputs = 2, .shape = {dt_dims(t->n * t->k, t->d), dt_dims(t->n, t->d)},
                 .value = {logits, x}};
    op_run r;
    omp_set_num_threads(2);
    if (ok(op_start(&r, &c, NULL), "%s runs", name)) {
        check_values(t, &r, name);
        check_threads(&r, name);
        if (t->scale <= 2 && t->d < 100)
            op_differences(&r);
    }
    op_end(&r);
    free(logits);
    free(x);
}

static void check_second(void)
{
    op_case c = {.name = "bernoulli, differentiated twice", .build = bernoulli_gradients, .inputs = 3,
                 .shape = {dt_dims(6, 2, 5), dt_dims(3, 2, 5), dt_dims(6)}};
    op_check(&c, "runs");
}

/* Certain and right costs nothing, certain and wrong costs the logit, whatever its size. */
static void check_certain(void)
{
    const float logits[] = {100, -100, 1e4f, -1e4f, 100, -100}, x[] = {1, 0, 1, 0, 0, 1};
    op_case c = {.name = "certain", .build = bernoulli, .inputs = 2, .shape = {dt_dims(6, 1), dt_dims(6, 1)}, .value = {logits, x}};
    op_run r;
    if (ok(op_start(&r, &c, NULL), "logits of 100 run"))
        near("certain", r.y, ((const float[]){0, 0, 0, 0, -100, -100}), 6, 0);
    op_end(&r);
}

static void check_refusals(void)
{
    const dt_shape shapes[][2] = {{dt_dims(5, 4), dt_dims(2, 4)}, {dt_dims(4, 4), dt_dims(2, 3)}, {dt_dims(4, 4), dt_dims(2, 2, 2)}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        op_case c = {.name = "bad", .build = bernoulli, .inputs = 2, .shape = {shapes[i][0], shapes[i][1]}};
        op_run r;
        bool started = op_start(&r, &c, NULL);
        ok(!started && r.error && strstr(r.error, "expected float32 logits [n k, ...]"), "refused: %s", r.error ? r.error : "it ran");
        op_end(&r);
    }
}

int main(void)
{
    const row table[] = {{1, 1, 1, 1, true},     {3, 1, 16, 1, false}, {7, 3, 17, 2, false},  {2, 4, 63, 1, true},
                         {5, 1, 784, 3, true},   {4, 5, 1025, 30, false}, {3, 2, 3072, 100, true}, {2, 50, 1023, 0.01f, false},
                         {70, 1, 3, 1, true},    {1, 3, 770, 2, false},    {2, 1, 4097, 2, true},    {1, 2, 32771, 1, false}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        check(&table[i]);
    check_second();
    check_certain();
    check_refusals();
    return done();
}
