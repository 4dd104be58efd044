/* How a tokenizer is made: for the files that read and train one. Tokens first, then merges, then finish. */
#ifndef DUET_DATA_TOKENIZER_INTERNAL_H
#define DUET_DATA_TOKENIZER_INTERNAL_H

#include "data/json.h"
#include "data/tokenizer.h"

enum {
    DT_VOCAB_MOST = 1 << 20, /* ids, and merges */
    DT_ALPHABET = 512,       /* 256 bytes inside a word, 256 at its end */
};

#define DT_WORD_END "</w>"

typedef struct dt_merge {
    int32_t left, right, product; /* ids */
} dt_merge;

typedef struct dt_token {
    size_t at; /* into the arena; ended by a NUL there */
    uint32_t length;
    bool present;
} dt_token;

typedef struct dt_pair_slot {
    int32_t left, right, rank; /* rank -1: free */
} dt_pair_slot;

struct dt_tokenizer {
    char *arena; /* texts of all tokens */
    size_t arena_used, arena_room;
    dt_token *tokens; /* by id */
    int32_t size, token_room;
    int32_t *slots; /* open addressing from text to id; -1: free */
    uint32_t slot_mask, slot_used;

    dt_merge *merges; /* by rank */
    int32_t merge_count, merge_room;
    dt_pair_slot *pairs; /* open addressing from pair to rank */
    uint32_t pair_mask;

    int32_t bytes[2][256]; /* ids of a byte inside a word, and at its end */
    int32_t start, end;
    uint64_t fingerprint;
    struct dt_pool *pool;

    struct dt_unigram *unigram; /* where there is one, it stands for merges, pairs, bytes and pool; data/unigram.h */
};

dt_tokenizer *dt_tokenizer_new(dt_error *error);

/* Adds a token. Refuses an id or text that is there already, an id outside [0, DT_VOCAB_MOST), and a text
 * that is empty or holds a NUL. */
bool dt_tokenizer_add_token(dt_tokenizer *tokenizer, const char *text, size_t length, int32_t id,
                            dt_error *error);

/* The 512 tokens of the byte alphabet at ids 0..511; fills `bytes` too. */
bool dt_tokenizer_add_alphabet(dt_tokenizer *tokenizer, dt_error *error);

/* Start and end at the next two ids. */
bool dt_tokenizer_add_specials(dt_tokenizer *tokenizer, dt_error *error);

/* Id of a text; -1: none. */
int32_t dt_tokenizer_find(const dt_tokenizer *tokenizer, const char *text, size_t length);

/* Adds the next merge. Where the joined token is not there: adds it at the next id if `grow`, else fails. A
 * merge that is there already is refused by finish. */
bool dt_tokenizer_add_merge(dt_tokenizer *tokenizer, int32_t left, int32_t right, bool grow, dt_error *error);

/* Looks the alphabet, start and end up, hashes, and makes the tokenizer ready for use. */
bool dt_tokenizer_finish(dt_tokenizer *tokenizer, dt_error *error);

/* FNV-1a, 64 bits. */
uint64_t dt_tokenizer_hash(const void *data, size_t size);

/* All of a tokenizer from the object that a tokenizer.json holds; `name` stands in messages. data/tokenizer_file.c. */
bool dt_tokenizer_read_json(dt_tokenizer *tokenizer, const json_t *root, const char *name, dt_error *error);

/* {"TEXT": id} and ["LEFT RIGHT"], new references; NULL: no memory, or a token that is not UTF-8. data/tokenizer_save.c. */
json_t *dt_tokenizer_vocab_json(const dt_tokenizer *tokenizer);
json_t *dt_tokenizer_merges_json(const dt_tokenizer *tokenizer);

static inline uint32_t dt_pair_hash(int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    return (uint32_t)(key * 0x9e3779b97f4a7c15u >> 32);
}

/* Rank of a pair, -1: it never merges. */
static inline int32_t dt_tokenizer_rank(const dt_tokenizer *tokenizer, int32_t left, int32_t right)
{
    for (uint32_t at = dt_pair_hash(left, right);; at++) {
        const dt_pair_slot *slot = &tokenizer->pairs[at & tokenizer->pair_mask];
        if (slot->rank < 0 || (slot->left == left && slot->right == right))
            return slot->rank;
    }
}

/* The byte that a code point of a token's text stands for, by GPT-2's table; -1: none. */
int dt_byte_of(int32_t codepoint);

/* Buffers of one call; data/tokenizer_encode.c. */
struct dt_pool *dt_pool_new(void);
void dt_pool_free(struct dt_pool *pool);

#endif
