/* Weights of others: read, compared with what their own libraries compute, written, and read again. The fixtures were made by
 * tests/golden/convert/make.py. */
#include "data/file.h"
#include "data/safetensors.h"
#include "data/tokenizer_hf.h"
#include "data/transform.h"
#include "eval/export.h"
#include "eval/model.h"
#include "eval/model_file.h"
#include "eval/names.h"
#include "eval/origin.h"
#include "eval/weights.h"
#include "tests/tap.h"

static dt_error error;

static const char *fixture(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "convert/%s", name);
    const char *found = golden(path);
    if (!found) {
        printf("Bail out! %s is not there\n", path);
        exit(1);
    }
    return found;
}

static dt_model *load(const char *path)
{
    dt_model *model = dt_model_load(path, &error);
    if (!model) {
        printf("Bail out! %s\n", error.message);
        exit(1);
    }
    return model;
}

static const int32_t tokens[3][16] = {{518, 320, 300, 519}, {518, 64, 330, 512, 513, 519}, {518, 519}};

/* Embeddings of the fixtures' two images or three texts, [count, 12 or 16]; freed by the caller. */
static float *embed(dt_model *model, dt_tower tower)
{
    int size = model->preprocess.size, count = tower == DT_TOWER_IMAGE ? 2 : 3;
    size_t pixels = 2 * (size_t)size * (size_t)size * 3;
    float *images = malloc(pixels * sizeof *images), *rows = calloc((size_t)(count * model->config.embed_dim), sizeof *rows);
    for (size_t i = 0; i < pixels; i++)
        images[i] = (float)sin((double)i * 0.37);
    dt_encoder *encoder = dt_encoder_new(model, dt_cpu(), tower, DT_LAYER_EMBEDDING, count, &error);
    if (!encoder || !dt_encoder_run(encoder, tower == DT_TOWER_IMAGE ? (const void *)images : tokens, count, rows, &error))
        printf("# %s\n", error.message);
    dt_encoder_free(encoder);
    free(images);
    return rows;
}

/* As the library that made the fixture computes them. */
static void compare(const char *name, dt_model *model, const char *expected)
{
    dt_safetensors *file = dt_safetensors_open(expected, &error);
    for (int tower = 0; file && tower < 2; tower++) {
        const dt_st_tensor *want = dt_safetensors_find(file, tower ? "texts" : "images");
        float *got = embed(model, tower ? DT_TOWER_TEXT : DT_TOWER_IMAGE);
        char label[128];
        snprintf(label, sizeof label, "%s: %s", name, tower ? "texts" : "images");
        near(label, got, want->data, want->count, 2e-6);
        free(got);
    }
    ok(file, "%s: has its figures", name);
    dt_safetensors_close(file);
}

/* Whether every tensor of these weights is among those, of the same shape and with the same bits. */
static bool contains(const char *path, const char *original)
{
    dt_weights *a = dt_weights_open(path, &error), *b = dt_weights_open(original, &error);
    bool same = a && b && dt_weights_count(a) == dt_weights_count(b);
    for (size_t i = 0; same && i < dt_weights_count(b); i++) {
        const dt_st_tensor *want = dt_weights_at(b, i);
        int at = dt_weights_find(a, want->name);
        const dt_st_tensor *got = at < 0 ? NULL : dt_weights_at(a, (size_t)at);
        same = got && got->rank == want->rank && !memcmp(got->shape, want->shape, sizeof *got->shape * (size_t)got->rank) &&
               got->size == want->size && !memcmp(got->data, want->data, got->size);
        if (!same)
            printf("# %s\n", want->name);
    }
    dt_weights_close(a);
    dt_weights_close(b);
    return same;
}

static bool same_values(dt_model *a, dt_model *b)
{
    bool same = dt_params_count(a->params) == dt_params_count(b->params);
    for (int i = 0; same && i < dt_params_count(a->params); i++) {
        const dt_param_info *x = dt_params_info(a->params, i), *y = dt_params_info(b->params, i);
        same = !strcmp(x->name, y->name) && x->count == y->count &&
               !memcmp(dt_params_value(a->params, i), dt_params_value(b->params, i), x->count * sizeof(float));
    }
    return same;
}

/* Out in a format, in again: the same bits and the same description of the towers. */
static void round_trip(const char *name, dt_model *model, bool hf)
{
    char folder[700];
    snprintf(folder, sizeof folder, "%s/%s-%s", scratch(), name, hf ? "hf" : "open_clip");
    bool good = (hf ? dt_export_hf : dt_export_open_clip)(model, folder, &error);
    if (!ok(good, "%s: exported to %s", name, hf ? "hf" : "open_clip")) {
        printf("# %s\n", error.message);
        return;
    }
    dt_model *again = load(folder);
    ok(same_values(model, again), "%s: the same bits after %s", name, hf ? "hf" : "open_clip");
    ok(!memcmp(&model->preprocess, &again->preprocess, sizeof model->preprocess), "%s: the same preprocessing", name);
    ok(!model->tokenizer == !again->tokenizer &&
           (!again->tokenizer || dt_tokenizer_fingerprint(model->tokenizer) == dt_tokenizer_fingerprint(again->tokenizer)),
       "%s: the same tokenizer", name);
    for (int tower = 0; tower < 2; tower++) {
        dt_tower which = tower ? DT_TOWER_TEXT : DT_TOWER_IMAGE;
        float *want = embed(model, which), *got = embed(again, which);
        size_t size = sizeof *want * (size_t)((tower ? 3 : 2) * model->config.embed_dim);
        ok(!memcmp(want, got, size), "%s: the same %s to the bit", name, tower ? "texts" : "images");
        free(want);
        free(got);
    }
    dt_model_free(again);
}

static void hugging_face(void)
{
    dt_model *model = load(fixture("hf-clip"));
    compare("Hugging Face CLIP", model, fixture("hf-clip/expected.safetensors"));
    const dt_transform *t = &model->preprocess;
    ok(t->size == 32 && t->resize == 40 && !t->squash && t->interpolation == DT_BILINEAR && t->mean[2] == 0.6f &&
           t->std[0] == 0.2f, "its preprocessing is honoured");
    ok(model->tokenizer && dt_tokenizer_vocab_size(model->tokenizer) == 520 && dt_tokenizer_end(model->tokenizer) == 519,
       "vocab.json and merges.txt make its tokenizer");
    ok(!*model->note, "nothing is assumed");
    round_trip("hf-clip", model, true);
    ok(contains(in("hf-clip-hf/model.safetensors"), fixture("hf-clip/model.safetensors")), "tensors as they were given");
    ok(!dt_export_open_clip(model, in("refused"), &error) && strstr(error.message, "a resize to 40 pixels"),
       "open_clip cannot resize to one size and crop to another");
    dt_model_free(model);

    model = load(fixture("hf-siglip"));
    compare("Hugging Face SigLIP, in shards", model, fixture("hf-siglip/expected.safetensors"));
    ok(model->preprocess.squash && model->preprocess.mean[1] == 0.5f, "SigLIP's preprocessing where the folder has none");
    round_trip("hf-siglip", model, true);
    ok(contains(in("hf-siglip-hf/model.safetensors"), fixture("hf-siglip/model.safetensors.index.json")),
       "tensors as they were given");
    ok(!dt_export_open_clip(model, in("refused"), &error) && strstr(error.message, "timm"),
       "open_clip has SigLIP's towers by name only");
    ok(!dt_file_exists(in("refused")), "nothing is written of what is refused");
    dt_model_free(model);
}

static void openai(void)
{
    static const char *const kinds[] = {"openai-vit", "openai-resnet"};
    for (int k = 0; k < 2; k++) {
        char path[64];
        snprintf(path, sizeof path, "%s.pt", kinds[k]);
        dt_model *model = load(fixture(path));
        snprintf(path, sizeof path, "%s.expected.safetensors", kinds[k]);
        compare(kinds[k], model, fixture(path));
        ok(strstr(model->note, "QuickGELU were assumed"), "%s: a note says what was assumed", kinds[k]);
        round_trip(kinds[k], model, false);
        dt_model_free(model);
    }
}

static void positions(void)
{
    static const int sizes[] = {24, 56};
    for (int k = 0; k < 2; k++) {
        char name[64];
        snprintf(name, sizeof name, "positions-%d.safetensors", sizes[k]);
        dt_model *model = dt_model_load_as(fixture("openai-vit.pt"), NULL, sizes[k], &error);
        dt_safetensors *file = dt_safetensors_open(fixture(name), &error);
        const dt_st_tensor *want = dt_safetensors_find(file, "positions");
        ok(model && model->preprocess.size == sizes[k], "for images of %d pixels", sizes[k]);
        /* the file has them in half precision, what was interpolated had them in full */
        near(name, dt_params_value(model->params, dt_params_find(model->params, "visual.positional_embedding")), want->data,
             want->count, 2e-4);
        dt_safetensors_close(file);
        dt_model_free(model);
    }
}

/* The map is lent to a model that is read, and training it is refused. */
static void lent(void)
{
    dt_model *model = load(fixture("hf-clip"));
    int at = dt_params_find(model->params, "token_embedding.weight"), place = dt_weights_find(model->weights,
                                                       "text_model.embeddings.token_embedding.weight");
    ok(place >= 0 && dt_params_value(model->params, at) == dt_weights_at(model->weights, (size_t)place)->data,
       "float32 values stay in the file's map");
    dt_graph *g = dt_graph_new();
    dt_tensor *scale = dt_clip_logit_scale((dt_scope){g, model->params, ""}, &model->config);
    dt_store_gradients(scale, false);
    ok(dt_graph_error(g) && strstr(dt_graph_error(g), "lent"), "and cannot be trained");
    dt_graph_free(g);
    json_t *head = json_pack("{s:s, s:s, s:[s,s]}", "tower", "image", "input", "features", "classes", "a", "b");
    float before = dt_params_value(model->params, at)[5];
    model = dt_model_with_head(model, head, &error);
    ok(model && !model->weights && dt_params_value(model->params, at)[5] == before, "a head brings values of its own");
    ok(!dt_export_hf(model, in("refused"), &error) && strstr(error.message, "head"), "which one format has no place for");
    ok(!dt_export_open_clip(model, in("refused"), &error) && strstr(error.message, "head"), "nor the other");
    dt_model_free(model);
}

static dt_model *small(const char *vision)
{
    char text[512];
    snprintf(text, sizeof text, "{\"embed_dim\": 8, \"vision_cfg\": %s, \"text_cfg\": {\"width\": 8, \"heads\": 1, "
                                "\"layers\": 1, \"context_length\": 5, \"vocab_size\": 9}}", vision);
    json_t *json = dt_json_parse(text, strlen(text), "text", &error);
    dt_model *model = dt_model_new(json, NULL, 1, &error);
    json_decref(json);
    return model;
}

static void refused(void)
{
    dt_model *model = small("{\"tower\": \"residual\", \"image_size\": 8, \"widths\": [4], \"blocks\": [1]}");
    ok(model && !dt_export_hf(model, in("refused"), &error) && strstr(error.message, "a residual network"),
       "no residual tower in a CLIPModel");
    ok(model && !dt_export_open_clip(model, in("refused"), &error) && strstr(error.message, "residual tower"),
       "nor this one in open_clip");
    dt_model_free(model);
}

/* All differences in one message, with both shapes. */
static void differences(void)
{
    dt_model *a = small("{\"image_size\": 8, \"patch_size\": 4, \"width\": 8, \"heads\": 1, \"layers\": 3}");
    dt_model *b = small("{\"image_size\": 8, \"patch_size\": 4, \"width\": 16, \"heads\": 1, \"layers\": 2}");
    bool made = a && b && dt_model_save(a, in("a.safetensors"), &error);
    ok(made && !dt_model_read(b, in("a.safetensors"), &error), "another model's weights are refused");
    static const char *const parts[] = {
        "visual.conv1.weight is [8, 3, 4, 4], expected [16, 3, 4, 4]",
        "visual.transformer.resblocks.*.ln_1.weight is [8], expected [16] (2 times)",
        "visual.transformer.resblocks.*.mlp.c_fc.weight [32, 8] is not part of this model",
        "visual.proj is [8, 8], expected [16, 8]"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!ok(strstr(error.message, parts[i]), "listed: %s", parts[i]))
            printf("# %s\n", error.message);
    dt_model_free(a);
    dt_model_free(b);
}

/* Of many that differ, the first of each kind and how many more. */
static void many_differences(void)
{
    dt_model *a = small("{\"image_size\": 8, \"patch_size\": 4, \"width\": 8, \"heads\": 1, \"layers\": 2}");
    dt_st_tensor tensors[60];
    char written[60][32];
    const float one = 1;
    for (int i = 0; i < 60; i++) {
        snprintf(written[i], sizeof written[i], "other%02d", i);
        tensors[i] = (dt_st_tensor){.name = written[i], .type = DT_ST_F32, .data = &one};
    }
    bool made = a && dt_safetensors_write(in("many.safetensors"), tensors, 60, NULL, 0, &error);
    ok(made && !dt_model_read(a, in("many.safetensors"), &error), "a file of other things is refused");
    static const char *const parts[] = {" tensors differ (", " missing, 60 not part of this model): ", "; other05 [] is not",
                                        "; and 54 more not part of this model"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!ok(strstr(error.message, parts[i]), "it says: %s", parts[i]))
            printf("# %s\n", error.message);
    ok(!strstr(error.message, "other06") && strlen(error.message) < 1500, "and not more (%zu bytes)", strlen(error.message));
    dt_model_free(a);
}

/* open_clip's CustomTextCLIP: the same tensors, those of texts behind "text.". */
static void custom_text(void)
{
    dt_model *model = load(fixture("openai-vit.pt"));
    size_t count = (size_t)dt_params_count(model->params);
    dt_st_tensor *tensors = dt_model_tensors(model, 0, &count);
    char (*renamed)[DT_NAME_ROOM] = calloc(count, sizeof *renamed);
    int moved = 0;
    for (size_t i = 0; i < count; i++) {
        bool stays = !strncmp(tensors[i].name, "visual.", 7) || !strncmp(tensors[i].name, "logit_", 6);
        snprintf(renamed[i], sizeof renamed[i], "%s%s", stays ? "" : "text.", tensors[i].name);
        tensors[i].name = renamed[i];
        moved += !stays;
    }
    bool good = dt_export_open_clip(model, in("custom"), &error) &&
                dt_safetensors_write(in("custom/open_clip_model.safetensors"), tensors, count, NULL, 0, &error);
    json_t *config = good ? dt_json_load(in("custom/open_clip_config.json"), &error) : NULL;
    json_object_set_new(json_object_get(config, "model_cfg"), "custom_text", json_true());
    ok(moved > 10 && config && dt_json_write(in("custom/open_clip_config.json"), config, &error),
       "a model with the text tower apart (%d tensors)", moved);
    dt_model *again = load(in("custom"));
    ok(same_values(model, again), "is read under its names");
    ok(!dt_no_tokenizer(again, &error) && strstr(error.message, "/custom for tokenizer.json, bpe_simple_vocab_16e6.txt.gz, "
                                                                "vocab.json with merges.txt)"),
       "which files were looked for where: %s", error.message);
    dt_model_free(again);
    unlink(in("custom/open_clip_config.json"));
    ok(!dt_model_load(in("custom/open_clip_model.safetensors"), &error) &&
           strstr(error.message, "there is no open_clip_config.json beside it"), "but not without its configuration");
    json_decref(config);
    free(renamed);
    free(tensors);
    dt_model_free(model);
}

/* An image that is no whole number of patches: its last rows and columns are not seen, as in open_clip and transformers (found
 * equal to both within 3e-7 for 30 pixels in patches of 8). */
static void cut_patches(void)
{
    enum { LARGE = 11, SMALL = 8, WIDTH = 8 };
    dt_model *large = small("{\"image_size\": 11, \"patch_size\": 4, \"width\": 8, \"heads\": 1, \"layers\": 1}");
    dt_model *plain = small("{\"image_size\": 8, \"patch_size\": 4, \"width\": 8, \"heads\": 1, \"layers\": 1}");
    float whole[LARGE][LARGE][3], cut[SMALL][SMALL][3], rows[2][WIDTH];
    for (int i = 0; i < LARGE * LARGE * 3; i++)
        (&whole[0][0][0])[i] = (float)sin(i * 0.7);
    for (int y = 0; y < SMALL; y++)
        memcpy(cut[y], whole[y], sizeof cut[y]);
    ok(large && plain && same_values(large, plain), "the same grid of patches");
    dt_encoder *a = dt_image_encoder_new(large, dt_cpu(), 1, &error), *b = dt_image_encoder_new(plain, dt_cpu(), 1, &error);
    ok(a && b && dt_encoder_run(a, whole, 1, rows[0], &error) && dt_encoder_run(b, cut, 1, rows[1], &error), "both run");
    near("what is beyond the last whole patch is not seen", rows[0], rows[1], WIDTH, 1e-6);
    dt_encoder_free(a);
    dt_encoder_free(b);
    dt_model_free(large);
    dt_model_free(plain);
}

/* Numbers that are none. */
static void not_finite(void)
{
    dt_model *model = small("{\"image_size\": 8, \"patch_size\": 4, \"width\": 8, \"heads\": 1, \"layers\": 1}");
    int scale = dt_params_find(model->params, "logit_scale"), weight = dt_params_find(model->params, "visual.conv1.weight");
    static const float bad[] = {NAN, INFINITY, -INFINITY, 1e4f};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        *dt_params_value(model->params, scale) = bad[i];
        bool saved = dt_model_save(model, in("bad.safetensors"), &error);
        ok(saved && !dt_model_load(in("bad.safetensors"), &error) && strstr(error.message, "logit_scale is "),
           "refused: %s", error.message);
    }
    *dt_params_value(model->params, scale) = 2;
    ok(dt_model_check_finite(model, &error), "all finite");
    dt_params_value(model->params, weight)[7] = NAN;
    ok(!dt_model_check_finite(model, &error) && strstr(error.message, "\"visual.conv1.weight\" holds nan, at place 7 of 384"),
       "the first tensor that is not: %s", error.message);
    float image[8 * 8 * 3] = {0}, row[8];
    dt_encoder *encoder = dt_image_encoder_new(model, dt_cpu(), 2, &error);
    ok(encoder && !dt_encoder_run(encoder, image, 1, row, &error) &&
           strstr(error.message, "what the model gives is not finite, it has diverged: the model's tensor \"visual.conv1.weight\" holds nan"),
       "no embedding of it: %s", error.message);
    dt_params_value(model->params, weight)[7] = 0;
    image[5] = INFINITY;
    ok(encoder && !dt_encoder_run(encoder, image, 1, row, &error) && strstr(error.message, "for sample 0 of a batch"),
       "nor of a sample that is not finite: %s", error.message);
    dt_encoder_free(encoder);
    dt_model_free(model);
}

static void names(void)
{
    dt_foreign_name f;
    ok(dt_foreign_name_of(DT_NAMES_HF_CLIP, "visual.transformer.resblocks.11.attn.in_proj_bias", &f) && f.parts == 3 &&
           !strcmp(f.name[1], "vision_model.encoder.layers.11.self_attn.k_proj.bias"), "queries, keys and values apart");
    ok(!dt_foreign_name_of(DT_NAMES_HF_CLIP, "visual.transformer.resblocks.x.attn.in_proj_bias", &f) &&
           !dt_foreign_name_of(DT_NAMES_HF_CLIP, "visual.layer1.0.conv1.weight", &f), "names without a place");
    json_t *preset = json_string("ViT-B-16-SigLIP");
    dt_model *model = dt_model_declare(preset, NULL, &error);
    int found = 0, count = model ? dt_params_count(model->params) : 0;
    for (int i = 0; i < count; i++)
        found += dt_foreign_name_of(DT_NAMES_TIMM, dt_params_info(model->params, i)->name, &f) &&
                 dt_foreign_name_of(DT_NAMES_HF_SIGLIP, dt_params_info(model->params, i)->name, &f);
    ok(count > 100 && found == count, "all %d tensors of SigLIP have names elsewhere (%d)", count, found);
    ok(dt_foreign_name_of(DT_NAMES_TIMM, "visual.attn_pool.attn.in_proj_weight", &f) && f.parts == 2 &&
           !strcmp(f.name[1], "visual.trunk.attn_pool.kv.weight"), "the pool's keys and values together in timm");
    ok(dt_foreign_name_of(DT_NAMES_TIMM, "transformer.resblocks.3.ln_1.bias", &f) && f.parts == 1 &&
           !strcmp(f.name[0], "text.transformer.resblocks.3.ln_1.bias") &&
           !dt_foreign_name_of(DT_NAMES_TIMM, "visual.proj", &f), "texts apart, and no projection of images");
    dt_model_free(model);
    json_decref(preset);
}

int main(void)
{
    hugging_face();
    openai();
    positions();
    lent();
    refused();
    differences();
    many_differences();
    custom_text();
    cut_patches();
    not_finite();
    names();
    return done();
}
