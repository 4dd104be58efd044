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
    bool whole = json && json_array_size(galleries) == result->query_count &&
                 (!result->details || json_object_update(json, result->details) == 0);
    if (whole)
        return json;
    json_decref(json);
    return NULL;
}
