/* Pooling: values and gradients against the definition in float64, against stored references, against
 * differences. */
#include "tests/op_bf16.h"
#include "tests/op_golden.h"

typedef enum { MAXIMUM, AVERAGE, ADAPTIVE } kind;

typedef struct row {
    const char *name;
    kind kind;
    int64_t batch, height, width, channels;
    dt_pool_form form;
    int to[2]; /* adaptive */
} row;

static dt_tensor *build(dt_tensor **x, const void *context)
{
    const row *r = context;
    return r->kind == MAXIMUM   ? dt_max_pool2d(x[0], r->form)
           : r->kind == AVERAGE ? dt_avg_pool2d(x[0], r->form)
                                : dt_adaptive_avg_pool2d(x[0], r->to[0], r->to[1]);
}

/* The window of place i along an axis of n: from first, `length` places, of which some may be padding. */
static int64_t window(const row *r, int axis, int64_t i, int64_t n, int64_t *length)
{
    if (r->kind != ADAPTIVE) {
        *length = r->form.kernel[axis];
        return i * r->form.stride[axis] - r->form.padding[axis];
    }
    int64_t to = r->to[axis], first = i * n / to;
    *length = ((i + 1) * n + to - 1) / to - first;
    return first;
}

/* One element of y into want, and its part of the gradient into dx. */
static void element(const row *r, const dt_shape *y, size_t at, const float *x, double dy, float *want,
                    double *dx)
{
    int64_t channel = (int64_t)at % r->channels, pixel = (int64_t)at / r->channels, length[2], best = -1,
            count = 0;
    int64_t n = pixel / (y->dim[1] * y->dim[2]);
    int64_t top = window(r, 0, pixel / y->dim[2] % y->dim[1], r->height, &length[0]);
    int64_t left = window(r, 1, pixel % y->dim[2], r->width, &length[1]);
    int64_t member[512];
    double sum = 0;
    for (int64_t i = top; i < top + length[0]; i++)
        for (int64_t j = left; j < left + length[1]; j++) {
            if (i < 0 || i >= r->height || j < 0 || j >= r->width)
                continue;
            int64_t place = ((n * r->height + i) * r->width + j) * r->channels + channel;
            member[count++] = place;
            sum += x[place];
            if (best < 0 || x[place] > x[best])
                best = place;
        }
    double area = (double)(length[0] * length[1]);
    want[at] = r->kind == MAXIMUM ? x[best] : (float)(sum / area);
    if (r->kind == MAXIMUM)
        dx[best] += dy;
    else
        for (int64_t k = 0; k < count; k++)
            dx[member[k]] += dy / area;
}

/* Half-integers in random order, all different: a maximum is clear, and stays so under the steps of
 * differences. */
static float *distinct(size_t n)
{
    float *x = malloc(sizeof *x * n);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)i * 0.5f - (float)n * 0.25f;
    for (size_t i = n - 1; i > 0; i--) {
        size_t j = dt_random_block(5, 1, 0, i).v[0] % (i + 1);
        float t = x[i];
        x[i] = x[j], x[j] = t;
    }
    return x;
}

static void against_definition(const row *r)
{
    const dt_shape shape = dt_dims(r->batch, r->height, r->width, r->channels);
    const size_t n = (size_t)dt_count(&shape);
    float *x = r->kind == MAXIMUM ? distinct(n) : NULL;
    op_case c = {.name = r->name, .build = build, .context = r, .inputs = 1, .shape = {shape}, .value = {x}};
    op_run run;
    if (ok(op_start(&run, &c, NULL), "%s runs", r->name)) {
        float *y = calloc(run.count, sizeof *y), *dx = calloc(n, sizeof *dx);
        double *sum = calloc(n, sizeof *sum), most = 0;
        for (size_t i = 0; i < run.count; i++)
            element(r, &run.result->shape, i, run.value[0], run.dy[i], y, sum);
        for (size_t i = 0; i < n; i++) {
            dx[i] = (float)sum[i];
            most = fmax(most, fabs(sum[i]));
        }
        char label[128];
        snprintf(label, sizeof label, "%s: value", r->name);
        near(label, run.y, y, run.count, r->kind == MAXIMUM ? 0 : 0x1p-20);
        snprintf(label, sizeof label, "%s: gradient", r->name);
        near(label, run.dx[0], dx, n, 0x1p-21 * most + 1e-30);
        op_differences(&run);
        free(y);
        free(dx);
        free(sum);
    } else {
        printf("# %s\n", run.error);
    }
    op_end(&run);
    free(x);
}

#define FORM(k, s, p) {.kernel = {k, k}, .stride = {s, s}, .padding = {p, p}}
#define UNEVEN        {.kernel = {3, 2}, .stride = {1, 3}, .padding = {1, 0}}
static const row rows[] = {
    {"max 2x2", MAXIMUM, 2, 6, 4, 3, FORM(2, 2, 0), {0}},
    {"max 3x3, stride 2, padding 1", MAXIMUM, 2, 7, 9, 5, FORM(3, 2, 1), {0}},
    {"max with overlap, 33 channels", MAXIMUM, 1, 7, 5, 33, FORM(3, 1, 1), {0}},
    {"max, 8 channels", MAXIMUM, 2, 7, 5, 8, FORM(3, 2, 1), {0}},
    {"max with gaps", MAXIMUM, 2, 8, 11, 2, FORM(2, 3, 0), {0}},
    {"max, uneven", MAXIMUM, 2, 5, 11, 4, UNEVEN, {0}},
    {"max of one pixel", MAXIMUM, 1, 1, 1, 1, FORM(1, 1, 0), {0}},
    {"max of the whole image", MAXIMUM, 3, 5, 5, 7, FORM(5, 1, 0), {0}},
    {"average 2x2", AVERAGE, 2, 6, 4, 3, FORM(2, 2, 0), {0}},
    {"average 3x3, stride 2, padding 1", AVERAGE, 2, 7, 9, 5, FORM(3, 2, 1), {0}},
    {"average with overlap", AVERAGE, 1, 7, 5, 33, FORM(5, 1, 2), {0}},
    {"average, 12 channels", AVERAGE, 2, 7, 5, 12, FORM(3, 2, 1), {0}},
    {"average with gaps and a rest", AVERAGE, 2, 8, 11, 2, FORM(2, 3, 0), {0}},
    {"average, uneven", AVERAGE, 2, 5, 11, 4, UNEVEN, {0}},
    {"adaptive to one pixel", ADAPTIVE, 3, 7, 7, 17, FORM(0, 0, 0), {1, 1}},
    {"adaptive, 8 channels", ADAPTIVE, 2, 7, 6, 8, FORM(0, 0, 0), {2, 4}},
    {"adaptive to cells that overlap", ADAPTIVE, 2, 7, 10, 3, FORM(0, 0, 0), {3, 4}},
    {"adaptive to more cells than pixels", ADAPTIVE, 2, 3, 5, 2, FORM(0, 0, 0), {7, 9}},
    {"adaptive to the same size", ADAPTIVE, 1, 4, 3, 2, FORM(0, 0, 0), {4, 3}},
};

/* Values are drawn, and may be equal after rounding, as for the CPU that gets the same. */
static void narrow(const row *r)
{
    op_case c = {.name = r->name,
                 .build = build,
                 .context = r,
                 .inputs = 1,
                 .shape = {dt_dims(r->batch, r->height, r->width, r->channels)}};
    op_bf16(&c, 0);
}

/* ---- Choices of the maximum ---- */

static void choices(void)
{
    const row r = {"choice", MAXIMUM, 1, 2, 4, 1, FORM(2, 2, 0), {0}};
    const float x[] = {3, 3, NAN, 7, 3, 3, 8, -INFINITY}, dy[] = {5, 6},
                low[] = {-INFINITY, -INFINITY, 0, 0, -INFINITY, -INFINITY, 0, 0};
    op_case c = {.name = "choice",
                 .build = build,
                 .context = &r,
                 .inputs = 1,
                 .shape = {dt_dims(1, 2, 4, 1)},
                 .value = {x},
                 .dy = dy};
    op_run run;
    ok(op_start(&run, &c, NULL), "equal maxima and a NaN run");
    near("the first of equal maxima takes the gradient, a NaN wins", run.dx[0],
         ((const float[]){5, 0, 6, 0, 0, 0, 0, 0}), 8, 0);
    ok(run.y[0] == 3 && isnan(run.y[1]), "a maximum over a NaN is NaN");
    op_end(&run);
    c.value[0] = low;
    ok(op_start(&run, &c, NULL) && run.y[0] == -INFINITY && run.dx[0][0] == 5,
       "a window of minus infinity is one");
    op_end(&run);
}

/* The gradient as a function of x and its upstream, so that differences look at the gradient of the
 * gradient. */
static dt_tensor *gradient(dt_tensor **x, const void *context)
{
    dt_tensor *y = build(x, context), *dx;
    dt_gradient_from(&y, &x[1], 1, x, 1, &dx);
    return dx;
}

static void second_order(kind k, const char *name)
{
    const row r = {name, k, 2, 7, 9, 5, FORM(3, 2, 1), {4, 5}};
    const dt_shape shape = dt_dims(2, 7, 9, 5);
    float *x = distinct((size_t)dt_count(&shape));
    op_case c = {.name = name,
                 .build = gradient,
                 .context = &r,
                 .inputs = 2,
                 .shape = {shape, dt_dims(2, 4, 5, 5)},
                 .value = {x}};
    op_check(&c, "the gradient can be differentiated");
    free(x);
}

/* ---- Mistakes ---- */

static void refused(const char *name, kind k, dt_shape x, dt_pool_form form, int height, const char *words)
{
    const row r = {name, k, 0, 0, 0, 0, form, {height, 2}};
    dt_graph *g = dt_graph_new();
    dt_tensor *t = dt_input(g, "x", DT_F32, x);
    build(&t, &r);
    ok(says(dt_graph_error(g), words), "%s is refused", name);
    dt_graph_free(g);
}

static void mistakes(void)
{
    const dt_shape x = dt_dims(2, 5, 6, 3);
    const dt_pool_form f = FORM(2, 2, 0);
    refused("an empty batch", MAXIMUM, dt_dims(0, 5, 6, 3), f, 0, "at least 1");
    refused("rank 3", MAXIMUM, dt_dims(5, 6, 3), f, 0, "[5, 6, 3]");
    refused("rank 3, adaptive", ADAPTIVE, dt_dims(5, 6, 3), f, 1, "[5, 6, 3]");
    refused("kernel 0", AVERAGE, x, (dt_pool_form)FORM(0, 1, 0), 0, "kernel 0");
    refused("stride 0", MAXIMUM, x, (dt_pool_form)FORM(2, 0, 0), 0, "stride 0");
    refused("padding above half the kernel", MAXIMUM, x, (dt_pool_form)FORM(3, 1, 2), 0, "half the kernel");
    refused("negative padding", AVERAGE, x, (dt_pool_form)FORM(3, 1, -1), 0, "padding -1");
    refused("a kernel larger than the image", AVERAGE, x, (dt_pool_form)FORM(6, 1, 0), 0, "larger than");
    refused("an image of too many pixels", MAXIMUM, dt_dims(1, 1 << 16, 1 << 15, 1), f, 0, "int32");
    refused("adaptive to no rows", ADAPTIVE, x, f, 0, "0 x 2");
}

/* ---- Stored references ---- */

static dt_pool_form form_of(const void *s)
{
    dt_pool_form f;
    for (size_t i = 0; i < 2; i++) {
        f.kernel[i] = op_setting(s, "kernel", i, 0);
        f.stride[i] = op_setting(s, "stride", i, 0);
        f.padding[i] = op_setting(s, "padding", i, 0);
    }
    return f;
}

static dt_tensor *stored_max(dt_tensor **x, const void *s)
{
    return dt_max_pool2d(x[0], form_of(s));
}

static dt_tensor *stored_average(dt_tensor **x, const void *s)
{
    return dt_avg_pool2d(x[0], form_of(s));
}

static dt_tensor *stored_adaptive(dt_tensor **x, const void *s)
{
    return dt_adaptive_avg_pool2d(x[0], op_setting(s, "output", 0, 0), op_setting(s, "output", 1, 0));
}

int main(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        against_definition(&rows[i]);
        narrow(&rows[i]);
    }
    choices();
    second_order(MAXIMUM, "max");
    second_order(AVERAGE, "average");
    second_order(ADAPTIVE, "adaptive");
    mistakes();
    op_golden("max_pool2d", stored_max);
    op_golden("avg_pool2d", stored_average);
    op_golden("adaptive_avg_pool2d", stored_adaptive);
    return done();
}
