#include "eval/generated.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/shuffle.h"
#include "eval/frechet.h"
#include "eval/manifold.h"

struct dt_reference {
    dt_model *model; /* NULL: of rows */
    dt_distance_options options;
    float *rows; /* [n, dim] */
    dt_feature_rows features;
    dt_gaussian gaussian;
    double *radii; /* [n] of the k that was last wanted */
    size_t k;      /* 0: none yet */
    char note[sizeof((dt_features *)0)->note];
};

/* ---- features ---- */

static float *reserve(size_t count, size_t dim, dt_error *error)
{
    size_t cells;
    float *rows = __builtin_mul_overflow(count, dim, &cells) ? NULL : calloc(cells + 1, sizeof *rows);
    if (!rows)
        dt_fail(error, "no memory for %zu rows of %zu features", count, dim);
    return rows;
}

/* Fewer than two images are refused before they are encoded. */
static bool check_count(const char *what, size_t count, dt_error *error)
{
    return count >= 2 || dt_fail(error, "%s: %zu image%s; a distance needs at least 2", what, count, count == 1 ? "" : "s");
}

static dt_encoder *new_encoder(const dt_reference *r, size_t count, dt_error *error)
{
    const dt_features_options *o = &r->options.features;
    size_t batch = o->batch > 0 ? (size_t)o->batch : 128;
    return dt_encoder_new(r->model, o->backend ? o->backend : dt_cpu(), DT_TOWER_IMAGE, o->layer,
                          (int)(batch < count ? batch : count), error);
}

/* Which images of `all`: [count]. */
static uint64_t *choose(const dt_distance_options *o, size_t all, size_t *count, dt_error *error)
{
    *count = o->count && o->count < all ? o->count : all;
    uint64_t *which = calloc(*count + 1, sizeof *which);
    for (size_t i = 0; which && i < *count; i++)
        which[i] = o->first || *count == all ? i : dt_permute(all, o->seed, 0, i);
    if (!which)
        dt_fail(error, "no memory for %zu images", *count);
    return which;
}

/* The chosen rows of all, which are kept in the cache. */
static bool recall_rows(dt_reference *r, const dt_dataset *data, const uint64_t *which, size_t count, float **rows, size_t *dim,
                        dt_error *error)
{
    dt_features all;
    bool good = dt_features_of(&all, r->model, data, &r->options.features, error);
    if (good) {
        snprintf(r->note, sizeof r->note, "%s", all.note);
        *dim = all.width;
        good = (*rows = reserve(count, all.width, error)) != NULL;
    }
    for (size_t i = 0; good && i < count; i++)
        memcpy(*rows + i * all.width, all.rows + which[i] * all.width, all.width * sizeof **rows);
    dt_features_free(&all);
    return good;
}

static bool compute_rows(const dt_reference *r, const dt_dataset *data, const uint64_t *which, size_t count, float **rows,
                         size_t *dim, dt_error *error)
{
    dt_encoder *encoder = new_encoder(r, count, error);
    *dim = encoder ? dt_encoder_width(encoder) : 0;
    bool good = encoder && (*rows = reserve(count, *dim, error)) &&
                dt_dataset_encode(data, which, count, r->model, encoder, r->options.features.threads, *rows,
                                  r->options.features.progress, NULL, error);
    dt_encoder_free(encoder);
    return good;
}

/* The features of a data set's chosen images; the caller frees f->rows, also after a failure. */
static bool rows_of(dt_reference *r, const dt_dataset *data, float **rows, dt_feature_rows *f, dt_error *error)
{
    size_t count = 0, dim = 0;
    *rows = NULL;
    r->note[0] = 0;
    uint64_t *which = choose(&r->options, dt_dataset_count(data), &count, error);
    bool good = which && check_count(dt_dataset_path(data), count, error) &&
                (r->options.features.cache ? recall_rows(r, data, which, count, rows, &dim, error)
                                           : compute_rows(r, data, which, count, rows, &dim, error));
    *f = (dt_feature_rows){*rows, count, dim};
    free(which);
    return good;
}

/* ---- the reference ---- */

static dt_reference *settle(dt_reference *r, dt_error *error)
{
    if (dt_gaussian_fit(&r->gaussian, r->features.rows, r->features.n, r->features.dim, error))
        return r;
    dt_reference_free(r);
    return NULL;
}

static dt_reference *new_reference(dt_model *model, const dt_distance_options *options, dt_error *error)
{
    dt_reference *r = calloc(1, sizeof *r);
    if (!r) {
        dt_fail(error, "no memory");
        return NULL;
    }
    r->model = model;
    r->options = *options;
    if (!r->options.k)
        r->options.k = DT_MANIFOLD_K;
    return r;
}

dt_reference *dt_reference_new(dt_model *model, const dt_dataset *data, const dt_distance_options *options, dt_error *error)
{
    dt_reference *r = new_reference(model, options, error);
    if (r && rows_of(r, data, &r->rows, &r->features, error))
        return settle(r, error);
    dt_reference_free(r);
    return NULL;
}

dt_reference *dt_reference_of_rows(dt_feature_rows rows, const dt_distance_options *options, dt_error *error)
{
    dt_reference *r = check_count("the real features", rows.n, error) ? new_reference(NULL, options, error) : NULL;
    if (r && (r->rows = reserve(rows.n, rows.dim, error))) {
        memcpy(r->rows, rows.rows, rows.n * rows.dim * sizeof *r->rows);
        r->features = (dt_feature_rows){r->rows, rows.n, rows.dim};
        return settle(r, error);
    }
    dt_reference_free(r);
    return NULL;
}

void dt_reference_free(dt_reference *r)
{
    if (!r)
        return;
    dt_gaussian_free(&r->gaussian);
    free(r->rows);
    free(r->radii);
    free(r);
}

const char *dt_reference_note(const dt_reference *r)
{
    return r->note;
}

/* ---- distances ---- */

static void tell(const dt_reference *r, size_t done)
{
    const dt_progress *p = &r->options.features.progress;
    if (p->tell)
        p->tell(p->context, "distances", done, 4);
}

static bool find_frechet(const dt_reference *r, dt_feature_rows rows, double *distance, dt_error *error)
{
    dt_gaussian g;
    bool good =
        dt_gaussian_fit(&g, rows.rows, rows.n, rows.dim, error) && dt_frechet_distance(&r->gaussian, &g, distance, error);
    dt_gaussian_free(&g);
    return good;
}

/* The real balls are kept for the next time. */
static bool find_radii(dt_reference *r, size_t k, dt_error *error)
{
    if (r->k == k)
        return true;
    r->k = 0;
    if (!r->radii && !(r->radii = malloc(r->features.n * sizeof *r->radii)))
        return dt_fail(error, "no memory for %zu radii", r->features.n);
    if (!dt_manifold_radii(r->features, k, r->radii, error))
        return false;
    r->k = k;
    return true;
}

static bool find_precision_and_recall(dt_reference *r, dt_feature_rows rows, dt_distances *d, dt_error *error)
{
    size_t least = d->real < d->generated ? d->real : d->generated;
    d->k = r->options.k < least ? r->options.k : least - 1;
    double *radii = malloc(rows.n * sizeof *radii);
    bool good = (radii || dt_fail(error, "no memory for %zu radii", rows.n)) && find_radii(r, d->k, error) &&
                dt_manifold_share(r->features, r->radii, rows, &d->precision, error) &&
                dt_manifold_radii(rows, d->k, radii, error) && dt_manifold_share(rows, radii, r->features, &d->recall, error);
    free(radii);
    return good;
}

static const char *layer_name(const dt_reference *r)
{
    static const char *const names[] = {
        [DT_LAYER_EMBEDDING] = "embedding", [DT_LAYER_FEATURES] = "features", [DT_LAYER_LOGITS] = "logits"};
    return r->model ? names[r->options.features.layer] : NULL;
}

static void describe(const dt_reference *r, dt_distances *d)
{
    size_t least = d->real < d->generated ? d->real : d->generated, used = 0;
    if (least < DT_DISTANCES_FEW || least <= d->width)
        used = (size_t)snprintf(
            d->note, sizeof d->note,
            "%zu real and %zu generated images are few for %zu features: the Frechet distance is biased upward", d->real,
            d->generated, d->width);
    if (d->k != r->options.k)
        snprintf(d->note + used, sizeof d->note - used, "%sprecision and recall take k = %zu instead of %zu", used ? "; " : "",
                 d->k, r->options.k);
}

bool dt_distances_of_rows(dt_reference *r, dt_feature_rows rows, dt_distances *d, dt_error *error)
{
    *d = (dt_distances){.real = r->features.n, .generated = rows.n, .width = rows.dim, .layer = layer_name(r)};
    if (!check_count("the generated features", rows.n, error))
        return false;
    if (rows.dim != r->features.dim)
        return dt_fail(error, "the real images have %zu features each, the generated ones %zu", r->features.dim, rows.dim);
    tell(r, 0);
    if (!find_frechet(r, rows, &d->frechet, error))
        return false;
    tell(r, 1);
    if (!dt_kid_distance(r->features, rows, 0, r->options.seed, &d->kid, error))
        return false;
    tell(r, 2);
    if (!dt_cmmd_distance(r->features, rows, &d->cmmd, error))
        return false;
    tell(r, 3);
    if (!find_precision_and_recall(r, rows, d, error))
        return false;
    tell(r, 4);
    describe(r, d);
    return true;
}

bool dt_distances_of_dataset(dt_reference *r, const dt_dataset *data, dt_distances *d, dt_error *error)
{
    float *own = NULL;
    dt_feature_rows rows;
    bool good = rows_of(r, data, &own, &rows, error) &&
                (dt_distances_of_rows(r, rows, d, error) || dt_fail_prefix(error, "%s", dt_dataset_path(data)));
    free(own);
    return good;
}

bool dt_distances_of_pictures(dt_reference *r, const dt_picture_set *pictures, dt_distances *d, dt_error *error)
{
    if (!check_count("the generated pictures", pictures->count, error))
        return false;
    dt_encoder *encoder = new_encoder(r, pictures->count, error);
    size_t dim = encoder ? dt_encoder_width(encoder) : 0;
    float *rows = encoder ? reserve(pictures->count, dim, error) : NULL;
    bool good = rows &&
                dt_picture_set_encode(pictures, r->model, encoder, r->options.features.threads, rows,
                                      r->options.features.progress, error) &&
                dt_distances_of_rows(r, (dt_feature_rows){rows, pictures->count, dim}, d, error);
    dt_encoder_free(encoder);
    free(rows);
    return good;
}

/* ---- findings ---- */

/* One figure; `more` ends its note. */
static json_t *figure(const dt_distances *d, const char *name, const char *checkpoint, const char *key, const char *what,
                      double value, size_t n, bool rank, const char *more)
{
    json_t *json = json_pack("{s:o, s:s, s:f, s:I, s:o}", "name", json_sprintf("%s: %s", name, what), "key", key, "value",
                             value, "n", (json_int_t)n, "note",
                             json_sprintf("%zu real and %zu generated images; %s%s%s%s%s", d->real, d->generated,
                                          d->layer ? d->layer : "features", checkpoint ? " of " : "",
                                          checkpoint ? checkpoint : "", *more ? "; " : "", more));
    if (json && rank)
        json_object_set_new(json, "rank", json_true());
    return json;
}

json_t *dt_distances_json(const dt_distances *d, const char *name, const char *checkpoint, dt_error *error)
{
    char kid[96] = "all pairs, unbiased", k[32];
    if (d->kid.subsets)
        snprintf(kid, sizeof kid, "all pairs, unbiased; deviation over %zu subsets of %zu", d->kid.subsets, d->kid.subset);
    snprintf(k, sizeof k, "k = %zu", d->k);
    const char *cmmd = d->layer && !strcmp(d->layer, "embedding") ? "" : "brought to unit length";
    json_t *list = json_array();
    json_t *figures[] = {
        figure(d, name, checkpoint, "frechet", "Frechet distance", d->frechet, d->generated, true, d->note),
        figure(d, name, checkpoint, "kid", "kernel distance (KID)", d->kid.value, d->generated, true, kid),
        figure(d, name, checkpoint, "cmmd", "CMMD", d->cmmd, d->generated, true, cmmd),
        figure(d, name, checkpoint, "precision", "precision", d->precision, d->generated, false, k),
        figure(d, name, checkpoint, "recall", "recall", d->recall, d->real, false, k),
    };
    if (figures[1] && d->kid.subsets)
        json_object_set_new(figures[1], "deviation", json_real(d->kid.deviation));
    bool good = list != NULL;
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        good = json_array_append_new(list, figures[i]) == 0 && good;
    if (!good) {
        json_decref(list);
        dt_fail(error, "no memory for the figures of %s, or the name is not UTF-8", name);
        return NULL;
    }
    return json_pack("{s:o}", "figures", list);
}
