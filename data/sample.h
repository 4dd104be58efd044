/* One training sample, made from a pair as a pure function of (seed, epoch, position). */
#ifndef DUET_DATA_SAMPLE_H
#define DUET_DATA_SAMPLE_H

#include <stdbool.h>
#include <stdint.h>

#include "data/error.h"
#include "data/pairs.h"
#include "data/pixel_cache.h"
#include "data/tokenizer.h"
#include "data/transform.h"

/* Pictures that lie in files of their own, JPEG or PNG. */
typedef struct dt_image_files {
    const char *const *paths; /* [count] */
    const int32_t *labels;    /* [count]; -1: none */
    uint64_t count;
} dt_image_files;

/* What all samples of a run have in common; everything is borrowed. */
typedef struct dt_sample_maker {
    const dt_pairs *pairs;
    const dt_image_files *files; /* instead of pairs; tokenizer and cache are then NULL */
    const dt_tokenizer *tokenizer; /* NULL: no tokens */
    int context;
    const char *class_caption; /* see dt_loader_options */
    dt_transform transform;
    uint64_t seed;
    dt_pixel_cache *cache; /* NULL: none */
} dt_sample_maker;

/* Buffers of one thread. The caller frees; NULL is allowed. */
typedef struct dt_sample_scratch dt_sample_scratch;
dt_sample_scratch *dt_sample_scratch_new(dt_error *error);
void dt_sample_scratch_free(dt_sample_scratch *scratch);

/* Where a sample is written. */
typedef struct dt_sample {
    void *image;     /* [size, size, 3]: float, or uint8_t where transform.bytes */
    int32_t *tokens; /* [context], or NULL */
    int32_t *label;
} dt_sample;

/* Makes pair `index` into the sample at (epoch, position): draws one of its captions and the augmentation. */
bool dt_sample_make(const dt_sample_maker *maker, dt_sample_scratch *scratch, uint64_t index, uint64_t epoch,
                    uint64_t position, const dt_sample *out, dt_error *error);

#endif
