#include "eval/map.h"

#include "data/json.h"
#include "data/shuffle.h"
#include "eval/findings.h"
#include "tests/tap.h"

static dt_error error;

static double dot(const double *a, const double *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* ---- four points whose axes are plain: images at (c, s) and (c, -s), texts at (-c, s) and (-c, -s) ---- */

enum { DIM = 5, ALONG = 3, ACROSS = 1 };
static const double c = 0.8, s = 0.6;

/* Lengths differ, which must not matter. */
static void four(float *images, float *texts)
{
    for (int i = 0; i < 2; i++) {
        images[i * DIM + ALONG] = (float)c * (float)(i + 2),
                         images[i * DIM + ACROSS] = (float)(i ? -s : s) * (float)(i + 2);
        texts[i * DIM + ALONG] = (float)-c * 0.25f, texts[i * DIM + ACROSS] = (float)(i ? -s : s) * 0.25f;
    }
}

static void plain_axes(void)
{
    float images[2 * DIM] = {0}, texts[2 * DIM] = {0};
    four(images, texts);
    const int32_t owners[] = {0, 1};
    dt_projection p;
    ok(dt_projection_make(
           &p, &(dt_towers){.n = 2, .m = 2, .dim = DIM, .images = images, .texts = texts, .owners = owners},
           &error),
       "four points");
    ok(p.count == 4 && !p.points[0].is_text && !p.points[1].is_text && p.points[2].is_text &&
           p.points[3].at == 1,
       "images, then texts");
    ok(fabs(p.axes[ALONG] - 1) < 1e-7 && fabs(p.axes[DIM + ACROSS] - 1) < 1e-7,
       "images to the right, the largest entry of the other axis positive");
    ok(fabs(p.explained[0] - c * c) < 1e-7 && fabs(p.explained[1] - s * s) < 1e-7,
       "shares %g and %g of the variance", p.explained[0], p.explained[1]);
    ok(fabs(p.gap - 2 * c) < 1e-7, "gap %g", p.gap);
    ok(p.pairs == 2 && fabs(p.cosine - (s * s - c * c)) < 1e-7, "cosine %g of %zu pairs", p.cosine, p.pairs);
    const double want[] = {c, s, c, -s, -c, s, -c, -s};
    double worst = 0;
    for (int i = 0; i < 4; i++)
        worst = larger(worst, larger(fabs(p.points[i].x - want[2 * i]), fabs(p.points[i].y - want[2 * i + 1])));
    ok(worst < 1e-7, "coordinates within %.2g", worst);
    dt_projection_free(&p);
    ok(!p.points && !p.axes, "a freed one is empty");
}

/* ---- any embeddings, by the definitions ---- */

typedef struct sample {
    size_t n, m, dim;
    float *images, *texts;
    int32_t *owners, *labels;
    size_t *indices;
} sample;

static sample make(size_t n, size_t m, size_t dim)
{
    sample e = {n,
                m,
                dim,
                malloc((n * dim + 1) * sizeof(float)),
                malloc((m * dim + 1) * sizeof(float)),
                malloc((m + 1) * sizeof(int32_t)),
                malloc((n + 1) * sizeof(int32_t)),
                malloc((n + 1) * sizeof(size_t))};
    for (size_t i = 0; i < n * dim; i++)
        e.images[i] = (float)((dt_uniform(1, i, 0) - 0.4) / sqrt((double)(i % dim) + 1));
    for (size_t i = 0; i < m * dim; i++)
        e.texts[i] = (float)((dt_uniform(2, i, 0) - 0.7) / sqrt((double)(i % dim) + 1));
    for (size_t i = 0; i < m; i++)
        e.owners[i] = (int32_t)(dt_hash64(3, i, 0) % n);
    for (size_t i = 0; i < n; i++)
        e.labels[i] = (int32_t)(i % 4) - 1, e.indices[i] = 10 * i + 7;
    return e;
}

static void drop(sample *e)
{
    free(e->images), free(e->texts), free(e->owners), free(e->labels), free(e->indices);
}

static void unit(const float *row, size_t dim, double *out)
{
    for (size_t j = 0; j < dim; j++)
        out[j] = (double)row[j];
    double length = sqrt(dot(out, out, dim));
    for (size_t j = 0; j < dim; j++)
        out[j] /= length;
}

static const float *row_of(const sample *e, const dt_projected *p)
{
    return (p->is_text ? e->texts : e->images) + p->at * e->dim;
}

/* |covariance axis - value axis|, with the covariance as it is defined, and value = axis' covariance axis. */
static double residual(const sample *e, const dt_projection *p, const double *axis, double *value)
{
    double *image = calloc(e->dim, sizeof *image), *row = malloc(e->dim * sizeof *row), squares = 0;
    for (size_t i = 0; i < p->count; i++) {
        unit(row_of(e, &p->points[i]), e->dim, row);
        double along = dot(row, axis, e->dim) - dot(p->mean, axis, e->dim);
        for (size_t j = 0; j < e->dim; j++)
            image[j] += along * (row[j] - p->mean[j]) / (double)p->count;
    }
    *value = dot(image, axis, e->dim);
    for (size_t j = 0; j < e->dim; j++)
        squares += (image[j] - *value * axis[j]) * (image[j] - *value * axis[j]);
    free(image);
    free(row);
    return sqrt(squares);
}

static double trace_of(const sample *e, const dt_projection *p)
{
    double *row = malloc(e->dim * sizeof *row), sum = 0;
    for (size_t i = 0; i < p->count; i++) {
        unit(row_of(e, &p->points[i]), e->dim, row);
        for (size_t j = 0; j < e->dim; j++)
            sum += (row[j] - p->mean[j]) * (row[j] - p->mean[j]) / (double)p->count;
    }
    free(row);
    return sum;
}

static void check_axes(const sample *e, const dt_projection *p)
{
    size_t dim = e->dim;
    const double *x = p->axes, *y = p->axes + dim;
    ok(fabs(dot(x, x, dim) - 1) < 1e-12 && fabs(dot(y, y, dim) - 1) < 1e-12 && fabs(dot(x, y, dim)) < 1e-12,
       "axes are orthonormal");
    double first, second, most = 0, trace = trace_of(e, p);
    double off_first = residual(e, p, x, &first), off_second = residual(e, p, y, &second);
    ok(off_first < 1e-9 * trace && off_second < 1e-9 * trace, "axes are eigenvectors (%.2g, %.2g)", off_first,
       off_second);
    ok(fabs(p->explained[0] - first / trace) < 1e-12 && fabs(p->explained[1] - second / trace) < 1e-12 &&
           first >= second,
       "they explain %.3f and %.3f", p->explained[0], p->explained[1]);
    double *other = malloc(dim * sizeof *other);
    for (uint64_t trial = 0; trial < 20 + dim;
         trial++) { /* no direction across both has more than the second */
        for (size_t j = 0; j < dim; j++)
            other[j] = trial < dim ? j == trial : dt_uniform(9, trial, j) - 0.5;
        double ax = dot(other, x, dim), ay = dot(other, y, dim), value;
        for (size_t j = 0; j < dim; j++)
            other[j] -= ax * x[j] + ay * y[j];
        double length = sqrt(dot(other, other, dim));
        for (size_t j = 0; j < dim; j++)
            other[j] /= length;
        residual(e, p, other, &value);
        most = length > 1e-6 ? larger(most, value) : most;
    }
    ok(most <= second * (1 + 1e-9), "nothing across them has more: %.3g, %.3g", most, second);
    free(other);
}

static void by_definition(size_t n, size_t m, size_t dim)
{
    sample e = make(n, m, dim);
    dt_projection p;
    ok(dt_projection_make(
           &p,
           &(dt_towers){.n = n, .m = m, .dim = dim, .images = e.images, .texts = e.texts, .owners = e.owners},
           &error),
       "%zu images, %zu texts of width %zu", n, m, dim);
    size_t images = n < 1000 ? n : 1000, texts = m < 1000 ? m : 1000, misplaced = 0, off = 0;
    double *row = malloc(3 * dim * sizeof *row), *centres = row + dim, worst = 0, cosine = 0;
    memset(centres, 0, 2 * dim * sizeof *centres);
    for (size_t i = 0; i < n + m; i++) {
        unit(i < n ? e.images + i * dim : e.texts + (i - n) * dim, dim, row);
        for (size_t j = 0; j < dim; j++)
            centres[j] += i < n ? row[j] / (double)n : -row[j] / (double)m;
    }
    for (size_t i = 0; i < m; i++) {
        unit(e.images + (size_t)e.owners[i] * dim, dim, row);
        unit(e.texts + i * dim, dim, row + 2 * dim);
        cosine += dot(row, row + 2 * dim, dim) / (double)m;
    }
    ok(fabs(p.gap - sqrt(dot(centres, centres, dim))) < 1e-12, "gap %g is the centres' distance", p.gap);
    ok(p.pairs == m && fabs(p.cosine - cosine) < 1e-12, "cosine %g is the pairs' mean", p.cosine);
    for (size_t i = 0; i < p.count; i++) {
        bool is_text = i >= images;
        size_t k = is_text ? i - images : i, of = is_text ? m : n, count = is_text ? texts : images;
        misplaced += p.points[i].is_text != is_text || p.points[i].at != (2 * k + 1) * of / (2 * count);
        off += p.points[i].at >= of || (k && p.points[i].at <= p.points[i - 1].at);
        unit(row_of(&e, &p.points[i]), dim, row);
        for (size_t j = 0; j < dim; j++)
            row[j] -= p.mean[j];
        worst = larger(worst, fabs(dot(row, p.axes, dim) - p.points[i].x));
        worst = larger(worst, fabs(dot(row, p.axes + dim, dim) - p.points[i].y));
    }
    ok(p.count == images + texts && !misplaced && !off, "%zu points, evenly chosen", p.count);
    ok(worst < 1e-12, "points are projections (%.2g)", worst);
    ok(dot(centres, p.axes, dim) > 0 &&
           (fabs(dot(centres, p.axes + dim, dim)) < 1e-9 * p.gap || dot(centres, p.axes + dim, dim) > 0),
       "images lie towards the positive ends");
    check_axes(&e, &p);
    free(row);
    dt_projection_free(&p);
    drop(&e);
}

/* ---- corners ---- */

static void corners(void)
{
    const float same[] = {1, 2, 3, 1, 2, 3, 2, 4, 6};
    dt_projection p;
    ok(dt_projection_make(&p, &(dt_towers){.n = 2, .m = 1, .dim = 3, .images = same, .texts = same + 6},
                          &error) &&
           p.explained[0] == 0 && fabs(p.points[2].x) < 1e-12 && p.gap < 1e-12 && p.pairs == 0 &&
           isnan(p.cosine),
       "all embeddings equal");
    dt_projection_free(&p);
    const float line[] = {1, 2, -1, -7};
    ok(dt_projection_make(&p, &(dt_towers){.n = 4, .dim = 1, .images = line}, &error) && isnan(p.gap) &&
           fabs(p.explained[0] - 1) < 1e-12 && p.explained[1] == 0 && fabs(p.points[0].x - 1) < 1e-12 &&
           fabs(p.points[3].x + 1) < 1e-12 && p.points[3].y == 0,
       "images only, of one dimension");
    dt_projection_free(&p);
}

static const json_t *at(const json_t *map, size_t i)
{
    return json_array_get(json_object_get(map, "points"), i);
}

static bool has_text(const json_t *object, const char *key, const char *text)
{
    const char *got = json_string_value(json_object_get(object, key));
    return got && !strcmp(got, text);
}

static json_int_t whole(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? json_integer_value(value) : -999;
}

static void entry(void)
{
    sample e = make(6, 4, 7);
    const char *const classes[] = {"cat", "dog", "ice cream"};
    const char *const words[] = {"a cat", "bad \xff text", "a dog", "another"};
    dt_towers towers = {.n = 6,
                        .m = 4,
                        .dim = 7,
                        .images = e.images,
                        .texts = e.texts,
                        .labels = e.labels,
                        .indices = e.indices,
                        .words = words,
                        .owners = e.owners,
                        .classes = classes,
                        .class_count = 3};
    json_t *map = dt_map_json(&towers, "a set", "packed/set.lmdb", &error);
    dt_projection p;
    ok(map && dt_projection_make(&p, &towers, &error), "an entry with captions");
    ok(has_text(map, "name", "a set") && has_text(map, "store", "packed/set.lmdb") && whole(map, "n") == 4 &&
           json_array_size(json_object_get(map, "classes")) == 3 &&
           json_array_size(json_object_get(map, "points")) == 10,
       "its name, store, pairs, classes, points");
    ok(json_number_value(json_object_get(map, "gap")) == p.gap &&
           json_number_value(json_object_get(map, "cosine")) == p.cosine &&
           json_number_value(json_array_get(json_object_get(map, "explained"), 1)) == p.explained[1],
       "its measures");
    ok(fabs(json_number_value(json_object_get(at(map, 3), "x")) - p.points[3].x) <= 5e-7 &&
           fabs(json_number_value(json_object_get(at(map, 8), "y")) - p.points[8].y) <= 5e-7,
       "coordinates");
    ok(has_text(at(map, 3), "kind", "image") && whole(at(map, 3), "label") == 2 &&
           whole(at(map, 3), "index") == 37 && !json_object_get(at(map, 3), "text"),
       "an image");
    ok(has_text(at(map, 8), "kind", "text") && has_text(at(map, 8), "text", "a dog") &&
           whole(at(map, 8), "index") == 10 * e.owners[2] + 7 &&
           whole(at(map, 8), "label") == e.labels[e.owners[2]],
       "a text has its image's label and index");
    ok(!json_object_get(at(map, 7), "text"), "a text that is not UTF-8 is left out");
    dt_projection_free(&p);
    json_decref(map);
    towers.owners = NULL, towers.indices = NULL;
    map = dt_map_json(&towers, "prompts", NULL, &error);
    ok(map && !json_object_get(map, "store") && whole(map, "n") == 4,
       "prompts: pairs are the images with a label");
    ok(whole(at(map, 6), "label") == 0 && whole(at(map, 8), "label") == 2 &&
           whole(at(map, 9), "label") == -1 && !json_object_get(at(map, 8), "index") &&
           whole(at(map, 3), "index") == 3,
       "a prompt has its class and no image");
    json_decref(map);
    ok(!dt_map_json(&towers, "\xff", NULL, &error) && strstr(error.message, "UTF-8"),
       "a name that is not UTF-8");
    drop(&e);
}

/* A map of so many classes goes into an evaluation file, which is read back. */
static void many_classes(size_t count, bool told)
{
    enum { MOST = DT_FINDINGS_MOST + 1 };
    const char *path = in("evaluation.json");
    static const char *classes[MOST];
    sample e = make(6, 4, 7);
    for (size_t i = 0; i < count; i++)
        classes[i] = "class";
    json_t *map = dt_map_json(&(dt_towers){.n = 6, .m = 4, .dim = 7, .images = e.images, .texts = e.texts, .labels = e.labels,
                                           .classes = classes, .class_count = count},
                              "map", NULL, &error);
    json_t *found = json_pack("{s:[O]}", "maps", map);
    dt_findings findings;
    bool good = dt_findings_merge(path, found, &error) && dt_findings_read(&findings, path, &error);
    ok(good, "a map of %zu classes can be read%s%s", count, good ? "" : ": ", good ? "" : error.message);
    ok(json_array_size(json_object_get(map, "classes")) == (told ? count : 0) &&
           whole(at(map, 3), "label") == (told ? 2 : -1) && whole(at(map, 7), "label") == (told ? 1 : -1) &&
           whole(map, "n") == 4,
       "its classes are %s", told ? "told" : "left out");
    if (good)
        dt_findings_free(&findings);
    json_decref(found);
    json_decref(map);
    drop(&e);
}

static void refuse(const char *what, const char *message, dt_towers towers)
{
    error.message[0] = 0;
    json_t *map = dt_map_json(&towers, "map", NULL, &error);
    ok(!map && strstr(error.message, message), "%s: %s", what, error.message);
    json_decref(map);
}

static void refused(void)
{
    sample e = make(3, 2, 4);
    const char *const classes[] = {"one", "two"};
    const dt_towers good = {
        .n = 3, .m = 2, .dim = 4, .images = e.images, .texts = e.texts, .owners = e.owners};
    dt_towers bad = good;
    bad.n = bad.m = 0;
    refuse("nothing", "0 images and 0 texts", bad);
    bad = good, bad.dim = 0;
    refuse("no width", "width 0", bad);
    bad = good, bad.labels = e.labels, bad.classes = classes, bad.class_count = 1;
    refuse("a label beyond the classes", "image 2 has label 1; expected -1 to 0", bad);
    e.owners[1] = 3;
    refuse("an owner beyond the images", "text 1 belongs to image 3", good);
    e.owners[1] = -1;
    refuse("no owner", "text 1 belongs to image -1", good);
    e.owners[1] = 0;
    e.images[2 * 4 + 1] = NAN;
    refuse("an image that is no number", "embedding of image 2 is zero or not finite", good);
    e.images[2 * 4 + 1] = 0;
    e.texts[5] = INFINITY;
    refuse("a text that is infinite", "embedding of text 1", good);
    memset(e.texts, 0, 4 * sizeof *e.texts);
    refuse("a text without length", "embedding of text 0", good);
    drop(&e);
}

int main(void)
{
    plain_axes();
    by_definition(3, 2, 3);
    by_definition(40, 25, 9);
    by_definition(1501, 707, 33);
    by_definition(200, 2500, 96);
    corners();
    entry();
    many_classes(DT_FINDINGS_MOST, true);
    many_classes(DT_FINDINGS_MOST + 1, false);
    refused();
    return done();
}
