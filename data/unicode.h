/* Classes of characters as the Rust libraries under Hugging Face's tokenizers draw them, and walking over UTF-8. */
#ifndef DUET_DATA_UNICODE_H
#define DUET_DATA_UNICODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <utf8proc.h>

#include "data/text.h"

/* The character at text.text[at] of good UTF-8, at < length; the number of its bytes in *taken. */
static inline int32_t dt_character(dt_span text, size_t at, size_t *taken)
{
    int32_t c = (uint8_t)text.text[at];
    *taken = 1;
    if (c >= 0x80)
        *taken = (size_t)utf8proc_iterate((const uint8_t *)text.text + at, (utf8proc_ssize_t)(text.length - at), &c);
    return c;
}

/* Where the character before text.text[at] starts, at > 0. */
static inline size_t dt_character_before(dt_span text, size_t at)
{
    for (at--; at && ((uint8_t)text.text[at] & 0xc0) == 0x80;)
        at--;
    return at;
}

/* Where the text stops being UTF-8 (surrogates and overlong forms are not); its length where it never does. */
static inline size_t dt_utf8_length(dt_span text)
{
    size_t at = 0;
    while (at < text.length) {
        int32_t c;
        utf8proc_ssize_t taken = 1;
        if ((uint8_t)text.text[at] >= 0x80)
            taken = utf8proc_iterate((const uint8_t *)text.text + at, (utf8proc_ssize_t)(text.length - at), &c);
        if (taken <= 0)
            break;
        at += (size_t)taken;
    }
    return at;
}

/* White_Space. */
static inline bool dt_is_space(int32_t c)
{
    return (c >= 0x09 && c <= 0x0d) || c == 0x20 || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

static inline bool dt_is_mark(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME;
}

/* \w of UTS #18: Alphabetic, M, Nd, Pc, Join_Control. Alphabetic, less its marks, is L, Nl and some circled letters. */
static inline bool dt_is_word(int32_t c)
{
    utf8proc_category_t category = utf8proc_category(c);
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) || category == UTF8PROC_CATEGORY_PC ||
           c == 0x200c || c == 0x200d || (c >= 0x24b6 && c <= 0x24e9) || (c >= 0x1f130 && c <= 0x1f149) ||
           (c >= 0x1f150 && c <= 0x1f169) || (c >= 0x1f170 && c <= 0x1f189);
}

/* ASCII's punctuation, symbols too, and P (the library's table of which is older, and lacks the youngest). */
static inline bool dt_is_punctuation(int32_t c)
{
    if (c < 0x80)
        return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') || (c >= '{' && c <= '~');
    utf8proc_category_t category = utf8proc_category(c);
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

#endif
