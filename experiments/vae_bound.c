#include "experiments/vae_bound.h"

#include "data/loader.h"
#include "experiments/vae_trainer.h"
#include "kernels/random.h"
#include "losses/elbo.h"

#include <math.h>
#include <stdlib.h>

/* Rows that a plan decodes at a time: enough for matrix products at full rate, and few enough for the caches; of convolutions, for
 * memory. */
enum { MLP_ROWS = 2000, CONV_ROWS = 200, DRAWS = 100, IMAGES = 200, BINARISING = 0x62696e };

typedef struct work {
    const dt_vae_config *vae;
    const dt_vae_bound_options *options;
    dt_graph *graph;
    dt_plan *plan;
    dt_tensor *x, *weight, *likelihood, *kl, *mu, *codes; /* of one run; the last ones where there are such */
    int images, draws;
    size_t pixels;            /* numbers of an image */
    float *target;            /* [images, pixels] */
    float *weights, *likelihoods, *kls, *mus;
    int32_t *code;
    double *log_weight;       /* [images, samples] */
    double *sum, *square;     /* [latent], of the means */
    double *used;             /* [codes] */
    double bound_square;
    uint32_t runs;
} work;

static void record_gaussian(work *w, dt_scope root)
{
    const dt_vae_config *v = w->vae;
    dt_posterior q = dt_vae_encode(root, v, w->x);
    dt_tensor *noise = dt_random_normals(w->graph, dt_dims((int64_t)w->images * w->draws, v->latent));
    dt_tensor *z = dt_reparameterise(q.mu, q.log_variance, noise);
    w->likelihood = dt_keep(dt_vae_log_prob(v, dt_vae_decode(root, v, z), w->x));
    dt_tensor *ratio = dt_sub(dt_prior_log_prob(z), dt_posterior_log_prob(q.mu, q.log_variance, z));
    w->weight = dt_keep(dt_add(w->likelihood, ratio));
    w->kl = dt_keep(dt_sum(dt_gaussian_kl(q.mu, q.log_variance), 2, false));
    w->mu = dt_keep(q.mu);
}

static void record_codes(work *w, dt_scope root)
{
    const dt_vae_config *v = w->vae;
    dt_quantized q = dt_vae_quantize(root, v, dt_vae_encode_grid(root, v, w->x), false);
    w->likelihood = dt_keep(dt_vae_log_prob(v, dt_vae_decode_grid(root, v, q.z), w->x));
    w->codes = dt_keep(q.codes);
}

static bool prepare(work *w, dt_model *model, const dt_backend *backend, dt_error *error)
{
    const dt_vae_config *v = w->vae;
    size_t images = (size_t)w->images, rows = images * (size_t)w->draws, latent = (size_t)v->latent;
    w->graph = dt_graph_new();
    w->pixels = (size_t)v->image_size * (size_t)v->image_size * (size_t)v->channels;
    w->target = calloc(images * w->pixels, sizeof *w->target);
    w->weights = calloc(rows, sizeof *w->weights);
    w->likelihoods = calloc(rows, sizeof *w->likelihoods);
    w->kls = calloc(images, sizeof *w->kls);
    w->mus = calloc(images * latent, sizeof *w->mus);
    w->log_weight = calloc(images * (size_t)w->options->samples, sizeof *w->log_weight);
    w->sum = calloc(latent, sizeof *w->sum);
    w->square = calloc(latent, sizeof *w->square);
    w->used = calloc((size_t)v->codes + 1, sizeof *w->used);
    size_t grid = v->codes ? (size_t)dt_vae_grid(v) : 0;
    w->code = calloc(images * grid * grid + 1, sizeof *w->code);
    if (!w->graph || !w->target || !w->weights || !w->likelihoods || !w->kls || !w->mus || !w->log_weight || !w->sum ||
        !w->square || !w->used || !w->code)
        return dt_fail(error, "no memory for the bound on log p(x)");
    dt_scope root = {w->graph, model->params, ""};
    w->x = dt_input(w->graph, "x", DT_F32, dt_dims(w->images, v->image_size, v->image_size, v->channels));
    (v->codes ? record_codes : record_gaussian)(w, root);
    w->plan = dt_plan_new(w->graph, backend, NULL);
    return w->plan || dt_fail(error, "%s", dt_graph_error(w->graph));
}

static void free_work(work *w)
{
    dt_plan_free(w->plan);
    dt_graph_free(w->graph);
    void *all[] = {w->target, w->weights, w->likelihoods, w->kls, w->mus, w->log_weight, w->sum, w->square, w->used, w->code};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* The first channels of what the loader gives, and bits in place of intensities where asked. */
static void fill_target(work *w, const dt_batch *batch)
{
    size_t channels = (size_t)w->vae->channels, places = w->pixels / channels;
    for (size_t i = 0; i < (size_t)batch->count; i++)
        for (size_t p = 0; p < w->pixels; p++) {
            float value = batch->images[(i * places + p / channels) * 3 + p % channels];
            uint64_t at = batch->indices[i] * w->pixels + p;
            if (w->options->binarise) {
                dt_philox words = dt_random_block(w->options->seed, BINARISING, 0, at / 4);
                value = value > dt_random_uniform(words.v[at % 4]);
            }
            w->target[i * w->pixels + p] = value;
        }
}

static double log_mean_exp(const double *x, int count)
{
    double most = -INFINITY, sum = 0;
    for (int i = 0; i < count; i++)
        most = x[i] > most ? x[i] : most;
    for (int i = 0; i < count; i++)
        sum += exp(x[i] - most);
    return most + log(sum / count);
}

/* All draws of one batch of images; the last run may give more than are wanted. */
static bool draw(work *w, int count, double *reconstruction, dt_error *error)
{
    int samples = w->options->samples;
    for (int done = 0; done < samples; done += w->draws) {
        const char *message = dt_plan_run(w->plan, w->options->seed, w->runs++);
        if (message)
            return dt_fail(error, "%s", message);
        int wanted = samples - done < w->draws ? samples - done : w->draws;
        dt_plan_read(w->plan, w->likelihood, w->likelihoods);
        if (w->weight)
            dt_plan_read(w->plan, w->weight, w->weights);
        for (int i = 0; i < count; i++)
            for (int k = 0; k < wanted; k++) {
                *reconstruction += (double)w->likelihoods[i * w->draws + k];
                w->log_weight[i * samples + done + k] = (double)w->weights[i * w->draws + k];
            }
    }
    return true;
}

static void count_codes(work *w, int count)
{
    size_t grid = (size_t)dt_vae_grid(w->vae), codes = (size_t)count * grid * grid;
    dt_plan_read(w->plan, w->codes, w->code);
    for (size_t i = 0; i < codes; i++)
        w->used[w->code[i]]++;
}

static void add_posterior(work *w, int count, dt_vae_bound *b)
{
    dt_plan_read(w->plan, w->kl, w->kls);
    dt_plan_read(w->plan, w->mu, w->mus);
    for (int i = 0; i < count; i++) {
        double bound = log_mean_exp(w->log_weight + (size_t)i * (size_t)w->options->samples, w->options->samples);
        b->bound += bound;
        w->bound_square += bound * bound;
        b->kl += (double)w->kls[i];
        for (int k = 0; k < w->vae->latent; k++) {
            double mu = (double)w->mus[i * w->vae->latent + k];
            w->sum[k] += mu;
            w->square[k] += mu * mu;
        }
    }
}

static void settle(work *w, dt_vae_bound *b)
{
    double n = (double)b->images, total = 0, entropy = 0;
    b->reconstruction /= n * w->options->samples;
    b->kl /= n;
    b->elbo = b->reconstruction - b->kl;
    b->bound /= n;
    b->error = n > 1 ? sqrt((w->bound_square / n - b->bound * b->bound) / (n - 1)) : 0;
    for (int k = 0; k < w->vae->latent; k++)
        b->active += w->square[k] / n - w->sum[k] / n * (w->sum[k] / n) > 0.01;
    for (int c = 0; c < w->vae->codes; c++)
        total += w->used[c];
    for (int c = 0; c < w->vae->codes; c++)
        entropy -= w->used[c] > 0 ? w->used[c] / total * log(w->used[c] / total) : 0;
    b->perplexity = exp(entropy);
}

static bool go_through(work *w, const dt_model *model, dt_vae_bound *b, dt_error *error)
{
    dt_batch batch;
    const dt_vae_bound_options *o = w->options;
    size_t all = dt_dataset_count(o->data);
    dt_loader_options lo = {.pairs = dt_dataset_pairs(o->data), .files = dt_dataset_files(o->data), .batch_size = w->images,
                            .epochs = 1, .threads = o->threads, .transform = model->preprocess};
    dt_loader *loader = dt_loader_open(&lo, error);
    bool good = loader != NULL;
    while (good && (good = dt_loader_next(loader, &batch, error)) && batch.count) {
        fill_target(w, &batch);
        dt_plan_write(w->plan, w->x, w->target);
        good = draw(w, batch.count, &b->reconstruction, error);
        if (good && w->codes)
            count_codes(w, batch.count);
        else if (good)
            add_posterior(w, batch.count, b);
        b->images += (size_t)batch.count;
        if (o->progress.tell)
            o->progress.tell(o->progress.context, "bound on log p(x)", b->images, all);
    }
    dt_loader_close(loader);
    return good;
}

bool dt_vae_bound_of(dt_model *model, const dt_backend *backend, const dt_vae_bound_options *options, dt_vae_bound *bound,
                     dt_error *error)
{
    const dt_vae_config *v = &model->config.vae;
    int draws = options->samples < DRAWS ? options->samples : DRAWS;
    dt_vae_bound_options o = *options;
    if (v->codes) /* nothing is drawn */
        o.samples = draws = 1;
    int images = (v->network == DT_VAE_MLP ? MLP_ROWS : CONV_ROWS) / draws;
    work w = {.vae = v, .options = &o, .draws = draws, .images = images < IMAGES ? images : IMAGES};
    *bound = (dt_vae_bound){.samples = o.samples};
    bool good = prepare(&w, model, backend, error) && go_through(&w, model, bound, error);
    if (good)
        settle(&w, bound);
    free_work(&w);
    return good && (isfinite(bound->elbo) || dt_fail(error, "the ELBO on %s is %g: the training has diverged",
                                                     dt_dataset_path(options->data), bound->elbo));
}
