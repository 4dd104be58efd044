#include "encoders/attention_pool.h"

#include <math.h>

/* x [n, t, width] as [n, heads, t, width / heads]. */
static dt_tensor *by_head(dt_tensor *x, int heads)
{
    dt_tensor *parts = dt_reshape(x, dt_dims(x->shape.dim[0], x->shape.dim[1], heads, dt_width(x) / heads));
    return dt_transpose(parts, (const int[]){0, 2, 1, 3});
}

/* q [n, 1, width] asks k, v [n, t, width] -> [n, width]. The scores of one query are few: they may be held. */
static dt_tensor *ask(dt_tensor *q, dt_tensor *k, dt_tensor *v, int heads)
{
    int64_t n = k->shape.dim[0], width = dt_width(k);
    dt_tensor *query = dt_reshape(q, dt_dims(n, heads, 1, width / heads)); /* one row: nothing to reorder */
    dt_tensor *scores = dt_matmul(query, by_head(k, heads), false, true);
    scores = dt_softmax(dt_scale(scores, 1 / sqrtf((float)(width / heads))));
    return dt_reshape(dt_matmul(scores, by_head(v, heads), false, false), dt_dims(n, width));
}

dt_tensor *dt_attention_pool(dt_scope scope, dt_tensor *x, int heads, int64_t out)
{
    int64_t n = x->shape.dim[0], width = dt_width(x);
    float deviation = 1 / sqrtf((float)width);
    dt_tensor *positions = dt_reshape(x, dt_dims(n, -1, width));
    dt_tensor *sequence[] = {dt_mean(positions, 1u << 1, true), positions};
    x = dt_concat(sequence, 2, 1);
    x = dt_add(x, dt_param(scope, "positional_embedding", dt_dims(x->shape.dim[1], width), dt_gaussian(deviation)));
    dt_tensor *q = dt_linear_layer(dt_in(scope, "q_proj"), dt_slice(x, 1, 0, 1), width, deviation);
    dt_tensor *k = dt_linear_layer(dt_in(scope, "k_proj"), x, width, deviation);
    dt_tensor *v = dt_linear_layer(dt_in(scope, "v_proj"), x, width, deviation);
    return dt_linear_layer(dt_in(scope, "c_proj"), ask(q, k, v, heads), out, deviation);
}

dt_tensor *dt_probe_pool(dt_scope scope, const dt_transformer_config *c, dt_tensor *x)
{
    int64_t n = x->shape.dim[0], width = c->width;
    float deviation = 1 / sqrtf((float)width);
    dt_scope attn = dt_in(scope, "attn");
    dt_tensor *probe = dt_param(scope, "probe", dt_dims(1, 1, width), dt_gaussian(deviation));
    dt_tensor *weight = dt_param(attn, "in_proj_weight", dt_dims(3 * width, width), dt_gaussian(deviation));
    dt_tensor *bias = dt_param(attn, "in_proj_bias", dt_dims(3 * width), dt_zeros);
    dt_tensor *q = dt_linear(probe, dt_slice(weight, 0, 0, width), dt_slice(bias, 0, 0, width));
    dt_tensor *kv = dt_linear(x, dt_slice(weight, 0, width, 2 * width), dt_slice(bias, 0, width, 2 * width));
    dt_tensor *mixed = ask(dt_broadcast_to(q, dt_dims(n, 1, width)), dt_slice(kv, 2, 0, width),
                           dt_slice(kv, 2, width, width), c->heads);
    x = dt_linear_layer(dt_in(attn, "out_proj"), mixed, width, deviation);
    return dt_add(x, dt_perceptron(dt_in(scope, "mlp"), c, dt_norm_layer(dt_in(scope, "ln"), x, c->norm_eps)));
}
