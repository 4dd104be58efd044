/* Made-up pairs, which are told from their number, and stores of them. */
#ifndef DUET_TESTS_MADE_PAIRS_H
#define DUET_TESTS_MADE_PAIRS_H

#include "data/pairs.h"
#include "tests/tap.h"

static dt_error error;

/* The store looks at the first two bytes of an image only; what lies behind them is told from i. */
static inline uint8_t *make_jpeg(size_t i, size_t size)
{
    uint8_t *bytes = malloc(size);
    for (size_t k = 0; k < size; k++)
        bytes[k] = (uint8_t)(i * 31 + k * 7 + (k >> 8));
    bytes[0] = 0xff;
    bytes[1] = 0xd8;
    return bytes;
}

static inline size_t jpeg_size(size_t i)
{
    return i == 3 ? 300001 : 40 + i * 13;
}

static const char *const words[] = {"ein Käse", "日本語 🧀", "x"};

static inline bool add(dt_pairs_writer *writer, size_t i, int32_t label)
{
    uint8_t *jpeg = make_jpeg(i, jpeg_size(i));
    dt_pair_input pair = {.jpeg = jpeg,
                          .jpeg_size = jpeg_size(i),
                          .width = (int)i + 1,
                          .height = 65500,
                          .label = label,
                          .weight = i == 1 ? 0.25f : 1,
                          .captions = words,
                          .caption_count = i % 4,
                          .extra = i == 2 ? "{\"role\": \"farmer\"}" : NULL};
    bool good = dt_pairs_add(writer, &pair, &error);
    free(jpeg);
    return good;
}

static const char *const cat_dog[] = {"cat", "dog"};

/* `count` pairs, with labels 0, 1, -1, 0, ... when there are classes. */
static inline bool write_store(const char *path, size_t count, const char *const *classes, size_t class_count)
{
    dt_pairs_writer *writer = dt_pairs_create(path, true, &error);
    const char *source = "made up";
    for (size_t i = 0; i < count && writer; i++)
        if (!add(writer, i, class_count ? (int32_t)(i % 3) < 2 ? (int32_t)(i % 3) : -1 : -1))
            return false;
    return writer && dt_pairs_finish(writer, classes, class_count, &source, 1, NULL, &error);
}

static inline bool same_pair(const dt_pairs *pairs, uint64_t index, size_t i, int32_t label)
{
    dt_pair pair;
    if (!dt_pairs_get(pairs, index, &pair, &error)) {
        printf("# %s\n", error.message);
        return false;
    }
    uint8_t *jpeg = make_jpeg(i, jpeg_size(i));
    bool good = pair.jpeg_size == jpeg_size(i) && !memcmp(pair.jpeg, jpeg, pair.jpeg_size) && pair.width == (int)i + 1 &&
                pair.height == 65500 && pair.label == label && pair.weight == (i == 1 ? 0.25f : 1) &&
                pair.caption_count == i % 4 && !pair.extra == (i != 2) &&
                (i != 2 || !strcmp(pair.extra, "{\"role\": \"farmer\"}"));
    for (size_t c = 0; c < pair.caption_count; c++) {
        size_t size;
        const char *text = dt_pair_caption(&pair, c, &size);
        good = good && !strcmp(text, words[c]) && size == strlen(words[c]);
    }
    free(jpeg);
    return good;
}

static inline bool refuses(const char *path, const char *text)
{
    dt_pairs *pairs = dt_pairs_open(path, &error);
    dt_pairs_close(pairs);
    if (pairs)
        printf("# %s was opened\n", path);
    return !pairs && says(error.message, text);
}

#endif
