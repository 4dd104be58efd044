#include "eval/findings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/json.h"

enum { PLACE = 64 }; /* bytes of "galleries[12]"; with ".hits[3]" twice as many */

static bool read_figure(dt_figure *f, const json_t *json, const char *file, const char *place,
                        dt_error *error)
{
    *f = (dt_figure){.note = "", .chance = NAN, .n = -1};
    const dt_json_field fields[] = {
        {"name", DT_JSON_STRING, &f->name, .required = true},
        {"value", DT_JSON_DOUBLE, &f->value, .required = true},
        {"n", DT_JSON_INT64, &f->n, .least = 0, .most = 0x1p53},
        {"chance", DT_JSON_DOUBLE, &f->chance, .required = false},
        {"note", DT_JSON_STRING, &f->note, .required = false},
        {"rank", DT_JSON_BOOL, &f->rank, .required = false},
    };
    return dt_json_read_known(json, file, place, fields, sizeof fields / sizeof fields[0], error);
}

static bool read_hit(dt_hit *h, const json_t *json, const char *file, const char *place, dt_error *error)
{
    *h = (dt_hit){.score = NAN};
    const json_t *correct = NULL;
    const dt_json_field fields[] = {
        {"index", DT_JSON_SIZE, &h->index, .required = true},
        {"score", DT_JSON_DOUBLE, &h->score, .required = false},
        {"caption", DT_JSON_STRING, &h->caption, .required = false},
        {"correct", DT_JSON_ANY, &correct, .required = false},
    };
    if (!dt_json_read_known(json, file, place, fields, sizeof fields / sizeof fields[0], error))
        return false;
    if (correct && !json_is_boolean(correct) && !json_is_null(correct))
        return dt_fail(error, "%s: %s.correct: expected a boolean, found %s", file, place,
                       dt_json_kind_name(correct));
    h->judged = json_is_boolean(correct);
    h->correct = json_is_true(correct);
    return true;
}

static bool read_gallery(dt_gallery *g, const json_t *json, const char *file, const char *place,
                         dt_error *error)
{
    const json_t *hits = NULL;
    const dt_json_field fields[] = {
        {"query", DT_JSON_STRING, &g->query, .required = true},
        {"store", DT_JSON_STRING, &g->store, .required = true},
        {"hits", DT_JSON_ARRAY, &hits, .required = true},
    };
    if (!dt_json_read_known(json, file, place, fields, sizeof fields / sizeof fields[0], error))
        return false;
    g->hit_count = json_array_size(hits);
    g->hits = calloc(g->hit_count + 1, sizeof *g->hits);
    if (!g->hits)
        return dt_fail(error, "no memory for %s", file);
    for (size_t i = 0; i < g->hit_count; i++) {
        char inner[2 * PLACE];
        snprintf(inner, sizeof inner, "%s.hits[%zu]", place, i);
        if (!read_hit(&g->hits[i], json_array_get(hits, i), file, inner, error))
            return false;
    }
    return true;
}

static bool read_parts(dt_findings *e, const json_t *figures, const json_t *galleries, const char *file,
                       dt_error *error)
{
    e->figure_count = json_array_size(figures); /* 0 for NULL */
    e->gallery_count = json_array_size(galleries);
    e->figures = calloc(e->figure_count + 1, sizeof *e->figures);
    e->galleries = calloc(e->gallery_count + 1, sizeof *e->galleries);
    if (!e->figures || !e->galleries)
        return dt_fail(error, "no memory for %s", file);
    char place[PLACE];
    for (size_t i = 0; i < e->figure_count; i++) {
        snprintf(place, sizeof place, "figures[%zu]", i);
        if (!read_figure(&e->figures[i], json_array_get(figures, i), file, place, error))
            return false;
    }
    for (size_t i = 0; i < e->gallery_count; i++) {
        snprintf(place, sizeof place, "galleries[%zu]", i);
        if (!read_gallery(&e->galleries[i], json_array_get(galleries, i), file, place, error))
            return false;
    }
    return true;
}

bool dt_findings_read(dt_findings *findings, const char *path, dt_error *error)
{
    *findings = (dt_findings){.json = dt_json_load(path, error)};
    const json_t *figures = NULL, *galleries = NULL;
    const dt_json_field fields[] = {
        {"figures", DT_JSON_ARRAY, &figures, .required = false},
        {"galleries", DT_JSON_ARRAY, &galleries, .required = false},
    };
    return findings->json && dt_json_read_known(findings->json, path, "", fields, 2, error) &&
           read_parts(findings, figures, galleries, path, error);
}

void dt_findings_free(dt_findings *findings)
{
    for (size_t i = 0; findings->galleries && i < findings->gallery_count; i++)
        free(findings->galleries[i].hits);
    free(findings->galleries);
    free(findings->figures);
    json_decref(findings->json);
    *findings = (dt_findings){0};
}
