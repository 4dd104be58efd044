/* Feeds the trainer: batches of images and tokens, made ahead of time by worker threads.
 *
 * What a batch holds is a pure function of the options, its epoch and its number: order, caption (one of
 * several, drawn anew each epoch) and augmentation come from (seed, epoch, position) and never from the
 * number of threads, from what the cache holds, or from where the run started. To resume, open with the epoch
 * and batch that come next.
 *
 *     dt_batch batch;
 *     while (dt_loader_next(loader, &batch, &error) && batch.count)
 *         train(batch.images, batch.tokens);
 *
 * With transform.bytes a batch has pixels in place of images: the same but for the normalisation, in a quarter of the
 * memory.
 */
#ifndef DUET_DATA_LOADER_H
#define DUET_DATA_LOADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"
#include "data/pairs.h"
#include "data/sample.h"
#include "data/tokenizer.h"
#include "data/transform.h"

typedef struct dt_loader dt_loader;

typedef struct dt_loader_options {
    const dt_pairs *pairs;         /* borrowed, as all that follows; outlives the loader */
    const dt_image_files *files;   /* instead of pairs: images that lie in files of their own, without captions */
    const uint64_t *rows;          /* [row_count]: only these pairs; NULL: all. "Order of index" is then their order */
    uint64_t row_count;
    const dt_tokenizer *tokenizer; /* borrowed; NULL: no tokens */
    int context;                   /* tokens a caption */
    const char *class_caption; /* the caption of a pair that has a class but no caption, "{}" standing for the
                                  class name: "a photo of a {}."; NULL: such a pair is an error. Borrowed */
    dt_transform transform;

    int batch_size;
    bool drop_last; /* leave out an epoch's last batch when it is not full */
    bool shuffle;   /* every epoch in a random order of its own; false: in order of index */
    bool weighted;  /* draw with replacement in proportion to the pairs' weights; an epoch is still as many
                       samples as there are pairs. Without effect when all weights are equal */
    uint64_t seed;
    uint64_t epoch, batch; /* where to start; a batch number beyond the epoch counts on into the next ones */
    uint64_t epochs;       /* ends before this epoch; 0: endless */

    int threads;        /* workers; 0: dt_loader_next does the work */
    int depth;          /* batches in memory, the caller's one included; 0: 3 */
    size_t cache_bytes; /* of pairs: keep decoded pictures up to this much memory; 0: none. With a cache, random modes
                           decode pictures whose short side is over four times the output's at 1/2, 1/4 or
                           1/8, kept or not, unless transform.full_decode; all others are decoded in full */
    void *(*allocate)(size_t bytes); /* for what batches hold, such as memory from which a device copies; its result is aligned
                                        for float, or NULL: none left. NULL: malloc */
    void (*release)(void *memory);   /* NULL exactly where allocate is */
} dt_loader_options;

/* A batch, borrowed until the next call. Rows from `count` on, in an epoch's last batch, are zero, with label
 * -1, so that a computation of fixed shape can take them. */
typedef struct dt_batch {
    int count;               /* samples; 0: the end */
    uint64_t epoch, number;  /* number of the batch within the epoch */
    const float *images;     /* [batch_size, size, size, 3]; NULL: as pixels */
    const uint8_t *pixels;   /* [batch_size, size, size, 3], with transform.bytes; else NULL */
    const int32_t *tokens;   /* [batch_size, context]; NULL without a tokenizer */
    const int32_t *labels;   /* [batch_size]; -1: none */
    const uint64_t *indices; /* [batch_size]: which pair */
} dt_batch;

dt_loader *dt_loader_open(const dt_loader_options *options, dt_error *error);

/* The next batch; waits for it if need be. A sample that cannot be made stops the loader at its batch, in the
 * same place whatever the threads do, with its index and the reason; each later call fails the same way. */
bool dt_loader_next(dt_loader *loader, dt_batch *batch, dt_error *error);

/* Stops the workers, wherever they are, and frees all batches. NULL is allowed. */
void dt_loader_close(dt_loader *loader);

uint64_t dt_loader_batches(const dt_loader *loader); /* in an epoch */

typedef struct dt_loader_stats {
    double waited;  /* seconds that dt_loader_next spent waiting (threads 0: working) since the opening */
    double working; /* seconds that all workers together spent making samples */
    uint64_t samples;
    size_t cached; /* bytes */
} dt_loader_stats;

dt_loader_stats dt_loader_get_stats(dt_loader *loader);

#endif
