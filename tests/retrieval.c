/* Ranks, their figures, and searching. `retrieval bench [IMAGES CAPTIONS WIDTH]` measures instead. */
#include "eval/retrieval.h"

#include <sys/resource.h>

#include "data/clock.h"
#include "data/json.h"
#include "data/safetensors.h"
#include "data/shuffle.h"
#include "eval/search.h"
#include "tests/tap.h"

static dt_error error;

static bool figures_agree(const json_t *want, const dt_retrieval_way *way, const char *name)
{
    const struct {
        const char *key;
        double got;
    } figures[] = {{"R@1", way->recall[0]},
                   {"R@5", way->recall[1]},
                   {"R@10", way->recall[2]},
                   {"median_rank", way->median_rank},
                   {"mean_rank", way->mean_rank}};
    bool good = true;
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        const json_t *value = json_object_get(json_object_get(want, name), figures[i].key);
        good &= ok(value && fabs(figures[i].got - json_number_value(value)) < 1e-12, "golden %s %s: %g", name,
                   figures[i].key, figures[i].got);
    }
    return good;
}

/* The similarities themselves are what one-hot images and their columns as captions give. */
static void golden_figures(void)
{
    const char *path = golden("retrieval/similarity.safetensors"),
               *expected = golden("retrieval/expected.json");
    dt_safetensors *file = path && expected ? dt_safetensors_open(path, &error) : NULL;
    json_t *want = file ? dt_json_load(expected, &error) : NULL;
    if (!want) {
        skip("golden retrieval", "retrieval fixtures are not there");
        return;
    }
    const dt_st_tensor *similarity = dt_safetensors_need(file, "similarity", &error);
    size_t n = (size_t)similarity->shape[0], m = (size_t)similarity->shape[1];
    float *values = malloc(n * m * sizeof *values), *texts = malloc(n * m * sizeof *texts);
    float *images = calloc(n * n, sizeof *images);
    int32_t *owner = malloc(m * sizeof *owner), *want_ranks = malloc((n + m) * sizeof *want_ranks),
            *ranks = malloc((n + m) * sizeof *ranks);
    dt_st_to_float(similarity, values, &error);
    for (size_t i = 0; i < n; i++) {
        images[i * n + i] = 1;
        for (size_t t = 0; t < m; t++)
            texts[t * n + i] = values[i * m + t];
    }
    dt_st_to_int32(dt_safetensors_need(file, "caption_image", &error), owner, &error);
    dt_st_to_int32(dt_safetensors_need(file, "rank_image_to_text", &error), want_ranks, &error);
    dt_st_to_int32(dt_safetensors_need(file, "rank_text_to_image", &error), want_ranks + n, &error);
    dt_retrieval result;
    ok(dt_retrieval_run(images, n, texts, m, n, owner, false, &result, ranks, ranks + n, &error), "golden runs");
    ok(!memcmp(ranks, want_ranks, n * sizeof *ranks), "golden ranks of images");
    ok(!memcmp(ranks + n, want_ranks + n, m * sizeof *ranks), "golden ranks of captions");
    figures_agree(want, &result.image_to_text, "image_to_text");
    figures_agree(want, &result.text_to_image, "text_to_image");
    free(values);
    free(texts);
    free(images);
    free(owner);
    free(want_ranks);
    free(ranks);
    json_decref(want);
    dt_safetensors_close(file);
}

static float number(uint64_t a, uint64_t b, uint64_t c)
{
    return (float)(dt_hash64(a, b, c) % 4096) / 2048.0f - 1;
}

/* The ranks from their definition, on numbers whose products and sums are exact in float32. */
static bool plain_ranks(const float *images, size_t n, const float *texts, size_t m, size_t dim,
                        const int32_t *owner, const int32_t *image_ranks, const int32_t *caption_ranks)
{
    double *s = calloc(n * m, sizeof *s);
    for (size_t i = 0; i < n; i++)
        for (size_t t = 0; t < m; t++)
            for (size_t d = 0; d < dim; d++)
                s[i * m + t] += (double)images[i * dim + d] * (double)texts[t * dim + d];
    bool same = true;
    for (size_t i = 0; i < n; i++) {
        double best = -INFINITY;
        size_t first = m;
        int32_t rank = 1, own = 0;
        for (size_t t = 0; t < m; t++)
            if (owner[t] == (int32_t)i && (own++ == 0 || s[i * m + t] > best))
                best = s[i * m + t], first = t;
        for (size_t t = 0; t < m; t++)
            rank += s[i * m + t] > best || (s[i * m + t] == best && t < first);
        same &= image_ranks[i] == (own ? rank : 0);
    }
    for (size_t t = 0; t < m; t++) {
        int32_t rank = 1;
        for (size_t i = 0; i < n; i++)
            rank += s[i * m + t] > s[(size_t)owner[t] * m + t] ||
                    (s[i * m + t] == s[(size_t)owner[t] * m + t] && i < (size_t)owner[t]);
        same &= caption_ranks[t] == rank;
    }
    free(s);
    return same;
}

/* Sizes beyond one block (16 MiB of similarities), images without captions, owners in no order. */
static void against_definition(size_t n, size_t m, size_t dim, size_t owners)
{
    float *images = malloc(n * dim * sizeof *images), *texts = malloc(m * dim * sizeof *texts);
    int32_t *owner = malloc(m * sizeof *owner), *of_images = malloc(n * sizeof *of_images),
            *of_captions = malloc(m * sizeof *of_captions);
    for (size_t i = 0; i < n * dim; i++)
        images[i] = number(1, i, n);
    for (size_t i = 0; i < m * dim; i++)
        texts[i] = number(2, i, m);
    for (size_t t = 0; t < m; t++)
        owner[t] = (int32_t)(dt_hash64(3, t, m) % owners);
    dt_retrieval result;
    ok(dt_retrieval_run(images, n, texts, m, dim, owner, false, &result, of_images, of_captions, &error) &&
           plain_ranks(images, n, texts, m, dim, owner, of_images, of_captions),
       "%zu images, %zu captions of width %zu", n, m, dim);
    ok(result.text_to_image.queries == m && result.text_to_image.gallery == n &&
           result.image_to_text.gallery == m && result.image_to_text.queries <= (owners < n ? owners : n),
       "counts of %zu images, %zu captions", n, m);
    free(images);
    free(texts);
    free(owner);
    free(of_images);
    free(of_captions);
}

static void ties_and_chance(void)
{
    /* Both images equal, and three captions of which two are the first image's. */
    const float images[] = {1, 0, 1, 0}, texts[] = {1, 0, 0, 1, 1, 0};
    const int32_t owner[] = {0, 0, 1};
    dt_retrieval r;
    ok(dt_retrieval_run(images, 2, texts, 3, 2, owner, false, &r, NULL, NULL, &error), "ties run");
    ok(r.image_to_text.recall[0] == 0.5 && fabs(r.text_to_image.recall[0] - 2.0 / 3) < 1e-12 &&
           r.image_to_text.mean_rank == 1.5,
       "of equals the first comes first: what tells nothing apart is right by chance");
    ok(fabs(r.image_to_text.recall_chance[0] - 0.5) < 1e-12, "chance: the mean of 2/3 and 1/3");
    ok(r.image_to_text.recall_chance[1] == 1 && r.text_to_image.recall_chance[2] == 1,
       "chance beyond the gallery");
    ok(r.text_to_image.recall_chance[0] == 0.5, "chance of one among two");
    /* C(4 - 2, 1) / C(4, 1) for two own captions of four; the second image has none. */
    const float four[] = {1, 0, 1, 0, 1, 0, 1, 0};
    const int32_t first[] = {0, 0, 2, 2};
    const float three[] = {1, 0, 0, 1, 1, 1};
    ok(dt_retrieval_run(three, 3, four, 4, 2, first, false, &r, NULL, NULL, &error) &&
           r.image_to_text.queries == 2 && r.text_to_image.gallery == 3 &&
           fabs(r.image_to_text.recall_chance[0] - 0.5) < 1e-12,
       "an image without captions is searched, not asked");
}

/* Of ten queries each way some are found first; the intervals are there where they are asked for. */
static void bounds(void)
{
    enum { N = 10, WIDTH = 3 };
    float images[N * WIDTH], captions[N * WIDTH];
    int32_t owner[N];
    for (int i = 0; i < N * WIDTH; i++)
        images[i] = number(4, (uint64_t)i, 0), captions[i] = images[i] + 0.7f * number(5, (uint64_t)i, 0);
    for (int i = 0; i < N; i++)
        owner[i] = i;
    dt_retrieval with, without;
    ok(dt_retrieval_run(images, N, captions, N, WIDTH, owner, true, &with, NULL, NULL, &error) &&
           dt_retrieval_run(images, N, captions, N, WIDTH, owner, false, &without, NULL, NULL, &error),
       "with intervals and without");
    const dt_retrieval_way *a[] = {&with.image_to_text, &with.text_to_image},
                           *b[] = {&without.image_to_text, &without.text_to_image};
    for (int way = 0; way < 2; way++) {
        bool around = true, none = true;
        for (int k = 0; k < DT_RECALLS; k++) {
            around &= a[way]->recall_bounds[k].low <= a[way]->recall[k] && a[way]->recall[k] <= a[way]->recall_bounds[k].high;
            none &= isnan(b[way]->recall_bounds[k].low) && isnan(b[way]->recall_bounds[k].high) &&
                    a[way]->recall[k] == b[way]->recall[k];
        }
        ok(around && a[way]->recall_bounds[0].low < a[way]->recall_bounds[0].high && a[way]->recall_bounds[2].low == 1,
           "intervals around the recalls");
        ok(none, "none that nobody asked for");
    }
}

/* Numbers whose products are rounded. */
static float *rough(uint64_t seed, size_t n, size_t dim)
{
    float *rows = malloc(n * dim * sizeof *rows);
    for (size_t i = 0; i < n * dim; i++)
        rows[i] = (float)(dt_hash64(seed, i, 0) >> 40) * 0x1p-23f - 1;
    return rows;
}

/* Equal embeddings are told apart by nothing but their order, wherever they stand: of m equal captions the
 * one of image i is the i-th; and of n equal images too. */
static void equals(size_t n, size_t dim)
{
    float *images = rough(1, n, dim), *captions = rough(2, n, dim);
    int32_t *owner = malloc(n * sizeof *owner), *ranks = malloc(2 * n * sizeof *ranks);
    for (size_t i = 0; i < n; i++) {
        owner[i] = (int32_t)i;
        memcpy(captions + i * dim, captions, dim * sizeof *captions);
    }
    dt_retrieval r;
    bool in_order = dt_retrieval_run(images, n, captions, n, dim, owner, false, &r, ranks, NULL, &error);
    bool other_way = dt_retrieval_run(captions, n, images, n, dim, owner, false, &r, NULL, ranks + n, &error);
    for (size_t i = 0; i < n; i++) {
        in_order &= ranks[i] == (int32_t)i + 1;
        other_way &= ranks[n + i] == (int32_t)i + 1;
    }
    ok(in_order, "%zu equal captions of width %zu", n, dim);
    ok(other_way, "%zu equal images of width %zu", n, dim);
    float *scores = malloc(n * sizeof *scores);
    bool sorted = dt_search(images, 1, captions, n, dim, n, ranks, scores, &error);
    for (size_t i = 0; i < n; i++)
        sorted &= ranks[i] == (int32_t)i && scores[i] == scores[0];
    ok(sorted, "a search of %zu equal items of width %zu", n, dim);
    free(images);
    free(captions);
    free(owner);
    free(ranks);
    free(scores);
}

static void search(void)
{
    const float gallery[] = {0, 1, 1, 0, 0.5f, 0.5f, 1, 0, -1, 0}, query[] = {1, 0, 0, 2};
    int32_t found[10];
    float scores[10];
    const int32_t want[] = {1, 3, 2, 0, 4, 0, 2, 1, 3, 4}; /* of equals the first one comes first */
    ok(dt_search(query, 2, gallery, 5, 2, 5, found, scores, &error) && !memcmp(found, want, sizeof want),
       "search, all of them");
    ok(scores[0] == 1 && scores[4] == -1 && scores[5] == 2, "scores of a search");
    ok(dt_search(query, 2, gallery, 5, 2, 2, found, scores, &error) && found[0] == 1 && found[1] == 3 &&
           found[2] == 0 && found[3] == 2,
       "search, the best two");
    ok(!dt_search(query, 2, gallery, 5, 2, 6, found, scores, &error) && strstr(error.message, "best 6 of 5"),
       "more than there are");
    ok(!dt_search(query, 2, gallery, 5, 2, 0, found, scores, &error) && says(error.message, "the best 0 of 5"), "none asked for");
}

typedef struct scored {
    int32_t index;
    float score;
} scored;

static int by_score(const void *a, const void *b)
{
    const scored *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score) - (x->score > y->score)
                                : (x->index > y->index) - (x->index < y->index);
}

/* Every query's list against a sort of all, on numbers whose products and sums are exact. */
static void search_against_sort(size_t queries, size_t n, size_t dim, size_t k)
{
    float *query = malloc(queries * dim * sizeof *query), *gallery = malloc(n * dim * sizeof *gallery),
          *scores = malloc(queries * k * sizeof *scores);
    int32_t *found = malloc(queries * k * sizeof *found);
    scored *all = malloc(n * sizeof *all);
    for (size_t i = 0; i < queries * dim; i++)
        query[i] = truncf(8 * number(4, i, n));
    for (size_t i = 0; i < n * dim; i++)
        gallery[i] = truncf(8 * number(5, i, n));
    bool same = dt_search(query, queries, gallery, n, dim, k, found, scores, &error);
    for (size_t q = 0; q < queries; q++) {
        for (size_t i = 0; i < n; i++) {
            all[i] = (scored){(int32_t)i, 0};
            for (size_t d = 0; d < dim; d++)
                all[i].score += query[q * dim + d] * gallery[i * dim + d];
        }
        qsort(all, n, sizeof *all, by_score);
        for (size_t i = 0; i < k; i++)
            same &= found[q * k + i] == all[i].index && scores[q * k + i] == all[i].score;
    }
    ok(same, "the best %zu of %zu for %zu queries", k, n, queries);
    free(query);
    free(gallery);
    free(scores);
    free(found);
    free(all);
}

static void refused(void)
{
    const float rows[] = {1, 0, 0, 1}, bad[] = {1, 0, NAN, 0};
    const int32_t owner[] = {0, 2}, negative[] = {-1, 0}, good[] = {0, 1};
    dt_retrieval r;
    ok(!dt_retrieval_run(rows, 2, rows, 2, 2, owner, false, &r, NULL, NULL, &error) &&
           strstr(error.message, "caption 1 belongs to image 2; expected 0 to 1"),
       "an owner beyond the images");
    ok(!dt_retrieval_run(rows, 2, rows, 2, 2, negative, false, &r, NULL, NULL, &error) && says(error.message, "caption 0 belongs to image -1"), "an owner below 0");
    ok(!dt_retrieval_run(bad, 2, rows, 2, 2, good, false, &r, NULL, NULL, &error) &&
           strstr(error.message, "image 1 is not finite"),
       "an image that is not a number");
    ok(!dt_retrieval_run(rows, 2, bad, 2, 2, good, false, &r, NULL, NULL, &error) &&
           strstr(error.message, "caption 1 is not finite"),
       "a caption that is not a number");
    int32_t found[2];
    float scores[2];
    ok(!dt_search(rows, 1, bad, 2, 2, 1, found, scores, &error) &&
           strstr(error.message, "item 1 is not finite"),
       "a search among what is not a number");
    ok(!dt_search(bad, 2, rows, 2, 2, 1, found, scores, &error) &&
           strstr(error.message, "query 1 is not finite"),
       "a search for what is not a number");
    ok(!dt_retrieval_run(rows, 0, rows, 2, 2, good, false, &r, NULL, NULL, &error) && says(error.message, "0 images and 2 captions"), "no images");
    ok(!dt_retrieval_run(rows, 2, rows, 0, 2, good, false, &r, NULL, NULL, &error) && says(error.message, "2 images and 0 captions"), "no captions");
}

/* Matching pairs plus noise, of unit length: ranks as a trained model has them. */
static void fill_pairs(float *images, float *captions, size_t n, size_t m, size_t dim, int32_t *owner)
{
#pragma omp parallel for
    for (size_t t = 0; t < (n > m ? n : m); t++)
        for (size_t d = 0; d < dim; d++) {
            float image = number(6, t % n, d);
            if (t < n)
                images[t * dim + d] = image / sqrtf((float)dim);
            if (t < m)
                captions[t * dim + d] = (image + 3 * number(7, t, d)) / sqrtf((float)dim);
        }
    for (size_t t = 0; t < m; t++)
        owner[t] = (int32_t)(t % n);
}

static double peak_mib(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

static double processor_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_utime.tv_sec + 1e-6 * (double)usage.ru_utime.tv_usec;
}

static int bench(size_t n, size_t m, size_t dim)
{
    float *images = malloc(n * dim * sizeof *images), *captions = malloc(m * dim * sizeof *captions);
    int32_t *owner = malloc(m * sizeof *owner), found[10];
    float scores[10];
    if (!images || !captions || !owner)
        return 1;
    fill_pairs(images, captions, n, m, dim, owner);
    double before = peak_mib(), used = processor_seconds(), start = dt_now();
    dt_retrieval r;
    bool good = dt_retrieval_run(images, n, captions, m, dim, owner, false, &r, NULL, NULL, &error);
    double seconds = dt_now() - start;
    printf("%zu images, %zu captions, width %zu: both ways %.1f s, %.0f GFLOP/s of one product\n", n, m, dim,
           seconds, 2e-9 * (double)n * (double)m * (double)dim / seconds);
    printf("%.1f s of processors: %.0f GFLOP/s each\n", processor_seconds() - used,
           2e-9 * (double)n * (double)m * (double)dim / (processor_seconds() - used));
    printf("peak %.0f MiB, of which %.0f MiB were there before; text to image R@1 %.3f, median rank %g\n",
           peak_mib(), before, r.text_to_image.recall[0], r.text_to_image.median_rank);
    good = good && dt_search(captions, 1, images, n, dim, 10, found, scores, &error);
    start = dt_now();
    good = good && dt_search(captions, 1, images, n, dim, 10, found, scores, &error);
    seconds = dt_now() - start;
    printf("one query: %.1f ms, %.1f GB/s\n", 1e3 * seconds, 4e-9 * (double)n * (double)dim / seconds);
    free(images);
    free(captions);
    free(owner);
    return good ? 0 : (fprintf(stderr, "%s\n", error.message), 1);
}

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "bench"))
        return bench(argc > 2 ? strtoul(argv[2], NULL, 10) : 100000,
                     argc > 3 ? strtoul(argv[3], NULL, 10) : 100000,
                     argc > 4 ? strtoul(argv[4], NULL, 10) : 512);
    golden_figures();
    against_definition(1, 1, 1, 1);
    against_definition(7, 3, 5, 2);
    against_definition(13, 89, 3, 11);
    against_definition(2053, 4099, 2, 2000); /* several blocks both ways */
    equals(13, 7);
    equals(49, 16);
    equals(95, 64);
    equals(1237, 192);
    equals(2049, 512);
    bounds();
    ties_and_chance();
    search();
    search_against_sort(1, 70001, 3, 50); /* two blocks of the gallery */
    search_against_sort(67, 501, 5, 501);
    search_against_sort(1025, 29, 4, 3); /* two of queries */
    refused();
    return done();
}
