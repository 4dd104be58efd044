/* The files of a tokenizer in a Hugging Face directory, beside tokenizer.json (data/tokenizer.h). */
#ifndef DUET_DATA_TOKENIZER_HF_H
#define DUET_DATA_TOKENIZER_HF_H

#include "data/tokenizer.h"

/* From vocab.json, {"TEXT": id}, and merges.txt, one "left right" a line below a line that starts with #. The caller frees. */
dt_tokenizer *dt_tokenizer_load_pair(const char *vocab, const char *merges, dt_error *error);

/* Writes what transformers reads. For CLIPTokenizer: tokenizer.json, vocab.json, merges.txt, tokenizer_config.json and
 * special_tokens_map.json, with the end token for padding, as in the published ones. Of a unigram tokenizer, for
 * PreTrainedTokenizerFast: tokenizer.json and tokenizer_config.json. `context` is the number of tokens that the model takes. */
bool dt_tokenizer_save_hf(const dt_tokenizer *tokenizer, const char *folder, int context, dt_error *error);

#endif
