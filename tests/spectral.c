/* Spectral normalisation against torch's, against float64, and against differences of its definition. */
#include "encoders/spectral.h"
#include "kernels/backend.h"
#include "kernels/plan.h"
#include "tests/spread.h"
#include "tests/tap.h"

/* torch 2.15.0, torch.nn.utils.spectral_norm in float64 on a convolution's weight [3, 2, 2, 2]: two training steps with the
 * weight left as it is. */
enum { OUT = 3, COUNT = 24, REST = COUNT / OUT };
static const struct reference {
    float weight[COUNT], u[OUT], gradient[COUNT];
} references[] = {
    {{-0.0092860711f, 0.242776219f, 0.4695395f, -0.17355894f, -0.47770303f, -0.164670047f, -0.199312789f, -0.16645541f,
      -0.114366997f, -0.320612125f, -0.442008448f, 0.0158646538f, 0.278973441f, -0.239239346f, -0.429303019f, -0.321427166f,
      -0.479875767f, -0.212410837f, -0.415289784f, -0.262400669f, -0.00836590393f, -0.157722524f, 0.0163985017f, 0.197096093f},
     {0.705207978f, -0.442086115f, -0.554293762f},
     {0.232030736f, -0.04781361f, -0.0935128045f, -0.111153456f, 0.340668029f, -0.132995557f, 0.131737704f, -0.326178833f,
      0.0242848818f, 0.298468723f, 0.133035763f, -0.300573241f, -0.427627662f, 0.111623677f, -0.490126598f, -0.435893424f,
      -0.219738066f, -0.211339143f, -0.0643853242f, -0.300035711f, 0.0523380773f, 0.234579902f, -0.0481454941f, -0.552411902f}},
    {{-0.00880947881f, 0.23031613f, 0.445441159f, -0.164651313f, -0.45318571f, -0.156218629f, -0.189083389f, -0.157912361f,
      -0.108497299f, -0.304157236f, -0.419323093f, 0.0150504266f, 0.264655589f, -0.226960781f, -0.407269749f, -0.304930446f,
      -0.455246935f, -0.201509201f, -0.39397572f, -0.248933387f, -0.0079365377f, -0.149627675f, 0.0155568757f, 0.186980461f},
     {0.608178095f, -0.588185234f, -0.533064288f},
     {0.233834667f, -0.0357904186f, -0.0565957963f, -0.108300032f, 0.298507118f, -0.152414967f, 0.0726730569f, -0.35919905f,
      0.0386439078f, 0.310774463f, 0.165150141f, -0.282107246f, -0.425776932f, 0.128363727f, -0.429049424f, -0.388927134f,
      -0.212801524f, -0.199071234f, -0.0706127877f, -0.282062695f, 0.0595882984f, 0.244769322f, -0.00373047745f, -0.486703564f}},
};

typedef struct setting {
    dt_graph *graph;
    dt_params *params;
    dt_plan *plan;
    dt_tensor *normal, *dy;
    float *weight, *u;
} setting;

/* sum(normal * dy) is the loss; weight, u and dy are numbers between -0.5 and 0.5. */
static setting start(dt_shape shape, bool training)
{
    setting s = {.graph = dt_graph_new(), .params = dt_params_new()};
    dt_scope scope = {s.graph, s.params, ""};
    dt_tensor *weight = dt_param(scope, "weight", shape, dt_zeros);
    s.dy = dt_input(s.graph, "dy", DT_F32, shape);
    s.normal = dt_keep(dt_spectral_normalize(scope, weight, training));
    dt_store_gradients(dt_sum(dt_mul(s.normal, s.dy), DT_ALL, false), false);
    dt_params_allocate(s.params, 1);
    s.plan = dt_plan_new(s.graph, dt_cpu(), NULL);
    ok(s.plan, "planned %s", s.plan ? "" : dt_graph_error(s.graph));
    s.weight = dt_params_value(s.params, dt_params_find(s.params, "weight"));
    s.u = dt_params_value(s.params, dt_params_find(s.params, "u"));
    size_t count = (size_t)dt_count(&shape);
    float *dy = calloc(count, sizeof *dy);
    spread("weight", s.weight, count, -0.5, 1);
    spread("u", s.u, (size_t)shape.dim[0], -0.5, 1);
    spread("dy", dy, count, -0.5, 1);
    dt_plan_write(s.plan, s.dy, dy);
    free(dy);
    return s;
}

static void end(setting *s)
{
    dt_plan_free(s->plan);
    dt_graph_free(s->graph);
    dt_params_free(s->params);
}

static void check_torch(void)
{
    setting s = start(dt_dims(OUT, 2, 2, 2), true);
    float normal[COUNT];
    for (int i = 0; i < 2; i++) {
        const struct reference *r = &references[i];
        ok(!dt_plan_run(s.plan, 1, (uint32_t)i) && dt_plan_read(s.plan, s.normal, normal), "step %d", i + 1);
        near("normalised weight", normal, r->weight, COUNT, 1e-6);
        near("u", s.u, r->u, OUT, 1e-6);
        near("gradient", dt_params_gradient(s.params, dt_params_find(s.params, "weight")), r->gradient, COUNT, 2e-6);
    }
    end(&s);
}

/* |W^T u| and v = W^T u / |W^T u|, then u = W v / |W v|: the pieces of a power iteration, in float64. */
static double left(const float *weight, const double u[OUT], double v[REST])
{
    double square = 0;
    for (int k = 0; k < REST; k++) {
        v[k] = 0;
        for (int i = 0; i < OUT; i++)
            v[k] += weight[i * REST + k] * u[i];
        square += v[k] * v[k];
    }
    for (int k = 0; k < REST; k++)
        v[k] /= sqrt(square);
    return sqrt(square);
}

static double right(const float *weight, const double v[REST], double u[OUT])
{
    double square = 0;
    for (int i = 0; i < OUT; i++) {
        u[i] = 0;
        for (int k = 0; k < REST; k++)
            u[i] += weight[i * REST + k] * v[k];
        square += u[i] * u[i];
    }
    for (int i = 0; i < OUT; i++)
        u[i] /= sqrt(square);
    return sqrt(square);
}

static void check_convergence(void)
{
    setting s = start(dt_dims(OUT, REST), true);
    double u[OUT] = {1, 0.5, 0.25}, v[REST], sigma = 0;
    for (int i = 0; i < 1000; i++) {
        left(s.weight, u, v);
        sigma = right(s.weight, v, u);
    }
    float normal[COUNT], want[COUNT];
    for (int i = 0; i < COUNT; i++)
        want[i] = (float)(s.weight[i] / sigma);
    for (uint32_t i = 0; i < 200; i++)
        dt_plan_run(s.plan, 1, i);
    dt_plan_read(s.plan, s.normal, normal);
    near("after 200 runs, W over its largest singular value", normal, want, COUNT, 1e-6);
    end(&s);
}

/* Evaluation: u stays as it is, need not be of length one, and v is the best for it. */
static void check_evaluation(void)
{
    setting s = start(dt_dims(OUT, REST), false);
    float before[OUT], normal[COUNT], want[COUNT];
    memcpy(before, s.u, sizeof before);
    double u[OUT], v[REST], length = 0;
    for (int i = 0; i < OUT; i++)
        length += (double)s.u[i] * s.u[i];
    for (int i = 0; i < OUT; i++)
        u[i] = s.u[i] / sqrt(length);
    double sigma = left(s.weight, u, v);
    for (int i = 0; i < COUNT; i++)
        want[i] = (float)(s.weight[i] / sigma);
    ok(!dt_plan_run(s.plan, 1, 0) && dt_plan_read(s.plan, s.normal, normal), "runs in evaluation mode");
    near("W over |W^T u|", normal, want, COUNT, 1e-6);
    ok(!memcmp(before, s.u, sizeof before), "u is left alone");
    end(&s);
}

/* sum(dy W) / u^T W v in float64. */
static double loss(const float *weight, const float *dy, const double *u, const double *v)
{
    double sum = 0, sigma = 0;
    for (int i = 0; i < COUNT; i++) {
        sum += (double)weight[i] * dy[i];
        sigma += weight[i] * u[i / REST] * v[i % REST];
    }
    return sum / sigma;
}

static void check_differences(void)
{
    setting s = start(dt_dims(OUT, REST), true);
    double u[OUT], v[REST];
    float dy[COUNT], want[COUNT];
    spread("dy", dy, COUNT, -0.5, 1);
    for (int i = 0; i < OUT; i++)
        u[i] = s.u[i];
    left(s.weight, u, v);
    right(s.weight, v, u);
    ok(!dt_plan_run(s.plan, 1, 0), "runs");
    for (int i = 0; i < COUNT; i++) {
        const float h = 0x1p-10f, weight = s.weight[i];
        s.weight[i] = weight + h;
        double above = loss(s.weight, dy, u, v);
        s.weight[i] = weight - h;
        want[i] = (float)((above - loss(s.weight, dy, u, v)) / (2 * h));
        s.weight[i] = weight;
    }
    const float *got = dt_params_gradient(s.params, dt_params_find(s.params, "weight"));
    near("gradient, u and v held fixed, against differences", got, want, COUNT, 1e-5);
    end(&s);
}

int main(void)
{
    check_torch();
    check_convergence();
    check_evaluation();
    check_differences();
    return done();
}
