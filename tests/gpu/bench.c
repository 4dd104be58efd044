/* How fast a device trains, against what it can do, measured in the same run: matrix products and copies, the contrastive loss of a
 * large batch, and training steps of published models with a list of where their time goes.
 *
 *     bench TABLE.md RESULTS [tiny]
 *
 * writes Markdown into TABLE.md and lines for check.sh and peer.py into RESULTS: "step MODEL PRECISION BATCH SECONDS", and "goal met TEXT"
 * or "goal missed TEXT". `tiny`: everything of toy size, to try the program itself. */
#include "tests/gpu/pretraining.h"
#include "tests/gpu/stopwatch.h"

enum { GROUPS = 1024, LISTED = 12, WATCHED = 2 };
static const double GIB = 1 << 30;

/* Kernels of one kind and size in a step. */
typedef struct group {
    const lap *first;
    int count;
    double seconds, bytes, flops;
} group;

typedef struct bench {
    const dt_backend *plain;
    FILE *table, *results, *details; /* details come after the table of steps */
    bool tiny, failed;
    double rate[DT_MIXED + 1]; /* of matrix products, FLOP/s */
    double copy;               /* on the device, bytes read and written a second */
    group group[GROUPS];
    int groups;
} bench;

typedef struct model {
    const char *name;
    dt_clip_config config;
    int64_t batch;
    dt_precision precision;
} model;

static const char *const precision_name[] = {"fp32", "tf32", "bf16"};

static bool complain(bench *b, const char *doing, const char *why)
{
    printf("  FAILED: %s: %s\n", doing, why ? why : "out of memory");
    b->failed = true;
    return false;
}

static void say_goal(bench *b, bool met, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void say_goal(bench *b, bool met, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fprintf(b->results, "goal %s ", met ? "met" : "missed");
    vfprintf(b->results, format, arguments);
    fprintf(b->results, "\n");
    va_end(arguments);
}

/* ---- What the device can do ---- */

/* Products of [n, n] matrices of normal numbers, one after the other: the fastest counts. */
static bool measure_products(bench *b, dt_precision precision, int64_t n)
{
    enum { CHAIN = 6, RUNS = 4 };
    const dt_backend *backend = watch(b->plain, precision);
    dt_graph *g = dt_graph_new();
    dt_tensor *x = dt_input(g, "x", DT_F32, dt_dims(n, n)), *w = dt_input(g, "w", DT_F32, dt_dims(n, n)), *y = x;
    for (int i = 0; i < CHAIN; i++)
        y = dt_matmul(y, w, false, false);
    dt_keep(y);
    dt_plan *plan = dt_plan_new(g, backend, &(dt_plan_options){.no_replay = true});
    float *values = calloc((size_t)(n * n), sizeof *values);
    const char *message = plan && values ? NULL : plan ? "out of memory" : dt_graph_error(g);
    if (!message) {
        size_t count = (size_t)(n * n), stretch = 999983;
        op_random(values, count < stretch ? count : stretch, 1);
        for (size_t at = stretch; at < count; at += stretch)
            memcpy(values + at, values, sizeof(float) * (count - at < stretch ? count - at : stretch));
        dt_plan_write(plan, x, values);
        for (size_t i = 0; i < count; i++)
            values[i] /= sqrtf((float)n);
        dt_plan_write(plan, w, values);
        message = dt_plan_run(plan, 1, 0);
    }
    stopwatch_start();
    for (int i = 0; i < RUNS && !message; i++)
        message = dt_plan_run(plan, 1, 0);
    stopwatch_stop();
    for (int i = 0; i < stopwatch.laps; i++) {
        const lap *l = &stopwatch.lap[i];
        if (l->flops > 0 && l->seconds > 0 && l->flops / l->seconds > b->rate[precision])
            b->rate[precision] = l->flops / l->seconds;
    }
    if (message)
        complain(b, "matrix products", message);
    free(values);
    dt_plan_free(plan);
    dt_graph_free(g);
    return !message;
}

static bool measure_copies(bench *b, size_t bytes)
{
    enum { RUNS = 8 };
    const dt_backend *backend = watch(b->plain, DT_FP32);
    void *from = backend->allocate(bytes), *to = from ? backend->allocate(bytes) : NULL;
    if (to) {
        backend->clear(from, bytes);
        stopwatch_start();
        for (int i = 0; i < RUNS; i++)
            backend->copy(to, from, bytes);
        stopwatch_stop();
        for (int i = 0; i < stopwatch.laps; i++)
            if (stopwatch.lap[i].bytes / stopwatch.lap[i].seconds > b->copy)
                b->copy = stopwatch.lap[i].bytes / stopwatch.lap[i].seconds;
    }
    if (to)
        backend->release(to);
    if (from)
        backend->release(from);
    return to || complain(b, "copies", "no memory on the device");
}

/* From host memory to the device, bytes a second; 0: the backend has no such copies. */
static double measure_sending(const bench *b, size_t bytes)
{
    const dt_backend *backend = b->plain;
    if (!backend->send)
        return 0;
    void *host = pretraining_host(backend, bytes), *to = host ? backend->allocate(bytes) : NULL;
    double best = INFINITY;
    if (to)
        memset(host, 1, bytes);
    for (int i = 0; to && i < 3; i++) {
        double start = dt_now();
        backend->send(to, host, bytes);
        backend->await();
        best = fmin(best, dt_now() - start);
    }
    if (to)
        backend->release(to);
    pretraining_host_free(backend, host);
    return (double)bytes / best;
}

static bool measure_device(bench *b)
{
    size_t bytes = b->tiny ? 1 << 16 : (size_t)2 << 30;
    bool good = true;
    printf("  matrix products and copies\n");
    for (dt_precision p = DT_FP32; p <= DT_MIXED; p++) {
        good &= measure_products(b, p, b->tiny ? 32 : 8192);
        if (!b->tiny)
            good &= measure_products(b, p, 4096);
    }
    good &= measure_copies(b, bytes);
    double sending = measure_sending(b, bytes / 4);
    fprintf(b->table, "| what the device can do | |\n|---|---:|\n");
    fprintf(b->table,
            "| matrix products, bf16 | %.1f TFLOP/s |\n| matrix products, tf32 | %.1f TFLOP/s |\n| matrix products, fp32 | "
            "%.1f TFLOP/s |\n",
            1e-12 * b->rate[DT_MIXED], 1e-12 * b->rate[DT_TF32], 1e-12 * b->rate[DT_FP32]);
    fprintf(b->table, "| copies on the device, bytes read and written | %.0f GB/s |\n", 1e-9 * b->copy);
    if (sending > 0)
        fprintf(b->table, "| copies from the host | %.1f GB/s |\n", 1e-9 * sending);
    fprintf(b->table,
            "\nProducts of [n, n] matrices of normal numbers, n = 8192 and 4096, by the library that Duet uses; the fastest "
            "counts. %s\n\n",
            stopwatch.events
                ? "Kernels are timed by events on the device's own stream."
                : "No events here: kernels are timed by the host's clock, waiting for each, which is too long for small ones.");
    printf("  bf16 %.1f, tf32 %.1f, fp32 %.1f TFLOP/s; copies %.0f GB/s\n", 1e-12 * b->rate[DT_MIXED], 1e-12 * b->rate[DT_TF32],
           1e-12 * b->rate[DT_FP32], 1e-9 * b->copy);
    return good && b->rate[DT_MIXED] > 0 && b->copy > 0;
}

/* ---- The contrastive loss alone ---- */

static double median(double *x, int count)
{
    for (int i = 1; i < count; i++)
        for (int j = i; j > 0 && x[j] < x[j - 1]; j--) {
            double swap = x[j];
            x[j] = x[j - 1];
            x[j - 1] = swap;
        }
    return count ? x[count / 2] : 0;
}

/* FLOPs without those that a backward kernel spends on making again what the forward had. */
static double model_flops(const lap *l)
{
    if (!strcmp(l->name, "attention_grad"))
        return l->flops * 4 / 5; /* the scores */
    if (!strcmp(l->name, "infonce_grad") || !strcmp(l->name, "sigmoid_loss_grad"))
        return l->flops * 2 / 3; /* the logits */
    return l->flops;
}

static bool measure_loss(bench *b)
{
    enum { RUNS = 5 };
    int64_t n = b->tiny ? 96 : 65536, d = b->tiny ? 32 : 512;
    const dt_backend *backend = watch(b->plain, DT_MIXED);
    double seconds[RUNS];
    printf("  the contrastive loss of %lld pairs\n", (long long)n);
    dt_graph *g = dt_graph_new();
    dt_tensor *in[3] = {dt_input(g, "image", DT_F32, dt_dims(n, d)), dt_input(g, "text", DT_F32, dt_dims(n, d)),
                        dt_input(g, "scale", DT_F32, (dt_shape){0})},
              *grad[3];
    dt_tensor *loss = dt_keep(dt_clip_loss(in[0], in[1], in[2]));
    dt_gradient(loss, in, 3, grad);
    for (int i = 0; i < 3; i++)
        dt_keep(grad[i]);
    dt_plan *plan = dt_plan_new(g, backend, NULL);
    float *values = plan ? calloc((size_t)(n * d), sizeof *values) : NULL, scale = 2.66f, result = 0;
    const char *message = plan && values ? NULL : plan ? "out of memory" : dt_graph_error(g);
    for (int i = 0; i < 2 && !message; i++) {
        op_random(values, (size_t)(n * d), 7 + (uint64_t)i);
        dt_plan_write(plan, in[i], values);
    }
    if (!message)
        dt_plan_write(plan, in[2], &scale);
    for (int i = -2; i < RUNS && !message; i++) {
        double start = dt_now();
        message = dt_plan_run(plan, 1, 0);
        if (i >= 0)
            seconds[i] = dt_now() - start;
    }
    if (!message) {
        dt_plan_facts facts = dt_plan_describe(plan);
        double s = median(seconds, RUNS), bytes = (double)facts.planned_bytes, kept = 8.0 * (double)(n * d);
        dt_plan_read(plan, loss, &result);
        fprintf(b->table, "| the contrastive loss alone, %lld x %lld, bf16 products, forward and backward | |\n|---|---:|\n",
                (long long)n, (long long)d);
        fprintf(b->table,
                "| time | %.2f ms |\n| FLOPs, those included that are done twice | %.1f TFLOP/s, %.0f %% of the bf16 rate |\n",
                1e3 * s, 1e-12 * facts.flops / s, 100 * facts.flops / s / b->rate[DT_MIXED]);
        fprintf(b->table, "| memory beside the embeddings | %.0f MB, of which the gradients are %.0f MB |\n\n", 1e-6 * bytes,
                1e-6 * kept);
        say_goal(b, bytes < 1e9, "the contrastive loss of %lld x %lld takes %.0f MB beside its inputs (goal: less than 1000)",
                 (long long)n, (long long)d, 1e-6 * bytes);
        if (!isfinite(result))
            message = "the loss is not finite";
    }
    if (message)
        complain(b, "the contrastive loss", message);
    free(values);
    dt_plan_free(plan);
    dt_graph_free(g);
    return !message;
}

/* ---- Where the time of a step goes ---- */

static bool alike(const lap *a, const lap *b)
{
    if (strcmp(a->name, b->name) || a->bytes != b->bytes || a->flops != b->flops || !a->node != !b->node)
        return false;
    return !a->node || dt_same_shape(&a->node->output[0].shape, &b->node->output[0].shape);
}

static int slower(const void *a, const void *b)
{
    double x = ((const group *)a)->seconds, y = ((const group *)b)->seconds;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Groups the laps of WATCHED steps; returns the seconds of a step that kernels ran. */
static double group_laps(bench *b, double *flops)
{
    double sum = 0;
    b->groups = 0;
    *flops = 0;
    for (int i = 0; i < stopwatch.laps; i++) {
        lap *l = &stopwatch.lap[i];
        double seconds = fmax(0, l->seconds - stopwatch.empty) / WATCHED;
        int k = 0;
        while (k < b->groups && !alike(b->group[k].first, l))
            k++;
        if (k == GROUPS)
            continue;
        if (k == b->groups)
            b->group[b->groups++] = (group){.first = l};
        b->group[k].count++;
        b->group[k].seconds += seconds;
        b->group[k].bytes += l->bytes / WATCHED;
        b->group[k].flops += l->flops / WATCHED;
        *flops += model_flops(l) / WATCHED;
        sum += seconds;
    }
    qsort(b->group, (size_t)b->groups, sizeof *b->group, slower);
    return sum;
}

static double floor_of(const bench *b, const group *g, dt_precision precision)
{
    return fmax(g->bytes / b->copy, g->flops / b->rate[precision]);
}

static const char *describe(const group *g, char *to, size_t size)
{
    const lap *l = g->first;
    const dt_node *node = l->node;
    if (node)
        snprintf(to, size, "%s %s to %s %s", l->name, node->inputs ? dt_shape_text(&node->input[0]->shape).chars : "",
                 dt_shape_text(&node->output[0].shape).chars, dt_dtype_name(node->output[0].dtype));
    else
        snprintf(to, size, "%s", l->name);
    return to;
}

static void list_kernels(bench *b, const model *m, int64_t batch, double sum)
{
    char name[320];
    const group *furthest = NULL;
    fprintf(b->details, "### %s, %s, batch %lld: kernels by time\n\n", m->name, precision_name[m->precision], (long long)batch);
    fprintf(b->details, "| kernel: first operand to result | a step | ms | of all | floor, ms | times its floor | bound by "
                        "|\n|---|---:|---:|---:|---:|---:|---|\n");
    for (int i = 0; i < b->groups; i++) {
        const group *g = &b->group[i];
        double least = floor_of(b, g, m->precision);
        if (i < LISTED)
            fprintf(b->details, "| %s | %d | %.3f | %.1f %% | %.3f | %.2f | %s |\n", describe(g, name, sizeof name),
                    g->count / WATCHED, 1e3 * g->seconds, 100 * g->seconds / sum, 1e3 * least, g->seconds / least,
                    g->bytes / b->copy > g->flops / b->rate[m->precision] ? "bytes" : "FLOPs");
        if (g->seconds > 0.01 * sum &&
            (!furthest || g->seconds / least > furthest->seconds / floor_of(b, furthest, m->precision)))
            furthest = g;
    }
    if (furthest)
        fprintf(b->details,
                "\nFurthest from its floor, of those with a hundredth of the time or more: **%s**, %.2f times (%.3f ms, %.1f "
                "%%).\n\n",
                describe(furthest, name, sizeof name), furthest->seconds / floor_of(b, furthest, m->precision),
                1e3 * furthest->seconds, 100 * furthest->seconds / sum);
}

/* ---- Training steps ---- */

static size_t memory_left(const dt_backend *backend)
{
    size_t left, all;
    dt_backend_memory(backend, &left, &all);
    return left;
}

/* With the batch halved as long as there is no memory for it. */
static bool open_model(bench *b, const model *m, const dt_backend *backend, pretraining *p)
{
    for (int64_t batch = m->batch; batch >= 2; batch /= 2) {
        if (pretraining_open(p, backend, &m->config, batch, false) && pretraining_run(p, 0, 4))
            return true;
        printf("  %s, batch %lld: %s\n", m->name, (long long)batch, p->message);
        bool memory = strstr(p->message, "no memory");
        if (memory)
            fprintf(b->details, "%s, %s: no memory for a batch of %lld (%s).\n\n", m->name, precision_name[m->precision],
                    (long long)batch, p->message);
        if (!memory)
            return complain(b, m->name, p->message);
        if (batch / 2 >= 2)
            pretraining_close(p);
    }
    return complain(b, m->name, "no memory even for the smallest batch");
}

/* The median of steps in the middle of a run, when the pipeline is full. */
static bool time_steps(bench *b, pretraining *p, double *seconds)
{
    double once = p->ended[3] - p->ended[2], each[PRETRAINING_STEPS];
    int steps = b->tiny ? 4 : (int)fmin(PRETRAINING_STEPS, fmax(8, 2.5 / once));
    if (!pretraining_run(p, 4, steps))
        return false;
    for (int k = 1; k + 1 < steps; k++)
        each[k - 1] = p->ended[k] - p->ended[k - 1];
    *seconds = median(each, steps - 2);
    return true;
}

/* The same kernels one by one. */
static bool watch_steps(pretraining *p)
{
    pretraining_unplan(p);
    if (!pretraining_plan(p, true) || !pretraining_run(p, 0, 2))
        return false;
    stopwatch_start();
    bool good = pretraining_run(p, 2, WATCHED);
    stopwatch_stop();
    return good;
}

static bool measure_model(bench *b, const model *m)
{
    const dt_backend *backend = watch(b->plain, m->precision);
    size_t left = memory_left(backend);
    pretraining p = {0};
    double seconds = 0, flops = 0;
    printf("  %s, %s\n", m->name, precision_name[m->precision]);
    bool good = open_model(b, m, backend, &p);
    stopwatch.parameters = good ? (double)dt_params_trainable(p.params) : 0;
    if (good && !time_steps(b, &p, &seconds))
        good = complain(b, m->name, p.message);
    size_t used = left - memory_left(backend);
    dt_plan_facts facts = good ? dt_plan_describe(p.plan) : (dt_plan_facts){0};
    if (good && !watch_steps(&p))
        good = complain(b, m->name, p.message);
    if (good) {
        double sum = group_laps(b, &flops), share = flops / seconds / b->rate[m->precision], outside = fmax(0, 1 - sum / seconds);
        const char *precision = precision_name[m->precision];
        fprintf(b->table, "| %s | %s | %lld | %.2f | %.0f | %.1f | %.1f %% | %.1f %% | %d | %.2f | %.2f |\n", m->name,
                precision, (long long)p.batch, 1e3 * seconds, (double)p.batch / seconds, 1e-12 * flops / seconds, 100 * share,
                100 * outside, facts.kernels, (double)facts.planned_bytes / GIB, (double)used / GIB);
        fprintf(b->results, "step %s %s %lld %.6f\n", m->name, precision, (long long)p.batch, seconds);
        printf("  %.2f ms a step, %.0f pairs/s, %.1f %% of the rate of products, %.1f %% outside of kernels\n", 1e3 * seconds,
               (double)p.batch / seconds, 100 * share, 100 * outside);
        if (m->precision == DT_MIXED && !strcmp(m->name, "ViT-B-16"))
            say_goal(b, share >= 0.55, "%s trains at %.1f %% of the bf16 matrix rate (goal: 55)", m->name, 100 * share);
        if (m->precision == DT_MIXED)
            say_goal(b, outside < 0.03, "%s: %.1f %% of a step outside of kernels (goal: less than 3)", m->name, 100 * outside);
        list_kernels(b, m, p.batch, sum);
    }
    pretraining_close(&p);
    return good;
}

static void measure_models(bench *b)
{
    const dt_text_config text = text_of(77, 49408, 512, 12, 8), large = text_of(77, 49408, 768, 12, 12),
                         toy = text_of(7, 41, 16, 1, 2);
    const int blocks[4] = {3, 4, 6, 3}, one[4] = {1, 1, 1, 1};
    const dt_clip_config b16 = vit_of(512, 224, 16, 768, 12, 12, text);
    const model models[] = {
        {"ViT-B-32", vit_of(512, 224, 32, 768, 12, 12, text), 1024, DT_MIXED},
        {"ViT-B-16", b16, 512, DT_MIXED},
        {"ViT-B-16", b16, 512, DT_TF32},
        {"ViT-L-14", vit_of(768, 224, 14, 1024, 24, 16, large), 256, DT_MIXED},
        {"RN50", modified_resnet_of(1024, 224, 64, blocks, text), 512, DT_MIXED},
    };
    const model toys[] = {{"toy-ViT", vit_of(16, 16, 8, 16, 1, 2, toy), 4, DT_MIXED},
                          {"toy-ViT", vit_of(16, 16, 8, 16, 1, 2, toy), 4, DT_TF32},
                          {"toy-ResNet", modified_resnet_of(16, 32, 4, one, toy), 4, DT_MIXED}};
    const model *all = b->tiny ? toys : models;
    size_t count = b->tiny ? sizeof toys / sizeof *toys : sizeof models / sizeof *models;
    fprintf(b->table, "| training | precision | batch | ms a step | pairs/s | model TFLOP/s | of the rate of products | "
                      "outside of kernels | kernels | planned, GiB "
                      "| all on the device, GiB |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for (size_t i = 0; i < count; i++) {
        measure_model(b, &all[i]);
        fflush(b->table);
        fflush(b->results);
    }
    fprintf(b->table,
            "\nA step is forward, backward, clipping and AdamW, with random images and texts that are staged from host memory "
            "while the step before "
            "runs, replayed from a recording; the median of steps in the middle of a run. Model FLOPs: matrix products, "
            "convolutions and attention, "
            "without what the backward makes again. Outside of kernels: what is left of a step without the sum of its kernels' "
            "times, which are "
            "measured in steps that run kernel by kernel, less the time between two events with nothing between (%.1f us).\n\n",
            1e6 * stopwatch.empty);
}

int main(int argc, char **argv)
{
    static bench b;
    char *details = NULL;
    size_t length = 0;
    if (argc < 3) {
        fprintf(stderr, "bench TABLE.md RESULTS [tiny]\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    b = (bench){.plain = op_backend(),
                .table = fopen(argv[1], "w"),
                .results = fopen(argv[2], "w"),
                .details = open_memstream(&details, &length),
                .tiny = argc > 3 && !strcmp(argv[3], "tiny")};
    if (!b.table || !b.results || !b.details) {
        fprintf(stderr, "bench: cannot write %s and %s\n", argv[1], argv[2]);
        return 2;
    }
    if (measure_device(&b)) {
        measure_loss(&b);
        measure_models(&b);
        for (int i = 0; b.plain->note && b.plain->note(i); i++)
            fprintf(b.table, "%sSlower than it might be: %s\n", i ? "" : "\n", b.plain->note(i));
    } else {
        complain(&b, "the device", "its rates are not known, so nothing can be held against them");
    }
    fclose(b.details);
    fwrite(details, 1, length, b.table);
    free(details);
    bool written = !fclose(b.table);
    written = !fclose(b.results) && written;
    return b.failed || !written;
}
