#include "experiments/vae_trainer.h"
#include "experiments/not_finite.h"

#include "losses/elbo.h"

#include <math.h>
#include <stdlib.h>

struct dt_vae_trainer {
    dt_model *model;
    const dt_vae_train_config *config;
    uint64_t seed;
    dt_graph *graph;
    dt_plan *plan;
    dt_tensor *images, *beta, *loss;
    dt_tensor *part[4]; /* kept scalars, with their names in the log */
    const char *name[4];
    int parts;
    const dt_tensor *bound;  /* which of them bounds log p(x); NULL: none */
    dt_optimizer *optimizer;
};

dt_tensor *dt_vae_log_prob(const dt_vae_config *v, dt_reconstruction r, dt_tensor *x)
{
    switch (v->likelihood) {
    case DT_LIKELIHOOD_GAUSSIAN: return dt_gaussian_log_prob(r.output, r.log_scale, x);
    case DT_LIKELIHOOD_LOGISTIC: return dt_logistic_log_prob(r.output, r.log_scale, x);
    default: return dt_bernoulli_log_prob(r.output, x);
    }
}

bool dt_vae_is_likelihood(const dt_vae_config *v, bool binarised)
{
    return v->likelihood != DT_LIKELIHOOD_BERNOULLI || binarised;
}

double dt_vae_bits(const dt_vae_config *v, double nats)
{
    double bits = -nats / M_LN2 / ((double)v->image_size * v->image_size * v->channels);
    return v->likelihood == DT_LIKELIHOOD_GAUSSIAN ? bits + log2(255) : bits;
}

static dt_tensor *keep(dt_vae_trainer *t, const char *name, dt_tensor *x)
{
    t->name[t->parts] = name;
    return t->part[t->parts++] = dt_keep(x);
}

static dt_tensor *target(dt_vae_trainer *t)
{
    dt_tensor *x = dt_vae_target(&t->model->config.vae, t->images);
    return t->config->binarise ? dt_greater(x, dt_random_uniforms(t->graph, x->shape)) : x;
}

/* - E_q[log p(x|z)] + beta KL(q || p). */
static dt_tensor *record_elbo(dt_vae_trainer *t, dt_scope root, dt_tensor *x, int64_t n)
{
    const dt_vae_config *v = &t->model->config.vae;
    dt_posterior q = dt_vae_encode(root, v, x);
    dt_tensor *noise = dt_random_normals(t->graph, dt_dims(n * t->config->samples, v->latent));
    dt_reconstruction p = dt_vae_decode(root, v, dt_reparameterise(q.mu, q.log_variance, noise));
    dt_tensor *reconstruction = dt_mean(dt_vae_log_prob(v, p, x), DT_ALL, false);
    dt_tensor *kl = dt_gaussian_kl(q.mu, q.log_variance);
    dt_tensor *whole = dt_free_bits(kl, 0);
    dt_tensor *cost = t->config->free_bits > 0 ? dt_free_bits(kl, t->config->free_bits) : whole;
    t->bound = keep(t, "elbo", dt_sub(reconstruction, whole));
    keep(t, "reconstruction", reconstruction);
    keep(t, "kl", whole);
    return dt_sub(dt_mul(t->beta, cost), reconstruction);
}

static dt_tensor *mean_bound(dt_tensor *log_weight, int64_t n, int64_t k)
{
    return dt_mean(dt_importance_bound(dt_reshape(log_weight, dt_dims(n, k))), DT_ALL, false);
}

/* The importance-weighted bound. Beta tempers the ratio of prior and posterior in what is trained; the log has the bound itself. */
static dt_tensor *record_bound(dt_vae_trainer *t, dt_scope root, dt_tensor *x, int64_t n)
{
    const dt_vae_config *v = &t->model->config.vae;
    int64_t k = t->config->samples;
    dt_posterior q = dt_vae_encode(root, v, x);
    dt_tensor *z = dt_reparameterise(q.mu, q.log_variance, dt_random_normals(t->graph, dt_dims(n * k, v->latent)));
    dt_tensor *likelihood = dt_vae_log_prob(v, dt_vae_decode(root, v, z), x);
    dt_tensor *ratio = dt_sub(dt_prior_log_prob(z), dt_posterior_log_prob(q.mu, q.log_variance, z));
    dt_tensor *weight = dt_add(likelihood, ratio);
    keep(t, "reconstruction", dt_mean(likelihood, DT_ALL, false));
    keep(t, "elbo", dt_mean(weight, DT_ALL, false));
    t->bound = keep(t, "bound", mean_bound(weight, n, k));
    bool tempered = t->config->beta != 1 || t->config->warmup > 0;
    return dt_neg(tempered ? mean_bound(dt_add(likelihood, dt_mul(t->beta, ratio)), n, k) : t->part[t->parts - 1]);
}

/* The paper's sum of three terms, a dimension of the image; the codebook's own term is its moving average. */
static dt_tensor *record_codes(dt_vae_trainer *t, dt_scope root, dt_tensor *x)
{
    const dt_vae_config *v = &t->model->config.vae;
    dt_quantized q = dt_vae_quantize(root, v, dt_vae_encode_grid(root, v, x), true);
    dt_tensor *likelihood = dt_mean(dt_vae_log_prob(v, dt_vae_decode_grid(root, v, q.z), x), DT_ALL, false);
    float dimensions = (float)(v->image_size * v->image_size * v->channels);
    keep(t, "reconstruction", likelihood);
    keep(t, "commitment", q.commitment);
    keep(t, "perplexity", q.perplexity);
    return dt_sub(dt_scale(q.commitment, v->commitment), dt_scale(likelihood, 1 / dimensions));
}

static bool record(dt_vae_trainer *t, const dt_backend *backend, int64_t n, dt_error *error)
{
    int64_t size = t->model->config.vae.image_size;
    if (!(t->graph = dt_graph_new()))
        return dt_fail(error, "out of memory");
    dt_scope root = {t->graph, t->model->params, ""};
    t->images = dt_input(t->graph, "images", DT_F32, dt_dims(n, size, size, 3));
    t->beta = dt_input(t->graph, "beta", DT_F32, (dt_shape){0});
    dt_tensor *x = target(t);
    t->loss = dt_keep(t->model->config.vae.codes ? record_codes(t, root, x)
                      : t->config->importance    ? record_bound(t, root, x, n)
                                                 : record_elbo(t, root, x, n));
    dt_store_gradients(t->loss, false);
    t->plan = dt_plan_new(t->graph, backend, &(dt_plan_options){.batch = n});
    return t->plan || dt_fail(error, "%s", dt_graph_error(t->graph));
}

dt_vae_trainer *dt_vae_trainer_new(dt_model *model, const dt_backend *backend, const dt_vae_train_config *config, int batch_size,
                                   uint64_t seed, dt_error *error)
{
    dt_vae_trainer *t = calloc(1, sizeof *t);
    if (!t) {
        dt_fail(error, "out of memory");
        return NULL;
    }
    char message[DT_MESSAGE];
    *t = (dt_vae_trainer){.model = model, .config = config, .seed = seed};
    bool good = (t->optimizer = dt_optimizer_new(&config->optimizer, model->params, backend)) ||
                dt_fail(error, "%s", dt_optimizer_no_memory(&config->optimizer, model->params, backend, message));
    if (good && record(t, backend, batch_size, error))
        return t;
    dt_vae_trainer_free(t);
    return NULL;
}

void dt_vae_trainer_free(dt_vae_trainer *t)
{
    if (!t)
        return;
    dt_plan_free(t->plan);
    dt_graph_free(t->graph);
    dt_optimizer_free(t->optimizer);
    free(t);
}

static double beta_at(const dt_vae_train_config *c, uint64_t step, int64_t total)
{
    double steps = dt_config_span(c->warmup, total);
    return (double)step < steps ? c->beta * ((double)step + 1) / (steps + 1) : c->beta;
}

static void report(const dt_vae_trainer *t, dt_step_found *found)
{
    const dt_vae_config *v = &t->model->config.vae;
    for (int i = 0; i < t->parts; i++) {
        float value = 0;
        dt_plan_read(t->plan, t->part[i], &value);
        dt_found(found, t->name[i], (double)value);
        if (t->part[i] == t->bound && dt_vae_is_likelihood(v, t->config->binarise))
            dt_found(found, "bits_per_dim", dt_vae_bits(v, (double)value));
    }
}

bool dt_vae_trainer_step(dt_vae_trainer *t, const float *images, uint64_t step, int64_t total, double rate,
                         dt_step_found *found, dt_error *error)
{
    float beta = (float)beta_at(t->config, step, total), loss = NAN;
    dt_plan_write(t->plan, t->images, images);
    dt_plan_write(t->plan, t->beta, &beta);
    const char *message = dt_plan_run(t->plan, t->seed, (uint32_t)step);
    if (message)
        return dt_fail(error, "%s", message);
    dt_plan_read(t->plan, t->loss, &loss);
    double norm = isfinite(loss) ? dt_optimizer_step(t->optimizer, (float)rate) : NAN;
    if (!isfinite(norm))
        return dt_not_finite(t->plan, t->seed, step, isfinite(loss) ? "the gradient" : "the loss", error);
    found->loss = (double)loss;
    report(t, found);
    dt_found(found, "grad_norm", norm);
    if (t->config->warmup > 0)
        dt_found(found, "beta", (double)beta);
    return true;
}

dt_optimizer *dt_vae_trainer_optimizer(dt_vae_trainer *t)
{
    return t->optimizer;
}

dt_plan *dt_vae_trainer_plan(dt_vae_trainer *t)
{
    return t->plan;
}
