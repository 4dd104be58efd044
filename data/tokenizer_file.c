/* Tokenizers from and to files. */
#include "data/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include <zlib.h>

#include "data/file.h"
#include "data/json.h"
#include "data/unigram.h"

enum {
    FILE_MOST = 64 << 20,     /* bytes, packed and unpacked: the published list unpacks to 3.1 MB */
    PUBLISHED_MERGES = 48894, /* 49152 - 256 - 2, as the reference counts them */
    PUBLISHED_FIRST_LINE = 2,
};

static bool parse(dt_tokenizer *t, const char *text, size_t size, const char *name, dt_error *error);
static char *unpack(const void *data, size_t size, size_t *unpacked, const char *name, dt_error *error);

dt_tokenizer *dt_tokenizer_load(const char *path, dt_error *error)
{
    size_t size;
    char *data = dt_file_read(path, FILE_MOST, &size, error);
    if (!data)
        return NULL;
    dt_tokenizer *tokenizer = dt_tokenizer_parse(data, size, path, error);
    free(data);
    return tokenizer;
}

dt_tokenizer *dt_tokenizer_parse(const void *data, size_t size, const char *name, dt_error *error)
{
    const uint8_t *bytes = data;
    char *unpacked = NULL;
    if (size >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b) {
        unpacked = unpack(data, size, &size, name, error);
        if (!unpacked)
            return NULL;
    }
    dt_tokenizer *tokenizer = dt_tokenizer_new(error);
    if (tokenizer && !parse(tokenizer, unpacked ? unpacked : data, size, name, error)) {
        dt_tokenizer_free(tokenizer);
        tokenizer = NULL;
    }
    free(unpacked);
    return tokenizer;
}

/* Room for more unpacked bytes: doubles up to one byte more than is allowed, so that more can be told. */
static bool grow(char **buffer, size_t *room, const char *name, dt_error *error)
{
    if (*room > FILE_MOST)
        return dt_fail(error, "%s: unpacks to more than %d MiB: not a vocabulary", name, FILE_MOST >> 20);
    size_t more = *room ? 2 * *room : (size_t)1 << 20;
    more = more > FILE_MOST ? (size_t)FILE_MOST + 1 : more;
    char *grown = realloc(*buffer, more);
    if (!grown)
        return dt_fail(error, "%s: out of memory while unpacking", name);
    *buffer = grown;
    *room = more;
    return true;
}

static bool inflate_all(z_stream *stream, char **buffer, size_t *unpacked, const char *name, dt_error *error)
{
    size_t room = 0, used = 0;
    int status = Z_OK;
    while (status != Z_STREAM_END || stream->avail_in) {
        if (status == Z_STREAM_END && inflateReset(stream) != Z_OK) /* gzip files may hold several members */
            return dt_fail(error, "%s: cannot unpack the next part of the gzip file", name);
        if (used == room && !grow(buffer, &room, name, error))
            return false;
        stream->next_out = (uint8_t *)*buffer + used;
        stream->avail_out = (uInt)(room - used);
        status = inflate(stream, Z_NO_FLUSH);
        used = room - stream->avail_out;
        bool starved = !stream->avail_in && stream->avail_out && status != Z_STREAM_END;
        if (status == Z_MEM_ERROR)
            return dt_fail(error, "%s: out of memory while unpacking", name);
        if (starved)
            return dt_fail(error, "%s: the gzip file ends in the middle; fetch it again", name);
        if (status != Z_OK && status != Z_STREAM_END)
            return dt_fail(error, "%s: the gzip file is damaged at byte %lu: %s; fetch it again", name,
                           stream->total_in, stream->msg ? stream->msg : "no reason given");
    }
    *unpacked = used;
    return true;
}

static char *unpack(const void *data, size_t size, size_t *unpacked, const char *name, dt_error *error)
{
    enum { GZIP_ONLY = 16 };
    if (size > FILE_MOST) {
        dt_fail(error, "%s: %zu bytes are more than a vocabulary has", name, size);
        return NULL;
    }
    z_stream stream = {.next_in = (uint8_t *)(uintptr_t)data, .avail_in = (uInt)size};
    char *buffer = NULL;
    if (inflateInit2(&stream, MAX_WBITS + GZIP_ONLY) != Z_OK) {
        dt_fail(error, "%s: zlib does not start", name);
        return NULL;
    }
    bool good = inflate_all(&stream, &buffer, unpacked, name, error);
    inflateEnd(&stream);
    if (good)
        return buffer;
    free(buffer);
    return NULL;
}

static bool check_utf8(const char *text, size_t size, const char *name, dt_error *error)
{
    size_t line = 1;
    for (size_t at = 0; at < size;) {
        int32_t c;
        utf8proc_ssize_t taken =
            utf8proc_iterate((const uint8_t *)text + at, (utf8proc_ssize_t)(size - at), &c);
        if (taken <= 0 || !c)
            return dt_fail(error, "%s:%zu: byte %zu (0x%02x) is not text in UTF-8: not a vocabulary", name,
                           line, at, (uint8_t)text[at]);
        line += c == '\n';
        at += (size_t)taken;
    }
    return true;
}

/* "left right" of one line; false where it is anything else. */
static bool split_merge(const char *line, size_t length, size_t *left)
{
    const char *space = memchr(line, ' ', length);
    if (!space || space == line || space + 1 == line + length ||
        memchr(space + 1, ' ', length - (size_t)(space - line) - 1))
        return false;
    *left = (size_t)(space - line);
    return true;
}

static bool find_sides(const dt_tokenizer *t, const char *line, size_t length, int32_t sides[2],
                       dt_error *error)
{
    size_t left;
    if (!split_merge(line, length, &left))
        return dt_fail(error, "expected two tokens with one space between, found '%.*s'",
                       (int)(length < 80 ? length : 80), line);
    const char *texts[2] = {line, line + left + 1};
    size_t lengths[2] = {left, length - left - 1};
    for (int i = 0; i < 2; i++) {
        sides[i] = dt_tokenizer_find(t, texts[i], lengths[i]);
        if (sides[i] < 0)
            return dt_fail(error, "token '%.*s' is neither a byte nor made by an earlier merge",
                           (int)(lengths[i] < 80 ? lengths[i] : 80), texts[i]);
    }
    return true;
}

static bool parse_line(dt_tokenizer *t, const char *line, size_t length, dt_error *error)
{
    int32_t sides[2], size = t->size;
    if (length && line[length - 1] == '\r')
        length--;
    if (!find_sides(t, line, length, sides, error) ||
        !dt_tokenizer_add_merge(t, sides[0], sides[1], true, error))
        return false;
    return t->size > size || dt_fail(error, "the merge '%.*s' makes a token that is there already",
                                     (int)(length < 80 ? length : 80), line);
}

/* The published list: a first line that is passed over, then one merge a line. */
static bool parse_list(dt_tokenizer *t, const char *text, size_t size, const char *name, dt_error *error)
{
    if (!check_utf8(text, size, name, error) || !dt_tokenizer_add_alphabet(t, error))
        return false;
    const char *end = text + size, *line = memchr(text, '\n', size);
    for (int n = PUBLISHED_FIRST_LINE; t->merge_count < PUBLISHED_MERGES; n++) {
        if (!line || line + 1 == end)
            return dt_fail(
                error, "%s: %d merges, expected at least %d: not the list published with CLIP, or cut short",
                name, t->merge_count, PUBLISHED_MERGES);
        const char *next = memchr(line + 1, '\n', (size_t)(end - line - 1));
        size_t length = (size_t)((next ? next : end) - line - 1);
        if (!parse_line(t, line + 1, length, error))
            return dt_fail_prefix(error, "%s:%d", name, n);
        line = next;
    }
    return (dt_tokenizer_add_specials(t, error) && dt_tokenizer_finish(t, error)) ||
           dt_fail_prefix(error, "%s", name);
}

/* What makes a model one that encode would follow exactly. */
static bool check_model(const json_t *model, const char *name, const json_t **vocab, const json_t **merges,
                        dt_error *error)
{
    const char *type = NULL, *suffix = NULL, *prefix = NULL;
    bool ignore_merges = false, byte_fallback = false;
    const dt_json_field fields[] = {
        {.key = "type", .kind = DT_JSON_STRING, .target = &type},
        {.key = "end_of_word_suffix", .kind = DT_JSON_STRING, .target = &suffix},
        {.key = "continuing_subword_prefix", .kind = DT_JSON_STRING, .target = &prefix},
        {.key = "ignore_merges", .kind = DT_JSON_BOOL, .target = &ignore_merges},
        {.key = "byte_fallback", .kind = DT_JSON_BOOL, .target = &byte_fallback},
        {.key = "vocab", .kind = DT_JSON_ANY, .target = vocab},
        {.key = "merges", .kind = DT_JSON_ANY, .target = merges},
    };
    if (!dt_json_read_known(model, name, "model", fields, sizeof fields / sizeof fields[0], error))
        return false;
    if (type && strcmp(type, "BPE"))
        return dt_fail(error, "%s: model.type: expected \"BPE\", found \"%s\": not a CLIP tokenizer", name,
                       type);
    if (!suffix || strcmp(suffix, DT_WORD_END))
        return dt_fail(error,
                       "%s: model.end_of_word_suffix: expected \"" DT_WORD_END
                       "\", found %s%s%s: not a CLIP tokenizer",
                       name, suffix ? "\"" : "", suffix ? suffix : "none", suffix ? "\"" : "");
    if ((prefix && *prefix) || ignore_merges || byte_fallback)
        return dt_fail(error, "%s: model.%s is set: not a CLIP tokenizer", name,
                       ignore_merges   ? "ignore_merges"
                       : byte_fallback ? "byte_fallback"
                                       : "continuing_subword_prefix");
    if (!json_is_object(*vocab) || !json_is_array(*merges))
        return dt_fail(error, "%s: model.%s: expected %s, found %s", name,
                       json_is_object(*vocab) ? "merges" : "vocab",
                       json_is_object(*vocab) ? "an array" : "an object",
                       dt_json_kind_name(json_is_object(*vocab) ? *merges : *vocab));
    return true;
}

static bool read_vocab(dt_tokenizer *t, const json_t *vocab, dt_error *error)
{
    const char *text;
    json_t *id;
    json_object_foreach((json_t *)(uintptr_t)vocab, text, id)
    {
        json_int_t value = json_is_integer(id) ? json_integer_value(id) : -1;
        if (value < 0 || value >= DT_VOCAB_MOST)
            return dt_fail(error, "token '%s': expected an id in 0 to %d", text, DT_VOCAB_MOST - 1);
        if (!dt_tokenizer_add_token(t, text, strlen(text), (int32_t)value, error))
            return false;
    }
    return true;
}

/* Added tokens stand in the vocabulary already, as those of CLIP do, or beside it. */
static bool read_added(dt_tokenizer *t, const json_t *added, dt_error *error)
{
    size_t index;
    json_t *entry;
    json_array_foreach((json_t *)(uintptr_t)added, index, entry)
    {
        const char *text = json_string_value(json_object_get(entry, "content"));
        const json_t *number = json_object_get(entry, "id");
        json_int_t id = json_is_integer(number) ? json_integer_value(number) : -1;
        if (!text || id < 0 || id >= DT_VOCAB_MOST)
            return dt_fail(error, "added_tokens[%zu]: expected an object with a content and an id in 0 to %d",
                           index, DT_VOCAB_MOST - 1);
        int32_t known = dt_tokenizer_find(t, text, strlen(text));
        if (known == (int32_t)id)
            continue;
        if (!dt_tokenizer_add_token(t, text, strlen(text), (int32_t)id, error))
            return dt_fail_prefix(error, "added_tokens[%zu]", index);
    }
    return true;
}

static bool read_merge(dt_tokenizer *t, const json_t *merge, dt_error *error)
{
    int32_t sides[2];
    if (json_is_string(merge)) {
        if (!find_sides(t, json_string_value(merge), json_string_length(merge), sides, error))
            return false;
    } else {
        if (json_array_size(merge) != 2)
            return dt_fail(error, "expected \"left right\" or [\"left\", \"right\"]");
        for (size_t i = 0; i < 2; i++) {
            const json_t *side = json_array_get(merge, i);
            sides[i] = json_is_string(side)
                           ? dt_tokenizer_find(t, json_string_value(side), json_string_length(side))
                           : -1;
            if (sides[i] < 0)
                return dt_fail(error, "'%s' is not in the vocabulary",
                               json_is_string(side) ? json_string_value(side) : dt_json_kind_name(side));
        }
    }
    return dt_tokenizer_add_merge(t, sides[0], sides[1], false, error);
}

bool dt_tokenizer_read_json(dt_tokenizer *t, const json_t *root, const char *name, dt_error *error)
{
    const json_t *model = json_object_get(root, "model"), *vocab = NULL, *merges = NULL, *merge;
    if (!json_is_object(model))
        return dt_fail(
            error,
            "%s: there is no object 'model': expected a tokenizer.json (a vocab.json or config.json "
            "does not hold the merges)",
            name);
    const char *type = json_string_value(json_object_get(model, "type"));
    if (type && !strcmp(type, "Unigram"))
        return dt_unigram_read(t, root, name, error);
    if (!check_model(model, name, &vocab, &merges, error))
        return false;
    if (!read_vocab(t, vocab, error))
        return dt_fail_prefix(error, "%s: model.vocab", name);
    size_t index;
    json_array_foreach((json_t *)(uintptr_t)merges, index,
                       merge) if (!read_merge(t, merge, error)) return dt_fail_prefix(error,
                                                                                      "%s: model.merges[%zu]",
                                                                                      name, index);
    return (read_added(t, json_object_get(root, "added_tokens"), error) && dt_tokenizer_finish(t, error)) ||
           dt_fail_prefix(error, "%s", name);
}

static bool parse(dt_tokenizer *t, const char *text, size_t size, const char *name, dt_error *error)
{
    size_t first = 0;
    while (first < size && strchr(" \t\r\n", text[first]) && text[first])
        first++;
    if (first == size)
        return dt_fail(error, "%s: the file is empty", name);
    if (text[first] != '{' && text[first] != '[')
        return parse_list(t, text, size, name, error);
    json_t *root = dt_json_parse(text, size, name, error);
    bool good = root && dt_tokenizer_read_json(t, root, name, error);
    json_decref(root);
    return good;
}
