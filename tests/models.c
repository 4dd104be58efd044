/* Descriptions of models: the presets have the published numbers of parameters, open_clip's fields mean what they mean there,
 * and what Duet has no part for is named. */
#include "eval/model.h"
#include "tests/tap.h"

/* Declared only, without a number being allocated. */
static dt_model *declare(const char *preset, dt_error *error)
{
    json_t *name = json_string(preset);
    dt_model *model = dt_model_declare(name, NULL, error);
    json_decref(name);
    return model;
}

/* Trained numbers of parameters whose names begin so. */
static size_t count(const dt_model *model, const char *prefix)
{
    size_t total = 0;
    for (int i = 0; model && i < dt_params_count(model->params); i++) {
        const dt_param_info *info = dt_params_info(model->params, i);
        total += info->trainable && !strncmp(info->name, prefix, strlen(prefix)) ? info->count : 0;
    }
    return total;
}

/* Reads a description, in which ' stands for ". */
static bool understood(const char *description, dt_clip_config *config, dt_error *error)
{
    dt_head_config head;
    char text[1024];
    snprintf(text, sizeof text, "%s", description);
    for (char *c = text; *c; c++)
        *c = *c == '\'' ? '"' : *c;
    json_t *json = dt_json_parse(text, strlen(text), "a.json", error);
    bool good = json && dt_model_config(json, "a.json", "", config, &head, error);
    json_decref(json);
    return good;
}

/* ---- Presets ---- */

/* Numbers that are trained in open_clip's models of the same names (open_clip 3.3.0). */
static const struct {
    const char *name;
    size_t count;
} presets[] = {
    {"RN50", 102007137},
    {"RN101", 119688033},
    {"RN50x4", 178300601},
    {"RN50x16", 290979217},
    {"RN50x64", 623258305},
    {"ViT-S-16", 62257537},
    {"ViT-B-32", 151277313},
    {"ViT-B-16", 149620737},
    {"ViT-L-14", 427616513},
    {"ViT-L-14-336", 427944193},
    {"ViT-H-14", 986109441},
    {"ViT-g-14", 1366678273},
    {"ViT-B-16-SigLIP", 203155970},
};

static void count_preset(const char *name, size_t published, bool quick_gelu)
{
    dt_error error = {""};
    dt_model *model = declare(name, &error);
    size_t found = count(model, "");
    ok(found == published, "%s: %.2f million parameters %s", name, (double)found / 1e6, error.message);
    bool quick = model && model->config.text.transformer.activation == DT_ACT_QUICK_GELU;
    ok(quick == quick_gelu, "%s: %s", name, quick ? "QuickGELU" : "GELU");
    dt_model_free(model);
}

static void published_models(void)
{
    char name[64];
    dt_error error = {""};
    for (size_t i = 0; i < sizeof presets / sizeof *presets; i++) {
        count_preset(presets[i].name, presets[i].count, false);
        snprintf(name, sizeof name, "%s-quickgelu", presets[i].name); /* what OpenAI's weights need */
        json_t *json = dt_model_preset(name, &error);
        if (json)
            count_preset(name, presets[i].count, true);
        else
            ok(strstr("ViT-S-16 ViT-g-14 ViT-B-16-SigLIP", presets[i].name) != NULL, "%s is not needed", name);
        json_decref(json);
    }
}

static void every_preset(void)
{
    for (size_t i = 0; dt_model_preset_name(i); i++) {
        dt_clip_config config;
        dt_head_config head;
        dt_error error = {""};
        json_t *json = dt_model_preset(dt_model_preset_name(i), &error);
        ok(json && dt_model_config(json, "preset", "", &config, &head, &error), "%s is understood %s", dt_model_preset_name(i),
           error.message);
        json_decref(json);
    }
}

/* torchvision's numbers for the tower without its last layer; the projection [width, embed_dim] beside it. */
static void plain_networks(void)
{
    static const struct {
        const char *preset;
        size_t tower, width;
    } networks[] = {{"resnet18-224px", 11176512, 512}, {"resnet34-224px", 21284672, 512}, {"resnet50-224px", 23508032, 2048},
                    {"resnet101-224px", 42500160, 2048}};
    for (size_t i = 0; i < 4; i++) {
        dt_error error = {""};
        dt_model *model = declare(networks[i].preset, &error);
        size_t projection = model ? networks[i].width * (size_t)model->config.embed_dim : 0, found = count(model, "visual.");
        ok(found == networks[i].tower + projection, "%s: %zu in the tower %s", networks[i].preset, found, error.message);
        dt_model_free(model);
    }
}

/* ---- Fields ---- */

#define TEXT "'text_cfg': {'width': 64, 'layers': 1, 'vocab_size': 9}"
#define WITH(vision, text) "{'embed_dim': 64, 'vision_cfg': {" vision "}, 'text_cfg': {'width': 64, 'layers': 1" text "}}"

/* Descriptions that are refused, and a part of the reason. */
static const struct {
    const char *description, *reason;
} refused[] = {
    {WITH("'ls_init_value': 0.0001", ""), "a.json: vision_cfg.ls_init_value: 0.0001 is not supported, only null"},
    {WITH("'patch_dropout': 0.5", ""), "a.json: vision_cfg.patch_dropout: 0.5 is not supported, only 0"},
    {WITH("'attentional_pool': true", ""), "vision_cfg.attentional_pool: true is not supported, only false"},
    {WITH("'pos_embed_type': 'sin_cos_2d'", ""),
     "vision_cfg.pos_embed_type: \"sin_cos_2d\" is not supported, only \"learnable\""},
    {WITH("'qk_norm': true", ""), "vision_cfg.qk_norm: true"},
    {WITH("", ", 'scale_heads': true"), "text_cfg.scale_heads: true"},
    {WITH("", ", 'embed_cls': true"), "text_cfg.embed_cls: true is not supported, only false"},
    {WITH("", ", 'hf_model_name': 'roberta-base'"), "text_cfg.hf_model_name: \"roberta-base\" is not supported"},
    {WITH("", ", 'pool_type': 'eos'"), "text_cfg.pool_type: expected one of argmax|last|first, found \"eos\""},
    {WITH("'pool_type': 'map'", ""), "vision_cfg.pool_type: expected one of tok|avg"},
    {WITH("'timm_model_name': 'convnext_base', 'timm_pool': ''", ""),
     "vision_cfg.timm_model_name: \"convnext_base\" is not supported"},
    {WITH("'timm_model_name': 'vit_base_patch16_siglip_224', 'timm_pool': 'map', 'timm_proj': 'linear'", ""),
     "vision_cfg.timm_proj: expected one of none, found \"linear\""},
    {WITH("'timm_model_name': 'vit_base_patch16_siglip_224', 'timm_pool': 'map', 'timm_proj': 'none',"
          " 'image_size': 256", ""), "vision_cfg.image_size: 256, but vit_base_patch16_siglip_224 is for images of 224"},
    {WITH("'timm_model_name': 'vit_base_patch16_siglip_224', 'timm_pool': 'map', 'timm_proj': 'none'", ""),
     "embed_dim is 64, but vision_cfg.width is 768"},
    {WITH("'timm_model_name': 5", ""), "vision_cfg.timm_model_name: expected a string"},
    {WITH("'tower': 'convnext'", ""), "vision_cfg.tower: expected one of vit|siglip|modified_resnet|resnet|residual|pixels"},
    {WITH("'tower': [1]", ""), "vision_cfg.tower: expected one of"},
    {WITH("'layers': [3, 4, 6]", ""), "expected four numbers of layers and an even width, found 3 and 64"},
    {WITH("'layers': [3, 4, 6, 0]", ""), "vision_cfg.layers[3]: expected a whole number from 1 to 1024"},
    {WITH("'layers': [1, 1, 1, 1], 'width': 3", ""), "an even width, found 4 and 3"},
    {WITH("'layers': [1, 1, 1, 1], 'heads': 7", ""), "the 2048 features that are pooled are not a multiple of the 7 heads"},
    {WITH("'tower': 'resnet', 'layers': [1], 'block': 'wide'", ""), "vision_cfg.block: expected one of basic|bottleneck"},
    {WITH("'width': 100, 'heads': 3", ""), "vision_cfg: width 100 is not a multiple of its 3 heads"},
    {WITH("'width': 32", ""), "vision_cfg: width 32 is not a multiple of its 0 heads"},
    {WITH("'act_kwargs': {'approximate': 'sin'}", ""), "vision_cfg.act_kwargs.approximate: expected one of none|tanh"},
    {WITH("'norm_kwargs': {'eps': 0}", ""), "vision_cfg.norm_kwargs.eps: 0 is out of range"},
    {WITH("'patch_sise': 8", ""), "vision_cfg.patch_sise: unknown key; did you mean \"patch_size\"?"},
    {"{'embed_dim': 32, 'vision_cfg': {}, 'text_cfg': {'width': 64, 'proj_type': 'none'}}",
     "embed_dim is 32, but text_cfg.width is 64"},
    {"{'vision_cfg': {'layers': [1, 1, 1, 1]}}", "embed_dim is missing: the features that the attention pool ends with"},
    {"{'vision_cfg': {}, " TEXT "}", "embed_dim is missing"},
    {"{'embed_dim': 8, 'multimodal_cfg': {'width': 8}, 'vision_cfg': {}, " TEXT "}",
     "a.json: multimodal_cfg: {\"width\":8} is not supported, only null"},
    {"{'embed_dim': 8, 'quick_gelu': true, 'vision_cfg': {'act_kwargs': {}}, " TEXT "}",
     "vision_cfg.act_kwargs: does not go with quick_gelu"},
    {"{'embed_dim': 8, 'vision_cfg': 5, " TEXT "}", "vision_cfg: expected an object"},
    {"[]", "a.json: expected an object"},
};

static void refuse(void)
{
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        dt_clip_config config;
        dt_error error = {""};
        bool good = understood(refused[i].description, &config, &error);
        ok(!good && strstr(error.message, refused[i].reason), "refused: %s", error.message);
    }
}

/* Fields with the values that change nothing, and those that say where a tokenizer comes from. */
static void pass_over(void)
{
    static const char description[] =
        "{'embed_dim': 64, 'custom_text': true, 'multimodal_cfg': null, 'vision_cfg': {'ls_init_value': null, 'patch_dropout':"
        " 0.0, 'attentional_pool': false, 'output_tokens': false, 'timm_drop': 0, 'block_type': null},"
        " 'text_cfg': {'hf_tokenizer_name': 'x', 'tokenizer_kwargs': {'clean': 'lower'}, 'pad_id': 1, 'eos_id': 2,"
        " 'heads': null}}";
    dt_clip_config c;
    dt_error error = {""};
    ok(understood(description, &c, &error), "harmless fields are passed over %s", error.message);
    ok(c.vision == DT_VISION_VIT && c.vit.image_size == 224 && c.vit.patch_size == 16 && c.vit.transformer.width == 768 &&
           c.vit.transformer.layers == 12 && c.vit.transformer.heads == 12 && c.vit.transformer.hidden == 3072,
       "an image tower's absent fields are open_clip's");
    ok(c.text.context_length == 77 && c.text.transformer.width == 512 && c.text.transformer.heads == 8 &&
           c.text.transformer.layers == 12 && c.text.transformer.causal && !c.has_logit_bias,
       "and a text tower's");
}

static void understand(void)
{
    dt_clip_config c;
    dt_error error = {""};
    ok(understood(WITH("'pool_type': 'avg', 'no_ln_pre': true, 'final_ln_after_pool': true, 'width': 1408, 'head_width': 88,"
                       " 'mlp_ratio': 4.3637, 'norm_kwargs': {'eps': 1e-7}",
                       ", 'no_causal_mask': true, 'pool_type': 'first', 'proj_bias': true, 'act_kwargs': {'approximate':"
                       " 'tanh'}"), &c, &error), "a description with many fields %s", error.message);
    ok(c.vit.pool == DT_POOL_MEAN && c.vit.no_norm_before && c.vit.norm_after_pool && !c.vit.no_class_token,
       "pooling and norms");
    ok(c.vit.transformer.hidden == 6144 && c.vit.transformer.heads == 16 && c.vit.transformer.norm_eps == 1e-7f, "sizes");
    ok(c.text.read == DT_READ_FIRST && !c.text.transformer.causal && c.text_projection == DT_PROJECT_LINEAR &&
           c.text.transformer.activation == DT_ACT_GELU_TANH && c.vit.transformer.activation == DT_ACT_GELU,
       "the text tower's");
    ok(understood(WITH("'tower': 'siglip', 'width': 64, 'mlp_ratio': 3.7361111111111112", ", 'proj_type': 'none'"), &c, &error),
       "a SigLIP tower %s", error.message);
    ok(c.vit.pool == DT_POOL_PROBE && c.vit.no_class_token && c.vit.patch_bias && c.image_projection == DT_PROJECT_NONE &&
           c.text_projection == DT_PROJECT_NONE && c.vit.transformer.norm_eps == 1e-6f && c.vit.transformer.hidden == 239,
       "has no class token, no projection, and a probe");
    ok(understood("{'embed_dim': 1152, 'init_logit_bias': -10, 'vision_cfg': {'timm_pool': 'map', 'timm_proj': 'none',"
                  " 'timm_model_name': 'vit_so400m_patch14_siglip_384'}, " TEXT "}", &c, &error) &&
           c.vit.image_size == 384 && c.vit.transformer.hidden == 4304 && c.has_logit_bias && c.init_logit_bias == -10,
       "a tower by timm's name %s", error.message);
    ok(understood("{'embed_dim': 8, 'vision_cfg': {'tower': 'resnet', 'layers': [1, 2], 'width': 6}}", &c, &error) &&
           c.resnet.bottleneck && c.resnet.stages == 2 && c.resnet.widths[1] == 12 && c.resnet.stem == DT_STEM_LARGE,
       "a plain residual network %s", error.message);
    ok(understood("{'embed_dim': 8, 'vision_cfg': {'layers': [1, 2, 3, 4], 'width': 6, 'head_width': 32, 'patch_size': null}}",
                  &c, &error) && c.resnet.antialiased && c.resnet.heads == 6 && c.resnet.embed_dim == 8 &&
           c.resnet.widths[3] == 48 && c.image_projection == DT_PROJECT_NONE, "a list of layers is CLIP's residual network %s", error.message);
    ok(understood("{'embed_dim': 8, 'vision_cfg': {'tower': 'residual', 'image_size': 8, 'widths': [4], 'blocks': [1]}}", &c,
                  &error) && !c.resnet.bottleneck && c.resnet.stem == DT_STEM_SMALL && c.resnet.stem_stride == 1 &&
           !c.resnet.heads,
       "the small residual tower %s", error.message);
}

int main(void)
{
    published_models();
    every_preset();
    plain_networks();
    refuse();
    pass_over();
    understand();
    return done();
}
