/* The pre-norm transformer that the towers are made of (Vaswani et al., 2017; Radford et al., 2019), and its parts. */
#ifndef DUET_ENCODERS_TRANSFORMER_H
#define DUET_ENCODERS_TRANSFORMER_H

#include "kernels/ops.h"
#include "kernels/params.h"

typedef struct dt_transformer_config {
    int width, layers, heads; /* heads divides width */
    int hidden;               /* of the two-layer perceptron; 4 width in CLIP */
    dt_activation activation;
    bool causal;
    float norm_eps; /* 1e-5 in CLIP, 1e-6 in SigLIP */
} dt_transformer_config;

/* x [n, t, width] -> the same shape. Parameters: SCOPE.resblocks.I.{ln_1, attn, ln_2, mlp}. Initial values as CLIP's text
 * tower has them: attention width^-1/2, projections that end a residual branch (2 layers)^-1/2 of that. */
dt_tensor *dt_transformer(dt_scope scope, const dt_transformer_config *config, dt_tensor *x);

/* The two-layer perceptron of a block: x [..., width] -> the same shape. Parameters: SCOPE.{c_fc, c_proj}. */
dt_tensor *dt_perceptron(dt_scope scope, const dt_transformer_config *config, dt_tensor *x);

/* Layer norm with the scope's weight and bias. */
dt_tensor *dt_norm_layer(dt_scope scope, dt_tensor *x, float eps);

/* x [..., in] -> [..., out] by the scope's weight [out, in], which starts with that deviation, and bias [out], from zero. */
dt_tensor *dt_linear_layer(dt_scope scope, dt_tensor *x, int64_t out, float deviation);

/* Features of a row of x; 0 for what a graph gives after a mistake. */
int64_t dt_width(const dt_tensor *x);

#endif
