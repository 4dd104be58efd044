/* Convolutions: values and gradients against the definition in float64, against stored references, against
 * differences, and a gradient of a gradient. */
#include "kernels/cpu/onednn.h"
#include "kernels/planning.h"
#include "tests/op_bf16.h"
#include "tests/op_golden.h"

typedef struct row {
    const char *name;
    int64_t batch, height, width, in, out, kh, kw;
    dt_conv_form form;
    int output_padding[2];
    bool transposed;
} row;

/* The forward convolution that a row stands for: for a transposed one, x and y change places. */
typedef struct plain {
    dt_shape x, weight, y;
    dt_conv_form form;
} plain;

static dt_tensor *build(dt_tensor **x, const void *context)
{
    const row *r = context;
    return r->transposed ? dt_conv_transpose2d(x[0], x[1], x[2], r->form, r->output_padding)
                         : dt_conv2d(x[0], x[1], x[2], r->form);
}

static int64_t at(const dt_shape *s, int64_t a, int64_t b, int64_t c, int64_t d)
{
    return ((a * s->dim[1] + b) * s->dim[2] + c) * s->dim[3] + d;
}

typedef enum { OF_X, OF_WEIGHT, OF_Y } tensor;

/* Sums, over every product x * weight that goes into an element of y, the product of the two other tensors
 * into `sum`, and of their absolute values into `size`: the value or one of the gradients, by the
 * definition. */
static void define(const plain *p, tensor which, const float *x, const float *weight, const float *y,
                   double *sum, double *size)
{
    const dt_conv_form *f = &p->form;
    const int64_t in = p->weight.dim[1], out = p->y.dim[3] / f->groups;
    for (int64_t n = 0; n < p->y.dim[0]; n++)
        for (int64_t i = 0; i < p->y.dim[1] * p->y.dim[2]; i++)
            for (int64_t k = 0; k < p->weight.dim[2] * p->weight.dim[3]; k++) {
                int64_t oy = i / p->y.dim[2], ox = i % p->y.dim[2], ky = k / p->weight.dim[3],
                        kx = k % p->weight.dim[3];
                int64_t iy = oy * f->stride[0] - f->padding[0] + ky * f->dilation[0];
                int64_t ix = ox * f->stride[1] - f->padding[1] + kx * f->dilation[1];
                if (iy < 0 || iy >= p->x.dim[1] || ix < 0 || ix >= p->x.dim[2])
                    continue;
                for (int64_t o = 0; o < p->y.dim[3]; o++)
                    for (int64_t c = 0; c < in; c++) {
                        int64_t a = at(&p->x, n, iy, ix, o / out * in + c), w = at(&p->weight, o, c, ky, kx);
                        int64_t b = at(&p->y, n, oy, ox, o), to = which == OF_X        ? a
                                                                  : which == OF_WEIGHT ? w
                                                                                       : b;
                        double term = (which == OF_X ? 1.0 : x[a]) * (which == OF_WEIGHT ? 1.0 : weight[w]) *
                                      (which == OF_Y ? 1.0 : y[b]);
                        sum[to] += term;
                        size[to] += fabs(term);
                    }
            }
}

/* Compares with the definition. float32 sums of n terms of total size S are off by about log2(n) / 2
 * roundings of S where they are taken in blocks; 16 roundings, 2^-20 S, leave room for other orders. */
static void check(const char *name, const char *what, const plain *p, tensor which, const float *x,
                  const float *weight, const float *y, const float *bias, const float *got)
{
    const dt_shape *s = which == OF_X ? &p->x : which == OF_WEIGHT ? &p->weight : &p->y;
    const size_t n = (size_t)dt_count(s);
    const int64_t channels = s->dim[3];
    double *sum = calloc(n, sizeof *sum), *size = calloc(n, sizeof *size), most = 0;
    float *want = calloc(n, sizeof *want);
    char label[128];
    define(p, which, x, weight, y, sum, size);
    for (size_t i = 0; i < n; i++) {
        double b = bias ? bias[(int64_t)i % channels] : 0;
        want[i] = (float)(sum[i] + b);
        most = fmax(most, size[i] + fabs(b));
    }
    snprintf(label, sizeof label, "%s: %s", name, what);
    near(label, got, want, n, 0x1p-20 * most);
    free(sum);
    free(size);
    free(want);
}

static void against_definition(const row *r)
{
    const int64_t first = r->transposed ? r->in : r->out,
                  second = (r->transposed ? r->out : r->in) / r->form.groups;
    op_case c = {.name = r->name,
                 .build = build,
                 .context = r,
                 .inputs = 3,
                 .shape = {dt_dims(r->batch, r->height, r->width, r->in),
                           dt_dims(first, second, r->kh, r->kw), dt_dims(r->out)}};
    op_run run;
    if (!ok(op_start(&run, &c, NULL), "%s runs", r->name)) {
        printf("# %s\n", run.error);
        op_end(&run);
        return;
    }
    plain p = {c.shape[0], c.shape[1], run.result->shape, r->form};
    const float *x = run.value[0], *weight = run.value[1], *bias = run.value[2];
    if (r->transposed) {
        p.x = run.result->shape, p.y = c.shape[0];
        check(r->name, "value", &p, OF_X, NULL, weight, x, bias, run.y);
        check(r->name, "input gradient", &p, OF_Y, run.dy, weight, NULL, NULL, run.dx[0]);
        check(r->name, "weight gradient", &p, OF_WEIGHT, run.dy, NULL, x, NULL, run.dx[1]);
    } else {
        check(r->name, "value", &p, OF_Y, x, weight, NULL, bias, run.y);
        check(r->name, "input gradient", &p, OF_X, NULL, weight, run.dy, NULL, run.dx[0]);
        check(r->name, "weight gradient", &p, OF_WEIGHT, x, NULL, run.dy, NULL, run.dx[1]);
    }
    float *y = malloc(sizeof *y * run.count);
    memcpy(y, run.y, sizeof *y * run.count);
    op_again(&run);
    ok(!memcmp(y, run.y, sizeof *y * run.count), "%s: a second run gives the same bits", r->name);
    free(y);
    op_end(&run);
}

#define UNEVEN(s0, s1, p0, p1, d0, d1, g)                                                                    \
    {.stride = {s0, s1}, .padding = {p0, p1}, .dilation = {d0, d1}, .groups = g}
#define FORM(s, p, d, g) UNEVEN(s, s, p, p, d, d, g)
static const row rows[] = {
    {"one pixel", 1, 1, 1, 1, 1, 1, 1, FORM(1, 0, 1, 1), {0}, false},
    {"3x3", 2, 7, 5, 3, 4, 3, 3, FORM(1, 1, 1, 1), {0}, false},
    {"3x3 of 17 channels", 3, 5, 7, 17, 19, 3, 3, FORM(1, 1, 1, 1), {0}, false},
    {"3x3 of 32 channels, stride 2", 2, 9, 8, 32, 48, 3, 3, FORM(2, 1, 1, 1), {0}, false},
    {"1x1", 2, 5, 3, 7, 11, 1, 1, FORM(1, 0, 1, 1), {0}, false},
    {"1x1, stride 2", 2, 6, 7, 16, 32, 1, 1, FORM(2, 0, 1, 1), {0}, false},
    {"1x1, stride 3, padding 1", 1, 5, 5, 3, 2, 1, 1, FORM(3, 1, 1, 1), {0}, false},
    {"dilation 2", 2, 9, 9, 5, 6, 3, 3, FORM(1, 2, 2, 1), {0}, false},
    {"dilation 3, stride 2", 1, 13, 11, 4, 3, 3, 2, FORM(2, 1, 3, 1), {0}, false},
    {"uneven settings", 2, 11, 13, 3, 5, 5, 2, UNEVEN(2, 3, 2, 0, 1, 2, 1), {0}, false},
    {"2 groups", 2, 6, 5, 6, 10, 3, 3, FORM(1, 1, 1, 2), {0}, false},
    {"4 groups of 16 channels", 1, 6, 5, 64, 64, 3, 3, FORM(1, 1, 1, 4), {0}, false},
    {"depthwise", 2, 7, 6, 13, 13, 3, 3, FORM(2, 1, 1, 13), {0}, false},
    {"depthwise, two filters a channel", 1, 7, 6, 3, 6, 3, 3, FORM(1, 1, 1, 3), {0}, false},
    {"padding beyond the kernel", 1, 3, 3, 2, 2, 2, 2, FORM(1, 3, 1, 1), {0}, false},
    {"patches of 8", 3, 24, 16, 3, 5, 8, 8, FORM(8, 0, 1, 1), {0}, false},
    {"patches with a margin", 2, 21, 19, 3, 4, 8, 8, FORM(8, 0, 1, 1), {0}, false},
    {"patches with gaps", 2, 23, 30, 4, 3, 7, 6, FORM(9, 0, 1, 1), {0}, false},
    {"patches of 2", 2, 7, 8, 3, 4, 2, 2, FORM(2, 0, 1, 1), {0}, false},
    {"patches of one channel", 2, 38, 52, 1, 3, 2, 2, FORM(2, 0, 1, 1), {0}, false},
    {"patches of 70 channels", 3, 4, 10, 70, 5, 2, 2, FORM(2, 0, 1, 1), {0}, false},
    {"patches of 600 channels", 1, 2, 5, 600, 3, 2, 2, FORM(2, 0, 1, 1), {0}, false},
    {"uneven patches", 2, 9, 11, 3, 4, 3, 5, UNEVEN(3, 5, 0, 0, 1, 1, 1), {0}, false},
    {"patches of a line", 2, 6, 7, 3, 4, 2, 1, UNEVEN(2, 1, 0, 0, 1, 3, 1), {0}, false},
    {"a patch of many tiles", 1, 47, 50, 2, 3, 46, 47, UNEVEN(46, 47, 0, 0, 1, 1, 1), {0}, false},
    {"one place and a margin", 3, 5, 6, 4, 3, 4, 5, FORM(3, 0, 1, 1), {0}, false},
    {"a weight of many tiles", 1, 3, 4, 70, 5, 3, 3, FORM(1, 1, 1, 1), {0}, false},
    {"a kernel of many tiles", 1, 47, 53, 3, 2, 46, 47, FORM(1, 0, 1, 1), {0}, false},
    {"patches in more than one chunk", 40, 192, 192, 3, 2, 16, 16, FORM(16, 0, 1, 1), {0}, false},
    {"transposed 3x3", 2, 5, 4, 3, 4, 3, 3, FORM(1, 1, 1, 1), {0}, true},
    {"transposed 4x4, stride 2", 2, 5, 7, 6, 5, 4, 4, FORM(2, 1, 1, 1), {0}, true},
    {"transposed, output padding", 2, 4, 5, 8, 16, 3, 3, FORM(2, 1, 1, 1), {1, 1}, true},
    {"transposed, uneven", 1, 4, 5, 4, 6, 3, 2, UNEVEN(3, 2, 0, 1, 1, 2, 2), {2, 0}, true},
    {"transposed from one pixel", 3, 1, 1, 10, 32, 4, 4, FORM(1, 0, 1, 1), {0}, true},
    {"transposed uneven patches", 2, 5, 3, 9, 70, 2, 3, UNEVEN(2, 3, 0, 0, 1, 1, 1), {0}, true},
    {"transposed patches", 2, 3, 4, 6, 3, 8, 8, FORM(8, 0, 1, 1), {3, 5}, true},
};

/* ---- In bfloat16 ---- */

static dt_tensor *build_unbiased(dt_tensor **x, const void *context)
{
    dt_tensor *both[] = {x[0], x[1], NULL};
    return build(both, context);
}

/* The gradient of the weight is a parameter's, and float32. */
static void narrow(const row *r)
{
    const int64_t first = r->transposed ? r->in : r->out, second = (r->transposed ? r->out : r->in) / r->form.groups;
    op_case c = {.name = r->name,
                 .build = build_unbiased,
                 .context = r,
                 .inputs = 2,
                 .shape = {dt_dims(r->batch, r->height, r->width, r->in), dt_dims(first, second, r->kh, r->kw)}};
    op_bf16(&c, 2);
}

/* ---- Derivatives ---- */

/* Both gradients of a convolution for inputs x, weight, upstream, in one vector. */
static dt_tensor *gradients(dt_tensor **x, const void *context)
{
    const row *r = context;
    dt_tensor *y = r->transposed ? dt_conv_transpose2d(x[0], x[1], NULL, r->form, r->output_padding)
                                 : dt_conv2d(x[0], x[1], NULL, r->form);
    dt_tensor *d[2];
    dt_gradient_from(&y, &x[2], 1, x, 2, d);
    dt_tensor *flat[] = {dt_reshape(d[0], dt_dims(-1)), dt_reshape(d[1], dt_dims(-1))};
    return dt_concat(flat, 2, 0);
}

static void second_order(const row *r, dt_shape y)
{
    const int64_t first = r->transposed ? r->in : r->out,
                  second = (r->transposed ? r->out : r->in) / r->form.groups;
    op_case c = {
        .name = r->name,
        .build = gradients,
        .context = r,
        .inputs = 3,
        .shape = {dt_dims(r->batch, r->height, r->width, r->in), dt_dims(first, second, r->kh, r->kw), y}};
    op_check(&c, "the gradient can be differentiated");
}

static void derivatives(void)
{
    const row some = {"gradients of a convolution", 2, 6, 5, 4, 6, 3, 3, FORM(2, 1, 1, 2), {0}, false};
    const row patches = {"gradients of patches", 1, 16, 17, 3, 2, 8, 8, FORM(8, 0, 1, 1), {0}, false};
    const row up = {
        "gradients of a transposed convolution", 2, 3, 4, 4, 6, 3, 3, FORM(2, 1, 1, 2), {1, 0}, true};
    second_order(&some, dt_dims(2, 3, 3, 6));
    second_order(&patches, dt_dims(1, 2, 2, 2));
    second_order(&up, dt_dims(2, 6, 7, 6));
    op_case c = {.name = "convolution",
                 .build = build,
                 .context = &some,
                 .inputs = 3,
                 .shape = {dt_dims(2, 6, 5, 4), dt_dims(6, 2, 3, 3), dt_dims(6)}};
    op_check(&c, "runs");
}

/* ---- Mistakes ---- */

/* Whether recording is refused with a message that says `words`. */
static void refused(const char *name, dt_shape x, dt_shape weight, int64_t bias, dt_conv_form form,
                    const char *words)
{
    dt_graph *g = dt_graph_new();
    dt_tensor *tx = dt_input(g, "x", DT_F32, x), *tw = dt_input(g, "w", DT_F32, weight);
    dt_conv2d(tx, tw, bias ? dt_input(g, "b", DT_F32, dt_dims(bias)) : NULL, form);
    ok(says(dt_graph_error(g), words), "%s is refused", name);
    dt_graph_free(g);
}

static void mistakes(void)
{
    const dt_shape x = dt_dims(2, 8, 8, 6), w = dt_dims(4, 6, 3, 3);
    const dt_conv_form f = FORM(1, 1, 1, 1);
    refused("an empty batch", dt_dims(0, 8, 8, 6), w, 0, f, "at least 1");
    refused("an image of rank 3", dt_dims(8, 8, 6), w, 0, f, "[8, 8, 6]");
    refused("a weight of rank 2", x, dt_dims(4, 6), 0, f, "[4, 6]");
    refused("a wrong number of channels", x, dt_dims(4, 5, 3, 3), 0, f, "wants 5");
    refused("a wrong bias", x, w, 5, f, "shape [4]");
    refused("stride 0", x, w, 0, (dt_conv_form)FORM(0, 1, 1, 1), "stride 0");
    refused("negative padding", x, w, 0, (dt_conv_form)FORM(1, -1, 1, 1), "padding -1");
    refused("dilation 0", x, w, 0, (dt_conv_form)FORM(1, 1, 0, 1), "dilation 0");
    refused("a giant stride", x, w, 0, (dt_conv_form)FORM(1 << 30, 1, 1, 1), "at most");
    refused("no groups", x, w, 0, (dt_conv_form)FORM(1, 1, 1, 0), "0 groups");
    refused("groups that do not divide", x, w, 0, (dt_conv_form)FORM(1, 1, 1, 4), "4 groups");
    refused("a kernel larger than the image", x, dt_dims(4, 6, 11, 3), 0, f, "larger than");
    refused("dilation that makes it so", x, w, 0, (dt_conv_form)FORM(1, 0, 5, 1), "larger than");

    dt_graph *g = dt_graph_new();
    dt_tensor *tx = dt_input(g, "x", DT_F32, x), *tw = dt_input(g, "w", DT_F32, dt_dims(6, 4, 3, 3));
    dt_conv_transpose2d(tx, tw, NULL, (dt_conv_form)FORM(2, 1, 1, 1), (const int[]){2, 0});
    ok(strstr(dt_graph_error(g), "below the stride"), "an output padding as large as the stride is refused");
    dt_graph_free(g);
    g = dt_graph_new();
    tx = dt_input(g, "x", DT_I32, x), tw = dt_input(g, "w", DT_F32, w);
    dt_conv2d(tx, tw, NULL, f);
    ok(strstr(dt_graph_error(g), "int32"), "integers are refused");
    dt_graph_free(g);
}

/* Sizes that no recorded op can have are refused with a message, and nothing leaks. */
static void impossible(void)
{
    const dt_onednn_sizes sizes = {.batch = 1, .height = 8, .width = 8, .in = 3, .y_height = 8, .y_width = 9,
                                   .out = 4, .kernel = {3, 3}, .stride = {1, 1}, .padding = {1, 1},
                                   .dilation = {1, 1}, .groups = 1};
    for (int kind = DT_ONEDNN_FORWARD; kind <= DT_ONEDNN_WEIGHT_GRAD; kind++) {
        char message[DT_MESSAGE] = "";
        dt_onednn_conv *conv = dt_onednn_conv_new((dt_onednn_kind)kind, &sizes, message, sizeof message);
        ok(!conv && strstr(message, "sizes"), "impossible sizes are refused: %s", message);
        dt_onednn_conv_free(conv);
    }
}

/* Many small products inside a parallel region, as attention does it. */
static void nested_products(void)
{
    enum { PRODUCTS = 64, M = 5, N = 7, K = 3 };
    static float a[PRODUCTS * M * K], b[K * N], c[PRODUCTS * M * N], want[PRODUCTS * M * N];
    op_random(a, PRODUCTS * M * K, 1);
    op_random(b, K * N, 2);
    for (int i = 0; i < PRODUCTS * M; i++)
        for (int j = 0; j < N; j++)
            want[i * N + j] = a[i * K] * b[j] + a[i * K + 1] * b[N + j] + a[i * K + 2] * b[2 * N + j];
#pragma omp parallel for
    for (int i = 0; i < PRODUCTS; i++)
        dt_sgemm(false, false, M, N, K, 1, a + i * M * K, K, b, N, 0, c + i * M * N, N);
    near("products inside a parallel region", c, want, PRODUCTS * M * N, 1e-5);
    ok(!dt_sgemm(false, false, -1, N, K, 1, a, K, b, N, 0, c, N), "a negative size is refused");
}

/* A CPU kernel writes nothing beyond the workspace that it asked for: a library's did, and other results of the plan
 * changed with the number of threads. */
static void stays_in_workspace(const dt_node *node)
{
    enum { GUARD = 1 << 14, FLOATS = 1 << 16 };
    static float in[FLOATS], out[FLOATS];
    const dt_kernel *kernel = dt_kernel_of(dt_cpu(), node->op);
    dt_preparation p = {.node = node};
    char fault[DT_MESSAGE] = "";
    bool good = kernel->prepare(&p);
    uint8_t *workspace = aligned_alloc(64, (p.workspace + GUARD + 63) / 64 * 64);
    memset(workspace, 0x5a, p.workspace + GUARD);
    dt_call call = {.node = node, .in = (void *[]){in, in}, .out = (void *[]){out}, .workspace = workspace, .state = p.state,
                    .fault = fault};
    if (good)
        kernel->run(&call);
    for (size_t i = 0; i < GUARD; i++)
        good &= workspace[p.workspace + i] == 0x5a;
    ok(good, "%s of %s and %s stays in its workspace", node->op->name, dt_shape_text(&node->input[0]->shape).chars,
       dt_shape_text(&node->input[1]->shape).chars);
    kernel->release(p.state);
    free(workspace);
}

static void workspaces(void)
{
    for (int64_t channels = 1; channels <= 22; channels += 3)
        for (int kernel = 1; kernel <= 3; kernel += 2)
            for (int groups = 1; groups <= 2; groups++) {
                dt_graph *g = dt_graph_new();
                dt_tensor *x = dt_input(g, "x", DT_F32, dt_dims(5, 16, 16, channels * groups));
                dt_tensor *w = dt_input(g, "w", DT_F32, dt_dims(12 * groups, channels, kernel, kernel));
                dt_tensor *y = dt_conv2d(x, w, NULL, (dt_conv_form)FORM(2, kernel / 2, 1, groups)), *d[2];
                dt_tensor *dy = dt_input(g, "dy", DT_F32, y->shape);
                dt_gradient_from(&y, &dy, 1, (dt_tensor *[]){x, w}, 2, d);
                for (int n = 0; n < g->nodes; n++)
                    if (g->node[n]->op == &dt_op_conv || g->node[n]->op == &dt_op_conv_input_grad ||
                        g->node[n]->op == &dt_op_conv_weight_grad)
                        stays_in_workspace(g->node[n]);
                dt_graph_free(g);
            }
}

/* ---- Stored references ---- */

static dt_conv_form form_of(const void *s)
{
    dt_conv_form f = {.groups = op_setting(s, "groups", 0, 1)};
    for (size_t i = 0; i < 2; i++) {
        f.stride[i] = op_setting(s, "stride", i, 1);
        f.padding[i] = op_setting(s, "padding", i, 0);
        f.dilation[i] = op_setting(s, "dilation", i, 1);
    }
    return f;
}

/* Unused inputs are NULL: the helper clears them, so that a case without bias has none. */
static dt_tensor *stored_conv(dt_tensor **x, const void *s)
{
    return dt_conv2d(x[0], x[1], x[2], form_of(s));
}

static dt_tensor *stored_transposed(dt_tensor **x, const void *s)
{
    const int output_padding[] = {op_setting(s, "output_padding", 0, 0),
                                  op_setting(s, "output_padding", 1, 0)};
    return dt_conv_transpose2d(x[0], x[1], x[2], form_of(s), output_padding);
}

int main(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        row r = rows[i];
        if (op_backend() != dt_cpu() && r.batch > 3) /* chunks are the CPU's, and a simulator is slow */
            r.batch = 1;
        against_definition(&r);
        narrow(&r);
    }
    derivatives();
    mistakes();
    impossible();
    nested_products();
    workspaces();
    op_golden("conv2d", stored_conv);
    op_golden("conv_transpose2d", stored_transposed);
    return done();
}
