#include "encoders/text.h"

dt_tensor *dt_text_tower(dt_scope scope, const dt_text_config *c, dt_tensor *tokens)
{
    int64_t width = c->transformer.width;
    dt_tensor *table = dt_param(dt_in(scope, "token_embedding"), "weight", dt_dims(c->vocab_size, width),
                                dt_gaussian(0.02f));
    dt_tensor *place = dt_param(scope, "positional_embedding", dt_dims(c->context_length, width),
                                dt_gaussian(0.01f));
    dt_tensor *x = dt_add(dt_embedding(table, tokens), place);
    x = dt_transformer(dt_in(scope, "transformer"), &c->transformer, x);
    x = dt_gather(x, dt_argmax_int(tokens)); /* a norm of rows may as well come after the choice of a row */
    return dt_norm_layer(dt_in(scope, "ln_final"), x, c->transformer.norm_eps);
}
