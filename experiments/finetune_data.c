#include "experiments/finetune_data.h"

#include "eval/folds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The short name, or the whole path where an earlier set has that name. */
static void name_test(dt_finetune_data *d, size_t i, const char *path)
{
    size_t size = sizeof d->test_names[i];
    dt_dataset_stem(path, d->test_names[i], size);
    for (size_t k = 0; k < i; k++)
        if (!strcmp(d->test_names[k], d->test_names[i]))
            snprintf(d->test_names[i], size, "%s", path);
}

static bool add_test(dt_finetune_data *d, const json_t *path, dt_tower tower, dt_error *error)
{
    if (!json_is_string(path))
        return dt_fail(error, "data.test: expected a path or a list of paths, found %s in the list", dt_json_kind_name(path));
    if (d->test_count == DT_FINETUNE_TESTS)
        return dt_fail(error, "data.test: more than %d paths", DT_FINETUNE_TESTS);
    size_t i = d->test_count++;
    name_test(d, i, json_string_value(path));
    d->tests[i] = dt_examples_open(json_string_value(path), tower, error);
    return d->tests[i] != NULL;
}

static bool open_all(dt_finetune_data *d, const dt_finetune_config *c, dt_error *error)
{
    bool good = (d->train = dt_examples_open(c->train, c->tower, error)) &&
                (!c->validation || (d->validation = dt_examples_open(c->validation, c->tower, error)));
    if (good && json_is_string(c->test))
        good = add_test(d, c->test, c->tower, error);
    for (size_t i = 0; good && i < json_array_size(c->test); i++)
        good = add_test(d, json_array_get(c->test, i), c->tower, error);
    return good;
}

/* The other data's classes, by the names of the training data. */
static bool match_classes(dt_finetune_data *d, dt_error *error)
{
    d->class_count = dt_examples_class_count(d->train);
    if (d->class_count < 2)
        return dt_fail(error, "%s has %zu classes; expected at least two", dt_examples_path(d->train), d->class_count);
    if (!(d->classes = malloc(d->class_count * sizeof *d->classes)))
        return dt_fail(error, "no memory for %zu classes", d->class_count);
    for (size_t c = 0; c < d->class_count; c++)
        d->classes[c] = dt_examples_class_name(d->train, c);
    bool good = !d->validation || dt_examples_classes(d->validation, d->classes, d->class_count, error);
    for (size_t i = 0; good && i < d->test_count; i++)
        good = dt_examples_classes(d->tests[i], d->classes, d->class_count, error);
    return good;
}

/* Captions are held out with their image: the others of it would give the answer away. held [samples]. */
static bool hold_out_images(const dt_finetune_data *d, const int32_t *owners, size_t images, double share, uint64_t seed,
                            uint8_t *held, dt_error *error)
{
    size_t n = dt_examples_count(d->train);
    int32_t *labels = malloc(images * sizeof *labels);
    uint8_t *image_held = calloc(images, 1);
    bool good = (labels && image_held) || dt_fail(error, "no memory for %zu images", images);
    for (size_t i = 0; good && i < images; i++)
        labels[i] = -1;
    for (size_t i = 0; good && i < n; i++)
        labels[owners[i]] = dt_examples_labels(d->train)[i];
    good = good && dt_split(labels, images, share, seed, image_held, error);
    for (size_t i = 0; good && i < n; i++)
        held[i] = image_held[owners[i]];
    free(labels);
    free(image_held);
    return good;
}

static bool hold_out(const dt_finetune_data *d, const dt_finetune_config *c, uint8_t *held, dt_error *error)
{
    size_t images;
    const int32_t *owners = dt_examples_owners(d->train, &images);
    uint64_t seed = (uint64_t)c->seed;
    if (d->validation || c->validation_share <= 0)
        return true;
    bool good = owners ? hold_out_images(d, owners, images, c->validation_share, seed, held, error)
                       : dt_split(dt_examples_labels(d->train), dt_examples_count(d->train), c->validation_share, seed, held,
                                  error);
    return good || dt_fail_prefix(error, "%s: a part for validation", c->train);
}

static bool split(dt_finetune_data *d, const dt_finetune_config *c, dt_error *error)
{
    size_t n = dt_examples_count(d->train);
    uint8_t *held = calloc(n, 1);
    d->rows = malloc(n * sizeof *d->rows);
    d->held = malloc(n * sizeof *d->held);
    bool good = ((held && d->rows && d->held) || dt_fail(error, "no memory for %zu samples", n)) &&
                hold_out(d, c, held, error);
    for (size_t i = 0; good && i < n; i++)
        if (held[i])
            d->held[d->held_count++] = i;
        else
            d->rows[d->row_count++] = i;
    free(held);
    return good;
}

bool dt_finetune_data_open(dt_finetune_data *d, const dt_finetune_config *config, dt_error *error)
{
    *d = (dt_finetune_data){0};
    return open_all(d, config, error) && match_classes(d, error) && split(d, config, error);
}

void dt_finetune_data_close(dt_finetune_data *d)
{
    dt_examples_free(d->train);
    dt_examples_free(d->validation);
    for (size_t i = 0; i < d->test_count; i++)
        dt_examples_free(d->tests[i]);
    free(d->rows);
    free(d->held);
    free(d->classes);
    *d = (dt_finetune_data){0};
}

size_t dt_finetune_validated(const dt_finetune_data *d)
{
    return d->validation ? dt_examples_count(d->validation) : d->held_count;
}

bool dt_finetune_validate(const dt_finetune_data *d, dt_model *model, dt_verdict *verdict, dt_error *error)
{
    return d->validation ? dt_judge(model, d->backend, d->validation, NULL, 0, verdict, error)
                         : dt_judge(model, d->backend, d->train, d->held, d->held_count, verdict, error);
}
