/* Training steps of small towers on a device: what a recorded run gives is to the bit what the same kernels give one by one, a run that
 * is resumed is to the bit one that never stopped, and in float32 both are near the CPU. `steps short` is for checkers under which all
 * is slow: two steps of each tower. */
#include "tests/gpu/pretraining.h"

enum { BATCH = 6, BEFORE = 3, AFTER = 3 };

typedef struct tower {
    const char *name;
    dt_clip_config config;
    double mixed; /* how far the loss may be from the CPU's, relative, in bfloat16 */
} tower;

/* Everything that a run is resumed from. */
typedef struct saved {
    float *values, *buffers, *slot[2];
    uint64_t steps;
} saved;

static float *copied(const float *from, size_t count)
{
    float *to = calloc(count + 1, sizeof *to);
    if (to)
        memcpy(to, from, sizeof *to * count);
    return to;
}

static saved save(pretraining *p)
{
    size_t count = dt_params_size(p->params);
    return (saved){copied(dt_params_values(p->params), count),
                   copied(dt_params_buffers(p->params), dt_params_buffer_size(p->params)),
                   {copied(dt_optimizer_slot(p->optimizer, 0), count), copied(dt_optimizer_slot(p->optimizer, 1), count)},
                   dt_optimizer_steps(p->optimizer)};
}

static void restore(pretraining *p, const saved *s)
{
    size_t count = sizeof(float) * dt_params_size(p->params);
    memcpy(dt_params_values(p->params), s->values, count);
    memcpy(dt_params_buffers(p->params), s->buffers, sizeof(float) * dt_params_buffer_size(p->params));
    for (int i = 0; i < 2; i++)
        memcpy(dt_optimizer_slot(p->optimizer, i), s->slot[i], count);
    dt_optimizer_set_steps(p->optimizer, s->steps);
}

static void forget(saved *s)
{
    free(s->values);
    free(s->buffers);
    free(s->slot[0]);
    free(s->slot[1]);
}

static bool same(const saved *a, const saved *b, size_t values, size_t buffers)
{
    return a->steps == b->steps && !memcmp(a->values, b->values, sizeof(float) * values) &&
           !memcmp(a->buffers, b->buffers, sizeof(float) * buffers) &&
           !memcmp(a->slot[0], b->slot[0], sizeof(float) * values) && !memcmp(a->slot[1], b->slot[1], sizeof(float) * values);
}

/* Steps [first, first + count), from a saved state or (NULL) the start. */
static bool run(pretraining *p, const tower *t, const dt_backend *backend, bool no_replay, const saved *from, int first,
                int count)
{
    bool good = pretraining_open(p, backend, &t->config, BATCH, no_replay);
    if (good && from)
        restore(p, from);
    good = good && pretraining_run(p, first, count);
    if (!good)
        printf("# %s on %s: %s\n", t->name, backend->name, p->message);
    return good;
}

static const char *precision_name(dt_precision precision)
{
    return precision == DT_FP32 ? "fp32" : precision == DT_TF32 ? "tf32" : "bf16";
}

static void check_bits(const tower *t, const dt_backend *backend)
{
    const char *precision = precision_name(backend->precision);
    pretraining whole, plain, first, second;
    bool good = run(&whole, t, backend, false, NULL, 0, BEFORE + AFTER);
    size_t values = good ? dt_params_size(whole.params) : 0, buffers = good ? dt_params_buffer_size(whole.params) : 0;
    saved want = good ? save(&whole) : (saved){0}, got = {0}, half = {0};
    ok(good, "%s, %s: %d steps", t->name, precision, BEFORE + AFTER);
    bool good_plain = run(&plain, t, backend, true, NULL, 0, BEFORE + AFTER);
    if (good_plain)
        got = save(&plain);
    ok(good && good_plain && same(&want, &got, values, buffers), "%s, %s: kernel by kernel the same bits", t->name, precision);
    forget(&got);
    bool good_half = run(&first, t, backend, false, NULL, 0, BEFORE);
    if (good_half)
        half = save(&first);
    pretraining_close(&first);
    good_half = good_half && run(&second, t, backend, false, &half, BEFORE, AFTER);
    got = good_half ? save(&second) : (saved){0};
    ok(good && good_half && same(&want, &got, values, buffers), "%s, %s: the same bits when it is resumed after %d steps",
       t->name, precision, BEFORE);
    if (good_half)
        pretraining_close(&second);
    pretraining_close(&plain);
    pretraining_close(&whole);
    forget(&got);
    forget(&half);
    forget(&want);
}

/* |a - b| / |b| */
static double distance(const float *a, const float *b, size_t count)
{
    double apart = 0, length = 0;
    for (size_t i = 0; i < count; i++) {
        apart += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        length += (double)b[i] * b[i];
    }
    return sqrt(apart / length);
}

/* The first step against the CPU. Sums have another order: roundings of 2^-24 over hundreds of additions, and more where small
 * differences of large numbers are left (batch norm over few pixels); bfloat16 rounds to 2^-9, some dozens of times on the way. */
static void check_near(const tower *t, const dt_backend *backend)
{
    pretraining want, got;
    bool good = run(&want, t, dt_cpu(), false, NULL, 0, 1);
    good = run(&got, t, backend, false, NULL, 0, 1) && good;
    const char *precision = precision_name(backend->precision);
    bool mixed = backend->precision == DT_MIXED;
    double loss = fabs(got.last_loss / want.last_loss - 1);
    double apart =
        good ? distance(dt_params_gradients(got.params), dt_params_gradients(want.params), dt_params_size(want.params)) : NAN;
    ok(good && loss < (mixed ? 0.03 : 2e-5), "%s, %s: the loss is %.7g, on the CPU %.7g", t->name, precision, got.last_loss,
       want.last_loss);
    ok(good && apart < (mixed ? t->mixed : 2e-5), "%s, %s: the gradient is near that of the CPU (relative distance %.1e)",
       t->name, precision, apart);
    pretraining_close(&want);
    pretraining_close(&got);
}

/* The contrastive loss of so many pairs that its logits are taken in several tiles, of which the last are smaller: against the CPU, in
 * float32. Sums of n terms in another order: 2^-24 sqrt n of the largest, of which 1e-5 leaves a factor of two. */
static void check_tiles(const dt_backend *backend, int64_t n)
{
    const dt_backend *on[] = {dt_cpu(), backend};
    enum { WIDTH = 8 };
    size_t count = (size_t)(n * WIDTH);
    float *result[2] = {calloc(3 * count, sizeof(float)), calloc(3 * count, sizeof(float))}, loss[2] = {0}, scale = 2.5f;
    const char *message = NULL;
    for (int k = 0; k < 2 && !message; k++) {
        dt_graph *g = dt_graph_new();
        dt_tensor *in[3] = {dt_input(g, "image", DT_F32, dt_dims(n, WIDTH)), dt_input(g, "text", DT_F32, dt_dims(n, WIDTH)),
                            dt_input(g, "scale", DT_F32, (dt_shape){0})}, *gradient[3];
        dt_tensor *y = dt_keep(dt_clip_loss(dt_l2_normalize(in[0], 0), dt_l2_normalize(in[1], 0), in[2]));
        dt_gradient(y, in, 3, gradient);
        for (int i = 0; i < 3; i++)
            dt_keep(gradient[i]);
        dt_plan *plan = dt_plan_new(g, on[k], NULL);
        for (int i = 0; i < 2 && plan; i++) {
            op_random(result[k], count, 5 + (uint64_t)i);
            dt_plan_write(plan, in[i], result[k]);
        }
        if (plan)
            dt_plan_write(plan, in[2], &scale);
        message = plan ? dt_plan_run(plan, 1, 0) : dt_graph_error(g);
        for (int i = 0; i < 3 && !message; i++)
            dt_plan_read(plan, gradient[i], result[k] + (size_t)i * count);
        if (!message)
            dt_plan_read(plan, y, &loss[k]);
        if (message)
            printf("# %s: %s\n", on[k]->name, message);
        dt_plan_free(plan);
        dt_graph_free(g);
    }
    double apart = distance(result[1], result[0], 2 * count + 1);
    ok(!message && fabs(loss[1] / loss[0] - 1) < 1e-5, "the loss of %lld pairs is %.7g, on the CPU %.7g", (long long)n, loss[1], loss[0]);
    ok(!message && apart < 1e-5, "and its gradient near that of the CPU (relative distance %.1e)", apart);
    free(result[0]);
    free(result[1]);
}

static void check_short(const tower *t, const dt_backend *backend)
{
    pretraining p;
    ok(run(&p, t, backend, false, NULL, 0, 2), "%s, %s: two steps", t->name, precision_name(backend->precision));
    pretraining_close(&p);
}

int main(int argc, char **argv)
{
    const dt_backend *backend = op_backend();
    bool is_short = argc > 1 && !strcmp(argv[1], "short");
    const dt_text_config text = text_of(7, 41, 16, 2, 2);
    tower towers[] = {
        {"ViT", vit_of(20, 16, 8, 24, 2, 3, text), 0.06},
        {"ViT of full heads", vit_of(64, 32, 8, 128, 1, 2, text_of(12, 99, 64, 1, 1)), 0.06}, /* what libraries take */
        {"ModifiedResNet", modified_resnet_of(16, 64, 4, (int[]){1, 1, 1, 1}, text), 0.2},
        {"SigLIP's loss, GELU by tanh", vit_of(64, 32, 8, 128, 1, 2, text_of(12, 99, 64, 1, 1)), 0.06},
    };
    towers[3].config.has_logit_bias = true;
    towers[3].config.init_logit_bias = -10;
    towers[3].config.vit.transformer.activation = towers[3].config.text.transformer.activation = DT_ACT_GELU_TANH;
    for (size_t i = 0; i < sizeof towers / sizeof *towers; i++)
        for (dt_precision precision = DT_FP32; precision <= DT_MIXED; precision++) {
            dt_backend with = *backend;
            with.precision = precision;
            if (precision != DT_FP32 && backend == dt_cpu())
                continue;
            if (is_short) {
                check_short(&towers[i], &with);
                continue;
            }
            check_bits(&towers[i], &with);
            if (precision != DT_TF32 && backend != dt_cpu())
                check_near(&towers[i], &with);
        }
    if (!is_short && backend != dt_cpu())
        check_tiles(backend, getenv("DUET_GPU_DRY") ? 1300 : 9000); /* the edge of a tile is 8192 on a GPU */
    return done();
}
