#include "kernels/ops/pointwise.h"

#include "kernels/ops.h"

static void gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx);

#define PW(code, name) [code] = {name, DT_OP_IN_PLACE, gradient, NULL}
#define FLAT(code, name) [code] = {name, DT_OP_IN_PLACE, NULL, NULL}
const dt_op dt_pointwise_op[DT_PW_COUNT] = {
    PW(DT_PW_ADD, "add"), PW(DT_PW_SUB, "sub"), PW(DT_PW_MUL, "mul"), PW(DT_PW_DIV, "div"),
    PW(DT_PW_MAXIMUM, "maximum"), PW(DT_PW_MINIMUM, "minimum"), FLAT(DT_PW_GREATER, "greater"),
    FLAT(DT_PW_EQUAL, "equal"), PW(DT_PW_LEAKY_RELU_GRAD, "leaky_relu_grad"), PW(DT_PW_CLAMP_GRAD, "clamp_grad"),
    PW(DT_PW_SIGMOID_GRAD, "sigmoid_grad"), PW(DT_PW_TANH_GRAD, "tanh_grad"), PW(DT_PW_GELU_GRAD, "gelu_grad"),
    PW(DT_PW_GELU_TANH_GRAD, "gelu_tanh_grad"), PW(DT_PW_QUICK_GELU_GRAD, "quick_gelu_grad"),
    PW(DT_PW_AFFINE, "affine"), PW(DT_PW_EXP, "exp"), PW(DT_PW_LOG, "log"), PW(DT_PW_SQRT, "sqrt"),
    PW(DT_PW_RSQRT, "rsqrt"), PW(DT_PW_RECIPROCAL, "reciprocal"), PW(DT_PW_SQUARE, "square"), PW(DT_PW_ABS, "abs"),
    FLAT(DT_PW_SIGN, "sign"), PW(DT_PW_CLAMP, "clamp"), PW(DT_PW_LEAKY_RELU, "leaky_relu"),
    PW(DT_PW_SIGMOID, "sigmoid"), PW(DT_PW_TANH, "tanh"), PW(DT_PW_SOFTPLUS, "softplus"), PW(DT_PW_GELU, "gelu"),
    PW(DT_PW_GELU_TANH, "gelu_tanh"), PW(DT_PW_QUICK_GELU, "quick_gelu"),
};
const dt_op dt_op_chain = {.name = "pointwise chain", .flags = DT_OP_IN_PLACE};

int dt_pointwise_code(const dt_op *op)
{
    return op >= dt_pointwise_op && op < dt_pointwise_op + DT_PW_COUNT ? (int)(op - dt_pointwise_op) : -1;
}

dt_chain dt_chain_of(const dt_node *node)
{
    if (node->op == &dt_op_chain)
        return *(const dt_chain *)node->attributes;
    return (dt_chain){.steps = 1, .step = {{.code = (dt_pw)dt_pointwise_code(node->op), .a = 0, .b = node->inputs - 1,
                                            .numbers = *(const dt_pw_numbers *)node->attributes}}};
}

static dt_tensor *unary(dt_pw code, dt_tensor *x, float p, float q)
{
    const dt_op *op = &dt_pointwise_op[code];
    if (x->dtype != DT_F32)
        return dt_graph_fail(dt_graph_of(x), op->name, "expected float32, got %s", dt_dtype_name(x->dtype));
    dt_pw_numbers numbers = {p, q};
    return dt_record1(dt_graph_of(x), op, &numbers, sizeof numbers, x->shape, x, NULL, NULL, NULL);
}

static bool broadcast(const dt_shape *a, const dt_shape *b, dt_shape *result)
{
    *result = a->rank >= b->rank ? *a : *b;
    int shift_a = result->rank - a->rank, shift_b = result->rank - b->rank;
    for (int i = 0; i < result->rank; i++) {
        int64_t da = i < shift_a ? 1 : a->dim[i - shift_a], db = i < shift_b ? 1 : b->dim[i - shift_b];
        if (da != db && da != 1 && db != 1)
            return false;
        result->dim[i] = da > db ? da : db;
    }
    return true;
}

static dt_tensor *binary(dt_pw code, dt_tensor *a, dt_tensor *b, float p, float q)
{
    const dt_op *op = &dt_pointwise_op[code];
    dt_graph *g = dt_graph_of(a);
    dt_shape shape;
    if (a->dtype != DT_F32 || b->dtype != DT_F32)
        return dt_graph_fail(g, op->name, "expected float32 twice, got %s and %s", dt_dtype_name(a->dtype),
                             dt_dtype_name(b->dtype));
    if (!broadcast(&a->shape, &b->shape, &shape))
        return dt_graph_fail(g, op->name, "shapes %s and %s do not broadcast", dt_shape_text(&a->shape).chars,
                             dt_shape_text(&b->shape).chars);
    dt_pw_numbers numbers = {p, q};
    return dt_record1(g, op, &numbers, sizeof numbers, shape, a, b, NULL, NULL);
}

#define BINARY(name, code)                                                                                        \
    dt_tensor *name(dt_tensor *a, dt_tensor *b)                                                                   \
    {                                                                                                             \
        return binary(code, a, b, 0, 0);                                                                          \
    }
BINARY(dt_add, DT_PW_ADD)
BINARY(dt_sub, DT_PW_SUB)
BINARY(dt_mul, DT_PW_MUL)
BINARY(dt_div, DT_PW_DIV)
BINARY(dt_maximum, DT_PW_MAXIMUM)
BINARY(dt_minimum, DT_PW_MINIMUM)
BINARY(dt_greater, DT_PW_GREATER)
BINARY(dt_equal, DT_PW_EQUAL)

#define UNARY(name, code)                                                                                         \
    dt_tensor *name(dt_tensor *x)                                                                                 \
    {                                                                                                             \
        return unary(code, x, 0, 0);                                                                              \
    }
UNARY(dt_exp, DT_PW_EXP)
UNARY(dt_log, DT_PW_LOG)
UNARY(dt_sqrt, DT_PW_SQRT)
UNARY(dt_rsqrt, DT_PW_RSQRT)
UNARY(dt_reciprocal, DT_PW_RECIPROCAL)
UNARY(dt_square, DT_PW_SQUARE)
UNARY(dt_abs, DT_PW_ABS)
UNARY(dt_sign, DT_PW_SIGN)
UNARY(dt_relu, DT_PW_LEAKY_RELU)
UNARY(dt_sigmoid, DT_PW_SIGMOID)
UNARY(dt_tanh, DT_PW_TANH)
UNARY(dt_softplus, DT_PW_SOFTPLUS)
UNARY(dt_gelu, DT_PW_GELU)
UNARY(dt_gelu_tanh, DT_PW_GELU_TANH)
UNARY(dt_quick_gelu, DT_PW_QUICK_GELU)

dt_tensor *dt_affine(dt_tensor *x, float scale, float shift)
{
    return unary(DT_PW_AFFINE, x, scale, shift);
}

dt_tensor *dt_scale(dt_tensor *x, float scale)
{
    return dt_affine(x, scale, 0);
}

dt_tensor *dt_neg(dt_tensor *x)
{
    return dt_affine(x, -1, 0);
}

dt_tensor *dt_clamp(dt_tensor *x, float low, float high)
{
    return unary(DT_PW_CLAMP, x, low, high);
}

dt_tensor *dt_leaky_relu(dt_tensor *x, float slope)
{
    return unary(DT_PW_LEAKY_RELU, x, slope, 0);
}

dt_tensor *dt_activate(dt_tensor *x, dt_activation activation)
{
    switch (activation) {
    case DT_ACT_NONE:
        return x;
    case DT_ACT_RELU:
        return dt_relu(x);
    case DT_ACT_GELU:
        return dt_gelu(x);
    case DT_ACT_GELU_TANH:
        return dt_gelu_tanh(x);
    case DT_ACT_QUICK_GELU:
        return dt_quick_gelu(x);
    }
    return dt_graph_fail(dt_graph_of(x), "activate", "unknown activation %d", (int)activation);
}

/* f'' of the exact GELU: phi(x) (2 - x^2), phi the standard normal density. */
static dt_tensor *gelu_second(dt_tensor *x)
{
    dt_tensor *x2 = dt_square(x);
    dt_tensor *density = dt_scale(dt_exp(dt_scale(x2, -0.5f)), 0.398942280401432678f);
    return dt_mul(density, dt_affine(x2, -1, 2));
}

/* f'' of x s with s = sigmoid(k x): k s (1 - s) (2 + k x (1 - 2 s)). */
static dt_tensor *quick_gelu_second(dt_tensor *x)
{
    const float k = 1.702f;
    dt_tensor *s = dt_sigmoid(dt_scale(x, k));
    dt_tensor *slope = dt_mul(dt_scale(s, k), dt_affine(s, -1, 1));
    return dt_mul(slope, dt_affine(dt_mul(dt_scale(x, k), dt_affine(s, -2, 1)), 1, 2));
}

/* f'' of x/2 (1 + t), t = tanh u: (1 - t^2) (u' + x/2 (u'' - 2 t u'^2)). */
static dt_tensor *gelu_tanh_second(dt_tensor *x)
{
    const float c = 0.797884560802865356f, k = 0.044715f;
    dt_tensor *x2 = dt_square(x);
    dt_tensor *t = dt_tanh(dt_mul(x, dt_affine(x2, c * k, c)));
    dt_tensor *u1 = dt_affine(x2, 3 * c * k, c), *u2 = dt_scale(x, 6 * c * k);
    dt_tensor *bend = dt_mul(dt_scale(x, 0.5f), dt_sub(u2, dt_scale(dt_mul(t, dt_square(u1)), 2)));
    return dt_mul(dt_affine(dt_square(t), -1, 1), dt_add(u1, bend));
}

/* Derivatives of the fused gradients: d(f'(x) dy) is f'(x) for dy and f''(x) dy for x. */
static void second_gradient(const dt_node *node, dt_pw code, dt_tensor *u, dt_tensor **dx)
{
    dt_tensor *x = node->input[0], *dy = node->input[1];
    dt_pw_numbers n = *(const dt_pw_numbers *)node->attributes;
    dx[1] = binary(code, x, u, n.p, n.q);
    if (code == DT_PW_SIGMOID_GRAD)
        dx[0] = dt_mul(dt_mul(u, dy), dt_affine(x, -2, 1));
    else if (code == DT_PW_TANH_GRAD)
        dx[0] = dt_mul(dt_mul(u, dy), dt_scale(x, -2));
    else if (code == DT_PW_GELU_GRAD)
        dx[0] = dt_mul(dt_mul(u, dy), gelu_second(x));
    else if (code == DT_PW_GELU_TANH_GRAD)
        dx[0] = dt_mul(dt_mul(u, dy), gelu_tanh_second(x));
    else if (code == DT_PW_QUICK_GELU_GRAD)
        dx[0] = dt_mul(dt_mul(u, dy), quick_gelu_second(x));
}

static void binary_gradient(const dt_node *node, dt_pw code, dt_tensor *u, dt_tensor **dx)
{
    dt_tensor *a = node->input[0], *b = node->input[1], *y = (dt_tensor *)&node->output[0], *mask;
    switch (code) {
    case DT_PW_ADD:
        dx[0] = u, dx[1] = u;
        break;
    case DT_PW_SUB:
        dx[0] = u, dx[1] = dt_neg(u);
        break;
    case DT_PW_MUL:
        dx[0] = dt_mul(u, b), dx[1] = dt_mul(u, a);
        break;
    case DT_PW_DIV:
        dx[0] = dt_div(u, b), dx[1] = dt_neg(dt_mul(dx[0], y));
        break;
    case DT_PW_MAXIMUM:
    case DT_PW_MINIMUM:
        mask = code == DT_PW_MAXIMUM ? dt_greater(a, b) : dt_greater(b, a);
        dx[0] = dt_mul(u, mask), dx[1] = dt_mul(u, dt_affine(mask, -1, 1));
        break;
    default:
        second_gradient(node, code, u, dx);
        return;
    }
    dx[0] = dt_sum_to(dx[0], a->shape);
    dx[1] = dt_sum_to(dx[1], b->shape);
}

static dt_tensor *unary_gradient(const dt_node *node, dt_pw code, dt_tensor *u)
{
    dt_tensor *x = node->input[0], *y = (dt_tensor *)&node->output[0];
    dt_pw_numbers n = *(const dt_pw_numbers *)node->attributes;
    switch (code) {
    case DT_PW_AFFINE:
        return dt_scale(u, n.p);
    case DT_PW_EXP:
        return dt_mul(u, y);
    case DT_PW_LOG:
        return dt_div(u, x);
    case DT_PW_SQRT:
        return dt_div(dt_scale(u, 0.5f), y);
    case DT_PW_RSQRT:
        return dt_mul(dt_scale(u, -0.5f), dt_mul(y, dt_square(y)));
    case DT_PW_RECIPROCAL:
        return dt_neg(dt_mul(u, dt_square(y)));
    case DT_PW_SQUARE:
        return dt_mul(u, dt_scale(x, 2));
    case DT_PW_ABS:
        return dt_mul(u, dt_sign(x));
    case DT_PW_CLAMP:
        return binary(DT_PW_CLAMP_GRAD, x, u, n.p, n.q);
    case DT_PW_LEAKY_RELU: /* the sign of y is that of x, unless the slope is negative; x need not be kept then */
        return binary(DT_PW_LEAKY_RELU_GRAD, n.p >= 0 ? y : x, u, n.p, n.q);
    case DT_PW_SIGMOID:
        return binary(DT_PW_SIGMOID_GRAD, y, u, 0, 0);
    case DT_PW_TANH:
        return binary(DT_PW_TANH_GRAD, y, u, 0, 0);
    case DT_PW_SOFTPLUS:
        return dt_mul(u, dt_sigmoid(x));
    case DT_PW_GELU:
        return binary(DT_PW_GELU_GRAD, x, u, 0, 0);
    case DT_PW_GELU_TANH:
        return binary(DT_PW_GELU_TANH_GRAD, x, u, 0, 0);
    case DT_PW_QUICK_GELU:
        return binary(DT_PW_QUICK_GELU_GRAD, x, u, 0, 0);
    default:
        return NULL;
    }
}

static void gradient(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx)
{
    (void)g;
    dt_pw code = (dt_pw)dt_pointwise_code(node->op);
    if (code < DT_PW_FIRST_UNARY)
        binary_gradient(node, code, dy[0], dx);
    else
        dx[0] = unary_gradient(node, code, dy[0]);
}
