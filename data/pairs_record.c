#include "data/pairs_record.h"

#include <endian.h>
#include <math.h>
#include <string.h>
#include <utf8proc.h>

#include "data/json.h"
#include "data/png.h"

enum { RECORD_VERSION = 1 };

enum record_word {
    WORD_VERSION,
    WORD_WIDTH,
    WORD_HEIGHT,
    WORD_JPEG,
    WORD_LABEL,
    WORD_WEIGHT,
    WORD_CAPTIONS,
    WORD_CAPTION_BYTES,
    WORD_EXTRA,
    WORD_RESERVED,
    RECORD_WORDS
};

enum { RECORD_HEADER = 4 * RECORD_WORDS };

/* LMDB aligns values to two bytes only, so words go through memcpy. */
static uint32_t load_word(const void *base, size_t i)
{
    uint32_t word;
    memcpy(&word, (const uint8_t *)base + 4 * i, 4);
    return le32toh(word);
}

static void store_word(void *base, size_t i, uint32_t word)
{
    word = htole32(word);
    memcpy((uint8_t *)base + 4 * i, &word, 4);
}

static bool is_image(const uint8_t *bytes, size_t size)
{
    return (size >= 4 && bytes[0] == 0xff && bytes[1] == 0xd8) || dt_is_png(bytes, size);
}

/* ---- reading ---- */

size_t dt_pair_caption_end(const dt_pair *pair, size_t i)
{
    return load_word(pair->caption_ends, i);
}

static bool check_header(const uint32_t word[RECORD_WORDS], size_t size, dt_error *error)
{
    if (word[WORD_VERSION] != RECORD_VERSION || word[WORD_RESERVED])
        return dt_fail(error, "record version %u, expected %d", word[WORD_VERSION], RECORD_VERSION);
    uint64_t parts = (uint64_t)RECORD_HEADER + word[WORD_JPEG] + 4 * (uint64_t)word[WORD_CAPTIONS] +
                     word[WORD_CAPTION_BYTES] + word[WORD_EXTRA];
    if (parts != size)
        return dt_fail(error, "its parts take %llu bytes, but the record has %zu", (unsigned long long)parts,
                       size);
    if (!word[WORD_WIDTH] || word[WORD_WIDTH] > DT_PAIR_SIDE_MAX || !word[WORD_HEIGHT] ||
        word[WORD_HEIGHT] > DT_PAIR_SIDE_MAX)
        return dt_fail(error, "an image of %u x %u pixels", word[WORD_WIDTH], word[WORD_HEIGHT]);
    return true;
}

static bool check_caption_ends(const dt_pair *pair, size_t bytes, dt_error *error)
{
    size_t start = 0;
    for (size_t i = 0; i < pair->caption_count; i++) {
        size_t end = load_word(pair->caption_ends, i);
        if (end < start + 2 || end > bytes || pair->caption_text[end - 1])
            return dt_fail(error, "caption %zu ends at byte %zu of %zu, which cannot be", i, end, bytes);
        start = end;
    }
    return start == bytes || dt_fail(error, "%zu caption bytes belong to no caption", bytes - start);
}

bool dt_pair_decode(const void *record, size_t size, dt_pair *pair, dt_error *error)
{
    if (size < RECORD_HEADER)
        return dt_fail(error, "%zu bytes, a record has at least %d", size, RECORD_HEADER);
    uint32_t word[RECORD_WORDS];
    for (int i = 0; i < RECORD_WORDS; i++)
        word[i] = load_word(record, (size_t)i);
    if (!check_header(word, size, error))
        return false;
    const uint8_t *at = (const uint8_t *)record + RECORD_HEADER;
    pair->jpeg = at;
    pair->jpeg_size = word[WORD_JPEG];
    if (!is_image(at, pair->jpeg_size))
        return dt_fail(error, "its image is neither a JPEG nor a PNG");
    pair->width = (int)word[WORD_WIDTH];
    pair->height = (int)word[WORD_HEIGHT];
    pair->label = (int32_t)word[WORD_LABEL];
    memcpy(&pair->weight, &word[WORD_WEIGHT], sizeof pair->weight);
    if (pair->label < -1 || !(pair->weight >= 0) || isinf(pair->weight))
        return dt_fail(error, "label %d with weight %g", pair->label, (double)pair->weight);
    pair->caption_count = word[WORD_CAPTIONS];
    pair->caption_ends = at += pair->jpeg_size;
    pair->caption_text = (const char *)(at += 4 * pair->caption_count);
    if (!check_caption_ends(pair, word[WORD_CAPTION_BYTES], error))
        return false;
    if (word[WORD_EXTRA]) {
        pair->extra = (const char *)at + word[WORD_CAPTION_BYTES];
        pair->extra_size = word[WORD_EXTRA] - 1;
        if (pair->extra[pair->extra_size])
            return dt_fail(error, "its extra text has no end");
    }
    return true;
}

/* ---- writing ---- */

bool dt_caption_check(const char *text, dt_error *error)
{
    bool blank = true;
    size_t size = strlen(text);
    for (size_t at = 0; at < size;) {
        utf8proc_int32_t code;
        utf8proc_ssize_t n =
            utf8proc_iterate((const utf8proc_uint8_t *)text + at, (utf8proc_ssize_t)(size - at), &code);
        if (n <= 0)
            return dt_fail(error, "the caption is not UTF-8 (byte %zu is 0x%02x)", at, (uint8_t)text[at]);
        blank = blank && (code <= ' ' || utf8proc_category(code) == UTF8PROC_CATEGORY_ZS);
        at += (size_t)n;
    }
    return !blank || dt_fail(error, "the caption is empty");
}

static bool check_numbers(const dt_pair_input *pair, dt_error *error)
{
    if (pair->width < 1 || pair->width > DT_PAIR_SIDE_MAX || pair->height < 1 ||
        pair->height > DT_PAIR_SIDE_MAX)
        return dt_fail(error, "an image of %d x %d pixels, expected 1 to %d a side", pair->width,
                       pair->height, DT_PAIR_SIDE_MAX);
    if (pair->jpeg_size > DT_PAIR_BYTES_MAX || !is_image(pair->jpeg, pair->jpeg_size))
        return dt_fail(error, "not a JPEG or PNG of at most %d bytes", DT_PAIR_BYTES_MAX);
    if (pair->label < -1 || pair->label >= DT_PAIR_CLASSES_MAX)
        return dt_fail(error, "label %d, expected -1 (none) to %d", pair->label, DT_PAIR_CLASSES_MAX - 1);
    if (!(pair->weight >= 0) || isinf(pair->weight))
        return dt_fail(error, "weight %g, expected a finite number of at least 0", (double)pair->weight);
    if (pair->caption_count > DT_PAIR_CAPTIONS_MAX)
        return dt_fail(error, "%zu captions, at most %d are possible", pair->caption_count,
                       DT_PAIR_CAPTIONS_MAX);
    return true;
}

static bool check_extra(const char *extra, dt_error *error)
{
    json_t *value = dt_json_parse(extra, strlen(extra), "extra", error);
    bool good = value != NULL;
    if (good && !json_is_object(value))
        good = dt_fail(error, "extra: expected an object, found %s", dt_json_kind_name(value));
    json_decref(value);
    return good;
}

bool dt_pair_check(const dt_pair_input *pair, size_t *size, dt_error *error)
{
    if (!check_numbers(pair, error))
        return false;
    size_t text = 0;
    for (size_t i = 0; i < pair->caption_count; i++) {
        if (!dt_caption_check(pair->captions[i], error))
            return false;
        text += strlen(pair->captions[i]) + 1;
        if (text > DT_PAIR_BYTES_MAX)
            return dt_fail(error, "more than %d bytes of captions", DT_PAIR_BYTES_MAX);
    }
    size_t extra = pair->extra ? strlen(pair->extra) + 1 : 0;
    if (extra > DT_PAIR_BYTES_MAX)
        return dt_fail(error, "more than %d bytes of extra", DT_PAIR_BYTES_MAX);
    if (extra && !check_extra(pair->extra, error))
        return false;
    *size = RECORD_HEADER + pair->jpeg_size + 4 * pair->caption_count + text + extra;
    return true;
}

void dt_pair_encode(const dt_pair_input *pair, void *record)
{
    uint8_t *ends = (uint8_t *)record + RECORD_HEADER + pair->jpeg_size;
    uint8_t *text = ends + 4 * pair->caption_count;
    size_t at = 0, extra = pair->extra ? strlen(pair->extra) + 1 : 0;
    uint32_t weight;
    memcpy(&weight, &pair->weight, sizeof weight);
    memcpy((uint8_t *)record + RECORD_HEADER, pair->jpeg, pair->jpeg_size);
    for (size_t i = 0; i < pair->caption_count; i++) {
        size_t size = strlen(pair->captions[i]) + 1;
        memcpy(text + at, pair->captions[i], size);
        at += size;
        store_word(ends, i, (uint32_t)at);
    }
    if (extra)
        memcpy(text + at, pair->extra, extra);
    store_word(record, WORD_VERSION, RECORD_VERSION);
    store_word(record, WORD_WIDTH, (uint32_t)pair->width);
    store_word(record, WORD_HEIGHT, (uint32_t)pair->height);
    store_word(record, WORD_JPEG, (uint32_t)pair->jpeg_size);
    store_word(record, WORD_LABEL, (uint32_t)pair->label);
    store_word(record, WORD_WEIGHT, weight);
    store_word(record, WORD_CAPTIONS, (uint32_t)pair->caption_count);
    store_word(record, WORD_CAPTION_BYTES, (uint32_t)at);
    store_word(record, WORD_EXTRA, (uint32_t)extra);
    store_word(record, WORD_RESERVED, 0);
}
