#include "data/text.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "data/html_entities.h"
#include "data/text_internal.h"
#include "data/unicode.h"

/* The reference's pattern. Only U+0020 is left of white space when it runs; the possessive `++` changes no
 * match and keeps words of megabytes from piling up backtracking. U+0345, a mark whose case pairs are
 * letters, matches nothing in the engine of the reference when case is ignored, neither letters nor the rest:
 * it separates words. */
#define WORD_PATTERN                                                                                         \
    "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|\\p{L}++|\\p{N}|"                         \
    "[^ \\p{L}\\p{N}\\x{345}]++"

#define CASE_PATTERN "(\\p{Case_Ignorable})|\\p{Cased}"

struct dt_cleaner {
    pcre2_code *words, *cases;
    pcre2_match_data *match;
    dt_codepoints points, other, scratch[3];
    char *text;
    size_t room;
};

static pcre2_code *compile(const char *pattern, uint32_t options, dt_error *error)
{
    int code;
    PCRE2_SIZE offset;
    options |= PCRE2_UTF | PCRE2_UCP | PCRE2_ANCHORED | PCRE2_NO_UTF_CHECK;
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &code, &offset, NULL);
    if (!compiled) {
        char reason[128] = "";
        pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
        dt_fail(error,
                "cannot compile the tokenizer's pattern: %s; PCRE2 10.40 or newer with Unicode is needed",
                reason);
    }
    return compiled;
}

dt_cleaner *dt_cleaner_new(dt_error *error)
{
    dt_cleaner *cleaner = calloc(1, sizeof *cleaner);
    if (!cleaner) {
        dt_fail(error, "out of memory for a text cleaner");
        return NULL;
    }
    cleaner->words = compile(WORD_PATTERN, PCRE2_CASELESS, error);
    cleaner->cases = cleaner->words ? compile(CASE_PATTERN, 0, error) : NULL;
    if (!cleaner->cases) {
        dt_cleaner_free(cleaner);
        return NULL;
    }
    pcre2_jit_compile(cleaner->words, PCRE2_JIT_COMPLETE); /* a build without JIT interprets, only slower */
    cleaner->match = pcre2_match_data_create(2, NULL);
    if (!cleaner->match) {
        dt_fail(error, "out of memory for a text cleaner");
        dt_cleaner_free(cleaner);
        return NULL;
    }
    return cleaner;
}

void dt_cleaner_free(dt_cleaner *cleaner)
{
    if (!cleaner)
        return;
    pcre2_match_data_free(cleaner->match);
    pcre2_code_free(cleaner->words);
    pcre2_code_free(cleaner->cases);
    free(cleaner->points.data);
    free(cleaner->other.data);
    for (int i = 0; i < 3; i++)
        free(cleaner->scratch[i].data);
    free(cleaner->text);
    free(cleaner);
}

bool dt_codepoints_reserve(dt_codepoints *buffer, size_t more)
{
    size_t want, bytes;
    if (__builtin_add_overflow(buffer->length, more, &want))
        return false;
    if (want <= buffer->room)
        return true;
    if (__builtin_add_overflow(want, want / 2 + 64, &want) ||
        __builtin_mul_overflow(want, sizeof(int32_t), &bytes))
        return false;
    int32_t *grown = realloc(buffer->data, bytes);
    if (!grown)
        return false;
    buffer->data = grown;
    buffer->room = want;
    return true;
}

static bool reserve_text(dt_cleaner *cleaner, size_t bytes)
{
    if (bytes <= cleaner->room)
        return true;
    char *grown = realloc(cleaner->text, bytes + bytes / 2 + 64);
    if (!grown)
        return false;
    cleaner->text = grown;
    cleaner->room = bytes + bytes / 2 + 64;
    return true;
}

static bool no_memory(size_t length, dt_error *error)
{
    return dt_fail(error, "out of memory for cleaning a text of %zu bytes", length);
}

/* ASCII in which no fix finds anything to do: no '&', no control character but white space. Most captions. */
static bool is_plain(const char *text, size_t length)
{
    unsigned char odd = 0;
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        bool space = c == '\t' || c == '\n' || c == '\f' || c == '\r';
        odd |= (unsigned char)((c >= 0x7f) | (c == '&') | (c < 0x20 && !space));
    }
    return !odd;
}

static void clean_plain(dt_cleaner *cleaner, const char *text, size_t length, dt_span *cleaned)
{
    char *out = cleaner->text;
    size_t n = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c > ' ')
            out[n++] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
        else if (n && out[n - 1] != ' ')
            out[n++] = ' ';
    }
    *cleaned = (dt_span){out, n && out[n - 1] == ' ' ? n - 1 : n};
}

static bool decode(dt_cleaner *cleaner, const char *text, size_t length, dt_error *error)
{
    dt_codepoints *points = &cleaner->points;
    points->length = 0;
    if (!dt_codepoints_reserve(points, length))
        return no_memory(length, error);
    for (size_t i = 0; i < length;) {
        int32_t c = (unsigned char)text[i];
        utf8proc_ssize_t taken = 1;
        if (c >= 0x80)
            taken = utf8proc_iterate((const uint8_t *)text + i, (utf8proc_ssize_t)(length - i), &c);
        if (taken <= 0)
            return dt_fail(error, "the text is not UTF-8 at byte %zu (0x%02x); convert it to UTF-8", i,
                           (unsigned char)text[i]);
        points->data[points->length++] = c;
        i += (size_t)taken;
    }
    return true;
}

static bool encode(dt_cleaner *cleaner, const dt_codepoints *points, dt_span *text, dt_error *error)
{
    size_t bytes;
    if (__builtin_mul_overflow(points->length, 4, &bytes) || !reserve_text(cleaner, bytes + 1))
        return no_memory(points->length, error);
    char *out = cleaner->text;
    for (size_t i = 0; i < points->length; i++) {
        int32_t c = points->data[i];
        if (c < 0x80)
            *out++ = (char)c;
        else
            out += utf8proc_encode_char(c, (uint8_t *)out);
    }
    *text = (dt_span){cleaner->text, (size_t)(out - cleaner->text)};
    return true;
}

bool dt_clean_fix(dt_cleaner *cleaner, const char *text, size_t length, dt_span *fixed, dt_error *error)
{
    if (length > DT_TEXT_LIMIT)
        return dt_fail(error, "a text of %zu bytes is longer than the %zu that are allowed", length,
                       DT_TEXT_LIMIT);
    if (!decode(cleaner, text, length, error))
        return false;
    cleaner->other.length = 0;
    if (!dt_fix_codepoints(cleaner->points.data, cleaner->points.length, &cleaner->other, cleaner->scratch))
        return no_memory(length, error);
    return encode(cleaner, &cleaner->other, fixed, error);
}

static bool unescape(const dt_codepoints *from, dt_codepoints *to)
{
    to->length = 0;
    if (!dt_codepoints_reserve(to, from->length)) /* a reference is never shorter than what it stands for */
        return false;
    for (size_t i = 0; i < from->length;) {
        size_t written, taken = 0;
        if (from->data[i] == '&')
            taken = dt_html_reference(from->data + i, from->length - i, to->data + to->length, &written);
        if (!taken) {
            to->data[to->length++] = from->data[i++];
            continue;
        }
        to->length += written;
        i += taken;
    }
    return true;
}

static void collapse_spaces(dt_codepoints *points)
{
    size_t n = 0;
    for (size_t i = 0; i < points->length; i++) {
        int32_t c = points->data[i];
        if (!dt_is_space(c)) /* what \s means in the reference */
            points->data[n++] = c;
        else if (n && points->data[n - 1] != ' ')
            points->data[n++] = ' ';
    }
    points->length = n && points->data[n - 1] == ' ' ? n - 1 : n;
}

typedef enum letter_case { UNCASED, CASED, CASE_IGNORABLE } letter_case;

static letter_case case_of(const dt_cleaner *cleaner, int32_t c)
{
    uint8_t text[4];
    size_t length = (size_t)utf8proc_encode_char(c, text);
    int groups = pcre2_match(cleaner->cases, text, length, 0, PCRE2_NO_UTF_CHECK, cleaner->match, NULL);
    return groups == 2 ? CASE_IGNORABLE : groups == 1 ? CASED : UNCASED;
}

/* Final_Sigma of the Unicode Standard, table 3-17: a cased letter before, none after, ignorable ones aside.
 */
static bool is_final_sigma(const dt_cleaner *cleaner, const int32_t *data, size_t length, size_t at)
{
    letter_case near = UNCASED;
    for (size_t i = at; i-- > 0 && (near = case_of(cleaner, data[i])) == CASE_IGNORABLE;)
        ;
    if (near != CASED)
        return false;
    near = UNCASED;
    for (size_t i = at + 1; i < length && (near = case_of(cleaner, data[i])) == CASE_IGNORABLE; i++)
        ;
    return near != CASED;
}

static bool lower(const dt_cleaner *cleaner, const dt_codepoints *from, dt_codepoints *to)
{
    enum {
        CAPITAL_SIGMA = 0x3a3,
        SIGMA = 0x3c3,
        FINAL_SIGMA = 0x3c2,
        CAPITAL_I_DOT = 0x130,
        DOT_ABOVE = 0x307
    };
    to->length = 0;
    if (!dt_codepoints_reserve(to, 2 * from->length))
        return false;
    for (size_t i = 0; i < from->length; i++) {
        int32_t c = from->data[i];
        if (c < 0x80) {
            c = c >= 'A' && c <= 'Z' ? c | 0x20 : c;
        } else if (c == CAPITAL_SIGMA) {
            c = is_final_sigma(cleaner, from->data, from->length, i) ? FINAL_SIGMA : SIGMA;
        } else if (c == CAPITAL_I_DOT) {
            to->data[to->length++] = 'i';
            c = DOT_ABOVE;
        } else {
            c = utf8proc_tolower(c);
        }
        to->data[to->length++] = c;
    }
    return true;
}

bool dt_clean(dt_cleaner *cleaner, const char *text, size_t length, dt_span *cleaned, dt_error *error)
{
    if (length > DT_TEXT_LIMIT)
        return dt_fail(error, "a text of %zu bytes is longer than the %zu that are allowed", length,
                       DT_TEXT_LIMIT);
    if (is_plain(text, length)) {
        if (!reserve_text(cleaner, length + 1))
            return no_memory(length, error);
        clean_plain(cleaner, text, length, cleaned);
        return true;
    }
    if (!decode(cleaner, text, length, error))
        return false;
    dt_codepoints *points = &cleaner->points, *other = &cleaner->other;
    other->length = 0;
    if (!dt_fix_codepoints(points->data, points->length, other, cleaner->scratch) ||
        !unescape(other, points) || !unescape(points, other))
        return no_memory(length, error);
    collapse_spaces(other);
    if (!lower(cleaner, other, points))
        return no_memory(length, error);
    return encode(cleaner, points, cleaned, error);
}

/* Length of the run of a-z at `text`, where nothing that follows can belong to the same word; else 0. It
 * saves most words the general pattern. */
static size_t plain_letters(const char *text, size_t length)
{
    size_t n = 0;
    while (n < length && text[n] >= 'a' && text[n] <= 'z')
        n++;
    return n < length && (unsigned char)text[n] >= 0x80 ? 0 : n;
}

/* Length of what separates words here: a space, or U+0345; 0 where there is neither. */
static size_t separator(const char *text, size_t length)
{
    if (length && text[0] == ' ')
        return 1;
    return length >= 2 && text[0] == '\xcd' && text[1] == '\x85' ? 2 : 0;
}

bool dt_next_word(dt_cleaner *cleaner, dt_span cleaned, size_t *offset, dt_span *word, dt_error *error)
{
    size_t at = *offset, length;
    while ((length = separator(cleaned.text + at, cleaned.length - at)))
        at += length;
    length = plain_letters(cleaned.text + at, cleaned.length - at);
    if (!length && at < cleaned.length) {
        int status = pcre2_match(cleaner->words, (PCRE2_SPTR)cleaned.text, cleaned.length, at,
                                 PCRE2_NO_UTF_CHECK, cleaner->match, NULL);
        if (status < 0)
            return dt_fail(error, "PCRE2 failed with status %d at byte %zu of the cleaned text", status, at);
        length = pcre2_get_ovector_pointer(cleaner->match)[1] - at;
    }
    *word = (dt_span){cleaned.text + at, length};
    *offset = at + length;
    return true;
}
