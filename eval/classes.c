#define _GNU_SOURCE /* mempcpy */
#include "eval/classes.h"

#include <stdlib.h>
#include <string.h>

#include "data/file.h"
#include "data/json.h"
#include "data/pairs.h"
#include "eval/name_list.h"
#include "eval/named_lists.h"
#include "eval/texts.h"

enum {
    CLASSES_MAX = 1 << 24,
    CHUNK = 256, /* classes whose prompts stand in memory at a time */
};

static bool load_json(dt_classes *classes, const char *path, dt_error *error);

static dt_classes *start(const char *origin, dt_error *error)
{
    dt_classes *classes = calloc(1, sizeof *classes);
    if (!classes || !(classes->origin = strdup(origin))) {
        dt_fail(error, "no memory for the classes of %s", origin);
        free(classes);
        return NULL;
    }
    return classes;
}

/* The classes when they are good, else NULL. */
static dt_classes *finish(dt_classes *classes, bool good, dt_error *error)
{
    if (good && !classes->count)
        good = dt_fail(error, "%s: there is no class in it", classes->origin);
    if (good)
        return classes;
    dt_classes_free(classes);
    return NULL;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);
    return n >= k && !strcmp(text + n - k, end);
}

/* Names that go into templates must differ, or one class could never be told from the other. */
static bool each_once(const dt_classes *classes, dt_error *error)
{
    bool twice = false, good = true;
    json_t *index = dt_name_index((const char *const *)classes->names, classes->count, &twice, error);
    if (!index)
        return dt_fail_prefix(error, "%s", classes->origin);
    for (size_t i = 0; twice && good && i < classes->count; i++)
        if (dt_name_number(index, classes->names[i]) != (int32_t)i)
            good = dt_fail(error, "%s: '%s' stands there twice", classes->origin, classes->names[i]);
    json_decref(index);
    return good;
}

dt_classes *dt_classes_load(const char *text, dt_error *error)
{
    bool json = dt_is_list_file(text), file = json || dt_file_exists(text);
    if (!file && (ends_with(text, ".txt") || !strchr(text, ','))) {
        dt_fail(error, "there is no file '%s'; expected a file of classes, or their names with commas between them", text);
        return NULL;
    }
    dt_classes *classes = start(file ? text : "the list of classes", error);
    if (!classes)
        return NULL;
    if (json)
        return finish(classes, load_json(classes, text, error), error);
    dt_texts names;
    bool good = file ? dt_texts_load(&names, text, true, error)
                     : dt_texts_split(&names, text, ",", true, classes->origin, error);
    classes->names = names.items; /* taken over */
    classes->count = names.count;
    return finish(classes, good && each_once(classes, error), error);
}

dt_classes *dt_classes_of(const dt_dataset *dataset, dt_error *error)
{
    size_t count = dt_dataset_class_count(dataset);
    if (!count) {
        dt_fail(error, "%s names no classes; give them with --classes", dt_dataset_path(dataset));
        return NULL;
    }
    dt_classes *classes = start(dt_dataset_path(dataset), error);
    bool good =
        classes && ((classes->names = calloc(count, sizeof *classes->names)) || dt_fail(error, "no memory"));
    for (size_t i = 0; good && i < count; i++) {
        good = (classes->names[i] = strdup(dt_dataset_class_name(dataset, i))) || dt_fail(error, "no memory");
        classes->count += good;
    }
    return classes ? finish(classes, good, error) : NULL;
}

void dt_classes_free(dt_classes *classes)
{
    if (!classes)
        return;
    for (size_t i = 0; i < classes->count; i++) {
        free(classes->names[i]);
        if (classes->prompts)
            free(classes->prompts[i]);
    }
    for (size_t i = 0; i < classes->attribute_count; i++)
        free(classes->attributes[i].of_class);
    free(classes->attributes);
    free(classes->names);
    free(classes->prompts);
    free(classes->origin);
    free(classes);
}

/* Attributes while they are read: where each of its values stands, by text. */
typedef struct reader {
    dt_classes *classes;
    json_t *values[DT_ATTRIBUTES_MAX];
    size_t room; /* classes */
} reader;

static dt_attribute *attribute_named(reader *r, const char *name, dt_error *error)
{
    dt_classes *classes = r->classes;
    for (size_t i = 0; i < classes->attribute_count; i++)
        if (!strcmp(classes->attributes[i].name, name))
            return &classes->attributes[i];
    if (classes->attribute_count == DT_ATTRIBUTES_MAX || strlen(name) >= DT_ATTRIBUTE_NAME || !*name) {
        dt_fail(error, "attribute '%s' is one too many or too long; expected at most %d, of 1 to %d bytes",
                name, DT_ATTRIBUTES_MAX, DT_ATTRIBUTE_NAME - 1);
        return NULL;
    }
    dt_attribute *attribute = &classes->attributes[classes->attribute_count];
    attribute->of_class = malloc(r->room * sizeof *attribute->of_class);
    json_t *values = r->values[classes->attribute_count] = json_object();
    if (!attribute->of_class || !values) {
        free(attribute->of_class);
        attribute->of_class = NULL;
        dt_fail(error, "no memory");
        return NULL;
    }
    classes->attribute_count++;
    strcpy(attribute->name, name);
    memset(attribute->of_class, -1, r->room * sizeof *attribute->of_class);
    return attribute;
}

static bool read_attributes(reader *r, const json_t *object, size_t number, dt_error *error)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)object, name, value)
    {
        if (json_is_null(value))
            continue;
        if (!json_is_string(value))
            return dt_fail(error, "%s: classes[%zu].attributes.%s: expected a string or null, found %s",
                           r->classes->origin, number, name, dt_json_kind_name(value));
        dt_attribute *attribute = attribute_named(r, name, error);
        if (!attribute)
            return dt_fail_prefix(error, "%s: classes[%zu]", r->classes->origin, number);
        json_t *values = r->values[attribute - r->classes->attributes];
        const json_t *known = json_object_get(values, json_string_value(value));
        if (!known && json_object_set_new(values, json_string_value(value),
                                          json_integer((json_int_t)attribute->value_count)))
            return dt_fail(error, "no memory");
        attribute->of_class[number] =
            known ? (int32_t)json_integer_value(known) : (int32_t)attribute->value_count++;
    }
    return true;
}

/* Class `number`: its name, or an object. */
static bool read_class(reader *r, const json_t *json, size_t number, dt_error *error)
{
    dt_classes *classes = r->classes;
    const char *name = json_string_value(json), *prompt = NULL;
    const json_t *attributes = NULL;
    char place[64];
    snprintf(place, sizeof place, "classes[%zu]", number);
    const dt_json_field fields[] = {
        {"name", DT_JSON_STRING, &name, .required = false},
        {"prompt", DT_JSON_STRING, &prompt, .required = false},
        {"attributes", DT_JSON_OBJECT, &attributes, .required = false},
    };
    if (!name && !dt_json_read(json, classes->origin, place, fields, sizeof fields / sizeof *fields, error))
        return false;
    if (!name && !prompt)
        return dt_fail(error, "%s: %s: expected a name or a prompt", classes->origin, place);
    if (number && !prompt != !classes->prompts)
        return dt_fail(error, "%s: %s: expected %s, as the classes before it have", classes->origin, place,
                       prompt ? "no prompt" : "a prompt");
    if (!dt_caption_check(prompt ? prompt : name, error) || !dt_caption_check(name ? name : prompt, error))
        return dt_fail_prefix(error, "%s: %s", classes->origin, place);
    if (prompt && !classes->prompts && !(classes->prompts = calloc(r->room, sizeof *classes->prompts)))
        return dt_fail(error, "no memory");
    classes->names[number] = strdup(name ? name : prompt);
    classes->count++;
    if (!classes->names[number] || (prompt && !(classes->prompts[number] = strdup(prompt))))
        return dt_fail(error, "no memory");
    return !attributes || read_attributes(r, attributes, number, error);
}

static bool load_json(dt_classes *classes, const char *path, dt_error *error)
{
    json_t *list = dt_named_list(path, "classes", error);
    if (!list)
        return false;
    reader r = {.classes = classes, .room = json_array_size(list)};
    bool good = true;
    good = good && (r.room <= CLASSES_MAX ||
                    dt_fail(error, "%s: %zu classes; expected at most %d", path, r.room, CLASSES_MAX));
    if (good) {
        classes->names = calloc(r.room + 1, sizeof *classes->names);
        classes->attributes = calloc(DT_ATTRIBUTES_MAX, sizeof *classes->attributes);
        good = (classes->names && classes->attributes) || dt_fail(error, "no memory for %zu classes", r.room);
    }
    for (size_t i = 0; good && i < r.room; i++)
        good = read_class(&r, json_array_get(list, i), i, error);
    for (size_t i = 0; i < DT_ATTRIBUTES_MAX; i++)
        json_decref(r.values[i]);
    json_decref(list);
    return good;
}

/* Lower case of the ASCII letters. NULL: no memory. */
static char *folded(const char *name)
{
    char *copy = strdup(name);
    for (char *c = copy; c && *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
    return copy;
}

/* Numbers for the data's names that are known but for the case of their letters; where two classes differ in nothing else, none.
 * Adds to *found how many there are. */
static bool match_folded(const dt_classes *classes, const dt_dataset *dataset, int32_t *class_of_label, size_t *found,
                         dt_error *error)
{
    size_t count = dt_dataset_class_count(dataset);
    char **names = calloc(classes->count, sizeof *names), *name = NULL;
    bool twice, good = names != NULL;
    for (size_t i = 0; good && i < classes->count; i++)
        good = (names[i] = folded(classes->names[i])) != NULL;
    json_t *index = good ? dt_name_index((const char *const *)names, classes->count, &twice, error) : NULL;
    if (!good)
        dt_fail(error, "no memory for %zu classes", classes->count);
    good = index != NULL;
    for (size_t i = 0; good && !twice && i < count; i++) {
        if (class_of_label[i] >= 0)
            continue;
        good = (name = folded(dt_dataset_class_name(dataset, i))) || dt_fail(error, "no memory");
        class_of_label[i] = good ? dt_name_number(index, name) : -1;
        *found += class_of_label[i] >= 0;
        free(name);
    }
    for (size_t i = 0; names && i < classes->count; i++)
        free(names[i]);
    free(names);
    json_decref(index);
    return good;
}

bool dt_classes_match(const dt_classes *classes, const dt_dataset *dataset, int32_t *class_of_label,
                      dt_error *error)
{
    size_t count = dt_dataset_class_count(dataset), found = 0, missing = count, moved = count;
    bool twice;
    json_t *index = dt_name_index((const char *const *)classes->names, classes->count, &twice, error);
    if (!index)
        return dt_fail_prefix(error, "%s", classes->origin);
    for (size_t i = 0; i < count; i++) {
        class_of_label[i] = dt_name_number(index, dt_dataset_class_name(dataset, i));
        found += class_of_label[i] >= 0;
    }
    json_decref(index);
    if (found < count && !match_folded(classes, dataset, class_of_label, &found, error))
        return false;
    for (size_t i = count; i-- > 0;) {
        missing = class_of_label[i] < 0 ? i : missing;
        moved = class_of_label[i] >= 0 && class_of_label[i] != (int32_t)i ? i : moved;
    }
    if (found == count && !twice)
        return true;
    const char *path = dt_dataset_path(dataset);
    if (count != classes->count)
        return dt_fail(
            error, "%s has %zu classes, %s has %zu%s%s%s; expected the same classes, or all of its names",
            classes->origin, classes->count, path, count, missing < count ? " and not '" : "",
            missing < count ? dt_dataset_class_name(dataset, missing) : "", missing < count ? "'" : "");
    if (moved < count && !twice)
        return dt_fail(error,
                       "'%s' is class %zu of %s but class %d of %s, where '%s' is missing; expected the same "
                       "names or the same order",
                       dt_dataset_class_name(dataset, moved), moved, path, class_of_label[moved],
                       classes->origin, dt_dataset_class_name(dataset, missing));
    for (size_t i = 0; i < count; i++)
        class_of_label[i] = (int32_t)i;
    return true;
}

bool dt_classes_find(const char *const *names, size_t count, const dt_dataset *dataset, int32_t *class_of_label,
                     dt_error *error)
{
    bool good = true;
    json_t *index = dt_name_index(names, count, NULL, error);
    if (!index)
        return dt_fail_prefix(error, "the training data");
    for (size_t i = 0; i < dt_dataset_class_count(dataset); i++)
        class_of_label[i] = dt_name_number(index, dt_dataset_class_name(dataset, i));
    json_decref(index);
    const int32_t *labels = dt_dataset_labels(dataset);
    for (size_t i = 0; good && i < dt_dataset_count(dataset); i++)
        if (labels[i] >= 0 && class_of_label[labels[i]] < 0)
            good = dt_fail(error,
                           "image %zu of %s is of the class '%s', which is not among the %zu classes of the training data",
                           i, dt_dataset_path(dataset), dt_dataset_class_name(dataset, (size_t)labels[i]), count);
    return good;
}

bool dt_template_check(const char *template, dt_error *error)
{
    if (!dt_caption_check(template, error))
        return dt_fail_prefix(error, "a template");
    return strstr(template, "{}") ||
           dt_fail(error, "template '%s' has no {} for the class name, as in '" DT_DEFAULT_TEMPLATE "'",
                   template);
}

char *dt_template_fill(const char *template, const char *name)
{
    size_t places = 0, length = strlen(name), size;
    for (const char *at = template; (at = strstr(at, "{}")); at += 2)
        places++;
    if (__builtin_mul_overflow(places, length, &size) ||
        __builtin_add_overflow(size, strlen(template) + 1, &size))
        return NULL;
    char *text = malloc(size), *to = text;
    for (const char *at = template; text && *at;) {
        if (at[0] == '{' && at[1] == '}') {
            to = mempcpy(to, name, length);
            at += 2;
        } else {
            *to++ = *at++;
        }
    }
    if (text)
        *to = 0;
    return text;
}

bool dt_classes_embed(const dt_classes *classes, const char *const *templates, size_t template_count,
                      dt_model *model, dt_encoder *text_encoder, float *weights, dt_progress progress,
                      dt_error *error)
{
    if (classes->prompts)
        return dt_embed_texts(model, text_encoder, (const char *const *)classes->prompts, classes->count,
                              weights, progress, error);
    size_t dim = (size_t)model->config.embed_dim, texts = CHUNK * template_count;
    char **prompts = calloc(texts, sizeof *prompts);
    bool good = prompts || dt_fail(error, "no memory for %zu templates", template_count);
    for (size_t done = 0; good && done < classes->count;) {
        size_t part = classes->count - done < CHUNK ? classes->count - done : CHUNK;
        for (size_t i = 0; good && i < part * template_count; i++)
            good = (prompts[i] = dt_template_fill(templates[i % template_count],
                                                  classes->names[done + i / template_count])) ||
                   dt_fail(error, "no memory for %zu prompts", texts);
        good = good && dt_encode_classes(model, text_encoder, (const char *const *)prompts, part,
                                         template_count, weights + done * dim, error);
        for (size_t i = 0; i < texts; i++) {
            free(prompts[i]);
            prompts[i] = NULL;
        }
        done += part;
        if (progress.tell)
            progress.tell(progress.context, "classes", done, classes->count);
    }
    free(prompts);
    return good;
}
