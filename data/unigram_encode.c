/* Text to ids. */
#include "data/unigram.h"

#include <stdlib.h>
#include <string.h>

#include "data/tokenizer_internal.h"
#include "data/unicode.h"

/* A place in a piece: how the best path comes here. Once all are known, `end` is where the token that starts here ends. */
typedef struct place {
    union {
        double score;
        int32_t end;
    };
    int32_t start, id; /* of the last token; start -1: no path yet */
} place;

typedef struct encoder {
    const dt_tokenizer *tokenizer;
    const dt_unigram *unigram;
    dt_normal_buffers *normal;
    dt_bytes stages[DT_PRE_TOKENIZERS_MOST];
    place *places;
    size_t room;
    int32_t *ids;
    size_t capacity, count;
    size_t enough; /* ids that are wanted: what comes later is not looked at */
} encoder;

static void put_id(encoder *e, int32_t id)
{
    if (e->count < e->capacity)
        e->ids[e->count] = id;
    e->count++;
}

/* ---- The model ---- */

static inline void offer(place *to, double score, int32_t start, int32_t id)
{
    if (to->start < 0 || score > to->score)
        *to = (place){.score = score, .start = start, .id = id};
}

/* Best path to every place of the piece. */
static bool find_paths(encoder *e, dt_span piece, dt_error *error)
{
    const dt_unigram *u = e->unigram;
    for (size_t i = 0; i <= piece.length; i++)
        e->places[i].start = -1;
    e->places[0] = (place){.score = 0};
    for (size_t at = 0, width; at < piece.length; at += width) {
        width = utf8proc_utf8class[(uint8_t)piece.text[at]];
        double score = e->places[at].score;
        bool covered = false; /* there is a token for this one character */
        uint32_t node = 0;
        for (size_t end = at; end < piece.length && (node = dt_trie_step(&u->trie, node, (uint8_t)piece.text[end]));) {
            int32_t id = u->trie.values[node];
            end++;
            if (id < 0)
                continue;
            offer(&e->places[end], score + u->scores[id], (int32_t)at, id);
            covered |= end - at == width;
        }
        if (covered)
            continue;
        place *next = &e->places[at + width];
        if (u->unknown >= 0)
            offer(next, score + u->unknown_score, (int32_t)at, u->unknown);
        else if (next->start < 0)
            return dt_fail(error, "'%.*s' is in no token, and the tokenizer has no unk_id", (int)width, piece.text + at);
    }
    return true;
}

/* A stretch that no token covers, or tokens that are the unknown one. */
static void put_unknown(encoder *e, const char *text, size_t length)
{
    const dt_unigram *u = e->unigram;
    int32_t id = dt_tokenizer_find(e->tokenizer, text, length);
    bool in_bytes = u->byte_fallback;
    if (id >= 0 && id < u->count) {
        put_id(e, id);
        return;
    }
    for (size_t i = 0; in_bytes && i < length; i++)
        in_bytes = u->bytes[(uint8_t)text[i]] >= 0;
    if (!in_bytes)
        put_id(e, u->unknown);
    for (size_t i = 0; in_bytes && i < length; i++)
        put_id(e, u->bytes[(uint8_t)text[i]]);
}

/* A dt_take_piece. */
static bool encode_piece(void *context, dt_span piece, dt_error *error)
{
    encoder *e = context;
    if (e->count >= e->enough)
        return true;
    if (piece.length >= e->room) {
        size_t room = piece.length + piece.length / 2 + 64;
        free(e->places);
        e->places = malloc(room * sizeof *e->places);
        e->room = e->places ? room : 0;
        if (!e->places)
            return dt_fail(error, "out of memory for a piece of %zu bytes", piece.length);
    }
    if (!find_paths(e, piece, error))
        return false;
    for (int32_t end = (int32_t)piece.length, start; end; end = start) {
        start = e->places[end].start;
        e->places[start].end = end;
    }
    for (size_t at = 0, end; at < piece.length; at = end) {
        end = (size_t)e->places[at].end;
        int32_t id = e->places[end].id;
        if (id != e->unigram->unknown) {
            put_id(e, id);
            continue;
        }
        while (end < piece.length && e->places[e->places[end].end].id == id)
            end = (size_t)e->places[end].end;
        put_unknown(e, piece.text + at, end - at);
    }
    return true;
}

/* ---- Added tokens ---- */

typedef bool encode_rest(encoder *e, dt_span text, bool first, dt_error *error);

static bool stands_alone(dt_span text, size_t start, size_t end)
{
    size_t taken;
    return !(start && dt_is_word(dt_character(text, dt_character_before(text, start), &taken))) &&
           !(end < text.length && dt_is_word(dt_character(text, end, &taken)));
}

static size_t spaces_before(dt_span text, size_t at)
{
    size_t before, taken;
    while (at && dt_is_space(dt_character(text, before = dt_character_before(text, at), &taken)))
        at = before;
    return at;
}

static size_t spaces_behind(dt_span text, size_t at)
{
    size_t taken;
    while (at < text.length && dt_is_space(dt_character(text, at, &taken)))
        at += taken;
    return at;
}

/* Cuts the text at the added tokens of one set, the leftmost and of these the longest; what lies between goes to `rest`. */
static bool cut(encoder *e, const dt_trie *set, dt_span text, bool first, encode_rest *rest, dt_error *error)
{
    size_t done = 0;
    for (size_t at = 0, taken; set->count && at < text.length && e->count < e->enough; at += taken) {
        int32_t found = dt_trie_longest(set, text.text + at, text.length - at, &taken);
        if (found < 0) {
            taken = 1;
            continue;
        }
        const dt_added_token *token = &e->unigram->added[found];
        size_t start = at, end = at + taken;
        if (token->single_word && !stands_alone(text, start, end))
            continue;
        if (token->left && (start = spaces_before(text, start)) < done)
            start = done;
        if (token->right)
            end = spaces_behind(text, end);
        if (done < start && !rest(e, (dt_span){text.text + done, start - done}, first && !done, error))
            return false;
        put_id(e, token->id);
        done = end;
    }
    return done >= text.length || rest(e, (dt_span){text.text + done, text.length - done}, first && !done, error);
}

static bool encode_normal(encoder *e, dt_span text, bool first, dt_error *error)
{
    return dt_pre_tokenize(e->unigram->pre_tokenizer, e->stages, text, first, encode_piece, e, error);
}

static bool encode_between(encoder *e, dt_span text, bool first, dt_error *error)
{
    dt_span normal;
    bool dropped;
    return e->count >= e->enough || (dt_normalize(e->unigram->normalizer, e->normal, text, &normal, &dropped, error) &&
                                     cut(e, &e->unigram->matched[1], normal, first && !dropped, encode_normal, error));
}

/* ---- A whole text ---- */

static bool check_text(dt_span text, dt_error *error)
{
    if (text.length > DT_TEXT_LIMIT)
        return dt_fail(error, "a text of %zu bytes is longer than the %zu that are allowed", text.length, DT_TEXT_LIMIT);
    size_t good = dt_utf8_length(text);
    if (good < text.length)
        return dt_fail(error, "the text is not UTF-8 at byte %zu (0x%02x); convert it to UTF-8", good,
                       (uint8_t)text.text[good]);
    return true;
}

static bool encode_text(const dt_tokenizer *t, dt_span text, size_t enough, int32_t *ids, size_t capacity, size_t *count,
                        dt_error *error)
{
    if (!check_text(text, error))
        return false;
    encoder e = {.tokenizer = t, .unigram = t->unigram, .ids = ids, .capacity = capacity, .enough = enough};
    e.normal = dt_normal_buffers_new();
    bool good = e.normal ? cut(&e, &t->unigram->matched[0], text, true, encode_between, error)
                         : dt_fail(error, "out of memory for a tokenizer's buffers");
    *count = e.count;
    dt_normal_buffers_free(e.normal);
    for (int i = 0; i < DT_PRE_TOKENIZERS_MOST; i++)
        free(e.stages[i].data);
    free(e.places);
    return good;
}

bool dt_unigram_encode(const dt_tokenizer *t, dt_span text, int32_t *ids, size_t capacity, size_t *count, dt_error *error)
{
    return encode_text(t, text, SIZE_MAX, ids, capacity, count, error);
}

bool dt_unigram_encode_padded(const dt_tokenizer *t, dt_span text, int32_t *ids, int context, dt_error *error)
{
    const dt_unigram *u = t->unigram;
    int room = context - u->before_count - u->behind_count;
    size_t count;
    if (room < 0)
        return dt_fail(error, "a context of %d tokens has no room for the %d around a text", context,
                       u->before_count + u->behind_count);
    if (!encode_text(t, text, (size_t)room, ids + u->before_count, (size_t)room, &count, error))
        return false;
    int used = count < (size_t)room ? (int)count : room;
    memcpy(ids, u->before, (size_t)u->before_count * sizeof *ids);
    memcpy(ids + u->before_count + used, u->behind, (size_t)u->behind_count * sizeof *ids);
    for (int i = u->before_count + used + u->behind_count; i < context; i++)
        ids[i] = u->padding;
    return true;
}
