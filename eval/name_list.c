#include "eval/name_list.h"

#include <stdio.h>

#include "data/json.h"

/* Why name i does not go into JSON. Messages are UTF-8: what is not ASCII is shown as "\xe9". */
static bool refuse(const char *name, size_t i, dt_error *error)
{
    char shown[256];
    json_t *text = json_string(name);
    json_decref(text);
    if (text)
        return dt_fail(error, "no memory for a list of names");
    shown[0] = 0;
    for (size_t used = 0; *name && used < sizeof shown - 5; name++)
        used += (size_t)sprintf(shown + used, (unsigned char)*name < 0x80 ? "%c" : "\\x%02x", (unsigned char)*name);
    return dt_fail(error, "the name of class %zu, '%s', is not UTF-8; rename it", i, shown);
}

json_t *dt_name_index(const char *const *names, size_t count, bool *twice, dt_error *error)
{
    json_t *index = json_object();
    bool again = false, good = index || dt_fail(error, "no memory for %zu names", count);
    for (size_t i = 0; good && i < count; i++) {
        if (json_object_get(index, names[i]))
            again = true;
        else
            good = json_object_set_new(index, names[i], json_integer((json_int_t)i)) == 0 || refuse(names[i], i, error);
    }
    if (twice)
        *twice = again;
    if (good)
        return index;
    json_decref(index);
    return NULL;
}

int32_t dt_name_number(const json_t *index, const char *name)
{
    const json_t *at = json_object_get(index, name);
    return at ? (int32_t)json_integer_value(at) : -1;
}

char *dt_names_text(const char *const *names, size_t count, dt_error *error)
{
    json_t *list = json_array();
    bool good = list || dt_fail(error, "no memory for %zu names", count);
    for (size_t i = 0; good && i < count; i++)
        good = json_array_append_new(list, json_string(names[i])) == 0 || refuse(names[i], i, error);
    char *text = good ? dt_json_text(list, 0, error) : NULL;
    json_decref(list);
    return text;
}
