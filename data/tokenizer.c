/* Making a tokenizer, asking it, and decoding. Encoding is in tokenizer_encode.c, files in tokenizer_file.c.
 */
#include "data/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "data/bytes.h"
#include "data/unigram.h"

static bool no_memory(dt_error *error)
{
    return dt_fail(error, "out of memory for a tokenizer");
}

dt_tokenizer *dt_tokenizer_new(dt_error *error)
{
    dt_tokenizer *t = calloc(1, sizeof *t);
    if (!t)
        no_memory(error);
    return t;
}

void dt_tokenizer_free(dt_tokenizer *t)
{
    if (!t)
        return;
    dt_pool_free(t->pool);
    dt_unigram_free(t->unigram);
    free(t->arena);
    free(t->tokens);
    free(t->slots);
    free(t->merges);
    free(t->pairs);
    free(t);
}

int dt_tokenizer_vocab_size(const dt_tokenizer *t)
{
    return t->size;
}

int32_t dt_tokenizer_start(const dt_tokenizer *t)
{
    return t->start;
}

int32_t dt_tokenizer_end(const dt_tokenizer *t)
{
    return t->end;
}

uint64_t dt_tokenizer_fingerprint(const dt_tokenizer *t)
{
    return t->fingerprint;
}

const char *dt_tokenizer_token(const dt_tokenizer *t, int32_t id)
{
    return id >= 0 && id < t->size && t->tokens[id].present ? t->arena + t->tokens[id].at : NULL;
}

static uint64_t fnv(uint64_t hash, const void *data, size_t size)
{
    for (const uint8_t *c = data, *end = c + size; c < end; c++)
        hash = (hash ^ *c) * 0x100000001b3u;
    return hash;
}

static uint64_t fnv_int(uint64_t hash, int32_t value)
{
    uint32_t v = (uint32_t)value;
    return fnv(hash, (uint8_t[]){(uint8_t)v, (uint8_t)(v >> 8), (uint8_t)(v >> 16), (uint8_t)(v >> 24)}, 4);
}

static const uint64_t FNV_BASIS = 0xcbf29ce484222325u;

uint64_t dt_tokenizer_hash(const void *data, size_t size)
{
    return fnv(FNV_BASIS, data, size);
}

/* Where a text is in the table, or the free slot where it would go. */
static uint32_t find_slot(const dt_tokenizer *t, const char *text, size_t length)
{
    uint64_t hash = fnv(FNV_BASIS, text, length);
    for (uint32_t at = (uint32_t)(hash ^ hash >> 32) & t->slot_mask;; at = (at + 1) & t->slot_mask) {
        if (t->slots[at] < 0)
            return at;
        const dt_token *token = &t->tokens[t->slots[at]];
        if (token->length == length && !memcmp(t->arena + token->at, text, length))
            return at;
    }
}

int32_t dt_tokenizer_find(const dt_tokenizer *t, const char *text, size_t length)
{
    return t->slots ? t->slots[find_slot(t, text, length)] : -1;
}

static bool grow_slots(dt_tokenizer *t)
{
    uint32_t count = t->slots ? 2 * (t->slot_mask + 1) : 2048;
    int32_t *slots = malloc(count * sizeof *slots), *old = t->slots;
    if (!slots)
        return false;
    memset(slots, -1, count * sizeof *slots);
    free(old);
    t->slots = slots;
    t->slot_mask = count - 1;
    for (int32_t id = 0; id < t->size; id++)
        if (t->tokens[id].present)
            slots[find_slot(t, t->arena + t->tokens[id].at, t->tokens[id].length)] = id;
    return true;
}

/* Room for a token at `id` and for `length` bytes of text and a NUL. */
static bool reserve_token(dt_tokenizer *t, int32_t id, size_t length)
{
    if ((!t->slots || 2 * t->slot_used > t->slot_mask) && !grow_slots(t))
        return false;
    if (id >= t->token_room) {
        int32_t room = id + id / 2 + 1024;
        dt_token *tokens = realloc(t->tokens, (size_t)room * sizeof *tokens);
        if (!tokens)
            return false;
        memset(tokens + t->token_room, 0, (size_t)(room - t->token_room) * sizeof *tokens);
        t->tokens = tokens;
        t->token_room = room;
    }
    if (length + 1 > t->arena_room - t->arena_used) {
        size_t room = t->arena_room + t->arena_room / 2 + length + 4096;
        char *arena = realloc(t->arena, room);
        if (!arena)
            return false;
        t->arena = arena;
        t->arena_room = room;
    }
    return true;
}

bool dt_tokenizer_add_token(dt_tokenizer *t, const char *text, size_t length, int32_t id, dt_error *error)
{
    if (!length || length > INT32_MAX || memchr(text, 0, length))
        return dt_fail(error, "the token with id %d is empty or holds a NUL", id);
    if (id < 0 || id >= DT_VOCAB_MOST)
        return dt_fail(error, "token '%.*s': id %d is not in 0 to %d", (int)length, text, id,
                       DT_VOCAB_MOST - 1);
    if (!reserve_token(t, id, length))
        return no_memory(error);
    if (t->tokens[id].present)
        return dt_fail(error, "tokens '%s' and '%.*s' have the same id %d", t->arena + t->tokens[id].at,
                       (int)length, text, id);
    uint32_t slot = find_slot(t, text, length);
    if (t->slots[slot] >= 0)
        return dt_fail(error, "token '%.*s' is there twice, as id %d and as id %d", (int)length, text,
                       t->slots[slot], id);
    memcpy(t->arena + t->arena_used, text, length);
    t->arena[t->arena_used + length] = '\0';
    t->tokens[id] = (dt_token){t->arena_used, (uint32_t)length, true};
    t->arena_used += length + 1;
    t->slots[slot] = id;
    t->slot_used++;
    if (id >= t->size)
        t->size = id + 1;
    return true;
}

/* GPT-2's table: a printable byte of Latin-1 stands for itself, the 68 others, in order, are U+0100 and up.
 */
static bool is_printable(int byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
}

int dt_byte_of(int32_t c)
{
    if (c < 256)
        return c >= 0 && is_printable(c) ? c : -1;
    int rank = c - 256;
    if (rank < 33)
        return rank;
    if (rank < 67)
        return 127 + rank - 33;
    return rank == 67 ? 173 : -1;
}

/* Text of the token of a byte, ended by a NUL; its length. */
static size_t byte_token(int byte, bool ends_word, char text[8])
{
    int32_t c = byte;
    if (!is_printable(byte))
        for (c = 256; dt_byte_of(c) != byte;)
            c++;
    size_t length = (size_t)utf8proc_encode_char(c, (uint8_t *)text);
    strcpy(text + length, ends_word ? DT_WORD_END : "");
    return strlen(text);
}

bool dt_tokenizer_add_alphabet(dt_tokenizer *t, dt_error *error)
{
    int32_t id = 0;
    for (int ends_word = 0; ends_word < 2; ends_word++)
        for (int printable = 1; printable >= 0; printable--)
            for (int byte = 0; byte < 256; byte++) {
                char text[8];
                if (is_printable(byte) != printable)
                    continue;
                if (!dt_tokenizer_add_token(t, text, byte_token(byte, ends_word, text), id, error))
                    return false;
                t->bytes[ends_word][byte] = id++;
            }
    return true;
}

bool dt_tokenizer_add_specials(dt_tokenizer *t, dt_error *error)
{
    return dt_tokenizer_add_token(t, DT_START_TEXT, strlen(DT_START_TEXT), t->size, error) &&
           dt_tokenizer_add_token(t, DT_END_TEXT, strlen(DT_END_TEXT), t->size, error);
}

bool dt_tokenizer_add_merge(dt_tokenizer *t, int32_t left, int32_t right, bool grow, dt_error *error)
{
    if (t->merge_count == t->merge_room) {
        int32_t room = 2 * t->merge_room + 1024;
        dt_merge *merges = realloc(t->merges, (size_t)room * sizeof *merges);
        if (!merges)
            return no_memory(error);
        t->merges = merges;
        t->merge_room = room;
    }
    if (t->merge_count == DT_VOCAB_MOST)
        return dt_fail(error, "there are more than %d merges", DT_VOCAB_MOST);
    dt_token a = t->tokens[left], b = t->tokens[right];
    size_t length = (size_t)a.length + b.length;
    char *joined = malloc(length);
    if (!joined)
        return no_memory(error);
    memcpy(joined, t->arena + a.at, a.length);
    memcpy(joined + a.length, t->arena + b.at, b.length);
    int32_t product = dt_tokenizer_find(t, joined, length);
    bool good = product >= 0;
    if (!good && !grow)
        dt_fail(error, "'%.*s' is not in the vocabulary", (int)length, joined);
    else if (!good) {
        product = t->size;
        good = dt_tokenizer_add_token(t, joined, length, product, error);
    }
    free(joined);
    if (good)
        t->merges[t->merge_count++] = (dt_merge){left, right, product};
    return good;
}

static bool find_alphabet(dt_tokenizer *t, dt_error *error)
{
    for (int ends_word = 0; ends_word < 2; ends_word++)
        for (int byte = 0; byte < 256; byte++) {
            char text[8];
            int32_t id = dt_tokenizer_find(t, text, byte_token(byte, ends_word, text));
            if (id < 0)
                return dt_fail(error,
                               "the vocabulary has no '%s', the token of byte 0x%02x%s: not a byte-level BPE",
                               text, byte, ends_word ? " at the end of a word" : "");
            t->bytes[ends_word][byte] = id;
        }
    return true;
}

static bool index_pairs(dt_tokenizer *t, dt_error *error)
{
    uint32_t count = 1024;
    while (count < 2 * (uint32_t)t->merge_count)
        count *= 2;
    t->pairs = malloc(count * sizeof *t->pairs);
    if (!t->pairs)
        return no_memory(error);
    for (uint32_t i = 0; i < count; i++)
        t->pairs[i].rank = -1;
    t->pair_mask = count - 1;
    for (int32_t rank = 0; rank < t->merge_count; rank++) {
        dt_merge m = t->merges[rank];
        int32_t before = dt_tokenizer_rank(t, m.left, m.right);
        if (before >= 0)
            return dt_fail(error, "merges %d and %d are the same: '%s %s'", before + 1, rank + 1,
                           dt_tokenizer_token(t, m.left), dt_tokenizer_token(t, m.right));
        uint32_t at = dt_pair_hash(m.left, m.right) & t->pair_mask;
        while (t->pairs[at].rank >= 0)
            at = (at + 1) & t->pair_mask;
        t->pairs[at] = (dt_pair_slot){m.left, m.right, rank};
    }
    return true;
}

static uint64_t hash_tokenizer(const dt_tokenizer *t)
{
    uint64_t hash = fnv_int(fnv_int(fnv_int(FNV_BASIS, t->size), t->start), t->end);
    for (int32_t id = 0; id < t->size; id++) {
        hash = fnv_int(hash, (int32_t)t->tokens[id].length);
        hash = fnv(hash, t->arena + t->tokens[id].at, t->tokens[id].length);
    }
    for (int32_t rank = 0; rank < t->merge_count; rank++)
        hash = fnv_int(fnv_int(hash, t->merges[rank].left), t->merges[rank].right);
    return hash;
}

bool dt_tokenizer_finish(dt_tokenizer *t, dt_error *error)
{
    t->start = dt_tokenizer_find(t, DT_START_TEXT, strlen(DT_START_TEXT));
    t->end = dt_tokenizer_find(t, DT_END_TEXT, strlen(DT_END_TEXT));
    if (t->start < 0 || t->end < 0)
        return dt_fail(error, "the vocabulary has no '%s': not a CLIP tokenizer",
                       t->start < 0 ? DT_START_TEXT : DT_END_TEXT);
    if (!find_alphabet(t, error) || !index_pairs(t, error))
        return false;
    t->fingerprint = hash_tokenizer(t);
    t->pool = dt_pool_new();
    return t->pool ? true : no_memory(error);
}

/* A token's text back to bytes; code points that stand for no byte stay as they are. */
static bool append_token(dt_bytes *b, const char *text, size_t length)
{
    static const size_t suffix = sizeof DT_WORD_END - 1;
    bool ends_word = length > suffix && !memcmp(text + length - suffix, DT_WORD_END, suffix);
    const char *end = text + length - (ends_word ? suffix : 0);
    while (text < end) {
        int32_t c;
        utf8proc_ssize_t taken = utf8proc_iterate((const uint8_t *)text, end - text, &c);
        int byte = taken > 0 ? dt_byte_of(c) : -1;
        if (taken <= 0)
            taken = 1;
        if (!(byte >= 0 ? dt_bytes_append(b, &(char){(char)byte}, 1) : dt_bytes_append(b, text, (size_t)taken)))
            return false;
        text += taken;
    }
    return !ends_word || dt_bytes_append(b, " ", 1);
}

/* How many bytes at `text` belong together: a whole code point (*good), or the longest start of one, which
 * one U+FFFD replaces (Unicode Standard, 3.9, "maximal subpart"). */
static size_t subpart(const uint8_t *text, size_t length, bool *good)
{
    int32_t c;
    utf8proc_ssize_t taken = utf8proc_iterate(text, (utf8proc_ssize_t)length, &c);
    *good = taken > 0;
    if (*good)
        return (size_t)taken;
    uint8_t first = text[0], low = 0x80, high = 0xbf;
    size_t want = first >= 0xf0 && first <= 0xf4 ? 4 : first >= 0xe0 && first <= 0xef ? 3 : 1;
    if (first == 0xe0)
        low = 0xa0;
    else if (first == 0xed)
        high = 0x9f;
    else if (first == 0xf0)
        low = 0x90;
    else if (first == 0xf4)
        high = 0x8f;
    size_t n = 1;
    for (; n < want && n < length && text[n] >= low && text[n] <= high; n++)
        low = 0x80, high = 0xbf;
    return n;
}

static bool append_valid(dt_bytes *to, const dt_bytes *from)
{
    for (size_t at = 0, n; at < from->length; at += n) {
        bool good;
        n = subpart((const uint8_t *)from->data + at, from->length - at, &good);
        if (!(good ? dt_bytes_append(to, from->data + at, n) : dt_bytes_append(to, "\xef\xbf\xbd", 3)))
            return false;
    }
    return true;
}

char *dt_tokenizer_decode(const dt_tokenizer *t, const int32_t *ids, size_t count, size_t *length,
                          dt_error *error)
{
    if (t->unigram)
        return dt_unigram_decode(t, ids, count, length, error);
    dt_bytes raw = {0}, text = {0};
    bool good = dt_bytes_append(&raw, "", 0) && dt_bytes_append(&text, "", 0);
    for (size_t i = 0; good && i < count; i++) {
        const char *token = dt_tokenizer_token(t, ids[i]);
        if (!token) {
            dt_fail(error, "id %d at place %zu has no token; ids are in 0 to %d", ids[i], i, t->size - 1);
            free(raw.data);
            free(text.data);
            return NULL;
        }
        good = append_token(&raw, token, t->tokens[ids[i]].length);
    }
    good = good && append_valid(&text, &raw);
    free(raw.data);
    if (!good) {
        free(text.data);
        dt_fail(error, "out of memory for the text of %zu ids", count);
        return NULL;
    }
    if (length)
        *length = text.length;
    return text.data;
}
