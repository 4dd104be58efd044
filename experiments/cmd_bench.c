/* `duet bench`: how fast a model trains and encodes here, against the machine's own matrix rate measured in the same run. */
#include "experiments/commands.h"

#include "data/clock.h"
#include "data/json.h"
#include "data/transform.h"
#include "experiments/options.h"
#include "experiments/trainer.h"
#include "kernels/cpu/onednn.h"
#include "kernels/random.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* FLOP/s of a 2048^3 float32 product on all threads, best of `rounds`: the rate that nothing here can beat. */
static double sgemm_rate(int rounds)
{
    enum { N = 2048 };
    float *a = calloc((size_t)N * N, sizeof *a), *b = calloc((size_t)N * N, sizeof *b), *c = calloc((size_t)N * N, sizeof *c);
    double best = 0;
    for (size_t i = 0; a && b && i < (size_t)N * N; i++)
        a[i] = b[i] = (float)(i % 7) - 3;
    for (int r = 0; a && b && c && r < rounds; r++) {
        double start = dt_now();
        dt_sgemm(false, false, N, N, N, 1, a, N, b, N, 0, c, N);
        double rate = 2.0 * N * N * N / (dt_now() - start);
        best = rate > best ? rate : best;
    }
    free(a);
    free(b);
    free(c);
    return best;
}

typedef struct bench {
    const char *name;
    int batch, chunk, steps, text_vocabulary;
    const char *decode;
    bool json, ops;
    dt_model *model;
    float *images;
    int32_t *tokens;
    double sgemm, train_seconds, image_seconds, text_seconds, train_flops, image_flops, text_flops, matrix_share;
    double decode_rate;
    dt_plan_facts facts;
} bench;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[count / 2];
}

/* Noise for images; a start token, words, an end token for texts. */
static bool make_batch(bench *b, dt_error *error)
{
    const dt_clip_config *c = &b->model->config;
    size_t size = (size_t)dt_clip_image_size(c), pixels = (size_t)b->batch * size * size * 3;
    int context = c->text.context_length, end = c->text.vocab_size - 1;
    b->images = calloc(pixels, sizeof *b->images);
    b->tokens = calloc((size_t)b->batch * (size_t)context, sizeof *b->tokens);
    if (!b->images || !b->tokens)
        return dt_fail(error, "no memory for a batch of %d", b->batch);
    for (size_t i = 0; i < pixels; i++)
        b->images[i] = dt_random_uniform(dt_random_block(1, 0, 0, i).v[0]) * 2 - 1;
    for (int i = 0; i < b->batch; i++)
        for (int t = 0; t < context; t++)
            b->tokens[i * context + t] = t == context - 1 ? end : (int)(dt_random_block(2, (uint32_t)i, 0, (uint64_t)t).v[0] % (uint32_t)end);
    return true;
}

static bool is_matrix_work(const char *name)
{
    return !strcmp(name, "linear") || !strcmp(name, "matmul") || !strncmp(name, "conv", 4);
}

typedef struct timed_op {
    const char *name;
    double seconds, flops;
} timed_op;

static int slower_first(const void *a, const void *b)
{
    double x = ((const timed_op *)a)->seconds, y = ((const timed_op *)b)->seconds;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Where the time of the training plan went, over `steps` steps. */
static void look_at_ops(bench *b, dt_plan *plan, int steps)
{
    timed_op list[256];
    int count = 0;
    double total = 0, matrix = 0;
    while (count < 256 && (list[count].name = dt_plan_time(plan, count, &list[count].seconds, &list[count].flops))) {
        total += list[count].seconds;
        matrix += is_matrix_work(list[count].name) ? list[count].seconds : 0;
        count++;
    }
    b->matrix_share = matrix / total;
    qsort(list, (size_t)count, sizeof *list, slower_first);
    for (int i = 0; b->ops && !b->json && i < count && list[i].seconds > 0.002 * total; i++)
        printf("  %-22s %9.2f ms  %5.1f %%  %6.0f GFLOP/s\n", list[i].name, 1e3 * list[i].seconds / steps,
               100 * list[i].seconds / total, list[i].flops / list[i].seconds / 1e9);
}

static bool bench_training(bench *b, dt_error *error)
{
    double *seconds = calloc((size_t)b->steps, sizeof *seconds);
    dt_trainer_options o = {.batch_size = b->batch, .chunk_size = b->chunk, .max_logit_scale = 4.6052,
                            .optimizer = {.kind = DT_ADAMW, .beta1 = 0.9f, .beta2 = 0.98f, .eps = 1e-6f,
                                          .weight_decay = 0.1f, .clip_norm = 1}};
    dt_trainer *trainer = seconds ? dt_trainer_new(b->model, dt_cpu(), &o, error) : NULL;
    dt_step_result result;
    bool good = trainer && dt_trainer_step(trainer, b->images, b->tokens, 1e-4f, &result, error);
    if (good) {
        b->facts = dt_plan_describe(dt_trainer_plan(trainer));
        b->train_flops = b->facts.flops * (b->chunk ? b->batch / b->chunk : 1);
        dt_plan_profile(dt_trainer_plan(trainer), true);
    }
    for (int i = 0; good && i < b->steps; i++) {
        double start = dt_now();
        good = dt_trainer_step(trainer, b->images, b->tokens, 1e-4f, &result, error);
        seconds[i] = dt_now() - start;
    }
    if (good) {
        b->train_seconds = median(seconds, b->steps);
        look_at_ops(b, dt_trainer_plan(trainer), b->steps);
    }
    dt_trainer_free(trainer);
    free(seconds);
    return good;
}

static bool bench_encoder(bench *b, dt_encoder *encoder, const void *samples, double *result, dt_error *error)
{
    double *seconds = calloc((size_t)b->steps, sizeof *seconds);
    float *embeddings = calloc((size_t)b->batch * (size_t)b->model->config.embed_dim, sizeof *embeddings);
    bool good = encoder && seconds && embeddings && dt_encoder_run(encoder, samples, b->batch, embeddings, error);
    for (int i = 0; good && i < b->steps; i++) {
        double start = dt_now();
        good = dt_encoder_run(encoder, samples, b->batch, embeddings, error);
        seconds[i] = dt_now() - start;
    }
    if (good)
        *result = median(seconds, b->steps);
    dt_encoder_free(encoder);
    free(seconds);
    free(embeddings);
    return good;
}

static double mebibytes(double bytes)
{
    return bytes / 1048576;
}

static double peak_resident(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss * 1024;
}

/* Parameters, gradients and two moments, what lives at once, and the inputs: no trainer can do with less. */
static double least_memory(const bench *b)
{
    return 16.0 * (double)dt_params_size(b->model->params) + (double)b->facts.live_bytes + (double)b->facts.input_bytes;
}

static void print_text(const bench *b)
{
    double train = b->train_flops / b->train_seconds;
    printf("%s, batch %d, %.1f M parameters\n", b->name, b->batch, (double)dt_params_trainable(b->model->params) / 1e6);
    printf("  sgemm rate             %9.1f GFLOP/s\n", b->sgemm / 1e9);
    printf("  training               %9.2f pairs/s   %.1f ms a step\n", b->batch / b->train_seconds, 1e3 * b->train_seconds);
    printf("  training, model FLOPs  %9.1f GFLOP/s   %.1f %% of the sgemm rate\n", train / 1e9, 100 * train / b->sgemm);
    printf("  matrix products        %9.1f %% of the time of a step\n", 100 * b->matrix_share);
    printf("  image tower            %9.2f images/s\n", b->batch / b->image_seconds);
    printf("  text tower             %9.2f texts/s\n", b->batch / b->text_seconds);
    if (b->decode)
        printf("  decoding               %9.2f images/s a core\n", b->decode_rate);
    printf("  planned memory         %9.1f MiB   %.3f of the largest live set\n", mebibytes((double)b->facts.planned_bytes),
           (double)b->facts.planned_bytes / (double)b->facts.live_bytes);
    printf("  peak resident memory   %9.1f MiB   arithmetic minimum %.1f MiB\n", mebibytes(peak_resident()),
           mebibytes(least_memory(b)));
}

static int print_json(const bench *b)
{
    json_t *o = json_pack("{s:s, s:i, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "model", b->name, "batch",
                          b->batch, "parameters", (json_int_t)dt_params_trainable(b->model->params), "sgemm_flops",
                          b->sgemm, "train_pairs_per_second", b->batch / b->train_seconds, "train_flops",
                          b->train_flops / b->train_seconds, "train_share_of_sgemm",
                          b->train_flops / b->train_seconds / b->sgemm, "matrix_share_of_time", b->matrix_share,
                          "images_per_second", b->batch / b->image_seconds, "texts_per_second", b->batch / b->text_seconds,
                          "decoded_per_second", b->decode_rate, "planned_bytes", (double)b->facts.planned_bytes, "live_bytes",
                          (double)b->facts.live_bytes, "peak_resident_bytes", peak_resident());
    if (o)
        json_object_set_new(o, "least_bytes", json_real(least_memory(b)));
    char *text = o ? dt_json_text(o, 2, NULL) : NULL;
    if (text)
        puts(text);
    free(text);
    json_decref(o);
    return text ? DT_EXIT_GOOD : DT_EXIT_FAILURE;
}

static bool measure(bench *b, dt_error *error)
{
    json_t *json = dt_model_preset(b->name, NULL);
    if (!json && !(json = dt_json_load(b->name, error)))
        return dt_model_preset(b->name, error) != NULL; /* neither a preset nor a file: name the presets */
    json_t *text = json_object_get(json, "text_cfg");
    if (json_is_object(text) && !json_object_get(text, "vocab_size"))
        json_object_set_new(text, "vocab_size", json_integer(b->text_vocabulary));
    b->model = dt_model_new(json, NULL, 1, error);
    json_decref(json);
    if (!b->model || !make_batch(b, error))
        return false;
    b->sgemm = sgemm_rate(12);
    bool good = bench_training(b, error) &&
                bench_encoder(b, dt_image_encoder_new(b->model, dt_cpu(), b->batch, error), b->images, &b->image_seconds, error) &&
                bench_encoder(b, dt_text_encoder_new(b->model, dt_cpu(), b->batch, error), b->tokens, &b->text_seconds, error);
    double again = sgemm_rate(12);
    b->sgemm = again > b->sgemm ? again : b->sgemm;
    if (good && b->decode) {
        dt_transform t = dt_transform_default(DT_TRANSFORM_RANDOM_RESIZED_CROP, 224);
        good = dt_transform_benchmark(b->decode, &t, 3, &b->decode_rate, error);
    }
    return good;
}

int dt_cmd_bench(int argc, char **argv)
{
    bench b = {0};
    const dt_option options[] = {
        {"model", 'm', DT_STRING, &b.name, "NAME", .help = "preset, or file with a model's description", .preset = "ViT-B-32"},
        {"batch-size", 'b', DT_INT, &b.batch, "N", .help = "pairs in a step", .preset = "32", .least = 2, .most = 65536},
        {"chunk-size", 'c', DT_INT, &b.chunk, "N", .help = "gradient caching in chunks of N; 0: whole batches",
         .preset = "0", .most = 65536},
        {"steps", 'n', DT_INT, &b.steps, "N", .help = "steps to time; the median counts", .preset = "5", .least = 1, .most = 10000},
        {"vocabulary", 0, DT_INT, &b.text_vocabulary, "N", .help = "tokens, where the description leaves them open",
         .preset = "1314", .least = 4, .most = 1 << 20},
        {"decode", 'd', DT_STRING, &b.decode, "DIR", .help = "also time decoding and augmentation to 224 of the .jpg files in DIR, on one core"},
        {"ops", 0, DT_FLAG, &b.ops, .help = "list where the time of a training step goes"},
        {"json", 0, DT_FLAG, &b.json, .help = "one JSON object instead of text"},
    };
    const dt_usage usage = {"duet bench", NULL, "Measures training and encoding of a model with random data on this machine.",
                            options, sizeof options / sizeof *options, .least = 0, .most = 0};
    char **arguments;
    dt_error error;
    int count, status = dt_options_parse(&usage, argc, argv, &arguments, &count);
    if (status >= 0)
        return status;
    if (b.chunk && b.batch % b.chunk) {
        fprintf(stderr, "duet bench: --batch-size %d is not a multiple of --chunk-size %d\n", b.batch, b.chunk);
        return DT_EXIT_USAGE;
    }
    if (measure(&b, &error)) {
        status = DT_EXIT_GOOD;
        if (b.json)
            status = print_json(&b);
        else
            print_text(&b);
    } else {
        fprintf(stderr, "duet bench: %s\n", error.message);
        status = DT_EXIT_FAILURE;
    }
    dt_model_free(b.model);
    free(b.images);
    free(b.tokens);
    return status;
}
