#include "losses/adversarial.h"

const char dt_gan_loss_names[] = "minimax|non_saturating|hinge|least_squares|wasserstein";

static dt_tensor *mean(dt_tensor *x)
{
    return dt_mean(x, DT_ALL, false);
}

dt_tensor *dt_discriminator_loss(dt_gan_loss loss, dt_tensor *real, dt_tensor *fake)
{
    switch (loss) {
    case DT_GAN_MINIMAX:
    case DT_GAN_NON_SATURATING:
        return dt_add(mean(dt_softplus(dt_neg(real))), mean(dt_softplus(fake)));
    case DT_GAN_HINGE:
        return dt_add(mean(dt_relu(dt_affine(real, -1, 1))), mean(dt_relu(dt_affine(fake, 1, 1))));
    case DT_GAN_LEAST_SQUARES:
        return dt_scale(dt_add(mean(dt_square(dt_affine(real, 1, -1))), mean(dt_square(fake))), 0.5f);
    case DT_GAN_WASSERSTEIN:
        return dt_sub(mean(fake), mean(real));
    }
    return dt_graph_fail(dt_graph_of(real), "discriminator_loss", "unknown loss %d", (int)loss);
}

dt_tensor *dt_generator_loss(dt_gan_loss loss, dt_tensor *fake)
{
    switch (loss) {
    case DT_GAN_MINIMAX:
        return dt_neg(mean(dt_softplus(fake)));
    case DT_GAN_NON_SATURATING:
        return mean(dt_softplus(dt_neg(fake)));
    case DT_GAN_HINGE:
    case DT_GAN_WASSERSTEIN:
        return dt_neg(mean(fake));
    case DT_GAN_LEAST_SQUARES:
        return dt_scale(mean(dt_square(dt_affine(fake, 1, -1))), 0.5f);
    }
    return dt_graph_fail(dt_graph_of(fake), "generator_loss", "unknown loss %d", (int)loss);
}

dt_tensor *dt_between(dt_tensor *real, dt_tensor *fake, dt_tensor *alpha)
{
    int64_t n = real->shape.rank > 0 ? real->shape.dim[0] : 0;
    if (!n || !dt_same_shape(&real->shape, &fake->shape) || alpha->shape.rank != 1 || alpha->shape.dim[0] != n)
        return dt_graph_fail(dt_graph_of(real), "between", "expected real and fake [n, ...] and alpha [n], got %s, %s and %s",
                             dt_shape_text(&real->shape).chars, dt_shape_text(&fake->shape).chars,
                             dt_shape_text(&alpha->shape).chars);
    dt_shape one_each = {.rank = real->shape.rank, .dim = {n, 1, 1, 1, 1, 1}};
    return dt_add(fake, dt_mul(dt_reshape(alpha, one_each), dt_sub(real, fake)));
}

/* |slope|^2 of each sample -> [n] */
static dt_tensor *slope_squares(const char *op, dt_tensor *logits, dt_tensor *x)
{
    if (x->shape.rank < 1 || dt_count(&logits->shape) != x->shape.dim[0])
        return dt_graph_fail(dt_graph_of(x), op, "expected one logit for each sample of %s, got logits %s",
                             dt_shape_text(&x->shape).chars, dt_shape_text(&logits->shape).chars);
    dt_tensor *slope;
    dt_gradient(dt_sum(logits, DT_ALL, false), &x, 1, &slope);
    return dt_sum(dt_square(slope), ~1u, false);
}

dt_tensor *dt_slope_penalty(dt_tensor *logits, dt_tensor *x)
{
    const float tiny = 1e-20f; /* keeps the derivative finite at zero, and is lost in the rounding of other slopes */
    dt_tensor *norm = dt_sqrt(dt_affine(slope_squares("slope_penalty", logits, x), 1, tiny));
    return mean(dt_square(dt_affine(norm, 1, -1)));
}

dt_tensor *dt_slope_square(dt_tensor *logits, dt_tensor *x)
{
    return mean(slope_squares("slope_square", logits, x));
}
