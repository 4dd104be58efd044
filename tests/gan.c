/* The generators and discriminators: values, gradients and gradients of gradients against torch, penalties against differences,
 * and the count of dead units. */
#include "encoders/gan.h"
#include "kernels/backend.h"
#include "kernels/plan.h"
#include "losses/adversarial.h"
#include "tests/spread.h"
#include "tests/tap.h"

enum { SAMPLES = 3, SHOWN = 6, LARGEST = SAMPLES * 64 * 64 * 3 };

/* What a case measures, each a scalar and its gradient for one half's parameters. */
enum measure { SAMPLE_SUM, LOGIT_SUM, SQUARE, PENALTY };

/* torch 2.15.0, float64, on networks written from the papers and filled by fill() below: every (count / 6 + 1)th number that is
 * generated, the logits of spread() images; then along a fixed direction the slopes of a weighted sum of what is generated and of
 * the sum of logits, and the sum of the features; R1 and its slope, the WGAN penalty and its slope. */
static const struct reference {
    const char *name;
    dt_gan_config config;
    bool training;
    float samples[SHOWN], logits[SAMPLES];
    float sample_slope, logit_slope, features, square, square_slope, penalty, penalty_slope;
} references[] = {
    {"DCGAN 16, batch norm, classes",
     {.network = DT_GAN_DCGAN, .image_size = 16, .channels = 3, .latent = 5, .width = 3,
      .discriminator_norm = DT_GAN_NORM_BATCH, .condition = DT_CONDITION_CLASS, .classes = 4},
     true,
     {-0.135303514f, -0.0965592104f, 0.0761175365f, -0.280242205f, -0.138861562f, 0.286813289f},
     {-0.565793545f, -1.09269301f, -0.790685319f},
     11.7645481f, -0.645146601f, 65.3761384f, 2.59618234f, 1.85010515f, 0.418887209f, 0.601669076f},
    {"DCGAN 14, spectral norm, vectors",
     {.network = DT_GAN_DCGAN, .image_size = 14, .channels = 1, .latent = 5, .width = 4,
      .discriminator_norm = DT_GAN_NORM_SPECTRAL, .condition = DT_CONDITION_VECTOR, .condition_width = 6},
     true,
     {0.0362565615f, -0.993372385f, -0.376476751f, -0.952660186f, -0.366821461f, -0.963444965f},
     {-0.936287873f, 0.659696587f, -0.394488412f},
     3.58241974f, 1.69996254f, 116.552757f, 3.9422095f, -2.01842839f, 0.974863409f, -1.0095208f},
    {"DCGAN 64, evaluation",
     {.network = DT_GAN_DCGAN, .image_size = 64, .channels = 3, .latent = 5, .width = 2},
     false,
     {0.175759428f, -0.197145084f, 0.10610167f, 0.0600006055f, -0.16403974f, 0.181046336f},
     {0.231507401f, 0.215823633f, 0.0629629296f},
     1.35383179f, -2.85928979f, 76.3472453f, 0.0923127448f, -0.0328148021f, 0.485444399f, 0.0699371356f},
    {"residual 16, spectral norm, classes",
     {.network = DT_GAN_RESIDUAL, .image_size = 16, .channels = 3, .latent = 5, .width = 4,
      .discriminator_norm = DT_GAN_NORM_SPECTRAL, .condition = DT_CONDITION_CLASS, .classes = 4},
     true,
     {0.775691785f, -0.315499111f, -0.283815063f, -0.00863046853f, -0.346869146f, 0.424476569f},
     {-7.81165588f, -1.34883018f, 4.25966048f},
     0.016847377f, 45.3855535f, 69.9480264f, 18.7722281f, -14.7896129f, 11.2445405f, -11.6542129f},
    {"residual 28, vectors, evaluation",
     {.network = DT_GAN_RESIDUAL, .image_size = 28, .channels = 1, .latent = 5, .width = 3, .condition = DT_CONDITION_VECTOR,
      .condition_width = 6},
     false,
     {-0.0485826822f, -0.408044309f, -0.190264641f, -0.253595198f, -0.0415361773f, 0.744513183f},
     {-1.54403014f, -39.6096845f, -50.231577f},
     10.9195894f, -63.382583f, 145.819654f, 9.00468254f, -17.4640953f, 4.54312973f, -11.8637325f},
    {"residual 8, spectral norm, evaluation",
     {.network = DT_GAN_RESIDUAL, .image_size = 8, .channels = 3, .latent = 5, .width = 4,
      .discriminator_norm = DT_GAN_NORM_SPECTRAL},
     false,
     {-0.0812063909f, -0.12975243f, 0.000756699978f, -0.028190791f, -0.24503762f, -0.260940128f},
     {-0.939979534f, 1.19537828f, 0.389248423f},
     8.95456865f, 13.8960123f, 22.2071287f, 3.58446611f, -5.82629038f, 0.811804819f, -2.73602434f},
    {"perceptron, classes",
     {.network = DT_GAN_MLP, .channels = 2, .latent = 5, .width = 7, .layers = 2, .condition = DT_CONDITION_CLASS, .classes = 4},
     true,
     {0.638895108f, -0.0176120333f, 0.0833170103f, -0.179869427f, 0.00808965847f, -0.110777357f},
     {-0.0330172633f, 0.0687640001f, -0.204869569f},
     -0.131644513f, 0.151892052f, 2.6671667f, 0.131260865f, 0.177849655f, 0.55930525f, 0.192275438f},
    {"perceptron, spectral norm, vectors",
     {.network = DT_GAN_MLP, .channels = 2, .latent = 5, .width = 7, .layers = 3,
      .discriminator_norm = DT_GAN_NORM_SPECTRAL, .condition = DT_CONDITION_VECTOR, .condition_width = 6},
     true,
     {0.3444697f, -0.399003185f, 0.177997415f, -0.311543106f, 0.792851682f, -0.702858208f},
     {0.0289726109f, -0.239345923f, -0.323366464f},
     -0.269797603f, 2.24263977f, 1.36435886f, 0.00487429939f, -0.0266152411f, 0.878272278f, 0.21163049f},
};

/* Parameters as the references have them: norms' weights and variances around 1, all others around 0 by their inputs. */
static void fill(dt_params *params)
{
    for (int k = 0; k < dt_params_count(params); k++) {
        const dt_param_info *info = dt_params_info(params, k);
        size_t n = strlen(info->name);
        bool vector = info->shape.rank == 1;
        bool around_one = vector && (!strcmp(info->name + n - 6, "weight") || !strcmp(info->name + n - 6, "ng_var"));
        double width = vector ? 0.5 : sqrt(12 / (double)dt_span(&info->shape, 1, info->shape.rank));
        float *value = dt_params_value(params, k);
        for (size_t i = 0; i < info->count; i++)
            value[i] = (float)(around_one ? spread_at(info->name, i) + 0.5 : (spread_at(info->name, i) - 0.5) * width);
    }
}

/* Number i of parameter k's part of a direction; "to" is the references' own. */
static double direction(const dt_params *params, int k, const char *which, size_t i)
{
    char name[160];
    snprintf(name, sizeof name, "%s %s", which, dt_params_info(params, k)->name);
    return spread_at(name, i) - 0.5;
}

typedef struct experiment {
    const dt_gan_config *config;
    bool training;
    dt_params *params;
    dt_graph *graph;
    dt_plan *plan;
    dt_tensor *z, *x, *condition, *loss, *generated;
    dt_judgement judgement;
} experiment;

static dt_params *declare(const dt_gan_config *config)
{
    dt_params *params = dt_params_new();
    dt_graph *g = dt_graph_new();
    dt_gan_declare((dt_scope){g, params, ""}, config);
    ok(!dt_graph_error(g), "declared %s", dt_graph_error(g) ? dt_graph_error(g) : "");
    dt_graph_free(g);
    ok(dt_params_allocate(params, 1), "allocated");
    return params;
}

static dt_tensor *measured(experiment *e, enum measure what)
{
    dt_scope scope = {e->graph, e->params, ""};
    if (what == SAMPLE_SUM) {
        float upstream[LARGEST];
        e->generated = dt_keep(dt_generator(scope, e->config, e->z, e->condition, e->training));
        spread("upstream", upstream, (size_t)dt_count(&e->generated->shape), -0.5, 1);
        return dt_sum(dt_mul(e->generated, dt_constant(e->graph, e->generated->shape, upstream)), DT_ALL, false);
    }
    e->judgement = dt_discriminator(scope, e->config, e->x, e->condition, e->training);
    dt_keep(e->judgement.logits);
    dt_keep(e->judgement.features);
    dt_keep(e->judgement.dead);
    if (what == LOGIT_SUM)
        return dt_sum(e->judgement.logits, DT_ALL, false);
    return what == SQUARE ? dt_slope_square(e->judgement.logits, e->x) : dt_slope_penalty(e->judgement.logits, e->x);
}

static void write_inputs(experiment *e)
{
    float values[LARGEST];
    int32_t classes[SAMPLES];
    spread("z", values, (size_t)dt_count(&e->z->shape), -2, 4);
    dt_plan_write(e->plan, e->z, values);
    spread("images", values, (size_t)dt_count(&e->x->shape), -1, 2);
    dt_plan_write(e->plan, e->x, values);
    for (int i = 0; i < SAMPLES; i++)
        classes[i] = i * 3 % 4;
    if (e->config->condition == DT_CONDITION_VECTOR)
        spread("condition", values, (size_t)dt_count(&e->condition->shape), -2, 4);
    if (e->condition)
        dt_plan_write(e->plan, e->condition, e->config->condition == DT_CONDITION_CLASS ? (void *)classes : values);
}

/* Records one measure on the parameters, as fill() leaves them, and plans it. */
static experiment prepare(const dt_gan_config *c, dt_params *params, bool training, enum measure what)
{
    experiment e = {.config = c, .training = training, .params = params, .graph = dt_graph_new()};
    dt_graph *g = e.graph;
    e.z = dt_input(g, "z", DT_F32, dt_dims(SAMPLES, c->latent));
    dt_shape image = dt_dims(SAMPLES, c->image_size, c->image_size, c->channels), point = dt_dims(SAMPLES, c->channels);
    e.x = dt_input(g, "x", DT_F32, c->network == DT_GAN_MLP ? point : image);
    if (c->condition == DT_CONDITION_CLASS)
        e.condition = dt_input(g, "class", DT_I32, dt_dims(SAMPLES));
    else if (c->condition == DT_CONDITION_VECTOR)
        e.condition = dt_input(g, "condition", DT_F32, dt_dims(SAMPLES, c->condition_width));
    e.loss = dt_keep(measured(&e, what));
    dt_store_gradients(e.loss, false);
    e.plan = dt_plan_new(g, dt_cpu(), NULL);
    if (!ok(e.plan, "planned %s", e.plan ? "" : dt_graph_error(g)))
        exit(done());
    return e;
}

static void end(experiment *e)
{
    dt_plan_free(e->plan);
    dt_graph_free(e->graph);
}

/* The loss with all parameters as fill() has them but `step` along a direction. */
static float run(experiment *e, const char *which, double step)
{
    fill(e->params);
    for (int k = 0; step != 0 && k < dt_params_count(e->params); k++)
        for (size_t i = 0; dt_params_info(e->params, k)->trainable && i < dt_params_info(e->params, k)->count; i++)
            dt_params_value(e->params, k)[i] += (float)(step * direction(e->params, k, which, i));
    write_inputs(e);
    float loss = NAN;
    const char *message = dt_plan_run(e->plan, 1, 0);
    if (message)
        ok(false, "%s", message);
    dt_plan_read(e->plan, e->loss, &loss);
    return loss;
}

/* The stored gradient's slope along a direction; `length` (NULL: not asked) is |gradient| |direction|. */
static float slope(const experiment *e, const char *which, double *length)
{
    double sum = 0, gradients = 0, directions = 0;
    for (int k = 0; k < dt_params_count(e->params); k++) {
        const dt_param_info *info = dt_params_info(e->params, k);
        const float *gradient = dt_params_gradient(e->params, k);
        for (size_t i = 0; info->trainable && i < info->count; i++) {
            double d = direction(e->params, k, which, i);
            sum += gradient[i] * d;
            gradients += (double)gradient[i] * gradient[i];
            directions += d * d;
        }
    }
    if (length)
        *length = sqrt(gradients * directions);
    return (float)sum;
}

/* Within a share of the value; in float32 with batches this small. */
static void agrees(const char *what, float got, float want, double share)
{
    near(what, &got, &want, 1, share * fmax(1, fabs((double)want)));
}

static void compare_generator(const struct reference *r, dt_params *params)
{
    experiment e = prepare(&r->config, params, r->training, SAMPLE_SUM);
    run(&e, "to", 0);
    float all[LARGEST], shown[SHOWN];
    size_t count = (size_t)dt_count(&e.generated->shape), step = count > SHOWN ? count / SHOWN + 1 : 1;
    dt_plan_read(e.plan, e.generated, all);
    for (size_t i = 0; i < SHOWN; i++)
        shown[i] = i * step < count ? all[i * step] : 0;
    near("generated", shown, r->samples, SHOWN, 2e-6);
    agrees("slope of what is generated", slope(&e, "to", NULL), r->sample_slope, 1e-5);
    end(&e);
    memset(dt_params_gradients(params), 0, sizeof(float) * dt_params_size(params));
}

static void compare_discriminator(const struct reference *r, dt_params *params)
{
    experiment e = prepare(&r->config, params, r->training, LOGIT_SUM);
    float loss = run(&e, "to", 0), logits[SAMPLES], features[LARGEST], sum = 0;
    dt_plan_read(e.plan, e.judgement.logits, logits);
    dt_plan_read(e.plan, e.judgement.features, features);
    near("logits", logits, r->logits, SAMPLES, 2e-6 * fmax(1, fabs((double)r->logits[0]) + fabs((double)r->logits[1])));
    for (int64_t i = 0; i < dt_count(&e.judgement.features->shape); i++)
        sum += features[i];
    agrees("sum of features", sum, r->features, 1e-5);
    agrees("sum of logits", loss, r->logits[0] + r->logits[1] + r->logits[2], 1e-5);
    agrees("slope of the logits", slope(&e, "to", NULL), r->logit_slope, 1e-5);
    end(&e);
    for (enum measure what = SQUARE; what <= PENALTY; what++) {
        bool square = what == SQUARE;
        e = prepare(&r->config, params, r->training, what);
        agrees(square ? "R1" : "WGAN penalty", run(&e, "to", 0), square ? r->square : r->penalty, 1e-5);
        agrees(square ? "slope of R1" : "slope of the WGAN penalty", slope(&e, "to", NULL),
               square ? r->square_slope : r->penalty_slope, 2e-5);
        end(&e);
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The second derivative against differences of the first, in five directions. A penalty jumps where some unit passes a
 * rectifier's corner: of the steps forward and backward the better one counts, and of the directions the median. In evaluation
 * mode for spectral norm, where u stays: v is the best for it, so that to hold it fixed changes no slope. */
static void compare_differences(const struct reference *r, dt_params *params)
{
    const double h = 0x1p-14;
    for (enum measure what = SQUARE; what <= PENALTY; what++) {
        experiment e = prepare(&r->config, params, r->config.discriminator_norm == DT_GAN_NORM_BATCH, what);
        double error[5], length;
        for (int i = 0; i < 5; i++) {
            char name[16];
            snprintf(name, sizeof name, "way %d", i);
            double ahead = run(&e, name, h), behind = run(&e, name, -h), here = run(&e, name, 0);
            double forward = slope(&e, name, &length) - (ahead - here) / h;
            double backward = slope(&e, name, &length) - (here - behind) / h;
            error[i] = fmin(fabs(forward), fabs(backward)) / (length + 1e-3);
        }
        qsort(error, 5, sizeof *error, ascending);
        ok(error[2] < 1e-3, "%s: gradient agrees with differences (%.1e, %.1e, %.1e, %.1e, %.1e)",
           what == SQUARE ? "R1" : "WGAN penalty", error[0], error[1], error[2], error[3], error[4]);
        end(&e);
    }
}

static void check_values(void)
{
    for (size_t i = 0; i < sizeof references / sizeof *references; i++) {
        const struct reference *r = &references[i];
        printf("# %s\n", r->name);
        dt_params *params = declare(&r->config);
        compare_generator(r, params);
        compare_discriminator(r, params);
        compare_differences(r, params);
        dt_params_free(params);
    }
}

static float *value_of(dt_params *params, const char *name)
{
    int i = dt_params_find(params, name);
    if (!ok(i >= 0, "there is %s", name))
        exit(done());
    return dt_params_value(params, i);
}

/* Biases far below and far above zero settle which units live. */
static void check_dead(void)
{
    const dt_gan_config pictures = {.network = DT_GAN_DCGAN, .image_size = 16, .channels = 1, .latent = 2, .width = 2},
                        points = {.network = DT_GAN_MLP, .channels = 2, .latent = 2, .width = 4, .layers = 2};
    const struct {
        const dt_gan_config *config;
        const char *first, *second;
        int units;
        float want;
    } cases[] = {{&pictures, "discriminator.conv1.bias", "discriminator.conv2.bias", 4, 1 / 6.0f},
                 {&points, "discriminator.linear1.bias", "discriminator.linear2.bias", 4, 1 / 8.0f}};
    for (int i = 0; i < 2; i++) {
        dt_params *params = declare(cases[i].config);
        experiment e = prepare(cases[i].config, params, true, LOGIT_SUM);
        fill(params);
        float *first = value_of(params, cases[i].first), *second = value_of(params, cases[i].second), dead = NAN;
        for (int k = 0; k < cases[i].units; k++)
            second[k] = 1e6f;
        for (int k = 0; k < dt_params_info(params, dt_params_find(params, cases[i].first))->shape.dim[0]; k++)
            first[k] = k ? 100 : -100;
        write_inputs(&e);
        ok(!dt_plan_run(e.plan, 1, 0) && dt_plan_read(e.plan, e.judgement.dead, &dead), "runs");
        near("share of dead units", &dead, &cases[i].want, 1, 1e-6);
        end(&e);
        dt_params_free(params);
    }
}

/* Every weight of a discriminator has its vector u, none of the generator, and u moves in training only. */
static void check_spectral_names(void)
{
    for (dt_gan_network network = DT_GAN_MLP; network <= DT_GAN_RESIDUAL; network++) {
        dt_gan_config c = {.network = network, .image_size = 16, .channels = 3, .latent = 4, .width = 4, .layers = 2,
                           .discriminator_norm = DT_GAN_NORM_SPECTRAL, .condition = DT_CONDITION_CLASS, .classes = 4};
        dt_params *params = declare(&c);
        int weights = 0, normed = 0, moved[2] = {0};
        for (int training = 0; training < 2; training++) {
            experiment e = prepare(&c, params, training, LOGIT_SUM);
            run(&e, "to", 0);
            for (int k = 0; k < dt_params_count(params); k++) {
                const char *name = dt_params_info(params, k)->name;
                bool u = !strcmp(name + strlen(name) - 2, ".u");
                weights += strstr(name, "discriminator") && dt_params_info(params, k)->shape.rank > 1;
                normed += u && strstr(name, "discriminator") == name;
                moved[training] += u && *dt_params_value(params, k) != (float)((spread_at(name, 0) - 0.5) * 0.5);
            }
            end(&e);
        }
        ok(weights > 6 && weights == normed, "%d weights, %d normalised (two modes together)", weights, normed);
        ok(moved[0] == 0 && 2 * moved[1] == normed, "%d vectors moved in evaluation, %d in training", moved[0], moved[1]);
        dt_params_free(params);
    }
}

/* The tower of a grey model looks at the first channel of what comes, and asks for no condition. */
static void check_features(void)
{
    enum { PIXELS = SAMPLES * 16 * 16 };
    dt_gan_config c = {.network = DT_GAN_DCGAN, .image_size = 16, .channels = 1, .latent = 4, .width = 2,
                       .discriminator_norm = DT_GAN_NORM_BATCH, .condition = DT_CONDITION_CLASS, .classes = 4};
    dt_params *params = declare(&c);
    dt_graph *g = dt_graph_new();
    dt_scope scope = {g, params, ""};
    dt_tensor *images = dt_input(g, "images", DT_F32, dt_dims(SAMPLES, 16, 16, 3));
    dt_tensor *grey = dt_input(g, "grey", DT_F32, dt_dims(SAMPLES, 16, 16, 1));
    dt_tensor *tower = dt_keep(dt_gan_features(scope, &c, images));
    dt_tensor *features = dt_keep(dt_discriminator(scope, &c, grey, NULL, false).features);
    dt_plan *plan = dt_plan_new(g, dt_cpu(), NULL);
    ok(plan && dt_same_shape(&tower->shape, &dt_dims(SAMPLES, 4 * 4 * 4)), "features [3, 64]");
    float colour[PIXELS * 3], pixels[PIXELS], got[SAMPLES * 64], want[SAMPLES * 64];
    spread("images", colour, PIXELS * 3, -1, 2);
    for (int i = 0; i < PIXELS; i++)
        pixels[i] = colour[i * 3];
    fill(params);
    ok(dt_plan_write(plan, images, colour) && dt_plan_write(plan, grey, pixels) && !dt_plan_run(plan, 1, 0), "runs");
    ok(dt_plan_read(plan, tower, got) && dt_plan_read(plan, features, want), "read");
    near("the tower's features", got, want, SAMPLES * 64, 0);
    dt_plan_free(plan);
    dt_graph_free(g);
    dt_params_free(params);
}

int main(void)
{
    check_values();
    check_dead();
    check_spectral_names();
    check_features();
    return done();
}
