/* Reading a unigram tokenizer. Encoding is in unigram_encode.c, decoding in unigram_decode.c. */
#include "data/unigram.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/file.h"
#include "data/tokenizer_internal.h"

static const double UNKNOWN_PENALTY = 10; /* below the least score of the vocabulary */
static const double SCORE_MOST = 1e30;    /* either way: no sum of a text's scores overflows */

void dt_unigram_free(dt_unigram *u)
{
    if (!u)
        return;
    free(u->source);
    free(u->scores);
    dt_trie_free(&u->trie);
    free(u->added);
    dt_trie_free(&u->matched[0]);
    dt_trie_free(&u->matched[1]);
    dt_normalizer_free(u->normalizer);
    dt_pre_tokenizer_free(u->pre_tokenizer);
    free(u);
}

bool dt_unigram_save(const dt_tokenizer *t, const char *path, dt_error *error)
{
    return dt_file_write(path, t->unigram->source, strlen(t->unigram->source), error);
}

/* ---- The vocabulary ---- */

/* The library's JSON reader does not round to nearest: it divides the digits, as one integer rounded to a double, by a power
 * of ten. Sums that are equal, and so the choice between "aa a" and "a aa", hang on the last bit. */
static double library_score(double score)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*e", digits - 1, fabs(score));
        if (strtod(text, NULL) == fabs(score))
            break;
    }
    char *power = strchr(text, 'e');
    int exponent = atoi(power + 1);
    uint64_t digits = 0;
    int behind_point = 0, zeros = 0;
    for (const char *c = text; c < power; c++) {
        if (*c == '.')
            continue;
        digits = 10 * digits + (uint64_t)(*c - '0');
        behind_point += c > text;
        zeros = *c == '0' ? zeros + 1 : 0;
    }
    for (; zeros && digits; zeros--, behind_point--) /* they are not written in files */
        digits /= 10;
    exponent -= behind_point;
    double value = (double)digits;
    value = exponent >= 0 ? value * pow(10, exponent) : exponent > -308 ? value / pow(10, -exponent) : 0;
    return score < 0 ? -value : value;
}

static bool read_piece(dt_tokenizer *t, int32_t id, const json_t *piece, dt_error *error)
{
    dt_unigram *u = t->unigram;
    const json_t *text = json_array_get(piece, 0), *number = json_array_get(piece, 1);
    if (json_array_size(piece) != 2 || !json_is_string(text) || !json_is_number(number))
        return dt_fail(error, "expected [\"TEXT\", SCORE]");
    double score = json_number_value(number);
    if (!(fabs(score) <= SCORE_MOST))
        return dt_fail(error, "a score of %g is no log probability", score);
    u->scores[id] = library_score(score);
    return dt_tokenizer_add_token(t, json_string_value(text), json_string_length(text), id, error) &&
           dt_trie_add(&u->trie, json_string_value(text), json_string_length(text), id, error);
}

static bool read_pieces(dt_tokenizer *t, const json_t *vocab, const char *name, dt_error *error)
{
    dt_unigram *u = t->unigram;
    size_t count = json_array_size(vocab);
    if (!count || count > DT_VOCAB_MOST)
        return dt_fail(error, "%s: model.vocab: %zu tokens are not in 1 to %d", name, count, DT_VOCAB_MOST);
    u->count = (int32_t)count;
    u->scores = malloc(count * sizeof *u->scores);
    if (!u->scores)
        return dt_fail(error, "%s: out of memory for %zu tokens", name, count);
    double least = INFINITY;
    for (int32_t id = 0; id < u->count; id++) {
        if (!read_piece(t, id, json_array_get(vocab, (size_t)id), error))
            return dt_fail_prefix(error, "%s: model.vocab[%d]", name, id);
        least = fmin(least, u->scores[id]);
    }
    u->unknown_score = least - UNKNOWN_PENALTY;
    for (int byte = 0; byte < 256; byte++) {
        char text[8];
        snprintf(text, sizeof text, "<0x%02X>", byte);
        u->bytes[byte] = dt_tokenizer_find(t, text, strlen(text));
    }
    return true;
}

static bool read_model(dt_tokenizer *t, const json_t *model, const char *name, dt_error *error)
{
    dt_unigram *u = t->unigram;
    const json_t *vocab = NULL;
    u->unknown = -1;
    const dt_json_field fields[] = {
        {.key = "vocab", .kind = DT_JSON_ARRAY, .target = &vocab, .required = true},
        {.key = "unk_id", .kind = DT_JSON_INT, .target = &u->unknown, .most = DT_VOCAB_MOST - 1},
        {.key = "byte_fallback", .kind = DT_JSON_BOOL, .target = &u->byte_fallback},
    };
    if (!dt_json_read_known(model, name, "model", fields, 3, error) || !read_pieces(t, vocab, name, error))
        return false;
    return u->unknown < u->count ||
           dt_fail(error, "%s: model.unk_id: %d is no token of the %d in the vocabulary", name, u->unknown, u->count);
}

/* ---- Added tokens ---- */

/* What the library matches: the text as it stands, or normalised. */
static bool add_match(dt_unigram *u, dt_span text, bool normalized, dt_normal_buffers *buffers, dt_error *error)
{
    bool dropped;
    if (normalized && !dt_normalize(u->normalizer, buffers, text, &text, &dropped, error))
        return false;
    return dt_trie_add(&u->matched[normalized], text.text, text.length, (int32_t)u->added_count, error);
}

/* The library gives a new text the next free id, whatever the file says; only files that say the same are read. */
static bool read_added(dt_tokenizer *t, const json_t *entry, uint8_t *taken, dt_normal_buffers *buffers, const char *name,
                       const char *place, dt_error *error)
{
    dt_unigram *u = t->unigram;
    dt_added_token token = {0};
    const char *text = NULL;
    bool normalized = true;
    const dt_json_field fields[] = {
        {.key = "content", .kind = DT_JSON_STRING, .target = &text, .required = true},
        {.key = "id", .kind = DT_JSON_INT, .target = &token.id, .required = true, .most = DT_VOCAB_MOST - 1},
        {.key = "single_word", .kind = DT_JSON_BOOL, .target = &token.single_word},
        {.key = "lstrip", .kind = DT_JSON_BOOL, .target = &token.left},
        {.key = "rstrip", .kind = DT_JSON_BOOL, .target = &token.right},
        {.key = "normalized", .kind = DT_JSON_BOOL, .target = &normalized},
    };
    if (!dt_json_read_known(entry, name, place, fields, 6, error))
        return false;
    int32_t known = dt_tokenizer_find(t, text, strlen(text)), expected = known < 0 ? t->size : known;
    if (known >= u->count || (known >= 0 && taken[known]))
        return dt_fail(error, "%s: %s: '%s' is there twice", name, place, text);
    if (token.id != expected)
        return dt_fail(error, "%s: %s: '%s' has id %d, expected %d", name, place, text, token.id, expected);
    if (known >= 0)
        taken[known] = 1;
    if ((known < 0 && !dt_tokenizer_add_token(t, text, strlen(text), token.id, error)) ||
        !add_match(u, (dt_span){text, strlen(text)}, normalized, buffers, error))
        return dt_fail_prefix(error, "%s: %s", name, place);
    u->added[u->added_count++] = token;
    return true;
}

static bool read_all_added(dt_tokenizer *t, const json_t *list, const char *name, dt_error *error)
{
    dt_unigram *u = t->unigram;
    size_t count = json_array_size(list);
    dt_normal_buffers *buffers = dt_normal_buffers_new();
    uint8_t *taken = calloc((size_t)u->count, 1);
    u->added = calloc(count + 1, sizeof *u->added);
    bool good = (buffers && taken && u->added) || dt_fail(error, "%s: out of memory for %zu added tokens", name, count);
    for (size_t i = 0; good && i < count; i++) {
        char place[40];
        snprintf(place, sizeof place, "added_tokens[%zu]", i);
        good = read_added(t, json_array_get(list, i), taken, buffers, name, place, error);
    }
    dt_normal_buffers_free(buffers);
    free(taken);
    return good;
}

/* ---- What stands around a text ---- */

/* Ids of a special token of the template, to the end of ids[0, *count). */
static bool read_special(const dt_tokenizer *t, const json_t *specials, const char *id, int32_t *ids, int *count,
                         dt_error *error)
{
    const json_t *list = json_object_get(json_object_get(specials, id), "ids"), *number;
    size_t index;
    if (!json_is_array(list))
        return dt_fail(error, "'%s' is not among special_tokens", id);
    json_array_foreach((json_t *)(uintptr_t)list, index, number)
    {
        json_int_t value = json_is_integer(number) ? json_integer_value(number) : -1;
        if (value < 0 || value >= t->size)
            return dt_fail(error, "special_tokens: '%s': expected ids in 0 to %d", id, t->size - 1);
        if (*count == DT_FRAME_MOST)
            return dt_fail(error, "there are more than %d tokens on one side of the text", DT_FRAME_MOST);
        ids[(*count)++] = (int32_t)value;
    }
    return true;
}

static bool read_template(dt_tokenizer *t, const json_t *template, dt_error *error)
{
    dt_unigram *u = t->unigram;
    const json_t *list = json_object_get(template, "single"), *part;
    size_t index;
    int texts = 0;
    json_array_foreach((json_t *)(uintptr_t)list, index, part)
    {
        const char *text = json_string_value(json_object_get(json_object_get(part, "Sequence"), "id")),
                   *special = json_string_value(json_object_get(json_object_get(part, "SpecialToken"), "id"));
        if ((!text && !special) || (text && strcmp(text, "A")))
            return dt_fail(
                error, "single[%zu]: expected {\"Sequence\": {\"id\": \"A\"}} or {\"SpecialToken\": {\"id\": ...}}", index);
        texts += text != NULL;
        if (special && !read_special(t, json_object_get(template, "special_tokens"), special, texts ? u->behind : u->before,
                                     texts ? &u->behind_count : &u->before_count, error))
            return false;
    }
    return texts == 1 || dt_fail(error, "single: expected one Sequence, found %d", texts);
}

static bool read_processor(dt_tokenizer *t, const json_t *processor, const char *name, dt_error *error)
{
    const char *type = json_string_value(json_object_get(processor, "type"));
    if (!processor || json_is_null(processor))
        return true;
    if (!type || strcmp(type, "TemplateProcessing"))
        return dt_fail(error, "%s: post_processor.type: expected \"TemplateProcessing\", found %s", name,
                       type ? type : dt_json_kind_name(processor));
    return read_template(t, processor, error) || dt_fail_prefix(error, "%s: post_processor", name);
}

/* A text is padded at its end: with what the file says; else with an added token "<pad>"; else with the end token. */
static bool read_padding(dt_tokenizer *t, const json_t *root, const char *name, dt_error *error)
{
    dt_unigram *u = t->unigram;
    const char *direction;
    const dt_json_field sides[] = {
        {.key = "direction", .kind = DT_JSON_STRING, .target = &direction, .choices = "Right"},
        {.key = "pad_id", .kind = DT_JSON_INT, .target = &u->padding, .most = DT_VOCAB_MOST - 1},
    };
    u->padding = t->end >= 0 ? t->end : 0;
    for (size_t i = 0; i < u->added_count; i++)
        if (!strcmp(dt_tokenizer_token(t, u->added[i].id), "<pad>"))
            u->padding = u->added[i].id;
    const json_t *padding = json_object_get(root, "padding"), *truncation = json_object_get(root, "truncation");
    if ((json_is_object(padding) && !dt_json_read_known(padding, name, "padding", sides, 2, error)) ||
        (json_is_object(truncation) && !dt_json_read_known(truncation, name, "truncation", sides, 1, error)))
        return false;
    return u->padding < t->size ||
           dt_fail(error, "%s: padding.pad_id: %d is no token of the %d in the vocabulary", name, u->padding, t->size);
}

static bool read_decoders(dt_unigram *u, const json_t *decoder, const char *place, const char *name, dt_error *error)
{
    const char *type = json_string_value(json_object_get(decoder, "type"));
    if (type && !strcmp(type, "Sequence")) {
        const json_t *list = json_object_get(decoder, "decoders"), *one;
        size_t index;
        json_array_foreach((json_t *)(uintptr_t)list, index, one)
        {
            if (!read_decoders(u, one, "decoder.decoders", name, error))
                return false;
        }
        return true;
    }
    bool joins_bytes = type && !strcmp(type, "ByteFallback");
    if (!type || (!joins_bytes && strcmp(type, "Metaspace")))
        return dt_fail(error, "%s: %s.type: expected \"Metaspace\" or \"ByteFallback\", found %s%s%s", name, place,
                       type ? "\"" : "", type ? type : dt_json_kind_name(decoder), type ? "\"" : "");
    if (u->decoder_count == DT_DECODERS_MOST)
        return dt_fail(error, "%s: decoder: there are more than %d steps", name, DT_DECODERS_MOST);
    dt_decoder *d = &u->decoders[u->decoder_count++];
    d->joins_bytes = joins_bytes;
    return joins_bytes || dt_metaspace_read(&d->metaspace, decoder, place, name, error);
}

static bool read_decoder(dt_unigram *u, const json_t *decoder, const char *name, dt_error *error)
{
    u->decoder_count = decoder && !json_is_null(decoder) ? 0 : -1;
    return u->decoder_count < 0 || read_decoders(u, decoder, "decoder", name, error);
}

bool dt_unigram_read(dt_tokenizer *t, const json_t *root, const char *name, dt_error *error)
{
    dt_unigram *u = t->unigram = calloc(1, sizeof *u);
    if (!u)
        return dt_fail(error, "%s: out of memory for a tokenizer", name);
    if (!(u->normalizer = dt_normalizer_read(json_object_get(root, "normalizer"), name, error)) ||
        !(u->pre_tokenizer = dt_pre_tokenizer_read(json_object_get(root, "pre_tokenizer"), name, error)) ||
        !read_model(t, json_object_get(root, "model"), name, error) ||
        !read_all_added(t, json_object_get(root, "added_tokens"), name, error) ||
        !read_processor(t, json_object_get(root, "post_processor"), name, error) ||
        !read_decoder(u, json_object_get(root, "decoder"), name, error))
        return false;
    t->start = u->before_count ? u->before[0] : -1;
    t->end = u->behind_count ? u->behind[u->behind_count - 1] : -1;
    if (!read_padding(t, root, name, error))
        return false;
    u->source = dt_json_text(root, 0, error);
    t->fingerprint = u->source ? dt_tokenizer_hash(u->source, strlen(u->source)) : 0;
    return u->source || dt_fail_prefix(error, "%s", name);
}
