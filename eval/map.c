#include "eval/map.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/pairs.h"
#include "data/shuffle.h"
#include "eval/findings.h"

enum {
    BASIS = 8,    /* directions that are iterated for the sake of the first two */
    ROUNDS = 500, /* at most */
};

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* ---- the embeddings ---- */

/* out [dim]: the embedding of length 1. */
static bool unit(const char *what, size_t number, const float *row, size_t dim, double *out, dt_error *error)
{
    double squares = 0;
    for (size_t j = 0; j < dim; j++)
        squares += (double)row[j] * (double)row[j];
    if (!(squares > 0) || !isfinite(squares))
        return dt_fail(error, "the embedding of %s %zu is zero or not finite; the model has diverged", what,
                       number);
    for (size_t j = 0; j < dim; j++)
        out[j] = (double)row[j] / sqrt(squares);
    return true;
}

static bool check(const dt_towers *t, dt_error *error)
{
    if (!t->dim || t->n + t->m == 0)
        return dt_fail(error, "a map of %zu images and %zu texts of width %zu; expected some", t->n, t->m,
                       t->dim);
    for (size_t i = 0; t->owners && i < t->m; i++)
        if (t->owners[i] < 0 || (size_t)t->owners[i] >= t->n)
            return dt_fail(error, "text %zu belongs to image %d; expected one of %zu", i, t->owners[i], t->n);
    for (size_t i = 0; t->labels && i < t->n; i++)
        if (t->labels[i] < -1 || (t->class_count && t->labels[i] >= (int64_t)t->class_count))
            return dt_fail(error, "image %zu has label %d; expected -1 to %zu", i, t->labels[i],
                           t->class_count - 1);
    return true;
}

/* Centre [dim] of the embeddings of a kind. */
static bool centre_of(const char *what, const float *rows, size_t n, size_t dim, double *row, double *centre,
                      dt_error *error)
{
    for (size_t i = 0; i < n; i++) {
        if (!unit(what, i, rows + i * dim, dim, row, error))
            return false;
        for (size_t j = 0; j < dim; j++)
            centre[j] += row[j] / (double)n;
    }
    return true;
}

static double cosine_of(const dt_towers *t, size_t image, size_t text)
{
    const float *a = t->images + image * t->dim, *b = t->texts + text * t->dim;
    double ab = 0, aa = 0, bb = 0;
    for (size_t j = 0; j < t->dim; j++) {
        ab += (double)a[j] * (double)b[j];
        aa += (double)a[j] * (double)a[j];
        bb += (double)b[j] * (double)b[j];
    }
    return ab / sqrt(aa) / sqrt(bb);
}

static void pairs_of(const dt_towers *t, dt_projection *p)
{
    double sum = 0;
    size_t count = t->owners ? t->m : t->labels ? t->n : 0;
    for (size_t i = 0; i < count; i++) {
        int32_t label = t->owners ? 0 : t->labels[i];
        if (label < 0 || (!t->owners && (size_t)label >= t->m))
            continue;
        sum += t->owners ? cosine_of(t, (size_t)t->owners[i], i) : cosine_of(t, i, (size_t)label);
        p->pairs++;
    }
    p->cosine = p->pairs ? sum / (double)p->pairs : NAN;
}

/* The distance between the towers, and the cosine of the pairs; towards [dim] goes from the texts to the
 * images. */
static bool measure(const dt_towers *t, dt_projection *p, double *towards, dt_error *error)
{
    double *centres = calloc(3 * t->dim, sizeof *centres), *row = centres + 2 * t->dim;
    bool good = centres || dt_fail(error, "no memory for the centres of %zu embeddings", t->n + t->m);
    good = good && centre_of("image", t->images, t->n, t->dim, row, centres, error) &&
           centre_of("text", t->texts, t->m, t->dim, row, centres + t->dim, error);
    if (good) {
        for (size_t j = 0; t->n && t->m && j < t->dim; j++)
            towards[j] = centres[j] - centres[t->dim + j];
        p->gap = t->n && t->m ? sqrt(dot(towards, towards, t->dim)) : NAN;
        pairs_of(t, p);
    }
    free(centres);
    return good;
}

/* ---- the sample ---- */

static size_t shown(size_t n)
{
    return n < DT_MAP_SHOWN ? n : DT_MAP_SHOWN;
}

/* sample [count, dim]: unit embeddings less their mean. */
static bool draw(const dt_towers *t, dt_projection *p, double *sample, dt_error *error)
{
    size_t images = shown(t->n), texts = shown(t->m), dim = t->dim;
    for (size_t i = 0; i < p->count; i++) {
        dt_projected *point = &p->points[i];
        point->is_text = i >= images;
        point->at =
            point->is_text ? (2 * (i - images) + 1) * t->m / (2 * texts) : (2 * i + 1) * t->n / (2 * images);
        const float *rows = point->is_text ? t->texts : t->images;
        if (!unit(point->is_text ? "text" : "image", point->at, rows + point->at * dim, dim, sample + i * dim,
                  error))
            return false;
        for (size_t j = 0; j < dim; j++)
            p->mean[j] += sample[i * dim + j] / (double)p->count;
    }
    for (size_t i = 0; i < p->count; i++)
        for (size_t j = 0; j < dim; j++)
            sample[i * dim + j] -= p->mean[j];
    return true;
}

/* covariance [dim, dim] of the sample; returns its trace. */
static double covariance_of(const double *sample, size_t count, size_t dim, double *covariance)
{
#pragma omp parallel for schedule(static)
    for (size_t a = 0; a < dim; a++) {
        double *row = covariance + a * dim;
        for (size_t i = 0; i < count; i++) {
            const double *s = sample + i * dim;
            double share = s[a] / (double)count;
            for (size_t b = 0; b < dim; b++)
                row[b] += share * s[b];
        }
    }
    double trace = 0;
    for (size_t a = 0; a < dim; a++)
        trace += covariance[a * dim + a];
    return trace;
}

/* ---- principal components ---- */

/* The rows of basis [size, dim] become orthonormal; one that the others span already becomes zero. Twice
 * over, because once leaves the rounding of nearly dependent rows. */
static void orthonormalise(double *basis, size_t size, size_t dim)
{
    for (size_t r = 0; r < size; r++) {
        double *row = basis + r * dim, before = sqrt(dot(row, row, dim));
        for (size_t other = 0; other < 2 * r; other++) {
            const double *known = basis + other % r * dim;
            double along = dot(row, known, dim);
            for (size_t j = 0; j < dim; j++)
                row[j] -= along * known[j];
        }
        double length = sqrt(dot(row, row, dim));
        bool spanned = !(length > 1e-12 * before);
        for (size_t j = 0; j < dim; j++)
            row[j] = spanned ? 0 : row[j] / length;
    }
}

/* Eigenvalues of the symmetric h [size, size], on its diagonal afterwards, and eigenvectors, the columns of
 * v, by Jacobi's rotations (Golub and Van Loan, "Matrix Computations", 8.5). */
static void jacobi(double h[BASIS][BASIS], double v[BASIS][BASIS], size_t size)
{
    for (size_t i = 0; i < size; i++)
        for (size_t j = 0; j < size; j++)
            v[i][j] = i == j;
    for (int sweep = 0; sweep < 12; sweep++) /* convergence is quadratic: six do for 15 digits */
        for (size_t p = 0; p < size; p++)
            for (size_t q = p + 1; q < size; q++) {
                if (h[p][q] == 0)
                    continue;
                double tau = (h[q][q] - h[p][p]) / (2 * h[p][q]);
                double t = copysign(1, tau) / (fabs(tau) + sqrt(1 + tau * tau)), c = 1 / sqrt(1 + t * t),
                       s = t * c;
                for (size_t k = 0; k < size; k++) {
                    double a = h[k][p], b = h[k][q];
                    h[k][p] = c * a - s * b, h[k][q] = s * a + c * b;
                }
                for (size_t k = 0; k < size; k++) {
                    double a = h[p][k], b = h[q][k], d = v[k][p], e = v[k][q];
                    h[p][k] = c * a - s * b, h[q][k] = s * a + c * b;
                    v[k][p] = c * d - s * e, v[k][q] = s * d + c * e;
                }
            }
}

/* to [size, dim] = the rows of basis along the eigenvectors of the covariance as basis sees it, the greatest
 * eigenvalue first (Rayleigh and Ritz); values [size]. image = basis covariance. */
static void align(const double *basis, const double *image, size_t size, size_t dim, double *to,
                  double *values)
{
    double h[BASIS][BASIS], v[BASIS][BASIS];
    size_t order[BASIS];
    for (size_t i = 0; i < size; i++)
        for (size_t j = 0; j <= i; j++)
            h[i][j] = h[j][i] = dot(basis + i * dim, image + j * dim, dim);
    jacobi(h, v, size);
    for (size_t i = 0; i < size; i++) {
        size_t place = i;
        for (; place && h[order[place - 1]][order[place - 1]] < h[i][i]; place--)
            order[place] = order[place - 1];
        order[place] = i;
    }
    for (size_t i = 0; i < size; i++) {
        values[i] = h[order[i]][order[i]];
        for (size_t j = 0; j < dim; j++) {
            to[i * dim + j] = 0;
            for (size_t k = 0; k < size; k++)
                to[i * dim + j] += v[k][order[i]] * basis[k * dim + j];
        }
    }
}

/* image [size, dim] = rows covariance. */
static void apply(const double *covariance, const double *rows, size_t size, size_t dim, double *image)
{
#pragma omp parallel for schedule(static)
    for (size_t j = 0; j < dim; j++)
        for (size_t i = 0; i < size; i++)
            image[i * dim + j] = dot(covariance + j * dim, rows + i * dim, dim);
}

/* How far the row is from being an eigenvector. */
static double residual(const double *row, const double *image, double value, size_t dim)
{
    double squares = 0;
    for (size_t j = 0; j < dim; j++)
        squares += (image[j] - value * row[j]) * (image[j] - value * row[j]);
    return sqrt(squares);
}

/* axes [2, dim], values [2]: orthogonal iteration. Where the second component is hardly greater than the
 * ninth it may end before the axes are exact; the plane is then as good as any. */
static bool components(const double *covariance, size_t dim, double trace, double *axes, double *values,
                       dt_error *error)
{
    size_t size = dim < BASIS ? dim : BASIS;
    double *basis = malloc(3 * size * dim * sizeof *basis), *image = basis + size * dim,
           *aligned = image + size * dim, found[BASIS] = {0};
    if (!basis)
        return dt_fail(error, "no memory for the components of embeddings of width %zu", dim);
    for (size_t i = 0; i < size * dim; i++)
        basis[i] = dt_uniform(0, 0, i) - 0.5;
    orthonormalise(basis, size, dim);
    for (int round = 0; round < ROUNDS; round++) {
        apply(covariance, basis, size, dim, image);
        align(basis, image, size, dim, aligned, found);
        apply(covariance, aligned, size, dim, image);
        double worst = residual(aligned, image, found[0], dim);
        for (size_t i = 1; i < size && i < 2; i++)
            worst = fmax(worst, residual(aligned + dim, image + dim, found[1], dim));
        if (worst <= 1e-12 * trace)
            break;
        memcpy(basis, image, size * dim * sizeof *basis);
        orthonormalise(basis, size, dim);
    }
    for (size_t i = 0; i < 2 && i < size; i++)
        if (found[i] > 1e-14 * trace) {
            memcpy(axes + i * dim, aligned + i * dim, dim * sizeof *axes);
            values[i] = found[i];
        }
    free(basis);
    return true;
}

static void fix_sign(double *axis, const double *towards, double gap, size_t dim)
{
    double along = dot(axis, towards, dim);
    size_t most = 0;
    for (size_t j = 1; j < dim; j++)
        most = fabs(axis[j]) > fabs(axis[most]) ? j : most;
    if (fabs(along) > 1e-9 * gap ? along < 0 : axis[most] < 0)
        for (size_t j = 0; j < dim; j++)
            axis[j] = -axis[j];
}

/* ---- the map ---- */

static bool project(dt_projection *p, const double *sample, const double *towards, size_t dim,
                    dt_error *error)
{
    double *covariance = calloc(dim * dim, sizeof *covariance), values[2] = {0};
    bool good = covariance || dt_fail(error, "no memory for the covariance of embeddings of width %zu", dim);
    double trace = good ? covariance_of(sample, p->count, dim, covariance) : 0;
    good = good && components(covariance, dim, trace, p->axes, values, error);
    free(covariance);
    for (size_t a = 0; good && a < 2; a++) {
        fix_sign(p->axes + a * dim, towards, p->gap, dim);
        p->explained[a] = trace > 0 ? fmin(values[a] / trace, 1) : 0;
    }
    for (size_t i = 0; good && i < p->count; i++) {
        p->points[i].x = dot(sample + i * dim, p->axes, dim);
        p->points[i].y = dot(sample + i * dim, p->axes + dim, dim);
    }
    return good;
}

bool dt_projection_make(dt_projection *projection, const dt_towers *towers, dt_error *error)
{
    *projection = (dt_projection){0};
    if (!check(towers, error))
        return false;
    dt_projection *p = projection;
    size_t dim = towers->dim;
    p->count = shown(towers->n) + shown(towers->m);
    p->points = calloc(p->count, sizeof *p->points);
    p->mean = calloc(dim, sizeof *p->mean);
    p->axes = calloc(2 * dim, sizeof *p->axes);
    double *sample = malloc(p->count * dim * sizeof *sample), *towards = calloc(dim, sizeof *towards);
    bool good = (p->points && p->mean && p->axes && sample && towards) ||
                dt_fail(error, "no memory for a map of %zu embeddings of width %zu", p->count, dim);
    good = good && measure(towers, p, towards, error) && draw(towers, p, sample, error) &&
           project(p, sample, towards, dim, error);
    free(sample);
    free(towards);
    return good;
}

void dt_projection_free(dt_projection *projection)
{
    free(projection->mean);
    free(projection->axes);
    free(projection->points);
    *projection = (dt_projection){0};
}

/* ---- JSON ---- */

/* For a picture; more digits would be most of the file. */
static double rounded(double x)
{
    return round(x * 1e6) / 1e6;
}

/* More classes than a reader of findings takes are left out, and with them what class a point is of. */
static bool has_too_many_classes(const dt_towers *t)
{
    return t->class_count > DT_FINDINGS_MOST;
}

static json_t *point_json(const dt_towers *t, const dt_projected *point)
{
    size_t image = !point->is_text ? point->at : t->owners ? (size_t)t->owners[point->at] : SIZE_MAX;
    int64_t label = image == SIZE_MAX ? (int64_t)point->at : t->labels ? t->labels[image] : -1;
    bool beyond = t->class_count && label >= (int64_t)t->class_count; /* a prompt beyond the classes */
    if (beyond || has_too_many_classes(t))
        label = -1;
    json_t *json = json_pack("{s:f, s:f, s:s, s:I}", "x", rounded(point->x), "y", rounded(point->y), "kind",
                             point->is_text ? "text" : "image", "label", (json_int_t)label);
    if (json && image != SIZE_MAX)
        json_object_set_new(json, "index",
                            json_integer((json_int_t)(t->indices ? t->indices[image] : image)));
    if (json && point->is_text && t->words && dt_caption_check(t->words[point->at], NULL))
        json_object_set_new(json, "text", json_string(t->words[point->at]));
    return json;
}

static json_t *map_json(const dt_towers *t, const dt_projection *p, const char *name, const char *store)
{
    json_t *points = json_array(), *classes = json_array();
    size_t class_count = has_too_many_classes(t) ? 0 : t->class_count;
    for (size_t i = 0; i < p->count; i++)
        json_array_append_new(points, point_json(t, &p->points[i]));
    for (size_t k = 0; k < class_count; k++)
        json_array_append_new(classes, json_string(t->classes[k]));
    bool whole = json_array_size(points) == p->count && json_array_size(classes) == class_count;
    json_t *json = json_pack("{s:s, s:[f, f], s:o, s:o}", "name", name, "explained", p->explained[0],
                             p->explained[1], "points", points, "classes", classes);
    if (json && !class_count)
        json_object_del(json, "classes");
    if (json && store)
        json_object_set_new(json, "store", json_string(store));
    if (json && p->pairs) {
        json_object_set_new(json, "n", json_integer((json_int_t)p->pairs));
        json_object_set_new(json, "cosine", json_real(p->cosine));
    }
    if (json && !isnan(p->gap))
        json_object_set_new(json, "gap", json_real(p->gap));
    if (whole)
        return json;
    json_decref(json);
    return NULL;
}

json_t *dt_map_json(const dt_towers *towers, const char *name, const char *store, dt_error *error)
{
    dt_projection projection;
    json_t *json = NULL;
    if (dt_projection_make(&projection, towers, error)) {
        json = map_json(towers, &projection, name, store);
        if (!json)
            dt_fail(error, "no memory for the map %s, or a name that is not UTF-8", name);
    }
    dt_projection_free(&projection);
    return json;
}
