/* The ELBO's parts against their definitions in float64; the discretised logistic where it is hard; what draws weigh. */
#include "losses/elbo.h"

#include "tests/loss_rows.h"

OP(bernoulli, dt_bernoulli_log_prob(x[0], x[1]))
OP(gaussian, dt_gaussian_log_prob(x[0], x[1], x[2]))
OP(logistic, dt_logistic_log_prob(x[0], x[1], x[2]))
OP(reparameterise, dt_reparameterise(x[0], x[1], x[2]))
OP(divergence, dt_gaussian_kl(x[0], x[1]))
OP(prior, dt_prior_log_prob(x[0]))
OP(posterior, dt_posterior_log_prob(x[0], x[1], x[2]))
OP(bound, dt_importance_bound(x[0]))
OP(half_a_nat, dt_free_bits(x[0], 0.5f))
OP(no_free_bits, dt_free_bits(x[0], 0))
OP(negative_nats, dt_free_bits(x[0], -1))

/* ---- Definitions ---- */

/* Numbers of a row, and draws a sample, of input `draws` against input `samples`. */
static int64_t width(const op_run *r, int input)
{
    return dt_count(&r->c->shape[input]) / r->c->shape[input].dim[0];
}

static int64_t draws(const op_run *r, int draw, int sample)
{
    return r->c->shape[draw].dim[0] / r->c->shape[sample].dim[0];
}

static double normal_log_density(double x, double mean, double variance)
{
    return -0.5 * ((x - mean) * (x - mean) / variance + log(2 * M_PI * variance));
}

static double bernoulli_element(const op_run *r, int64_t i)
{
    int64_t w = width(r, 0), sample = i / draws(r, 0, 1);
    double sum = 0;
    for (int64_t c = 0; c < w; c++) {
        double l = r->value[0][i * w + c], x = r->value[1][sample * w + c];
        sum += x * -log1p(exp(-l)) + (1 - x) * -log1p(exp(l));
    }
    return sum;
}

static double gaussian_element(const op_run *r, int64_t i)
{
    int64_t w = width(r, 0), sample = i / draws(r, 0, 2);
    bool one = dt_count(&r->c->shape[1]) == 1;
    double sum = 0;
    for (int64_t c = 0; c < w; c++) {
        double s = r->value[1][one ? 0 : i * w + c];
        sum += normal_log_density(r->value[2][sample * w + c], r->value[0][i * w + c], exp(2 * s));
    }
    return sum;
}

static double reparameterise_element(const op_run *r, int64_t i)
{
    int64_t w = width(r, 0), at = i / w / draws(r, 2, 0) * w + i % w;
    return r->value[0][at] + exp(0.5 * r->value[1][at]) * r->value[2][i];
}

static double divergence_element(const op_run *r, int64_t i)
{
    double mu = r->value[0][i], log_variance = r->value[1][i];
    return -0.5 * (1 + log_variance - mu * mu - exp(log_variance));
}

static double prior_element(const op_run *r, int64_t i)
{
    double sum = 0;
    for (int64_t c = 0, w = width(r, 0); c < w; c++)
        sum += normal_log_density(r->value[0][i * w + c], 0, 1);
    return sum;
}

static double posterior_element(const op_run *r, int64_t i)
{
    int64_t w = width(r, 0), sample = i / draws(r, 2, 0);
    double sum = 0;
    for (int64_t c = 0; c < w; c++)
        sum += normal_log_density(r->value[2][i * w + c], r->value[0][sample * w + c], exp(r->value[1][sample * w + c]));
    return sum;
}

static double log_mean_exp(const float *x, int64_t k)
{
    double most = -INFINITY, sum = 0;
    for (int64_t j = 0; j < k; j++)
        most = fmax(most, x[j]);
    for (int64_t j = 0; j < k; j++)
        sum += exp(x[j] - most);
    return most + log(sum / (double)k);
}

static double bound_element(const op_run *r, int64_t i)
{
    int64_t k = width(r, 0);
    return log_mean_exp(r->value[0] + i * k, k);
}

/* The whole of a model that has a closed form: z ~ N(0, I), x ~ N(z, I), so that p(z|x) = N(x / 2, I / 2). With that posterior
 * every draw weighs the same, and the bound is log p(x), x ~ N(0, 2 I), for any noise. */
static dt_tensor *closed_form(dt_tensor **x, const void *context)
{
    (void)context;
    dt_graph *g = dt_graph_of(x[0]);
    dt_tensor *mu = dt_scale(x[0], 0.5f), *log_variance = dt_fill(g, x[0]->shape, -0.693147180559945309f);
    dt_tensor *z = dt_reparameterise(mu, log_variance, x[1]);
    dt_tensor *joint = dt_add(dt_gaussian_log_prob(z, dt_fill(g, dt_dims(1), 0), x[0]), dt_prior_log_prob(z));
    dt_tensor *log_weight = dt_sub(joint, dt_posterior_log_prob(mu, log_variance, z));
    return dt_importance_bound(dt_reshape(log_weight, dt_dims(x[0]->shape.dim[0], -1)));
}

static double closed_form_element(const op_run *r, int64_t i)
{
    double sum = 0;
    for (int64_t c = 0, w = width(r, 0); c < w; c++)
        sum += normal_log_density(r->value[0][i * w + c], 0, 2);
    return sum;
}

static const loss_row table[] = {
    {"bernoulli", bernoulli, 2, {dt_dims(3, 7), dt_dims(3, 7)}, bernoulli_element},
    {"bernoulli, images, 5 draws", bernoulli, 2, {dt_dims(10, 3, 2, 2), dt_dims(2, 3, 2, 2)}, bernoulli_element},
    {"bernoulli, one number a sample", bernoulli, 2, {dt_dims(6), dt_dims(3)}, bernoulli_element},
    {"gaussian, one scale", gaussian, 3, {dt_dims(3, 4), {0}, dt_dims(3, 4)}, gaussian_element},
    {"gaussian, one scale [1], 3 draws", gaussian, 3, {dt_dims(6, 4), dt_dims(1), dt_dims(2, 4)}, gaussian_element},
    {"gaussian, 3 draws", gaussian, 3, {dt_dims(6, 2, 3), dt_dims(6, 2, 3), dt_dims(2, 2, 3)}, gaussian_element},
    {"reparameterise", reparameterise, 3, {dt_dims(3, 5), dt_dims(3, 5), dt_dims(3, 5)}, reparameterise_element},
    {"reparameterise, 4 draws", reparameterise, 3, {dt_dims(2, 3), dt_dims(2, 3), dt_dims(8, 3)}, reparameterise_element},
    {"kl", divergence, 2, {dt_dims(3, 5), dt_dims(3, 5)}, divergence_element},
    {"prior", prior, 1, {dt_dims(7, 3)}, prior_element},
    {"posterior", posterior, 3, {dt_dims(3, 5), dt_dims(3, 5), dt_dims(3, 5)}, posterior_element},
    {"posterior, 4 draws", posterior, 3, {dt_dims(2, 3), dt_dims(2, 3), dt_dims(8, 3)}, posterior_element},
    {"importance bound", bound, 1, {dt_dims(3, 7)}, bound_element},
    {"bound of a model with a closed form", closed_form, 2, {dt_dims(3, 2), dt_dims(15, 2)}, closed_form_element},
};

/* ---- The discretised logistic ---- */

enum { LEVELS = 256 };
static const double means[] = {0.5, 0, 1, 0.2134, -3, 4}, log_scales[] = {-7, -5, -3, -1, 0, 3};
enum { MEANS = sizeof means / sizeof *means, PAIRS = MEANS * (int)(sizeof log_scales / sizeof *log_scales) };

/* The difference of the logistic function at the bin's edges, the edges mirrored to the side where nothing cancels. */
static double logistic_reference(double mean, double log_scale, double x, int level)
{
    long double a = (x - mean + 0.5L / 255) * expl(-log_scale), b = (x - mean - 0.5L / 255) * expl(-log_scale);
    if (level == 0)
        return (double)-(a < 0 ? log1pl(expl(a)) - a : log1pl(expl(-a)));
    if (level == LEVELS - 1)
        return (double)-(b > 0 ? log1pl(expl(-b)) + b : log1pl(expl(b)));
    if (a + b > 0) {
        long double swapped = -a;
        a = -b, b = swapped;
    }
    return (double)logl(1 / (1 + expl(-a)) - 1 / (1 + expl(-b)));
}

typedef struct logistic_case {
    float x[LEVELS], mean[LEVELS * PAIRS], log_scale[LEVELS * PAIRS], ones[LEVELS * PAIRS];
} logistic_case;

/* All levels as samples; every mean with every scale as the draws of each. */
static void fill_logistic(logistic_case *v)
{
    for (int level = 0; level < LEVELS; level++) {
        v->x[level] = (float)level / 255;
        for (int pair = 0; pair < PAIRS; pair++) {
            int at = level * PAIRS + pair;
            v->mean[at] = (float)means[pair % MEANS];
            v->log_scale[at] = (float)log_scales[pair / MEANS];
            v->ones[at] = 1;
        }
    }
}

/* The largest errors of a pair of mean and scale, as a share of what rounding explains: edges off by 6e-8 in units of x. */
typedef struct logistic_errors {
    double value, by_mean, by_log_scale, mass;
} logistic_errors;

static logistic_errors compare_pair(const op_run *r, const logistic_case *v, int pair)
{
    logistic_errors worst = {0};
    const double h = 1e-7;
    double steep = exp(-v->log_scale[pair]), mass = 0;
    for (int level = 0; level < LEVELS; level++) {
        int at = level * PAIRS + pair;
        double m = v->mean[at], s = v->log_scale[at], x = v->x[level], far = fabs(x - m) + 1;
        double want = logistic_reference(m, s, x, level);
        double by_mean = logistic_reference(m + h, s, x, level) - logistic_reference(m - h, s, x, level);
        double by_log_scale = logistic_reference(m, s + h, x, level) - logistic_reference(m, s - h, x, level);
        double rounding = 1e-6 + 6e-8 * steep;
        worst.value = larger(worst.value, fabs(r->y[at] - want) / (rounding + 5e-7 * fabs(want)));
        worst.by_mean = larger(worst.by_mean, fabs(r->dx[0][at] - by_mean / (2 * h)) / (steep * rounding));
        worst.by_log_scale =
            larger(worst.by_log_scale, fabs(r->dx[1][at] - by_log_scale / (2 * h)) / ((1 + far * steep) * rounding));
        mass += exp(r->y[at]);
    }
    worst.mass = fabs(mass - 1) / (1e-6 + 6e-8 * steep);
    return worst;
}

static void check_logistic(void)
{
    logistic_case *v = calloc(1, sizeof *v);
    fill_logistic(v);
    op_case c = {.name = "logistic", .build = logistic, .inputs = 3, .dy = v->ones,
                 .shape = {dt_dims(LEVELS * PAIRS, 1), dt_dims(LEVELS * PAIRS, 1), dt_dims(LEVELS, 1)},
                 .value = {v->mean, v->log_scale, v->x}};
    op_run r;
    if (ok(op_start(&r, &c, NULL), "the logistic runs"))
        for (int pair = 0; pair < PAIRS; pair++) {
            logistic_errors e = compare_pair(&r, v, pair);
            ok(e.value <= 1 && e.by_mean <= 1 && e.by_log_scale <= 1 && e.mass <= 1,
               "logistic of mean %g, log scale %g: values, gradients and their sum (%.2f, %.2f, %.2f, %.2f of the bounds)",
               (double)v->mean[pair], (double)v->log_scale[pair], e.value, e.by_mean, e.by_log_scale, e.mass);
        }
    op_end(&r);
    free(v);
}

/* One scale for all pixels: its gradient is the sum of theirs, and several numbers of a row add up. */
static void check_logistic_one_scale(void)
{
    static const float x[] = {0, 1, 17 / 255.f, 200 / 255.f, 128 / 255.f, 0}, log_scale[] = {-1.5f}, ones[] = {1, 1, 1, 1};
    op_case c = {.name = "one scale", .build = logistic, .inputs = 3, .dy = ones,
                 .shape = {dt_dims(4, 3), {0}, dt_dims(2, 3)}, .value = {NULL, log_scale, x}};
    const double h = 1e-7;
    float want[4] = {0}, slope[1];
    double by_log_scale = 0;
    op_run r;
    if (ok(op_start(&r, &c, NULL), "one scale runs")) {
        for (int i = 0; i < 12; i++) {
            int at = i / 6 * 3 + i % 3, level = (int)lround(x[at] * 255);
            double m = r.value[0][i];
            want[i / 3] += (float)logistic_reference(m, log_scale[0], x[at], level);
            by_log_scale += logistic_reference(m, log_scale[0] + h, x[at], level) / (2 * h) -
                            logistic_reference(m, log_scale[0] - h, x[at], level) / (2 * h);
        }
        slope[0] = (float)by_log_scale;
        near("logistic, one scale, 2 draws", r.y, want, 4, 1e-4);
        near("and the scale's gradient", r.dx[1], slope, 1, 1e-4);
    }
    op_end(&r);
}

static void check_logistic_extremes(void)
{
    static const float scale[] = {-3e38f, -1000, -100, -20.5f, -20, -15, 15, 88, 104, 1000, 3e38f};
    static const float mean[] = {0.5f, 0, 1, -1000, 1000}, x[] = {0, 128 / 255.f, 1};
    enum { SCALES = sizeof scale / sizeof *scale, DRAWS = SCALES * 5, ROWS = 3 * DRAWS };
    float scales[ROWS], all_means[ROWS], ones[ROWS];
    for (int i = 0; i < ROWS; i++)
        scales[i] = scale[i % SCALES], all_means[i] = mean[i % DRAWS / SCALES], ones[i] = 1;
    op_case c = {.name = "extremes", .build = logistic, .inputs = 3, .dy = ones,
                 .shape = {dt_dims(ROWS, 1), dt_dims(ROWS, 1), dt_dims(3, 1)}, .value = {all_means, scales, x}};
    op_run r;
    if (ok(op_start(&r, &c, NULL), "extremes run")) {
        int finite = 0;
        for (int i = 0; i < ROWS; i++)
            finite += isfinite(r.y[i]) && isfinite(r.dx[0][i]) && isfinite(r.dx[1][i]) && r.y[i] <= 0;
        ok(finite == ROWS, "%d of %d extreme scales are finite, and so are their gradients", finite, (int)ROWS);
        const int wide = DRAWS + 9, narrow = DRAWS + 3; /* level 128 at mean 0.5, log scale 1000 and -20.5 */
        ok(fabs(r.y[wide] + 1000 + 2 * log(2) + log(255)) < 1e-3, "a wide logistic is flat: %g", (double)r.y[wide]);
        ok(fabs(r.dx[1][wide] + 1) < 1e-6, "and wants to be narrower");
        ok(r.y[narrow] == r.y[narrow + 1] && r.dx[1][narrow] == 0, "below -20 nothing moves");
        ok(fabs(r.y[9] + log(2)) < 1e-6, "a wide one has half of its mass in an edge bin");
    }
    op_end(&r);
}

/* ---- Free bits, bounds ---- */

static void check_free_bits(void)
{
    static const float kl[] = {0.1f, 0.2f, 3, 0.3f, 0.9f, 5, 0.2f, 1.3f, 1, 0, 0, 0.2f};
    static const float gradients[] = {0, 0.25f, 0.25f, 0, 0.25f, 0.25f, 0, 0.25f, 0.25f, 0, 0.25f, 0.25f};
    float quarter[12];
    for (int i = 0; i < 12; i++)
        quarter[i] = 0.25f;
    op_case c = {.name = "free bits", .build = half_a_nat, .inputs = 1, .shape = {dt_dims(4, 3)}, .value = {kl},
                 .dy = (const float[]){1}};
    op_run r;
    if (ok(op_start(&r, &c, NULL), "free bits run")) {
        near("free bits", r.y, (const float[]){0.5f + 0.6f + 2.3f}, 1, 1e-6);
        near("no gradient below them", r.dx[0], gradients, 12, 0);
    }
    op_end(&r);
    c.build = no_free_bits;
    if (ok(op_start(&r, &c, NULL), "no free bits run")) {
        near("no free bits: the mean KL", r.y, (const float[]){0.15f + 0.6f + 2.3f}, 1, 1e-6);
        near("with every gradient", r.dx[0], quarter, 12, 0);
    }
    op_end(&r);
}

/* Log weights around `centre` with the deviation `spread`: the bound, and the normalised weights as its gradient. */
static void check_bound(int64_t n, int64_t k, double centre, double spread)
{
    size_t count = (size_t)(n * k);
    float *x = calloc(count, sizeof *x), *weight = calloc(count, sizeof *weight);
    float *want = calloc((size_t)n, sizeof *want), *ones = calloc((size_t)n, sizeof *ones);
    op_random(x, count, (uint64_t)k + 3);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(centre + spread * x[i]);
    for (int64_t i = 0; i < n; i++) {
        double value = log_mean_exp(x + i * k, k);
        want[i] = (float)value, ones[i] = 1;
        for (int64_t j = i * k; j < (i + 1) * k; j++)
            weight[j] = (float)(exp(x[j] - value) / (double)k);
    }
    op_case c = {.name = "bound", .build = bound, .inputs = 1, .shape = {dt_dims(n, k)}, .value = {x}, .dy = ones};
    op_run r;
    char name[120];
    snprintf(name, sizeof name, "bound of %d draws, %g +- %g", (int)k, centre, spread);
    if (ok(op_start(&r, &c, NULL), "%s runs", name)) {
        near(name, r.y, want, (size_t)n, k == 1 ? 0 : 1e-6 + 1.2e-7 * (fabs(centre) + 4 * spread));
        near("its gradient, the normalised weights", r.dx[0], weight, count, k == 1 ? 0 : 3e-6);
    }
    op_end(&r);
    free(x);
    free(weight);
    free(want);
    free(ones);
}

static void check_refusals(void)
{
    LOSS_REFUSES(bernoulli, "bernoulli", dt_dims(7, 2), dt_dims(3, 2));
    LOSS_REFUSES(gaussian, "gaussian_log_prob: [7, 2] does not hold one or more draws", dt_dims(7, 2), {0}, dt_dims(3, 2));
    LOSS_REFUSES(gaussian, "[2, 2]", dt_dims(2, 2), {0}, dt_dims(3, 2));
    LOSS_REFUSES(gaussian, "[6, 4]", dt_dims(6, 4), {0}, dt_dims(3, 2, 2));
    LOSS_REFUSES(gaussian, "[6, 2, 3]", dt_dims(6, 2, 3), {0}, dt_dims(3, 3, 2));
    LOSS_REFUSES(gaussian, "gaussian_log_prob", {0}, {0}, {0});
    LOSS_REFUSES(gaussian, "gaussian_log_prob: expected the logarithm of the scale", dt_dims(6, 2), dt_dims(2), dt_dims(3, 2));
    LOSS_REFUSES(logistic, "logistic_log_prob: expected the logarithm", dt_dims(6, 2), dt_dims(3, 2), dt_dims(3, 2));
    LOSS_REFUSES(reparameterise, "reparameterise", dt_dims(3, 2), dt_dims(3, 2), dt_dims(3, 4));
    LOSS_REFUSES(reparameterise, "reparameterise", dt_dims(3, 2), dt_dims(4, 2), dt_dims(12, 4));
    LOSS_REFUSES(posterior, "posterior_log_prob", dt_dims(3, 2), dt_dims(3, 2), dt_dims(4, 2));
    LOSS_REFUSES(prior, "prior_log_prob: expected z [n, latent]", dt_dims(3));
    LOSS_REFUSES(half_a_nat, "free_bits", dt_dims(3));
    LOSS_REFUSES(negative_nats, "0 or more nats, got [3, 2] and -1", dt_dims(3, 2));
    LOSS_REFUSES(bound, "importance_bound: expected log weights [n, k]", dt_dims(3));
}

int main(void)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        loss_check(&table[i]);
    check_logistic();
    check_logistic_one_scale();
    check_logistic_extremes();
    check_free_bits();
    check_bound(4, 1, -90, 30);
    check_bound(4, 7, -90, 1);
    check_bound(4, 50, -90, 30);
    check_bound(3, 50, -1e5, 1e4);
    check_bound(2, 5000, -90, 5);
    check_refusals();
    return done();
}
