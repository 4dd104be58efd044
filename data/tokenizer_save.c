/* A tokenizer as the tokenizer.json of Hugging Face's tokenizers library: the model is exact; normaliser and
 * splitter are those that CLIP checkpoints ship with (they leave out ftfy and HTML references). */
#include "data/tokenizer_internal.h"

#include <stdlib.h>
#include <string.h>

#include "data/json.h"
#include "data/unigram.h"

static const char normalizer[] =
    "{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"},"
    "{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"\\\\s+\"}, \"content\": \" \"},"
    "{\"type\": \"Lowercase\"}]}";

static const char splitter[] =
    "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\":"
    "\"'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|[^\\\\s\\\\p{L}\\\\p{N}]+\"},"
    "\"behavior\": \"Removed\", \"invert\": true},"
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": false}]}";

static const char decoder[] =
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, \"use_regex\": true}";

/* Each function below gives a new reference, or NULL where there is no memory: json_pack passes that on. */

json_t *dt_tokenizer_vocab_json(const dt_tokenizer *t)
{
    json_t *vocab = json_object();
    for (int32_t id = 0; id < t->size; id++) {
        const char *text = dt_tokenizer_token(t, id);
        if (text && json_object_set_new(vocab, text, json_integer(id))) {
            json_decref(vocab);
            return NULL;
        }
    }
    return vocab;
}

json_t *dt_tokenizer_merges_json(const dt_tokenizer *t)
{
    json_t *merges = json_array();
    for (int32_t i = 0; i < t->merge_count; i++) {
        json_t *merge = json_sprintf("%s %s", dt_tokenizer_token(t, t->merges[i].left),
                                     dt_tokenizer_token(t, t->merges[i].right));
        if (json_array_append_new(merges, merge)) {
            json_decref(merges);
            return NULL;
        }
    }
    return merges;
}

static json_t *model_json(const dt_tokenizer *t)
{
    return json_pack("{s:s, s:n, s:s, s:s, s:s, s:b, s:o, s:o}", "type", "BPE", "dropout", "unk_token",
                     DT_END_TEXT, "continuing_subword_prefix", "", "end_of_word_suffix", DT_WORD_END,
                     "fuse_unk", 0, "vocab", dt_tokenizer_vocab_json(t), "merges", dt_tokenizer_merges_json(t));
}

static json_t *added_json(const char *text, int32_t id)
{
    return json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", id, "content", text, "single_word", 0,
                     "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1);
}

static json_t *framing_json(const dt_tokenizer *t)
{
    return json_pack("{s:s, s:[s,i], s:[s,i], s:b, s:b}", "type", "RobertaProcessing", "sep", DT_END_TEXT,
                     t->end, "cls", DT_START_TEXT, t->start, "trim_offsets", 0, "add_prefix_space", 0);
}

static json_t *tokenizer_json(const dt_tokenizer *t)
{
    return json_pack("{s:s, s:n, s:n, s:[o,o], s:o, s:o, s:o, s:o, s:o}", "version", "1.0", "truncation",
                     "padding", "added_tokens", added_json(DT_START_TEXT, t->start),
                     added_json(DT_END_TEXT, t->end), "normalizer", json_loads(normalizer, 0, NULL),
                     "pre_tokenizer", json_loads(splitter, 0, NULL), "post_processor", framing_json(t),
                     "decoder", json_loads(decoder, 0, NULL), "model", model_json(t));
}

bool dt_tokenizer_save(const dt_tokenizer *t, const char *path, dt_error *error)
{
    if (t->unigram)
        return dt_unigram_save(t, path, error);
    json_t *root = tokenizer_json(t);
    bool good =
        root ? dt_json_write(path, root, error)
             : dt_fail(error, "%s: cannot write the tokenizer: out of memory, or a token is not UTF-8", path);
    json_decref(root);
    return good;
}
