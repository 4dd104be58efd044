/* What generators and discriminators are trained for. Logits are of any shape, as many real as fake ones or not; losses are
 * scalars to be made small, means over the real and over the fake logits. s is the logistic function.
 *
 *   minimax         Goodfellow et al., 2014. D: softplus(-real) + softplus(fake). G: -softplus(fake) = log(1 - s(fake))
 *   non_saturating  the same D.                                                   G: softplus(-fake)
 *   hinge           Lim & Ye, 2017. D: max(0, 1 - real) + max(0, 1 + fake).        G: -fake
 *   least_squares   Mao et al., 2017. D: (real - 1)^2 / 2 + fake^2 / 2.            G: (fake - 1)^2 / 2
 *   wasserstein     Arjovsky et al., 2017. D: fake - real.                         G: -fake */
#ifndef DUET_LOSSES_ADVERSARIAL_H
#define DUET_LOSSES_ADVERSARIAL_H

#include "kernels/ops.h"

typedef enum { DT_GAN_MINIMAX, DT_GAN_NON_SATURATING, DT_GAN_HINGE, DT_GAN_LEAST_SQUARES, DT_GAN_WASSERSTEIN } dt_gan_loss;

/* "minimax|non_saturating|hinge|least_squares|wasserstein", in the order of the enumeration: for configurations. */
extern const char dt_gan_loss_names[];

dt_tensor *dt_discriminator_loss(dt_gan_loss loss, dt_tensor *real, dt_tensor *fake);
dt_tensor *dt_generator_loss(dt_gan_loss loss, dt_tensor *fake);

/* ---- Penalties on the discriminator's slope: scalars whose gradients are second derivatives ----
 *
 * logits hold one number a sample ([n] or [n, 1]) and were recorded from x [n, ...]. The slope of sample i is
 * d logits[i] / d x[i], and | | its Euclidean norm. It is taken from the gradient of the sum of the logits, so no logit may
 * depend on another sample: no batch statistics in the discriminator. Logits that do not depend on x have slope zero. */

/* One point a sample between real and fake [n, ...], alpha [n] uniform in [0, 1): alpha real + (1 - alpha) fake -> [n, ...]. */
dt_tensor *dt_between(dt_tensor *real, dt_tensor *fake, dt_tensor *alpha);

/* mean over samples of (|slope| - 1)^2 (Gulrajani et al., 2017, who take 10 of it at dt_between). A slope of zero, which
 * has no direction, gets no gradient. */
dt_tensor *dt_slope_penalty(dt_tensor *logits, dt_tensor *x);

/* mean over samples of |slope|^2 (R1 with x the real ones: Mescheder et al., 2018, who take gamma / 2 of it). */
dt_tensor *dt_slope_square(dt_tensor *logits, dt_tensor *x);

#endif
