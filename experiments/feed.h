/* Batches of labelled samples for training a classifier: images through the loader, texts from a table of tokens. What a batch
 * holds is a pure function of (seed, epoch, number). */
#ifndef DUET_EXPERIMENTS_FEED_H
#define DUET_EXPERIMENTS_FEED_H

#include "data/transform.h"
#include "experiments/examples.h"

typedef struct dt_feed dt_feed;

typedef struct dt_feed_options { /* everything is borrowed; examples outlive the feed */
    const dt_examples *examples;
    const size_t *rows; /* [row_count]: which samples */
    size_t row_count;
    const dt_model *model;  /* context length and tokenizer, for texts */
    dt_transform transform; /* for images */
    int batch_size;         /* at most row_count; what an epoch leaves over is left out */
    uint64_t seed, batch;   /* the first batch, counted through all epochs */
    int threads;
    size_t cache_bytes;
} dt_feed_options;

dt_feed *dt_feed_open(const dt_feed_options *options, dt_error *error);
void dt_feed_close(dt_feed *feed); /* NULL is allowed */
uint64_t dt_feed_batches(const dt_feed *feed); /* in an epoch */

/* The next batch, borrowed until the next call: images float32 [batch, size, size, 3] or tokens int32 [batch, context], and
 * labels int32 [batch] by the numbers in force (dt_examples_classes). */
bool dt_feed_next(dt_feed *feed, const void **samples, const int32_t **labels, dt_error *error);

double dt_feed_waited(dt_feed *feed); /* seconds, since the opening */

#endif
