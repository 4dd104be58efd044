#include "experiments/gan_condition.h"

#include "data/json.h"
#include "data/nearest.h"
#include "eval/classes.h"
#include "eval/fingerprint.h"
#include "experiments/load.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN = 10 };

size_t dt_condition_bytes(const dt_conditions *c)
{
    return c->kind == DT_CONDITION_NONE ? 0 : c->kind == DT_CONDITION_CLASS ? sizeof(int32_t) : c->width * sizeof(float);
}

static bool open_text(dt_conditions *c, const char *weights, bool quiet, dt_error *error)
{
    if (!(c->text = dt_load_weights("duet gan", weights, quiet, error)))
        return false;
    if (!c->text->config.has_text || !c->text->tokenizer)
        return dt_fail(error, "%s: a generator is conditioned on texts by a text tower with a tokenizer, and this model has none",
                       weights);
    c->width = (size_t)c->text->config.embed_dim;
    return (c->encoder = dt_text_encoder_new(c->text, c->backend, c->batch, error)) != NULL;
}

static bool make_room(dt_conditions *c, dt_error *error)
{
    c->room = calloc((size_t)c->batch, dt_condition_bytes(c) + 1);
    return c->room || dt_fail(error, "out of memory");
}

/* ---- Training ---- */

static bool train_classes(dt_conditions *c, json_t *description, json_t *condition, const dt_pairs *pairs, dt_error *error)
{
    size_t count = dt_pairs_class_count(pairs);
    if (!count)
        return dt_fail(error, "model: vision_cfg.condition: the data has no classes to condition on");
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(c->names, json_string(dt_pairs_class_name(pairs, i))))
            return dt_fail(error, "out of memory, or class %zu has a name that is not UTF-8", i);
    c->width = 1;
    json_object_set_new(condition, "classes", json_integer((json_int_t)count));
    return json_object_set_new(description, "generator", json_pack("{s: O}", "classes", c->names)) == 0 ||
           dt_fail(error, "out of memory");
}

/* The caption of a pair, or its class in the template's words; the caller frees. NULL: it has neither, or cannot be read. */
static char *caption_of(const dt_pairs *pairs, uint64_t index, const char *template, dt_error *error)
{
    dt_pair pair;
    char *text = NULL;
    if (!dt_pairs_get(pairs, index, &pair, error))
        return NULL;
    if (pair.caption_count)
        text = strdup(dt_pair_caption(&pair, 0, NULL));
    else if (pair.label >= 0)
        text = dt_template_fill(template, dt_pairs_class_name(pairs, (size_t)pair.label));
    if (!text)
        dt_fail(error, "picture %llu has no caption and no class to condition on", (unsigned long long)index);
    return text;
}

/* What pictures are shown for: classes in the template's words, else captions, evenly spread over what there is. */
static bool choose_prompts(dt_conditions *c, const dt_pairs *pairs, const char *template, dt_error *error)
{
    size_t classes = dt_pairs_class_count(pairs), all = classes ? classes : dt_pairs_count(pairs);
    size_t count = all < SHOWN ? all : SHOWN;
    bool good = true;
    for (size_t i = 0; good && i < count; i++) {
        char *text = classes ? dt_template_fill(template, dt_pairs_class_name(pairs, i * all / count))
                             : caption_of(pairs, i * all / count, template, error);
        good = text && (json_array_append_new(c->names, json_string(text)) == 0 || dt_fail(error, "out of memory"));
        free(text);
    }
    return good;
}

static bool train_texts(dt_conditions *c, json_t *description, json_t *condition, const dt_pairs *pairs, const char *weights,
                        const char *template, bool quiet, dt_error *error)
{
    char hash[DT_FINGERPRINT];
    if (!weights)
        return dt_fail(error, "model: vision_cfg.condition is a vector, but text.weights does not say whose text tower gives it");
    if (!open_text(c, weights, quiet, error) || !dt_model_fingerprint(c->text, hash, error) ||
        !choose_prompts(c, pairs, template, error))
        return false;
    json_object_set_new(condition, "width", json_integer((json_int_t)c->width));
    json_t *text = json_pack("{s: s, s: s, s: s, s: O}", "weights", weights, "fingerprint", hash, "template", template, "prompts",
                             c->names);
    return json_object_set_new(description, "generator", json_pack("{s: o}", "text", text)) == 0 ||
           dt_fail(error, "out of memory, or text.weights is not UTF-8");
}

bool dt_conditions_train(dt_conditions *c, const dt_backend *backend, json_t *description, const dt_pairs *pairs,
                         const char *weights, const char *template, int batch, bool quiet, dt_error *error)
{
    json_t *condition = json_object_get(json_object_get(description, "vision_cfg"), "condition");
    const char *kind = json_string_value(json_object_get(condition, "kind"));
    *c = (dt_conditions){.backend = backend, .names = json_array(), .batch = batch};
    if (!kind || dt_choice_index("class|vector", kind) < 0) /* the description's reader says what is wrong with it, if anything is */
        return !weights || dt_fail(error, "text.weights is given, but vision_cfg.condition is not {\"kind\": \"vector\"}");
    if (!pairs)
        return dt_fail(error, "model: vision_cfg.condition: a ring's points have no classes and no captions");
    c->kind = !strcmp(kind, "class") ? DT_CONDITION_CLASS : DT_CONDITION_VECTOR;
    bool class = c->kind == DT_CONDITION_CLASS;
    if (class && weights)
        return dt_fail(error, "text.weights is given, but vision_cfg.condition asks for classes");
    return (class ? train_classes(c, description, condition, pairs, error)
                  : train_texts(c, description, condition, pairs, weights, template, quiet, error)) &&
           make_room(c, error);
}

/* Embeddings come with length one; the networks want numbers of variance one. */
static void *widen(float *rows, size_t count, size_t width)
{
    for (size_t i = 0; i < count * width; i++)
        rows[i] *= sqrtf((float)width);
    return rows;
}

const void *dt_conditions_of(dt_conditions *c, const dt_batch *batch, dt_error *error)
{
    if (c->kind == DT_CONDITION_VECTOR)
        return dt_encoder_run(c->encoder, batch->tokens, batch->count, c->room, error)
                   ? widen(c->room, (size_t)batch->count, c->width) : NULL;
    for (int i = 0; i < batch->count; i++)
        if (batch->labels[i] < 0) {
            dt_fail(error, "picture %llu has no class to condition on", (unsigned long long)batch->indices[i]);
            return NULL;
        }
    return batch->labels;
}

/* ---- Drawing ---- */

bool dt_conditions_draw(dt_conditions *c, const dt_backend *backend, const dt_model *model, const char *weights,
                        bool quiet, dt_error *error)
{
    const json_t *generator = json_object_get(model->json, "generator"), *text = json_object_get(generator, "text");
    const char *recorded = json_string_value(json_object_get(text, "fingerprint"));
    json_t *names = json_object_get(text ? text : generator, text ? "prompts" : "classes");
    *c = (dt_conditions){.kind = model->config.gan.condition, .backend = backend, .batch = 1, .width = 1,
                         .names = names ? json_incref(names) : json_array()};
    if (c->kind == DT_CONDITION_CLASS && json_array_size(c->names) > (size_t)model->config.gan.classes)
        return dt_fail(error, "this generator has %d classes, but its description names %zu", model->config.gan.classes,
                       json_array_size(c->names));
    if (c->kind != DT_CONDITION_VECTOR)
        return make_room(c, error);
    char hash[DT_FINGERPRINT];
    weights = weights ? weights : json_string_value(json_object_get(text, "weights"));
    if (!weights)
        return dt_fail(error, "this generator does not say whose text tower it was trained with; name it with --text-weights");
    if (!open_text(c, weights, quiet, error) || !dt_model_fingerprint(c->text, hash, error))
        return dt_fail_prefix(error, "the text tower that the generator was trained with (--text-weights names another)");
    if (recorded && strcmp(recorded, hash))
        return dt_fail(error, "%s is not the model whose text tower this generator was trained with (its hash is %s, expected %s); "
                              "name that one with --text-weights", weights, hash, recorded);
    if (c->width != (size_t)model->config.gan.condition_width)
        return dt_fail(error, "%s embeds texts in %zu numbers, but this generator takes %d", weights, c->width,
                       model->config.gan.condition_width);
    return make_room(c, error);
}

/* Which of the pairs picture i of `count` is: evenly spread. */
static uint64_t spread(const dt_pairs *pairs, size_t i, size_t count)
{
    return (uint64_t)i * dt_pairs_count(pairs) / count;
}

static bool spread_classes(const dt_pairs *pairs, size_t count, int32_t *labels, dt_error *error)
{
    dt_pair pair;
    for (size_t i = 0; i < count; i++) {
        uint64_t index = spread(pairs, i, count);
        if (!dt_pairs_get(pairs, index, &pair, error))
            return false;
        if (pair.label < 0)
            return dt_fail(error, "picture %llu has no class", (unsigned long long)index);
        labels[i] = pair.label;
    }
    return true;
}

/* All captions together, so that the text tower takes them in whole batches. */
static bool spread_texts(dt_conditions *c, const dt_pairs *pairs, const char *template, size_t count, float *rows, dt_error *error)
{
    char **texts = calloc(count, sizeof *texts);
    bool good = texts || dt_fail(error, "out of memory");
    for (size_t i = 0; good && i < count; i++)
        good = (texts[i] = caption_of(pairs, spread(pairs, i, count), template, error)) != NULL;
    good = good && dt_encode_texts(c->text, c->encoder, (const char *const *)texts, count, rows, error);
    if (good)
        widen(rows, count, c->width);
    for (size_t i = 0; texts && i < count; i++)
        free(texts[i]);
    free(texts);
    return good;
}

void *dt_conditions_spread(dt_conditions *c, const dt_pairs *pairs, const char *template, size_t count, dt_error *error)
{
    void *rows = calloc(count, dt_condition_bytes(c));
    bool good = rows || dt_fail(error, "out of memory");
    good = good && (c->kind == DT_CONDITION_CLASS ? spread_classes(pairs, count, rows, error)
                                                  : spread_texts(c, pairs, template, count, rows, error));
    if (good)
        return rows;
    free(rows);
    return NULL;
}

bool dt_condition_named(dt_conditions *c, const char *name, void *row, dt_error *error)
{
    if (c->kind == DT_CONDITION_VECTOR)
        return dt_encode_texts(c->text, c->encoder, &name, 1, row, error) && widen(row, 1, c->width);
    dt_nearest near = {.word = name};
    for (size_t i = 0; i < json_array_size(c->names); i++) {
        const char *class = json_string_value(json_array_get(c->names, i));
        if (class && !strcmp(class, name)) {
            *(int32_t *)row = (int32_t)i;
            return true;
        }
        if (class)
            dt_nearest_try(&near, class);
    }
    return dt_fail(error, "this generator knows no class '%s'%s%s%s", name, near.best ? "; did you mean " : "",
                   near.best ? near.best : "", near.best ? "?" : "");
}

void dt_conditions_free(dt_conditions *c)
{
    json_decref(c->names);
    dt_encoder_free(c->encoder);
    dt_model_free(c->text);
    free(c->room);
    *c = (dt_conditions){0};
}
