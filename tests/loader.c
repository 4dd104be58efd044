#include "data/loader.h"

#include "data/jpeg.h"
#include "data/shuffle.h"
#include "tests/byte_tokenizer.h"
#include "tests/noisy.h"
#include "tests/tap.h"

enum { PAIRS = 23, CONTEXT = 12, SIZE = 16, BATCH = 4, MANY = 64 };

static dt_error error;
static dt_pairs *pairs;
static dt_tokenizer *tokenizer;

/* A picture of noise over a ramp; sides differ from pair to pair, some are grey, one is large. */
static bool add_pair(dt_pairs_writer *writer, int i, bool torn, size_t captions)
{
    dt_image image = {0};
    int width = i == 7 ? 300 : 17 + 3 * i, height = i == 7 ? 260 : 60 - 2 * i, channels = i % 5 == 2 ? 1 : 3;
    if (!noisy_picture(&image, width, height, channels, i, &error))
        return false;
    uint8_t *jpeg;
    size_t size;
    bool good = dt_jpeg_encode(&image, 90, false, &jpeg, &size, &error);
    dt_image_free(&image);
    if (!good)
        return false;
    char texts[3][32];
    const char *list[3] = {texts[0], texts[1], texts[2]};
    for (int c = 0; c < 3; c++)
        snprintf(texts[c], sizeof texts[c], "%c%c %c", 'a' + i, 'a' + i, "xyz"[c]);
    const dt_pair_input pair = {
        jpeg, torn ? size / 2 : size, width, height, i % 2, 1 + (float)(i % 3), list, captions, NULL};
    good = dt_pairs_add(writer, &pair, &error);
    free(jpeg);
    return good;
}

/* A store of `count` pairs; pair `bad` has a torn JPEG, pair `bare` no caption. */
static dt_pairs *store(const char *name, int count, int bad, int bare)
{
    const char *path = in(name);
    dt_pairs_writer *writer = dt_pairs_create(path, false, &error);
    bool good = writer != NULL;
    for (int i = 0; good && i < count; i++)
        good = add_pair(writer, i, i == bad, i == bare ? 0 : 3);
    const char *classes[] = {"cat", "dog"}, *source = "synthetic";
    if (!good) {
        dt_pairs_abort(writer);
        return NULL;
    }
    return dt_pairs_finish(writer, classes, 2, &source, 1, NULL, &error) ? dt_pairs_open(path, &error) : NULL;
}

static dt_loader_options training(void)
{
    dt_loader_options o = {.pairs = pairs,
                           .tokenizer = tokenizer,
                           .context = CONTEXT,
                           .batch_size = BATCH,
                           .drop_last = true,
                           .shuffle = true,
                           .seed = 5};
    o.transform = dt_transform_default(DT_TRANSFORM_RANDOM_RESIZED_CROP, SIZE);
    return o;
}

static uint64_t digest(uint64_t hash, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u; /* FNV-1a */
    return hash;
}

static uint64_t digest_of(const dt_batch *b)
{
    uint64_t hash = digest(0xcbf29ce484222325u, &b->count, sizeof b->count);
    hash = digest(hash, &b->epoch, sizeof b->epoch);
    hash = digest(hash, &b->number, sizeof b->number);
    hash = digest(hash, b->images, sizeof(float) * BATCH * SIZE * SIZE * 3);
    hash = digest(hash, b->tokens, sizeof(int32_t) * BATCH * CONTEXT);
    hash = digest(hash, b->labels, sizeof(int32_t) * BATCH);
    return digest(hash, b->indices, sizeof(uint64_t) * BATCH);
}

/* Digests of the next n batches of a loader with these options. Returns how many came. */
static int digests(const dt_loader_options *options, int n, uint64_t *out)
{
    dt_loader *loader = dt_loader_open(options, &error);
    dt_batch batch;
    int i = 0;
    while (loader && i < n && dt_loader_next(loader, &batch, &error) && batch.count)
        out[i++] = digest_of(&batch);
    dt_loader_close(loader);
    return i;
}

static bool same(const uint64_t *a, const uint64_t *b, int n)
{
    return memcmp(a, b, (size_t)n * sizeof *a) == 0;
}

static void threads(void)
{
    enum { N = 17 };
    uint64_t want[N], got[N];
    dt_loader_options o = training();
    ok(digests(&o, N, want) == N, "seventeen batches, over three epochs %s", error.message);
    ok(want[0] != want[5] && want[0] != want[10], "epochs differ");
    for (int threads = 1; threads <= 4; threads += 3)
        for (int depth = 1; depth <= 3; depth += 2) {
            o.threads = threads, o.depth = depth;
            ok(digests(&o, N, got) == N && same(got, want, N),
               "the same with %d threads and %d batches in memory", threads, depth);
        }
    o.epoch = 1, o.batch = 2;
    ok(digests(&o, N - 7, got) == N - 7 && same(got, want + 7, N - 7), "the same from epoch 1, batch 2");
    o.epoch = 0, o.batch = 7;
    ok(digests(&o, N - 7, got) == N - 7 && same(got, want + 7, N - 7),
       "and from batch 7 of epoch 0, which has 5");
    o = training();
    o.seed = 6;
    digests(&o, 1, got);
    ok(got[0] != want[0], "another seed, other batches");
}

static void cache(void)
{
    enum { N = 17 };
    uint64_t want[N], got[N];
    dt_loader_options o = training();
    o.transform.full_decode = true;
    digests(&o, N, want);
    o.cache_bytes = 1 << 30;
    ok(digests(&o, N, got) == N && same(got, want, N), "a cache of whole pictures changes nothing");
    o.transform.full_decode = false;
    ok(digests(&o, N, want) == N && !same(got, want, N), "a large picture is kept reduced");
    o.cache_bytes = 20000, o.threads = 4;
    ok(digests(&o, N, got) == N && same(got, want, N),
       "with the same bits when there is room for few, and 4 threads");
    o.cache_bytes = 1;
    ok(digests(&o, N, got) == N && same(got, want, N), "or for none");

    o.cache_bytes = 20000, o.threads = 2;
    dt_loader *loader = dt_loader_open(&o, &error);
    dt_batch batch;
    for (int i = 0; i < N; i++)
        dt_loader_next(loader, &batch, &error);
    dt_loader_stats stats = dt_loader_get_stats(loader);
    ok(stats.cached > 0 && stats.cached <= 20000, "the budget holds (%zu bytes)", stats.cached);
    ok(stats.samples >= N * BATCH && stats.working > 0 && stats.waited >= 0, "statistics");
    dt_loader_close(loader);
}

static void epochs(void)
{
    dt_loader_options o = training();
    o.drop_last = false, o.threads = 2, o.epochs = 3;
    dt_loader *loader = dt_loader_open(&o, &error);
    int seen[3][PAIRS] = {{0}}, batches = 0, samples = 0, places = 0;
    uint64_t order[3][PAIRS];
    int32_t first_tokens[PAIRS][CONTEXT];
    int captions_changed = 0;
    dt_batch b;
    while (dt_loader_next(loader, &b, &error) && b.count) {
        batches++;
        for (int i = 0; i < b.count; i++) {
            uint64_t index = b.indices[i];
            seen[b.epoch][index]++;
            order[b.epoch][b.number * BATCH + (uint64_t)i] = index;
            const int32_t *tokens = b.tokens + (size_t)i * CONTEXT;
            if (b.epoch == 0)
                memcpy(first_tokens[index], tokens, sizeof first_tokens[0]);
            else
                captions_changed += memcmp(first_tokens[index], tokens, sizeof first_tokens[0]) != 0;
            samples += b.labels[i] == (int32_t)index % 2;
        }
    }
    bool once = true;
    for (int e = 0; e < 3; e++)
        for (int i = 0; i < PAIRS; i++) {
            once = once && seen[e][i] == 1;
            places += e && order[e][i] == order[0][i];
        }
    ok(batches == 18 && dt_loader_batches(loader) == 6 && samples == 3 * PAIRS, "three epochs, then the end");
    ok(once, "every epoch visits every pair once");
    ok(places < 12, "in another order each time (%d of 46 in the same place)", places);
    ok(captions_changed > 20 && captions_changed < 42, "captions are drawn anew (%d of 46 differ)",
       captions_changed);
    ok(dt_loader_next(loader, &b, &error) && b.count == 0, "the end stays the end");
    dt_loader_close(loader);
}

static void evaluation(void)
{
    dt_loader_options o = training();
    o.drop_last = o.shuffle = false, o.epochs = 1, o.threads = 3;
    o.transform = dt_transform_default(DT_TRANSFORM_EVAL, SIZE);
    dt_loader *loader = dt_loader_open(&o, &error);
    dt_batch b;
    uint64_t next = 0;
    bool ordered = true, zero = true;
    float want[SIZE * SIZE * 3];
    dt_transform_scratch *scratch_memory = dt_transform_scratch_new(&error);
    while (dt_loader_next(loader, &b, &error) && b.count) {
        for (int i = 0; i < b.count; i++)
            ordered = ordered && b.indices[i] == next++;
        for (int i = b.count; i < BATCH; i++) {
            const float *pixels = b.images + (size_t)i * SIZE * SIZE * 3;
            for (int j = 0; j < SIZE * SIZE * 3; j++)
                zero = zero && pixels[j] == 0;
            zero = zero && b.labels[i] == -1 && b.tokens[i * CONTEXT] == 0;
        }
        if (b.number == 5) {
            dt_pair pair;
            dt_pairs_get(pairs, 21, &pair, &error);
            dt_transform_jpeg(&o.transform, scratch_memory, pair.jpeg, pair.jpeg_size, 0, want, &error);
            near("pair 21 is what the transform makes of it", b.images + SIZE * SIZE * 3, want,
                 SIZE * SIZE * 3, 0);
            ok(b.count == 3, "the last batch has 3");
        }
    }
    ok(ordered && next == PAIRS, "in order of index");
    ok(zero, "rows beyond the last are zero");
    dt_transform_scratch_free(scratch_memory);
    dt_loader_close(loader);

    o.tokenizer = NULL;
    loader = dt_loader_open(&o, &error);
    ok(dt_loader_next(loader, &b, &error) && b.count == BATCH && !b.tokens, "without a tokenizer, no tokens");
    dt_loader_close(loader);
}

static void weighted(void)
{
    dt_loader_options o = training();
    o.weighted = true, o.threads = 2, o.cache_bytes = 1 << 20, o.batch_size = 23, o.epochs = 120;
    o.transform = dt_transform_default(DT_TRANSFORM_EVAL, 1);
    dt_loader *loader = dt_loader_open(&o, &error);
    int counts[3] = {0}, total = 0;
    dt_batch b;
    while (dt_loader_next(loader, &b, &error) && b.count)
        for (int i = 0; i < b.count; i++, total++)
            counts[b.indices[i] % 3]++;
    dt_loader_close(loader);
    /* 8, 8 and 7 pairs of weight 1, 2 and 3: 8, 16 and 21 of 45 */
    double worst = 0, shares[3] = {8 / 45., 16 / 45., 21 / 45.};
    for (int i = 0; i < 3; i++)
        worst = fmax(worst, fabs(counts[i] - shares[i] * total) / sqrt(shares[i] * (1 - shares[i]) * total));
    ok(total == 2760 && worst < 4, "weighted frequencies (worst %.1f sigma of %d draws)", worst, total);
}

/* Opens, reads to the failure, and compares its message. */
static void stops(dt_loader_options o, uint64_t good_batches, const char *message)
{
    for (int n = 0; n <= 4; n += 4) {
        o.threads = n;
        dt_loader *loader = dt_loader_open(&o, &error);
        dt_batch b;
        uint64_t count = 0;
        while (loader && dt_loader_next(loader, &b, &error) && b.count)
            count++;
        bool again = loader && !dt_loader_next(loader, &b, &error);
        if (!ok(count == good_batches && again && strncmp(error.message, message, strlen(message)) == 0,
                "%d threads stop after %d batches: %s", n, (int)count, error.message))
            printf("# wanted after %d: %s\n", (int)good_batches, message);
        dt_loader_close(loader);
    }
}

/* Pairs of a choice only, each once an epoch, the same for any number of threads and any start. */
static void choice(void)
{
    enum { N = 9, ROWS = 11 };
    static const uint64_t rows[ROWS] = {20, 3, 4, 22, 9, 10, 11, 0, 17, 5, 6};
    uint64_t want[N], got[N];
    dt_loader_options o = training();
    o.rows = rows, o.row_count = ROWS, o.drop_last = false, o.epochs = 3, o.transform.full_decode = true;
    ok(digests(&o, N, want) == N && digests(&o, N + 1, got) == N, "a choice of eleven pairs: three batches an epoch %s", error.message);
    o.threads = 3, o.cache_bytes = 1 << 30;
    ok(digests(&o, N, got) == N && same(got, want, N), "the same with threads and a cache");
    o.epoch = 1, o.batch = 1;
    ok(digests(&o, N, got) == N - 4 && same(got, want + 4, N - 4), "and from the middle");

    o.epoch = o.batch = 0, o.shuffle = false, o.epochs = 1;
    dt_loader *loader = dt_loader_open(&o, &error);
    dt_batch b;
    size_t at = 0;
    bool ordered = true;
    while (loader && dt_loader_next(loader, &b, &error) && b.count)
        for (int i = 0; i < b.count; i++, at++)
            ordered = ordered && b.indices[i] == rows[at] && b.labels[i] == (int32_t)rows[at] % 2;
    ok(ordered && at == ROWS, "without shuffling in the order of the choice");
    dt_loader_close(loader);

    o.shuffle = true, o.epochs = 2;
    loader = dt_loader_open(&o, &error);
    int seen[PAIRS] = {0}, times = 0;
    while (loader && dt_loader_next(loader, &b, &error) && b.count)
        for (int i = 0; i < b.count; i++)
            seen[b.indices[i]]++;
    for (int i = 0; i < ROWS; i++)
        times += seen[rows[i]] == 2;
    for (int i = 0; i < PAIRS; i++)
        times -= seen[i] > 0;
    ok(times == 0 && seen[20] == 2, "with it each of them once an epoch and no other");
    dt_loader_close(loader);

    /* weights 1 and 3, whatever the places of their pairs */
    static const uint64_t heavy[] = {21, 2};
    o.rows = heavy, o.row_count = 2, o.batch_size = 2, o.weighted = true, o.epochs = 1000;
    o.transform = dt_transform_default(DT_TRANSFORM_EVAL, 1);
    loader = dt_loader_open(&o, &error);
    int heavier = 0, draws = 0;
    while (loader && dt_loader_next(loader, &b, &error) && b.count)
        for (int i = 0; i < b.count; i++, draws++)
            heavier += b.indices[i] == 2;
    ok(draws == 2000 && abs(heavier - 1500) < 4 * sqrt(2000 * 3 / 16.), "weights of a choice are its own pairs' (%d of %d)", heavier,
       draws);
    dt_loader_close(loader);
}

/* Pictures that lie in files of their own. */
static void files(void)
{
    enum { FILES = 6 };
    static const int32_t labels[FILES] = {3, 1, -1, 2, 0, 1};
    static const uint64_t some[] = {5, 1, 2};
    const char *paths[FILES];
    for (int i = 0; i < FILES; i++) {
        dt_pair pair;
        if (!dt_pairs_get(pairs, (uint64_t)i + 5, &pair, &error))
            printf("Bail out! %s\n", error.message), exit(1);
        paths[i] = put((const char[]){(char)('0' + i), 0}, pair.jpeg, pair.jpeg_size);
    }
    const dt_image_files list = {paths, labels, FILES};
    dt_loader_options o = {.files = &list, .batch_size = BATCH, .epochs = 1, .threads = 2};
    o.transform = dt_transform_default(DT_TRANSFORM_EVAL, SIZE);
    dt_loader_options of_pairs = training();
    of_pairs.shuffle = false, of_pairs.transform = o.transform;
    of_pairs.rows = (const uint64_t[]){5, 6, 7, 8}, of_pairs.row_count = 4;
    dt_loader *loader = dt_loader_open(&o, &error), *other = dt_loader_open(&of_pairs, &error);
    dt_batch b, c;
    if (ok(loader && other && dt_loader_next(loader, &b, &error) && dt_loader_next(other, &c, &error), "files %s", error.message)) {
        near("pictures of files are those of a store", b.images, c.images, BATCH * SIZE * SIZE * 3, 0);
        ok(!memcmp(b.labels, labels, sizeof *labels * BATCH) && b.indices[3] == 3 && !b.tokens, "with labels of their own, no tokens");
        ok(dt_loader_next(loader, &b, &error) && b.count == 2 && b.labels[1] == 1 && dt_loader_next(loader, &b, &error) && !b.count,
           "to the last");
    }
    dt_loader_close(loader);
    dt_loader_close(other);

    o.rows = some, o.row_count = 3, o.cache_bytes = 1 << 20;
    loader = dt_loader_open(&o, &error);
    ok(loader && dt_loader_next(loader, &b, &error) && b.count == 3 && b.labels[0] == 1 && b.labels[2] == -1 && b.indices[0] == 5,
       "a choice of files %s", error.message);
    dt_loader_close(loader);

    o.rows = NULL;
    paths[2] = "tests/loader.c";
    stops(o, 0, "tests/loader.c: ");
    paths[2] = "no such file";
    stops(o, 0, "cannot open no such file: ");
}

static void refused(dt_loader_options o, const char *message)
{
    dt_loader *loader = dt_loader_open(&o, &error);
    if (!ok(!loader && strcmp(error.message, message) == 0, "%s", message))
        printf("# got: %s\n", error.message);
    dt_loader_close(loader);
}

static void failures(void)
{
    dt_loader_options o = training();
    o.shuffle = false, o.epochs = 1;
    dt_pairs *torn = store("torn.lmdb", 12, 9, -1), *bare = store("bare.lmdb", 6, -1, 3);
    if (!ok(torn && bare, "stores %s", error.message))
        return;
    o.pairs = torn;
    stops(o, 2, "pair 9 (sample 9 of epoch 0): ");
    o.cache_bytes = 1 << 20;
    stops(o, 2, "pair 9 (sample 9 of epoch 0): ");
    o.pairs = bare;
    stops(o, 0, "pair 3 (sample 3 of epoch 0): it has no caption, and no caption for classes is set");
    o.class_caption = "x {} y";
    dt_loader *loader = dt_loader_open(&o, &error);
    dt_batch b;
    int32_t want[CONTEXT];
    dt_tokenizer_encode_padded(tokenizer, "x dog y", 7, want, CONTEXT, &error);
    ok(loader && dt_loader_next(loader, &b, &error) && !memcmp(b.tokens + 3 * CONTEXT, want, sizeof want),
       "a class can stand for a caption");
    dt_loader_close(loader);
    dt_pairs_close(torn);
    dt_pairs_close(bare);

    o = training();
    o.batch_size = 24;
    refused(o, "23 pairs are fewer than one batch of 24");
    o.batch_size = 0;
    refused(o, "batch size 0, expected 1 to 16777216");
    o = training();
    o.threads = -1;
    refused(o, "-1 loader threads, expected 0 to 1024");
    o = training();
    o.context = 0;
    refused(o, "context of 0 tokens, expected 1 to 65536");
    o = training();
    o.epoch = UINT64_MAX / 2;
    refused(o, "cannot start at epoch 9223372036854775807, batch 0: too large");
    o = training();
    static const uint64_t beyond[] = {0, 22, 23, 1};
    o.rows = beyond, o.row_count = 4;
    refused(o, "there is no pair 23; the data has 23");
    o.row_count = 2;
    refused(o, "2 pairs are fewer than one batch of 4");
    o = training();
    o.allocate = malloc;
    refused(o, "a loader needs both of allocate and release, or neither");
    o = training();
    o.transform.size = 0;
    ok(!dt_loader_open(&o, &error) && says(error.message, "size is 0, expected"), "a bad transform: %s", error.message);
}

static void closing(void)
{
    dt_loader_options o = training();
    bool good = true;
    for (int i = 0; i < 40; i++) {
        o.threads = i % 5, o.cache_bytes = i % 2 ? 1 << 20 : 0;
        dt_loader *loader = dt_loader_open(&o, &error);
        dt_batch b;
        for (int j = 0; loader && j < i % 4; j++)
            good = dt_loader_next(loader, &b, &error) && good;
        good = good && loader;
        dt_loader_close(loader);
    }
    dt_loader_close(NULL);
    ok(good, "closes at any time");
}

int main(void)
{
    tokenizer = byte_tokenizer(&error);
    if (tokenizer)
        pairs = store("pairs.lmdb", PAIRS, -1, -1);
    if (!ok(pairs != NULL, "a store of %d pairs %s", PAIRS, error.message))
        return done();
    threads();
    cache();
    epochs();
    evaluation();
    weighted();
    choice();
    files();
    failures();
    closing();
    dt_pairs_close(pairs);
    dt_tokenizer_free(tokenizer);
    return done();
}
