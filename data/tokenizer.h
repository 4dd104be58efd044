/* Two tokenizers behind one interface. That of T5 and SigLIP is described in data/unigram.h; what follows is CLIP's.
 *
 * The byte-pair tokenizer of CLIP, id for id as github.com/openai/CLIP's simple_tokenizer (text cleaning: see
 * data/text.h, which names the one step that is left out).
 *
 * Ids of a vocabulary of M merges: 0..255 the bytes inside a word, 256..511 the bytes that end one ("</w>"),
 * 512.. the products of the merges in order, then start, then end. For the published list: 49408 ids, start
 * 49406, end 49407. A tokenizer.json brings its own ids.
 *
 * A tokenizer never changes after it is made; any number of threads may use one. Each call borrows a set of
 * buffers with a cache of recent words from a pool inside, so that no caller keeps any. */
#ifndef DUET_DATA_TOKENIZER_H
#define DUET_DATA_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

typedef struct dt_tokenizer dt_tokenizer;

#define DT_START_TEXT "<|startoftext|>"
#define DT_END_TEXT   "<|endoftext|>"

/* Reads, by content, one of
 *   - the merge list published with CLIP, bpe_simple_vocab_16e6.txt.gz, packed or not (a line that is passed
 * over, then "left right" a line, of which the first 48894 count);
 *   - a Hugging Face tokenizer.json with a byte-level BPE model that ends words in "</w>": those of CLIP
 *     checkpoints, and what dt_tokenizer_save writes;
 *   - a Hugging Face tokenizer.json with a unigram model (SentencePiece's): those of T5 and SigLIP checkpoints. What it
 *     asks for is done, and what is not understood is refused by its name.
 * Files of more than 64 MiB, packed or unpacked, are refused. The caller frees. NULL on failure. */
dt_tokenizer *dt_tokenizer_load(const char *path, dt_error *error);

/* The same for a file in memory; `name` stands for the path in messages. */
dt_tokenizer *dt_tokenizer_parse(const void *data, size_t size, const char *name, dt_error *error);

/* NULL is allowed. No other thread may still be using it. */
void dt_tokenizer_free(dt_tokenizer *tokenizer);

/* Writes a tokenizer.json that dt_tokenizer_load and Hugging Face's tokenizers read; ids are kept. */
bool dt_tokenizer_save(const dt_tokenizer *tokenizer, const char *path, dt_error *error);

int dt_tokenizer_vocab_size(const dt_tokenizer *tokenizer); /* ids are in [0, size) */
/* What stands before a text, and behind it; -1: nothing does, in a unigram tokenizer whose template says so. */
int32_t dt_tokenizer_start(const dt_tokenizer *tokenizer);
int32_t dt_tokenizer_end(const dt_tokenizer *tokenizer);

/* A hash of tokens, ids and merges (FNV-1a, 64 bits): equal for equal tokenizers, whatever file they came
 * from. Of a unigram tokenizer it is a hash of its file, white space aside. */
uint64_t dt_tokenizer_fingerprint(const dt_tokenizer *tokenizer);

/* The token's text as vocabularies print it ("cat</w>"), ended by a NUL; NULL for an id without a token. */
const char *dt_tokenizer_token(const dt_tokenizer *tokenizer, int32_t id);

/* Ids of `length` bytes of UTF-8, without start and end. Writes the first `capacity` of them; *count is how
 * many there are, also when that is more. "<|startoftext|>" and "<|endoftext|>" in the text, in any case,
 * become their tokens (a unigram tokenizer: the file's added tokens, as the file says). Fails on text that is not UTF-8 (with the byte), on more than 64 MiB, and without
 * memory. */
bool dt_tokenizer_encode(const dt_tokenizer *tokenizer, const char *text, size_t length, int32_t *ids,
                         size_t capacity, size_t *count, dt_error *error);

/* As clip.tokenize(truncate=True): start, text, end, then zeros, `context` ids in all (1 to 65536). What does
 * not fit is cut, and the last id is then end. A unigram tokenizer puts around the text what its template says, and pads
 * with the file's padding token; where it names none with "<pad>" if that is an added token, else with end. */
bool dt_tokenizer_encode_padded(const dt_tokenizer *tokenizer, const char *text, size_t length, int32_t *ids,
                                int context, dt_error *error);

/* Text of ids: a space after each token that ends a word, U+FFFD for bytes that are not UTF-8, start and end
 * as their texts; with a unigram tokenizer by the file's decoder. Ended by a NUL that *length (NULL is allowed) does not count. The caller frees. NULL for an
 * id without a token. */
char *dt_tokenizer_decode(const dt_tokenizer *tokenizer, const int32_t *ids, size_t count, size_t *length,
                          dt_error *error);

#endif
