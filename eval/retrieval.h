/* Finding captions for images and images for captions, among all of a set, by the inner product of their
 * embeddings.
 *
 * A query's rank is the place of the best item that belongs to it when all are sorted by similarity, of equal
 * ones the item of the lower number first, so that equal captions of several images count as found by chance
 * only. R@k is the share of queries with a rank of at most k (Karpathy and Fei-Fei, "Deep visual-semantic
 * alignments", CVPR 2015). The median of an even number is the mean of the two in the middle.
 *
 * Every similarity is computed once for both directions (those near a caption's own image twice, so that
 * captions in the order of their images cost little). Beyond the embeddings, 2 MiB a thread, 24 bytes an image and 16 a
 * caption stand in memory; then, of one direction at a time, 4 bytes a query for the median, and for intervals 4 more and
 * 4 a thread. Ranks do not depend on the number of threads. */
#ifndef DUET_EVAL_RETRIEVAL_H
#define DUET_EVAL_RETRIEVAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"
#include "eval/bootstrap.h"

enum { DT_RECALLS = 3 };
extern const int dt_recall_at[DT_RECALLS]; /* 1, 5, 10 */

/* One direction. The chance levels are those of a random order, exactly: for a query with c items of its own
 * among g, 1 - C(g - c, k) / C(g, k), which is k / g for one. */
typedef struct dt_retrieval_way {
    size_t queries, gallery; /* asked; searched */
    double recall[DT_RECALLS], recall_chance[DT_RECALLS];
    dt_bounds recall_bounds[DT_RECALLS]; /* 95 % bootstrap intervals over the queries; NaN: not asked for */
    double median_rank, mean_rank;
} dt_retrieval_way;

typedef struct dt_retrieval {
    dt_retrieval_way image_to_text; /* queries: the images that have captions */
    dt_retrieval_way text_to_image; /* queries: all captions; searched: all images, also those without captions */
} dt_retrieval;

/* images [n, dim], captions [m, dim]; caption_image [m] says whose each caption is, in any order, an image
 * having any number of them. The `intervals` of the recalls, a thousand draws, are made where they are wanted.
 * image_ranks [n] (0: no captions) and caption_ranks [m] get the ranks; either may be NULL. Refused: n or m zero or
 * beyond INT32_MAX, an owner out of range, an embedding that is not finite. */
bool dt_retrieval_run(const float *images, size_t n, const float *captions, size_t m, size_t dim,
                      const int32_t *caption_image, bool intervals, dt_retrieval *result, int32_t *image_ranks,
                      int32_t *caption_ranks, dt_error *error);

#endif
