/* The unigram tokenizer of SentencePiece, as Hugging Face's tokenizers runs it from a tokenizer.json: what T5 and SigLIP
 * have. All of it stands behind data/tokenizer.h; this is for the files that make up a dt_tokenizer.
 *
 * A text is cut at the added tokens that are matched as they stand; what lies between is normalised (data/normalizer.h), cut
 * at the added tokens that are matched normalised, and split (data/pre_tokenizer.h); each piece becomes the tokens whose
 * scores have the greatest sum. Equal sums go to the path that was found first, from left to right and from short tokens to
 * long ones. What no token covers is unk_id, or its bytes' tokens with byte_fallback; neighbours that are unknown are one.
 *
 * What a file asks for and is not in those headers, or here, is refused by its name. Decoders: Metaspace, ByteFallback and a
 * Sequence of them. Post-processors: TemplateProcessing. Padding and truncation: at the right. */
#ifndef DUET_DATA_UNIGRAM_H
#define DUET_DATA_UNIGRAM_H

#include "data/json.h"
#include "data/normalizer.h"
#include "data/pre_tokenizer.h"
#include "data/tokenizer.h"
#include "data/trie.h"

enum {
    DT_FRAME_MOST = 16, /* tokens that a template puts before a text, and behind it */
    DT_DECODERS_MOST = 4,
};

/* A token that is looked for in the text before the model sees it. */
typedef struct dt_added_token {
    int32_t id;
    bool single_word, left, right; /* stands between words; takes the spaces before it, and behind */
} dt_added_token;

typedef struct dt_decoder {
    bool joins_bytes; /* ByteFallback; else Metaspace */
    dt_metaspace metaspace;
} dt_decoder;

typedef struct dt_unigram {
    char *source;    /* the file's JSON, to be saved again */
    int32_t count;   /* tokens with a score: ids 0 to count - 1 */
    double *scores;  /* by id */
    dt_trie trie;    /* their texts, to ids */
    int32_t unknown; /* -1: there is none */
    double unknown_score;
    bool byte_fallback;
    int32_t bytes[256]; /* tokens <0x00> to <0xFF>; -1: not there */

    dt_added_token *added;
    size_t added_count;
    dt_trie matched[2]; /* texts of added tokens, to places in `added`: [0] as they stand, [1] normalised */
    dt_normalizer *normalizer;
    dt_pre_tokenizer *pre_tokenizer;

    int32_t before[DT_FRAME_MOST], behind[DT_FRAME_MOST], padding;
    int before_count, behind_count;
    dt_decoder decoders[DT_DECODERS_MOST];
    int decoder_count; /* -1: the file has none, and tokens are joined by spaces */
} dt_unigram;

/* Fills a new tokenizer from the object of a tokenizer.json whose model.type is "Unigram"; `name` stands in messages. On
 * failure the tokenizer is only good for dt_tokenizer_free. */
bool dt_unigram_read(dt_tokenizer *tokenizer, const json_t *root, const char *name, dt_error *error);
void dt_unigram_free(dt_unigram *unigram); /* NULL is allowed */

/* What data/tokenizer.h says of the functions of the same names. */
bool dt_unigram_encode(const dt_tokenizer *tokenizer, dt_span text, int32_t *ids, size_t capacity, size_t *count,
                       dt_error *error);
bool dt_unigram_encode_padded(const dt_tokenizer *tokenizer, dt_span text, int32_t *ids, int context, dt_error *error);
char *dt_unigram_decode(const dt_tokenizer *tokenizer, const int32_t *ids, size_t count, size_t *length, dt_error *error);
bool dt_unigram_save(const dt_tokenizer *tokenizer, const char *path, dt_error *error);

#endif
