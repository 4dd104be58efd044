/* The certain part of ftfy.fix_text (github.com/rspeer/python-ftfy, version 6.3), written from what it does.
 * Surrogates need no fix here: valid UTF-8 has none. */
#include "data/text.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "data/html_entities.h"
#include "data/text_internal.h"

enum {
    SEGMENT_MOST = 1000000, /* code points: where ftfy cuts a line without an end */
    PASSES_LEAST = 16,
    PASSES_BUDGET = 1 << 24, /* code points that the passes over one segment may read beyond that */
};

/* C1 controls that windows-1252 has characters for; 0: it has none. */
static const uint16_t c1_as_1252[32] = {
    0x20ac, 0,      0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
    0x2039, 0x0152, 0,      0x017d, 0,      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0,      0x017e, 0x0178,
};

static const struct ligature {
    int32_t from, to[3];
} ligatures[] = {
    {0x0132, {'I', 'J'}},    {0x0133, {'i', 'j'}},    {0x0149, {0x02bc, 'n'}},   {0x01c4, {'D', 0x017d}},
    {0x01c5, {'D', 0x017e}}, {0x01c6, {'d', 0x017e}}, {0x01c7, {'L', 'J'}},      {0x01c8, {'L', 'j'}},
    {0x01c9, {'l', 'j'}},    {0x01ca, {'N', 'J'}},    {0x01cb, {'N', 'j'}},      {0x01cc, {'n', 'j'}},
    {0x01f1, {'D', 'Z'}},    {0x01f2, {'D', 'z'}},    {0x01f3, {'d', 'z'}},      {0xfb00, {'f', 'f'}},
    {0xfb01, {'f', 'i'}},    {0xfb02, {'f', 'l'}},    {0xfb03, {'f', 'f', 'i'}}, {0xfb04, {'f', 'f', 'l'}},
    {0xfb05, {0x017f, 't'}}, {0xfb06, {'s', 't'}},
};

static size_t open_ligature(int32_t c, int32_t out[3])
{
    if (c >= 0x0132 && (c <= 0x01f3 || (c >= 0xfb00 && c <= 0xfb06)))
        for (size_t i = 0; i < sizeof ligatures / sizeof ligatures[0]; i++)
            if (ligatures[i].from == c) {
                memcpy(out, ligatures[i].to, sizeof ligatures[i].to);
                return out[2] ? 3 : 2;
            }
    out[0] = c;
    return 1;
}

/* Full- and half-width forms and the ideographic space to their ordinary selves, by compatibility
 * decomposition. */
static size_t ordinary_width(int32_t c, int32_t out[3])
{
    if (c == 0x3000) {
        out[0] = ' ';
        return 1;
    }
    if (c >= 0xff01 && c <= 0xffef) {
        int boundary = 0;
        utf8proc_ssize_t n =
            utf8proc_decompose_char(c, out, 3, UTF8PROC_COMPAT | UTF8PROC_DECOMPOSE, &boundary);
        if (n >= 1 && n <= 3)
            return (size_t)n;
    }
    out[0] = c;
    return 1;
}

static int32_t straight_quote(int32_t c)
{
    if (c == 0x02bc || (c >= 0x2018 && c <= 0x201b))
        return '\'';
    return c >= 0x201c && c <= 0x201f ? '"' : c;
}

static int32_t line_break(int32_t c)
{
    return c == '\r' || c == 0x2028 || c == 0x2029 || c == 0x85 ? '\n' : c;
}

/* Everything that looks at one code point; 1 to 3 come out. */
static size_t fix_one(int32_t c, int32_t out[3])
{
    if (c < 0x80) {
        out[0] = line_break(c);
        return 1;
    }
    if (c < 0xa0 && c1_as_1252[c - 0x80])
        c = c1_as_1252[c - 0x80];
    size_t count = open_ligature(c, out);
    if (count == 1)
        count = ordinary_width(c, out);
    for (size_t i = 0; i < count; i++)
        out[i] = line_break(straight_quote(out[i]));
    return count;
}

/* References and everything that looks at one code point; CR LF counts as one line break. */
static bool unescape_and_map(const dt_codepoints *from, dt_codepoints *to, bool html)
{
    bool after_return = false;
    to->length = 0;
    for (size_t i = 0; i < from->length;) {
        int32_t pending[DT_REFERENCE_MAX];
        size_t count, taken = 0;
        if (html && from->data[i] == '&')
            taken = dt_html_reference_strict(from->data + i, from->length - i, pending, &count);
        if (!taken) {
            pending[0] = from->data[i];
            taken = count = 1;
        }
        i += taken;
        if (!dt_codepoints_reserve(to, 3 * count))
            return false;
        for (size_t k = 0; k < count; k++) {
            if (!(after_return && pending[k] == '\n'))
                to->length += fix_one(pending[k], to->data + to->length);
            after_return = pending[k] == '\r';
        }
    }
    return true;
}

static bool is_letter(int32_t c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* ESC [ digits and semicolons, letter: its length, or 0. */
static size_t terminal_escape(const int32_t *text, size_t length)
{
    if (length < 3 || text[0] != 0x1b || text[1] != '[')
        return 0;
    size_t at = 2;
    while (at < length && (text[at] == ';' || utf8proc_category(text[at]) == UTF8PROC_CATEGORY_ND))
        at++;
    return at < length && is_letter(text[at]) ? at + 1 : 0;
}

static bool is_unwanted(int32_t c)
{
    if (c < 0x80)
        return c <= 0x08 || c == 0x0b || (c >= 0x0e && c < 0x20) || c == 0x7f;
    return (c >= 0x206a && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffc);
}

static void remove_controls(dt_codepoints *points)
{
    size_t n = 0;
    for (size_t i = 0; i < points->length;) {
        size_t escape = terminal_escape(points->data + i, points->length - i);
        if (escape) {
            i += escape;
            continue;
        }
        int32_t c = points->data[i++];
        if (!is_unwanted(c))
            points->data[n++] = c;
    }
    points->length = n;
}

/* Ranges in which no code point composes, decomposes in NFC, or moves: enough to pass most text by. */
static bool is_inert(int32_t c)
{
    return c < 0x300 || (c >= 0x400 && c <= 0x482) || (c >= 0x2010 && c <= 0x2027) ||
           (c >= 0x3041 && c <= 0x3096) || (c >= 0x30a1 && c <= 0x30fa) || (c >= 0x4e00 && c <= 0x9fff) ||
           (c >= 0xac00 && c <= 0xd7a3) || (c >= 0x1f000 && c <= 0x1faff);
}

static int combining_class(int32_t c)
{
    return (uint8_t)utf8proc_get_property(c)->combining_class;
}

/* Stable counting sort of marks by combining class, so that a megabyte of marks takes no quadratic time. */
static bool sort_marks(int32_t *marks, size_t count)
{
    size_t starts[257] = {0};
    int32_t *copy = malloc(count * sizeof *copy);
    if (!copy)
        return false;
    memcpy(copy, marks, count * sizeof *copy);
    for (size_t i = 0; i < count; i++)
        starts[combining_class(copy[i]) + 1]++;
    for (int k = 0; k < 256; k++)
        starts[k + 1] += starts[k];
    for (size_t i = 0; i < count; i++)
        marks[starts[combining_class(copy[i])]++] = copy[i];
    free(copy);
    return true;
}

static bool order_marks(dt_codepoints *points)
{
    for (size_t i = 0; i < points->length; i++) {
        size_t start = i;
        bool sorted = true;
        for (int last = 0, now; i < points->length && (now = combining_class(points->data[i]));
             last = now, i++)
            sorted &= now >= last;
        if (!sorted && !sort_marks(points->data + start, i - start))
            return false;
    }
    return true;
}

static bool is_ascii(int32_t c)
{
    return c < 0x80;
}

/* utf8proc's own ordering is quadratic; its decomposition and composition are not. */
bool dt_normal_form(dt_codepoints *points, dt_codepoints *spare, int form)
{
    enum { DECOMPOSED_MOST = 18 }; /* code points that one becomes: U+FDFA */
    bool (*const stays)(int32_t) = form == UTF8PROC_COMPOSE ? is_inert : is_ascii;
    size_t inert = 0;
    while (inert < points->length && stays(points->data[inert]))
        inert++;
    if (inert == points->length)
        return true;
    spare->length = 0;
    for (size_t i = 0; i < points->length; i++) {
        int boundary = 0;
        if (!dt_codepoints_reserve(spare, DECOMPOSED_MOST))
            return false;
        utf8proc_ssize_t n = utf8proc_decompose_char(points->data[i], spare->data + spare->length, DECOMPOSED_MOST,
                                                     UTF8PROC_DECOMPOSE | (form & UTF8PROC_COMPAT), &boundary);
        if (n < 0 || n > DECOMPOSED_MOST)
            return false;
        spare->length += (size_t)n;
    }
    if (!order_marks(spare))
        return false;
    if (form & UTF8PROC_COMPOSE) {
        utf8proc_ssize_t n = utf8proc_normalize_utf32(spare->data, (utf8proc_ssize_t)spare->length,
                                                      UTF8PROC_COMPOSE | UTF8PROC_STABLE);
        if (n < 0)
            return false;
        spare->length = (size_t)n;
    }
    dt_codepoints swap = *points;
    *points = *spare;
    *spare = swap;
    return true;
}

/* One line: passes until nothing changes. The result is in scratch[0]. */
static bool fix_segment(const int32_t *text, size_t length, bool html, dt_codepoints scratch[3])
{
    dt_codepoints *now = &scratch[0], *next = &scratch[1];
    now->length = 0;
    if (!dt_codepoints_reserve(now, length))
        return false;
    memcpy(now->data, text, length * sizeof *text);
    now->length = length;
    size_t passes = PASSES_LEAST + PASSES_BUDGET / (length + 1);
    for (bool changed = true; changed && passes; passes--) {
        if (!unescape_and_map(now, next, html))
            return false;
        remove_controls(next);
        if (!dt_normal_form(next, &scratch[2], UTF8PROC_COMPOSE))
            return false;
        changed =
            next->length != now->length || memcmp(next->data, now->data, now->length * sizeof *now->data);
        dt_codepoints swap = *now;
        *now = *next;
        *next = swap;
    }
    return true;
}

bool dt_fix_codepoints(const int32_t *text, size_t length, dt_codepoints *out, dt_codepoints scratch[3])
{
    bool html = true; /* a '<' says that this is HTML source, in which references mean something */
    for (size_t start = 0, end; start < length; start = end) {
        for (end = start; end < length && end - start < SEGMENT_MOST;) {
            html &= text[end] != '<';
            if (text[end++] == '\n')
                break;
        }
        if (!fix_segment(text + start, end - start, html, scratch) ||
            !dt_codepoints_reserve(out, scratch[0].length))
            return false;
        if (scratch[0].length)
            memcpy(out->data + out->length, scratch[0].data, scratch[0].length * sizeof *text);
        out->length += scratch[0].length;
    }
    return true;
}
