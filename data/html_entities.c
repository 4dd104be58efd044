#include "data/html_entities.h"

#include <string.h>
#include <utf8proc.h>

typedef struct entity {
    const char *name, *text;
    bool bare; /* also read without a semicolon */
} entity;

static const entity entities[] = {
#define E(name, text) {name, text, false},
#define B(name, text) {name, text, true},
#include "data/html_entities.inc"
#undef E
#undef B
};

enum {
    LONGEST_NAME = 31,
    LONGEST_BARE = 6,
    STRICT_NAME = 24, /* the most that ftfy looks at */
    OUT_OF_RANGE = 0x110000,
};

/* HTML reads the numbers 0x80 to 0x9f as windows-1252; 0 where that code page has nothing. */
static const uint16_t windows_1252[32] = {
    0x20ac, 0x81,   0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160,
    0x2039, 0x0152, 0x8d,   0x017d, 0x8f,   0x90,   0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
    0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x9d,   0x017e, 0x0178,
};

static const entity *find(const char *name, size_t length)
{
    size_t low = 0, high = sizeof entities / sizeof entities[0];
    while (low < high) {
        size_t middle = (low + high) / 2;
        int order = strncmp(entities[middle].name, name, length);
        if (!order)
            order = entities[middle].name[length] ? 1 : 0;
        if (!order)
            return &entities[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* The longest name read without a semicolon that starts `name`; its length in *length. */
static const entity *find_bare(const char *name, size_t *length)
{
    for (size_t n = *length < LONGEST_BARE ? *length : LONGEST_BARE; n >= 2; n--) {
        const entity *found = find(name, n);
        if (found && found->bare) {
            *length = n;
            return found;
        }
    }
    return NULL;
}

static size_t write_text(const char *text, int32_t *out)
{
    size_t count = 0;
    for (const char *end = text + strlen(text); text < end;)
        text += utf8proc_iterate((const uint8_t *)text, end - text, &out[count++]);
    return count;
}

static bool is_digit(int32_t c)
{
    return c >= '0' && c <= '9';
}

static bool is_alphanumeric(int32_t c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int hex_value(int32_t c)
{
    if (is_digit(c))
        return c - '0';
    int32_t lower = c | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Copies the ASCII letters and digits that follow the '&', at most LONGEST_NAME + 1 of them. */
static size_t read_name(const int32_t *text, size_t length, char name[LONGEST_NAME + 2])
{
    size_t n = 0;
    while (n <= LONGEST_NAME && n + 1 < length && is_alphanumeric(text[n + 1])) {
        name[n] = (char)text[n + 1];
        n++;
    }
    name[n] = '\0';
    return n;
}

/* "&#123" or "&#x7b" without the semicolon: how many code points it takes, 0 where there is no digit. */
static size_t read_number(const int32_t *text, size_t length, int32_t *number)
{
    bool hex = length > 2 && (text[2] == 'x' || text[2] == 'X');
    size_t start = hex ? 3 : 2, at = start;
    int32_t value = 0;
    for (; at < length && (hex ? hex_value(text[at]) >= 0 : is_digit(text[at])); at++)
        if (value < OUT_OF_RANGE)
            value = value * (hex ? 16 : 10) + hex_value(text[at]);
    *number = value;
    return at > start ? at : 0;
}

/* Code points that HTML drops: controls, and the noncharacters of every plane. */
static bool is_dropped(int32_t c)
{
    return (c >= 0x01 && c <= 0x08) || c == 0x0b || (c >= 0x0e && c <= 0x1f) || c == 0x7f ||
           (c >= 0xfdd0 && c <= 0xfdef) || (c & 0xfffe) == 0xfffe;
}

static size_t write_number(int32_t number, int32_t *out)
{
    if (number == 0 || number > 0x10ffff || (number >= 0xd800 && number <= 0xdfff))
        number = 0xfffd;
    else if (number >= 0x80 && number <= 0x9f)
        number = windows_1252[number - 0x80];
    else if (is_dropped(number))
        return 0;
    out[0] = number;
    return 1;
}

size_t dt_html_reference(const int32_t *text, size_t length, int32_t out[DT_REFERENCE_MAX], size_t *written)
{
    if (length > 1 && text[1] == '#') {
        int32_t number;
        size_t taken = read_number(text, length, &number);
        if (!taken)
            return 0;
        *written = write_number(number, out);
        return taken + (taken < length && text[taken] == ';');
    }
    char name[LONGEST_NAME + 2];
    size_t n = read_name(text, length, name);
    const entity *found = n + 1 < length && text[n + 1] == ';' ? find(name, n) : NULL;
    if (found) {
        *written = write_text(found->text, out);
        return n + 2;
    }
    found = find_bare(name, &n);
    if (!found)
        return 0;
    *written = write_text(found->text, out);
    return n + 1;
}

/* Upper case of what an upper-cased name stands for. Ligatures stay as they are: ftfy opens them next, and
 * the tokenizer lower-cases everything in the end. */
static size_t to_upper(int32_t *out, size_t count)
{
    if (count == 1 && out[0] == 0xdf) { /* sharp s has no single capital in the default mapping */
        out[0] = out[1] = 'S';
        return 2;
    }
    for (size_t i = 0; i < count; i++)
        out[i] = utf8proc_toupper(out[i]);
    return count;
}

static const entity *find_upper_cased(const char *name, size_t n)
{
    char lower[LONGEST_NAME + 2];
    for (size_t i = 0; i < n; i++) {
        if (name[i] >= 'a' && name[i] <= 'z')
            return NULL;
        lower[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] | 0x20 : name[i]);
    }
    return find_bare(name, &(size_t){n}) ? NULL : find(lower, n); /* &LTCC; already means something else */
}

size_t dt_html_reference_strict(const int32_t *text, size_t length, int32_t out[DT_REFERENCE_MAX],
                                size_t *written)
{
    if (length > 1 && text[1] == '#') {
        int32_t number;
        size_t taken = read_number(text, length, &number);
        if (!taken || taken - 2 > STRICT_NAME || taken >= length || text[taken] != ';')
            return 0;
        *written = write_number(number, out);
        return *written && out[0] == ';' ? 0 : taken + 1;
    }
    char name[LONGEST_NAME + 2];
    size_t n = read_name(text, length, name);
    if (n > STRICT_NAME || n + 1 >= length || text[n + 1] != ';')
        return 0;
    const entity *found = find(name, n);
    if (found) {
        *written = write_text(found->text, out);
        return n + 2;
    }
    found = find_upper_cased(name, n);
    if (!found)
        return 0;
    *written = to_upper(out, write_text(found->text, out));
    return n + 2;
}
