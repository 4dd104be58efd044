/* Reading many rows out as one by attention: the ends of CLIP's ResNets and of SigLIP's towers. */
#ifndef DUET_ENCODERS_ATTENTION_POOL_H
#define DUET_ENCODERS_ATTENTION_POOL_H

#include "encoders/transformer.h"

/* CLIP (Radford et al., 2021): the mean of the positions asks all of them and itself. x [n, h, w, width] -> [n, out]; heads
 * divides width. Parameters: SCOPE.positional_embedding [1 + h w, width], the mean's first, and SCOPE.{q_proj, k_proj, v_proj,
 * c_proj}. */
dt_tensor *dt_attention_pool(dt_scope scope, dt_tensor *x, int heads, int64_t out);

/* SigLIP (Zhai et al., 2023; the "MAP head" of Zhai et al., 2022): a learned probe asks, and a perceptron follows. x
 * [n, t, width] -> [n, width]. Parameters: SCOPE.{probe [1, 1, width], attn.{in_proj_weight, in_proj_bias, out_proj}, ln, mlp},
 * with q, k and v in in_proj one after the other, as in a block. */
dt_tensor *dt_probe_pool(dt_scope scope, const dt_transformer_config *config, dt_tensor *x);

#endif
