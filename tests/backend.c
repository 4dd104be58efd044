/* What a backend does beside kernels: its memory, sums over all parameters, and the optimizers' steps, against float64. */
#include "tests/op_check.h"

enum { N = 100003 };

static const dt_backend *backend;

static float *on_device(const float *x, size_t count)
{
    float *memory = backend->allocate(sizeof *x * count);
    if (memory)
        backend->write(memory, x, sizeof *x * count);
    return memory;
}

static void done_with_device(const char *what)
{
    const char *trouble = backend->finish ? backend->finish() : NULL;
    ok(!trouble, "%s without trouble: %s", what, trouble ? trouble : "none");
}

static void check_memory(void)
{
    static float x[N], y[N], z[N];
    op_random(x, N, 1);
    op_random(y, N, 2);
    float *a = on_device(x, N), *b = on_device(y, N);
    ok(a && b && (uintptr_t)a % 64 == 0 && (uintptr_t)b % 64 == 0, "memory is aligned to 64 bytes");
    backend->add(a, b, N);
    backend->copy(b, a, sizeof x);
    backend->read(z, b, sizeof z);
    size_t wrong = 0;
    for (size_t i = 0; i < N; i++)
        wrong += z[i] != x[i] + y[i];
    ok(wrong == 0, "add and copy (%zu wrong)", wrong);
    backend->read(z, (char *)a + 4 * 77, 4);
    ok(z[0] == x[77] + y[77], "a part is read from the midst");
    backend->release(a);
    backend->release(b);
    done_with_device("memory");
}

/* The nearest bfloat16, of two equally near the even one: by trying the two neighbours in float64. */
static uint16_t narrow_of(float x)
{
    uint32_t bits, up;
    float below, above;
    memcpy(&bits, &x, sizeof bits);
    bits &= 0xffff0000u;
    up = bits + 0x10000;
    memcpy(&below, &bits, sizeof below);
    memcpy(&above, &up, sizeof above);
    double far = isinf(above) ? ldexp(x < 0 ? -1 : 1, 128) : (double)above, down = fabs((double)x - below), rise = fabs(far - x);
    bool first = !isfinite(x) || down < rise || (down == rise && !(bits >> 16 & 1));
    return (uint16_t)((first ? bits : up) >> 16);
}

/* Stretches of a vector of COUNT: two, the second with a rate and a decay of its own. */
enum { COUNT = 1013, CUT = 400 };
static const dt_stretch stretches[2] = {{0, CUT, 1, 0.2f}, {CUT, COUNT - CUT, 0.5f, 0}};

static float rate_of(int i)
{
    return stretches[i >= CUT].rate;
}

static float decay_of(int i)
{
    return stretches[i >= CUT].decay;
}

static dt_stretch *stretches_on_device(void)
{
    dt_stretch *memory = backend->allocate(sizeof stretches);
    if (memory)
        backend->write(memory, stretches, sizeof stretches);
    return memory;
}

static dt_clip *clip_on_device(dt_clip clip)
{
    dt_clip *memory = backend->allocate(sizeof clip);
    if (memory)
        backend->write(memory, &clip, sizeof clip);
    return memory;
}

/* Float64 sums of 10^5 terms keep 11 digits. The same bits each time. What is not finite, gradient or loss, is said. */
static void check_clip(void)
{
    static float x[N];
    dt_stretch table[9] = {{0, 1, 1, 0}, {3, 31, 1, 0}, {100, 256, 1, 0}};
    size_t count = 3;
    for (size_t from = 400; count < 9 && from + DT_STRETCH < N; from += DT_STRETCH)
        table[count++] = (dt_stretch){from, DT_STRETCH, 1, 0};
    double want = 0;
    op_random(x, N, 3);
    for (size_t k = 0; k < count; k++)
        for (size_t i = table[k].from; i < table[k].from + table[k].count; i++)
            want += (double)x[i] * x[i];
    want = sqrt(want);
    float *memory = on_device(x, N), one = 1, bad = INFINITY, *good_loss = on_device(&one, 1), *bad_loss = on_device(&bad, 1);
    dt_stretch *there = backend->allocate(sizeof table);
    dt_clip got, again, *clip = backend->allocate(sizeof *clip);
    backend->write(there, table, sizeof table);
    backend->clip(clip, memory, there, count, 1.5f, good_loss);
    backend->read(&got, clip, sizeof got);
    ok(fabs(got.norm - want) <= 1e-11 * want && got.finite, "the norm over stretches (%.17g, want %.17g)", got.norm, want);
    near("how much of the gradients is taken", &got.scale, &(float){(float)(1.5 / (want + 1e-6))}, 1, 1e-9);
    for (int k = 0; k < 3; k++) {
        backend->clip(clip, memory, there, count, 1.5f, NULL);
        backend->read(&again, clip, sizeof again);
        ok(again.norm == got.norm && again.scale == got.scale && again.finite, "the same bits again");
    }
    backend->clip(clip, memory, there, count, 0, bad_loss);
    backend->read(&got, clip, sizeof got);
    ok(got.scale == 1 && !got.finite && got.norm == again.norm, "no clipping; a loss that is not finite");
    x[100] = NAN;
    backend->write(memory, x, sizeof x);
    backend->clip(clip, memory, there, count, 1e9f, NULL);
    backend->read(&got, clip, sizeof got);
    ok(!got.finite && isnan(got.norm), "a gradient that is not a number");
    backend->clip(clip, memory, there, 2, 1e9f, NULL);
    backend->read(&got, clip, sizeof got);
    ok(got.finite && got.scale == 1, "but not where it is not looked at; clipping only makes gradients smaller");
    void *all[] = {memory, good_loss, bad_loss, there, clip};
    for (int i = 0; i < 5; i++)
        backend->release(all[i]);
    done_with_device("clipping");
}

/* Two steps from the same start; the tolerance is a few roundings of values of size 4. */
static void check_adamw(bool coupled)
{
    float p[COUNT], g[COUNT], m[COUNT] = {0}, v[COUNT] = {0}, wp[COUNT], wm[COUNT], wv[COUNT];
    uint16_t narrowed[COUNT];
    op_random(p, COUNT, 4);
    op_random(g, COUNT, 5);
    float *dp = on_device(p, COUNT), *dg = on_device(g, COUNT), *dm = on_device(m, COUNT), *dv = on_device(v, COUNT);
    uint16_t *dn = backend->narrow ? backend->allocate(sizeof narrowed) : NULL;
    dt_stretch *table = stretches_on_device();
    dt_clip *clip = clip_on_device((dt_clip){1, 0.5f, true}), *none = clip_on_device((dt_clip){NAN, 0.5f, false});
    memcpy(wp, p, sizeof p);
    memset(wm, 0, sizeof wm);
    memset(wv, 0, sizeof wv);
    for (int t = 1; t <= 2; t++) {
        dt_adamw_step s = {.value = dp, .m = dm, .v = dv, .gradient = dg, .narrowed = dn, .stretch = table, .stretches = 2,
                           .clip = clip, .lr = 0.01f, .beta1 = 0.9f, .beta2 = 0.98f, .eps = 1e-6f,
                           .bias1 = 1 - powf(0.9f, (float)t), .bias2 = 1 - powf(0.98f, (float)t), .coupled = coupled};
        backend->adamw(&s);
        s.clip = none; /* changes nothing */
        backend->adamw(&s);
        for (int i = 0; i < COUNT; i++) {
            double lr = (double)s.lr * rate_of(i), l2 = coupled ? decay_of(i) : 0, decay = coupled ? 0 : decay_of(i);
            double gradient = (double)g[i] * 0.5 + l2 * wp[i];
            double first = (double)s.beta1 * wm[i] + (1 - (double)s.beta1) * gradient;
            double second = (double)s.beta2 * wv[i] + (1 - (double)s.beta2) * gradient * gradient;
            wm[i] = (float)first;
            wv[i] = (float)second;
            wp[i] = (float)(wp[i] * (1 - lr * decay) - lr * (first / s.bias1) / (sqrt(second / s.bias2) + (double)s.eps));
        }
    }
    backend->read(p, dp, sizeof p);
    backend->read(m, dm, sizeof m);
    backend->read(v, dv, sizeof v);
    near(coupled ? "Adam: values" : "AdamW: values", p, wp, COUNT, 2e-6);
    near("first moments", m, wm, COUNT, 5e-7);
    near("second moments", v, wv, COUNT, 5e-7);
    if (dn) {
        int wrong = 0;
        backend->read(narrowed, dn, sizeof narrowed);
        for (int i = 0; i < COUNT; i++)
            wrong += narrowed[i] != narrow_of(p[i]);
        ok(wrong == 0, "and the same in bfloat16 (%d wrong)", wrong);
        backend->release(dn);
    }
    void *all[] = {dp, dg, dm, dv, table, clip, none};
    for (int i = 0; i < 7; i++)
        backend->release(all[i]);
    done_with_device("Adam");
}

static void check_sgd(bool nesterov)
{
    float p[COUNT], g[COUNT], v[COUNT], wp[COUNT], wv[COUNT];
    op_random(p, COUNT, 6);
    op_random(g, COUNT, 7);
    op_random(v, COUNT, 8); /* what the first step must not look at */
    memcpy(wp, p, sizeof p);
    float *dp = on_device(p, COUNT), *dg = on_device(g, COUNT), *dv = on_device(v, COUNT);
    dt_stretch *table = stretches_on_device();
    dt_clip *clip = clip_on_device((dt_clip){1, 2, true}), *none = clip_on_device((dt_clip){NAN, 2, false});
    for (int t = 0; t < 2; t++) {
        dt_sgd_step s = {.value = dp, .velocity = dv, .gradient = dg, .stretch = table, .stretches = 2, .clip = clip,
                         .lr = 0.1f, .momentum = 0.9f, .nesterov = nesterov, .first = t == 0};
        backend->sgd(&s);
        s.clip = none;
        backend->sgd(&s);
        for (int i = 0; i < COUNT; i++) {
            double gradient = 2.0 * g[i] + (double)decay_of(i) * wp[i];
            double velocity = t == 0 ? gradient : (double)s.momentum * wv[i] + gradient;
            wv[i] = (float)velocity;
            wp[i] = (float)(wp[i] - (double)s.lr * rate_of(i) * (nesterov ? gradient + s.momentum * velocity : velocity));
        }
    }
    backend->read(p, dp, sizeof p);
    near(nesterov ? "SGD with Nesterov's momentum" : "SGD", p, wp, COUNT, 2e-6);
    void *all[] = {dp, dg, dv, table, clip, none};
    for (int i = 0; i < 6; i++)
        backend->release(all[i]);
    done_with_device("SGD");
}

/* Zeros, limits and rounding: halves go to the even neighbour, and what is not finite stays so. */
static void check_small(void)
{
    const float x[] = {0, -0.0f, 1, 1.00390625f, 1.01171875f, -3.3895314e38f, 3.4e38f, INFINITY, -INFINITY, 1e-40f, 0.1f, -7};
    enum { FEW = sizeof x / sizeof *x };
    float y[FEW];
    uint16_t narrowed[FEW];
    float *memory = on_device(x, FEW);
    if (backend->narrow) {
        uint16_t *to = backend->allocate(sizeof narrowed);
        backend->narrow(to, memory, FEW);
        backend->read(narrowed, to, sizeof narrowed);
        int wrong = 0;
        for (int i = 0; i < FEW; i++)
            wrong += narrowed[i] != narrow_of(x[i]);
        ok(wrong == 0, "rounding to bfloat16 (%d wrong)", wrong);
        backend->release(to);
    }
    backend->limit(memory, FEW, -2, 0.5f);
    backend->read(y, memory, sizeof y);
    int wrong = 0;
    for (int i = 0; i < FEW; i++)
        wrong += y[i] != (x[i] < -2 ? -2 : x[i] > 0.5f ? 0.5f : x[i]);
    ok(wrong == 0, "limits (%d wrong)", wrong);
    backend->clear(memory, sizeof *y * (FEW - 1));
    backend->read(y, memory, sizeof y);
    ok(!memcmp(y, (float[FEW - 1]){0}, sizeof *y * (FEW - 1)) && y[FEW - 1] == -2, "zeros, and nothing beyond them");
    backend->release(memory);
    done_with_device("small things");
}

int main(void)
{
    backend = op_backend();
    printf("# on %s\n", backend->name);
    check_memory();
    check_clip();
    check_adamw(false);
    check_adamw(true);
    check_sgd(false);
    check_sgd(true);
    check_small();
    return done();
}
