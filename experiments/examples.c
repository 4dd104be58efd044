#include "experiments/examples.h"

#include "data/labelled_texts.h"
#include "eval/name_list.h"

#include <stdlib.h>
#include <string.h>

struct dt_examples {
    char *path;
    dt_tower tower;
    dt_dataset *data;        /* NULL: a table of texts */
    dt_labelled_texts table;
    dt_captions captions;
    size_t count, left_out;
    int32_t *own, *labels; /* [count]: the data's numbers, and those in force */
    uint64_t *indices;     /* [count]: images */
    int32_t *owners;       /* [count]: of captions */
    const char **texts;    /* [count]: texts */
};

static bool make_room(dt_examples *e, size_t count, dt_error *error)
{
    e->own = calloc(count + 1, sizeof *e->own);
    e->labels = calloc(count + 1, sizeof *e->labels);
    if (e->tower == DT_TOWER_TEXT)
        e->texts = calloc(count + 1, sizeof *e->texts);
    else
        e->indices = calloc(count + 1, sizeof *e->indices);
    return (e->own && e->labels && (e->texts || e->indices)) || dt_fail(error, "no memory for %zu samples", count);
}

static bool take_images(dt_examples *e, dt_error *error)
{
    const int32_t *labels = dt_dataset_labels(e->data);
    size_t all = dt_dataset_count(e->data);
    if (!make_room(e, all, error))
        return false;
    for (size_t i = 0; i < all; i++)
        if (labels[i] >= 0) {
            e->indices[e->count] = i;
            e->own[e->count++] = labels[i];
        }
    e->left_out = all - e->count;
    return e->count || dt_fail(error, "no image of %s has a class", e->path);
}

static bool take_captions(dt_examples *e, dt_error *error)
{
    const int32_t *labels = dt_dataset_labels(e->data);
    if (!dt_dataset_captions(e->data, 0, &e->captions, error) || !make_room(e, e->captions.count, error))
        return false;
    if (!(e->owners = calloc(e->captions.count + 1, sizeof *e->owners)))
        return dt_fail(error, "no memory for %zu captions", e->captions.count);
    for (size_t i = 0; i < e->captions.count; i++)
        if (labels[e->captions.images[i]] >= 0) {
            e->texts[e->count] = e->captions.texts[i];
            e->owners[e->count] = e->captions.images[i];
            e->own[e->count++] = labels[e->captions.images[i]];
        }
    e->left_out = e->captions.count - e->count;
    return e->count || dt_fail(error, "no caption of %s has a class", e->path);
}

static bool take_table(dt_examples *e, dt_error *error)
{
    if (!dt_labelled_texts_load(&e->table, e->path, error) || !make_room(e, e->table.count, error))
        return false;
    e->count = e->table.count;
    memcpy(e->own, e->table.labels, e->count * sizeof *e->own);
    for (size_t i = 0; i < e->count; i++)
        e->texts[i] = e->table.texts[i];
    return true;
}

dt_examples *dt_examples_open(const char *path, dt_tower tower, dt_error *error)
{
    dt_examples *e = calloc(1, sizeof *e);
    bool good = (e && (e->path = strdup(path))) || dt_fail(error, "no memory to open %s", path);
    if (good && tower == DT_TOWER_IMAGE && dt_is_text_table(path))
        good = dt_fail(error, "%s is a table of texts; the image tower takes a pair store or a folder", path);
    if (good) {
        e->tower = tower;
        if (dt_is_text_table(path))
            good = take_table(e, error);
        else
            good = (e->data = dt_dataset_open(path, error)) &&
                   (tower == DT_TOWER_TEXT ? take_captions(e, error) : take_images(e, error));
    }
    if (good) {
        memcpy(e->labels, e->own, e->count * sizeof *e->labels);
        return e;
    }
    dt_examples_free(e);
    return NULL;
}

void dt_examples_free(dt_examples *e)
{
    if (!e)
        return;
    dt_captions_free(&e->captions);
    dt_labelled_texts_free(&e->table);
    dt_dataset_close(e->data);
    free(e->path);
    free(e->own);
    free(e->labels);
    free(e->indices);
    free(e->owners);
    free(e->texts);
    free(e);
}

const char *dt_examples_path(const dt_examples *e)
{
    return e->path;
}

size_t dt_examples_count(const dt_examples *e)
{
    return e->count;
}

size_t dt_examples_left_out(const dt_examples *e)
{
    return e->left_out;
}

size_t dt_examples_class_count(const dt_examples *e)
{
    return e->data ? dt_dataset_class_count(e->data) : e->table.class_count;
}

const char *dt_examples_class_name(const dt_examples *e, size_t c)
{
    return e->data ? dt_dataset_class_name(e->data, c) : c < e->table.class_count ? e->table.classes[c] : NULL;
}

bool dt_examples_classes(dt_examples *e, const char *const *names, size_t count, dt_error *error)
{
    size_t own = dt_examples_class_count(e);
    int32_t *number = malloc((own + 1) * sizeof *number);
    json_t *index = dt_name_index(names, count, NULL, error);
    bool good = (index || dt_fail_prefix(error, "the training data")) &&
                (number || dt_fail(error, "no memory for %zu classes", own));
    for (size_t c = 0; good && c < own; c++)
        number[c] = dt_name_number(index, dt_examples_class_name(e, c));
    json_decref(index);
    for (size_t i = 0; good && i < e->count; i++) {
        e->labels[i] = number[e->own[i]];
        if (e->labels[i] < 0)
            good = dt_fail(error, "%s has samples of the class '%s', which is not among the %zu classes of the training data",
                           e->path, dt_examples_class_name(e, (size_t)e->own[i]), count);
    }
    free(number);
    return good;
}

const int32_t *dt_examples_labels(const dt_examples *e)
{
    return e->labels;
}

const uint64_t *dt_examples_indices(const dt_examples *e)
{
    return e->indices;
}

const int32_t *dt_examples_owners(const dt_examples *e, size_t *images)
{
    *images = e->owners ? dt_dataset_count(e->data) : 0;
    return e->owners;
}

const dt_dataset *dt_examples_images(const dt_examples *e)
{
    return e->indices ? e->data : NULL;
}

const char *dt_examples_text(const dt_examples *e, size_t i)
{
    return e->texts ? e->texts[i] : NULL;
}

bool dt_examples_encode(const dt_examples *e, const size_t *rows, size_t count, dt_model *model, dt_encoder *encoder,
                        float *out, dt_progress progress, dt_error *error)
{
    const char **texts = e->texts ? malloc((count + 1) * sizeof *texts) : NULL;
    uint64_t *images = e->texts ? NULL : malloc((count + 1) * sizeof *images);
    bool good = texts || images || dt_fail(error, "no memory for %zu samples", count);
    for (size_t i = 0; good && i < count; i++)
        if (texts)
            texts[i] = e->texts[rows ? rows[i] : i];
        else
            images[i] = e->indices[rows ? rows[i] : i];
    if (good && texts)
        good = dt_embed_texts(model, encoder, texts, count, out, progress, error);
    else if (good)
        good = dt_dataset_encode(e->data, images, count, model, encoder, 0, out, progress, NULL, error);
    free(texts);
    free(images);
    return good;
}
