/* Pointwise arithmetic. Binary ops broadcast as numpy does: shapes are aligned at the last axis, and a dimension
 * of 1 (or a missing one) is repeated. Everything here is float32 and can be differentiated twice. The planner
 * joins neighbouring pointwise nodes into one pass over memory. */
#ifndef DUET_KERNELS_OPS_POINTWISE_H
#define DUET_KERNELS_OPS_POINTWISE_H

#include "kernels/graph.h"

dt_tensor *dt_add(dt_tensor *a, dt_tensor *b);
dt_tensor *dt_sub(dt_tensor *a, dt_tensor *b);
dt_tensor *dt_mul(dt_tensor *a, dt_tensor *b);
dt_tensor *dt_div(dt_tensor *a, dt_tensor *b);
dt_tensor *dt_maximum(dt_tensor *a, dt_tensor *b); /* where equal, the gradient goes to b */
dt_tensor *dt_minimum(dt_tensor *a, dt_tensor *b);
dt_tensor *dt_greater(dt_tensor *a, dt_tensor *b); /* 1 where a > b, else 0; no gradient */
dt_tensor *dt_equal(dt_tensor *a, dt_tensor *b);   /* 1 where a = b, else 0; no gradient */

dt_tensor *dt_affine(dt_tensor *x, float scale, float shift); /* scale x + shift */
dt_tensor *dt_scale(dt_tensor *x, float scale);
dt_tensor *dt_neg(dt_tensor *x);
dt_tensor *dt_exp(dt_tensor *x);
dt_tensor *dt_log(dt_tensor *x);
dt_tensor *dt_sqrt(dt_tensor *x);
dt_tensor *dt_rsqrt(dt_tensor *x);
dt_tensor *dt_reciprocal(dt_tensor *x);
dt_tensor *dt_square(dt_tensor *x);
dt_tensor *dt_abs(dt_tensor *x);                        /* gradient sign(x), 0 at 0 */
dt_tensor *dt_sign(dt_tensor *x);                       /* -1, 0 or 1; no gradient */
dt_tensor *dt_clamp(dt_tensor *x, float low, float high); /* gradient 1 inside and on the bounds, else 0 */

dt_tensor *dt_relu(dt_tensor *x);
dt_tensor *dt_leaky_relu(dt_tensor *x, float slope); /* max(x, 0) + slope min(x, 0) */
dt_tensor *dt_sigmoid(dt_tensor *x);
dt_tensor *dt_tanh(dt_tensor *x);
dt_tensor *dt_softplus(dt_tensor *x);   /* log(1 + exp x), without overflow */
dt_tensor *dt_gelu(dt_tensor *x);       /* x/2 (1 + erf(x / sqrt 2)); Hendrycks & Gimpel, 2016 */
dt_tensor *dt_gelu_tanh(dt_tensor *x);  /* x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) */
dt_tensor *dt_quick_gelu(dt_tensor *x); /* x sigmoid(1.702 x), as in CLIP */

/* An activation by choice, for configurations. */
typedef enum { DT_ACT_NONE, DT_ACT_RELU, DT_ACT_GELU, DT_ACT_GELU_TANH, DT_ACT_QUICK_GELU } dt_activation;
dt_tensor *dt_activate(dt_tensor *x, dt_activation activation);

/* ---- For the planner and the backends ---- */

#include "kernels/op.h"

typedef enum {
    DT_PW_ADD, DT_PW_SUB, DT_PW_MUL, DT_PW_DIV, DT_PW_MAXIMUM, DT_PW_MINIMUM, DT_PW_GREATER, DT_PW_EQUAL,
    /* (x, dy) or, for sigmoid, tanh and leaky relu, (y, dy): the derivative times dy */
    DT_PW_LEAKY_RELU_GRAD, DT_PW_CLAMP_GRAD, DT_PW_SIGMOID_GRAD, DT_PW_TANH_GRAD, DT_PW_GELU_GRAD,
    DT_PW_GELU_TANH_GRAD, DT_PW_QUICK_GELU_GRAD,
    DT_PW_FIRST_UNARY,
    DT_PW_AFFINE = DT_PW_FIRST_UNARY, DT_PW_EXP, DT_PW_LOG, DT_PW_SQRT, DT_PW_RSQRT, DT_PW_RECIPROCAL, DT_PW_SQUARE,
    DT_PW_ABS, DT_PW_SIGN, DT_PW_CLAMP, DT_PW_LEAKY_RELU, DT_PW_SIGMOID, DT_PW_TANH, DT_PW_SOFTPLUS, DT_PW_GELU,
    DT_PW_GELU_TANH, DT_PW_QUICK_GELU,
    DT_PW_COUNT
} dt_pw;

extern const dt_op dt_pointwise_op[DT_PW_COUNT];

/* The op is dt_pointwise_op[code]; -1 for any other op. */
int dt_pointwise_code(const dt_op *op);

typedef struct dt_pw_numbers {
    float p, q; /* affine: scale, shift; clamp: low, high; leaky relu: slope */
} dt_pw_numbers;

/* A fused chain: instruction k computes result k from node inputs (operand >= 0) or earlier results (operand
 * ~k < 0); the last result is the node's output. A plain pointwise node is the chain of one. */
enum { DT_CHAIN_STEPS = 12, DT_CHAIN_INPUTS = 8 };

typedef struct dt_instruction {
    dt_pw code;
    int a, b;
    dt_pw_numbers numbers;
} dt_instruction;

typedef struct dt_chain {
    int steps;
    dt_instruction step[DT_CHAIN_STEPS];
} dt_chain;

extern const dt_op dt_op_chain;

/* The chain of a pointwise node or of a chain node. */
dt_chain dt_chain_of(const dt_node *node);

#endif
