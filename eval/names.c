#include "eval/names.h"

#include <stdio.h>
#include <string.h>

/* Where `parts` are named, "@" stands for each of them in turn. */
typedef struct rule {
    const char *duet, *foreign;
    const char *parts[DT_NAME_PARTS];
    bool transposed;
    int leading;
} rule;

#define QKV {"q", "k", "v"}

/* A block of a transformer, below its place in the tower. */
static const rule hf_block[] = {
    {"attn.in_proj_weight", "self_attn.@_proj.weight", QKV, false, 0},
    {"attn.in_proj_bias", "self_attn.@_proj.bias", QKV, false, 0},
    {"attn.out_proj.weight", "self_attn.out_proj.weight", {0}, false, 0},
    {"attn.out_proj.bias", "self_attn.out_proj.bias", {0}, false, 0},
    {"ln_1.weight", "layer_norm1.weight", {0}, false, 0},
    {"ln_1.bias", "layer_norm1.bias", {0}, false, 0},
    {"ln_2.weight", "layer_norm2.weight", {0}, false, 0},
    {"ln_2.bias", "layer_norm2.bias", {0}, false, 0},
    {"mlp.c_fc.weight", "mlp.fc1.weight", {0}, false, 0},
    {"mlp.c_fc.bias", "mlp.fc1.bias", {0}, false, 0},
    {"mlp.c_proj.weight", "mlp.fc2.weight", {0}, false, 0},
    {"mlp.c_proj.bias", "mlp.fc2.bias", {0}, false, 0},
    {0},
};

static const rule timm_block[] = {
    {"attn.in_proj_weight", "attn.qkv.weight", {0}, false, 0},
    {"attn.in_proj_bias", "attn.qkv.bias", {0}, false, 0},
    {"attn.out_proj.weight", "attn.proj.weight", {0}, false, 0},
    {"attn.out_proj.bias", "attn.proj.bias", {0}, false, 0},
    {"ln_1.weight", "norm1.weight", {0}, false, 0},
    {"ln_1.bias", "norm1.bias", {0}, false, 0},
    {"ln_2.weight", "norm2.weight", {0}, false, 0},
    {"ln_2.bias", "norm2.bias", {0}, false, 0},
    {"mlp.c_fc.weight", "mlp.fc1.weight", {0}, false, 0},
    {"mlp.c_fc.bias", "mlp.fc1.bias", {0}, false, 0},
    {"mlp.c_proj.weight", "mlp.fc2.weight", {0}, false, 0},
    {"mlp.c_proj.bias", "mlp.fc2.bias", {0}, false, 0},
    {0},
};

static const rule hf_rest[] = {
    {"visual.class_embedding", "vision_model.embeddings.class_embedding", {0}, false, 0},
    {"visual.positional_embedding", "vision_model.embeddings.position_embedding.weight", {0}, false, 0},
    {"visual.conv1.weight", "vision_model.embeddings.patch_embedding.weight", {0}, false, 0},
    {"visual.conv1.bias", "vision_model.embeddings.patch_embedding.bias", {0}, false, 0},
    {"visual.ln_pre.weight", "vision_model.pre_layrnorm.weight", {0}, false, 0}, /* their spelling */
    {"visual.ln_pre.bias", "vision_model.pre_layrnorm.bias", {0}, false, 0},
    {"visual.ln_post.weight", "vision_model.post_layernorm.weight", {0}, false, 0},
    {"visual.ln_post.bias", "vision_model.post_layernorm.bias", {0}, false, 0},
    {"visual.proj", "visual_projection.weight", {0}, true, 0},
    {"visual.attn_pool.probe", "vision_model.head.probe", {0}, false, 0},
    {"visual.attn_pool.attn.in_proj_weight", "vision_model.head.attention.in_proj_weight", {0}, false, 0},
    {"visual.attn_pool.attn.in_proj_bias", "vision_model.head.attention.in_proj_bias", {0}, false, 0},
    {"visual.attn_pool.attn.out_proj.weight", "vision_model.head.attention.out_proj.weight", {0}, false, 0},
    {"visual.attn_pool.attn.out_proj.bias", "vision_model.head.attention.out_proj.bias", {0}, false, 0},
    {"visual.attn_pool.ln.weight", "vision_model.head.layernorm.weight", {0}, false, 0},
    {"visual.attn_pool.ln.bias", "vision_model.head.layernorm.bias", {0}, false, 0},
    {"visual.attn_pool.mlp.c_fc.weight", "vision_model.head.mlp.fc1.weight", {0}, false, 0},
    {"visual.attn_pool.mlp.c_fc.bias", "vision_model.head.mlp.fc1.bias", {0}, false, 0},
    {"visual.attn_pool.mlp.c_proj.weight", "vision_model.head.mlp.fc2.weight", {0}, false, 0},
    {"visual.attn_pool.mlp.c_proj.bias", "vision_model.head.mlp.fc2.bias", {0}, false, 0},
    {"token_embedding.weight", "text_model.embeddings.token_embedding.weight", {0}, false, 0},
    {"positional_embedding", "text_model.embeddings.position_embedding.weight", {0}, false, 0},
    {"ln_final.weight", "text_model.final_layer_norm.weight", {0}, false, 0},
    {"ln_final.bias", "text_model.final_layer_norm.bias", {0}, false, 0},
    {0},
};

static const rule hf_clip_ends[] = {
    {"text_projection", "text_projection.weight", {0}, true, 0},
    {"logit_scale", "logit_scale", {0}, false, 0},
    {0},
};

static const rule hf_siglip_ends[] = {
    {"text_projection.weight", "text_model.head.weight", {0}, false, 0},
    {"text_projection.bias", "text_model.head.bias", {0}, false, 0},
    {"logit_scale", "logit_scale", {0}, false, 1},
    {"logit_bias", "logit_bias", {0}, false, 1},
    {0},
};

static const rule timm_rest[] = {
    {"visual.positional_embedding", "visual.trunk.pos_embed", {0}, false, 1},
    {"visual.conv1.weight", "visual.trunk.patch_embed.proj.weight", {0}, false, 0},
    {"visual.conv1.bias", "visual.trunk.patch_embed.proj.bias", {0}, false, 0},
    {"visual.ln_post.weight", "visual.trunk.norm.weight", {0}, false, 0},
    {"visual.ln_post.bias", "visual.trunk.norm.bias", {0}, false, 0},
    {"visual.attn_pool.probe", "visual.trunk.attn_pool.latent", {0}, false, 0},
    {"visual.attn_pool.attn.in_proj_weight", "visual.trunk.attn_pool.@.weight", {"q", "kv"}, false, 0},
    {"visual.attn_pool.attn.in_proj_bias", "visual.trunk.attn_pool.@.bias", {"q", "kv"}, false, 0},
    {"visual.attn_pool.attn.out_proj.weight", "visual.trunk.attn_pool.proj.weight", {0}, false, 0},
    {"visual.attn_pool.attn.out_proj.bias", "visual.trunk.attn_pool.proj.bias", {0}, false, 0},
    {"visual.attn_pool.ln.weight", "visual.trunk.attn_pool.norm.weight", {0}, false, 0},
    {"visual.attn_pool.ln.bias", "visual.trunk.attn_pool.norm.bias", {0}, false, 0},
    {"visual.attn_pool.mlp.c_fc.weight", "visual.trunk.attn_pool.mlp.fc1.weight", {0}, false, 0},
    {"visual.attn_pool.mlp.c_fc.bias", "visual.trunk.attn_pool.mlp.fc1.bias", {0}, false, 0},
    {"visual.attn_pool.mlp.c_proj.weight", "visual.trunk.attn_pool.mlp.fc2.weight", {0}, false, 0},
    {"visual.attn_pool.mlp.c_proj.bias", "visual.trunk.attn_pool.mlp.fc2.bias", {0}, false, 0},
    {"logit_scale", "logit_scale", {0}, false, 0},
    {"logit_bias", "logit_bias", {0}, false, 0},
    {0},
};

/* A tower's blocks: the prefix here and there, and what the block's own names become. */
typedef struct tower {
    const char *duet, *foreign;
    const rule *block;
} tower;

#define VISUAL_BLOCK "visual.transformer.resblocks."
#define TEXT_BLOCK   "transformer.resblocks."

static const struct {
    tower towers[2];
    const rule *lists[2];
    bool apart; /* texts have their names here, behind "text." */
} namings[] = {
    [DT_NAMES_HF_CLIP] = {{{VISUAL_BLOCK, "vision_model.encoder.layers.", hf_block},
                           {TEXT_BLOCK, "text_model.encoder.layers.", hf_block}}, {hf_rest, hf_clip_ends}, false},
    [DT_NAMES_HF_SIGLIP] = {{{VISUAL_BLOCK, "vision_model.encoder.layers.", hf_block},
                             {TEXT_BLOCK, "text_model.encoder.layers.", hf_block}}, {hf_rest, hf_siglip_ends}, false},
    [DT_NAMES_TIMM] = {{{VISUAL_BLOCK, "visual.trunk.blocks.", timm_block}}, {timm_rest}, true},
    [DT_NAMES_CUSTOM_TEXT] = {.apart = true},
};

/* Appends as far as there is room. */
static void append(char *text, const char *more, size_t length)
{
    size_t used = strlen(text);
    snprintf(text + used, DT_NAME_ROOM - used, "%.*s", (int)length, more);
}

/* The names that a rule gives, behind the prefix that is there. */
static void apply(const rule *r, const char *prefix, dt_foreign_name *f)
{
    *f = (dt_foreign_name){.parts = 1, .transposed = r->transposed, .leading = r->leading};
    while (f->parts < DT_NAME_PARTS && r->parts[f->parts])
        f->parts++;
    const char *at = r->parts[0] ? strchr(r->foreign, '@') : NULL;
    for (int i = 0; i < f->parts; i++) {
        append(f->name[i], prefix, strlen(prefix));
        append(f->name[i], r->foreign, at ? (size_t)(at - r->foreign) : strlen(r->foreign));
        if (at) {
            append(f->name[i], r->parts[i], strlen(r->parts[i]));
            append(f->name[i], at + 1, strlen(at + 1));
        }
    }
}

static const rule *find(const rule *list, const char *name)
{
    for (; list && list->duet; list++)
        if (!strcmp(list->duet, name))
            return list;
    return NULL;
}

static bool in_tower(const tower *t, const char *name, dt_foreign_name *f)
{
    char prefix[DT_NAME_ROOM];
    if (!t->duet || strncmp(name, t->duet, strlen(t->duet)))
        return false;
    const char *number = name + strlen(t->duet);
    size_t digits = strspn(number, "0123456789");
    const char *own = number + digits + 1;
    if (!digits || digits > 9 || number[digits] != '.')
        return false;
    snprintf(prefix, sizeof prefix, "%s%.*s.", t->foreign, (int)digits, number);
    const rule *r = find(t->block, own);
    if (r)
        apply(r, prefix, f);
    return r != NULL;
}

/* open_clip's CustomTextCLIP; what is of neither tower stays. */
static const char *text_prefix(const char *name)
{
    static const char *const starts[] = {TEXT_BLOCK, "token_embedding.", "positional_embedding", "ln_final.",
                                         "text_projection"};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
        if (!strncmp(name, starts[i], strlen(starts[i])))
            return "text.";
    return "";
}

bool dt_foreign_name_of(dt_naming naming, const char *name, dt_foreign_name *f)
{
    const rule same = {.duet = name, .foreign = name}, *r = naming == DT_NAMES_DUET ? &same : NULL;
    const char *prefix = namings[naming].apart ? text_prefix(name) : "";
    for (int i = 0; i < 2 && !r; i++) {
        if (in_tower(&namings[naming].towers[i], name, f))
            return true;
        r = find(namings[naming].lists[i], name);
    }
    if (*prefix || (!r && naming == DT_NAMES_CUSTOM_TEXT))
        r = &same;
    if (r)
        apply(r, prefix, f);
    return r != NULL;
}

bool dt_foreign_passed_over(const char *name)
{
    static const char *const ends[] = {"position_ids", "attn_mask", "num_batches_tracked"};
    static const char *const whole[] = {"input_resolution", "context_length", "vocab_size"};
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (length >= strlen(ends[i]) && !strcmp(name + length - strlen(ends[i]), ends[i]))
            return true;
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (!strcmp(name, whole[i]))
            return true;
    return !strncmp(name, "optimizer.", 10) || !strncmp(name, "training.", 9); /* of Duet's own checkpoints */
}
