#include "eval/report/html.h"

#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Length of the well-formed sequence at `s`, or 0 (also at a NUL): the table of RFC 3629, section 4. */
static size_t sequence(const unsigned char *s)
{
    if (s[0] < 0x80)
        return s[0] != 0;
    size_t length = s[0] >= 0xC2 && s[0] <= 0xDF   ? 2
                    : (s[0] & 0xF0) == 0xE0        ? 3
                    : s[0] >= 0xF0 && s[0] <= 0xF4 ? 4
                                                   : 0;
    for (size_t i = 1; i < length; i++)
        if ((s[i] & 0xC0) != 0x80) /* a NUL ends the search here too */
            return 0;
    bool overlong = (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xF0 && s[1] < 0x90);
    bool beyond = (s[0] == 0xED && s[1] > 0x9F) || (s[0] == 0xF4 && s[1] > 0x8F);
    return overlong || beyond ? 0 : length;
}

static bool is_control(const unsigned char *s, size_t length)
{
    if (length == 1)
        return (s[0] < 0x20 && s[0] != '\t' && s[0] != '\n') || s[0] == 0x7F;
    return length == 2 && s[0] == 0xC2 && s[1] < 0xA0;
}

static const char *reference(unsigned char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        return NULL;
    }
}

void dt_html_text_cut(dt_writer *writer, const char *text, size_t most)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t done = 0; *s; done++) {
        if (done == most) {
            dt_writer_write(writer, "…", strlen("…"));
            return;
        }
        size_t length = sequence(s);
        const char *instead = length == 1 ? reference(*s) : NULL;
        if (!length || is_control(s, length))
            instead = "\xEF\xBF\xBD";
        if (instead)
            dt_writer_write(writer, instead, strlen(instead));
        else
            dt_writer_write(writer, s, length);
        s += length ? length : 1;
    }
}

void dt_html_text(dt_writer *writer, const char *text)
{
    dt_html_text_cut(writer, text, SIZE_MAX);
}

void dt_html_base64(dt_writer *writer, const uint8_t *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char line[1024];
    size_t filled = 0;
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t word = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                        (left > 2 ? bytes[i + 2] : 0);
        line[filled++] = digits[word >> 18];
        line[filled++] = digits[word >> 12 & 63];
        line[filled++] = left > 1 ? digits[word >> 6 & 63] : '=';
        line[filled++] = left > 2 ? digits[word & 63] : '=';
        if (filled == sizeof line) {
            dt_writer_write(writer, line, filled);
            filled = 0;
        }
    }
    dt_writer_write(writer, line, filled);
}

const char *dt_html_count(int64_t value, char room[DT_NUMBER_ROOM])
{
    char digits[24];
    int length = snprintf(digits, sizeof digits, "%" PRId64, value), out = 0, sign = digits[0] == '-';
    for (int i = 0; i < length; i++) {
        if (i > sign && (length - i) % 3 == 0)
            room[out++] = ',';
        room[out++] = digits[i];
    }
    room[out] = 0;
    return room;
}

const char *dt_html_number(double value, char room[DT_NUMBER_ROOM])
{
    double size = fabs(value);
    if (!isfinite(value))
        snprintf(room, DT_NUMBER_ROOM, "not finite");
    else if (size >= 1e7 || (size > 0 && size < 0.001))
        snprintf(room, DT_NUMBER_ROOM, "%.2e", value);
    else if (size >= 1000 || value == floor(value))
        return dt_html_count((int64_t)llround(value), room);
    else
        snprintf(room, DT_NUMBER_ROOM, "%.*f",
                 size >= 100   ? 1
                 : size >= 10  ? 2
                 : size >= 1   ? 3
                 : size >= 0.1 ? 4
                               : 5,
                 value);
    return room;
}

const char *dt_html_percent(double share, char room[DT_NUMBER_ROOM])
{
    double percent = 100 * share;
    if (!isfinite(percent) || fabs(percent) >= 1e6)
        return dt_html_number(share, room);
    if (fabs(percent) < 0.01)
        percent = 0;
    bool whole = percent == 0 || fabs(percent - 100) < 1e-9;
    snprintf(room, DT_NUMBER_ROOM, "%.*f\u202F%%", whole ? 0 : fabs(percent) < 1 ? 2 : 1, percent);
    return room;
}

/* ---- from one to another ---- */

/* Shares below 1 % have two digits, and 0 as many as the other end. */
static int percent_digits(double share)
{
    return fabs(share) >= 0.0001 && fabs(share) < 0.01 ? 2 : 1;
}

const char *dt_html_percent_range(double low, double high, char room[DT_RANGE_ROOM])
{
    if (!(fabs(low) < 1e4 && fabs(high) < 1e4))
        return dt_html_number_range(low, high, room);
    int digits = percent_digits(low) > percent_digits(high) ? percent_digits(low) : percent_digits(high);
    snprintf(room, DT_RANGE_ROOM, "%.*f to %.*f\u202F%%", digits, 100 * low, digits, 100 * high);
    return room;
}

static int digits_of(const char *number)
{
    const char *point = strchr(number, '.');
    return point ? (int)strlen(point + 1) : 0;
}

const char *dt_html_number_range(double low, double high, char room[DT_RANGE_ROOM])
{
    char one[DT_NUMBER_ROOM], two[DT_NUMBER_ROOM];
    dt_html_number(low, one);
    dt_html_number(high, two);
    bool plain = fabs(low) < 1000 && fabs(high) < 1000 && !strchr(one, 'e') && !strchr(two, 'e');
    int digits = digits_of(one) > digits_of(two) ? digits_of(one) : digits_of(two);
    if (plain)
        snprintf(room, DT_RANGE_ROOM, "%.*f to %.*f", digits, low, digits, high);
    else
        snprintf(room, DT_RANGE_ROOM, "%s to %s", one, two);
    return room;
}

bool dt_html_long_word(const char *text)
{
    enum { LONG = 18 };
    for (size_t length; *text; text += length + (text[length] != 0))
        if ((length = strcspn(text, " \t\n-")) > LONG)
            return true;
    return false;
}
