#define _GNU_SOURCE /* memmem */
#include "eval/named_lists.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/file.h"
#include "data/json.h"

/* Where the NAME of FILE.json#NAME starts, or NULL: FILE.json alone. */
static const char *name_in(const char *path)
{
    const char *mark = strstr(path, ".json#");
    return mark && !dt_file_exists(path) ? mark + strlen(".json#") : NULL;
}

bool dt_is_list_file(const char *text)
{
    size_t length = strlen(text);
    return (length > 5 && !strcmp(text + length - 5, ".json")) || name_in(text);
}

static bool need_name(const char *file, const json_t *root, const char *name, dt_error *error)
{
    char names[1024] = "";
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)root, key, value)
    {
        size_t used = strlen(names);
        if (json_is_array(value) && used + strlen(key) + 3 < sizeof names)
            snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "", key);
    }
    return name ? dt_fail(error, "%s has no list '%s'; there are %s", file, name, *names ? names : "none")
                : dt_fail(error, "%s: expected a list%s%s; write %s#NAME for one of them", file,
                          *names ? ", found several: " : "", names, file);
}

/* The member that is meant, borrowed; NULL: none. */
static json_t *choose(const json_t *root, const char *name, const char *usual)
{
    const char *key;
    json_t *value, *only = NULL;
    size_t lists = 0;
    if (name)
        return json_object_get(root, name);
    if (json_object_get(root, usual))
        return json_object_get(root, usual);
    json_object_foreach((json_t *)root, key, value)
    {
        lists += json_is_array(value);
        only = json_is_array(value) ? value : only;
    }
    return lists == 1 ? only : NULL;
}

json_t *dt_named_list(const char *path, const char *usual, dt_error *error)
{
    const char *name = name_in(path);
    char *file = name ? strndup(path, (size_t)(name - 1 - path)) : strdup(path);
    json_t *root = file ? dt_json_load(file, error) : NULL, *list = NULL;
    if (!file)
        dt_fail(error, "no memory to read %s", path);
    else if (json_is_array(root) && !name)
        list = json_incref(root);
    else if (root && !json_is_object(root))
        dt_fail(error, "%s: expected a list%s, found %s", file, name ? " by that name" : "", dt_json_kind_name(root));
    else if (root && !json_is_array(list = choose(root, name, usual))) {
        list = NULL;
        need_name(file, root, name, error);
    } else if (root) {
        json_incref(list);
    }
    json_decref(root);
    free(file);
    return list;
}

/* A copy with "{}" for every "{c}". NULL: no memory. */
static char *plain_template(const char *text)
{
    char *copy = strdup(text), *at = copy;
    while (at && (at = strstr(at, "{c}")))
        memmove(at + 1, at + 2, strlen(at + 2) + 1);
    return copy;
}

bool dt_templates_load(dt_texts *templates, const char *path, dt_error *error)
{
    *templates = (dt_texts){0};
    if (!dt_is_list_file(path))
        return dt_texts_load(templates, path, true, error);
    json_t *list = dt_named_list(path, "templates", error);
    size_t count = json_array_size(list);
    bool good = list && (count || dt_fail(error, "%s: there is no template in it", path));
    templates->items = good ? calloc(count, sizeof *templates->items) : NULL;
    good = good && (templates->items || dt_fail(error, "no memory for %zu templates", count));
    for (size_t i = 0; good && i < count; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        good = text || dt_fail(error, "%s: template %zu: expected a text, found %s", path, i,
                               dt_json_kind_name(json_array_get(list, i)));
        if (good && !(templates->items[templates->count++] = plain_template(text)))
            good = dt_fail(error, "no memory for %zu templates", count);
    }
    json_decref(list);
    return good;
}
