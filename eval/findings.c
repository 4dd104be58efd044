#include "eval/findings.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "eval/findings_read.h"

/* The memory of the findings: a chain of blocks, freed together. */
struct dt_findings_block {
    struct dt_findings_block *next;
    max_align_t items[];
};

void *dt_findings_take(dt_findings_reader *reader, size_t count, size_t size)
{
    size_t bytes;
    struct dt_findings_block *block = NULL;
    if (!__builtin_mul_overflow(count, size, &bytes) && bytes < SIZE_MAX / 2)
        block = calloc(1, sizeof *block + bytes + 1);
    if (!block) {
        dt_fail(reader->error, "no memory for %s", reader->file);
        return NULL;
    }
    block->next = reader->findings->blocks;
    reader->findings->blocks = block;
    return block->items;
}

void *dt_findings_list(dt_findings_reader *reader, const json_t *list, const char *place, size_t most,
                       size_t size, dt_item_read *read, size_t *count)
{
    *count = json_array_size(list); /* 0 for NULL */
    if (*count > most) {
        dt_fail(reader->error, "%s: %s: expected at most %zu items, found %zu", reader->file, place, most,
                *count);
        return NULL;
    }
    char *items = dt_findings_take(reader, *count, size);
    for (size_t i = 0; items && i < *count; i++) {
        char inner[DT_PLACE];
        snprintf(inner, sizeof inner, "%.130s[%zu]", place, i);
        if (!read(reader, items + i * size, json_array_get(list, i), inner))
            return NULL;
    }
    return items;
}

bool dt_findings_fields(dt_findings_reader *reader, const json_t *json, const char *place,
                        const dt_json_field *fields, size_t count)
{
    return dt_json_read_known(json, reader->file, place, fields, count, reader->error);
}

bool dt_read_text(dt_findings_reader *reader, void *item, const json_t *json, const char *place)
{
    *(const char **)item = json_string_value(json);
    return json_is_string(json) || dt_fail(reader->error, "%s: %s: expected a string, found %s", reader->file,
                                           place, dt_json_kind_name(json));
}

bool dt_read_interval_check(dt_findings_reader *reader, double low, double high, const char *place)
{
    if (isnan(low) && isnan(high))
        return true;
    return low <= high || dt_fail(reader->error,
                                  "%s: %s: expected low and high, the ends of an interval, or neither; found "
                                  "%g and %g",
                                  reader->file, place, low, high);
}

static bool read_figure(dt_findings_reader *reader, void *item, const json_t *json, const char *place)
{
    dt_figure *f = item;
    *f = (dt_figure){.key = "", .note = "", .chance = NAN, .low = NAN, .high = NAN, .n = -1};
    const dt_json_field fields[] = {
        {"name", DT_JSON_STRING, &f->name, .required = true},
        {"key", DT_JSON_STRING, &f->key, .required = false},
        {"value", DT_JSON_DOUBLE, &f->value, .required = true},
        {"n", DT_JSON_INT64, &f->n, .least = 0, .most = 0x1p53},
        {"chance", DT_JSON_DOUBLE, &f->chance, .required = false},
        {"low", DT_JSON_DOUBLE, &f->low, .required = false},
        {"high", DT_JSON_DOUBLE, &f->high, .required = false},
        {"note", DT_JSON_STRING, &f->note, .required = false},
        {"rank", DT_JSON_BOOL, &f->rank, .required = false},
    };
    return dt_findings_fields(reader, json, place, fields, sizeof fields / sizeof fields[0]) &&
           dt_read_interval_check(reader, f->low, f->high, place);
}

static bool read_hit(dt_findings_reader *reader, void *item, const json_t *json, const char *place)
{
    dt_hit *h = item;
    *h = (dt_hit){.score = NAN};
    const json_t *correct = NULL;
    const dt_json_field fields[] = {
        {"index", DT_JSON_SIZE, &h->index, .required = true},
        {"score", DT_JSON_DOUBLE, &h->score, .required = false},
        {"caption", DT_JSON_STRING, &h->caption, .required = false},
        {"correct", DT_JSON_ANY, &correct, .required = false},
    };
    if (!dt_findings_fields(reader, json, place, fields, sizeof fields / sizeof fields[0]))
        return false;
    if (correct && !json_is_boolean(correct) && !json_is_null(correct))
        return dt_fail(reader->error, "%s: %s.correct: expected a boolean, found %s", reader->file, place,
                       dt_json_kind_name(correct));
    h->judged = json_is_boolean(correct);
    h->correct = json_is_true(correct);
    return true;
}

static bool read_gallery(dt_findings_reader *reader, void *item, const json_t *json, const char *place)
{
    dt_gallery *g = item;
    const json_t *hits = NULL, *image = NULL;
    const dt_json_field fields[] = {
        {"query", DT_JSON_STRING, &g->query, .required = true},
        {"store", DT_JSON_STRING, &g->store, .required = true},
        {"image", DT_JSON_OBJECT, &image, .required = false},
        {"image_file", DT_JSON_STRING, &g->image_file, .required = false},
        {"hits", DT_JSON_ARRAY, &hits, .required = true},
    };
    const dt_json_field image_fields[] = {
        {"store", DT_JSON_STRING, &g->image_store, .required = true},
        {"index", DT_JSON_SIZE, &g->image_index, .required = true},
    };
    char inner[DT_PLACE];
    snprintf(inner, sizeof inner, "%.130s.image", place);
    if (!dt_findings_fields(reader, json, place, fields, sizeof fields / sizeof fields[0]) ||
        (image && !dt_findings_fields(reader, image, inner, image_fields, 2)))
        return false;
    snprintf(inner, sizeof inner, "%.130s.hits", place);
    g->hits =
        dt_findings_list(reader, hits, inner, DT_FINDINGS_MOST, sizeof *g->hits, read_hit, &g->hit_count);
    return g->hits != NULL;
}

static bool read_picture(dt_findings_reader *reader, void *item, const json_t *json, const char *place)
{
    dt_picture_found *p = item;
    *p = (dt_picture_found){.caption = "", .group = "", .step = -1};
    const dt_json_field fields[] = {
        {"name", DT_JSON_STRING, &p->name, .required = true},
        {"file", DT_JSON_STRING, &p->file, .required = true},
        {"caption", DT_JSON_STRING, &p->caption, .required = false},
        {"group", DT_JSON_STRING, &p->group, .required = false},
        {"step", DT_JSON_INT64, &p->step, .least = 0, .most = 0x1p53},
    };
    if (!dt_findings_fields(reader, json, place, fields, sizeof fields / sizeof fields[0]))
        return false;
    return *p->file || dt_fail(reader->error, "%s: %s.file: expected the path of a picture, found an empty text",
                               reader->file, place);
}

/* A list of the root. */
static void *read_part(dt_findings_reader *reader, const char *key, size_t size, dt_item_read *read,
                       size_t *count)
{
    const json_t *list = NULL;
    const dt_json_field field = {key, DT_JSON_ARRAY, &list, .required = false};
    if (!dt_findings_fields(reader, reader->findings->json, "", &field, 1))
        return NULL;
    return dt_findings_list(reader, list, key, DT_FINDINGS_MOST, size, read, count);
}

bool dt_findings_read(dt_findings *findings, const char *path, dt_error *error)
{
    dt_findings *f = findings;
    *f = (dt_findings){.json = dt_json_load(path, error)};
    if (!f->json)
        return false;
    dt_findings_reader r = {f, path, error};
    f->figures = read_part(&r, "figures", sizeof *f->figures, read_figure, &f->figure_count);
    if (f->figures)
        f->galleries = read_part(&r, "galleries", sizeof *f->galleries, read_gallery, &f->gallery_count);
    if (f->galleries)
        f->confusions =
            read_part(&r, "confusions", sizeof *f->confusions, dt_read_confusion, &f->confusion_count);
    if (f->confusions)
        f->reliability =
            read_part(&r, "reliability", sizeof *f->reliability, dt_read_reliability, &f->reliability_count);
    if (f->reliability)
        f->tables = read_part(&r, "tables", sizeof *f->tables, dt_read_table, &f->table_count);
    if (f->tables)
        f->curves = read_part(&r, "curves", sizeof *f->curves, dt_read_curve, &f->curve_count);
    if (f->curves)
        f->maps = read_part(&r, "maps", sizeof *f->maps, dt_read_map, &f->map_count);
    if (f->maps)
        f->pictures = read_part(&r, "pictures", sizeof *f->pictures, read_picture, &f->picture_count);
    return f->pictures;
}

void dt_findings_free(dt_findings *findings)
{
    for (struct dt_findings_block *block = findings->blocks, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    json_decref(findings->json);
    *findings = (dt_findings){0};
}
