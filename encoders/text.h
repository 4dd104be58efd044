/* CLIP's text tower: a causal transformer read out at the end token. */
#ifndef DUET_ENCODERS_TEXT_H
#define DUET_ENCODERS_TEXT_H

#include "encoders/transformer.h"

typedef struct dt_text_config {
    int context_length, vocab_size;
    dt_transformer_config transformer; /* causal */
} dt_text_config;

/* tokens int32 [n, context_length] -> features [n, width] at the position of each row's first largest id (the end token),
 * before the projection. Padding is not masked: it lies behind the end token, which cannot see it. Parameters, at the
 * scope: token_embedding, positional_embedding, transformer, ln_final. */
dt_tensor *dt_text_tower(dt_scope scope, const dt_text_config *config, dt_tensor *tokens);

#endif
