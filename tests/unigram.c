/* The unigram tokenizer against Hugging Face's tokenizers (tests/golden/unigram), and against files and texts that mean harm.
 */
#include <stdint.h>
#include <sys/stat.h>

#include "data/json.h"
#include "data/tokenizer.h"
#include "data/tokenizer_hf.h"
#include "tests/tap.h"

enum { IDS = 4096, PADDED = 12 };

static dt_tokenizer *parse(const json_t *root, dt_error *error)
{
    char *text = json_dumps(root, JSON_COMPACT);
    dt_tokenizer *t = dt_tokenizer_parse(text, strlen(text), "file", error);
    free(text);
    return t;
}

/* ---- The reference ---- */

static bool same(const int32_t *ids, size_t count, const json_t *want)
{
    bool good = count == json_array_size(want);
    for (size_t i = 0; good && i < count; i++)
        good = ids[i] == json_integer_value(json_array_get(want, i));
    return good;
}

/* What differs, or NULL. */
static const char *check_case(const dt_tokenizer *t, const json_t *one)
{
    const json_t *text = json_object_get(one, "text"), *padded = json_object_get(one, "padded"),
                 *decoded = json_object_get(one, "decoded");
    int32_t ids[IDS];
    size_t count = 0, length = 0;
    dt_error error = {""};
    const char *s = json_string_value(text);
    if (!dt_tokenizer_encode(t, s, json_string_length(text), ids, IDS, &count, &error) || count > IDS)
        return "an error";
    if (!same(ids, count, json_object_get(one, "ids")))
        return "ids";
    char *back = dt_tokenizer_decode(t, ids, count, &length, &error);
    bool good = back && length == json_string_length(decoded) && !memcmp(back, json_string_value(decoded), length);
    free(back);
    if (!good)
        return "decoded";
    if (padded &&
        (!dt_tokenizer_encode_padded(t, s, json_string_length(text), ids, PADDED, &error) || !same(ids, PADDED, padded)))
        return "padded";
    return NULL;
}

static void check_cases(const char *name, const dt_tokenizer *t, const json_t *cases)
{
    size_t index, wrong = 0;
    const json_t *one;
    json_array_foreach((json_t *)(uintptr_t)cases, index, one)
    {
        const char *what = check_case(t, one);
        if (what)
            printf("# %s, case %zu: %s of \"%s\"\n", name, index, what, json_string_value(json_object_get(one, "text")));
        wrong += what != NULL;
    }
    ok(json_array_size(cases) && !wrong, "%s: %zu texts as the library has them", name, json_array_size(cases));
}

/* In the stored files a vocabulary may be a list of names of lists. */
static void expand_vocabulary(const json_t *stored, json_t *file)
{
    json_t *model = json_object_get(file, "model"), *names = json_object_get(model, "vocab"), *vocab = json_array(), *name;
    size_t index;
    if (!json_is_string(json_array_get(names, 0))) {
        json_decref(vocab);
        return;
    }
    json_array_foreach(names, index, name) json_array_extend(vocab, json_object_get(stored, json_string_value(name)));
    json_object_set_new(model, "vocab", vocab);
}

static dt_tokenizer *through_a_file(const dt_tokenizer *t, dt_error *error)
{
    const char *path = in("tokenizer.json");
    return dt_tokenizer_save(t, path, error) ? dt_tokenizer_load(path, error) : NULL;
}

static void test_golden(void)
{
    const char *path = golden("unigram/cases.json"), *name;
    dt_error error = {""};
    json_t *stored = path ? dt_json_load(path, &error) : NULL, *file;
    if (!path) {
        skip("unigram", "tests/golden/unigram is not there");
        return;
    }
    ok(stored != NULL, "the stored cases: %s", error.message);
    json_object_foreach(json_object_get(stored, "files"), name, file)
    {
        const json_t *cases = json_object_get(json_object_get(stored, "cases"), name);
        expand_vocabulary(stored, file);
        dt_tokenizer *t = parse(file, &error), *again = t ? through_a_file(t, &error) : NULL;
        if (ok(t && again, "%s is read, saved, and read again: %s", name, error.message)) {
            check_cases(name, again, cases);
            ok(dt_tokenizer_fingerprint(t) == dt_tokenizer_fingerprint(again), "%s keeps its fingerprint", name);
        }
        dt_tokenizer_free(t);
        dt_tokenizer_free(again);
    }
    json_decref(stored);
}

/* ---- A small one ---- */

static json_t *small(void)
{
    return json_loads(
        "{\"added_tokens\": [{\"id\": 0, \"content\": \"<unk>\"}, {\"id\": 5, \"content\": \"<new>\", \"normalized\": "
        "false}],"
        "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": [{\"Sequence\": {\"id\": \"A\"}},"
        "{\"SpecialToken\": {\"id\": \"</s>\"}}], \"special_tokens\": {\"</s>\": {\"ids\": [4]}}},"
        "\"model\": {\"type\": \"Unigram\", \"unk_id\": 0, \"vocab\": [[\"<unk>\", 0], [\"a\", -1], [\"b\", -2.5],"
        "[\"ab\", -3], [\"</s>\", 0.0]]}}",
        0, NULL);
}

/* Ids of a text by the small tokenizer with one member changed, as "1 2 3"; or "error: " and the message. */
static const char *ids_with(const char *key, const char *json, const char *text, int context)
{
    static char out[sizeof(dt_error) + 16];
    json_t *root = small(), *value = json_loads(json, JSON_DECODE_ANY, NULL);
    if (!strcmp(key, "vocab"))
        json_object_set_new(json_object_get(root, "model"), key, value);
    else
        json_object_set_new(root, key, value);
    dt_error error = {""};
    dt_tokenizer *t = parse(root, &error);
    int32_t ids[64];
    size_t count = (size_t)context, length = 0;
    bool good = t && (context ? dt_tokenizer_encode_padded(t, text, strlen(text), ids, context, &error)
                              : dt_tokenizer_encode(t, text, strlen(text), ids, 64, &count, &error));
    snprintf(out, sizeof out, "error: %s", error.message);
    if (good)
        *out = '\0';
    for (size_t i = 0; good && i < count && i < 64; i++)
        length += (size_t)snprintf(out + length, sizeof out - length, "%s%d", i ? " " : "", ids[i]);
    dt_tokenizer_free(t);
    json_decref(root);
    return out;
}

static void gives(const char *key, const char *json, const char *text, int context, const char *want)
{
    const char *got = ids_with(key, json, text, context);
    ok(!strcmp(got, want), "%.60s: %.40s gives %s (%s)", json, text, want, got);
}

static void test_rules(void)
{
    gives("version", "1", "abba", 0, "3 2 1");
    gives("version", "1", "abxyz", 0, "3 0");
    gives("version", "1", "a<new>b</s><unk>", 0, "1 5 2 4 0");
    gives("version", "1", "ab", 5, "3 4 4 4 4");
    gives("version", "1", "babab", 3, "2 3 4");
    gives("version", "1", "ab", 1, "4");
    gives("padding", "{\"pad_id\": 2}", "ab", 5, "3 4 2 2 2");
    gives("post_processor", "null", "ab", 3, "3 0 0");
    gives("vocab", "[[\"<unk>\", 0], [\"a\", -1], [\"aa\", -2], [\"x\", 0], [\"</s>\", 0]]", "aaa", 0, "1 2"); /* all equal */
    gives("normalizer", "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"[x\\\\s]{2}|\\\\x{e9}$\"}, \"content\": \"b\"}",
          "a x\xc3\xa9", 0, "3 2");
    gives("normalizer", "{\"type\": \"Sequence\", \"normalizers\": []}", "", 0, "");
    dt_error error = {""};
    json_t *root = small();
    dt_tokenizer *t = parse(root, &error);
    ok(dt_tokenizer_vocab_size(t) == 6 && dt_tokenizer_start(t) == -1 && dt_tokenizer_end(t) == 4 &&
           !strcmp(dt_tokenizer_token(t, 5), "<new>") && !dt_tokenizer_token(t, 6),
       "tokens, start and end");
    char *text = dt_tokenizer_decode(t, (int32_t[]){1, 2, 5}, 3, NULL, &error);
    ok(text && !strcmp(text, "a b <new>"), "without a decoder spaces lie between tokens");
    free(text);
    dt_tokenizer_free(t);
    json_decref(root);
}

static void test_folder(void)
{
    dt_error error = {""};
    json_t *root = small(), *settings = NULL;
    dt_tokenizer *t = parse(root, &error), *again = NULL;
    mkdir(in("hf"), 0755);
    if (dt_tokenizer_save_hf(t, in("hf"), 64, &error)) {
        settings = dt_json_load(in("hf/tokenizer_config.json"), &error);
        again = dt_tokenizer_load(in("hf/tokenizer.json"), &error);
        unlink(in("hf/tokenizer_config.json"));
        unlink(in("hf/tokenizer.json"));
    }
    ok(again && dt_tokenizer_fingerprint(again) == dt_tokenizer_fingerprint(t) && !rmdir(in("hf")),
       "a folder of two files: %s", error.message);
    const char *padding = json_string_value(json_object_get(settings, "pad_token"));
    ok(padding && !strcmp(padding, "</s>") && !json_object_get(settings, "bos_token"), "its padding is the end token");
    dt_tokenizer_free(t);
    dt_tokenizer_free(again);
    json_decref(settings);
    json_decref(root);
}

/* ---- Files that are not what they should be ---- */

static void refused(const char *key, const char *json, const char *want)
{
    const char *got = ids_with(key, json, "ab", 0);
    ok(!strncmp(got, "error: ", 7) && strstr(got, want), "%.60s %s (wanted: %s)", json, got, want);
}

static void test_damaged_members(void)
{
    refused("vocab", "[]", "model.vocab: 0 tokens are not in 1 to 1048576");
    refused("vocab", "{}", "model.vocab: expected an array");
    refused("vocab", "[[\"a\"]]", "model.vocab[0]: expected [\"TEXT\", SCORE]");
    refused("vocab", "[[\"a\", \"NaN\"]]", "expected [\"TEXT\", SCORE]");
    refused("vocab", "[[\"a\", -1e200]]", "a score of -1e+200 is no log probability");
    refused("vocab", "[[\"a\", 0], [\"a\", 0]]", "model.vocab[1]: token 'a' is there twice");
    refused("vocab", "[[\"\", 0]]", "empty");
    refused("vocab", "[[\"<unk>\", 0], [\"a\", 0]]", "'<new>' has id 5, expected 2");
    refused("added_tokens", "[{\"id\": 9, \"content\": \"a\"}]", "added_tokens[0]: 'a' has id 9, expected 1");
    refused("added_tokens", "[{\"id\": 1, \"content\": \"a\"}, {\"id\": 1, \"content\": \"a\"}]",
            "added_tokens[1]: 'a' is there twice");
    refused("added_tokens", "[{\"id\": 5, \"content\": \"\"}]", "added_tokens[0]: the token with id 5 is empty");
    refused("added_tokens", "[7]", "added_tokens[0]");
    refused("post_processor", "{\"type\": \"ByteLevel\"}",
            "post_processor.type: expected \"TemplateProcessing\", found ByteLevel");
    refused("post_processor", "{\"type\": \"TemplateProcessing\", \"single\": []}", "expected one Sequence, found 0");
    refused("post_processor", "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"x\"}}]}",
            "'x' is not among");
    refused("post_processor",
            "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"x\"}}], \"special_tokens\":"
            "{\"x\": {\"ids\": [6]}}}",
            "expected ids in 0 to 5");
    refused("padding", "{\"direction\": \"Left\"}", "padding.direction");
    refused("padding", "{\"pad_id\": 6}", "padding.pad_id: 6 is no token");
    refused("truncation", "{\"direction\": \"Left\"}", "truncation.direction");
    refused("decoder", "{\"type\": \"WordPiece\"}",
            "decoder.type: expected \"Metaspace\" or \"ByteFallback\", found \"WordPiece\"");
    refused("decoder", "{\"type\": \"Metaspace\", \"replacement\": \"__\"}", "expected one character");
    refused("pre_tokenizer", "{\"type\": \"ByteLevel\"}", "pre_tokenizer.type: \"ByteLevel\" is not supported");
    refused("pre_tokenizer", "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\"}]}",
            "pretokenizers[0].type: \"Digits\"");
    refused("pre_tokenizer", "{\"type\": \"Metaspace\", \"replacement\": \"_\", \"add_prefix_space\": false}",
            "add_prefix_space is false");
    refused("normalizer", "{\"type\": \"BertNormalizer\"}", "normalizer.type: \"BertNormalizer\" is not supported");
    refused("normalizer", "[]", "normalizer: expected an object with a type, found an array");
    refused("normalizer", "{\"type\": \"Replace\", \"pattern\": {\"String\": \"\"}, \"content\": \"\"}",
            "normalizer.pattern: expected");
    refused("model", "{\"type\": \"Unigram\", \"unk_id\": 1, \"vocab\": [[\"a\", 0]]}", "model.unk_id: 1 is no token of the 1");
    ok(strstr(
           ids_with("model",
                    "{\"type\": \"Unigram\", \"vocab\": [[\"a\", 0], [\"<unk>\", 0], [\"</s>\", 0], [\"b\", 0], [\"c\", 0]]}",
                    "ab", 0),
           "'<unk>' has id 0, expected 1") != NULL,
       "ids of added tokens are those of the vocabulary");
    ok(strstr(ids_with("version", "1", "ab", 70000), "context of 70000"), "a context that is too long");
    ok(strstr(ids_with("version", "1", "\xff", 0), "not UTF-8 at byte 0 (0xff)"), "text that is not UTF-8");
}

static void test_no_unknown(void)
{
    static const char text[] = "{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\", 0], [\"\xc3\xa9\xc3\xa9\", 0]]}}";
    dt_error error = {""};
    int32_t ids[4];
    size_t count;
    dt_tokenizer *t = dt_tokenizer_parse(text, sizeof text - 1, "file", &error);
    ok(!dt_tokenizer_encode(t, "a\xc3\xa9\xc3\xa9", 5, ids, 4, &count, &error) &&
           strstr(error.message, "'\xc3\xa9' is in no token, and"),
       "without unk_id: %s", error.message);
    dt_tokenizer_free(t);
    t = dt_tokenizer_parse("{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"\xff\", 0]]}}", 49, "file", &error);
    ok(!t && strstr(error.message, "byte 0xff"), "a piece that is not UTF-8: %s", error.message);
    dt_tokenizer_free(t);
    t = dt_tokenizer_parse("{\"model\": {\"type\": \"Unigram\", \"vocab\": [[\"a\", NaN]]}}", 51, "file", &error);
    ok(!t && strstr(error.message, "file:1:"), "a NaN: %s", error.message);
    dt_tokenizer_free(t);
}

/* More tokens than there are ids; texts that are too long; and as many steps as JSON can nest. */
static void test_too_many(void)
{
    size_t size = (size_t)12 << 20, n = 0;
    char *text = malloc(size);
    n += (size_t)sprintf(text, "{\"model\": {\"type\": \"Unigram\", \"vocab\": [7");
    for (int i = 0; i < 1 << 20; i++, n += 2)
        memcpy(text + n, ",7", 2);
    n += (size_t)sprintf(text + n, "]}}");
    dt_error error = {""};
    dt_tokenizer *t = dt_tokenizer_parse(text, n, "file", &error);
    ok(!t && strstr(error.message, "1048577 tokens are not in 1 to 1048576"), "%s", error.message);
    dt_tokenizer_free(t);
    n = (size_t)sprintf(text, "[[\"");
    memset(text + n, 'a', 600);
    sprintf(text + n + 600, "\", 0]]");
    refused("vocab", text, "a token of 600 bytes");
    n = 0;
    for (int i = 0; i < 900; i++)
        n += (size_t)sprintf(text + n, "{\"type\":\"Sequence\",\"normalizers\":[");
    n += (size_t)sprintf(text + n, "{\"type\":\"Lowercase\"}");
    for (int i = 0; i < 900; i++)
        n += (size_t)sprintf(text + n, "]}");
    gives("normalizer", text, "AB", 0, "3");
    n = (size_t)sprintf(text, "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}");
    for (int i = 0; i < 64; i++)
        n += (size_t)sprintf(text + n, ",{\"type\":\"NFC\"}");
    sprintf(text + n, "]}");
    refused("normalizer", text, "more than 64 steps");
    n = (size_t)sprintf(text, "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": \"");
    memset(text + n, 'b', (size_t)9 << 20);
    sprintf(text + n + ((size_t)9 << 20), "\"}");
    ok(strstr(ids_with("normalizer", text, "aaaaaaaa", 0), "the text grows to more than"), "a replacement that swells");
    free(text);
}

static void refused_pattern(const char *pattern, const char *want)
{
    char json[400];
    json_t *replace = json_pack("{s:s, s:{s:s}, s:s}", "type", "Replace", "pattern", "Regex", pattern, "content", "");
    char *text = json_dumps(replace, 0);
    snprintf(json, sizeof json, "%s", text);
    free(text);
    json_decref(replace);
    refused("normalizer", json, want);
}

static void test_patterns(void)
{
    refused_pattern("", "normalizer.pattern.Regex: the pattern is empty");
    refused_pattern("a*", "can match an empty text");
    refused_pattern("(a", "not a regular expression");
    refused_pattern("ab\\", "'\\' at byte 2 of the pattern is not supported");
    refused_pattern("\\b", "'\\b' at byte 0");
    refused_pattern("\\R", "'\\R' at byte 0");
    refused_pattern("\\1", "'\\1' at byte 0");
    refused_pattern("\\p{Han}", "'\\p{Han}' at byte 0");
    refused_pattern("\\p{L", "'\\p{L' at byte 0");
    refused_pattern("\\xe9", "'\\x' at byte 0");
    refused_pattern("[a[b]]", "'[b' at byte 2");
    refused_pattern("[[:alpha:]]", "'[:' at byte 1");
    refused_pattern("[a&&b]", "'&&' at byte 2");
    refused_pattern("[\\W]", "'\\W' at byte 1");
    refused_pattern("(?i)a", "'(?i)' at byte 0");
    refused_pattern("(*UTF)a", "'(*UT' at byte 0");
    refused_pattern("a{,3}", "'{,3}' at byte 1");
    refused_pattern("a{2}+", "'{2}+' at byte 1");
    refused_pattern("((((a{1,9999}){1,9999}){1,9999}){1,9999})", "not a regular expression");
    const char *got =
        ids_with("normalizer", "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"(a+)+[bc]\"}, \"content\": \"\"}",
                 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 0);
    ok(strstr(got, "the pattern gives up on the text from byte 0 on: match limit exceeded"), "%s", got);
}

/* ---- The double array ---- */

static void put_base64(char *out, const uint8_t *bytes, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        uint32_t bits =
            (uint32_t)bytes[i] << 16 | (i + 1 < size ? (uint32_t)bytes[i + 1] << 8 : 0) | (i + 2 < size ? bytes[i + 2] : 0);
        for (int k = 0; k < 4; k++)
            *out++ = i + (size_t)k > size ? '=' : digits[bits >> (18 - 6 * k) & 63];
    }
    *out = '\0';
}

enum { UNITS = 256, LEAF = 1 << 8 };

/* A normalizer whose map has `units` and a pool. The root's children lie at units[1 ^ byte]. */
static const char *charsmap(const uint32_t *units, const char *pool, size_t pool_size, uint32_t said)
{
    static char json[4096];
    uint8_t bytes[4 + 4 * UNITS + 16] = {(uint8_t)said, (uint8_t)(said >> 8), (uint8_t)(said >> 16), (uint8_t)(said >> 24)};
    for (size_t i = 0; i < UNITS; i++)
        for (int k = 0; k < 4; k++)
            bytes[4 + 4 * i + (size_t)k] = (uint8_t)(units[i] >> 8 * k);
    memcpy(bytes + 4 + 4 * UNITS, pool, pool_size);
    size_t n = (size_t)sprintf(json, "{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"");
    put_base64(json + n, bytes, 4 + 4 * UNITS + pool_size);
    strcat(json, "\"}");
    return json;
}

static void test_charsmap(void)
{
    uint32_t units[UNITS] = {[0] = 1 << 10, [1 ^ 'x'] = 'x' | LEAF | ((1 ^ 'x' ^ 3) << 10), [3] = 1u << 31 | 0};
    gives("normalizer", charsmap(units, "ab\0", 3, 4 * UNITS), "xbx\xcc\x81", 0, "3 2 3"); /* the accent goes with its x */
    gives("normalizer", charsmap(units, "ab", 2, 4 * UNITS), "x", 0, "3");                 /* the pool's end ends it too */
    refused("normalizer", charsmap(units, "", 0, 4 * UNITS), "unit 121 names byte 0 of a pool of 0");
    refused("normalizer", charsmap(units, "\xcc", 1, 4 * UNITS), "byte 0 of the pool is not UTF-8");
    refused("normalizer", charsmap(units, "ab", 2, 4 * UNITS + 4), "a double array of 1028 bytes in 1030");
    refused("normalizer", charsmap(units, "ab", 2, 1024 * UNITS), "a double array of 262144 bytes");
    refused("normalizer", charsmap(units, "ab", 2, UINT32_MAX), "a double array of 4294967295 bytes");
    refused("normalizer", charsmap(units, "ab", 2, 0), "a double array of 0 bytes");
    units[3] = 1u << 31 | 1;
    refused("normalizer", charsmap(units, "\xc3\xa9", 2, 4 * UNITS),
            "unit 121 names byte 1 of the pool, the middle of a character");
    units[3] = 0xffffffff;
    refused("normalizer", charsmap(units, "ab", 2, 4 * UNITS), "unit 121 names byte 2147483647 of a pool of 2");
    units[1 ^ 'x'] = 'x' | 0x1ffffeu << 10;
    refused("normalizer", charsmap(units, "ab", 2, 4 * UNITS), "unit 121 leads to unit 2097031 of 256");
    units[1 ^ 'x'] = 'x' | ((1 ^ 'x' ^ 1) << 10); /* its children are the root's: x leads to x for ever */
    gives("normalizer", charsmap(units, "ab", 2, 4 * UNITS), "xxxxxxxxab", 0, "0 3");
    units[0] = 0xfffffe00;
    refused("normalizer", charsmap(units, "ab", 2, 4 * UNITS), "unit 0 leads to unit");
    refused("normalizer", "{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"\"}", "0 characters are not base64");
    refused("normalizer", "{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"AAA*\"}",
            "character 3 (0x2a) is not base64");
    refused("normalizer", "{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"====\"}", "is not base64");
    refused("normalizer", "{\"type\": \"Precompiled\", \"precompiled_charsmap\": \"AA==\"}", "a double array of 0 bytes in 1");
    refused("normalizer", "{\"type\": \"Precompiled\"}", "precompiled_charsmap");
}

/* A megabyte of each: time that grows with more than the length would be felt. */
static void test_long_texts(void)
{
    enum { LENGTH = 1 << 20 };
    json_t *root = small();
    json_object_set_new(root, "normalizer",
                        json_pack("{s:s, s:[{s:s}, {s:s}, {s:s, s:b, s:b}]}", "type", "Sequence", "normalizers", "type", "NFKD",
                                  "type", "StripAccents", "type", "Strip", "strip_left", 1, "strip_right", 1));
    dt_error error = {""};
    dt_tokenizer *t = parse(root, &error);
    static const char *const kinds[] = {"a", " ", "\xcc\x96\xcc\x80", "ab", "z"};
    static const size_t counts[] = {LENGTH, 0, 0, LENGTH / 2, 1};
    char *text = malloc(LENGTH);
    int32_t *ids = malloc(LENGTH * sizeof *ids);
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        size_t width = strlen(kinds[k]), count = 0;
        for (size_t i = 0; i < LENGTH; i++)
            text[i] = kinds[k][i % width];
        bool good = dt_tokenizer_encode(t, text, LENGTH, ids, LENGTH, &count, &error);
        ok(good && count == counts[k], "a megabyte of '%s': %zu ids", kinds[k], count);
    }
    free(text);
    free(ids);
    dt_tokenizer_free(t);
    json_decref(root);
}

int main(void)
{
    test_golden();
    test_rules();
    test_folder();
    test_damaged_members();
    test_no_unknown();
    test_too_many();
    test_patterns();
    test_charsmap();
    test_long_texts();
    return done();
}
