#define _GNU_SOURCE /* memmem */
#include "data/pre_tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "data/unicode.h"

/* What becomes of the delimiters between pieces. */
typedef enum behaviour { REMOVED, ISOLATED, CONTIGUOUS, MERGED_WITH_PREVIOUS, MERGED_WITH_NEXT } behaviour;

typedef struct stage stage;

/* The end of the segment that starts at text.text[at], and whether it is a delimiter. */
typedef size_t next_segment(const stage *s, dt_span text, size_t at, bool *delimiter);

struct stage {
    next_segment *next;
    behaviour how;
    bool is_metaspace;
    dt_metaspace metaspace;
};

struct dt_pre_tokenizer {
    stage stages[DT_PRE_TOKENIZERS_MOST];
    size_t count;
};

/* ---- Splitting ---- */

typedef struct splitting {
    const dt_pre_tokenizer *pre_tokenizer;
    dt_bytes *buffers; /* by stage */
    dt_take_piece *take;
    void *context;
} splitting;

static bool enter(const splitting *s, size_t index, dt_span text, bool first, dt_error *error);

/* Splits by the stage `index` and sends what comes of it to the next one. Delimiters and what lies between them become pieces
 * on their own, unless the stage's behaviour joins one with the one before. */
static bool split(const splitting *s, size_t index, dt_span text, bool first, dt_error *error)
{
    const stage *now = &s->pre_tokenizer->stages[index];
    bool gathering = false, previous = false;
    size_t start = 0;
    for (size_t at = 0, end; at < text.length; at = end) {
        bool delimiter;
        end = now->next(now, text, at, &delimiter);
        bool joined = gathering && (now->how == CONTIGUOUS             ? delimiter == previous
                                    : now->how == MERGED_WITH_PREVIOUS ? delimiter && !previous
                                    : now->how == MERGED_WITH_NEXT     ? !delimiter && previous
                                                                       : false);
        if (gathering && !joined && !enter(s, index + 1, (dt_span){text.text + start, at - start}, first && !start, error))
            return false;
        if (!joined)
            start = at;
        gathering = !(now->how == REMOVED && delimiter);
        previous = delimiter;
    }
    return !gathering || enter(s, index + 1, (dt_span){text.text + start, text.length - start}, first && !start, error);
}

/* Spaces become the replacement, and one stands at the front. */
static bool mark_spaces(const dt_metaspace *m, dt_span text, bool first, dt_bytes *out, dt_error *error)
{
    size_t length = strlen(m->replacement);
    bool there = *text.text == ' ' || (text.length >= length && !memcmp(text.text, m->replacement, length));
    bool wanted = m->prepend == DT_PREPEND_ALWAYS || (m->prepend == DT_PREPEND_FIRST && first);
    out->length = 0;
    bool good =
        dt_bytes_reserve(out, text.length + length) && (there || !wanted || dt_bytes_append(out, m->replacement, length));
    for (size_t at = 0; good && at < text.length;) {
        const char *space = memchr(text.text + at, ' ', text.length - at);
        size_t plain = space ? (size_t)(space - text.text) - at : text.length - at;
        good = dt_bytes_append(out, text.text + at, plain) && (!space || dt_bytes_append(out, m->replacement, length));
        at += plain + (space != NULL);
    }
    return good || dt_fail(error, "out of memory for splitting a text of %zu bytes", text.length);
}

/* Takes a text through the stage `index` and all behind it. */
static bool enter(const splitting *s, size_t index, dt_span text, bool first, dt_error *error)
{
    if (!text.length)
        return true;
    if (index == s->pre_tokenizer->count)
        return s->take(s->context, text, error);
    const stage *now = &s->pre_tokenizer->stages[index];
    if (!now->is_metaspace)
        return split(s, index, text, first, error);
    dt_bytes *out = &s->buffers[index];
    if (!mark_spaces(&now->metaspace, text, first, out, error))
        return false;
    dt_span marked = {out->data, out->length};
    return now->metaspace.split ? split(s, index, marked, first, error) : enter(s, index + 1, marked, first, error);
}

bool dt_pre_tokenize(const dt_pre_tokenizer *p, dt_bytes buffers[DT_PRE_TOKENIZERS_MOST], dt_span text, bool first,
                     dt_take_piece *take, void *context, dt_error *error)
{
    return enter(&(splitting){p, buffers, take, context}, 0, text, first, error);
}

/* ---- Segments ---- */

/* A space, or all up to the next one. */
static size_t at_spaces(const stage *s, dt_span text, size_t at, bool *delimiter)
{
    (void)s;
    size_t taken;
    *delimiter = dt_is_space(dt_character(text, at, &taken));
    for (at += taken; !*delimiter && at < text.length && !dt_is_space(dt_character(text, at, &taken));)
        at += taken;
    return at;
}

/* Runs of word characters, of spaces, and of the rest. */
static size_t at_words(const stage *s, dt_span text, size_t at, bool *delimiter)
{
    (void)s;
    size_t taken;
    int32_t c = dt_character(text, at, &taken);
    bool space = dt_is_space(c), word = dt_is_word(c);
    for (at += taken; at < text.length; at += taken) {
        c = dt_character(text, at, &taken);
        if (dt_is_space(c) != space || dt_is_word(c) != word)
            break;
    }
    *delimiter = space;
    return at;
}

static size_t at_punctuation(const stage *s, dt_span text, size_t at, bool *delimiter)
{
    (void)s;
    size_t taken;
    *delimiter = dt_is_punctuation(dt_character(text, at, &taken));
    for (at += taken; !*delimiter && at < text.length && !dt_is_punctuation(dt_character(text, at, &taken));)
        at += taken;
    return at;
}

static size_t at_replacements(const stage *s, dt_span text, size_t at, bool *delimiter)
{
    size_t length = strlen(s->metaspace.replacement);
    const char *from = text.text + at, *next = memmem(from, text.length - at, s->metaspace.replacement, length);
    *delimiter = next == from;
    return *delimiter ? at + length : next ? (size_t)(next - text.text) : text.length;
}

/* ---- Reading ---- */

bool dt_metaspace_read(dt_metaspace *m, const json_t *json, const char *place, const char *name, dt_error *error)
{
    static const char *const schemes[] = {"always", "first", "never"};
    const char *replacement = NULL, *scheme = schemes[0];
    bool prefix = true;
    *m = (dt_metaspace){.split = true};
    const dt_json_field fields[] = {
        {.key = "replacement", .kind = DT_JSON_STRING, .target = &replacement, .required = true},
        {.key = "prepend_scheme", .kind = DT_JSON_STRING, .target = &scheme, .choices = "always|first|never"},
        {.key = "add_prefix_space", .kind = DT_JSON_BOOL, .target = &prefix},
        {.key = "split", .kind = DT_JSON_BOOL, .target = &m->split},
    };
    if (!dt_json_read_known(json, name, place, fields, 4, error))
        return false;
    size_t length = strlen(replacement);
    if (!length || length != (size_t)utf8proc_utf8class[(uint8_t)*replacement])
        return dt_fail(error, "%s: %s.replacement: expected one character, found \"%.40s\"", name, place, replacement);
    memcpy(m->replacement, replacement, length);
    for (int i = 0; i < 3; i++)
        if (!strcmp(scheme, schemes[i]))
            m->prepend = i;
    if (!prefix && m->prepend != DT_PREPEND_NEVER)
        return dt_fail(error, "%s: %s: add_prefix_space is false, but prepend_scheme is \"%s\"", name, place, scheme);
    return true;
}

static bool read_behaviour(behaviour *how, const json_t *json, const char *place, const char *name, dt_error *error)
{
    static const char *const names[] = {"Removed", "Isolated", "Contiguous", "MergedWithPrevious", "MergedWithNext"};
    const char *found = names[ISOLATED];
    const dt_json_field field = {.key = "behavior",
                                 .kind = DT_JSON_STRING,
                                 .target = &found,
                                 .choices = "Removed|Isolated|Contiguous|MergedWithPrevious|MergedWithNext"};
    if (!dt_json_read_known(json, name, place, &field, 1, error))
        return false;
    for (int i = 0; i < 5; i++)
        if (!strcmp(found, names[i]))
            *how = (behaviour)i;
    return true;
}

static bool read_stages(dt_pre_tokenizer *p, const json_t *json, const char *place, const char *name, dt_error *error);

static bool read_sequence(dt_pre_tokenizer *p, const json_t *json, const char *place, const char *name, dt_error *error)
{
    const json_t *list = json_object_get(json, "pretokenizers"), *one;
    size_t index;
    if (!json_is_array(list))
        return dt_fail(error, "%s: %s.pretokenizers: expected an array, found %s", name, place, dt_json_kind_name(list));
    json_array_foreach((json_t *)(uintptr_t)list, index, one)
    {
        char inner[128];
        snprintf(inner, sizeof inner, "%s.pretokenizers[%zu]", place, index);
        if (!read_stages(p, one, inner, name, error))
            return false;
    }
    return true;
}

static bool read_stages(dt_pre_tokenizer *p, const json_t *json, const char *place, const char *name, dt_error *error)
{
    const char *type = json_string_value(json_object_get(json, "type"));
    if (!type)
        return dt_fail(error, "%s: %s: expected an object with a type, found %s", name, place, dt_json_kind_name(json));
    if (!strcmp(type, "Sequence"))
        return read_sequence(p, json, place, name, error);
    if (p->count == DT_PRE_TOKENIZERS_MOST)
        return dt_fail(error, "%s: pre_tokenizer: there are more than %d steps", name, DT_PRE_TOKENIZERS_MOST);
    stage *s = &p->stages[p->count++];
    if (!strcmp(type, "Whitespace")) {
        *s = (stage){.next = at_words, .how = REMOVED};
    } else if (!strcmp(type, "WhitespaceSplit")) {
        *s = (stage){.next = at_spaces, .how = REMOVED};
    } else if (!strcmp(type, "Punctuation")) {
        *s = (stage){.next = at_punctuation};
        return read_behaviour(&s->how, json, place, name, error);
    } else if (!strcmp(type, "Metaspace")) {
        *s = (stage){.next = at_replacements, .how = MERGED_WITH_NEXT, .is_metaspace = true};
        return dt_metaspace_read(&s->metaspace, json, place, name, error);
    } else {
        return dt_fail(error, "%s: %s.type: \"%s\" is not supported", name, place, type);
    }
    return true;
}

dt_pre_tokenizer *dt_pre_tokenizer_read(const json_t *json, const char *name, dt_error *error)
{
    dt_pre_tokenizer *p = calloc(1, sizeof *p);
    if (!p) {
        dt_fail(error, "%s: out of memory for a pre-tokenizer", name);
        return NULL;
    }
    if (json && !json_is_null(json) && !read_stages(p, json, "pre_tokenizer", name, error)) {
        dt_pre_tokenizer_free(p);
        return NULL;
    }
    return p;
}

void dt_pre_tokenizer_free(dt_pre_tokenizer *p)
{
    free(p);
}
