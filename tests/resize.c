/* Resizing: values and gradients against the definition in float64, against stored references, against
 * differences. */
#include "tests/op_bf16.h"
#include "tests/op_golden.h"

typedef struct row {
    const char *name;
    int64_t batch, height, width, channels;
    int to[2];
    dt_resize_kind how;
    bool align_corners;
} row;

static dt_tensor *build(dt_tensor **x, const void *context)
{
    const row *r = context;
    return dt_resize(x[0], r->to[0], r->to[1], r->how, r->align_corners);
}

/* The kernel of each method at distance d, in pixels of x. */
static double kernel(dt_resize_kind how, double d)
{
    const double a = -0.75;
    d = fabs(d);
    if (how == DT_RESIZE_BILINEAR)
        return d < 1 ? 1 - d : 0;
    if (d <= 1)
        return (a + 2) * d * d * d - (a + 3) * d * d + 1;
    return d < 2 ? a * d * d * d - 5 * a * d * d + 8 * a * d - 4 * a : 0;
}

/* The weight of place k of n in place i of `to`: the kernel over an axis whose border places go on for
 * ever. */
static double weight(const row *r, int64_t i, int64_t to, int64_t k, int64_t n)
{
    if (r->how == DT_RESIZE_NEAREST)
        return i * n / to == k;
    double at = r->align_corners ? (to > 1 ? (double)(i * (n - 1)) / (double)(to - 1) : 0)
                                 : ((double)i + 0.5) * (double)n / (double)to - 0.5;
    double sum = 0;
    for (int64_t place = -3; place < n + 3; place++)
        if ((place < 0 ? 0 : place >= n ? n - 1 : place) == k)
            sum += kernel(r->how, at - (double)place);
    return sum;
}

/* One element of y into want, and its part of the gradient into dx. */
static void element(const row *r, size_t at, const float *x, double dy, float *want, double *dx)
{
    int64_t channel = (int64_t)at % r->channels, pixel = (int64_t)at / r->channels;
    int64_t n = pixel / (r->to[0] * r->to[1]), i = pixel / r->to[1] % r->to[0], j = pixel % r->to[1];
    double sum = 0;
    for (int64_t a = 0; a < r->height; a++)
        for (int64_t b = 0; b < r->width; b++) {
            double w = weight(r, i, r->to[0], a, r->height) * weight(r, j, r->to[1], b, r->width);
            int64_t place = ((n * r->height + a) * r->width + b) * r->channels + channel;
            sum += w * x[place];
            dx[place] += w * dy;
        }
    want[at] = (float)sum;
}

static void against_definition(const row *r)
{
    const dt_shape shape = dt_dims(r->batch, r->height, r->width, r->channels);
    const size_t n = (size_t)dt_count(&shape);
    op_case c = {.name = r->name, .build = build, .context = r, .inputs = 1, .shape = {shape}};
    op_run run;
    if (ok(op_start(&run, &c, NULL), "%s runs", r->name)) {
        float *y = calloc(run.count, sizeof *y), *dx = calloc(n, sizeof *dx);
        double *sum = calloc(n, sizeof *sum), most = 1;
        for (size_t i = 0; i < run.count; i++)
            element(r, i, run.value[0], run.dy[i], y, sum);
        for (size_t i = 0; i < n; i++) {
            dx[i] = (float)sum[i];
            most = fmax(most, fabs(sum[i]));
        }
        /* Values are about 4 at most; weights are rounded once, and there are at most 16 terms in a value. */
        char label[128];
        snprintf(label, sizeof label, "%s: value", r->name);
        near(label, run.y, y, run.count, r->how == DT_RESIZE_NEAREST ? 0 : 0x1p-19);
        snprintf(label, sizeof label, "%s: gradient", r->name);
        near(label, run.dx[0], dx, n, 0x1p-20 * most);
        op_differences(&run);
        free(y);
        free(dx);
        free(sum);
    } else {
        printf("# %s\n", run.error);
    }
    op_end(&run);
}

static const row rows[] = {
    {"nearest, twice as large", 2, 3, 5, 3, {6, 10}, DT_RESIZE_NEAREST, false},
    {"nearest, 8 channels", 2, 3, 5, 8, {6, 10}, DT_RESIZE_NEAREST, false},
    {"nearest, uneven", 1, 7, 5, 2, {11, 3}, DT_RESIZE_NEAREST, false},
    {"nearest, from one pixel", 3, 1, 1, 17, {4, 5}, DT_RESIZE_NEAREST, false},
    {"bilinear, twice as large", 2, 3, 5, 3, {6, 10}, DT_RESIZE_BILINEAR, false},
    {"bilinear, smaller", 1, 11, 9, 5, {4, 3}, DT_RESIZE_BILINEAR, false},
    {"bilinear, much smaller", 1, 23, 19, 2, {2, 1}, DT_RESIZE_BILINEAR, false},
    {"bilinear, corners", 2, 7, 5, 4, {13, 9}, DT_RESIZE_BILINEAR, true},
    {"bilinear, corners, to one row", 2, 7, 5, 4, {1, 9}, DT_RESIZE_BILINEAR, true},
    {"bilinear, from one row", 2, 1, 5, 33, {3, 7}, DT_RESIZE_BILINEAR, false},
    {"bicubic, larger", 1, 7, 5, 2, {11, 8}, DT_RESIZE_BICUBIC, false},
    {"bicubic, smaller", 2, 13, 9, 3, {5, 4}, DT_RESIZE_BICUBIC, false},
    {"bicubic, corners", 1, 5, 5, 16, {8, 3}, DT_RESIZE_BICUBIC, true},
    {"bicubic, from two pixels", 1, 2, 1, 1, {7, 3}, DT_RESIZE_BICUBIC, false},
};

static void narrow(const row *r)
{
    op_case c = {.name = r->name,
                 .build = build,
                 .context = r,
                 .inputs = 1,
                 .shape = {dt_dims(r->batch, r->height, r->width, r->channels)}};
    op_bf16(&c, 0);
}

/* A linear pair: resizing is its own gradient's gradient. */
static dt_tensor *gradient(dt_tensor **x, const void *context)
{
    dt_tensor *y = build(x, context), *dx;
    dt_gradient_from(&y, &x[1], 1, x, 1, &dx);
    return dx;
}

static void second_order(void)
{
    const row r = {"gradient of bicubic", 2, 5, 4, 3, {7, 9}, DT_RESIZE_BICUBIC, false};
    op_case c = {.name = r.name,
                 .build = gradient,
                 .context = &r,
                 .inputs = 2,
                 .shape = {dt_dims(2, 5, 4, 3), dt_dims(2, 7, 9, 3)}};
    op_check(&c, "the gradient can be differentiated");
}

static void refused(const char *name, dt_shape x, int height, dt_resize_kind how, bool align,
                    const char *words)
{
    dt_graph *g = dt_graph_new();
    dt_resize(dt_input(g, "x", DT_F32, x), height, 3, how, align);
    ok(says(dt_graph_error(g), words), "%s is refused", name);
    dt_graph_free(g);
}

static void mistakes(void)
{
    const dt_shape x = dt_dims(2, 5, 6, 3);
    refused("an empty batch", dt_dims(0, 5, 6, 3), 2, DT_RESIZE_BILINEAR, false, "at least 1");
    refused("rank 3", dt_dims(5, 6, 3), 2, DT_RESIZE_BILINEAR, false, "[5, 6, 3]");
    refused("no rows", x, 0, DT_RESIZE_BILINEAR, false, "0 x 3");
    refused("nearest with corners", x, 2, DT_RESIZE_NEAREST, true, "align_corners");
    refused("an unknown method", x, 2, (dt_resize_kind)9, false, "unknown");
    dt_graph *g = dt_graph_new();
    dt_tensor *t = dt_input(g, "x", DT_F32, x);
    ok(dt_resize(t, 5, 6, DT_RESIZE_BICUBIC, false) == t, "the same size is the same tensor");
    dt_graph_free(g);
}

static dt_tensor *stored(dt_tensor **x, const void *s, dt_resize_kind how)
{
    return dt_resize(x[0], op_setting(s, "height", 0, 0), op_setting(s, "width", 0, 0), how,
                     op_setting(s, "align_corners", 0, 0));
}

static dt_tensor *stored_nearest(dt_tensor **x, const void *s)
{
    return stored(x, s, DT_RESIZE_NEAREST);
}

static dt_tensor *stored_bilinear(dt_tensor **x, const void *s)
{
    return stored(x, s, DT_RESIZE_BILINEAR);
}

static dt_tensor *stored_bicubic(dt_tensor **x, const void *s)
{
    return stored(x, s, DT_RESIZE_BICUBIC);
}

int main(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        against_definition(&rows[i]);
        narrow(&rows[i]);
    }
    second_order();
    mistakes();
    op_golden("nearest", stored_nearest);
    op_golden("bilinear", stored_bilinear);
    op_golden("bicubic", stored_bicubic);
    return done();
}
