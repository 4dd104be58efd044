/* The tokenizer against files that are not what they should be, and texts that mean harm. */
#include "data/tokenizer.h"

#include <zlib.h>

#include "tests/small_tokenizer.h"

static void refused(const json_t *root, const char *want)
{
    dt_error error = {""};
    dt_tokenizer *t = parse_json(root, &error);
    ok(!t && strstr(error.message, want), "refused: %s (wanted: %s)", error.message, want);
    dt_tokenizer_free(t);
}

static void test_damaged_members(json_t *root)
{
    json_t *model = json_object_get(root, "model"), *vocab = json_object_get(model, "vocab");
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
}

/* Leaves `root` damaged. */
static void test_damaged_lists(json_t *root)
{
    json_t *model = json_object_get(root, "model"), *vocab = json_object_get(model, "vocab");
    json_t *merges = json_object_get(model, "merges");
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
    ok(!dt_tokenizer_load("/nonexistent/vocabulary", &error) && says(error.message, "cannot open /nonexistent/vocabulary"), "%s", error.message);
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
    static const char *const repeated[] = {"aaaaaaaaaaaaaaa abcabcabcabcabc aaaa abcabc ab cab",
                                           "aaaaaaaaaaaaaaa abcabcabcabcabc aaaa abcabc ab cab"};
    dt_error error = {""};
    dt_tokenizer *t = dt_bpe_train(repeated, NULL, 2, 300, &error);
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
    ok(!dt_tokenizer_encode(t, "x", (size_t)65 << 20, ids, 16, &count, &error) && says(error.message, "a text of 68157440 bytes"), "%s", error.message);

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

int main(void)
{
    json_t *root = small_json();
    if (ok(root != NULL, "a small tokenizer.json")) {
        test_damaged_members(root);
        test_damaged_lists(root);
    }
    json_decref(root);
    test_damaged_bytes();
    test_hostile_text();
    return done();
}
