#include "encoders/gan.h"

#include <stdio.h>

#include "encoders/gan_layers.h"

enum { LARGEST_IMAGE = 256, LARGEST_WIDTH = 8192, LARGEST_LATENT = 1 << 16, MOST_LAYERS = 64, MOST_CLASSES = 1 << 20 };

static bool within(int value, int low, int high, const char *name, char *message, size_t size)
{
    if (value < low || value > high)
        snprintf(message, size, "%s is %d; it must be between %d and %d", name, value, low, high);
    return value >= low && value <= high;
}

static bool check_image(const dt_gan_config *c, char *message, size_t size)
{
    if (c->image_size < 8 || c->image_size > LARGEST_IMAGE || !dt_gan_smallest_side(c->image_size))
        snprintf(message, size,
                 "an image size of %d cannot be made; the sizes are 8, 16, 32, 64, 128, 256 and 14, 28, 56, 112, 224",
                 c->image_size);
    else if (c->channels != 1 && c->channels != 3)
        snprintf(message, size, "images have 1 channel or 3, not %d", c->channels);
    else
        return true;
    return false;
}

bool dt_gan_check(const dt_gan_config *c, char *message, size_t size)
{
    bool mlp = c->network == DT_GAN_MLP;
    if (c->discriminator_norm == DT_GAN_NORM_BATCH && c->network != DT_GAN_DCGAN) {
        snprintf(message, size, "batch norm is for the DCGAN's discriminator; this one has spectral norm or none");
        return false;
    }
    return within(c->latent, 1, LARGEST_LATENT, "the latent size", message, size) &&
           within(c->width, 1, LARGEST_WIDTH, "the width", message, size) &&
           (!mlp || within(c->layers, 1, MOST_LAYERS, "the number of hidden layers", message, size)) &&
           (mlp ? within(c->channels, 1, LARGEST_WIDTH, "the numbers of a point", message, size)
                : check_image(c, message, size)) &&
           (c->condition != DT_CONDITION_CLASS || within(c->classes, 1, MOST_CLASSES, "the number of classes", message, size)) &&
           (c->condition != DT_CONDITION_VECTOR ||
            within(c->condition_width, 1, LARGEST_LATENT, "the width of the condition", message, size));
}

static dt_shape sample_shape(const dt_gan_config *c, int64_t n)
{
    return c->network == DT_GAN_MLP ? dt_dims(n, c->channels) : dt_dims(n, c->image_size, c->image_size, c->channels);
}

/* Whether the configuration and the shapes of what comes are right; else the graph is marked. */
static bool fits(const char *what, const dt_gan_config *c, const dt_tensor *x, dt_shape expected, const dt_tensor *condition)
{
    dt_graph *g = dt_graph_of(x);
    char message[160];
    if (dt_graph_error(g))
        return false;
    bool class = c->condition == DT_CONDITION_CLASS;
    dt_shape wanted = class ? dt_dims(expected.dim[0]) : dt_dims(expected.dim[0], c->condition_width);
    if (!dt_gan_check(c, message, sizeof message))
        dt_graph_fail(g, what, "%s", message);
    else if (x->dtype != DT_F32 || !dt_same_shape(&x->shape, &expected))
        dt_graph_fail(g, what, "expected float32 %s, got %s %s", dt_shape_text(&expected).chars, dt_dtype_name(x->dtype),
                      dt_shape_text(&x->shape).chars);
    else if (condition && c->condition == DT_CONDITION_NONE)
        dt_graph_fail(g, what, "it is not conditional, but got a condition %s", dt_shape_text(&condition->shape).chars);
    else if (condition && (condition->dtype != (class ? DT_I32 : DT_F32) || !dt_same_shape(&condition->shape, &wanted)))
        dt_graph_fail(g, what, "expected a condition %s %s, got %s %s", dt_dtype_name(class ? DT_I32 : DT_F32),
                      dt_shape_text(&wanted).chars, dt_dtype_name(condition->dtype), dt_shape_text(&condition->shape).chars);
    return !dt_graph_error(g);
}

dt_tensor *dt_generator(dt_scope scope, const dt_gan_config *c, dt_tensor *z, dt_tensor *condition, bool training)
{
    typedef dt_tensor *network(dt_gan_net *net, dt_scope at, dt_tensor *latent);
    static network *const networks[] = {dt_gan_mlp_generator, dt_dcgan_generator, dt_gan_residual_generator};
    dt_gan_net net = {.config = c, .norm = DT_GAN_NORM_BATCH, .condition = condition, .training = training};
    dt_graph *g = scope.graph;
    if (!fits("generator", c, z, dt_dims(z->shape.dim[0], c->latent), condition))
        return &g->poison;
    if (c->condition != DT_CONDITION_NONE && !condition)
        return dt_graph_fail(g, "generator", "it is conditional, but got no condition");
    return networks[c->network](&net, dt_in(scope, "generator"), z);
}

dt_judgement dt_discriminator(dt_scope scope, const dt_gan_config *c, dt_tensor *x, dt_tensor *condition, bool training)
{
    typedef dt_tensor *network(dt_gan_net *net, dt_scope at, dt_tensor *samples);
    static network *const networks[] = {dt_gan_mlp_features, dt_dcgan_features, dt_gan_residual_features};
    dt_gan_net net = {.config = c, .norm = c->discriminator_norm, .condition = NULL, .training = training};
    dt_graph *g = scope.graph;
    if (!fits("discriminator", c, x, sample_shape(c, x->shape.dim[0]), condition))
        return (dt_judgement){&g->poison, &g->poison, &g->poison};
    scope = dt_in(scope, "discriminator");
    dt_tensor *features = networks[c->network](&net, scope, x);
    int64_t n = x->shape.dim[0], width = features->shape.dim[1];
    dt_init init = c->network == DT_GAN_DCGAN ? dt_gaussian(0.02f) : dt_glorot(width, 1, 1);
    dt_tensor *logits = dt_reshape(dt_gan_linear(&net, dt_in(scope, "output"), features, 1, init), dt_dims(n));
    if (condition) {
        net.condition = condition;
        dt_tensor *direction = dt_gan_condition(&net, dt_in(scope, "projection"), "weight", width, init);
        logits = dt_add(logits, dt_sum(dt_mul(direction, features), 1u << 1, false));
    }
    return (dt_judgement){logits, features, dt_scale(dt_affine(net.alive, -1, (float)net.units), 1 / (float)net.units)};
}

dt_tensor *dt_gan_condition_input(dt_graph *g, const dt_gan_config *c, int64_t n)
{
    if (c->condition == DT_CONDITION_CLASS)
        return dt_input(g, "classes", DT_I32, dt_dims(n));
    return c->condition == DT_CONDITION_VECTOR ? dt_input(g, "condition", DT_F32, dt_dims(n, c->condition_width)) : NULL;
}

dt_tensor *dt_gan_target(const dt_gan_config *c, dt_tensor *images)
{
    return c->channels == 1 && images->shape.rank == 4 ? dt_slice(images, 3, 0, 1) : images;
}

dt_tensor *dt_gan_features(dt_scope scope, const dt_gan_config *c, dt_tensor *images)
{
    return dt_discriminator(scope, c, dt_gan_target(c, images), NULL, false).features;
}

void dt_gan_declare(dt_scope scope, const dt_gan_config *c)
{
    enum { SAMPLES = 2 };
    dt_tensor *z = dt_input(scope.graph, "z", DT_F32, dt_dims(SAMPLES, c->latent));
    dt_tensor *condition = dt_gan_condition_input(scope.graph, c, SAMPLES);
    dt_discriminator(scope, c, dt_generator(scope, c, z, condition, false), condition, false);
}
