#include "eval/retrieval.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/cpu/onednn.h"

enum {
    BLOCK_SCORES = 4 << 20, /* floats of a block of similarities: 16 MiB */
    BLOCK_LEAST = 16,       /* queries of a block, however long the gallery */
};

const int dt_recall_at[DT_RECALLS] = {1, 5, 10};

/* Which items of the gallery belong to each query: own[start[q]] .. own[start[q + 1] - 1]. */
typedef struct owners {
    size_t *start;
    int32_t *own;
} owners;

static bool check(const float *images, size_t n, const float *captions, size_t m, size_t dim,
                  const int32_t *caption_image, dt_error *error);
static bool owners_of_images(owners *own, const int32_t *caption_image, size_t n, size_t m, dt_error *error);
static bool owners_of_captions(owners *own, const int32_t *caption_image, size_t m, dt_error *error);
static void owners_free(owners *own);
static bool find_ranks(const float *query, size_t queries, const float *gallery, size_t n, size_t dim,
                       const owners *own, int32_t *ranks, dt_error *error);
static bool summarise(const int32_t *ranks, size_t queries, size_t gallery, const owners *own,
                      dt_retrieval_way *way, dt_error *error);

bool dt_retrieval_run(const float *images, size_t n, const float *captions, size_t m, size_t dim,
                      const int32_t *caption_image, dt_retrieval *result, int32_t *image_ranks,
                      int32_t *caption_ranks, dt_error *error)
{
    if (!check(images, n, captions, m, dim, caption_image, error))
        return false;
    owners by_image = {0}, by_caption = {0};
    int32_t *of_images = malloc(n * sizeof *of_images), *of_captions = malloc(m * sizeof *of_captions);
    bool good = (of_images && of_captions) || dt_fail(error, "no memory for the ranks of %zu captions", m);
    good = good && owners_of_images(&by_image, caption_image, n, m, error) &&
           owners_of_captions(&by_caption, caption_image, m, error) &&
           find_ranks(images, n, captions, m, dim, &by_image, of_images, error) &&
           find_ranks(captions, m, images, n, dim, &by_caption, of_captions, error);
    if (good && image_ranks)
        memcpy(image_ranks, of_images, n * sizeof *image_ranks);
    if (good && caption_ranks)
        memcpy(caption_ranks, of_captions, m * sizeof *caption_ranks);
    good = good && summarise(of_images, n, m, &by_image, &result->image_to_text, error) &&
           summarise(of_captions, m, n, &by_caption, &result->text_to_image, error);
    owners_free(&by_image);
    owners_free(&by_caption);
    free(of_images);
    free(of_captions);
    return good;
}

static bool check_finite(const char *what, const float *rows, size_t n, size_t dim, dt_error *error)
{
    for (size_t i = 0; i < n * dim; i++)
        if (!isfinite(rows[i]))
            return dt_fail(error, "the embedding of %s %zu is not finite; the model has diverged", what,
                           i / dim);
    return true;
}

static bool check(const float *images, size_t n, const float *captions, size_t m, size_t dim,
                  const int32_t *caption_image, dt_error *error)
{
    if (!n || !m || !dim || n > INT32_MAX || m > INT32_MAX)
        return dt_fail(
            error, "cannot search %zu images and %zu captions of width %zu; expected at least one of each", n,
            m, dim);
    for (size_t t = 0; t < m; t++)
        if (caption_image[t] < 0 || (size_t)caption_image[t] >= n)
            return dt_fail(error, "caption %zu belongs to image %d; expected 0 to %zu", t, caption_image[t],
                           n - 1);
    return check_finite("image", images, n, dim, error) && check_finite("caption", captions, m, dim, error);
}

/* A counting sort of the captions by image. */
static bool owners_of_images(owners *own, const int32_t *caption_image, size_t n, size_t m, dt_error *error)
{
    own->start = calloc(n + 2, sizeof *own->start);
    own->own = malloc(m * sizeof *own->own);
    if (!own->start || !own->own)
        return dt_fail(error, "no memory to sort %zu captions", m);
    size_t *next = own->start + 1; /* while filling, next[q] is where query q's following item goes */
    for (size_t t = 0; t < m; t++)
        next[caption_image[t] + 1]++;
    for (size_t q = 0; q < n; q++)
        next[q + 1] += next[q];
    for (size_t t = 0; t < m; t++)
        own->own[next[caption_image[t]]++] = (int32_t)t;
    return true;
}

static bool owners_of_captions(owners *own, const int32_t *caption_image, size_t m, dt_error *error)
{
    own->start = malloc((m + 1) * sizeof *own->start);
    own->own = malloc(m * sizeof *own->own);
    if (!own->start || !own->own)
        return dt_fail(error, "no memory to sort %zu captions", m);
    for (size_t t = 0; t <= m; t++)
        own->start[t] = t;
    memcpy(own->own, caption_image, m * sizeof *own->own);
    return true;
}

static void owners_free(owners *own)
{
    free(own->start);
    free(own->own);
}

static size_t block_of(size_t queries, size_t gallery)
{
    size_t block = BLOCK_SCORES / gallery;
    if (block < BLOCK_LEAST)
        block = BLOCK_LEAST;
    return block < queries ? block : queries;
}

/* scores [part, n] = query [part, dim] x gallery [n, dim] transposed. */
static bool similarities(const float *query, size_t part, const float *gallery, size_t n, size_t dim,
                         float *scores, dt_error *error)
{
    return dt_sgemm(false, true, (int64_t)part, (int64_t)n, (int64_t)dim, 1, query, (int64_t)dim, gallery,
                    (int64_t)dim, 0, scores, (int64_t)n) ||
           dt_fail(error, "cannot multiply %zu embeddings of width %zu with %zu", part, dim, n);
}

static int32_t rank_of(const float *scores, size_t n, const int32_t *own, size_t count)
{
    float best = -INFINITY;
    size_t first = n; /* of its own items with the best score */
    for (size_t i = 0; i < count; i++) {
        size_t at = (size_t)own[i];
        if (scores[at] > best || (scores[at] == best && at < first)) {
            best = scores[at];
            first = at;
        }
    }
    int32_t before = 0;
    for (size_t i = 0; i < n; i++)
        before += scores[i] > best || (scores[i] == best && i < first);
    return count ? before + 1 : 0;
}

static bool find_ranks(const float *query, size_t queries, const float *gallery, size_t n, size_t dim,
                       const owners *own, int32_t *ranks, dt_error *error)
{
    size_t block = block_of(queries, n);
    float *scores = malloc(block * n * sizeof *scores);
    bool good = scores || dt_fail(error, "no memory for %zu x %zu similarities", block, n);
    for (size_t at = 0; good && at < queries; at += block) {
        size_t part = queries - at < block ? queries - at : block;
        good = similarities(query + at * dim, part, gallery, n, dim, scores, error);
        for (size_t i = 0; good && i < part; i++) {
            size_t first = own->start[at + i];
            ranks[at + i] = rank_of(scores + i * n, n, own->own + first, own->start[at + i + 1] - first);
        }
    }
    free(scores);
    return good;
}

/* How likely one of c items is among the first k of g in a random order. */
static double chance(size_t c, size_t g, size_t k)
{
    double missed = 1;
    for (size_t j = 0; j < k; j++)
        missed *= g - j > c && g > j ? (double)(g - c - j) / (double)(g - j) : 0;
    return 1 - missed;
}

static int by_value(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static bool summarise(const int32_t *ranks, size_t queries, size_t gallery, const owners *own,
                      dt_retrieval_way *way, dt_error *error)
{
    *way = (dt_retrieval_way){.gallery = gallery};
    int32_t *sorted = malloc(queries * sizeof *sorted);
    if (!sorted)
        return dt_fail(error, "no memory to sort %zu ranks", queries);
    size_t n = 0;
    double sum = 0;
    for (size_t q = 0; q < queries; q++) {
        if (!ranks[q])
            continue;
        sorted[n++] = ranks[q];
        sum += ranks[q];
        for (int i = 0; i < DT_RECALLS; i++) {
            way->recall[i] += ranks[q] <= dt_recall_at[i];
            way->recall_chance[i] +=
                chance(own->start[q + 1] - own->start[q], gallery, (size_t)dt_recall_at[i]);
        }
    }
    qsort(sorted, n, sizeof *sorted, by_value);
    way->queries = n; /* at least one: there is a caption, and it has an image */
    for (int i = 0; i < DT_RECALLS; i++) {
        way->recall[i] /= (double)n;
        way->recall_chance[i] /= (double)n;
    }
    way->mean_rank = sum / (double)n;
    way->median_rank = ((double)sorted[(n - 1) / 2] + sorted[n / 2]) / 2;
    free(sorted);
    return true;
}

/* Puts an item in its place among the best k so far, of which there are `count`. */
static void keep(int32_t *indices, float *scores, size_t count, size_t k, int32_t index, float score)
{
    if (count == k && !(score > scores[k - 1]))
        return;
    size_t i = count == k ? k - 1 : count;
    for (; i && score > scores[i - 1]; i--) {
        indices[i] = indices[i - 1];
        scores[i] = scores[i - 1];
    }
    indices[i] = index;
    scores[i] = score;
}

bool dt_retrieval_search(const float *query, size_t queries, const float *gallery, size_t n, size_t dim,
                         size_t k, int32_t *indices, float *scores, dt_error *error)
{
    if (!queries || !n || !dim || !k || k > n || n > INT32_MAX)
        return dt_fail(error, "cannot find the best %zu of %zu for %zu queries", k, n, queries);
    if (!check_finite("query", query, queries, dim, error) || !check_finite("item", gallery, n, dim, error))
        return false;
    size_t block = block_of(queries, n);
    float *all = malloc(block * n * sizeof *all);
    bool good = all || dt_fail(error, "no memory for %zu x %zu similarities", block, n);
    for (size_t at = 0; good && at < queries; at += block) {
        size_t part = queries - at < block ? queries - at : block;
        good = similarities(query + at * dim, part, gallery, n, dim, all, error);
        for (size_t q = 0; good && q < part; q++)
            for (size_t i = 0; i < n; i++)
                keep(indices + (at + q) * k, scores + (at + q) * k, i < k ? i : k, k, (int32_t)i,
                     all[q * n + i]);
    }
    free(all);
    return good;
}
