/* What a generator and a discriminator start as, and what they refuse. */
#include "encoders/gan.h"
#include "tests/tap.h"

static void check_initial(void)
{
    dt_gan_config c = {.network = DT_GAN_DCGAN, .image_size = 32, .channels = 3, .latent = 100, .width = 32};
    dt_params *params = dt_params_new();
    dt_graph *g = dt_graph_new();
    dt_gan_declare((dt_scope){g, params, ""}, &c);
    ok(!dt_graph_error(g) && dt_params_allocate(params, 1), "declared");
    const char *const names[] = {"generator.linear.weight", "generator.conv2.weight", "discriminator.conv2.weight"};
    for (int i = 0; i < 3; i++) {
        int k = dt_params_find(params, names[i]);
        size_t count = k < 0 ? 0 : dt_params_info(params, k)->count;
        const float *value = k < 0 ? NULL : dt_params_value(params, k);
        double square = 0;
        for (size_t j = 0; j < count; j++)
            square += (double)value[j] * value[j];
        double deviation = sqrt(square / (double)count);
        ok(fabs(deviation - 0.02) < 5e-4, "%s: N(0, 0.02) (%.4f)", names[i], deviation);
    }
    dt_graph_free(g);
    dt_params_free(params);
}

static void check_refusals(void)
{
    const dt_gan_config good = {.network = DT_GAN_DCGAN, .image_size = 32, .channels = 3, .latent = 8, .width = 8};
    char message[200];
    const int sizes[] = {8, 16, 32, 64, 128, 256, 14, 28, 56, 112, 224}, wrong[] = {0, -8, 4, 7, 12, 24, 30, 31, 48, 512, 448};
    dt_gan_config c = good;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        c.image_size = sizes[i];
        ok(dt_gan_check(&c, message, sizeof message), "size %d", sizes[i]);
        c.image_size = wrong[i];
        ok(!dt_gan_check(&c, message, sizeof message) && strstr(message, "56"), "refused: %s", message);
    }
    const struct {
        dt_gan_config config;
        const char *says;
    } bad[] = {
        {{.network = DT_GAN_DCGAN, .image_size = 32, .channels = 3, .width = 8}, "latent size is 0"},
        {{.network = DT_GAN_DCGAN, .image_size = 32, .channels = 2, .latent = 8, .width = 8}, "not 2"},
        {{.network = DT_GAN_RESIDUAL, .image_size = 32, .channels = 3, .latent = 8, .width = -1}, "width is -1"},
        {{.network = DT_GAN_MLP, .channels = 2, .latent = 2, .width = 8}, "hidden layers is 0"},
        {{.network = DT_GAN_MLP, .latent = 2, .width = 8, .layers = 1}, "numbers of a point is 0"},
        {{.network = DT_GAN_MLP, .channels = 2, .latent = 2, .width = 8, .layers = 1, .discriminator_norm = DT_GAN_NORM_BATCH},
         "batch norm"},
        {{.network = DT_GAN_MLP, .channels = 2, .latent = 2, .width = 8, .layers = 1, .condition = DT_CONDITION_CLASS},
         "classes is 0"},
        {{.network = DT_GAN_MLP, .channels = 2, .latent = 2, .width = 8, .layers = 1, .condition = DT_CONDITION_VECTOR},
         "condition is 0"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        message[0] = 0;
        ok(!dt_gan_check(&bad[i].config, message, sizeof message) && strstr(message, bad[i].says), "refused: %s", message);
    }
}

/* What does not fit the configuration marks the graph, with a word about what was expected. */
static void check_shapes(void)
{
    const dt_gan_config plain = {.network = DT_GAN_DCGAN, .image_size = 16, .channels = 3, .latent = 4, .width = 2};
    dt_gan_config class = plain, none = plain;
    class.condition = DT_CONDITION_CLASS;
    class.classes = 3;
    none.latent = 0;
    const struct {
        const dt_gan_config *config;
        dt_shape z, image;
        dt_dtype condition; /* of what is given if `conditional`: a vector [2, 3], or classes [5] */
        bool conditional;
        const char *says;
    } cases[] = {
        {&plain, dt_dims(2, 5), {0}, 0, false, "[2, 4]"},
        {&plain, {0}, dt_dims(2, 16, 16, 1), 0, false, "[2, 16, 16, 3]"},
        {&plain, dt_dims(2, 4), {0}, DT_I32, true, "not conditional"},
        {&class, dt_dims(2, 4), {0}, 0, false, "no condition"},
        {&class, dt_dims(2, 4), {0}, DT_F32, true, "int32 [2]"},
        {&class, dt_dims(2, 4), {0}, DT_I32, true, "int32 [2]"},
        {&none, dt_dims(2, 4), {0}, 0, false, "latent size is 0"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        dt_graph *g = dt_graph_new();
        dt_params *params = dt_params_new();
        dt_scope scope = {g, params, ""};
        dt_shape shape = cases[i].condition == DT_F32 ? dt_dims(2, 3) : dt_dims(5);
        dt_tensor *condition = cases[i].conditional ? dt_input(g, "condition", cases[i].condition, shape) : NULL;
        if (cases[i].z.rank)
            dt_generator(scope, cases[i].config, dt_input(g, "z", DT_F32, cases[i].z), condition, true);
        else
            dt_discriminator(scope, cases[i].config, dt_input(g, "x", DT_F32, cases[i].image), condition, true);
        const char *error = dt_graph_error(g);
        ok(error && strstr(error, cases[i].says), "refused: %s", error ? error : "no");
        dt_graph_free(g);
        dt_params_free(params);
    }
}

int main(void)
{
    check_initial();
    check_refusals();
    check_shapes();
    return done();
}
