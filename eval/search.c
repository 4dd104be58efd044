#include "eval/search.h"

#include <math.h>
#include <stdlib.h>

#include "eval/rows.h"
#include "kernels/cpu/onednn.h"

enum {
    QUERIES_MOST = 1024,   /* at a time */
    ITEMS_MOST = 1 << 16,  /* of the gallery at a time: one query's scores stay in the cache */
    SCORES_MOST = 4 << 20, /* queries times items at a time */
};

/* The best k so far of one query, of which there are `count`: a binary heap with the worst on top. */
typedef struct heap {
    int32_t *indices;
    float *scores;
    size_t count;
} heap;

static bool search_blocks(const float *query, size_t queries, const float *gallery, size_t n, size_t dim,
                          size_t k, int32_t *indices, float *scores, size_t items, dt_error *error);

/* Items of a block, a multiple of DT_ROWS_EVEN: all blocks have that many, the last one some of the one
 * before. */
static size_t block_of(size_t n, size_t queries)
{
    size_t most = SCORES_MOST / queries < ITEMS_MOST ? SCORES_MOST / queries : ITEMS_MOST;
    size_t blocks = (n + most - 1) / most, items = dt_rows_even((n + blocks - 1) / blocks);
    return items <= n ? items : dt_rows_even((n + 1) / 2);
}

bool dt_search(const float *query, size_t queries, const float *gallery, size_t n, size_t dim, size_t k,
               int32_t *indices, float *scores, dt_error *error)
{
    if (!queries || !n || !dim || !k || k > n || n > INT32_MAX)
        return dt_fail(error, "cannot find the best %zu of %zu for %zu queries", k, n, queries);
    if (!dt_rows_check("query", query, queries, dim, error))
        return false;
    size_t items = block_of(n, queries < QUERIES_MOST ? queries : QUERIES_MOST);
    float *padded = items > n ? dt_rows_padded(gallery, n, items, dim) : NULL;
    bool good =
        items <= n || padded || dt_fail(error, "no memory for %zu embeddings of width %zu", items, dim);
    good = good &&
           search_blocks(query, queries, padded ? padded : gallery, n, dim, k, indices, scores, items, error);
    free(padded);
    return good;
}

/* Whether item a comes after item b: the later of equals is the worse. */
static bool worse(float score_a, int32_t a, float score_b, int32_t b)
{
    return score_a < score_b || (score_a == score_b && a > b);
}

/* Puts an item at the place of the heap's entry `at`, or further down. */
static void sift_down(heap *h, size_t at, int32_t index, float score)
{
    for (size_t child; (child = 2 * at + 1) < h->count; at = child) {
        if (child + 1 < h->count &&
            worse(h->scores[child + 1], h->indices[child + 1], h->scores[child], h->indices[child]))
            child++;
        if (!worse(h->scores[child], h->indices[child], score, index))
            break;
        h->indices[at] = h->indices[child];
        h->scores[at] = h->scores[child];
    }
    h->indices[at] = index;
    h->scores[at] = score;
}

static void push(heap *h, int32_t index, float score)
{
    size_t at = h->count++;
    while (at) {
        size_t parent = (at - 1) / 2;
        if (!worse(score, index, h->scores[parent], h->indices[parent]))
            break;
        h->indices[at] = h->indices[parent];
        h->scores[at] = h->scores[parent];
        at = parent;
    }
    h->indices[at] = index;
    h->scores[at] = score;
}

/* Takes the worst off the top again and again, and puts it behind what is left. */
static void sort_heap(heap *h)
{
    while (h->count > 1) {
        size_t last = --h->count;
        int32_t index = h->indices[last];
        float score = h->scores[last];
        h->indices[last] = h->indices[0];
        h->scores[last] = h->scores[0];
        sift_down(h, 0, index, score);
    }
}

/* Items first .. first + count - 1. False: a score is not finite. */
static bool keep_best(heap *h, size_t k, const float *scores, size_t first, size_t count)
{
    int odd = 0;
    for (size_t i = 0; i < count; i++)
        odd |= !(fabsf(scores[i]) < INFINITY);
    if (odd)
        return false;
    size_t i = 0;
    for (; i < count && h->count < k; i++)
        push(h, (int32_t)(first + i), scores[i]);
    for (; i < count; i++)
        if (scores[i] > h->scores[0]) /* a later item of equal score stays out */
            sift_down(h, 0, (int32_t)(first + i), scores[i]);
    return true;
}

/* The best of all the gallery for a part of the queries. */
static bool search_part(const float *query, size_t part, const float *gallery, size_t n, size_t dim, size_t k,
                        int32_t *indices, float *scores, float *room, size_t items, dt_error *error)
{
    bool finite = true;
    for (size_t at = 0; finite && at < n; at += items) {
        size_t end = n - at < items ? n : at + items, first = end > items ? end - items : 0;
        if (!dt_sgemm(false, true, (int64_t)part, (int64_t)items, (int64_t)dim, 1, query, (int64_t)dim,
                      gallery + first * dim, (int64_t)dim, 0, room, (int64_t)items))
            return dt_fail(error, "cannot multiply %zu queries of width %zu with %zu items", part, dim,
                           items);
#pragma omp parallel for if (part > 1) reduction(&& : finite)
        for (size_t q = 0; q < part; q++) {
            heap h = {indices + q * k, scores + q * k, at < k ? at : k};
            finite = finite && keep_best(&h, k, room + q * items + (at - first), at, end - at);
        }
    }
    if (!finite)
        return dt_rows_check("item", gallery, n, dim, error) &&
               dt_fail(error, "similarities beyond all numbers");
    for (size_t q = 0; q < part; q++)
        sort_heap(&(heap){indices + q * k, scores + q * k, k});
    return true;
}

static bool search_blocks(const float *query, size_t queries, const float *gallery, size_t n, size_t dim,
                          size_t k, int32_t *indices, float *scores, size_t items, dt_error *error)
{
    size_t most = queries < QUERIES_MOST ? queries : QUERIES_MOST;
    float *room = malloc(most * items * sizeof *room);
    bool good = room || dt_fail(error, "no memory for %zu x %zu similarities", most, items);
    for (size_t at = 0; good && at < queries; at += most) {
        size_t part = queries - at < most ? queries - at : most;
        good = search_part(query + at * dim, part, gallery, n, dim, k, indices + at * k, scores + at * k,
                           room, items, error);
    }
    free(room);
    return good;
}
