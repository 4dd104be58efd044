#include "losses/elbo.h"

#include <math.h>

enum { NUMBERS = 2 }; /* the last axis of [n, k, numbers of a row] */

static const float half_log_two_pi = 0.918938533204672742f;

/* The samples x [n, ...] as [n, 1, width], to meet the rows of draws [n k, ...]. */
static dt_tensor *samples(const char *op, dt_tensor *x, const dt_tensor *draws)
{
    const dt_shape *a = &x->shape, *b = &draws->shape;
    bool fits = a->rank > 0 && a->rank == b->rank && b->dim[0] % a->dim[0] == 0;
    for (int i = 1; fits && i < a->rank; i++)
        fits = a->dim[i] == b->dim[i];
    if (!fits)
        return dt_graph_fail(dt_graph_of(x), op, "%s does not hold one or more draws for each sample of %s",
                             dt_shape_text(b).chars, dt_shape_text(a).chars);
    return dt_reshape(x, dt_dims(a->dim[0], 1, dt_span(a, 1, a->rank)));
}

/* Draws [n k, ...] as [n, k, width], to meet x from samples(). */
static dt_tensor *beside(const dt_tensor *x, dt_tensor *draws)
{
    return dt_reshape(draws, dt_dims(x->shape.dim[0], -1, x->shape.dim[NUMBERS]));
}

/* log_scale as a scalar, or as draws like the mean [n k, ...] whose shape it has. */
static dt_tensor *scales(const char *op, const dt_tensor *x, const dt_tensor *mean, dt_tensor *log_scale)
{
    if (dt_count(&log_scale->shape) == 1)
        return dt_reshape(log_scale, (dt_shape){0});
    if (!dt_same_shape(&log_scale->shape, &mean->shape))
        return dt_graph_fail(dt_graph_of(mean), op, "expected the logarithm of the scale as one number or as %s, got %s",
                             dt_shape_text(&mean->shape).chars, dt_shape_text(&log_scale->shape).chars);
    return beside(x, log_scale);
}

/* [n, k, width] -> [n k] */
static dt_tensor *over_numbers(dt_tensor *x)
{
    return dt_reshape(dt_sum(x, 1u << NUMBERS, false), dt_dims(-1));
}

dt_tensor *dt_bernoulli_log_prob(dt_tensor *logits, dt_tensor *x)
{
    return dt_bernoulli_rows(logits, x);
}

dt_tensor *dt_gaussian_log_prob(dt_tensor *mean, dt_tensor *log_std, dt_tensor *x)
{
    const char *op = "gaussian_log_prob";
    x = samples(op, x, mean);
    log_std = scales(op, x, mean, log_std);
    dt_tensor *distance = dt_mul(dt_sub(beside(x, mean), x), dt_exp(dt_neg(log_std)));
    return over_numbers(dt_sub(dt_scale(dt_square(distance), -0.5f), dt_affine(log_std, 1, half_log_two_pi)));
}

/* log(1 - e^-d) with d = e^t. In the middle it is log tanh(d / 2) + log(1 + e^-d), which loses no digits where d is small;
 * below `least` it is t, above `most` 0, all to less than float32's rounding. */
static dt_tensor *log_one_minus_exp(dt_tensor *t)
{
    const float least = -15, most = 20;
    dt_tensor *d = dt_exp(dt_clamp(t, least, most));
    dt_tensor *middle = dt_add(dt_log(dt_tanh(dt_scale(d, 0.5f))), dt_softplus(dt_neg(d)));
    return dt_sub(middle, dt_relu(dt_affine(t, -1, least)));
}

/* A bin has the edges a > b in units of the scale, a - b = d. Its probability s(a) - s(b) is s(a) (1 - s(b)) (1 - e^-d):
 * three factors whose logarithms are safe wherever the bin lies. The lowest level has the first alone, the highest the
 * second. */
dt_tensor *dt_logistic_log_prob(dt_tensor *mean, dt_tensor *log_scale, dt_tensor *x)
{
    const char *op = "logistic_log_prob";
    const float half_bin = 0.5f / 255, log_bins = 5.54126354515842917f; /* log 255 */
    dt_graph *g = dt_graph_of(x);
    x = samples(op, x, mean);
    log_scale = dt_clamp(scales(op, x, mean, log_scale), -20, INFINITY);
    dt_tensor *from_mean = dt_sub(x, beside(x, mean)), *per_scale = dt_exp(dt_neg(log_scale));
    dt_tensor *below_top = dt_neg(dt_softplus(dt_neg(dt_mul(dt_affine(from_mean, 1, half_bin), per_scale))));
    dt_tensor *above_bottom = dt_neg(dt_softplus(dt_mul(dt_affine(from_mean, 1, -half_bin), per_scale)));
    dt_tensor *width = log_one_minus_exp(dt_affine(log_scale, -1, -log_bins));
    dt_tensor *not_first = dt_greater(x, dt_fill(g, (dt_shape){0}, half_bin));
    dt_tensor *not_last = dt_greater(dt_fill(g, (dt_shape){0}, 1 - half_bin), x);
    dt_tensor *log_p = dt_add(dt_mul(below_top, not_last), dt_mul(above_bottom, not_first));
    return over_numbers(dt_add(log_p, dt_mul(width, dt_mul(not_first, not_last))));
}

dt_tensor *dt_reparameterise(dt_tensor *mu, dt_tensor *log_variance, dt_tensor *noise)
{
    const char *op = "reparameterise";
    dt_shape shape = noise->shape;
    mu = samples(op, mu, noise);
    dt_tensor *deviation = dt_exp(dt_scale(samples(op, log_variance, noise), 0.5f));
    return dt_reshape(dt_add(mu, dt_mul(deviation, beside(mu, noise))), shape);
}

dt_tensor *dt_gaussian_kl(dt_tensor *mu, dt_tensor *log_variance)
{
    dt_tensor *inside = dt_sub(dt_affine(log_variance, 1, 1), dt_add(dt_square(mu), dt_exp(log_variance)));
    return dt_scale(inside, -0.5f);
}

dt_tensor *dt_free_bits(dt_tensor *kl, float nats)
{
    if (kl->shape.rank != 2 || !(nats >= 0))
        return dt_graph_fail(dt_graph_of(kl), "free_bits", "expected a KL [n, latent] and 0 or more nats, got %s and %g",
                             dt_shape_text(&kl->shape).chars, (double)nats);
    dt_tensor *mean = dt_mean(kl, 1u << 0, false);
    return dt_sum(nats > 0 ? dt_clamp(mean, nats, INFINITY) : mean, DT_ALL, false);
}

dt_tensor *dt_prior_log_prob(dt_tensor *z)
{
    if (z->shape.rank != 2)
        return dt_graph_fail(dt_graph_of(z), "prior_log_prob", "expected z [n, latent], got %s",
                             dt_shape_text(&z->shape).chars);
    return dt_affine(dt_sum(dt_square(z), 1u << 1, false), -0.5f, -half_log_two_pi * (float)z->shape.dim[1]);
}

dt_tensor *dt_posterior_log_prob(dt_tensor *mu, dt_tensor *log_variance, dt_tensor *z)
{
    const char *op = "posterior_log_prob";
    mu = samples(op, mu, z);
    log_variance = samples(op, log_variance, z);
    dt_tensor *square = dt_mul(dt_square(dt_sub(beside(mu, z), mu)), dt_exp(dt_neg(log_variance)));
    return over_numbers(dt_affine(dt_add(square, log_variance), -0.5f, -half_log_two_pi));
}

dt_tensor *dt_importance_bound(dt_tensor *log_weight)
{
    if (log_weight->shape.rank != 2)
        return dt_graph_fail(dt_graph_of(log_weight), "importance_bound", "expected log weights [n, k], got %s",
                             dt_shape_text(&log_weight->shape).chars);
    dt_tensor *most = dt_stop_gradient(dt_max(log_weight)); /* it cancels: a constant to the derivative */
    dt_tensor *mean = dt_mean(dt_exp(dt_sub(log_weight, most)), 1u << 1, true);
    return dt_reshape(dt_add(most, dt_log(mean)), dt_dims(-1));
}
