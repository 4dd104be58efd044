#include <string.h>

#include "data/file.h"
#include "data/json.h"
#include "eval/findings.h"

/* The lists of the file, and what tells their items apart. */
static const struct part {
    const char *list, *key, *other;
} parts[] = {
    {"figures", "name", "name"},     {"galleries", "query", "store"}, {"confusions", "name", "name"},
    {"reliability", "name", "name"}, {"tables", "name", "name"},      {"curves", "name", "name"},
    {"maps", "name", "name"},        {"pictures", "name", "name"},
};

static bool same(const json_t *a, const json_t *b, const char *key)
{
    const char *x = json_string_value(json_object_get(a, key)),
               *y = json_string_value(json_object_get(b, key));
    return x && y && !strcmp(x, y);
}

/* In place of the item with the same texts under both keys, else at the end. */
static bool put(json_t *list, json_t *item, const struct part *part)
{
    size_t i = 0, count = json_array_size(list);
    while (i < count && !(same(json_array_get(list, i), item, part->key) &&
                          same(json_array_get(list, i), item, part->other)))
        i++;
    return (i < count ? json_array_set(list, i, item) : json_array_append(list, item)) == 0;
}

/* The list of a file, made where there is none; NULL: something else stands there. */
static json_t *list_of(json_t *root, const char *key, const char *path, dt_error *error)
{
    json_t *list = json_object_get(root, key);
    if (!list && json_object_set_new(root, key, json_array()) == 0)
        list = json_object_get(root, key);
    if (json_is_array(list))
        return list;
    dt_fail(error, "%s: %s: expected a list, found %s", path, key, dt_json_kind_name(list));
    return NULL;
}

static bool merge_part(json_t *root, const json_t *found, const struct part *part, const char *path,
                       dt_error *error)
{
    json_t *items = json_object_get(found, part->list), *item;
    if (!items)
        return true;
    if (!json_is_array(items))
        return dt_fail(error, "%s: found for %s: expected a list, found %s", path, part->list,
                       dt_json_kind_name(items));
    json_t *list = list_of(root, part->list, path, error);
    size_t i;
    bool good = list;
    json_array_foreach(items, i, item)
    {
        if (good)
            good = put(list, item, part) || dt_fail(error, "no memory for %s", path);
    }
    return good;
}

void dt_findings_note(json_t *found, const char *text)
{
    size_t i;
    json_t *figure;
    json_array_foreach(json_object_get(found, "figures"), i, figure) {
        const char *note = json_string_value(json_object_get(figure, "note"));
        json_object_set_new(figure, "note", json_sprintf("%s%s%s", note ? note : "", note && *note ? "; " : "", text));
    }
}

bool dt_findings_merge(const char *path, const json_t *found, dt_error *error)
{
    bool exists = dt_file_exists(path);
    json_t *root = exists ? dt_json_load(path, error) : json_object();
    if (!root)
        return !exists ? dt_fail(error, "no memory for %s", path) : false;
    bool good = json_is_object(root) || dt_fail(error, "%s: expected an object with figures, found %s", path,
                                                dt_json_kind_name(root));
    for (size_t i = 0; good && i < sizeof parts / sizeof parts[0]; i++)
        good = merge_part(root, found, &parts[i], path, error);
    good = good && dt_json_write(path, root, error);
    json_decref(root);
    return good;
}
