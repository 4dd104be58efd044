/* What an evaluation found, as JSON, and into a run's evaluation.json. */
#include "eval/findings.h"
#include "eval/zeroshot.h"

json_t *dt_zeroshot_json(const dt_zeroshot_result *result)
{
    json_t *figures = dt_scores_json(result->scores, result->score_count, result->name), *galleries = json_array();
    for (size_t i = 0; i < result->query_count; i++)
        json_array_append_new(galleries, dt_query_json(&result->queries[i], result->data));
    json_t *json = json_pack("{s:s, s:I, s:I, s:I, s:I, s:o, s:o}", "data", result->data, "images",
                             (json_int_t)result->images, "labelled", (json_int_t)result->labelled, "classes",
                             (json_int_t)result->classes, "captions", (json_int_t)result->captions, "figures",
                             figures, "galleries", galleries);
    bool whole = json && json_array_size(galleries) == result->query_count;
    if (whole)
        return json;
    json_decref(json);
    return NULL;
}

/* Ranks are for logs: beside shares they say nothing. */
static json_t *without_ranks(const json_t *figures)
{
    json_t *kept = json_array(), *figure;
    size_t i;
    json_array_foreach((json_t *)figures, i, figure)
    {
        if (kept && !json_object_get(figure, "rank") && json_array_append(kept, figure) != 0) {
            json_decref(kept);
            kept = NULL;
        }
    }
    return kept;
}

bool dt_zeroshot_merge(const char *path, const json_t *result, dt_error *error)
{
    json_t *figures = without_ranks(json_object_get(result, "figures"));
    json_t *kept = figures ? json_copy((json_t *)result) : NULL;
    bool good = (kept && json_object_set(kept, "figures", figures) == 0) ||
                dt_fail(error, "no memory for %s", path);
    good = good && dt_findings_merge(path, kept, error);
    json_decref(kept);
    json_decref(figures);
    return good;
}
