#include "eval/queries.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/pairs.h"
#include "data/utf8.h"
#include "eval/search.h"

enum { HITS_MOST = 1 << 22 }; /* of all queries: over 1 GiB */

/* The nearest items of all queries: indices and scores [queries, k]. */
typedef struct nearest {
    size_t k;
    int32_t *indices;
    float *scores;
} nearest;

static bool search(nearest *near, const float *rows, size_t count, const float *items, size_t n, size_t dim,
                   size_t k, dt_error *error)
{
    *near = (nearest){.k = k < n ? k : n};
    if (near->k > HITS_MOST / count)
        return dt_fail(error, "the best %zu for %zu queries are too many; expected at most %d in all",
                       near->k, count, HITS_MOST);
    near->indices = calloc(count * near->k, sizeof *near->indices);
    near->scores = calloc(count * near->k, sizeof *near->scores);
    return (near->indices && near->scores)
               ? dt_search(rows, count, items, n, dim, near->k, near->indices, near->scores, error)
               : dt_fail(error, "no memory for %zu queries", count);
}

static void forget(nearest *near)
{
    free(near->indices);
    free(near->scores);
}

void dt_queries_free(dt_query_found *found, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(found[i].hits);
        found[i] = (dt_query_found){0};
    }
}

static bool start(dt_query_found *found, const dt_query *query, size_t most, dt_error *error)
{
    *found =
        (dt_query_found){query->text, query->kind, query->image, calloc(most + 1, sizeof *found->hits), 0};
    return found->hits || dt_fail(error, "no memory for %zu hits", most);
}

/* ---- Images ---- */

static bool named(const dt_searched *s, const char *query, int32_t label)
{
    const dt_classes *classes = s->classes;
    if (label < 0)
        return false;
    if (!strcasecmp(query, dt_dataset_class_name(s->data, (size_t)label)))
        return true;
    return classes && (!strcasecmp(query, classes->names[s->class_of[label]]) ||
                       (classes->prompts && !strcasecmp(query, classes->prompts[s->class_of[label]])));
}

/* Marks the images that are right for the query. False: there are none. */
static bool find_right(const dt_searched *s, const dt_query *query, bool *right)
{
    const int32_t *labels = dt_dataset_labels(s->data);
    bool any = false;
    for (size_t i = 0; i < dt_dataset_count(s->data); i++) {
        bool same = query->kind == DT_QUERY_IMAGE && i != query->image && labels[i] >= 0 &&
                    labels[i] == labels[query->image];
        right[i] = query->kind == DT_QUERY_TEXT ? named(s, query->text, labels[i]) : same;
        any |= right[i];
    }
    for (size_t c = 0; query->kind == DT_QUERY_TEXT && c < s->captions->count; c++)
        if (!strcasecmp(query->text, s->captions->texts[c]))
            any = right[s->captions->images[c]] = true;
    return any;
}

static bool answer(const dt_searched *s, const dt_query *query, const nearest *near, size_t q, size_t top,
                   bool *right, dt_query_found *found, dt_error *error)
{
    bool good = start(found, query, top < near->k ? top : near->k, error),
         known = good && find_right(s, query, right);
    for (size_t i = 0; good && i < near->k && found->count < top; i++) {
        size_t index = (size_t)near->indices[q * near->k + i];
        if (query->kind == DT_QUERY_IMAGE && index == query->image)
            continue;
        dt_hit_found *hit = &found->hits[found->count++];
        *hit = (dt_hit_found){index, near->scores[q * near->k + i], known ? right[index] : -1, ""};
        good = dt_dataset_describe(s->data, index, hit->text, sizeof hit->text, error);
    }
    return good;
}

bool dt_queries_answer(const dt_searched *s, const dt_query *queries, size_t count, const float *rows,
                       size_t top, dt_query_found *found, dt_error *error)
{
    size_t n = dt_dataset_count(s->data), itself = 0;
    for (size_t q = 0; q < count; q++)
        itself |= queries[q].kind == DT_QUERY_IMAGE;
    memset(found, 0, count * sizeof *found);
    nearest near;
    bool *right = calloc(n, sizeof *right);
    bool good = search(&near, rows, count, s->images, n, s->dim, top + itself, error) &&
                (right || dt_fail(error, "no memory for %zu images", n));
    for (size_t q = 0; good && q < count; q++)
        good = answer(s, &queries[q], &near, q, top, right, &found[q], error);
    if (!good)
        dt_queries_free(found, count);
    free(right);
    forget(&near);
    return good;
}

/* ---- Captions ---- */

typedef struct placed {
    const char *text;
    size_t place; /* among the captions */
} placed;

static int by_text(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    int order = strcmp(x->text, y->text);
    return order ? order : (x->place > y->place) - (x->place < y->place);
}

bool dt_caption_index_make(const dt_captions *captions, dt_caption_index *index, dt_error *error)
{
    size_t m = captions->count;
    *index = (dt_caption_index){calloc(m + 1, sizeof *index->texts), calloc(m + 1, sizeof *index->images), 0};
    placed *sorted = calloc(m + 1, sizeof *sorted);
    bool *again = calloc(m + 1, sizeof *again);
    bool good =
        (index->texts && index->images && sorted && again) || dt_fail(error, "no memory for %zu captions", m);
    for (size_t c = 0; good && c < m; c++)
        sorted[c] = (placed){captions->texts[c], c};
    if (good)
        qsort(sorted, m, sizeof *sorted, by_text);
    for (size_t i = 1; good && i < m; i++)
        again[sorted[i].place] = !strcmp(sorted[i].text, sorted[i - 1].text);
    for (size_t c = 0; good && c < m; c++) {
        index->texts[index->count] = captions->texts[c];
        index->images[index->count] = captions->images[c];
        index->count += !again[c];
    }
    free(sorted);
    free(again);
    if (!good)
        dt_caption_index_free(index);
    return good;
}

void dt_caption_index_free(dt_caption_index *index)
{
    free(index->texts);
    free(index->images);
    *index = (dt_caption_index){0};
}

/* 1: the text is a caption of the image; 0: it is none; -1: the image has none. */
static int is_caption_of(const dt_captions *captions, size_t image, const char *text)
{
    int known = -1;
    for (size_t c = 0; c < captions->count; c++)
        if ((size_t)captions->images[c] == image) {
            known = known < 0 ? 0 : known;
            if (!strcmp(captions->texts[c], text))
                return 1;
        }
    return known;
}

bool dt_queries_caption(const dt_searched *s, const dt_caption_index *index, const float *texts,
                        const dt_query *queries, size_t count, const float *rows, size_t top,
                        dt_query_found *found, dt_error *error)
{
    memset(found, 0, count * sizeof *found);
    nearest near;
    bool good = search(&near, rows, count, texts, index->count, s->dim, top, error);
    for (size_t q = 0; good && q < count; q++) {
        good = start(&found[q], &queries[q], near.k, error);
        for (; good && found[q].count < near.k; found[q].count++) {
            dt_hit_found *hit = &found[q].hits[found[q].count];
            size_t c = (size_t)near.indices[q * near.k + found[q].count];
            *hit = (dt_hit_found){(size_t)index->images[c], near.scores[q * near.k + found[q].count], -1, ""};
            if (queries[q].kind == DT_QUERY_IMAGE)
                hit->correct = is_caption_of(s->captions, queries[q].image, index->texts[c]);
            memcpy(hit->text, index->texts[c], dt_utf8_cut(index->texts[c], sizeof hit->text - 1));
        }
    }
    if (!good)
        dt_queries_free(found, count);
    forget(&near);
    return good;
}

/* ---- JSON ---- */

/* A file name may not be UTF-8, which JSON is. */
static const char *caption_of(const dt_hit_found *hit)
{
    return dt_caption_check(hit->text, NULL) ? hit->text : "";
}

json_t *dt_query_json(const dt_query_found *found, const char *store)
{
    json_t *hits = json_array();
    bool whole = hits;
    for (size_t i = 0; whole && i < found->count; i++) {
        const dt_hit_found *hit = &found->hits[i];
        whole = json_array_append_new(
                    hits, json_pack("{s:I, s:f, s:s, s:o}", "index", (json_int_t)hit->index, "score",
                                    (double)hit->score, "caption", caption_of(hit), "correct",
                                    hit->correct < 0 ? json_null() : json_boolean(hit->correct))) == 0;
    }
    json_t *json = json_pack("{s:s, s:s}", "query", found->query, "store", store);
    if (found->kind == DT_QUERY_IMAGE)
        whole &= json_object_set_new(
                     json, "image",
                     json_pack("{s:s, s:I}", "store", store, "index", (json_int_t)found->image)) == 0;
    if (found->kind == DT_QUERY_FILE)
        whole &= json_object_set_new(json, "image_file", json_string(found->query)) == 0;
    whole &= json_object_set_new(json, "hits", hits) == 0;
    if (whole)
        return json;
    json_decref(json);
    return NULL;
}
