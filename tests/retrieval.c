#include "eval/retrieval.h"

#include "data/json.h"
#include "data/safetensors.h"
#include "data/shuffle.h"
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
    ok(dt_retrieval_run(images, n, texts, m, n, owner, &result, ranks, ranks + n, &error), "golden runs");
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
    ok(dt_retrieval_run(images, n, texts, m, dim, owner, &result, of_images, of_captions, &error) &&
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
    ok(dt_retrieval_run(images, 2, texts, 3, 2, owner, &r, NULL, NULL, &error), "ties run");
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
    ok(dt_retrieval_run(three, 3, four, 4, 2, first, &r, NULL, NULL, &error) &&
           r.image_to_text.queries == 2 && r.text_to_image.gallery == 3 &&
           fabs(r.image_to_text.recall_chance[0] - 0.5) < 1e-12,
       "an image without captions is searched, not asked");
}

static void search(void)
{
    const float gallery[] = {0, 1, 1, 0, 0.5f, 0.5f, 1, 0, -1, 0}, query[] = {1, 0, 0, 2};
    int32_t found[10];
    float scores[10];
    const int32_t want[] = {1, 3, 2, 0, 4, 0, 2, 1, 3, 4}; /* of equals the first one comes first */
    ok(dt_retrieval_search(query, 2, gallery, 5, 2, 5, found, scores, &error) &&
           !memcmp(found, want, sizeof want),
       "search, all of them");
    ok(scores[0] == 1 && scores[4] == -1 && scores[5] == 2, "scores of a search");
    ok(dt_retrieval_search(query, 2, gallery, 5, 2, 2, found, scores, &error) && found[0] == 1 &&
           found[1] == 3 && found[2] == 0 && found[3] == 2,
       "search, the best two");
    ok(!dt_retrieval_search(query, 2, gallery, 5, 2, 6, found, scores, &error) &&
           strstr(error.message, "best 6 of 5"),
       "more than there are");
    ok(!dt_retrieval_search(query, 2, gallery, 5, 2, 0, found, scores, &error), "none asked for");
}

static void refused(void)
{
    const float rows[] = {1, 0, 0, 1}, bad[] = {1, 0, NAN, 0};
    const int32_t owner[] = {0, 2}, negative[] = {-1, 0}, good[] = {0, 1};
    dt_retrieval r;
    ok(!dt_retrieval_run(rows, 2, rows, 2, 2, owner, &r, NULL, NULL, &error) &&
           strstr(error.message, "caption 1 belongs to image 2; expected 0 to 1"),
       "an owner beyond the images");
    ok(!dt_retrieval_run(rows, 2, rows, 2, 2, negative, &r, NULL, NULL, &error), "an owner below 0");
    ok(!dt_retrieval_run(bad, 2, rows, 2, 2, good, &r, NULL, NULL, &error) &&
           strstr(error.message, "image 1 is not finite"),
       "an image that is not a number");
    ok(!dt_retrieval_run(rows, 2, bad, 2, 2, good, &r, NULL, NULL, &error) &&
           strstr(error.message, "caption 1 is not finite"),
       "a caption that is not a number");
    ok(!dt_retrieval_run(rows, 0, rows, 2, 2, good, &r, NULL, NULL, &error), "no images");
    ok(!dt_retrieval_run(rows, 2, rows, 0, 2, good, &r, NULL, NULL, &error), "no captions");
}

int main(void)
{
    golden_figures();
    against_definition(1, 1, 1, 1);
    against_definition(7, 3, 5, 2);
    against_definition(13, 89, 3, 11);
    against_definition(2053, 4099, 2, 2000); /* several blocks both ways */
    ties_and_chance();
    search();
    refused();
    return done();
}
