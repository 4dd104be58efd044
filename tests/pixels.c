/* Normalising bytes of pixels: against the definition in float64, against the transforms of data/transform.h to the bit, and
 * each kernel with bfloat16 results and from addresses that are odd. */
#include "data/transform.h"
#include "tests/bf16.h"
#include "tests/op_check.h"

static const float mean[] = {0.48145466f, 0.4578275f, 0.40821073f, 0.5f}, std[] = {0.26862954f, 0.26130258f, 0.27577711f, 2};

typedef struct work {
    size_t count;
    uint8_t *x;
    float *y, *want;
    dt_graph *graph;
    dt_tensor *input, *result;
} work;

/* Each byte occurs with each channel where there are enough of them. */
static work start(dt_shape shape)
{
    work w = {.count = (size_t)dt_count(&shape), .graph = dt_graph_new()};
    w.x = calloc(w.count, sizeof *w.x);
    w.y = calloc(w.count, sizeof *w.y);
    w.want = calloc(w.count, sizeof *w.want);
    for (size_t i = 0; i < w.count; i++)
        w.x[i] = (uint8_t)(i * 7 + i / 256);
    w.input = dt_input(w.graph, "pixels", DT_U8, shape);
    w.result = dt_keep(dt_normalize_pixels(w.input, mean, std));
    return w;
}

static void end(work *w)
{
    dt_graph_free(w->graph);
    free(w->x);
    free(w->y);
    free(w->want);
}

/* Runs once on the backend; false with a word why not. */
static bool run(work *w, const dt_backend *backend)
{
    dt_plan *plan = dt_plan_new(w->graph, backend, NULL);
    const char *message = plan ? NULL : dt_graph_error(w->graph);
    if (plan) {
        dt_plan_write(plan, w->input, w->x);
        message = dt_plan_run(plan, 1, 0);
        if (w->result->dtype == DT_BF16)
            bf16_read(plan, w->result, w->y);
        else
            dt_plan_read(plan, w->result, w->y);
        message = message || !backend->finish ? message : backend->finish();
    }
    if (message)
        printf("# %s\n", message);
    dt_plan_free(plan);
    return !message;
}

/* Scale, bias, product and sum are rounded once each. */
static double excess_of(const work *w, int64_t channels)
{
    double worst = 0;
    for (size_t i = 0; i < w->count; i++) {
        size_t c = i % (size_t)channels;
        double product = w->x[i] / (255.0 * std[c]), bias = -(double)mean[c] / std[c], y = product + bias;
        double excess = fabs(w->y[i] - y) / (0x1.01p-24 * (2 * product + fabs(bias) + fabs(y)));
        worst = larger(worst, excess);
    }
    return worst;
}

static void check_values(dt_shape shape)
{
    work w = start(shape);
    const dt_text text = dt_shape_text(&shape);
    const char *name = text.chars;
    bool good = run(&w, op_backend());
    double worst = good ? excess_of(&w, shape.dim[3]) : NAN;
    ok(worst <= 1, "%s: (x / 255 - mean) / std (worst %.2f of what is allowed)", name, worst);
    if (op_backend() != dt_cpu()) {
        memcpy(w.want, w.y, w.count * sizeof *w.y);
        w.result->dtype = DT_BF16;
        good = run(&w, op_backend());
        for (size_t i = 0; i < w.count; i++) {
            uint32_t bits, kept;
            memcpy(&bits, &w.want[i], sizeof bits);
            memcpy(&kept, &w.y[i], sizeof kept);
            good = good && kept == ((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000);
        }
        ok(good, "%s: rounded to bfloat16", name);
    }
    end(&w);
}

static const dt_kernel *kernel_of(const dt_op *op)
{
    for (const dt_kernel *const *f = op_backend()->families; *f; f++)
        for (const dt_kernel *kernel = *f; kernel->op; kernel++)
            if (kernel->op == op)
                return kernel;
    return NULL;
}

/* From and to addresses that are aligned for one element alone. */
static void check_askew(int from, int to)
{
    const dt_backend *backend = op_backend();
    work w = start(dt_dims(1, 23, 29, 3));
    char message[DT_MESSAGE] = "";
    bool good = run(&w, backend);
    memcpy(w.want, w.y, w.count * sizeof *w.y);
    memset(w.y, 0, w.count * sizeof *w.y);
    uint8_t *x = backend->allocate(w.count + 64);
    float *y = backend->allocate(w.count * sizeof *y + 64);
    void *in[] = {x + from}, *out[] = {y + to};
    const dt_kernel *kernel = kernel_of(&dt_op_normalize_pixels);
    dt_preparation p = {.node = w.result->node};
    good = good && (!kernel->prepare || kernel->prepare(&p));
    backend->write(in[0], w.x, w.count);
    if (good)
        kernel->run(&(dt_call){.node = p.node, .in = in, .out = out, .state = p.state, .fault = message});
    backend->read(w.y, out[0], w.count * sizeof *y);
    const char *late = backend->finish ? backend->finish() : NULL;
    bool same = good && !message[0] && !late && !memcmp(w.y, w.want, w.count * sizeof *y);
    ok(same, "the same %d bytes and %d floats off %s", from, to, late ? late : message);
    if (kernel->release)
        kernel->release(p.state);
    backend->release(x);
    backend->release(y);
    end(&w);
}

/* Pixels that are used as they are come out of the transform as out of the op. */
static void check_transform(void)
{
    enum { SIZE = 61 };
    work w = start(dt_dims(1, SIZE, SIZE, 3));
    dt_error error = {""};
    dt_transform t = dt_transform_default(DT_TRANSFORM_EVAL, SIZE);
    memcpy(t.mean, mean, sizeof t.mean);
    memcpy(t.std, std, sizeof t.std);
    dt_transform_scratch *scratch_memory = dt_transform_scratch_new(&error);
    dt_image image = dt_image_borrow(w.x, SIZE, SIZE, 3);
    bool good = scratch_memory && dt_transform_pixels(&t, scratch_memory, &image, 0, w.want, &error) && run(&w, op_backend());
    if (op_backend() == dt_cpu())
        ok(good && !memcmp(w.y, w.want, w.count * sizeof *w.y), "the bits of the transform's floats %s", error.message);
    else /* which are rounded twice where the processor has no fused multiply-add */
        near("the transform's floats", w.y, w.want, w.count, 0x1p-21);
    dt_transform_scratch_free(scratch_memory);
    end(&w);
}

/* Bytes are constants to derivatives, and no floats to be looked at. */
static void check_around(void)
{
    const dt_shape shape = dt_dims(2, 5, 7, 3);
    work w = start(shape);
    const size_t bytes = w.count * sizeof(float);
    dt_tensor *weight = dt_input(w.graph, "weight", DT_F32, shape), *slope;
    dt_gradient(dt_sum(dt_mul(w.result, weight), DT_ALL, false), &weight, 1, &slope);
    dt_keep(slope);
    memset(w.x, 0xff, w.count);
    memset(w.want, 0, bytes);
    dt_plan *plan = dt_plan_new(w.graph, op_backend(), NULL);
    bool good = plan && dt_plan_write(plan, w.input, w.x) && dt_plan_write(plan, weight, w.want) && !dt_plan_run(plan, 1, 0) &&
                dt_plan_read(plan, w.result, w.want) && dt_plan_read(plan, slope, w.y);
    ok(good && w.want[1] > 1 && !memcmp(w.want, w.y, bytes), "a gradient goes past them");
    const char *found = good ? dt_plan_trouble(plan, 1, 0) : "no plan";
    ok(!found, "there is no trouble in bytes %s", found ? found : "");
    dt_plan_free(plan);
    end(&w);
}

static void refused(const char *name, dt_dtype dtype, dt_shape shape, const float *means, const float *stds, const char *words)
{
    dt_graph *g = dt_graph_new();
    dt_normalize_pixels(dt_input(g, "x", dtype, shape), means, stds);
    ok(says(dt_graph_error(g), words), "%s: refused", name);
    dt_graph_free(g);
}

int main(void)
{
    static const dt_shape shapes[] = {dt_dims(1, 1, 1, 1),   dt_dims(1, 1, 1, 3),   dt_dims(1, 3, 5, 1),  dt_dims(3, 7, 5, 2),
                                      dt_dims(2, 3, 5, 3),   dt_dims(1, 4, 4, 3),   dt_dims(2, 9, 11, 4), dt_dims(3, 37, 41, 3),
                                      dt_dims(2, 64, 40, 3), dt_dims(1, 71, 97, 1)};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check_values(shapes[i]);
    check_askew(1, 0);
    check_askew(0, 1);
    check_askew(3, 2);
    check_askew(4, 4);
    check_transform();
    check_around();
    refused("floats", DT_F32, dt_dims(1, 2, 2, 3), mean, std, "got float32 [1, 2, 2, 3]");
    refused("no batch", DT_U8, dt_dims(2, 2, 3), mean, std, "got uint8 [2, 2, 3]");
    refused("five channels", DT_U8, dt_dims(1, 2, 2, 5), mean, std, "1 to 4");
    refused("a std of 0", DT_U8, dt_dims(1, 2, 2, 3), mean, (const float[]){1, 1, 0}, "std 0 of channel 2");
    refused("a mean that is none", DT_U8, dt_dims(1, 2, 2, 1), (const float[]){NAN}, std, "nan");
    return done();
}
