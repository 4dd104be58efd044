/* Multi-head self-attention, as in Vaswani et al., 2017. */
#ifndef DUET_KERNELS_OPS_ATTENTION_H
#define DUET_KERNELS_OPS_ATTENTION_H

#include "kernels/graph.h"
#include "kernels/op.h"

/* softmax(q k^T / sqrt(w / heads)) v for each head. qkv [n, t, 3 w] holds q, k and v of a position one after
 * the other, as in_proj leaves them -> [n, t, w]. `causal`: position i sees positions 0..i. w is a multiple
 * of heads. Never holds t x t scores for more than one head of one sample a thread. */
dt_tensor *dt_attention(dt_tensor *qkv, int heads, bool causal);

/* ---- For the backends ---- */

typedef struct dt_attention_form {
    int heads;
    bool causal;
} dt_attention_form;

/* attention: qkv -> y [n, t, w], lse [n, heads, t] (log-sum-exp of each row of scaled scores).
 * attention_grad: qkv, y, lse, dy -> dqkv [n, t, 3 w]. */
extern const dt_op dt_op_attention, dt_op_attention_grad;

#endif
