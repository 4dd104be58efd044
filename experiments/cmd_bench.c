/* `duet bench`: how fast a model trains and encodes here, against the machine's own matrix rate measured in the same run; of two
 * towers in this file, of `duet vae` and `duet gan` in bench_generative.c. */
#include "experiments/commands.h"

#include "data/transform.h"
#include "experiments/bench_generative.h"
#include "experiments/bench_timing.h"
#include "experiments/device.h"
#include "experiments/options.h"
#include "experiments/print.h"
#include "experiments/shared_options.h"
#include "experiments/trainer.h"
#include "kernels/random.h"

#include <stdlib.h>

typedef struct bench {
    const char *name;
    int batch, chunk, steps, text_vocabulary;
    const char *decode;
    bool json, ops;
    const dt_backend *backend;
    dt_model *model;
    float *images;
    int32_t *tokens;
    double product_rate, train_seconds, image_seconds, text_seconds, train_flops, matrix_share;
    double decode_rate, taken;
    dt_plan_facts facts;
} bench;

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

typedef struct training {
    bench *b;
    dt_trainer *trainer;
    bool given;
} training;

/* As a run does it: the next batch is on its way while this one is computed with. */
static bool train_step(void *self, dt_error *error)
{
    training *t = self;
    dt_step_result result;
    bool good = t->given || dt_trainer_give(t->trainer, t->b->images, t->b->tokens, error);
    return good && dt_trainer_begin(t->trainer, error) &&
           (t->given = dt_trainer_give(t->trainer, t->b->images, t->b->tokens, error)) &&
           dt_trainer_end(t->trainer, 1e-4f, &result, error);
}

static bool bench_training(bench *b, dt_error *error)
{
    dt_step_times times;
    dt_op_times ops;
    dt_trainer_options o = {.batch_size = b->batch, .chunk_size = b->chunk, .max_logit_scale = 4.6052,
                            .optimizer = {.kind = DT_ADAMW, .beta1 = 0.9f, .beta2 = 0.98f, .eps = 1e-6f,
                                          .weight_decay = 0.1f, .clip_norm = 1}};
    training t = {b, dt_trainer_new(b->model, b->backend, &o, error), false};
    dt_plan *plan = t.trainer ? dt_trainer_plan(t.trainer) : NULL;
    bool good = plan && train_step(&t, error) && (b->backend->on_host || train_step(&t, error)); /* the second is recorded */
    good = good && dt_time_plans(train_step, &t, b->steps, &plan, 1, b->backend, &times, error);
    if (good) {
        b->facts = dt_plan_describe(plan);
        b->train_flops = b->facts.flops * (b->chunk ? b->batch / b->chunk : 1);
        b->train_seconds = times.median;
        b->taken = dt_device_taken(b->backend);
        dt_op_times_of(&ops, plan, b->steps);
        b->matrix_share = ops.matrix / ops.seconds;
        if (b->ops && !b->json)
            dt_op_times_print(&ops);
    }
    dt_trainer_free(t.trainer);
    return good;
}

typedef struct encoding {
    bench *b;
    dt_encoder *encoder;
    const void *samples;
    float *embeddings;
} encoding;

static bool encode_step(void *self, dt_error *error)
{
    const encoding *e = self;
    return dt_encoder_run(e->encoder, e->samples, e->b->batch, e->embeddings, error);
}

/* Takes over the encoder, which may be NULL. */
static bool bench_encoder(bench *b, dt_encoder *encoder, const void *samples, double *result, dt_error *error)
{
    dt_step_times times;
    encoding e = {b, encoder, samples, calloc((size_t)b->batch * (size_t)b->model->config.embed_dim, sizeof(float))};
    bool good = encoder && (e.embeddings || dt_fail(error, "out of memory")) && encode_step(&e, error) &&
                dt_time_steps(encode_step, &e, b->steps, &times, error);
    if (good)
        *result = times.median;
    dt_encoder_free(encoder);
    free(e.embeddings);
    return good;
}

/* Parameters, gradients and two moments, what lives at once, and the inputs: no trainer can do with less. */
static double least_memory(const bench *b)
{
    return 16.0 * (double)dt_params_size(b->model->params) + (double)b->facts.live_bytes + (double)b->facts.input_bytes;
}

/* Where a device's library refused a form, so that slower kernels took its place. */
static void print_notes(const dt_backend *backend)
{
    for (int i = 0; backend->note && backend->note(i); i++)
        printf("  slower than it might be: %s\n", backend->note(i));
}

static void print_text(const bench *b)
{
    double train = b->train_flops / b->train_seconds;
    printf("%s, batch %d, %.1f M parameters\n", b->name, b->batch, (double)dt_params_trainable(b->model->params) / 1e6);
    printf("  matrix product rate    %9.1f GFLOP/s   in %s\n", b->product_rate / 1e9, dt_precision_name(b->backend->precision));
    printf("  training               %9.2f pairs/s   %.1f ms a step\n", b->batch / b->train_seconds, 1e3 * b->train_seconds);
    printf("  training, model FLOPs  %9.1f GFLOP/s   %.1f %% of the product rate\n", train / 1e9,
           100 * train / b->product_rate);
    printf("  matrix products        %9.1f %% of the time of a step\n", 100 * b->matrix_share);
    printf("  image tower            %9.2f images/s\n", b->batch / b->image_seconds);
    printf("  text tower             %9.2f texts/s\n", b->batch / b->text_seconds);
    if (b->decode)
        printf("  decoding               %9.2f images/s a core\n", b->decode_rate);
    printf("  planned memory         %9.1f MiB   %.3f of the largest live set\n", dt_mebibytes((double)b->facts.planned_bytes),
           (double)b->facts.planned_bytes / (double)b->facts.live_bytes);
    printf("  peak resident memory   %9.1f MiB   arithmetic minimum %.1f MiB\n", dt_mebibytes(dt_peak_resident()),
           dt_mebibytes(least_memory(b)));
    if (b->taken > 0)
        printf("  taken of the device    %9.1f MiB\n", dt_mebibytes(b->taken));
    print_notes(b->backend);
}

static int print_json(const bench *b)
{
    dt_error error;
    json_t *o = json_pack("{s:s, s:s, s:s, s:i, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "model",
                          b->name, "device", b->backend->name, "precision", dt_precision_name(b->backend->precision), "batch",
                          b->batch, "parameters", (json_int_t)dt_params_trainable(b->model->params), "product_flops",
                          b->product_rate, "train_pairs_per_second", b->batch / b->train_seconds, "train_flops",
                          b->train_flops / b->train_seconds, "train_share_of_product",
                          b->train_flops / b->train_seconds / b->product_rate, "matrix_share_of_time", b->matrix_share,
                          "images_per_second", b->batch / b->image_seconds, "texts_per_second", b->batch / b->text_seconds,
                          "decoded_per_second", b->decode_rate, "planned_bytes", (double)b->facts.planned_bytes, "live_bytes",
                          (double)b->facts.live_bytes, "peak_resident_bytes", dt_peak_resident());
    if (o && b->taken > 0)
        json_object_set_new(o, "device_bytes", json_real(b->taken));
    if (o)
        json_object_set_new(o, "least_bytes", json_real(least_memory(b)));
    bool good = o && dt_print_json(o, 2, &error);
    json_decref(o);
    return good ? DT_EXIT_GOOD : DT_EXIT_FAILURE;
}

static bool bench_decoding(bench *b, dt_error *error)
{
    dt_transform t = dt_transform_default(DT_TRANSFORM_RANDOM_RESIZED_CROP, 224);
    return dt_transform_benchmark(b->decode, &t, 3, &b->decode_rate, error);
}

static bool measure(bench *b, dt_error *error)
{
    json_t *json = dt_model_description(b->name, NULL, 0, error);
    if (!json)
        return false;
    json_t *text = json_object_get(json, "text_cfg");
    if (json_is_object(text) && !json_object_get(text, "vocab_size"))
        json_object_set_new(text, "vocab_size", json_integer(b->text_vocabulary));
    b->model = dt_model_new(json, NULL, 1, error);
    json_decref(json);
    if (!b->model)
        return dt_fail_prefix(error, "%s", b->name);
    if (!make_batch(b, error) || (b->decode && !bench_decoding(b, error)))
        return false;
    b->product_rate = dt_matrix_rate(b->backend, 12);
    bool good = bench_training(b, error) &&
                bench_encoder(b, dt_image_encoder_new(b->model, b->backend, b->batch, error), b->images, &b->image_seconds, error) &&
                bench_encoder(b, dt_text_encoder_new(b->model, b->backend, b->batch, error), b->tokens, &b->text_seconds, error);
    double again = dt_matrix_rate(b->backend, 12);
    b->product_rate = again > b->product_rate ? again : b->product_rate;
    return good;
}

static int run_model(bench *b, const dt_device_options *device)
{
    dt_error error;
    int status = DT_EXIT_GOOD;
    if (b->chunk && b->batch % b->chunk) {
        fprintf(stderr, "duet bench: --batch-size %d is not a multiple of --chunk-size %d\n", b->batch, b->chunk);
        return DT_EXIT_USAGE;
    }
    b->backend = dt_device_open(device, b->json ? DT_DEVICE_SAY_NEWS : DT_DEVICE_SAY, &error);
    if (!b->backend || !measure(b, &error)) {
        fprintf(stderr, "duet bench: %s\n", error.message);
        status = DT_EXIT_FAILURE;
    } else if (b->json) {
        status = print_json(b);
    } else {
        print_text(b);
    }
    dt_model_free(b->model);
    free(b->images);
    free(b->tokens);
    return status;
}

static int run_generative(dt_generative_bench *g, const dt_device_options *device)
{
    dt_error error;
    g->backend = dt_device_open(device, g->json ? DT_DEVICE_SAY_NEWS : DT_DEVICE_SAY, &error);
    if (g->backend && dt_bench_generative(g, &error))
        return DT_EXIT_GOOD;
    fprintf(stderr, "duet bench: %s\n", error.message);
    return DT_EXIT_FAILURE;
}

int dt_cmd_bench(int argc, char **argv)
{
    bench b = {0};
    const char *vae = NULL, *gan = NULL;
    dt_device_options device = {0};
    const dt_option options[] = {
        {"model", 'm', DT_STRING, &b.name, "NAME", .help = "preset, or file with a model's description (default: ViT-B-32)"},
        {"vae", 0, DT_STRING, &vae, "CONFIG.json", .help = "instead of a model: a training step of duet vae"},
        {"gan", 0, DT_STRING, &gan, "CONFIG.json", .help = "instead of a model: a training step of duet gan"},
        {"batch-size", 'b', DT_INT, &b.batch, "N", .help = "pairs or images in a step (default: 32, or the configuration's)",
         .least = 2, .most = 65536},
        {"chunk-size", 'c', DT_INT, &b.chunk, "N", .help = "gradient caching in chunks of N; 0: whole batches",
         .preset = "0", .most = 65536},
        {"steps", 'n', DT_INT, &b.steps, "N", .help = "steps to time; the median counts", .preset = "5", .least = 1, .most = 10000},
        {"vocabulary", 0, DT_INT, &b.text_vocabulary, "N", .help = "tokens, where the description leaves them open (default: 1314)",
         .least = 4, .most = 1 << 20},
        {"decode", 'd', DT_STRING, &b.decode, "DIR", .help = "also time decoding and augmentation to 224 of the .jpg files in DIR, on one core"},
        {"ops", 0, DT_FLAG, &b.ops, .help = "list where the time of a training step goes"},
        DT_DEVICE_OPTIONS(device),
        DT_JSON_OPTION(b.json, ""),
    };
    const dt_usage usage = {"duet bench", NULL, "Measures training and encoding of a model with random data on this machine.",
                            options, sizeof options / sizeof *options, .least = 0, .most = 0};
    char **arguments;
    int count, status = dt_options_parse(&usage, argc, argv, &arguments, &count);
    if (status >= 0)
        return status;
    if (!vae && !gan) {
        b.name = b.name ? b.name : "ViT-B-32";
        b.batch = b.batch ? b.batch : 32;
        b.text_vocabulary = b.text_vocabulary ? b.text_vocabulary : 1314;
        return run_model(&b, &device);
    }
    if ((vae && gan) || b.name || b.chunk || b.text_vocabulary || b.decode) {
        fprintf(stderr, "duet bench: --vae and --gan go with --batch-size, --steps, --ops and --json alone (and --device and "
                        "--precision), one of the two; see duet bench --help\n");
        return DT_EXIT_USAGE;
    }
    return run_generative(&(dt_generative_bench){gan ? gan : vae, gan != NULL, b.batch, b.steps, b.ops, b.json}, &device);
}
