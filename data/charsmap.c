#include "data/charsmap.h"

#include <stdint.h>

#include "data/unicode.h"

enum {
    BLOCK = 256,              /* children of a node lie in one aligned block of units, at base ^ byte */
    CLUSTER_MOST = 5,         /* bytes of a grapheme cluster that is looked up as a whole */
    CHARSMAP_MOST = 16 << 20, /* bytes; SentencePiece's own have 0.3 million */
};

struct dt_charsmap {
    uint32_t *units;
    uint32_t count;
    char *pool; /* ended by a NUL */
    uint32_t pool_size;
    dt_span ascii[128]; /* what one such byte alone becomes; text NULL: itself */
};

/* The fields of a unit; Darts-clone's layout. */
static uint32_t label(uint32_t unit)
{
    return unit & (1u << 31 | 0xff);
}

static uint32_t offset(uint32_t unit)
{
    return (unit >> 10) << ((unit & 1u << 9) >> 6);
}

static bool has_leaf(uint32_t unit)
{
    return unit >> 8 & 1;
}

static uint32_t leaf_value(uint32_t unit)
{
    return unit & ~(1u << 31);
}

/* Where the replacement of the shortest prefix of key[0, length) is in the pool; -1: no prefix is in the map. */
static int64_t find(const dt_charsmap *map, const char *key, size_t length)
{
    uint32_t at = offset(map->units[0]);
    for (size_t i = 0; i < length && key[i]; i++) {
        at ^= (uint8_t)key[i];
        uint32_t unit = map->units[at];
        if (label(unit) != (uint8_t)key[i])
            return -1;
        at ^= offset(unit);
        if (has_leaf(unit))
            return leaf_value(map->units[at]);
    }
    return -1;
}

static bool replacement(const dt_charsmap *map, const char *key, size_t length, dt_span *to)
{
    int64_t at = find(map, key, length);
    if (at >= 0)
        *to = (dt_span){map->pool + at, strlen(map->pool + at)};
    return at >= 0;
}

/* ---- Reading ---- */

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* NULL on failure; the caller frees. */
static uint8_t *decode_base64(const char *text, size_t length, size_t *size, dt_error *error)
{
    if (length % 4 || !length) {
        dt_fail(error, "%zu characters are not base64, which comes in fours", length);
        return NULL;
    }
    size_t padding = (size_t)(text[length - 1] == '=') + (text[length - 2] == '=' && text[length - 1] == '=');
    uint8_t *bytes = malloc(length / 4 * 3);
    if (!bytes) {
        dt_fail(error, "out of memory for %zu characters of base64", length);
        return NULL;
    }
    uint32_t bits = 0;
    for (size_t i = 0, n = 0; i < length; i++) {
        int value = i + padding >= length ? 0 : base64_value(text[i]);
        if (value < 0) {
            dt_fail(error, "character %zu (0x%02x) is not base64", i, (uint8_t)text[i]);
            free(bytes);
            return NULL;
        }
        bits = bits << 6 | (uint32_t)value;
        if (i % 4 == 3)
            for (int shift = 16; shift >= 0; shift -= 8)
                bytes[n++] = (uint8_t)(bits >> shift);
    }
    *size = length / 4 * 3 - padding;
    return bytes;
}

/* The leaf that belongs to the node `at` with its children at `base`. */
static bool check_leaf(const dt_charsmap *map, uint32_t at, uint32_t base, dt_error *error)
{
    uint32_t value = leaf_value(map->units[base]);
    if (value >= map->pool_size)
        return dt_fail(error, "unit %u names byte %u of a pool of %u", at, value, map->pool_size);
    return ((uint8_t)map->pool[value] & 0xc0) != 0x80 ||
           dt_fail(error, "unit %u names byte %u of the pool, the middle of a character", at, value);
}

/* Visits every node that a search can reach, once each, also where the array leads back into itself. */
static bool check_units(const dt_charsmap *map, dt_error *error)
{
    uint8_t *seen = calloc(map->count, 1);
    uint32_t *stack = malloc(map->count * sizeof *stack), depth = 0;
    bool good = (seen && stack) || dt_fail(error, "out of memory for a double array of %u units", map->count);
    if (good)
        stack[depth++] = 0;
    while (good && depth) {
        uint32_t at = stack[--depth], base = at ^ offset(map->units[at]);
        if (base >= map->count)
            good = dt_fail(error, "unit %u leads to unit %u of %u", at, base, map->count);
        else if (at && has_leaf(map->units[at]))
            good = check_leaf(map, at, base, error);
        for (uint32_t byte = 1; good && byte < BLOCK; byte++)
            if (label(map->units[base ^ byte]) == byte && !seen[base ^ byte]) {
                seen[base ^ byte] = 1;
                stack[depth++] = base ^ byte;
            }
    }
    free(seen);
    free(stack);
    return good;
}

static bool take_apart(dt_charsmap *map, const uint8_t *bytes, size_t size, dt_error *error)
{
    uint32_t array = 0;
    if (size >= 4)
        array = bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
    if (size < 4 || array > size - 4 || !array || array % (BLOCK * 4))
        return dt_fail(error, "a double array of %u bytes in %zu; expected a multiple of %d that fits", array, size, BLOCK * 4);
    map->count = array / 4;
    map->pool_size = (uint32_t)(size - 4 - array);
    map->units = malloc(array);
    map->pool = malloc((size_t)map->pool_size + 1);
    if (!map->units || !map->pool)
        return dt_fail(error, "out of memory for a map of %zu bytes", size);
    for (uint32_t i = 0; i < map->count; i++) {
        const uint8_t *b = bytes + 4 + 4 * (size_t)i;
        map->units[i] = b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
    }
    memcpy(map->pool, bytes + 4 + array, map->pool_size);
    map->pool[map->pool_size] = '\0';
    size_t good = dt_utf8_length((dt_span){map->pool, map->pool_size});
    if (good < map->pool_size)
        return dt_fail(error, "byte %zu of the pool is not UTF-8", good);
    return check_units(map, error);
}

dt_charsmap *dt_charsmap_read(const char *base64, size_t length, dt_error *error)
{
    size_t size = 0;
    if (length > CHARSMAP_MOST) {
        dt_fail(error, "%zu characters are more than the %d of any map", length, CHARSMAP_MOST);
        return NULL;
    }
    uint8_t *bytes = decode_base64(base64, length, &size, error);
    dt_charsmap *map = bytes ? calloc(1, sizeof *map) : NULL;
    if (bytes && !map)
        dt_fail(error, "out of memory for a map of %zu bytes", size);
    if (map && !take_apart(map, bytes, size, error)) {
        dt_charsmap_free(map);
        map = NULL;
    }
    free(bytes);
    for (int c = 1; map && c < 128; c++)
        replacement(map, &(char){(char)c}, 1, &map->ascii[c]);
    return map;
}

void dt_charsmap_free(dt_charsmap *map)
{
    if (!map)
        return;
    free(map->units);
    free(map->pool);
    free(map);
}

/* ---- Using ---- */

/* Bytes of the grapheme cluster at the start of text[0, length). */
static size_t cluster(const char *text, size_t length)
{
    int32_t before, now, state = 0;
    size_t n = (size_t)utf8proc_iterate((const uint8_t *)text, (utf8proc_ssize_t)length, &before);
    while (n < length) {
        utf8proc_ssize_t taken = utf8proc_iterate((const uint8_t *)text + n, (utf8proc_ssize_t)(length - n), &now);
        if (utf8proc_grapheme_break_stateful(before, now, &state))
            break;
        n += (size_t)taken;
        before = now;
    }
    return n;
}

static bool apply_cluster(const dt_charsmap *map, dt_span text, dt_bytes *out)
{
    dt_span to;
    if (text.length <= CLUSTER_MOST && replacement(map, text.text, text.length, &to))
        return dt_bytes_append(out, to.text, to.length);
    for (size_t at = 0, n; at < text.length; at += n) {
        n = utf8proc_utf8class[(uint8_t)text.text[at]];
        if (!replacement(map, text.text + at, n, &to))
            to = (dt_span){text.text + at, n};
        if (!dt_bytes_append(out, to.text, to.length))
            return false;
    }
    return true;
}

bool dt_charsmap_apply(const dt_charsmap *map, dt_span text, dt_bytes *out)
{
    if (!dt_bytes_reserve(out, text.length))
        return false;
    for (size_t at = 0, n; at < text.length; at += n) {
        const char *c = text.text + at;
        /* Between two of ASCII a cluster ends, but for a carriage return and its line feed. */
        bool alone = (uint8_t)*c < 0x80 && *c != '\r' && (at + 1 == text.length || (uint8_t)c[1] < 0x80);
        n = alone ? 1 : cluster(c, text.length - at);
        dt_span to = alone ? map->ascii[(uint8_t)*c] : (dt_span){0};
        if (alone && !to.text)
            to = (dt_span){c, 1};
        if (!(alone ? dt_bytes_append(out, to.text, to.length) : apply_cluster(map, (dt_span){c, n}, out)))
            return false;
    }
    return true;
}
