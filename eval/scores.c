#include "eval/scores.h"

#include <math.h>
#include <stdio.h>

dt_score *dt_score_add(dt_score *scores, size_t *count, const char *key, const char *name, double value,
                       size_t n, double chance)
{
    dt_score *score = &scores[(*count)++];
    *score = (dt_score){.value = value, .n = n, .chance = chance, .low = NAN, .high = NAN};
    snprintf(score->key, sizeof score->key, "%s", key);
    snprintf(score->name, sizeof score->name, "%s", name);
    return score;
}

static json_t *score_json(const dt_score *s, const char *set)
{
    json_t *json = json_pack("{s:s, s:o, s:f, s:I, s:s}", "key", s->key, "name",
                             json_sprintf("%s%s%s", set ? set : "", set ? ": " : "", s->name), "value",
                             s->value, "n", (json_int_t)s->n, "note", s->note);
    if (json && !isnan(s->chance))
        json_object_set_new(json, "chance", json_real(s->chance));
    if (json && !isnan(s->low)) {
        json_object_set_new(json, "low", json_real(s->low));
        json_object_set_new(json, "high", json_real(s->high));
    }
    if (json && s->rank)
        json_object_set_new(json, "rank", json_true());
    return json;
}

json_t *dt_scores_json(const dt_score *scores, size_t count, const char *set)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++)
        if (json_array_append_new(list, score_json(&scores[i], set)) != 0) {
            json_decref(list);
            list = NULL;
        }
    return list;
}
