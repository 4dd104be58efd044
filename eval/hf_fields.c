#include "eval/hf_fields.h"

#include "eval/config_fields.h"

#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What changes the computation, by pattern (fnmatch), with the value that does not; NULL: none but "off" (null, false, 0, an
 * empty text, list or object). The first pattern that fits counts. */
static const struct {
    int part;
    const char *key, *harmless;
} changing[] = {
    {DT_HF_TOWER, "*q*k*norm*", NULL},
    {DT_HF_TOWER, "*rope*", NULL},
    {DT_HF_TOWER, "*rotary*", NULL},
    {DT_HF_TOWER, "*position_embedding_type", "\"absolute\""},
    {DT_HF_TOWER, "use_abs*_pos*", "true"},
    {DT_HF_TOWER, "*relative_pos*", NULL},
    {DT_HF_TOWER, "*interpolate_pos*", NULL},
    {DT_HF_TOWER, "*alibi*", NULL},
    {DT_HF_TOWER, "*swiglu*", NULL},
    {DT_HF_TOWER, "*gated_mlp*", NULL},
    {DT_HF_TOWER, "*rms_norm*", NULL},
    {DT_HF_TOWER, "norm_type", "\"layernorm\""},
    {DT_HF_TOWER, "*layer_?scale*", NULL},
    {DT_HF_TOWER, "*layerscale*", NULL},
    {DT_HF_TOWER, "*register_tokens", NULL},
    {DT_HF_TOWER, "*softcap*", NULL},
    {DT_HF_TOWER, "*sliding_window*", NULL},
    {DT_HF_TOWER, "*num_experts*", NULL},
    {DT_HF_TOWER, "*num_patches", NULL}, /* SigLIP 2 with pictures of any shape */
    {DT_HF_TOWER, "qkv_bias", "true"},
    {DT_HF_TOWER, "attention_bias", "true"},
    {DT_HF_TOWER, "mlp_bias", "true"},
    {DT_HF_TOWER, "use_bias", "true"},
    {DT_HF_TOWER, "patch_bias", NULL},
    {DT_HF_TOWER, "use_mean_pooling", NULL},
    {DT_HF_TOWER, "use_head", "true"},
    {DT_HF_TOWER, "pooling*", NULL},
    {DT_HF_TOWER, "pool_type", NULL},
    {DT_HF_MODEL | DT_HF_TOWER, "is_decoder", NULL},
    {DT_HF_MODEL | DT_HF_TOWER, "is_encoder_decoder", NULL},
    {DT_HF_MODEL | DT_HF_TOWER, "add_cross_attention", NULL},
    {DT_HF_MODEL | DT_HF_TOWER, "prune*_heads", NULL},
    {DT_HF_MODEL | DT_HF_TOWER, "quantization_config", NULL},
    {DT_HF_PROCESSOR, "do_pad", NULL},
    {DT_HF_PROCESSOR, "do_flip_channel_order", NULL},
    {DT_HF_PROCESSOR, "do_thumbnail", NULL},
    {DT_HF_PROCESSOR, "do_align_long_axis", NULL},
    {DT_HF_PROCESSOR, "do_convert_grayscale", NULL},
};

/* Of training, of generation, and what says what was said elsewhere. */
static const char *const silent[] = {
    "_*", "architectures", "auto_map", "model_type", "transformers_version", "*dtype", "torchscript", "use_bfloat16",
    "*dropout*", "drop_path*", "initializer_*", "*token_id", "*projection_dim", "return_dict*", "output_*", "use_return_dict",
    "id2label", "label2id", "problem_type", "finetuning_task", "num_labels", "tie_*", "gradient_checkpointing", "use_cache",
    "chunk_size_feed_forward", "tokenizer_class", "prefix", "task_specific_params", "attn_implementation",
    "cross_attention_hidden_size", "temperature", "top_k", "top_p", "typical_p", "epsilon_cutoff", "eta_cutoff", "num_beam*",
    "num_return_sequences", "m??_length", "*_penalty", "do_sample", "early_stopping", "*no_repeat_ngram_size",
    "bad_words_ids", "*suppress_tokens", "remove_invalid_values", "renormalize_logits", "text_config*", "vision_config*",
};

/* Of a processor's; its tokens and its names are no geometry. */
static const char *const silent_processor[] = {"*_type", "*_class", "do_convert_rgb", "_*", "*data_format", "return_tensors",
                                               "device", "disable_grouping", "*seq_length"};

static bool is_off(const json_t *value)
{
    return json_is_null(value) || json_is_false(value) || (json_is_number(value) && json_number_value(value) == 0) ||
           (json_is_string(value) && !json_string_length(value)) || (json_is_array(value) && !json_array_size(value)) ||
           (json_is_object(value) && !json_object_size(value));
}

static bool is_known(const dt_json_field *known, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(known[i].key, key))
            return true;
    return false;
}

static bool is_silent(dt_hf_part part, const char *key)
{
    const char *const *list = part == DT_HF_PROCESSOR ? silent_processor : silent;
    size_t count = part == DT_HF_PROCESSOR ? sizeof silent_processor / sizeof *list : sizeof silent / sizeof *list;
    for (size_t i = 0; i < count; i++)
        if (!fnmatch(list[i], key, 0))
            return true;
    return false;
}

/* Whether there is a pattern for the key; `good`: the value is harmless. */
static bool is_changing(dt_hf_part part, const char *key, const json_t *value, bool *good)
{
    for (size_t i = 0; i < sizeof changing / sizeof *changing; i++)
        if (changing[i].part & part && !fnmatch(changing[i].key, key, 0)) {
            const char *harmless = changing[i].harmless;
            *good = harmless ? json_is_null(value) || dt_json_says(value, harmless) : is_off(value);
            return true;
        }
    return false;
}

static void remember(dt_hf_unknown *unknown, const char *place)
{
    size_t used = strlen(unknown->names), room = sizeof unknown->names - used;
    if (room > strlen(place) + 8)
        snprintf(unknown->names + used, room, "%s%s", used ? ", " : "", place);
    else if (room > 5 && (used < 3 || strcmp(unknown->names + used - 3, "...")))
        snprintf(unknown->names + used, room, "%s...", used ? ", " : "");
    for (char *c = unknown->names + used; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = ' ';
}

bool dt_hf_pass_over(const json_t *json, dt_hf_part part, const char *file, const char *path, const dt_json_field *known,
                     size_t count, dt_hf_unknown *unknown, dt_error *error)
{
    const char *key;
    json_t *value;
    char place[256];
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
    {
        bool good = true;
        if (is_known(known, count, key))
            continue;
        dt_config_place(place, sizeof place, path, key);
        if (is_changing(part, key, value, &good)) {
            if (good)
                continue;
            char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(6));
            dt_fail(error, "%s: %s: %.100s is not supported: it changes what the model computes", file, place,
                    text ? text : "it");
            free(text);
            return false;
        }
        if (unknown && !is_off(value) && !is_silent(part, key))
            remember(unknown, place);
    }
    return true;
}
