/* The step of fine-tuning: its loss against the definition in double, its gradient against finite differences, mixup's shares
 * against the Beta distribution; and weights between two sets of them. */
#include "data/shuffle.h"
#include "experiments/finetuner.h"
#include "experiments/interpolation.h"
#include "tests/op_check.h"

enum { BATCH = 5, SIDE = 8, PIXELS = SIDE * SIDE * 3, CONTEXT = 6, CLASSES = 3, STEP = 11 };

#define TEXT ", \"text_cfg\": {\"context_length\": 6, \"vocab_size\": 20, \"width\": 8, \"heads\": 2, \"layers\": 2}"

static const char vit[] = "{\"embed_dim\": 4, \"vision_cfg\": {\"image_size\": 8, \"patch_size\": 4, \"width\": 8,"
                          " \"layers\": 2, \"head_width\": 4}" TEXT "}";
static const char residual[] = "{\"embed_dim\": 4, \"vision_cfg\": {\"tower\": \"residual\", \"image_size\": 8,"
                               " \"widths\": [4, 8], \"blocks\": [1, 1]}}";
static const char pixels[] = "{\"vision_cfg\": {\"tower\": \"pixels\", \"image_size\": 1}}";

static const int32_t labels[BATCH] = {2, 0, 1, 1, 2};
static dt_error error;

static void must(bool good)
{
    if (!good)
        printf("Bail out! %s\n", error.message), exit(1);
}

/* A classifier whose parameters, the head's too, are random. */
static dt_model *classifier(const char *description, const char *tower, const char *input, int classes)
{
    json_t *json = dt_json_parse(description, strlen(description), "description", &error), *names = json_array();
    dt_model *model = json ? dt_model_new(json, NULL, 7, &error) : NULL;
    json_decref(json);
    must(model != NULL);
    for (int c = 0; c < classes; c++)
        json_array_append_new(names, json_sprintf("class %d", c));
    model = dt_model_with_head(model, json_pack("{s:s, s:s, s:o}", "tower", tower, "input", input, "classes", names), &error);
    must(model != NULL);
    for (int i = 0; i < dt_params_count(model->params); i++) {
        const dt_param_info *info = dt_params_info(model->params, i);
        float *value = dt_params_value(model->params, i), *noise = calloc(info->count + 1, sizeof *noise);
        op_random(noise, info->count, 100 + (uint64_t)i);
        for (size_t k = 0; k < info->count && info->trainable; k++)
            value[k] += 0.2f * noise[k];
        free(noise);
    }
    return model;
}

/* ---- Mixup's share, found from outside ---- */

/* Two grey values 1 and -1 and a head that makes K times the value the one class's logit, less for the other: the mixed images'
 * logits are K (1 - 2 s) and -K (1 - 2 s), and with both labels 0 the loss is ln(2 cosh(u / 2)), u = K (1 - 2 s). */
typedef struct gauge {
    dt_model *model;
    dt_finetuner *tuner;
} gauge;

static const float sharpness = 64;

static gauge gauge_new(double alpha, uint64_t seed)
{
    gauge g = {.model = classifier(pixels, "image", "features", 2)};
    const float weight[] = {sharpness, 0}, bias[] = {0, 0};
    memcpy(dt_params_value(g.model->params, dt_params_find(g.model->params, "head.weight")), weight, sizeof weight);
    memcpy(dt_params_value(g.model->params, dt_params_find(g.model->params, "head.bias")), bias, sizeof bias);
    const dt_finetuner_options o = {.batch_size = 2, .layers = -1, .layer_decay = 1, .mixup = alpha, .seed = seed,
                                    .optimizer = {.kind = DT_SGD}};
    must((g.tuner = dt_finetuner_new(g.model, dt_cpu(), &o, &error)) != NULL);
    return g;
}

static double gauge_share(gauge *g, uint64_t step, double *accuracy)
{
    const float images[] = {1, 1, 1, -1, -1, -1};
    const int32_t both[] = {0, 0}, own[] = {0, 1};
    dt_finetune_result result;
    dt_optimizer_set_steps(dt_finetuner_optimizer(g->tuner), step);
    if (accuracy) {
        must(dt_finetuner_step(g->tuner, images, own, 0, &result, &error));
        *accuracy = result.accuracy;
        return 0;
    }
    must(dt_finetuner_step(g->tuner, images, both, 0, &result, &error));
    return (1 - 2 * acosh(fmax(exp(result.loss) / 2, 1)) / (double)sharpness) / 2;
}

static void gauge_free(gauge *g)
{
    dt_finetuner_free(g->tuner);
    dt_model_free(g->model);
}

/* E min(X, 1 - X) for X from Beta(a, a) is I_1/2(a + 1, a) = 1/2 - 2^(-2a) / (a B(a, a)). Of what lies in [0, 1/2] with mean m the
 * variance is at most m (1/2 - m); four deviations of the mean of N draws. */
static void shares(double alpha)
{
    enum { N = 3000 };
    double want = 0.5 - pow(2, -2 * alpha) / (alpha * exp(2 * lgamma(alpha) - lgamma(2 * alpha)));
    double tolerance = 4 * sqrt(want * (0.5 - want) / N), sum = 0, least = 1, most = 0, worst = 1, accuracy;
    gauge g = gauge_new(alpha, 3);
    for (uint64_t step = 0; step < N; step++) {
        double share = gauge_share(&g, step, NULL);
        sum += share;
        least = fmin(least, share);
        most = fmax(most, share);
        if (step < 100 && share < 0.499) { /* at a half either class is right */
            gauge_share(&g, step, &accuracy);
            worst = fmin(worst, accuracy);
        }
    }
    ok(fabs(sum / N - want) < tolerance, "Beta(%g, %g): mean share %.4f, expected %.4f within %.4f", alpha, alpha, sum / N, want,
       tolerance);
    ok(least > -1e-4 && most <= 0.5 && most > 0.45 && least < 0.05, "from %.4f to %.4f", least, most);
    ok(worst == 1, "an image keeps the greater share of itself");
    gauge_free(&g);
}

static void shares_repeat(void)
{
    gauge none = gauge_new(1e-310, 3);
    ok(fabs(gauge_share(&none, 0, NULL)) < 1e-5, "a parameter near zero mixes nothing");
    gauge_free(&none);
    gauge a = gauge_new(1, 3), b = gauge_new(1, 3), c = gauge_new(1, 4);
    bool same = true;
    int near_other = 0, near_next = 0;
    for (uint64_t step = 0; step < 50; step++) {
        double share = gauge_share(&a, step, NULL);
        same = same && share == gauge_share(&b, step, NULL);
        near_other += fabs(share - gauge_share(&c, step, NULL)) < 1e-3;
        near_next += fabs(share - gauge_share(&a, step + 1, NULL)) < 1e-3;
    }
    ok(same, "shares are a function of seed and step");
    ok(near_other < 5 && near_next < 5, "and others of other seeds and steps");
    gauge_free(&a);
    gauge_free(&b);
    gauge_free(&c);
}

/* ---- The loss and its gradient ---- */

typedef struct subject {
    const char *name, *description, *tower, *input;
    int layers;
    double smoothing, mixup;
} subject;

static void make_samples(const subject *s, float *images, int32_t *tokens)
{
    op_random(images, BATCH * PIXELS, 5);
    for (int i = 0; i < BATCH * CONTEXT; i++) /* the greatest token of a row is its end, wherever it stands */
        tokens[i] = i % CONTEXT == 2 + i / CONTEXT % 4 ? 19 : (int32_t)(dt_hash64(1, (uint64_t)i, 0) % 19);
    if (s->mixup > 0) {
        gauge g = gauge_new(s->mixup, 0);
        float share = (float)gauge_share(&g, STEP, NULL), mixed[BATCH * PIXELS];
        gauge_free(&g);
        for (size_t i = 0; i < BATCH * PIXELS; i++) {
            size_t other = (BATCH - 1 - i / PIXELS) * PIXELS + i % PIXELS;
            mixed[i] = (1 - share) * images[i] + share * images[other];
        }
        memcpy(images, mixed, sizeof mixed);
    }
}

static double cross_entropy(const float *x, int32_t label, double smoothing)
{
    double sum = 0, all = 0;
    for (int c = 0; c < CLASSES; c++)
        sum += exp((double)x[c]);
    for (int c = 0; c < CLASSES; c++)
        all += log(sum) - (double)x[c];
    return (1 - smoothing) * (log(sum) - (double)x[label]) + smoothing * all / CLASSES;
}

/* The loss from the classifier's logits, in evaluation mode. */
static double expected(const subject *s, dt_model *model)
{
    float images[BATCH * PIXELS], logits[BATCH * CLASSES];
    int32_t tokens[BATCH * CONTEXT];
    double share = 0, loss = 0;
    make_samples(s, images, tokens);
    if (s->mixup > 0) {
        gauge g = gauge_new(s->mixup, 0);
        share = gauge_share(&g, STEP, NULL);
        gauge_free(&g);
    }
    bool text = model->head.tower == DT_TOWER_TEXT;
    dt_encoder *encoder = dt_encoder_new(model, dt_cpu(), model->head.tower, DT_LAYER_LOGITS, BATCH, &error);
    must(encoder && dt_encoder_run(encoder, text ? (void *)tokens : (void *)images, BATCH, logits, &error));
    for (int i = 0; i < BATCH; i++)
        loss += ((1 - share) * cross_entropy(logits + i * CLASSES, labels[i], s->smoothing) +
                 share * cross_entropy(logits + i * CLASSES, labels[BATCH - 1 - i], s->smoothing)) / BATCH;
    dt_encoder_free(encoder);
    return loss;
}

/* The loss of the step; its learning rate is zero, so that only the gradients change. */
static double loss_of(dt_finetuner *tuner, const void *samples)
{
    dt_finetune_result result;
    dt_optimizer_set_steps(dt_finetuner_optimizer(tuner), STEP);
    must(dt_finetuner_step(tuner, samples, labels, 0, &result, &error));
    return result.loss;
}

/* The slope along the gradient g of one parameter, and along g with every other sign turned, by central differences with a
 * step of length h: the worst difference from g . direction, as a share of |g| (of 0.02 at least: rounding in the loss is some
 * 2^-23 / h = 3e-5). Truncation is h^2 / 6 = 3e-6 of the third derivative. */
static double worst_slope(dt_finetuner *tuner, const void *samples, float *value, const float *g, size_t count)
{
    const double h = 1.0 / 256;
    double worst = 0, length = 0;
    float *start = malloc(count * sizeof *start);
    memcpy(start, value, count * sizeof *start);
    for (size_t k = 0; k < count; k++)
        length += (double)g[k] * (double)g[k];
    length = sqrt(length);
    for (int turn = 0; turn < 2; turn++) {
        double slope = 0, analytic = 0;
        for (int sign = -1; sign <= 1; sign += 2) {
            for (size_t k = 0; k < count; k++)
                value[k] = start[k] + (float)(sign * h / length) * (turn && k % 2 ? -g[k] : g[k]);
            slope += sign * loss_of(tuner, samples) / (2 * h);
        }
        for (size_t k = 0; k < count; k++)
            analytic += (double)g[k] * (double)g[k] / length * (turn && k % 2 ? -1 : 1);
        worst = larger(worst, fabs(slope - analytic) / fmax(length, 0.02));
    }
    memcpy(value, start, count * sizeof *start);
    free(start);
    return worst;
}

static void gradient(const subject *s)
{
    dt_model *model = classifier(s->description, s->tower, s->input, CLASSES);
    float images[BATCH * PIXELS];
    int32_t tokens[BATCH * CONTEXT];
    make_samples(&(subject){0}, images, tokens);
    const void *samples = model->head.tower == DT_TOWER_TEXT ? (void *)tokens : (void *)images;
    const dt_finetuner_options o = {.batch_size = BATCH, .layers = s->layers, .layer_decay = 0.9, .smoothing = s->smoothing,
                                    .mixup = s->mixup, .optimizer = {.kind = DT_SGD}};
    dt_finetuner *tuner = dt_finetuner_new(model, dt_cpu(), &o, &error);
    must(tuner != NULL);
    double loss = loss_of(tuner, samples), want = expected(s, model), worst = 0;
    bool training = s->layers < 0 && model->config.vision == DT_VISION_RESIDUAL;
    ok((fabs(loss - want) < 1e-5) == !training, "%s: the loss %.6f is%s what the logits in evaluation mode give, %.6f", s->name,
       loss, training ? " not" : "", want);
    const char *where = "";
    int trained = 0, without = 0;
    for (int i = 0; i < dt_params_count(model->params); i++) {
        const dt_param_info *info = dt_params_info(model->params, i);
        if (!info->trainable || info->rate <= 0)
            continue;
        loss_of(tuner, samples);
        float *g = malloc(info->count * sizeof *g), sum = 0;
        memcpy(g, dt_params_gradient(model->params, i), info->count * sizeof *g);
        for (size_t k = 0; k < info->count; k++)
            sum += fabsf(g[k]);
        trained++;
        without += !(sum > 0);
        double off = sum > 0 ? worst_slope(tuner, samples, dt_params_value(model->params, i), g, info->count) : 0;
        where = off > worst ? info->name : where;
        worst = larger(worst, off);
        free(g);
    }
    bool corners = model->config.vision == DT_VISION_RESIDUAL && model->head.tower == DT_TOWER_IMAGE; /* of ReLU, within a step */
    ok(worst < (corners ? 0.05 : 0.01), "%s: gradients agree with differences (worst %.1e, %s)", s->name, worst, where);
    ok(trained > (s->layers ? 10 : 1) && !without, "%s: all %d trained parameters have one", s->name, trained);
    dt_finetuner_free(tuner);
    dt_model_free(model);
}

/* ---- Between two sets of weights ---- */

static bool same(const float *a, const float *b, size_t count)
{
    return !memcmp(a, b, count * sizeof *a);
}

static void interpolation(void)
{
    dt_model *model = classifier(residual, "image", "embedding", CLASSES);
    dt_params *p = model->params;
    size_t count = dt_params_size(p), buffers = dt_params_buffer_size(p);
    dt_snapshot a = {0}, b = {0};
    dt_params_values(p)[3] = -0.0f; /* a sum with zero would lose its sign */
    must(dt_snapshot_take(&a, model, &error));
    for (size_t i = 0; i < count; i++)
        dt_params_values(p)[i] = i == 5 ? -0.0f : dt_params_values(p)[i] * 3 + 1e-3f;
    for (size_t i = 0; i < buffers; i++)
        dt_params_buffers(p)[i] += 2 + (float)i;
    must(dt_snapshot_take(&b, model, &error));
    ok(buffers > 0 && !same(a.values, b.values, count) && !same(a.buffers, b.buffers, buffers), "two sets of weights");
    dt_interpolate(model, &a, &b, 0);
    ok(same(dt_params_values(p), a.values, count) && same(dt_params_buffers(p), a.buffers, buffers), "at 0 the bits of the first");
    dt_interpolate(model, &a, &b, 1);
    ok(same(dt_params_values(p), b.values, count) && same(dt_params_buffers(p), b.buffers, buffers), "at 1 those of the second");
    dt_interpolate(model, &a, &b, 0.5);
    double worst = 0;
    for (size_t i = 0; i < count; i++)
        worst = larger(worst, fabsf(dt_params_values(p)[i] - (a.values[i] / 2 + b.values[i] / 2)));
    ok(worst < 1e-6f, "halfway the mean (%.1e)", (double)worst);
    dt_interpolate(model, &a, &b, 0.25);
    worst = 0;
    for (size_t i = 0; i < buffers; i++)
        worst = larger(worst, fabsf(dt_params_buffers(p)[i] - (0.75f * a.buffers[i] + 0.25f * b.buffers[i])));
    ok(worst < 1e-4f, "a quarter of the way a quarter of the second's running statistics (%.1e)", (double)worst);
    dt_snapshot_free(&a);
    dt_snapshot_free(&b);
    dt_snapshot_free(&b);
    dt_model_free(model);
}

int main(void)
{
    static const subject subjects[] = {
        {"ViT, head on features", vit, "image", "features", -1, 0, 0},
        {"ViT, head on embeddings", vit, "image", "embedding", -1, 0, 0},
        {"ViT, the head alone", vit, "image", "embedding", 0, 0, 0},
        {"ViT, smoothed labels", vit, "image", "embedding", -1, 0.2, 0},
        {"ViT, mixup", vit, "image", "features", -1, 0, 0.5},
        {"ViT, mixup and smoothed labels", vit, "image", "features", -1, 0.1, 1},
        {"residual, training", residual, "image", "features", -1, 0, 0},
        {"residual, stored statistics", residual, "image", "embedding", 2, 0, 0},
        {"text, head on features", vit, "text", "features", -1, 0, 0},
        {"text, head on embeddings", vit, "text", "embedding", -1, 0.1, 0},
    };
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++)
        gradient(&subjects[i]);
    shares(0.2);
    shares(1);
    shares(2);
    shares_repeat();
    interpolation();
    return done();
}
