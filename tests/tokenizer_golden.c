/* The tokenizer against what the reference makes of 2810 texts, id for id. */
#include "data/tokenizer.h"

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

static void test_published(void)
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
    const char *saved = in("clip.json");
    dt_tokenizer *again = dt_tokenizer_save(t, saved, &error) ? dt_tokenizer_load(saved, &error) : NULL;
    ok(again && dt_tokenizer_fingerprint(again) == dt_tokenizer_fingerprint(t),
       "as a tokenizer.json it is the same: %s", error.message);
    dt_tokenizer_free(again);
    dt_tokenizer_free(t);
}

int main(void)
{
    test_published();
    test_text();
    return done();
}
