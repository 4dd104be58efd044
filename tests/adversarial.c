/* What generators and discriminators are trained for, and penalties on slopes, against definitions in float64; gradients of
 * penalties, which are second derivatives, against differences and closed forms; slopes of exactly zero. */
#include "losses/adversarial.h"

#include "tests/loss_rows.h"

/* ---- Objectives ---- */

#define OBJECTIVE(name, loss)                                                                                                  \
    OP(name##_d, dt_discriminator_loss(loss, x[0], x[1]))                                                                      \
    OP(name##_g, dt_generator_loss(loss, x[0]))
OBJECTIVE(minimax, DT_GAN_MINIMAX)
OBJECTIVE(non_saturating, DT_GAN_NON_SATURATING)
OBJECTIVE(hinge, DT_GAN_HINGE)
OBJECTIVE(least_squares, DT_GAN_LEAST_SQUARES)
OBJECTIVE(wasserstein, DT_GAN_WASSERSTEIN)
OBJECTIVE(unknown, (dt_gan_loss)7)

/* Mean of f over input i. */
static double mean_of(const op_run *r, int input, double (*f)(double))
{
    int64_t n = dt_count(&r->c->shape[input]);
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += f(r->value[input][i]);
    return sum / (double)n;
}

/* -log of the logistic function and of the rest of one: what the papers write. */
static double surprise(double l) { return -log(1 / (1 + exp(-l))); }
static double doubt(double l) { return -log(1 - 1 / (1 + exp(-l))); }
static double below_one(double l) { return l < 1 ? 1 - l : 0; }
static double above_minus_one(double l) { return l > -1 ? 1 + l : 0; }
static double from_one(double l) { return (l - 1) * (l - 1) / 2; }
static double from_zero(double l) { return l * l / 2; }
static double itself(double l) { return l; }

#define ELEMENT(name, expression)                                                                                 \
    static double name(const op_run *r, int64_t i)                                                                \
    {                                                                                                             \
        (void)i;                                                                                                  \
        return expression;                                                                                        \
    }
ELEMENT(logistic_d_element, mean_of(r, 0, surprise) + mean_of(r, 1, doubt))
ELEMENT(minimax_g_element, -mean_of(r, 0, doubt))
ELEMENT(non_saturating_g_element, mean_of(r, 0, surprise))
ELEMENT(hinge_d_element, mean_of(r, 0, below_one) + mean_of(r, 1, above_minus_one))
ELEMENT(least_squares_d_element, mean_of(r, 0, from_one) + mean_of(r, 1, from_zero))
ELEMENT(least_squares_g_element, mean_of(r, 0, from_one))
ELEMENT(wasserstein_d_element, mean_of(r, 1, itself) - mean_of(r, 0, itself))
ELEMENT(minus_mean_element, -mean_of(r, 0, itself))

/* ---- Points between, slopes ---- */

OP(between, dt_between(x[0], x[1], x[2]))

static double between_element(const op_run *r, int64_t i)
{
    const dt_shape *s = &r->c->shape[0];
    double alpha = r->value[2][i / (dt_count(s) / s->dim[0])];
    return alpha * r->value[0][i] + (1 - alpha) * r->value[1][i];
}

/* logits = v . tanh(w x), of x [n, a, b]: smooth, with second derivatives everywhere. */
static dt_tensor *perceptron(dt_tensor **x)
{
    dt_tensor *flat = dt_reshape(x[0], dt_dims(x[0]->shape.dim[0], -1));
    return dt_linear(dt_tanh(dt_linear(flat, x[1], NULL)), x[2], NULL);
}

OP(penalty, dt_slope_penalty(perceptron(x), x[0]))
OP(square, dt_slope_square(perceptron(x), x[0]))

/* |slope|^2 of sample i of the perceptron: slope_k = sum_h v_h (1 - tanh^2) w_hk. */
static double slope_square_of(const op_run *r, int64_t i)
{
    int64_t hidden = r->c->shape[1].dim[0], in = r->c->shape[1].dim[1];
    double slope[16] = {0}, sum = 0;
    for (int64_t h = 0; h < hidden; h++) {
        double inside = 0;
        for (int64_t k = 0; k < in; k++)
            inside += (double)r->value[1][h * in + k] * r->value[0][i * in + k];
        for (int64_t k = 0; k < in; k++)
            slope[k] += r->value[2][h] * (1 - tanh(inside) * tanh(inside)) * r->value[1][h * in + k];
    }
    for (int64_t k = 0; k < in; k++)
        sum += slope[k] * slope[k];
    return sum;
}

static double penalty_element(const op_run *r, int64_t only)
{
    (void)only;
    int64_t n = r->c->shape[0].dim[0];
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += pow(sqrt(slope_square_of(r, i)) - 1, 2) / (double)n;
    return sum;
}

static double square_element(const op_run *r, int64_t only)
{
    (void)only;
    int64_t n = r->c->shape[0].dim[0];
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += slope_square_of(r, i) / (double)n;
    return sum;
}

static const loss_row table[] = {
    {"minimax D", minimax_d, 2, {dt_dims(9), dt_dims(4, 1)}, logistic_d_element},
    {"minimax G", minimax_g, 1, {dt_dims(9)}, minimax_g_element},
    {"non-saturating D", non_saturating_d, 2, {dt_dims(9), dt_dims(4)}, logistic_d_element},
    {"non-saturating G", non_saturating_g, 1, {dt_dims(2, 3, 3, 1)}, non_saturating_g_element},
    {"hinge D", hinge_d, 2, {dt_dims(9), dt_dims(4)}, hinge_d_element},
    {"hinge G", hinge_g, 1, {dt_dims(9)}, minus_mean_element},
    {"least squares D", least_squares_d, 2, {dt_dims(9), dt_dims(4)}, least_squares_d_element},
    {"least squares G", least_squares_g, 1, {dt_dims(9)}, least_squares_g_element},
    {"wasserstein D", wasserstein_d, 2, {dt_dims(9), dt_dims(4)}, wasserstein_d_element},
    {"wasserstein G", wasserstein_g, 1, {dt_dims(9)}, minus_mean_element},
    {"between, images", between, 3, {dt_dims(3, 2, 2, 3), dt_dims(3, 2, 2, 3), dt_dims(3)}, between_element},
    {"between, numbers", between, 3, {dt_dims(3), dt_dims(3), dt_dims(3)}, between_element},
    {"slope penalty", penalty, 3, {dt_dims(5, 3, 2), dt_dims(4, 6), dt_dims(1, 4)}, penalty_element},
    {"slope penalty of one sample", penalty, 3, {dt_dims(1, 3, 1), dt_dims(4, 3), dt_dims(1, 4)}, penalty_element},
    {"slope square", square, 3, {dt_dims(5, 3, 2), dt_dims(4, 6), dt_dims(1, 4)}, square_element},
};

/* Where the discriminator is sure: all stay finite; what the generator still learns is the point of each paper. */
static void check_sure(void)
{
    static const float fake[] = {-200, 200, -1e4f, 1e4f};
    dt_tensor *(*const build[])(dt_tensor **, const void *) = {minimax_g, non_saturating_g, hinge_g, wasserstein_g};
    static const float slopes[4][4] = {
        {0, -0.25f, 0, -0.25f}, {-0.25f, 0, -0.25f, 0}, {-0.25f, -0.25f, -0.25f, -0.25f}, {-0.25f, -0.25f, -0.25f, -0.25f}};
    static const float values[] = {-2550, 2550, 0, 0};
    for (int i = 0; i < 4; i++) {
        op_case c = {.name = "a sure discriminator", .build = build[i], .inputs = 1, .shape = {dt_dims(4)}, .value = {fake},
                     .dy = (const float[]){1}};
        op_run r;
        if (ok(op_start(&r, &c, NULL), "a sure discriminator runs")) {
            near("its generator's loss", r.y, &values[i], 1, 1e-3);
            near("and gradient", r.dx[0], slopes[i], 4, 1e-7);
        }
        op_end(&r);
    }
}

/* logits = w . max(x, 0), whose slope is w where x is above zero. */
static dt_tensor *rectified(dt_tensor **x, const void *context)
{
    dt_tensor *logits = dt_linear(dt_relu(x[0]), x[1], NULL);
    return context ? dt_slope_square(logits, x[0]) : dt_slope_penalty(logits, x[0]);
}

/* Sample 0 is dead, its slope zero; sample 1 has the slope (3, 4), sample 2 (3, 0). */
static void check_dead_sample(void)
{
    static const float x[] = {-1, -2, 1, 2, 1, -1}, w[] = {3, 4};
    static const float want[] = {(1 + 16 + 4) / 3.f, (0 + 25 + 9) / 3.f};
    /* 2 (|s| - 1) s / |s|, and 2 s, over the three */
    static const float gradient[2][2] = {{(8 * 0.6f + 4) / 3, 8 * 0.8f / 3}, {(6 + 6) / 3.f, 8 / 3.f}};
    for (int i = 0; i < 2; i++) {
        op_case c = {.name = "dead", .build = rectified, .context = i ? x : NULL, .inputs = 2,
                     .shape = {dt_dims(3, 2), dt_dims(1, 2)}, .value = {x, w}, .dy = (const float[]){1}};
        op_run r;
        if (ok(op_start(&r, &c, NULL), "a dead sample runs")) {
            near("with a dead sample", r.y, &want[i], 1, 2e-6);
            near("and the gradient of the others", r.dx[1], gradient[i], 2, 2e-6);
        }
        op_end(&r);
    }
}

/* All slopes zero: weights of zero, and logits that do not depend on x. */
OP(unconnected, dt_slope_penalty(dt_reshape(x[1], dt_dims(3)), x[0]))

static void check_no_slope(void)
{
    static const float zeros[6];
    op_case c = {.name = "zero weights", .build = rectified, .inputs = 2, .shape = {dt_dims(3, 2), dt_dims(1, 2)},
                 .value = {NULL, zeros}, .dy = (const float[]){1}};
    op_run r;
    if (ok(op_start(&r, &c, NULL), "a discriminator of zeros runs")) {
        near("its penalty", r.y, (const float[]){1}, 1, 1e-6);
        near("moves no weight", r.dx[1], zeros, 2, 0);
        near("and no sample", r.dx[0], zeros, 6, 0);
    }
    op_end(&r);
    c = (op_case){.name = "unconnected", .build = unconnected, .inputs = 2, .shape = {dt_dims(3, 2), dt_dims(3, 1)},
                  .dy = (const float[]){1}};
    if (ok(op_start(&r, &c, NULL), "logits that do not depend on x run")) {
        near("their penalty", r.y, (const float[]){1}, 1, 1e-6);
        near("moves nothing", r.dx[1], zeros, 3, 0);
    }
    op_end(&r);
}

static void check_names(void)
{
    static const struct {
        const char *name;
        dt_gan_loss loss;
    } names[] = {{"minimax", DT_GAN_MINIMAX}, {"non_saturating", DT_GAN_NON_SATURATING}, {"hinge", DT_GAN_HINGE},
                 {"least_squares", DT_GAN_LEAST_SQUARES}, {"wasserstein", DT_GAN_WASSERSTEIN}};
    const char *at = dt_gan_loss_names;
    for (int i = 0; i < 5; i++) {
        size_t n = strlen(names[i].name);
        ok((int)names[i].loss == i && !strncmp(at, names[i].name, n) && at[n] == (i < 4 ? '|' : 0), "%s is name %d",
           names[i].name, i);
        at += n + 1;
    }
}

static void check_refusals(void)
{
    LOSS_REFUSES(between, "between: expected real and fake [n, ...] and alpha [n]", dt_dims(3, 2), dt_dims(3, 3), dt_dims(3));
    LOSS_REFUSES(between, "and [3, 1]", dt_dims(3, 2), dt_dims(3, 2), dt_dims(3, 1));
    LOSS_REFUSES(between, "and [2]", dt_dims(3, 2), dt_dims(3, 2), dt_dims(2));
    LOSS_REFUSES(between, "got [], [] and []", (dt_shape){0}, (dt_shape){0}, (dt_shape){0});
    LOSS_REFUSES(penalty, "slope_penalty: expected one logit for each sample of [5, 3, 2], got logits [5, 2]",
                 dt_dims(5, 3, 2), dt_dims(4, 6), dt_dims(2, 4));
    LOSS_REFUSES(square, "slope_square: expected one logit", dt_dims(5, 3, 2), dt_dims(4, 6), dt_dims(2, 4));
    LOSS_REFUSES(unknown_d, "unknown loss 7", dt_dims(3), dt_dims(3));
    LOSS_REFUSES(unknown_g, "unknown loss 7", dt_dims(3));
}

int main(void)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        loss_check(&table[i]);
    check_sure();
    check_dead_sample();
    check_no_slope();
    check_names();
    check_refusals();
    return done();
}
