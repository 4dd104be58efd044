#include "data/tokenizer_hf.h"

#include <stdlib.h>
#include <string.h>

#include "data/file.h"
#include "data/tokenizer_internal.h"
#include "data/unigram.h"

enum { VOCAB_FILE_MOST = 256 << 20, MERGES_FILE_MOST = 64 << 20 };

/* Lines as an array of texts; the first is passed over where it is a comment, and empty ones at the end are none. */
static json_t *read_lines(const char *path, dt_error *error)
{
    size_t size;
    char *text = dt_file_read(path, MERGES_FILE_MOST, &size, error);
    json_t *lines = text && size ? json_array() : NULL;
    if (text && !size)
        dt_fail(error, "%s: the file is empty", path);
    for (const char *line = text, *next; lines && line < text + size; line = next) {
        const char *end = memchr(line, '\n', (size_t)(text + size - line));
        size_t length = end ? (size_t)(end - line) : (size_t)(text + size - line);
        next = line + length + 1;
        if (length && line[length - 1] == '\r')
            length--;
        if (!length || (line == text && !strncmp(line, "#version", 8)))
            continue;
        if (json_array_append_new(lines, json_stringn(line, length))) {
            dt_fail(error, "%s: line %zu is not text in UTF-8", path, json_array_size(lines) + 1);
            json_decref(lines);
            lines = NULL;
        }
    }
    free(text);
    return lines;
}

static json_t *load_vocab(const char *path, dt_error *error)
{
    size_t size;
    char *text = dt_file_read(path, (size_t)VOCAB_FILE_MOST, &size, error);
    json_t *ids = text && size ? dt_json_parse(text, size, path, error) : NULL;
    if (text && !size)
        dt_fail(error, "%s: the file is empty", path);
    free(text);
    return ids;
}

dt_tokenizer *dt_tokenizer_load_pair(const char *vocab, const char *merges, dt_error *error)
{
    json_t *ids = load_vocab(vocab, error), *lines = ids ? read_lines(merges, error) : NULL;
    dt_tokenizer *tokenizer = lines ? dt_tokenizer_new(error) : NULL;
    json_t *root = tokenizer ? json_pack("{s:{s:s, s:O, s:O}}", "model", "end_of_word_suffix", DT_WORD_END, "vocab", ids,
                                         "merges", lines) : NULL;
    if (tokenizer && !root)
        dt_fail(error, "out of memory for a tokenizer");
    if (!root || !dt_tokenizer_read_json(tokenizer, root, vocab, error)) {
        dt_tokenizer_free(tokenizer);
        tokenizer = NULL;
    }
    json_decref(root);
    json_decref(lines);
    json_decref(ids);
    return tokenizer;
}

/* ---- Writing ---- */

/* Writes and frees `json`. */
static bool write_json(const char *folder, const char *name, json_t *json, dt_error *error)
{
    char *path = dt_join(folder, name);
    bool good = path && json ? dt_json_write(path, json, error) : dt_fail(error, "out of memory for %s", name);
    free(path);
    json_decref(json);
    return good;
}

static bool write_merges(const dt_tokenizer *t, const char *folder, dt_error *error)
{
    char *path = dt_join(folder, "merges.txt");
    dt_writer *writer = path ? dt_writer_open(path, error) : NULL;
    if (!path)
        dt_fail(error, "out of memory for merges.txt");
    free(path);
    if (!writer)
        return false;
    dt_writer_printf(writer, "#version: 0.2\n");
    for (int32_t i = 0; i < t->merge_count; i++)
        dt_writer_printf(writer, "%s %s\n", dt_tokenizer_token(t, t->merges[i].left),
                         dt_tokenizer_token(t, t->merges[i].right));
    return dt_writer_commit(writer, error);
}

static json_t *special(const char *text, bool typed)
{
    json_t *json = json_pack("{s:s, s:b, s:b, s:b, s:b}", "content", text, "lstrip", 0, "normalized", 1, "rstrip", 0,
                             "single_word", 0);
    if (json && typed)
        json_object_set_new(json, "__type", json_string("AddedToken"));
    return json;
}

static json_t *settings(int context)
{
    return json_pack("{s:o, s:o, s:o, s:s, s:b, s:s, s:i, s:s}", "bos_token", special(DT_START_TEXT, true), "eos_token",
                     special(DT_END_TEXT, true), "unk_token", special(DT_END_TEXT, true), "pad_token", DT_END_TEXT,
                     "do_lower_case", 1, "errors", "replace", "model_max_length", context, "tokenizer_class",
                     "CLIPTokenizer");
}

static json_t *specials(void)
{
    return json_pack("{s:o, s:o, s:o, s:s}", "bos_token", special(DT_START_TEXT, false), "eos_token",
                     special(DT_END_TEXT, false), "unk_token", special(DT_END_TEXT, false), "pad_token", DT_END_TEXT);
}

/* A token that is not there leaves its key out: a member without a value is not set. */
static json_t *unigram_settings(const dt_tokenizer *t, int context)
{
    const struct {
        const char *key;
        int32_t id;
    } tokens[] = {{"bos_token", t->start}, {"eos_token", t->end}, {"unk_token", t->unigram->unknown}, {"pad_token", t->unigram->padding}};
    json_t *json = json_pack("{s:s, s:i, s:[s]}", "tokenizer_class", "PreTrainedTokenizerFast", "model_max_length", context,
                             "model_input_names", "input_ids");
    for (int i = 0; i < 4; i++)
        if (tokens[i].id >= 0)
            json_object_set_new(json, tokens[i].key, json_string(dt_tokenizer_token(t, tokens[i].id)));
    return json;
}

bool dt_tokenizer_save_hf(const dt_tokenizer *t, const char *folder, int context, dt_error *error)
{
    char *path = dt_join(folder, "tokenizer.json");
    bool good = path ? dt_tokenizer_save(t, path, error) : dt_fail(error, "out of memory for tokenizer.json");
    free(path);
    if (t->unigram)
        return good && write_json(folder, "tokenizer_config.json", unigram_settings(t, context), error);
    return good && write_json(folder, "vocab.json", dt_tokenizer_vocab_json(t), error) && write_merges(t, folder, error) &&
           write_json(folder, "tokenizer_config.json", settings(context), error) &&
           write_json(folder, "special_tokens_map.json", specials(), error);
}
