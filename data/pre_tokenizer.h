/* The "pre_tokenizer" of a Hugging Face tokenizer.json: a normalised text in pieces, each of which the model takes apart on
 * its own. Understood are Sequence, Metaspace, Whitespace, WhitespaceSplit and Punctuation (all five behaviours). */
#ifndef DUET_DATA_PRE_TOKENIZER_H
#define DUET_DATA_PRE_TOKENIZER_H

#include "data/bytes.h"
#include "data/error.h"
#include "data/json.h"
#include "data/text.h"

enum { DT_PRE_TOKENIZERS_MOST = 8 };

typedef struct dt_pre_tokenizer dt_pre_tokenizer;

/* NULL and JSON's null give one that leaves a text whole. `name` stands for the file in messages. The caller frees. NULL on
 * failure: also for a type that is not in the list above. */
dt_pre_tokenizer *dt_pre_tokenizer_read(const json_t *json, const char *name, dt_error *error);
void dt_pre_tokenizer_free(dt_pre_tokenizer *pre_tokenizer); /* NULL is allowed */

/* What is done with a piece, which is never empty and holds until the function returns. */
typedef bool dt_take_piece(void *context, dt_span piece, dt_error *error);

/* Gives the pieces of `text` (good UTF-8) in order to `take`, until that fails. `first`: the text stands at the start of the
 * whole, and normalising has not dropped what was there: what "prepend_scheme": "first" of Metaspace asks for. `buffers` are
 * the caller's, {0} at first, to be used again and in the end freed. */
bool dt_pre_tokenize(const dt_pre_tokenizer *pre_tokenizer, dt_bytes buffers[DT_PRE_TOKENIZERS_MOST], dt_span text,
                     bool first, dt_take_piece *take, void *context, dt_error *error);

/* A Metaspace: as a step of splitting, and for decoding. */
typedef struct dt_metaspace {
    char replacement[5]; /* one character, ended by a NUL */
    enum { DT_PREPEND_ALWAYS, DT_PREPEND_FIRST, DT_PREPEND_NEVER } prepend;
    bool split;
} dt_metaspace;

/* `place` says where the object stands in the file. */
bool dt_metaspace_read(dt_metaspace *metaspace, const json_t *json, const char *place, const char *name, dt_error *error);

#endif
