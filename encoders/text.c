#include "encoders/text.h"

/* The position of x [n, t, width] that stands for its text: [n, width]. */
static dt_tensor *read_out(const dt_text_config *c, dt_tensor *x, dt_tensor *tokens)
{
    if (c->read == DT_READ_LARGEST)
        return dt_gather(x, dt_argmax_int(tokens));
    dt_tensor *position = dt_slice(x, 1, c->read == DT_READ_LAST ? c->context_length - 1 : 0, 1);
    return dt_reshape(position, dt_dims(x->shape.dim[0], c->transformer.width));
}

dt_tensor *dt_text_tower(dt_scope scope, const dt_text_config *c, dt_tensor *tokens)
{
    int64_t width = c->transformer.width;
    dt_tensor *table = dt_param(dt_in(scope, "token_embedding"), "weight", dt_dims(c->vocab_size, width),
                                dt_gaussian(0.02f));
    dt_tensor *place = dt_param(scope, "positional_embedding", dt_dims(c->context_length, width),
                                dt_gaussian(0.01f));
    dt_tensor *x = dt_add(dt_embedding(table, tokens), place);
    x = dt_transformer(dt_in(scope, "transformer"), &c->transformer, x);
    x = read_out(c, x, tokens); /* a norm of rows may as well come after the choice of a row */
    return dt_norm_layer(dt_in(scope, "ln_final"), x, c->transformer.norm_eps);
}
