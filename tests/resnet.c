/* The plain residual networks against torchvision's, and what all kinds have in common. */
#include "encoders/resnet.h"
#include "kernels/backend.h"
#include "kernels/plan.h"
#include "tests/spread.h"
#include "tests/tap.h"

enum { IMAGES = 3, SIZE = 60, SHOWN = 12 };

/* torchvision 0.29.2, float64: ResNet(block, [1, 2, 1, 1]) without its last layer, on the values below. Every (channels / 4 +
 * 1)th of the features of three images, and the largest of all. */
static const struct reference {
    const char *name;
    bool bottleneck, training;
    float largest;
    float want[SHOWN];
} references[] = {
    {"basic blocks, evaluation", false, false, 37.6930166f,
     {23.3958667f, 0.0504240784f, 0, 0, 2.94360783f, 0.349326636f, 0, 0, 0.649269735f, 7.14790015f,
      1.07059843f, 11.7329148f}},
    {"basic blocks, training", false, true, 2.06481481f,
     {1.39085404f, 0.617913741f, 0.253983002f, 0.590019744f, 0.0790044835f, 0.645581888f, 0, 0.332165561f,
      0.668868893f, 0.419952907f, 0.732102684f, 0.247474055f}},
    {"bottlenecks, evaluation", true, false, 112.923901f,
     {42.457911f, 0, 9.2967025f, 11.9022792f, 5.18988682f, 3.37943304f, 0, 0, 0, 0, 0.251799386f,
      3.01056973f}},
    {"bottlenecks, training", true, true, 2.29069609f,
     {0.454992472f, 0.52873822f, 0.80093754f, 0.309663799f, 1.38244778f, 0.972700812f, 1.23485864f,
      1.05467871f, 1.00486418f, 0.533951923f, 0.632455669f, 0.579824422f}},
};

static const dt_resnet_config plain = {.image_size = SIZE, .stages = 4, .widths = {64, 128, 256, 512}, .blocks = {1, 2, 1, 1},
                                       .stem = DT_STEM_LARGE};

static bool ends(const char *name, const char *with)
{
    size_t n = strlen(name), m = strlen(with);
    return n >= m && !strcmp(name + n - m, with);
}

/* Norms' weights and variances from 0.5 to 1.5, their biases and means around 0, convolutions of their inputs' size. */
static void fill(dt_params *params)
{
    for (int k = 0; k < dt_params_count(params); k++) {
        const dt_param_info *info = dt_params_info(params, k);
        double fan = (double)dt_span(&info->shape, 1, info->shape.rank), scale = info->shape.rank > 1 ? sqrt(24 / fan) : 0.5;
        bool around_one = info->shape.rank == 1 && (ends(info->name, "weight") || ends(info->name, "running_var"));
        float *value = dt_params_value(params, k);
        for (size_t i = 0; i < info->count; i++) {
            double u = spread_at(info->name, i);
            value[i] = (float)(around_one ? u + 0.5 : (u - 0.5) * scale);
        }
    }
}

static float value_of(dt_params *params, const char *name)
{
    int i = dt_params_find(params, name);
    return i < 0 ? NAN : *dt_params_value(params, i);
}

typedef struct recorded {
    dt_graph *graph;
    dt_params *params;
    dt_tensor *images, *features;
} recorded;

static recorded record(const dt_resnet_config *c, bool training)
{
    recorded r = {.graph = dt_graph_new(), .params = dt_params_new()};
    r.images = dt_input(r.graph, "images", DT_F32, dt_dims(IMAGES, c->image_size, c->image_size, 3));
    r.features = dt_keep(dt_resnet((dt_scope){r.graph, r.params, "visual"}, c, r.images, training));
    return r;
}

static void drop(recorded *r)
{
    dt_graph_free(r->graph);
    dt_params_free(r->params);
}

static void run(recorded *r, float *features)
{
    static float images[IMAGES * SIZE * SIZE * 3];
    for (size_t i = 0; i < sizeof images / sizeof *images; i++)
        images[i] = (float)spread_at("images", i) * 2 - 1;
    dt_plan *plan = dt_plan_new(r->graph, dt_cpu(), NULL);
    if (ok(plan != NULL, "planned %s", plan ? "" : dt_graph_error(r->graph))) {
        dt_plan_write(plan, r->images, images);
        ok(!dt_plan_run(plan, 1, 0) && dt_plan_read(plan, r->features, features), "run");
    }
    dt_plan_free(plan);
}

static void compare(const struct reference *reference)
{
    dt_resnet_config c = plain;
    c.bottleneck = reference->bottleneck;
    recorded r = record(&c, reference->training);
    size_t width = (size_t)r.features->shape.dim[1], step = width / 4 + 1;
    float *features = calloc(IMAGES * width + 1, sizeof *features), shown[SHOWN], largest = 0;
    ok(width == (c.bottleneck ? 2048 : 512) && dt_params_allocate(r.params, 1), "%s: %zu features", reference->name, width);
    fill(r.params);
    float mean = value_of(r.params, "visual.layer4.0.bn2.running_mean");
    run(&r, features);
    for (size_t i = 0; i < SHOWN; i++)
        shown[i] = i * step < IMAGES * width ? features[i * step] : NAN;
    for (size_t i = 0; i < IMAGES * width; i++)
        largest = fmaxf(largest, features[i]);
    near(reference->name, shown, reference->want, SHOWN, 2e-5 * (double)reference->largest);
    near("the largest", &largest, &reference->largest, 1, 2e-5 * (double)reference->largest);
    bool moved = value_of(r.params, "visual.layer4.0.bn2.running_mean") != mean;
    ok(moved == reference->training, "%s: running statistics are %s", reference->name, moved ? "moved" : "kept");
    free(features);
    drop(&r);
}

/* The names and shapes of a stem and of what a first block has. */
static void names(const dt_resnet_config *c, const char *kind, const char *const *expected, size_t count)
{
    recorded r = record(c, true);
    ok(!dt_graph_error(r.graph), "%s: recorded", kind);
    for (size_t i = 0; i < count; i++) {
        int at = dt_params_find(r.params, expected[i]);
        ok(at >= 0, "%s has %s", kind, expected[i]);
    }
    drop(&r);
}

static void too_small(void)
{
    const dt_resnet_config c = {.image_size = 16, .stages = 4, .widths = {4, 8, 16, 32}, .blocks = {1, 1, 1, 1},
                                .stem = DT_STEM_DEEP, .bottleneck = true, .antialiased = true, .heads = 2, .embed_dim = 4};
    recorded r = record(&c, true);
    const char *error = dt_graph_error(r.graph);
    ok(error && strstr(error, "larger than x") && strstr(error, "layer4.0"), "an image that strides use up is named: %s",
       error ? error : "no error");
    drop(&r);
}

static void starts_as_shortcuts(void)
{
    dt_resnet_config c = plain;
    c.bottleneck = true;
    recorded r = record(&c, true);
    ok(dt_params_allocate(r.params, 1), "allocated");
    ok(value_of(r.params, "visual.layer2.1.bn3.weight") == 0 && value_of(r.params, "visual.layer2.1.bn2.weight") == 1 &&
           value_of(r.params, "visual.layer2.0.downsample.1.weight") == 1,
       "bottlenecks start as their shortcuts");
    drop(&r);
}

int main(void)
{
    static const char *const large[] = {"visual.conv1.weight", "visual.bn1.running_var", "visual.layer1.0.conv3.weight",
                                        "visual.layer1.0.downsample.0.weight", "visual.layer2.1.bn3.bias"};
    static const char *const deep[] = {"visual.conv3.weight", "visual.bn3.bias", "visual.attnpool.positional_embedding",
                                       "visual.attnpool.q_proj.bias", "visual.attnpool.c_proj.weight"};
    dt_resnet_config c = plain;
    for (size_t i = 0; i < sizeof references / sizeof *references; i++)
        compare(&references[i]);
    c.bottleneck = true;
    names(&c, "the plain kind", large, 5);
    c.stem = DT_STEM_DEEP;
    c.antialiased = true;
    c.image_size = 64;
    c.heads = 4;
    c.embed_dim = 10;
    names(&c, "CLIP's kind", deep, 5);
    too_small();
    starts_as_shortcuts();
    return done();
}
