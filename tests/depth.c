/* Where parameters stand in their tower, and the learning rates that fine-tuning gives them for it. */
#include "encoders/depth.h"
#include "experiments/finetuner.h"
#include "tests/tap.h"

#define TEXT ", \"text_cfg\": {\"context_length\": 6, \"vocab_size\": 20, \"width\": 8, \"heads\": 2, \"layers\": 3}"

static const char vit[] = "{\"embed_dim\": 4, \"vision_cfg\": {\"image_size\": 8, \"patch_size\": 4, \"width\": 8,"
                          " \"layers\": 4, \"head_width\": 4}" TEXT "}";
static const char residual[] = "{\"embed_dim\": 4, \"vision_cfg\": {\"tower\": \"residual\", \"image_size\": 8,"
                               " \"widths\": [4, 8, 8], \"blocks\": [1, 2, 1]}" TEXT "}";
static const char modified[] = "{\"embed_dim\": 4, \"vision_cfg\": {\"image_size\": 32, \"layers\": [1, 2, 1, 1], \"width\": 2,"
                               " \"head_width\": 32}" TEXT "}";
static const char siglip[] = "{\"embed_dim\": 8, \"vision_cfg\": {\"tower\": \"siglip\", \"image_size\": 8, \"patch_size\": 4,"
                             " \"width\": 8, \"layers\": 2, \"heads\": 2}, \"text_cfg\": {\"context_length\": 6,"
                             " \"vocab_size\": 20, \"width\": 8, \"heads\": 2, \"layers\": 1, \"pool_type\": \"last\","
                             " \"proj_bias\": true}}";
static const char pixels[] = "{\"vision_cfg\": {\"tower\": \"pixels\", \"image_size\": 4}}";

/* Classifies on one tower, into three classes. */
static dt_model *classifier(const char *description, const char *tower, const char *input)
{
    dt_error error = {""};
    json_t *json = dt_json_parse(description, strlen(description), "description", &error);
    dt_model *model = json ? dt_model_new(json, NULL, 7, &error) : NULL;
    json_decref(json);
    if (model)
        model = dt_model_with_head(model, json_pack("{s:s, s:s, s:[s,s,s]}", "tower", tower, "input", input, "classes", "a",
                                                    "b", "c"), &error);
    if (!model)
        printf("Bail out! %s\n", error.message), exit(1);
    return model;
}

typedef struct place {
    const char *name;
    int depth;
} place;

/* Checks the names given, and that no parameter of the model is without a place unless it is none of this tower's. */
static void depths(const char *description, const char *tower, int blocks, const place *places, size_t count)
{
    dt_model *model = classifier(description, tower, "embedding");
    bool text = model->head.tower == DT_TOWER_TEXT;
    ok(dt_tower_blocks(&model->config, model->head.tower) == blocks, "%s tower: %d blocks", tower, blocks);
    for (size_t i = 0; i < count; i++) {
        int depth = dt_param_depth(&model->config, &model->head, places[i].name);
        ok(dt_params_find(model->params, places[i].name) >= 0 && depth == places[i].depth, "%s is at depth %d (%d)",
           places[i].name, places[i].depth, depth);
    }
    int at[16] = {0}, other = 0;
    for (int i = 0; i < dt_params_count(model->params); i++) {
        const char *name = dt_params_info(model->params, i)->name;
        int depth = dt_param_depth(&model->config, &model->head, name);
        bool visual = !strncmp(name, "visual.", 7), head = !strncmp(name, "head.", 5), logit = !strncmp(name, "logit_", 6);
        other += (depth < 0) != (!head && (visual == text || logit));
        at[depth < 0 ? 15 : depth]++;
    }
    ok(!other, "%s tower: exactly what is in the other tower or between them has no place", tower);
    bool each = true;
    for (int d = 0; d <= blocks + 2; d++)
        each = each && at[d] > 0;
    ok(each && at[blocks + 2] == 2 && !at[blocks + 3], "%s tower: every depth from 0 to %d occurs", tower, blocks + 2);
    dt_model_free(model);
}

static float rate_of(const dt_model *model, const char *name)
{
    int i = dt_params_find(model->params, name);
    return i < 0 ? NAN : dt_params_info(model->params, i)->rate;
}

/* Rates that a tuner with these options sets; the model is the caller's. */
static dt_model *tuned(const char *description, const char *tower, const char *input, int layers, double decay)
{
    dt_error error = {""};
    dt_model *model = classifier(description, tower, input);
    const dt_finetuner_options o = {.batch_size = 2, .layers = layers, .layer_decay = decay, .optimizer = {.kind = DT_SGD}};
    dt_finetuner *tuner = dt_finetuner_new(model, dt_cpu(), &o, &error);
    ok(tuner != NULL, "%s: a tuner of %d layers %s", tower, layers, error.message);
    dt_finetuner_free(tuner);
    return model;
}

/* One line of a table: the rate that each depth is to have. */
static void rates(const char *description, const char *tower, int layers, double decay, const place *shown, size_t count,
                  const double *want)
{
    dt_model *model = tuned(description, tower, "embedding", layers, decay);
    for (size_t i = 0; i < count; i++)
        ok(fabs((double)rate_of(model, shown[i].name) - want[shown[i].depth]) < 1e-7,
           "%d layers, decay %g: %s has the rate %g (%g)", layers, decay, shown[i].name, want[shown[i].depth],
           (double)rate_of(model, shown[i].name));
    int frozen = 0, of_others = 0;
    for (int i = 0; i < dt_params_count(model->params); i++) {
        const dt_param_info *info = dt_params_info(model->params, i);
        int depth = dt_param_depth(&model->config, &model->head, info->name);
        of_others += depth < 0 && info->trainable && info->rate > 0;
        frozen += depth >= 0 && (info->rate > 0) != (want[depth] > 0);
    }
    ok(!frozen && !of_others, "%d layers: nothing else is trained", layers);
    dt_model_free(model);
}

static void unused_projection(const char *description, const char *tower, const char *name)
{
    dt_model *model = tuned(description, tower, "features", -1, 1);
    ok(rate_of(model, name) == 0, "a head on features leaves %s alone", name);
    ok(rate_of(model, "head.weight") == 1, "and is trained");
    dt_model_free(model);
    model = tuned(description, tower, "embedding", -1, 1);
    ok(rate_of(model, name) == 1, "one on embeddings trains it");
    dt_model_free(model);
}

static const place of_vit[] = {
    {"visual.conv1.weight", 0}, {"visual.class_embedding", 0}, {"visual.positional_embedding", 0},
    {"visual.ln_pre.weight", 0}, {"visual.transformer.resblocks.0.ln_1.weight", 1},
    {"visual.transformer.resblocks.1.attn.in_proj_bias", 2}, {"visual.transformer.resblocks.2.mlp.c_proj.bias", 3},
    {"visual.transformer.resblocks.3.attn.out_proj.weight", 4}, {"visual.ln_post.bias", 5}, {"visual.proj", 5},
    {"head.weight", 6}, {"head.bias", 6}, {"logit_scale", -1}, {"token_embedding.weight", -1}, {"text_projection", -1},
    {"transformer.resblocks.0.ln_1.weight", -1}};
static const place of_residual[] = {
    {"visual.conv1.weight", 0}, {"visual.bn1.running_mean", 0}, {"visual.layer1.0.conv1.weight", 1},
    {"visual.layer2.0.downsample.0.weight", 2}, {"visual.layer2.0.downsample.1.bias", 2},
    {"visual.layer2.1.bn2.running_var", 3}, {"visual.layer3.0.conv2.weight", 4}, {"visual.proj", 5},
    {"head.weight", 6}, {"ln_final.weight", -1}};
static const place of_modified[] = {
    {"visual.conv3.weight", 0}, {"visual.bn2.running_var", 0}, {"visual.layer1.0.bn3.weight", 1},
    {"visual.layer2.1.conv1.weight", 3}, {"visual.layer4.0.downsample.0.weight", 5}, {"visual.attnpool.q_proj.weight", 6},
    {"visual.attnpool.positional_embedding", 6}, {"head.bias", 7}, {"text_projection", -1}};
static const place of_siglip[] = {
    {"visual.conv1.bias", 0}, {"visual.positional_embedding", 0}, {"visual.transformer.resblocks.1.mlp.c_fc.bias", 2},
    {"visual.ln_post.weight", 3}, {"visual.attn_pool.probe", 3}, {"visual.attn_pool.mlp.c_fc.weight", 3},
    {"visual.attn_pool.attn.in_proj_weight", 3}, {"text_projection.weight", -1}};
static const place of_siglip_text[] = {{"transformer.resblocks.0.ln_1.bias", 1}, {"text_projection.weight", 2},
                                       {"text_projection.bias", 2}, {"visual.attn_pool.probe", -1}};
static const place of_text[] = {
    {"token_embedding.weight", 0}, {"positional_embedding", 0}, {"transformer.resblocks.0.mlp.c_fc.weight", 1},
    {"transformer.resblocks.2.ln_2.bias", 3}, {"ln_final.weight", 4}, {"text_projection", 4}, {"head.weight", 5},
    {"head.bias", 5}, {"visual.proj", -1}, {"visual.transformer.resblocks.0.ln_1.weight", -1}, {"logit_scale", -1}};

/* What is shown of each table has a place, so that depth may index the wanted rates. */
static void layers(void)
{
    static const double half[] = {1 / 64., 1 / 32., 1 / 16., 1 / 8., 1 / 4., 1 / 2., 1}, same[] = {1, 1, 1, 1, 1, 1, 1};
    static const double text_decay[] = {.59049, .6561, .729, .81, .9, 1}, head[] = {0, 0, 0, 0, 0, 0, 1};
    static const double one[] = {0, 0, 0, 0, 1, 1, 1}, three[] = {0, 0, .125, .25, .5, 1}, blocks[] = {0, 1, 1, 1, 1, 1, 1};
    rates(vit, "image", -1, 0.5, of_vit, 12, half);
    rates(vit, "image", -1, 1, of_vit, 12, same);
    rates(vit, "image", 0, 0.5, of_vit, 12, head);
    rates(vit, "image", 1, 1, of_vit, 12, one);
    rates(vit, "image", 4, 1, of_vit, 12, blocks);
    rates(vit, "image", 1000, 1, of_vit, 12, blocks);
    rates(residual, "image", -1, 0.5, of_residual + 2, 3, half);
    rates(residual, "image", 1, 1, of_residual + 6, 3, one);
    rates(vit, "text", -1, 0.9, of_text, 8, text_decay);
    rates(vit, "text", 2, 0.5, of_text, 8, three);
}

int main(void)
{
    depths(vit, "image", 4, of_vit, sizeof of_vit / sizeof *of_vit);
    depths(residual, "image", 4, of_residual, sizeof of_residual / sizeof *of_residual);
    depths(modified, "image", 5, of_modified, sizeof of_modified / sizeof *of_modified);
    depths(siglip, "image", 2, of_siglip, sizeof of_siglip / sizeof *of_siglip);
    depths(siglip, "text", 1, of_siglip_text, sizeof of_siglip_text / sizeof *of_siglip_text);
    depths(vit, "text", 3, of_text, sizeof of_text / sizeof *of_text);
    layers();
    unused_projection(vit, "image", "visual.proj");
    unused_projection(residual, "image", "visual.proj");
    unused_projection(vit, "text", "text_projection");
    unused_projection(siglip, "text", "text_projection.weight");

    dt_model *plain = tuned(pixels, "image", "features", -1, 0.5);
    ok(rate_of(plain, "head.weight") == 1 && dt_tower_blocks(&plain->config, DT_TOWER_IMAGE) == 0,
       "a tower of plain pixels has no blocks, and its head the whole rate");
    dt_model_free(plain);
    return done();
}
