/* The text towers: CLIP's, a causal transformer read out at the end token; SigLIP's, where every position sees every other,
 * read out at the last one. */
#ifndef DUET_ENCODERS_TEXT_H
#define DUET_ENCODERS_TEXT_H

#include "encoders/transformer.h"

typedef enum {
    DT_READ_LARGEST, /* the position of the first largest id: CLIP's end token */
    DT_READ_LAST,
    DT_READ_FIRST,
} dt_text_read;

typedef struct dt_text_config {
    int context_length, vocab_size;
    dt_transformer_config transformer;
    dt_text_read read;
} dt_text_config;

/* tokens int32 [n, context_length] -> features [n, width] of one position, before the projection. Padding is not masked: in a
 * causal tower it lies behind the end token, which cannot see it; in SigLIP's it is part of the text. Parameters, at the scope
 * (open_clip: the same, below text. for SigLIP):
 *
 *   here                              Hugging Face, below text_model.
 *   token_embedding.weight            embeddings.token_embedding.weight
 *   positional_embedding              embeddings.position_embedding.weight
 *   transformer.resblocks.I.          encoder.layers.I., as for images (vit.h)
 *   ln_final                          final_layer_norm */
dt_tensor *dt_text_tower(dt_scope scope, const dt_text_config *config, dt_tensor *tokens);

#endif
