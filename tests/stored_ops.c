/* Stored references for the ops that have no test file of their own, and for the optimizers. */
#include "kernels/optimizer.h"
#include "tests/op_golden.h"

#define UNARY(name, expression)                                                                                   \
    static dt_tensor *name(dt_tensor **x, const void *settings)                                                   \
    {                                                                                                             \
        (void)settings;                                                                                           \
        return expression;                                                                                        \
    }
UNARY(gelu, dt_gelu(x[0]))
UNARY(gelu_tanh, dt_gelu_tanh(x[0]))
UNARY(quick_gelu, dt_quick_gelu(x[0]))
UNARY(sigmoid, dt_sigmoid(x[0]))
UNARY(hyperbolic, dt_tanh(x[0]))
UNARY(softmax, dt_softmax(x[0]))
UNARY(log_softmax, dt_log_softmax(x[0]))
UNARY(l2_normalize, dt_l2_normalize(x[0], 0))
UNARY(linear, dt_linear(x[0], x[1], x[2]))
UNARY(embedding, dt_embedding(x[0], x[1]))

static dt_tensor *leaky_relu(dt_tensor **x, const void *settings)
{
    return dt_leaky_relu(x[0], (float)json_number_value(json_object_get(settings, "slope")));
}

static float number(const json_t *object, const char *key)
{
    return (float)json_number_value(json_object_get(object, key));
}

static dt_optimizer_config config_of(const json_t *o)
{
    const char *kind = json_string_value(json_object_get(o, "optimizer"));
    const json_t *betas = json_object_get(o, "betas");
    return (dt_optimizer_config){.kind = !strcmp(kind, "adamw") ? DT_ADAMW : !strcmp(kind, "adam_l2") ? DT_ADAM : DT_SGD,
                                 .beta1 = (float)json_number_value(json_array_get(betas, 0)),
                                 .beta2 = (float)json_number_value(json_array_get(betas, 1)), .eps = number(o, "eps"),
                                 .momentum = number(o, "momentum"), .nesterov = json_is_true(json_object_get(o, "nesterov")),
                                 .weight_decay = number(o, "weight_decay")};
}

/* Feeds the stored gradients to one parameter of the stored shape and compares it after each step. */
static void check_optimizer(const json_t *o, const json_t *bounds)
{
    char path[256];
    dt_shape shape = {0}, all = {0};
    dt_error error = {""};
    const char *file_name = json_string_value(json_object_get(o, "file"));
    snprintf(path, sizeof path, "ops/%s", file_name);
    dt_safetensors *file = golden(path) ? dt_safetensors_open(golden(path), &error) : NULL;
    if (!file) {
        skip(file_name, "the fixture is not here");
        return;
    }
    float *start = op_values(file, "start", &shape), *gradients = op_values(file, "gradients", &all);
    float *want = op_values(file, "params", &all);
    size_t count = (size_t)dt_count(&shape), steps = (size_t)all.dim[0];
    dt_graph *g = dt_graph_new();
    dt_params *params = dt_params_new();
    dt_param((dt_scope){g, params, ""}, "p", shape, dt_zeros);
    dt_optimizer_config config = config_of(o);
    dt_optimizer *optimizer = dt_params_allocate(params, 1) ? dt_optimizer_new(&config, params, dt_cpu()) : NULL;
    ok(optimizer != NULL, "%s starts", file_name);
    memcpy(dt_params_value(params, 0), start, sizeof *start * count);
    const json_t *bound = json_object_get(json_object_get(bounds, file_name), "params");
    for (size_t s = 0; s < steps; s++) {
        memcpy(dt_params_gradient(params, 0), gradients + s * count, sizeof *start * count);
        dt_optimizer_step(optimizer, number(o, "lr"));
        near(file_name, dt_params_value(params, 0), want + s * count, count, (double)number(bound, "tolerance"));
    }
    dt_optimizer_free(optimizer);
    dt_params_free(params);
    dt_graph_free(g);
    dt_safetensors_close(file);
    free(start);
    free(gradients);
    free(want);
}

/* Clipping scales all gradients by one factor; gradients that are not finite change nothing. */
static void check_clipping(void)
{
    dt_graph *g = dt_graph_new();
    dt_params *params = dt_params_new();
    dt_scope root = {g, params, ""};
    dt_param(root, "matrix", dt_dims(2, 2), dt_zeros);
    dt_param(root, "vector", dt_dims(3), dt_zeros);
    dt_params_allocate(params, 1);
    dt_optimizer_config config = {.kind = DT_SGD, .clip_norm = 1, .weight_decay = 0.5f};
    dt_optimizer *optimizer = dt_optimizer_new(&config, params, dt_cpu());
    dt_params_gradient(params, 0)[0] = 3;
    dt_params_gradient(params, 1)[2] = -4;
    dt_params_value(params, 0)[3] = 1;
    dt_params_value(params, 1)[0] = 1;
    double norm = dt_optimizer_step(optimizer, 1);
    const float matrix[] = {-0.6f, 0, 0, 0.5f}, vector[] = {1, 0, 0.8f};
    ok(fabs(norm - 5) < 1e-6, "the global norm is %g", norm);
    near("clipped matrix, decayed", dt_params_value(params, 0), matrix, 4, 1e-6);
    near("clipped vector, not decayed", dt_params_value(params, 1), vector, 3, 1e-6);
    dt_params_gradient(params, 0)[1] = NAN;
    norm = dt_optimizer_step(optimizer, 1);
    ok(isnan(norm) && dt_optimizer_steps(optimizer) == 1, "a gradient that is not a number is no step");
    near("nothing changed", dt_params_value(params, 0), matrix, 4, 1e-6);
    dt_optimizer_free(optimizer);
    dt_params_free(params);
    dt_graph_free(g);
}

static void check_schedules(void)
{
    ok(fabs(dt_learning_rate(DT_SCHEDULE_COSINE, 2, 0, 4, 12) - 0.5) < 1e-12, "warm-up starts with one part");
    ok(fabs(dt_learning_rate(DT_SCHEDULE_COSINE, 2, 3, 4, 12) - 2) < 1e-12, "and ends with the whole");
    ok(fabs(dt_learning_rate(DT_SCHEDULE_COSINE, 2, 8, 4, 12) - 1) < 1e-12, "cosine is half way at the middle");
    ok(fabs(dt_learning_rate(DT_SCHEDULE_COSINE, 2, 12, 4, 12)) < 1e-12, "and nothing at the end");
    ok(fabs(dt_learning_rate(DT_SCHEDULE_CONSTANT, 2, 11, 4, 12) - 2) < 1e-12, "constant is constant");
    ok(fabs(dt_learning_rate(DT_SCHEDULE_COSINE, 2, 0, 0, 0) - 2) < 1e-12, "an empty run divides nothing by zero");
}

int main(void)
{
    op_golden("gelu", gelu);
    op_golden("gelu_tanh", gelu_tanh);
    op_golden("quick_gelu", quick_gelu);
    op_golden("sigmoid", sigmoid);
    op_golden("tanh", hyperbolic);
    op_golden("leaky_relu", leaky_relu);
    op_golden("softmax", softmax);
    op_golden("log_softmax", log_softmax);
    op_golden("l2_normalize", l2_normalize);
    op_golden("linear", linear);
    op_golden("embedding", embedding);
    dt_error error;
    const char *path = golden("ops/index.json");
    json_t *index = path ? dt_json_load(path, &error) : NULL, *bounds = path ? dt_json_load(golden("ops/tolerance.json"), &error) : NULL;
    if (!index)
        skip("optimizers", "ops/index.json is not here");
    for (size_t i = 0; i < json_array_size(json_object_get(index, "optimizers")); i++)
        check_optimizer(json_array_get(json_object_get(index, "optimizers"), i), bounds);
    json_decref(index);
    json_decref(bounds);
    check_clipping();
    check_schedules();
    return done();
}
