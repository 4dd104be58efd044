/* The tokenizer without the published vocabulary: training, files, merges, decoding, threads. */
#include "data/tokenizer.h"

#include <pthread.h>

#include "tests/small_tokenizer.h"

static bool token_is(const dt_tokenizer *t, int32_t id, const char *want)
{
    const char *token = dt_tokenizer_token(t, id);
    return token && !strcmp(token, want);
}

static void test_training(void)
{
    static const char *const products[] = {"es", "est</w>", "lo", "ew", "new", "newest</w>", "low</w>"};
    dt_error error = {""};
    dt_tokenizer *t = dt_bpe_train(words_of_paper, NULL, 5, 7, &error);
    if (!ok(t != NULL, "trains: %s", error.message))
        return;
    ok(dt_tokenizer_vocab_size(t) == 512 + 7 + 2, "seven merges and the rest");
    for (int i = 0; i < 7; i++)
        ok(token_is(t, 512 + i, products[i]), "merge %d makes %s", i + 1, products[i]);
    ok(dt_tokenizer_start(t) == 519 && dt_tokenizer_end(t) == 520, "start and end come last");
    ok(token_is(t, 0, "!") && token_is(t, 93, "~") && token_is(t, 94, "\u00a1") &&
           token_is(t, 188, "\u0100") && token_is(t, 256, "!</w>") && token_is(t, 511, "\u0143</w>"),
       "the byte alphabet is in the order of GPT-2");
    ok(!dt_tokenizer_token(t, -1) && !dt_tokenizer_token(t, 521), "ids outside have no token");
    int32_t ids[8];
    size_t count = 0;
    ok(dt_tokenizer_encode(t, " Lowest\n", 8, ids, 8, &count, &error) && count == 3 && ids[0] == 514 &&
           ids[1] == 'w' - '!' && ids[2] == 513,
       "lowest is lo w est</w>");
    ok(dt_tokenizer_fingerprint(t) == 0x1bd0aa63dae5c9edu, "the fingerprint is what it was: %016llx",
       (unsigned long long)dt_tokenizer_fingerprint(t));
    dt_tokenizer_free(t);

    static const char *const shuffled[] = {"widest newest", "low lower newest widest newest low",
                                           "lower newest newest newest low low", "low widest"};
    t = dt_bpe_train(words_of_paper, NULL, 5, 100, &error);
    dt_tokenizer *other = dt_bpe_train(shuffled, NULL, 4, 100, &error);
    ok(t && other && dt_tokenizer_vocab_size(t) < 614, "stops where no pair occurs twice");
    ok(t && other && dt_tokenizer_fingerprint(t) == dt_tokenizer_fingerprint(other),
       "the order of captions does not matter");
    dt_tokenizer_free(t);
    dt_tokenizer_free(other);
    t = dt_bpe_train(NULL, NULL, 0, 10, &error);
    ok(t && dt_tokenizer_vocab_size(t) == 514, "no captions, no merges");
    dt_tokenizer_free(t);
    ok(!dt_bpe_train(words_of_paper, NULL, 5, -1, &error) && strstr(error.message, "-1"), "%s",
       error.message);
    ok(!dt_bpe_train((const char *[]){"fine", "b\xff"}, NULL, 2, 5, &error) &&
           strstr(error.message, "caption 1") && strstr(error.message, "byte 1"),
       "%s", error.message);
}

/* A generator for texts of the tests; the sequence is fixed. */
static uint32_t next_random(void)
{
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(state >> 33);
}

static size_t random_word(char *out, int letters, size_t most)
{
    size_t length = 1 + next_random() % most;
    for (size_t i = 0; i < length; i++)
        out[i] = (char)('a' + next_random() % (unsigned)letters);
    out[length] = '\0';
    return length;
}

static dt_tokenizer *random_tokenizer(int merges, dt_error *error)
{
    dt_bpe_trainer *trainer = dt_bpe_trainer_new(error);
    bool good = trainer;
    char word[40];
    for (int i = 0; good && i < 3000; i++)
        good = dt_bpe_trainer_add(trainer, word, random_word(word, i % 3 + 2, 20), error);
    dt_tokenizer *t = good ? dt_bpe_trainer_finish(trainer, merges, error) : NULL;
    dt_bpe_trainer_free(trainer);
    return t;
}

enum { PART = 64 };

static bool is_merge(const json_t *merge, const char *left, const char *right)
{
    const char *text = json_string_value(merge);
    size_t length = strlen(left);
    return !strncmp(text, left, length) && text[length] == ' ' && !strcmp(text + length + 1, right);
}

static const json_t *lowest_merge(const json_t *merges, char parts[][PART], size_t count)
{
    size_t index;
    json_t *merge;
    json_array_foreach((json_t *)(uintptr_t)merges, index,
                       merge) for (size_t i = 0; i + 1 < count;
                                   i++) if (is_merge(merge, parts[i], parts[i + 1])) return merge;
    return NULL;
}

/* The reference's loop, on strings: find the pair of lowest rank, join all of it from the left, again. */
static size_t naive_bpe(const json_t *merges, const char *word, char parts[][PART])
{
    size_t count = strlen(word);
    for (size_t i = 0; i < count; i++) {
        parts[i][0] = word[i];
        strcpy(parts[i] + 1, i + 1 == count ? "</w>" : "");
    }
    for (const json_t *merge; (merge = lowest_merge(merges, parts, count));) {
        size_t n = 0;
        for (size_t i = 0; i < count; i++, n++) {
            bool joins = i + 1 < count && is_merge(merge, parts[i], parts[i + 1]);
            memmove(parts[n], parts[i], PART);
            if (joins)
                strcat(parts[n], parts[++i]);
        }
        count = n;
    }
    return count;
}

/* Ids of random words against naive_bpe, with the merges of `path`. */
static void compare_with_naive(const dt_tokenizer *t, const char *path, int words, const char *name)
{
    json_t *root = dt_json_load(path, NULL);
    const json_t *merges = json_object_get(json_object_get(root, "model"), "merges");
    int bad = 0;
    for (int i = 0; i < words; i++) {
        char word[64], parts[64][PART];
        int32_t ids[64];
        size_t count = 0, length = random_word(word, i % 4 + 1, 40), want = naive_bpe(merges, word, parts);
        bool same = dt_tokenizer_encode(t, word, length, ids, 64, &count, NULL) && count == want;
        for (size_t k = 0; same && k < count; k++)
            same = token_is(t, ids[k], parts[k]);
        bad += !same;
    }
    ok(json_array_size(merges) && !bad, "%s: %d random words as the reference's loop has them", name, words);
    json_decref(root);
}

static void test_files(void)
{
    dt_error error = {""};
    const char *path = in("tokenizer.json");
    dt_tokenizer *t = random_tokenizer(60, &error), *again = NULL;
    if (ok(t && dt_tokenizer_save(t, path, &error), "saves: %s", error.message))
        again = dt_tokenizer_load(path, &error);
    ok(again && dt_tokenizer_fingerprint(again) == dt_tokenizer_fingerprint(t) &&
           dt_tokenizer_vocab_size(again) == dt_tokenizer_vocab_size(t),
       "a tokenizer.json is read back as it was: %s", error.message);
    if (again)
        compare_with_naive(again, path, 400, "trained");
    ok(t && !dt_tokenizer_save(t, "/nonexistent/tokenizer.json", &error), "%s", error.message);
    dt_tokenizer_free(again);
    dt_tokenizer_free(t);
}

static void test_merge_orders(void)
{
    static const struct {
        const char *left, *right, *joined;
    } rows[] = {/* two ways to "abc", with a pair of a lower rank than the second */
                {"a", "b", "ab"},   {"abc", "a", "abca"}, {"b", "c", "bc"},        {"a", "bc", "abc"},
                {"ab", "c", "abc"}, {"c", "a", "ca"},     {"ca", "ab", "caab"},    {"abc", "abc", "abcabc"},
                {"a", "a", "aa"},   {"aa", "a", "aaa"},   {"b", "b</w>", "bb</w>"}};
    json_t *root = small_json(), *model = json_object_get(root, "model");
    json_t *vocab = json_object_get(model, "vocab"), *merges = json_array();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        json_t *merge = i % 2 ? json_pack("[ss]", rows[i].left, rows[i].right)
                              : json_sprintf("%s %s", rows[i].left, rows[i].right);
        json_array_append_new(merges, merge);
        if (!json_object_get(vocab, rows[i].joined))
            json_object_set_new(vocab, rows[i].joined, json_integer((json_int_t)(1000 + i)));
    }
    json_object_set(model, "merges", merges);
    dt_error error = {""};
    dt_tokenizer *t = parse_json(root, &error);
    const char *path = in("orders.json");
    if (ok(t && dt_tokenizer_save(t, path, &error), "odd orders of merges, as strings and as arrays: %s",
           error.message))
        compare_with_naive(t, path, 2000, "odd orders");
    ok(t && dt_tokenizer_vocab_size(t) == 1011 && !dt_tokenizer_token(t, 999), "ids may have gaps");
    dt_tokenizer_free(t);
    json_decref(merges);
    json_decref(root);
}

static bool decodes_to(const dt_tokenizer *t, const int32_t *ids, size_t count, const char *want)
{
    size_t length;
    char *text = dt_tokenizer_decode(t, ids, count, &length, NULL);
    bool good = text && length == strlen(want) && !strcmp(text, want);
    if (!good)
        printf("# got '%s'\n", text ? text : "nothing");
    free(text);
    return good;
}

static void test_decode(void)
{
    dt_error error = {""};
    dt_tokenizer *t = dt_bpe_train(words_of_paper, NULL, 5, 7, &error);
    if (!ok(t != NULL, "trains: %s", error.message))
        return;
    int32_t ids[64];
    size_t count = 0;
    const char *text = "Newest  caf\xc3\xa9 <|EndOfText|> \xf0\x9f\x99\x82 5's";
    ok(dt_tokenizer_encode(t, text, strlen(text), ids, 64, &count, &error), "encodes");
    ok(decodes_to(t, ids, count, "newest caf\xc3\xa9 <|endoftext|>\xf0\x9f\x99\x82 5 's "), "decodes");
    ok(decodes_to(t, ids, 0, ""), "nothing decodes to nothing");
    /* ids of bytes: 0xe2 0x82 'a' 0xf0 0x9f 0xed 0xa0 0xff */
    int32_t broken[] = {162, 188 + 35, 64, 174 + 2, 188 + 64, 171 + 2, 188 + 65, 187};
    char *decoded = dt_tokenizer_decode(t, broken, 8, NULL, &error);
    ok(decoded && strstr(decoded, "a"), "broken UTF-8 is replaced: %s", decoded ? decoded : error.message);
    free(decoded);
    ok(!dt_tokenizer_decode(t, (int32_t[]){0, 521}, 2, NULL, &error) &&
           strstr(error.message, "id 521 at place 1"),
       "%s", error.message);
    int32_t row[6];
    ok(dt_tokenizer_encode_padded(t, "low low", 7, row, 6, &error) && row[0] == 519 && row[1] == 518 &&
           row[2] == 518 && row[3] == 520 && row[4] == 0 && row[5] == 0,
       "start, text, end, zeros");
    ok(dt_tokenizer_encode_padded(t, "low low low low", 15, row, 4, &error) && row[0] == 519 &&
           row[1] == 518 && row[2] == 518 && row[3] == 520,
       "cut, and end is last");
    ok(dt_tokenizer_encode_padded(t, "low low", 7, row, 4, &error) && row[2] == 518 && row[3] == 520,
       "just fits");
    ok(dt_tokenizer_encode_padded(t, "", 0, row, 2, &error) && row[0] == 519 && row[1] == 520,
       "empty in two");
    ok(dt_tokenizer_encode_padded(t, "low", 3, row, 1, &error) && row[0] == 520, "a context of one is end");
    ok(!dt_tokenizer_encode_padded(t, "low", 3, row, 0, &error) && says(error.message, "a context of 0 tokens"), "%s", error.message);
    dt_tokenizer_free(t);
}

typedef struct worker {
    const dt_tokenizer *tokenizer;
    uint64_t hash;
    bool good;
} worker;

static void *encode_many(void *argument)
{
    worker *w = argument;
    char text[80];
    w->good = true;
    for (unsigned i = 0; w->good && i < 4000; i++) {
        int32_t ids[80];
        size_t count = 0;
        int length =
            snprintf(text, sizeof text, "ab%ubba caf\xc3\xa9 %u aabbab&amp;", i % 977, i * 7919u % 3001);
        w->good =
            dt_tokenizer_encode(w->tokenizer, text, (size_t)length, ids, 80, &count, NULL) && count <= 80;
        for (size_t k = 0; k < count; k++)
            w->hash = (w->hash ^ (uint32_t)ids[k]) * 0x100000001b3u;
    }
    return NULL;
}

static void test_threads(void)
{
    enum { THREADS = 4 };
    dt_error error = {""};
    dt_tokenizer *t = random_tokenizer(200, &error);
    worker alone = {t, 0, false}, workers[THREADS];
    pthread_t threads[THREADS];
    bool same = t != NULL;
    if (t)
        encode_many(&alone);
    for (int i = 0; t && i < THREADS; i++) {
        workers[i] = (worker){t, 0, false};
        pthread_create(&threads[i], NULL, encode_many, &workers[i]);
    }
    for (int i = 0; t && i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        same = same && workers[i].good && workers[i].hash == alone.hash;
    }
    ok(same && alone.good, "%d threads share a tokenizer", THREADS);
    dt_tokenizer_free(t);
}

int main(void)
{
    test_training();
    test_files();
    test_merge_orders();
    test_decode();
    test_threads();
    return done();
}
