/* The tokenizer: fixtures of the reference, and what can be checked without its vocabulary. */
#include "data/tokenizer.h"

#include <pthread.h>
#include <zlib.h>

#include "data/bpe_train.h"
#include "data/file.h"
#include "data/json.h"
#include "data/text.h"
#include "tests/tap.h"

enum { IDS_MOST = 4096 };

typedef struct lines {
    json_t *items[4096];
    size_t count;
} lines;

/* A .jsonl fixture; false and a skip where it is absent. */
static bool read_lines(const char *name, lines *out)
{
    const char *path = golden(name);
    out->count = 0;
    if (!path) {
        skip(name, "the fixture is not here");
        return false;
    }
    dt_error error;
    char *text = dt_file_read(path, 64 << 20, NULL, &error);
    for (char *line = text, *end; line && *line; line = end + 1) {
        end = strchr(line, '\n');
        json_t *item = json_loadb(line, (size_t)(end - line), JSON_ALLOW_NUL, NULL);
        if (!item)
            break;
        out->items[out->count++] = item;
    }
    free(text);
    return ok(out->count > 0, "%s is there", name);
}

static void free_lines(lines *l)
{
    for (size_t i = 0; i < l->count; i++)
        json_decref(l->items[i]);
}

static dt_span text_of(const json_t *item, const char *key)
{
    const json_t *value = json_object_get(item, key);
    return (dt_span){json_string_value(value), json_string_length(value)};
}

static bool same_ids(const json_t *want, const int32_t *ids, size_t count)
{
    if (json_array_size(want) != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (json_integer_value(json_array_get(want, i)) != ids[i])
            return false;
    return true;
}

static bool encodes_as(const dt_tokenizer *t, const json_t *item)
{
    int32_t ids[IDS_MOST];
    size_t count;
    dt_span text = text_of(item, "text");
    return dt_tokenizer_encode(t, text.text, text.length, ids, IDS_MOST, &count, NULL) &&
           same_ids(json_object_get(item, "ids"), ids, count);
}

static void test_plain(const dt_tokenizer *t)
{
    lines l;
    if (!read_lines("tokenizer/plain.jsonl", &l))
        return;
    size_t good = 0;
    for (size_t i = 0; i < l.count; i++) {
        bool same = encodes_as(t, l.items[i]);
        good += same;
        if (!same)
            printf("# line %zu differs: %s\n", i + 1, json_string_value(json_object_get(l.items[i], "text")));
    }
    ok(l.count == 2000 && good == l.count, "plain.jsonl: %zu of %zu lines id for id", good, l.count);
    free_lines(&l);
}

static void test_padded(const dt_tokenizer *t)
{
    lines l;
    if (!read_lines("tokenizer/padded.jsonl", &l))
        return;
    size_t good = 0;
    for (size_t i = 0; i < l.count; i++) {
        int32_t ids[77];
        dt_span text = text_of(l.items[i], "text");
        good += dt_tokenizer_encode_padded(t, text.text, text.length, ids, 77, NULL) &&
                same_ids(json_object_get(l.items[i], "ids"), ids, 77);
    }
    ok(l.count == 50 && good == l.count, "padded.jsonl: %zu of %zu lines id for id", good, l.count);
    free_lines(&l);
}

static bool same_text(dt_span a, dt_span b)
{
    return a.length == b.length && !memcmp(a.text, b.text, a.length);
}

/* A line of ftfy.jsonl is a guess where ftfy itself, told not to guess encodings (fix_encoding=False), makes
 * another text of it: text.jsonl, whose first lines are those texts, says what it makes. The others must
 * match. */
static void test_ftfy(const dt_tokenizer *t)
{
    lines l, certain;
    if (!read_lines("tokenizer/ftfy.jsonl", &l))
        return;
    if (read_lines("tokenizer/text.jsonl", &certain)) {
        size_t good = 0, guesses = 0, must_good = 0;
        for (size_t i = 0; i < l.count; i++) {
            bool listed = i < certain.count &&
                          same_text(text_of(l.items[i], "text"), text_of(certain.items[i], "text"));
            bool guess =
                listed && !same_text(text_of(l.items[i], "fixed"), text_of(certain.items[i], "fixed"));
            bool same = encodes_as(t, l.items[i]);
            good += same;
            guesses += guess;
            must_good += !guess && listed && same;
            if (!guess && !same)
                printf("# line %zu differs: %s\n", i + 1,
                       json_string_value(json_object_get(l.items[i], "text")));
        }
        printf(
            "# ftfy.jsonl: %zu of %zu lines id for id; %zu need a guess of the encoding, which is left out\n",
            good, l.count, guesses);
        ok(l.count == 200 && guesses == 95 && must_good == l.count - guesses,
           "ftfy.jsonl: all %zu lines that need no guess", l.count - guesses);
    }
    free_lines(&l);
    free_lines(&certain);
}

static bool same_words(dt_cleaner *cleaner, dt_span cleaned, const json_t *want)
{
    size_t offset = 0, index;
    json_t *expected;
    dt_span word;
    json_array_foreach((json_t *)(uintptr_t)want, index, expected)
    {
        dt_span e = {json_string_value(expected), json_string_length(expected)};
        if (!dt_next_word(cleaner, cleaned, &offset, &word, NULL) || !same_text(word, e))
            return false;
    }
    return dt_next_word(cleaner, cleaned, &offset, &word, NULL) && !word.length;
}

static bool cleans_as(dt_cleaner *cleaner, const json_t *item)
{
    dt_span text = text_of(item, "text"), fixed, cleaned;
    return dt_clean_fix(cleaner, text.text, text.length, &fixed, NULL) &&
           same_text(fixed, text_of(item, "fixed")) &&
           dt_clean(cleaner, text.text, text.length, &cleaned, NULL) &&
           same_text(cleaned, text_of(item, "cleaned")) &&
           same_words(cleaner, cleaned, json_object_get(item, "words"));
}

/* What ftfy (fix_encoding=False) and the reference's own steps make of texts. */
static void test_text(void)
{
    lines l;
    if (!read_lines("tokenizer/text.jsonl", &l))
        return;
    dt_cleaner *cleaner = dt_cleaner_new(NULL);
    size_t good = 0;
    for (size_t i = 0; cleaner && i < l.count; i++) {
        bool same = cleans_as(cleaner, l.items[i]);
        good += same;
        if (!same)
            printf("# line %zu differs: %s\n", i + 1, json_string_value(json_object_get(l.items[i], "text")));
    }
    ok(l.count == 560 && good == l.count, "text.jsonl: %zu of %zu lines fixed, cleaned and split alike", good,
       l.count);
    dt_cleaner_free(cleaner);
    free_lines(&l);
}

/* The example of Sennrich et al., merged by hand: es 9, est 9, lo 7, then at 6 by id ew, new, newest, low 5
 * ... */
static const char *const words_of_paper[] = {"low low low LOW low", "lower lower", "newest newest newest",
                                             "newest newest newest", "widest widest widest"};

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

static void test_files(const char *directory)
{
    dt_error error = {""};
    char path[600];
    snprintf(path, sizeof path, "%s/tokenizer.json", directory);
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

/* The tokenizer.json of a small trained tokenizer, to be damaged. */
static json_t *small_json(const char *directory)
{
    dt_error error;
    char path[600];
    snprintf(path, sizeof path, "%s/small.json", directory);
    dt_tokenizer *t = dt_bpe_train(words_of_paper, NULL, 5, 7, &error);
    json_t *root = t && dt_tokenizer_save(t, path, &error) ? dt_json_load(path, &error) : NULL;
    dt_tokenizer_free(t);
    return root;
}

/* Reads `root` as a tokenizer. NULL with the message in *error. */
static dt_tokenizer *parse_json(const json_t *root, dt_error *error)
{
    char *text = json_dumps(root, 0);
    dt_tokenizer *t = dt_tokenizer_parse(text, strlen(text), "damaged", error);
    free(text);
    return t;
}

static void refused(const json_t *root, const char *want)
{
    dt_error error = {""};
    dt_tokenizer *t = parse_json(root, &error);
    ok(!t && strstr(error.message, want), "refused: %s (wanted: %s)", error.message, want);
    dt_tokenizer_free(t);
}

static void test_merge_orders(const char *directory)
{
    static const struct {
        const char *left, *right, *joined;
    } rows[] = {/* two ways to "abc", with a pair of a lower rank than the second */
                {"a", "b", "ab"},   {"abc", "a", "abca"}, {"b", "c", "bc"},        {"a", "bc", "abc"},
                {"ab", "c", "abc"}, {"c", "a", "ca"},     {"ca", "ab", "caab"},    {"abc", "abc", "abcabc"},
                {"a", "a", "aa"},   {"aa", "a", "aaa"},   {"b", "b</w>", "bb</w>"}};
    json_t *root = small_json(directory), *model = json_object_get(root, "model");
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
    char path[600];
    snprintf(path, sizeof path, "%s/orders.json", directory);
    if (ok(t && dt_tokenizer_save(t, path, &error), "odd orders of merges, as strings and as arrays: %s",
           error.message))
        compare_with_naive(t, path, 2000, "odd orders");
    ok(t && dt_tokenizer_vocab_size(t) == 1011 && !dt_tokenizer_token(t, 999), "ids may have gaps");
    dt_tokenizer_free(t);
    json_decref(merges);
    json_decref(root);
}

static void test_damaged_json(const char *directory)
{
    json_t *root = small_json(directory), *model = json_object_get(root, "model");
    json_t *vocab = json_object_get(model, "vocab"), *merges = json_object_get(model, "merges");
    dt_error error = {""};
    dt_tokenizer *t = parse_json(root, &error);
    ok(t != NULL, "the small tokenizer is good before: %s", error.message);
    dt_tokenizer_free(t);

#define WITH(object, key, value, want)                                                                       \
    do {                                                                                                     \
        json_t *before = json_incref(json_object_get(object, key));                                          \
        json_object_set_new(object, key, value);                                                             \
        refused(root, want);                                                                                 \
        json_object_del(object, key);                                                                        \
        if (before)                                                                                          \
            json_object_set_new(object, key, before);                                                        \
    } while (0)
    WITH(root, "model", json_null(), "no object 'model'");
    WITH(model, "type", json_string("WordPiece"), "expected \"BPE\", found \"WordPiece\"");
    WITH(model, "end_of_word_suffix", json_null(), "found none");
    WITH(model, "end_of_word_suffix", json_string("@@"), "found \"@@\"");
    WITH(model, "continuing_subword_prefix", json_string("##"), "continuing_subword_prefix");
    WITH(model, "ignore_merges", json_true(), "ignore_merges");
    WITH(model, "byte_fallback", json_true(), "byte_fallback");
    WITH(model, "vocab", json_array(), "model.vocab: expected an object");
    WITH(model, "merges", json_string("a b"), "model.merges: expected an array");
    WITH(vocab, "a", json_integer(-5), "token 'a'");
    WITH(vocab, "a", json_integer(1 << 20), "token 'a'");
    WITH(vocab, "a", json_string("x"), "token 'a'");
    WITH(vocab, "a", json_real(3.5), "token 'a'");
    WITH(vocab, "zz", json_integer(5), "same id 5");
    WITH(vocab, "", json_integer(600), "empty");
    WITH(root, "added_tokens", json_pack("[{s:s}]", "content", "x"), "added_tokens[0]");
    WITH(root, "added_tokens", json_pack("[{s:s,s:i}]", "content", "a", "id", 7000), "twice");
    WITH(root, "added_tokens", json_pack("[{s:s,s:i}]", "content", "pad", "id", 5), "same id 5");
#undef WITH
    static const char *const bad_merges[] = {"es", "e s t", " e", "e ", "", "e zq", "es es", "e s"};
    for (size_t i = 0; i < sizeof bad_merges / sizeof bad_merges[0]; i++) {
        json_array_append_new(merges, json_string(bad_merges[i]));
        refused(root, i < 7 ? "model.merges[7]" : "merges 1 and 8 are the same");
        json_array_remove(merges, 7);
    }
    json_array_append_new(merges, json_pack("[s]", "e"));
    refused(root, "model.merges[7]");
    json_array_set_new(merges, 7, json_pack("[si]", "e", 3));
    refused(root, "an integer");
    json_array_remove(merges, 7);

    json_object_del(vocab, "\u0100</w>");
    refused(root, "byte 0x00 at the end of a word");
    json_object_set_new(vocab, "\u0100</w>", json_integer(444));
    json_object_set_new(root, "added_tokens", json_array());
    json_object_del(vocab, DT_END_TEXT);
    refused(root, "no '<|endoftext|>'");
    json_decref(root);
}

static void refused_bytes(const void *data, size_t size, const char *want)
{
    dt_error error = {""};
    dt_tokenizer *t = dt_tokenizer_parse(data, size, "bytes", &error);
    ok(!t && strstr(error.message, want), "refused: %s (wanted: %s)", error.message, want);
    dt_tokenizer_free(t);
}

static size_t pack(const void *data, size_t size, uint8_t *out, size_t room)
{
    z_stream stream = {.next_in = (uint8_t *)(uintptr_t)data, .avail_in = (uInt)size};
    stream.next_out = out;
    stream.avail_out = (uInt)room;
    deflateInit2(&stream, 9, Z_DEFLATED, MAX_WBITS + 16, 9, Z_DEFAULT_STRATEGY);
    deflate(&stream, Z_FINISH);
    deflateEnd(&stream);
    return stream.total_out;
}

static void test_damaged_bytes(void)
{
    enum { BOMB = 80 << 20, ROOM = 1 << 20 };
    dt_error error = {""};
    ok(!dt_tokenizer_load("/nonexistent/vocabulary", &error), "%s", error.message);
    refused_bytes("", 0, "empty");
    refused_bytes(" \n\n", 3, "empty");
    refused_bytes("{\"a\": 1,}", 9, "bytes:1:");
    refused_bytes("{\"!\": 0, \"a\": 1}", 16, "no object 'model'");
    refused_bytes("[1, 2]", 6, "no object 'model'");
    refused_bytes("\"version\"\nt h\nth e\n", 18, "2 merges, expected at least 48894");
    refused_bytes("only one line", 13, "0 merges");
    refused_bytes("\"version\"\nt h\nth\n", 16, "bytes:3: expected two tokens");
    refused_bytes("\"version\"\nt h\nq zz\n", 18, "bytes:3: token 'zz'");
    refused_bytes("\"version\"\nt h\nt h\n", 17, "bytes:3: the merge 't h'");
    refused_bytes("\"version\"\r\nt h\r\nt\t\xff\n", 20, "bytes:3: byte 18 (0xff)");
    refused_bytes("\"version\"\nt \0\n", 14, "(0x00)");
    uint8_t *packed = malloc(ROOM);
    char *bomb = calloc(1, BOMB);
    size_t size = pack("\"version\"\nt h\nt h\n", 17, packed, ROOM - 3);
    refused_bytes(packed, size, "bytes:3: the merge 't h'");
    refused_bytes(packed, size - 1, "ends in the middle");
    refused_bytes(packed, 2, "ends in the middle");
    memcpy(packed + size, "xxx", 3);
    refused_bytes(packed, size + 3, "damaged");
    packed[size / 2] ^= 0x55;
    refused_bytes(packed, size, "gzip file");
    size = pack(bomb, BOMB, packed, ROOM);
    refused_bytes(packed, size, "more than 64 MiB");
    free(bomb);
    free(packed);
}

static void test_hostile_text(void)
{
    enum { LONG = 2 << 20 };
    dt_error error = {""};
    dt_tokenizer *t = random_tokenizer(300, &error);
    if (!ok(t != NULL, "trains: %s", error.message))
        return;
    int32_t ids[16], few[2] = {-1, -1};
    size_t count = 99;
    ok(dt_tokenizer_encode(t, "", 0, ids, 16, &count, &error) && count == 0, "empty text has no ids");
    ok(dt_tokenizer_encode(t, NULL, 0, NULL, 0, &count, &error) && count == 0, "NULL of length 0 too");
    ok(dt_tokenizer_encode(t, "q w\0e\tr", 7, ids, 16, &count, &error) && count == 3 + 1, "NULs are dropped");
    ok(dt_tokenizer_encode(t, "q w e r", 7, few, 1, &count, &error) && count == 4 && few[1] == -1,
       "capacity bounds what is written, not the count");
    static const struct {
        const char *text;
        size_t length, at;
    } bad[] = {{"\xff", 1, 0},      {"caf\xe9 x", 6, 3},   {"ab\xed\xa0\x80", 5, 2},
               {"a\xc0\x80", 3, 1}, {"abc\xe2\x82", 5, 3}, {"\xf4\x90\x80\x80", 4, 0},
               {"ab \x80", 4, 3}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char want[32];
        snprintf(want, sizeof want, "at byte %zu ", bad[i].at);
        ok(!dt_tokenizer_encode(t, bad[i].text, bad[i].length, ids, 16, &count, &error) &&
               strstr(error.message, want),
           "%s", error.message);
    }
    ok(!dt_tokenizer_encode(t, "x", (size_t)65 << 20, ids, 16, &count, &error), "%s", error.message);

    char *text = malloc(LONG);
    for (int kind = 0; kind < 5; kind++) {
        static const char *const units[] = {"a", "abc", "&amp;", "e\xcc\xa3\xcc\x81", "\xce\xa3'"};
        size_t unit = strlen(units[kind]), length = LONG / unit * unit;
        for (size_t i = 0; i < length; i += unit)
            memcpy(text + i, units[kind], unit);
        bool good = dt_tokenizer_encode(t, text, length, ids, 16, &count, &error);
        ok(good && count > 16, "%zu bytes of %s: %zu ids", length, units[kind], count);
    }
    for (size_t i = 0; i + 1 < LONG; i += 2) /* marks in the wrong order, all of one run */
        memcpy(text + i, i < LONG / 2 ? "\xcc\x81" : "\xcc\xa3", 2);
    ok(dt_tokenizer_encode(t, text, LONG, ids, 16, &count, &error), "a megabyte of marks");
    memcpy(text, "&", 1); /* &amp;amp;amp; ... takes a pass a layer */
    for (size_t i = 1; i + 4 <= LONG; i += 4)
        memcpy(text + i, "amp;", 4);
    ok(dt_tokenizer_encode(t, text, LONG - 3, ids, 16, &count, &error),
       "references nested half a million deep");
    free(text);
    dt_tokenizer_free(t);
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
    ok(!dt_tokenizer_encode_padded(t, "low", 3, row, 0, &error), "%s", error.message);
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

static void test_published(const char *directory)
{
    static const char name[] = "tokenizer/bpe_simple_vocab_16e6.txt.gz";
    const char *path = golden(name);
    if (!path) {
        skip(name, "the published vocabulary is not here");
        return;
    }
    dt_error error = {""};
    dt_tokenizer *t = dt_tokenizer_load(path, &error);
    if (!ok(t != NULL, "reads the published merge list: %s", error.message))
        return;
    ok(dt_tokenizer_vocab_size(t) == 49408 && dt_tokenizer_start(t) == 49406 && dt_tokenizer_end(t) == 49407,
       "49408 ids");
    test_plain(t);
    test_padded(t);
    test_ftfy(t);
    char saved[600];
    snprintf(saved, sizeof saved, "%s/clip.json", directory);
    dt_tokenizer *again = dt_tokenizer_save(t, saved, &error) ? dt_tokenizer_load(saved, &error) : NULL;
    ok(again && dt_tokenizer_fingerprint(again) == dt_tokenizer_fingerprint(t),
       "as a tokenizer.json it is the same: %s", error.message);
    dt_tokenizer_free(again);
    dt_tokenizer_free(t);
}

int main(void)
{
    const char *directory = scratch();
    test_published(directory);
    test_text();
    test_training();
    test_files(directory);
    test_merge_orders(directory);
    test_damaged_json(directory);
    test_damaged_bytes();
    test_hostile_text();
    test_decode();
    test_threads();
    static const char *const made[] = {"tokenizer.json", "small.json", "orders.json", "clip.json"};
    for (size_t i = 0; i < sizeof made / sizeof made[0]; i++) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", directory, made[i]);
        unlink(path);
    }
    rmdir(directory);
    return done();
}
