/* The autoencoders against torch, their gradients through the reparameterised bound against differences, and what they
 * refuse. */
#include "encoders/vae.h"
#include "kernels/random.h"
#include "losses/elbo.h"
#include "tests/op_check.h"
#include "tests/spread.h"

enum { N = 2, SHOWN = 12 };

static const dt_vae_config perceptron = {.image_size = 4, .channels = 3, .layers = 2, .widths = {7, 5}, .latent = 3};
static const dt_vae_config convolutional = {.image_size = 8, .channels = 3, .network = DT_VAE_CONV, .layers = 2,
                                            .widths = {4, 6}, .latent = 3};

static dt_vae_config with_tanh(void)
{
    dt_vae_config c = perceptron;
    c.tanh = true;
    return c;
}

static dt_vae_config with_codes(void)
{
    dt_vae_config c = convolutional;
    c.codes = 5;
    c.code_decay = 0.9f;
    return c;
}

/* Weights of their inputs' size, biases around 0. */
static void fill(dt_params *params)
{
    for (int k = 0; k < dt_params_count(params); k++) {
        const dt_param_info *info = dt_params_info(params, k);
        double scale = info->shape.rank > 1 ? sqrt(24.0 / (double)dt_span(&info->shape, 1, info->shape.rank)) : 1;
        if (info->trainable)
            spread(info->name, dt_params_value(params, k), info->count, -scale / 2, scale);
    }
}

static size_t pixels(const dt_vae_config *c)
{
    return (size_t)(N * c->image_size * c->image_size * c->channels);
}

typedef struct recorded {
    dt_graph *graph;
    dt_params *params;
    dt_scope scope;
    dt_plan *plan;
    dt_tensor *x;
} recorded;

static recorded start(const dt_vae_config *c)
{
    recorded r = {.graph = dt_graph_new(), .params = dt_params_new()};
    r.scope = (dt_scope){r.graph, r.params, "vae"};
    r.x = dt_input(r.graph, "x", DT_F32, dt_dims(N, c->image_size, c->image_size, c->channels));
    return r;
}

static bool plan(recorded *r)
{
    if (!dt_params_allocated(r->params))
        dt_params_allocate(r->params, 1);
    r->plan = dt_plan_new(r->graph, dt_cpu(), NULL);
    return ok(r->plan != NULL, "planned %s", r->plan ? "" : dt_graph_error(r->graph));
}

static bool run(recorded *r, const dt_vae_config *c)
{
    float *x = malloc(sizeof *x * pixels(c));
    spread("x", x, pixels(c), 0, 1);
    dt_plan_write(r->plan, r->x, x);
    free(x);
    const char *message = dt_plan_run(r->plan, 1, 0);
    return ok(!message, "run %s", message ? message : "");
}

static void drop(recorded *r)
{
    dt_plan_free(r->plan);
    dt_graph_free(r->graph);
    dt_params_free(r->params);
}

static float *value(recorded *r, const char *name)
{
    int i = dt_params_find(r->params, name);
    return i < 0 ? NULL : dt_params_value(r->params, i);
}

/* ---- torch 2.15, float64, on the values of fill ---- */

static const float tanh_mu[] = {-0.435427061f, -0.750664648f, 0.907754311f, 0.840664115f, -1.59551117f, 0.881014568f};
static const float tanh_log_variance[] = {
    -0.297071052f, 1.94995944f, -1.25815242f, 0.720819236f, 1.38531814f, -1.36151839f};
static const float tanh_output[SHOWN] = {
    -0.652789164f, 0.337868036f, 0.16421459f, -0.408356322f, 0.239003841f, -0.513813587f, -0.353434357f, 0.131474269f,
    0.347074022f, -0.758668365f, 0.16771297f, -0.737459353f};
static const float relu_mu[] = {-2.01781987f, -2.02019675f, 3.68059135f, -1.54035779f, -2.46393639f, 2.84337132f};
static const float relu_log_variance[] = {
    -0.168366711f, 3.79483065f, -3.0752945f, 0.841471513f, 4.86658512f, -4.34231253f};
static const float relu_output[SHOWN] = {
    -0.239757067f, -0.0756039309f, 0.216400097f, -0.284593436f, 0.141730012f, -0.648509963f, -0.330046893f, 0.0801420972f,
    0.520946289f, -1.30450053f, -0.196748867f, -0.956464062f};
static const float conv_mu[] = {1.6386663f, 7.04230293f, 1.70854491f, 1.91078878f, 4.70283273f, 0.36865321f};
static const float conv_log_variance[] = {0.540509484f, 2.37371751f, 2.14947484f, 1.1971638f, 1.98939668f, 1.98853118f};
static const float conv_output[SHOWN] = {
    -0.244807835f, 2.09020087f, 0.27659415f, -1.77656335f, -1.3206483f, 0.502130785f, -0.233226482f, 1.10655896f,
    -0.24397326f, -1.13540324f, -1.28237692f, 0.380831396f};
static const float grid_codes[SHOWN] = {
    -0.0369490309f, 2.1190548f, -0.0836451035f, -0.273222366f, 0.473621108f, -0.338318196f, -0.254436239f, 1.00211317f,
    -0.50951908f, 0.45395478f, -0.381932085f, -0.278413744f};
static const float grid_output[SHOWN] = {
    -0.131855903f, -0.473358794f, -0.57009159f, -0.260400416f, 0.522144922f, -0.137885451f, -0.136686518f, -0.472456551f,
    -0.546095221f, -0.23251252f, 0.455753923f, -0.00424583354f};

/* SHOWN numbers of x, `step` apart. */
static void every(const char *name, const recorded *r, const dt_tensor *x, size_t step, const float *want)
{
    size_t count = (size_t)dt_count(&x->shape);
    float *all = malloc(sizeof *all * count), shown[SHOWN];
    dt_plan_read(r->plan, x, all);
    for (size_t i = 0; i < SHOWN; i++)
        shown[i] = i * step < count ? all[i * step] : NAN;
    near(name, shown, want, SHOWN, 1e-5);
    free(all);
}

static void parity(const char *name, dt_vae_config c, size_t step, const float *mu, const float *log_variance,
                   const float *output)
{
    recorded r = start(&c);
    dt_posterior q = dt_vae_encode(r.scope, &c, r.x);
    dt_tensor *decoded = dt_keep(dt_vae_decode(r.scope, &c, q.mu).output);
    dt_keep(q.mu);
    dt_keep(q.log_variance);
    float got[2][6];
    if (plan(&r)) {
        fill(r.params);
        run(&r, &c);
        dt_plan_read(r.plan, q.mu, got[0]);
        dt_plan_read(r.plan, q.log_variance, got[1]);
        near(name, got[0], mu, 6, 1e-5);
        near("log variance", got[1], log_variance, 6, 1e-5);
        every("output", &r, decoded, step, output);
        value(&r, "vae.encoder.log_variance.bias")[0] = 50;
        value(&r, "vae.encoder.log_variance.bias")[1] = -50;
        run(&r, &c);
        dt_plan_read(r.plan, q.log_variance, got[1]);
        ok(got[1][0] == 10 && got[1][1] == -10, "%s: log variance stays in -10..10", name);
    }
    drop(&r);
}

static void grid_parity(void)
{
    dt_vae_config c = with_codes();
    recorded r = start(&c);
    dt_tensor *grid = dt_keep(dt_vae_encode_grid(r.scope, &c, r.x));
    dt_tensor *output = dt_keep(dt_vae_decode_grid(r.scope, &c, grid).output);
    if (plan(&r)) {
        fill(r.params);
        run(&r, &c);
        every("grid", &r, grid, 2, grid_codes);
        every("its output", &r, output, 32, grid_output);
    }
    drop(&r);
}

/* ---- Gradients of the bound ---- */

/* The negative bound with two draws a sample. */
static dt_tensor *bound(recorded *r, const dt_vae_config *c)
{
    dt_posterior q = dt_vae_encode(r->scope, c, r->x);
    dt_tensor *z = dt_reparameterise(q.mu, q.log_variance, dt_random_normals(r->graph, dt_dims(2 * N, c->latent)));
    dt_reconstruction p = dt_vae_decode(r->scope, c, z);
    dt_tensor *fit = p.log_scale ? dt_gaussian_log_prob(p.output, p.log_scale, r->x) : dt_bernoulli_log_prob(p.output, r->x);
    dt_tensor *kl = dt_scale(dt_sum(dt_gaussian_kl(q.mu, q.log_variance), DT_ALL, false), 1.0f / N);
    return dt_sub(kl, dt_mean(fit, DT_ALL, false));
}

static double loss_of(recorded *r, const dt_tensor *loss)
{
    float number = NAN;
    if (!dt_plan_run(r->plan, 1, 0))
        dt_plan_read(r->plan, loss, &number);
    return (double)number;
}

/* How far the slope along a random direction of parameter i is from its gradient's, of the most that it could be. */
static double slope_error(recorded *r, const dt_tensor *loss, int i, double h)
{
    size_t n = dt_params_info(r->params, i)->count;
    float *at = dt_params_value(r->params, i), *direction = malloc(sizeof *at * n), *was = malloc(sizeof *at * n);
    double analytic = 0, steepest = 0, length = 0, size = 0;
    op_random(direction, n, 77);
    memcpy(was, at, sizeof *at * n);
    for (size_t k = 0; k < n; k++) {
        double gradient = (double)dt_params_gradient(r->params, i)[k];
        analytic += gradient * direction[k];
        steepest += gradient * gradient;
        length += (double)direction[k] * direction[k];
    }
    for (int sign = 1; sign >= -1; sign -= 2) {
        for (size_t k = 0; k < n; k++)
            at[k] = (float)(was[k] + sign * h * direction[k]);
        double number = loss_of(r, loss);
        analytic -= sign * number / (2 * h);
        size += fabs(number);
    }
    memcpy(at, was, sizeof *at * n);
    loss_of(r, loss);
    free(direction);
    free(was);
    return fabs(analytic) / (sqrt(steepest * length) + 1e-6 * size / h);
}

/* Central differences of step h: the error is of h^2, or of h where rectifiers bend. */
static void differences(const char *name, dt_vae_config c, double h, double allowed)
{
    recorded r = start(&c);
    dt_tensor *loss = dt_keep(bound(&r, &c));
    dt_store_gradients(loss, false);
    if (plan(&r)) {
        double worst = 0;
        int at = 0;
        fill(r.params);
        run(&r, &c);
        for (int i = 0; i < dt_params_count(r.params); i++) {
            double error = slope_error(&r, loss, i, h);
            at = error > worst ? i : at;
            worst = larger(worst, error);
        }
        ok(worst < allowed, "%s: gradients of %d parameters agree with differences (at most %.1e off, %s)", name,
           dt_params_count(r.params), worst, dt_params_info(r.params, at)->name);
    }
    drop(&r);
}

/* ---- Names, starts, and the small functions ---- */

/* That the parameters are these and no others. */
static void names(const char *what, dt_vae_config c, const char *const *expected, int count)
{
    recorded r = start(&c);
    dt_vae_declare(r.scope, &c);
    int found = 0;
    for (int i = 0; i < count; i++) {
        int at = dt_params_find(r.params, expected[i]);
        found += at >= 0;
        if (at < 0)
            printf("# no %s\n", expected[i]);
    }
    ok(!dt_graph_error(r.graph) && found == count && dt_params_count(r.params) == count, "%s: %d of %d names", what, found,
       count);
    drop(&r);
}

static void all_names(void)
{
    static const char *const layers[] = {"encoder.fc0", "encoder.fc1", "encoder.mu", "encoder.log_variance", "decoder.fc0",
                                         "decoder.fc1", "decoder.output"};
    static const char *const stages[] = {"encoder.conv0", "encoder.conv1", "encoder.block0.conv1", "encoder.block0.conv2",
                                         "encoder.block1.conv1", "encoder.block1.conv2", "decoder.input",
                                         "decoder.block0.conv1", "decoder.block0.conv2", "decoder.block1.conv1",
                                         "decoder.block1.conv2", "decoder.up0", "decoder.output", "encoder.mu",
                                         "encoder.log_variance"};
    enum { LAYERS = sizeof layers / sizeof *layers, STAGES = sizeof stages / sizeof *stages, MOST = 2 * STAGES };
    static char text[MOST][64];
    const char *full[MOST];
    dt_vae_config c = perceptron;
    for (int i = 0; i < MOST; i++)
        full[i] = text[i];
    for (int i = 0; i < 2 * LAYERS; i++)
        snprintf(text[i], sizeof text[i], "vae.%s.%s", layers[i / 2], i % 2 ? "bias" : "weight");
    snprintf(text[2 * LAYERS], sizeof text[0], "vae.decoder.log_scale");
    c.likelihood = DT_LIKELIHOOD_GAUSSIAN;
    c.learned_scale = true;
    names("MLP with a learned scale", c, full, 2 * LAYERS + 1);
    c.learned_scale = false;
    names("MLP with a fixed one", c, full, 2 * LAYERS);
    for (int i = 0; i < MOST; i++)
        snprintf(text[i], sizeof text[i], "vae.%s.%s", stages[i / 2], i % 2 ? "bias" : "weight");
    names("convolutional", convolutional, full, MOST);
    static const char *const of_codes[] = {"encoder.code.weight", "encoder.code.bias", "codebook.counts", "codebook.sums"};
    for (int i = 0; i < 4; i++)
        snprintf(text[MOST - 4 + i], sizeof text[0], "vae.%s", of_codes[i]);
    names("VQ-VAE", with_codes(), full, MOST);
}

static double deviation(const recorded *r, const dt_tensor *x)
{
    size_t count = (size_t)dt_count(&x->shape);
    float *all = malloc(sizeof *all * count);
    double sum = 0, squares = 0;
    dt_plan_read(r->plan, x, all);
    for (size_t i = 0; i < count; i++)
        sum += (double)all[i], squares += (double)all[i] * all[i];
    free(all);
    return sqrt(squares / (double)count - sum / (double)count * sum / (double)count);
}

/* At the size of use, what the initial networks give is neither small nor large. */
static void starts(const char *name, dt_vae_config c)
{
    recorded r = start(&c);
    dt_posterior q = dt_vae_encode(r.scope, &c, r.x);
    dt_tensor *z = dt_random_normals(r.graph, dt_dims(N, c.latent)), *output = dt_keep(dt_vae_decode(r.scope, &c, z).output);
    dt_keep(q.mu);
    dt_keep(q.log_variance);
    if (plan(&r) && run(&r, &c)) {
        double mu = deviation(&r, q.mu), log_variance = deviation(&r, q.log_variance), decoded = deviation(&r, output);
        ok(mu > 0.05 && mu < 3 && log_variance > 0.05 && log_variance < 3 && decoded > 0.05 && decoded < 0.75,
           "%s: deviations at the start: mu %.2f, log variance %.2f, output %.2f", name, mu, log_variance, decoded);
    }
    drop(&r);
}

static void usual_starts(void)
{
    dt_vae_config c = {.image_size = 28, .channels = 1, .tanh = true, .layers = 2, .widths = {200, 200}, .latent = 50};
    starts("tanh", c);
    c.tanh = false;
    starts("relu", c);
    starts("convolutional", (dt_vae_config){.image_size = 32, .channels = 3, .network = DT_VAE_CONV, .layers = 3,
                                            .widths = {32, 64, 64}, .latent = 64});
}

/* A grey image, its target, its features, and where the output's bias starts. */
static void small_functions(void)
{
    dt_vae_config c = with_tanh();
    c.channels = 1;
    recorded r = start(&c);
    dt_tensor *images = dt_input(r.graph, "images", DT_F32, dt_dims(N, 4, 4, 3));
    dt_tensor *target = dt_keep(dt_vae_target(&c, images)), *features = dt_keep(dt_vae_features(r.scope, &c, images));
    dt_tensor *mu = dt_keep(dt_vae_encode(r.scope, &c, r.x).mu);
    dt_tensor *output = dt_vae_decode(r.scope, &c, dt_fill(r.graph, dt_dims(1, 3), 0)).output;
    dt_tensor *picture = dt_keep(dt_vae_picture(&c, output));
    float colours[N * 48], grey[N * 16], seen[N * 16], mean[16], shown[16], code[2][N * 3];
    spread("x", grey, N * 16, 0, 1);
    for (int i = 0; i < N * 48; i++)
        colours[i] = i % 3 ? 0.3f : grey[i / 3];
    spread("mean", mean, 16, 0.1, 0.8);
    if (plan(&r)) {
        ok(dt_vae_start_at(r.params, "vae", &c, mean), "the output starts at a mean image");
        ok(!dt_vae_start_at(r.params, "vea", &c, mean), "which a model without an output does not");
        dt_plan_write(r.plan, images, colours);
        run(&r, &c);
        dt_plan_read(r.plan, target, seen);
        ok(!memcmp(seen, grey, sizeof seen), "grey is the first of three channels");
        dt_plan_read(r.plan, features, code[0]);
        dt_plan_read(r.plan, mu, code[1]);
        ok(!memcmp(code[0], code[1], sizeof code[0]), "the features are the mean of q");
        dt_plan_read(r.plan, picture, shown); /* z = 0 gives tanh(0) = 0 in every hidden layer: only the bias is left */
        near("the picture of z = 0 is the mean image", shown, mean, 16, 1e-6);
        memset(mean, 0, sizeof mean);
        dt_vae_start_at(r.params, "vae", &c, mean);
        near("the logit of 0 is that of 0.001", value(&r, "vae.decoder.output.bias"), (const float[]){-6.90675478f}, 1, 1e-5);
    }
    drop(&r);
}

/* Of a mean with a scale: middle grey at the start, a bias a channel, and pictures inside 0..1. */
static void means(void)
{
    dt_vae_config c = with_codes();
    c.likelihood = DT_LIKELIHOOD_LOGISTIC;
    c.learned_scale = true;
    c.fixed_log_scale = -2;
    recorded r = start(&c);
    dt_reconstruction p = dt_vae_decode_grid(r.scope, &c, dt_vae_encode_grid(r.scope, &c, r.x));
    dt_tensor *picture = dt_keep(dt_vae_picture(&c, dt_affine(p.output, 100, -50)));
    dt_tensor *features = dt_vae_features(r.scope, &c, r.x);
    dt_keep(p.log_scale);
    ok(dt_vae_grid(&c) == 2 && dt_same_shape(&features->shape, &dt_dims(N, 2 * 2 * 3)), "features of a VQ-VAE are its grid");
    float mean[8 * 8 * 3], scale, low = 1, high = 0, *shown = malloc(sizeof *shown * pixels(&c));
    for (int i = 0; i < 8 * 8 * 3; i++)
        mean[i] = i % 3 ? 0.25f * (float)(i % 3) : (float)(i % 2);
    if (plan(&r)) {
        const float *bias = value(&r, "vae.decoder.output.bias");
        ok(bias[0] == 0.5f && bias[2] == 0.5f, "a mean starts at middle grey");
        run(&r, &c);
        dt_plan_read(r.plan, p.log_scale, &scale);
        dt_plan_read(r.plan, picture, shown);
        for (size_t i = 0; i < pixels(&c); i++)
            low = fminf(low, shown[i]), high = fmaxf(high, shown[i]);
        ok(scale == -2 && low == 0 && high == 1, "the scale starts where it says, a picture is in 0..1");
        dt_vae_start_at(r.params, "vae", &c, mean);
        const float channels[] = {0.5f, 0.25f, 0.5f};
        near("each channel starts at its mean", bias, channels, 3, 1e-6);
    }
    free(shown);
    drop(&r);
}

/* Through the codes the reconstruction's gradient reaches the first convolution; in evaluation the codebook stays. */
static void through_codes(void)
{
    dt_vae_config c = with_codes();
    recorded r = start(&c);
    dt_quantized q = dt_vae_quantize(r.scope, &c, dt_vae_encode_grid(r.scope, &c, r.x), false);
    dt_tensor *output = dt_vae_decode_grid(r.scope, &c, q.z).output;
    dt_store_gradients(dt_neg(dt_mean(dt_bernoulli_log_prob(output, r.x), DT_ALL, false)), false);
    if (plan(&r)) {
        fill(r.params);
        float before[15];
        memcpy(before, value(&r, "vae.codebook.sums"), sizeof before);
        run(&r, &c);
        int i = dt_params_find(r.params, "vae.encoder.conv0.weight");
        double moved = 0;
        for (size_t k = 0; k < dt_params_info(r.params, i)->count; k++)
            moved += fabs((double)dt_params_gradient(r.params, i)[k]);
        ok(moved > 1e-3, "the gradient passes the codes (%.2g at the first convolution)", moved);
        ok(!memcmp(before, value(&r, "vae.codebook.sums"), sizeof before), "evaluation keeps the codebook");
    }
    drop(&r);
}

/* ---- What cannot be made ---- */

static void refused(dt_vae_config c, const char *because)
{
    char message[256] = "";
    recorded r = start(&perceptron);
    ok(!dt_vae_check(&c, message, sizeof message) && strstr(message, because), "refused: %s", message);
    dt_vae_declare(r.scope, &c);
    const char *error = dt_graph_error(r.graph);
    ok(error && strstr(error, because), "and so when recorded: %s", error ? error : "no error");
    drop(&r);
}

static void refusals(void)
{
    const dt_vae_config m = perceptron, v = convolutional, q = with_codes();
    char message[256];
    for (int i = 0; i < 3; i++)
        ok(dt_vae_check((const dt_vae_config *[]){&m, &v, &q}[i], message, sizeof message), "config %d can be made", i);
#define CHANGED(config, ...) ({ dt_vae_config changed = config; dt_vae_config *c = &changed; __VA_ARGS__; changed; })
    refused(CHANGED(m, c->latent = 0), "latent size of 0");
    refused(CHANGED(m, c->image_size = 0), "image size of 0");
    refused(CHANGED(m, c->channels = 2), "1 (grey) or 3 (colour)");
    refused(CHANGED(m, c->layers = 0), "0 widths");
    refused(CHANGED(m, c->layers = 99), "99 widths");
    refused(CHANGED(m, c->widths[1] = 0), "width 0 of layer 1");
    refused(CHANGED(m, c->codes = 16), "needs the convolutional network");
    refused(CHANGED(m, c->learned_scale = true), "no scale");
    refused(CHANGED(m, c->likelihood = DT_LIKELIHOOD_GAUSSIAN, c->fixed_log_scale = NAN), "-20 to 20");
    refused(CHANGED(v, c->image_size = 30), "multiple of 4");
    refused(CHANGED(v, c->tanh = true), "tanh");
    refused(CHANGED(q, c->codes = 1), "1 codes");
    refused(CHANGED(q, c->code_decay = 1), "code decay");
    refused(CHANGED(q, c->commitment = -1), "commitment");
#undef CHANGED
}

/* Arguments that do not belong to the config mark the graph. */
static void misuse(void)
{
    const dt_vae_config codes = with_codes();
    const char *const because[] = {"codebook: its latent is a grid", "no codebook", "z has the shape", "x has the shape"};
    for (int i = 0; i < 4; i++) {
        recorded r = start(&convolutional);
        switch (i) {
        case 0: dt_vae_encode(r.scope, &codes, r.x); break;
        case 1: dt_vae_encode_grid(r.scope, &convolutional, r.x); break;
        case 2: dt_vae_decode(r.scope, &convolutional, dt_fill(r.graph, dt_dims(2, 4), 0)); break;
        default: dt_vae_encode(r.scope, &perceptron, r.x);
        }
        const char *error = dt_graph_error(r.graph);
        ok(error && strstr(error, because[i]), "refused: %s", error ? error : "no error");
        drop(&r);
    }
}

int main(void)
{
    dt_vae_config scaled = with_tanh();
    scaled.likelihood = DT_LIKELIHOOD_GAUSSIAN;
    scaled.learned_scale = true;
    parity("tanh", with_tanh(), 8, tanh_mu, tanh_log_variance, tanh_output);
    parity("relu", perceptron, 8, relu_mu, relu_log_variance, relu_output);
    parity("convolutions", convolutional, 32, conv_mu, conv_log_variance, conv_output);
    grid_parity();
    differences("tanh", with_tanh(), 0x1p-8, 1e-3);
    differences("tanh with a learned scale", scaled, 0x1p-8, 1e-3);
    differences("relu", perceptron, 0x1p-10, 1e-2);
    differences("convolutions", convolutional, 0x1p-10, 1e-2);
    all_names();
    usual_starts();
    small_functions();
    means();
    through_codes();
    refusals();
    misuse();
    return done();
}
