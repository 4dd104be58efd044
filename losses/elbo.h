/* The evidence lower bound and its parts (Kingma & Welling, "Auto-encoding variational Bayes", 2014), in nats; float32.
 * x is a batch of n samples [n, ...]. Parameters of p(x|z) come for k draws of z a sample, [n k, ...] with x's other
 * dimensions: row i k + j is draw j of sample i. k, one or more, is what the shapes say; dt_reshape makes [n, k] of [n k]. */
#ifndef DUET_LOSSES_ELBO_H
#define DUET_LOSSES_ELBO_H

#include "kernels/ops.h"

/* ---- log p(x|z), summed over everything but the first axis -> [n k] ---- */

/* x in [0, 1]: sum x log s(l) + (1 - x) log(1 - s(l)), s the logistic function. Finite for any finite logits. */
dt_tensor *dt_bernoulli_log_prob(dt_tensor *logits, dt_tensor *x);

/* sum -(x - mean)^2 / (2 e^(2 s)) - s - log(2 pi) / 2, s = log_std: one number, or of the mean's shape. A density: it
 * depends on the units of x. */
dt_tensor *dt_gaussian_log_prob(dt_tensor *mean, dt_tensor *log_std, dt_tensor *x);

/* The discretised logistic of Kingma et al., "Improved variational inference with inverse autoregressive flow", 2016, and
 * Salimans et al., "PixelCNN++", 2017. x in [0, 1] has the 256 levels i / 255; a level's probability is that of its bin of
 * width 1 / 255 around it under a logistic distribution with this mean and scale e^log_scale, both in the units of x; the
 * bins of 0 and 255 reach to infinity. log_scale: one number, or of the mean's shape. The result is finite for any
 * log_scale: below -20, where a bin is two million scales wide, it counts as -20 and has no gradient. */
dt_tensor *dt_logistic_log_prob(dt_tensor *mean, dt_tensor *log_scale, dt_tensor *x);

/* ---- q(z|x) = N(mu, e^log_variance), both [n, latent] ---- */

/* k draws a sample, mu + e^(log_variance / 2) noise with standard normal noise [n k, latent] -> [n k, latent]. */
dt_tensor *dt_reparameterise(dt_tensor *mu, dt_tensor *log_variance, dt_tensor *noise);

/* KL(q || N(0, I)) a dimension: -(1 + log_variance - mu^2 - e^log_variance) / 2 -> [n, latent]. */
dt_tensor *dt_gaussian_kl(dt_tensor *mu, dt_tensor *log_variance);

/* sum over dimensions of max(nats, mean over the batch of kl) (Kingma et al., 2016, (15)), kl [n, latent] -> scalar. A
 * dimension below `nats`, which is 0 or more, has no gradient. nats 0: the mean over samples of the whole KL. */
dt_tensor *dt_free_bits(dt_tensor *kl, float nats);

/* log N(z; 0, I) and log N(z; mu, e^log_variance), summed over dimensions; z [n k, latent] -> [n k]. */
dt_tensor *dt_prior_log_prob(dt_tensor *z);
dt_tensor *dt_posterior_log_prob(dt_tensor *mu, dt_tensor *log_variance, dt_tensor *z);

/* ---- Bounds ---- */

/* The importance-weighted bound (Burda, Grosse & Salakhutdinov, "Importance weighted autoencoders", 2016):
 * log 1/k sum_j exp(log_weight_ij), log_weight [n, k] = log p(x|z) + log p(z) - log q(z|x) -> [n]. Its gradient weights the
 * draws by their normalised weights. k = 1: log_weight itself, the one-draw estimate of the ELBO. */
dt_tensor *dt_importance_bound(dt_tensor *log_weight);

#endif
