#include "data/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <ctype.h>
#include <pcre2.h>
#include <stdint.h>
#include <stdio.h>

#include "data/bytes.h"

enum {
    PATTERN_MOST = 1 << 16, /* bytes */
    MATCH_LIMIT = 1 << 20,  /* of PCRE2's steps back, from one place in a text */
    HEAP_LIMIT = 256 << 10, /* KiB */
};

struct dt_pattern {
    pcre2_code *code;
};

struct dt_matcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
};

/* Oniguruma's \w. */
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"

typedef struct translation {
    const char *source, *at; /* what is read next */
    bool in_class;
    dt_bytes out;
} translation;

static bool put(translation *t, const char *text, size_t length)
{
    return dt_bytes_append(&t->out, text, length);
}

static bool put_text(translation *t, const char *text)
{
    return put(t, text, strlen(text));
}

static bool unsupported(const translation *t, size_t length, dt_error *error)
{
    return dt_fail(error, "'%.*s' at byte %td of the pattern is not supported", (int)length, t->at, t->at - t->source);
}

/* \p{Lu}, \P{L}, \p{^N}: general categories, of one letter or two. */
static bool property(translation *t, dt_error *error)
{
    const char *name = t->at + 3;
    size_t length = t->at[2] == '{' ? strcspn(name, "}") : 0;
    const char *category = name + (length && *name == '^');
    size_t letters = strspn(category, "CLMNPSZacdefiklmnopstu");
    if (!length || name[length] != '}' || category + letters != name + length || letters < 1 || letters > 2)
        return unsupported(t, 3 + length + (length && name[length]), error);
    bool good = put(t, t->at, length + 4);
    t->at += length + 4;
    return good || dt_fail(error, "out of memory for a pattern");
}

/* \x41 below 0x80, \x{1F600}, \u00e9. */
static bool number(translation *t, dt_error *error)
{
    const char *digits = t->at + 2 + (t->at[1] == 'x' && t->at[2] == '{');
    bool braced = digits == t->at + 3;
    size_t most = braced ? 6 : t->at[1] == 'x' ? 2 : 4, count = strspn(digits, "0123456789abcdefABCDEF");
    if (!braced && count > most)
        count = most;
    char hexadecimal[8] = "", written[16];
    memcpy(hexadecimal, digits, count <= most ? count : 0);
    long value = strtol(hexadecimal, NULL, 16);
    bool raw = !braced && t->at[1] == 'x' && value >= 0x80; /* a byte, not a character */
    if (!count || count > most || (braced ? digits[count] != '}' : t->at[1] == 'u' && count < 4) || raw)
        return unsupported(t, 2, error);
    snprintf(written, sizeof written, "\\x{%lx}", value);
    t->at = digits + count + braced;
    return put_text(t, written) || dt_fail(error, "out of memory for a pattern");
}

static bool escape(translation *t, dt_error *error)
{
    static const struct {
        char letter;
        bool anywhere; /* in [] too */
        const char *outside, *inside;
    } known[] = {
        {'s', true, "\\p{White_Space}", "\\p{White_Space}"},
        {'S', true, "\\P{White_Space}", "\\P{White_Space}"},
        {'d', true, "\\p{Nd}", "\\p{Nd}"},
        {'D', true, "\\P{Nd}", "\\P{Nd}"},
        {'w', true, "[" WORD "]", WORD},
        {'W', false, "[^" WORD "]", NULL},
        {'t', true, "\\t", "\\t"},
        {'n', true, "\\n", "\\n"},
        {'r', true, "\\r", "\\r"},
        {'f', true, "\\f", "\\f"},
        {'v', true, "\\x{b}", "\\x{b}"},
        {'A', false, "\\A", NULL},
        {'z', false, "\\z", NULL},
    };
    char c = t->at[1];
    if (c == 'p' || c == 'P')
        return property(t, error);
    if (c == 'x' || c == 'u')
        return number(t, error);
    const char *written = NULL;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (known[i].letter == c && (known[i].anywhere || !t->in_class))
            written = t->in_class ? known[i].inside : known[i].outside;
    if (!written && !ispunct((unsigned char)c))
        return unsupported(t, c ? 2 : 1, error);
    bool good = written ? put_text(t, written) : put(t, t->at, 2);
    t->at += 2;
    return good || dt_fail(error, "out of memory for a pattern");
}

/* {2,} and the like; a brace that opens no repetition stands for itself. */
static bool repetition(translation *t, dt_error *error)
{
    size_t digits = strspn(t->at + 1, "0123456789"), length = 1 + digits;
    bool comma = t->at[length] == ',';
    size_t more = comma ? strspn(t->at + length + 1, "0123456789") : 0;
    length += comma + more;
    bool closed = t->at[length] == '}' && (digits || more);
    if (closed && (!digits || t->at[length + 1] == '+' || (!comma && t->at[length + 1] == '?')))
        return unsupported(t, length + 2 - !digits, error); /* Ruby reads these in ways of its own */
    bool good = closed ? put(t, t->at, length + 1) : put_text(t, "\\{");
    t->at += closed ? length + 1 : 1;
    return good || dt_fail(error, "out of memory for a pattern");
}

/* What needs a look beyond its first character. *done: it is written; else the character is to be copied. */
static bool special(translation *t, bool *done, dt_error *error)
{
    static const char *const groups[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>"};
    char c = t->at[0], next = t->at[0] ? t->at[1] : '\0';
    *done = true;
    if (c == '\\')
        return escape(t, error);
    if (t->in_class) {
        if (c == '[' || (c == '&' && next == '&'))
            return unsupported(t, 2, error);
        t->in_class = c != ']';
    } else if (c == '[') {
        if (next == ']' || (next == '^' && t->at[2] == ']'))
            return unsupported(t, 2, error);
        t->in_class = true;
    } else if (c == '{') {
        return repetition(t, error);
    } else if (c == '(' && (next == '?' || next == '*')) {
        bool known = false;
        for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++)
            known |= !strncmp(t->at, groups[i], strlen(groups[i]));
        if (!known)
            return unsupported(t, strnlen(t->at, 4), error);
    }
    *done = false;
    return true;
}

static bool translate(translation *t, dt_error *error)
{
    if (strlen(t->source) > PATTERN_MOST)
        return dt_fail(error, "a pattern of %zu bytes is longer than the %d that are allowed", strlen(t->source), PATTERN_MOST);
    while (*t->at) {
        bool done;
        if (!special(t, &done, error))
            return false;
        if (!done && !put(t, t->at++, 1))
            return dt_fail(error, "out of memory for a pattern");
    }
    return t->out.length || dt_fail(error, "the pattern is empty");
}

static pcre2_code *compile(const char *pattern, dt_error *error)
{
    int status;
    PCRE2_SIZE offset;
    char reason[128] = "";
    uint32_t empty = 0;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context) {
        dt_fail(error, "out of memory for a pattern");
        return NULL;
    }
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    /* In Ruby ^ and $ always mean the ends of a line. */
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_MULTILINE, &status, &offset, context);
    pcre2_compile_context_free(context);
    if (!code) {
        pcre2_get_error_message(status, (PCRE2_UCHAR *)reason, sizeof reason);
        dt_fail(error, "the pattern is not a regular expression: %s", reason);
        return NULL;
    }
    if (pcre2_pattern_info(code, PCRE2_INFO_MATCHEMPTY, &empty) || empty) {
        dt_fail(error, "the pattern can match an empty text");
        pcre2_code_free(code);
        return NULL;
    }
    return code;
}

dt_pattern *dt_pattern_new(const char *source, dt_error *error)
{
    translation t = {.source = source, .at = source};
    dt_pattern *pattern = NULL;
    pcre2_code *code = translate(&t, error) ? compile(t.out.data, error) : NULL;
    if (code && (pattern = malloc(sizeof *pattern))) {
        pattern->code = code;
    } else if (code) {
        dt_fail(error, "out of memory for a pattern");
        pcre2_code_free(code);
    }
    free(t.out.data);
    return pattern;
}

void dt_pattern_free(dt_pattern *pattern)
{
    if (pattern)
        pcre2_code_free(pattern->code);
    free(pattern);
}

dt_matcher *dt_matcher_new(void)
{
    dt_matcher *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->data = pcre2_match_data_create(1, NULL);
    m->context = pcre2_match_context_create(NULL);
    if (!m->data || !m->context) {
        dt_matcher_free(m);
        return NULL;
    }
    pcre2_set_match_limit(m->context, MATCH_LIMIT);
    pcre2_set_heap_limit(m->context, HEAP_LIMIT);
    return m;
}

void dt_matcher_free(dt_matcher *matcher)
{
    if (!matcher)
        return;
    pcre2_match_data_free(matcher->data);
    pcre2_match_context_free(matcher->context);
    free(matcher);
}

int dt_pattern_next(const dt_pattern *pattern, dt_matcher *matcher, dt_span text, size_t *at, size_t *start, dt_error *error)
{
    int status = pcre2_match(pattern->code, (PCRE2_SPTR)text.text, text.length, *at, PCRE2_NO_UTF_CHECK, matcher->data,
                             matcher->context);
    if (status >= 0) {
        const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(matcher->data);
        *start = ends[0];
        *at = ends[1];
        return 1;
    }
    if (status == PCRE2_ERROR_NOMATCH)
        return 0;
    char reason[128] = "";
    pcre2_get_error_message(status, (PCRE2_UCHAR *)reason, sizeof reason);
    dt_fail(error, "the pattern gives up on the text from byte %zu on: %s", *at, reason);
    return -1;
}
