/* What an evaluation found, as JSON, and into a run's evaluation.json. */
#include <math.h>
#include <string.h>

#include "data/file.h"
#include "data/json.h"
#include "data/pairs.h"
#include "eval/zeroshot.h"

static json_t *score_json(const dt_score *s, const char *set)
{
    json_t *json = json_pack("{s:s, s:o, s:f, s:I, s:s}", "key", s->key, "name",
                             json_sprintf("%s%s%s", set ? set : "", set ? ": " : "", s->name), "value",
                             s->value, "n", (json_int_t)s->n, "note", s->note);
    if (json && !isnan(s->chance))
        json_object_set_new(json, "chance", json_real(s->chance));
    if (json && s->rank)
        json_object_set_new(json, "rank", json_true());
    return json;
}

/* A file name may not be UTF-8, which JSON is. */
static const char *caption_of(const dt_hit_found *hit)
{
    return dt_caption_check(hit->text, NULL) ? hit->text : "";
}

static json_t *query_json(const dt_query_found *q, const char *store)
{
    json_t *hits = json_array();
    for (size_t i = 0; i < q->count; i++) {
        const dt_hit_found *hit = &q->hits[i];
        json_array_append_new(hits,
                              json_pack("{s:I, s:f, s:s, s:o}", "index", (json_int_t)hit->index, "score",
                                        (double)hit->score, "caption", caption_of(hit), "correct",
                                        hit->correct < 0 ? json_null() : json_boolean(hit->correct)));
    }
    return json_pack("{s:s, s:s, s:o}", "query", q->query, "store", store, "hits", hits);
}

json_t *dt_zeroshot_json(const dt_zeroshot_result *result)
{
    json_t *figures = json_array(), *galleries = json_array();
    for (size_t i = 0; i < result->score_count; i++)
        json_array_append_new(figures, score_json(&result->scores[i], result->name));
    for (size_t i = 0; i < result->query_count; i++)
        json_array_append_new(galleries, query_json(&result->queries[i], result->data));
    json_t *json = json_pack("{s:s, s:I, s:I, s:I, s:I, s:o, s:o}", "data", result->data, "images",
                             (json_int_t)result->images, "labelled", (json_int_t)result->labelled, "classes",
                             (json_int_t)result->classes, "captions", (json_int_t)result->captions, "figures",
                             figures, "galleries", galleries);
    bool whole = json && json_array_size(figures) == result->score_count &&
                 json_array_size(galleries) == result->query_count;
    if (whole)
        return json;
    json_decref(json);
    return NULL;
}

static bool same(const json_t *a, const json_t *b, const char *key)
{
    const char *x = json_string_value(json_object_get(a, key)),
               *y = json_string_value(json_object_get(b, key));
    return x && y && !strcmp(x, y);
}

/* In place of the item with the same texts under both keys, else at the end. */
static bool put(json_t *list, json_t *item, const char *key, const char *other)
{
    size_t i = 0, count = json_array_size(list);
    while (i < count &&
           !(same(json_array_get(list, i), item, key) && same(json_array_get(list, i), item, other)))
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

bool dt_zeroshot_merge(const char *path, const json_t *result, dt_error *error)
{
    json_t *root = dt_file_exists(path) ? dt_json_load(path, error) : json_object();
    if (!root)
        return dt_file_exists(path) ? false : dt_fail(error, "no memory for %s", path);
    bool good = json_is_object(root) || dt_fail(error, "%s: expected an object with figures, found %s", path,
                                                dt_json_kind_name(root));
    json_t *figures = good ? list_of(root, "figures", path, error) : NULL;
    json_t *galleries = figures ? list_of(root, "galleries", path, error) : NULL;
    good = galleries != NULL;
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(result, "figures"), i, item)
    {
        if (good && !json_object_get(item, "rank"))
            good = put(figures, item, "name", "name") || dt_fail(error, "no memory for %s", path);
    }
    json_array_foreach(json_object_get(result, "galleries"), i, item)
    {
        if (good)
            good = put(galleries, item, "query", "store") || dt_fail(error, "no memory for %s", path);
    }
    good = good && dt_json_write(path, root, error);
    json_decref(root);
    return good;
}
