/* Packs a source into a store in the scratch folder, and tells what came of it. */
#ifndef DUET_TESTS_PACKING_H
#define DUET_TESTS_PACKING_H

#include "data/jpeg.h"
#include "data/pack.h"
#include "data/pairs.h"
#include "data/source.h"
#include "tests/tap.h"

static dt_error error; /* of the last call that failed */

/* A picture whose colour tells its number. */
static inline size_t make_jpeg(int number, int width, int height, uint8_t **bytes)
{
    dt_image image = {0};
    size_t size = 0;
    dt_image_reserve(&image, width, height, 3, NULL);
    for (size_t i = 0; i < image.stride * (size_t)height; i++)
        image.pixels[i] = (uint8_t)(number * 20 + (int)(i % 64));
    dt_jpeg_encode(&image, 90, false, bytes, &size, NULL);
    dt_image_free(&image);
    return size;
}

static inline void put_jpeg(const char *name, int number)
{
    uint8_t *bytes;
    size_t size = make_jpeg(number, 8 + number, 9, &bytes);
    put(name, bytes, size);
    free(bytes);
}

struct outcome {
    char skipped[8192];
    dt_pack_summary summary;
    dt_pairs *pairs;
};

static inline void note(void *context, const char *name, const char *reason)
{
    struct outcome *outcome = context;
    size_t n = strlen(outcome->skipped);
    snprintf(outcome->skipped + n, sizeof outcome->skipped - n, "%s: %s\n", name, reason);
}

static const dt_pack_options plain;

/* Packs into out.lmdb and opens that. */
static inline bool pack(struct outcome *outcome, const char *from, const char *const *paths, size_t count,
                        const dt_source_options *source_options, dt_pack_options options)
{
    memset(outcome, 0, sizeof *outcome);
    error.message[0] = 0;
    options.skipped = note;
    options.context = outcome;
    options.replace = true;
    dt_source *source = dt_source_open(from, paths, count, source_options, &error);
    bool good = source && dt_pack(source, in("out.lmdb"), paths, count, &options, &outcome->summary, &error);
    if (source)
        source->close(source);
    if (good)
        outcome->pairs = dt_pairs_open(in("out.lmdb"), &error);
    return outcome->pairs != NULL;
}

/* "WIDTHxHEIGHT LABEL WEIGHT caption|caption extra" */
static inline bool pair_is(const struct outcome *outcome, uint64_t index, const char *want)
{
    dt_pair pair;
    char got[2048];
    if (!outcome->pairs || !dt_pairs_get(outcome->pairs, index, &pair, &error)) {
        printf("# %s\n", error.message);
        return false;
    }
    int n = snprintf(got, sizeof got, "%dx%d %d %g ", pair.width, pair.height, pair.label, (double)pair.weight);
    for (size_t i = 0; i < pair.caption_count; i++)
        n += snprintf(got + n, sizeof got - (size_t)n, "%s%s", i ? "|" : "", dt_pair_caption(&pair, i, NULL));
    snprintf(got + n, sizeof got - (size_t)n, "%s%s", pair.extra ? " " : "", pair.extra ? pair.extra : "");
    if (strcmp(got, want))
        printf("# got '%s', want '%s'\n", got, want);
    return !strcmp(got, want);
}

/* That an item was left out, and the reason. */
static inline bool skipped(const struct outcome *outcome, const char *text)
{
    bool found = strstr(outcome->skipped, text) != NULL;
    if (!found)
        printf("# sought '%s' in '%s'\n", text, outcome->skipped);
    return found;
}

static inline bool counts(const struct outcome *outcome, uint64_t packed, uint64_t left_out)
{
    const dt_pack_summary *s = &outcome->summary;
    bool good = outcome->pairs && s->packed == packed && s->skipped == left_out;
    if (!good)
        printf("# %llu packed, %llu left out: %s\n", (unsigned long long)s->packed, (unsigned long long)s->skipped,
               outcome->pairs ? outcome->skipped : error.message);
    return good;
}

#endif
