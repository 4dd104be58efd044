#include "experiments/vae_views.h"

#include "kernels/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PLANE = 20, BATCH = 64 };

struct dt_vae_views {
    const dt_vae_config *vae;
    int count;                /* of a sheet */
    int originals;            /* images that there are, at most count */
    float *images;            /* [originals, size, size, 3] */
    float *codes;             /* [originals, latent], of the last reconstructions */
    uint64_t seed;
    dt_graph *decoding, *rebuilding;
    dt_plan *decode, *rebuild; /* z -> picture; images -> target, picture, mu */
    dt_tensor *z, *drawn;
    dt_tensor *input, *target, *rebuilt, *mu;
    size_t pixels;             /* numbers of a picture */
};

static bool record_decoding(dt_vae_views *w, dt_model *model, const dt_backend *backend, dt_error *error)
{
    dt_graph *g = w->decoding = dt_graph_new();
    if (!g)
        return dt_fail(error, "out of memory");
    w->z = dt_input(g, "z", DT_F32, dt_dims(BATCH, w->vae->latent));
    w->drawn = dt_keep(dt_vae_picture(w->vae, dt_vae_decode((dt_scope){g, model->params, ""}, w->vae, w->z).output));
    w->decode = dt_plan_new(g, backend, NULL);
    return w->decode || dt_fail(error, "%s", dt_graph_error(g));
}

static bool record_rebuilding(dt_vae_views *w, dt_model *model, const dt_backend *backend, dt_error *error)
{
    const dt_vae_config *v = w->vae;
    dt_graph *g = w->rebuilding = dt_graph_new();
    if (!g)
        return dt_fail(error, "out of memory");
    dt_scope root = {g, model->params, ""};
    w->input = dt_input(g, "images", DT_F32, dt_dims(BATCH, v->image_size, v->image_size, 3));
    w->target = dt_keep(dt_vae_target(v, w->input));
    dt_reconstruction p;
    if (v->codes) {
        p = dt_vae_decode_grid(root, v, dt_vae_quantize(root, v, dt_vae_encode_grid(root, v, w->target), false).z);
    } else {
        w->mu = dt_keep(dt_vae_encode(root, v, w->target).mu);
        p = dt_vae_decode(root, v, w->mu);
    }
    w->rebuilt = dt_keep(dt_vae_picture(v, p.output));
    w->rebuild = dt_plan_new(g, backend, NULL);
    return w->rebuild || dt_fail(error, "%s", dt_graph_error(g));
}

dt_vae_views *dt_vae_views_new(dt_model *model, const dt_backend *backend, int count, const char *path, uint64_t seed,
                               dt_error *error)
{
    const dt_vae_config *v = &model->config.vae;
    dt_vae_views *w = calloc(1, sizeof *w);
    if (!w) {
        dt_fail(error, "out of memory");
        return NULL;
    }
    *w = (dt_vae_views){.vae = v, .count = count, .originals = count, .seed = seed,
                        .pixels = (size_t)v->image_size * (size_t)v->image_size * (size_t)v->channels};
    w->images = dt_some_images(model, path, &w->originals, error);
    w->codes = calloc((size_t)w->originals + 1, (size_t)v->latent * sizeof *w->codes);
    if (w->images && (w->codes || dt_fail(error, "out of memory")) && (v->codes || record_decoding(w, model, backend, error)) && record_rebuilding(w, model, backend, error))
        return w;
    dt_vae_views_free(w);
    return NULL;
}

void dt_vae_views_free(dt_vae_views *w)
{
    if (!w)
        return;
    dt_plan_free(w->decode);
    dt_plan_free(w->rebuild);
    dt_graph_free(w->decoding);
    dt_graph_free(w->rebuilding);
    free(w->images);
    free(w->codes);
    free(w);
}

bool dt_vae_views_decode(dt_vae_views *w, const float *z, size_t count, float *pictures, dt_error *error)
{
    size_t latent = (size_t)w->vae->latent;
    float *batch = calloc(BATCH, latent * sizeof(float)), *drawn = calloc(BATCH, w->pixels * sizeof(float));
    bool good = (batch && drawn) || dt_fail(error, "out of memory");
    for (size_t from = 0; good && from < count; from += BATCH) {
        size_t n = count - from < BATCH ? count - from : BATCH;
        memcpy(batch, z + from * latent, n * latent * sizeof(float));
        dt_plan_write(w->decode, w->z, batch);
        const char *message = dt_plan_run(w->decode, 0, 0);
        good = !message || dt_fail(error, "%s", message);
        dt_plan_read(w->decode, w->drawn, drawn);
        memcpy(pictures + from * w->pixels, drawn, n * w->pixels * sizeof(float));
    }
    free(batch);
    free(drawn);
    return good;
}

static dt_sheet sheet_of(const dt_vae_views *w, const float *pictures, int count, int columns)
{
    return (dt_sheet){.floats = pictures, .count = (size_t)count, .columns = columns, .height = w->vae->image_size,
                      .width = w->vae->image_size, .channels = w->vae->channels};
}

/* The pictures of count z, as a sheet. */
static bool show_decoded(dt_vae_views *w, const dt_generative *run, const float *z, int count, int columns,
                         dt_titled_sheet title, dt_error *error)
{
    float *pictures = calloc((size_t)count * w->pixels, sizeof *pictures);
    bool good = (pictures || dt_fail(error, "out of memory")) && dt_vae_views_decode(w, z, (size_t)count, pictures, error);
    title.sheet = sheet_of(w, pictures, count, columns);
    good = good && dt_generative_sheet(run, &title, error);
    free(pictures);
    return good;
}

static bool show_samples(dt_vae_views *w, const dt_generative *run, dt_error *error)
{
    size_t numbers = (size_t)w->count * (size_t)w->vae->latent;
    float *z = calloc(numbers, sizeof *z);
    if (!z)
        return dt_fail(error, "out of memory");
    dt_draw_normals(w->seed, z, numbers);
    dt_titled_sheet title = {.name = "samples", .group = "samples", .keep = true,
                             .caption = "Means of p(x|z) for z from the prior, the same z each time."};
    bool good = show_decoded(w, run, z, w->count, 0, title, error);
    free(z);
    return good;
}

/* Originals, what is made of them, and their codes, a batch at a time. */
static bool rebuild(dt_vae_views *w, float *original, float *rebuilt, dt_error *error)
{
    size_t numbers = w->pixels / (size_t)w->vae->channels * 3, latent = (size_t)w->vae->latent, all = (size_t)w->originals;
    float *images = calloc(BATCH, numbers * sizeof *images), *drawn = calloc(BATCH, w->pixels * sizeof *drawn);
    float *mu = calloc(BATCH, latent * sizeof *mu);
    bool good = (images && drawn && mu) || dt_fail(error, "out of memory");
    for (size_t from = 0; good && from < all; from += BATCH) {
        size_t n = all - from < BATCH ? all - from : BATCH;
        memcpy(images, w->images + from * numbers, n * numbers * sizeof(float));
        dt_plan_write(w->rebuild, w->input, images);
        const char *message = dt_plan_run(w->rebuild, 0, 0);
        good = !message || dt_fail(error, "%s", message);
        dt_plan_read(w->rebuild, w->target, drawn);
        memcpy(original + from * w->pixels, drawn, n * w->pixels * sizeof(float));
        dt_plan_read(w->rebuild, w->rebuilt, drawn);
        memcpy(rebuilt + from * w->pixels, drawn, n * w->pixels * sizeof(float));
        if (w->mu)
            dt_plan_read(w->rebuild, w->mu, mu);
        memcpy(w->codes + from * latent, mu, n * latent * sizeof(float));
    }
    free(images);
    free(drawn);
    free(mu);
    return good;
}

static bool show_reconstructions(dt_vae_views *w, const dt_generative *run, dt_error *error)
{
    size_t numbers = (size_t)w->originals * w->pixels;
    float *original = calloc(numbers, sizeof *original), *rebuilt = calloc(numbers, sizeof *rebuilt);
    bool good = ((original && rebuilt) || dt_fail(error, "out of memory")) && rebuild(w, original, rebuilt, error);
    dt_titled_sheet title = {.name = "reconstructions", .group = "reconstructions", .keep = true,
                             .caption = "Originals, and below each what is made of its code."};
    title.sheet = sheet_of(w, original, w->originals, 0);
    title.sheet.below = rebuilt;
    good = good && dt_generative_sheet(run, &title, error);
    free(original);
    free(rebuilt);
    return good;
}

/* Between the codes of pairs of originals, in equal steps. Runs after show_reconstructions, whose codes it takes. */
static bool show_between(dt_vae_views *w, const dt_generative *run, dt_error *error)
{
    int latent = w->vae->latent, ways = w->originals / 2 < DT_WAYS ? w->originals / 2 : DT_WAYS;
    float *z = calloc((size_t)(DT_WAYS * DT_BETWEEN) * (size_t)latent, sizeof *z);
    bool good = z || dt_fail(error, "out of memory");
    if (good)
        dt_draw_between(w->codes, (size_t)ways, (size_t)latent, z);
    dt_titled_sheet title = {.name = "interpolation", .group = "interpolation",
                             .caption = "On straight lines between the codes of two originals."};
    good = good && (!ways || show_decoded(w, run, z, ways * DT_BETWEEN, DT_BETWEEN, title, error));
    free(z);
    return good;
}

/* The value below which a standard normal number lies with probability p: by bisection, which is plenty for a picture. */
static double quantile(double p)
{
    double low = -10, high = 10;
    for (int i = 0; i < 60; i++) {
        double middle = (low + high) / 2;
        *(erfc(-middle / M_SQRT2) / 2 < p ? &low : &high) = middle;
    }
    return (low + high) / 2;
}

/* Kingma & Welling, figure 4: equal shares of the prior lie between neighbours. */
static bool show_plane(dt_vae_views *w, const dt_generative *run, dt_error *error)
{
    float z[PLANE * PLANE * 2];
    for (int i = 0; i < PLANE * PLANE; i++) {
        z[2 * i] = (float)quantile((i % PLANE + 0.5) / PLANE);
        z[2 * i + 1] = (float)quantile(1 - (i / PLANE + 0.5) / PLANE);
    }
    dt_titled_sheet title = {.name = "manifold", .group = "manifold",
                             .caption = "The plane of the two latent numbers, from -2 to 2, at equal steps of their probability."};
    return show_decoded(w, run, z, PLANE * PLANE, PLANE, title, error);
}

bool dt_vae_views_show(dt_vae_views *w, const dt_generative *run, bool last, dt_error *error)
{
    bool codes = w->vae->codes > 0;
    return (codes || show_samples(w, run, error)) && show_reconstructions(w, run, error) &&
           (!last || codes || show_between(w, run, error)) &&
           (!last || codes || w->vae->latent != 2 || show_plane(w, run, error));
}
