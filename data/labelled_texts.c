#include "data/labelled_texts.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/csv.h"
#include "data/json.h"
#include "data/pairs.h"
#include "data/source_parts.h"

/* Rows as they are read: texts and class names side by side. */
typedef struct rows {
    const char *file;
    dt_list texts, classes;
} rows;

bool dt_is_text_table(const char *path)
{
    static const char *const endings[] = {".csv", ".tsv", ".jsonl", ".ndjson"};
    const char *ending = strrchr(path, '.');
    for (size_t i = 0; ending && i < sizeof endings / sizeof *endings; i++)
        if (!strcasecmp(ending, endings[i]))
            return true;
    return false;
}

static bool add_row(rows *r, size_t line, const char *text, const char *class_name, dt_error *error)
{
    char *trimmed = text ? dt_trimmed(text, strlen(text), error) : NULL, *class_text = NULL;
    bool good = trimmed || dt_fail(error, "there is no text");
    good = good && dt_caption_check(trimmed, error) && (class_name || dt_fail(error, "there is no class"));
    class_text = good ? dt_trimmed(class_name, strlen(class_name), error) : NULL;
    good = good && class_text && (*class_text || dt_fail(error, "there is no class")) &&
           dt_caption_check(class_text, error) && dt_list_add(&r->texts, trimmed, strlen(trimmed), error) &&
           dt_list_add(&r->classes, class_text, strlen(class_text), error);
    free(trimmed);
    free(class_text);
    return good || dt_fail_prefix(error, "%s:%zu", r->file, line);
}

static int column_named(const dt_csv *csv, const char *const *names)
{
    for (const char *const *name = names; *name; name++)
        for (size_t i = 0; i < csv->field_count; i++)
            if (!strcasecmp(csv->fields[i], *name))
                return (int)i;
    return -1;
}

/* The columns of texts and of classes, from the first line. */
static bool find_columns(const rows *r, dt_csv *csv, int columns[2], dt_error *error)
{
    int status = dt_csv_next(csv, error);
    if (status <= 0)
        return status ? dt_fail_prefix(error, "%s:1", r->file) : dt_fail(error, "%s is empty", r->file);
    columns[0] = column_named(csv, dt_caption_names);
    columns[1] = column_named(csv, dt_class_names);
    return (columns[0] >= 0 || dt_fail(error, "%s: no column of texts, such as 'text', is in its first line", r->file)) &&
           (columns[1] >= 0 || dt_fail(error, "%s: no column of classes, such as 'label', is in its first line", r->file));
}

static const char *field(const dt_csv *csv, int column)
{
    return (size_t)column < csv->field_count ? csv->fields[column] : NULL;
}

static bool read_csv(rows *r, const dt_bytes *bytes, dt_error *error)
{
    dt_csv csv;
    int columns[2] = {-1, -1}, status;
    dt_csv_start(&csv, (const char *)bytes->data, bytes->size);
    bool good = find_columns(r, &csv, columns, error);
    while (good && (status = dt_csv_next(&csv, error)) != 0)
        good = (status > 0 || dt_fail_prefix(error, "%s:%zu", r->file, csv.line)) &&
               add_row(r, csv.line, field(&csv, columns[0]), field(&csv, columns[1]), error);
    dt_csv_end(&csv);
    return good;
}

static bool read_line(rows *r, size_t line, const char *text, size_t size, dt_error *error)
{
    dt_error reason;
    json_t *object = dt_json_parse(text, size, "JSON", &reason);
    const json_t *class_json = dt_json_first(object, dt_class_names);
    char *class_name = class_json ? dt_json_class(class_json, &reason) : NULL;
    bool good;
    if (!json_is_object(object))
        good = dt_fail(error, "%s:%zu: expected a JSON object: %s", r->file, line, object ? "it is none" : reason.message);
    else if (class_json && !class_name)
        good = dt_fail(error, "%s:%zu: %s", r->file, line, reason.message);
    else
        good = add_row(r, line, json_string_value(dt_json_first(object, dt_caption_names)), class_name, error);
    free(class_name);
    json_decref(object);
    return good;
}

static bool read_jsonl(rows *r, const dt_bytes *bytes, dt_error *error)
{
    const char *text = (const char *)bytes->data;
    size_t mark = bytes->size >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3) ? 3 : 0; /* a byte-order mark */
    for (size_t at = mark, line = 1; at < bytes->size; line++) {
        const char *end = memchr(text + at, '\n', bytes->size - at);
        size_t length = end ? (size_t)(end - text) - at : bytes->size - at, blank = 0;
        while (blank < length && (text[at + blank] == ' ' || text[at + blank] == '\t' || text[at + blank] == '\r'))
            blank++;
        if (blank < length && !read_line(r, line, text + at, length, error))
            return false;
        at += length + 1;
    }
    return true;
}

/* Class names to numbers; the texts change hands. */
static bool settle(dt_labelled_texts *table, rows *r, dt_error *error)
{
    dt_list names = {0};
    size_t count = r->texts.count;
    bool good = count || dt_fail(error, "%s has no rows", r->file);
    for (size_t i = 0; good && i < count; i++)
        good = dt_list_add(&names, r->classes.items[i], strlen(r->classes.items[i]), error);
    table->labels = good ? malloc(count * sizeof *table->labels) : NULL;
    good = good && (table->labels || dt_fail(error, "no memory for %zu texts", count));
    if (good) {
        dt_list_sort_unique(&names);
        for (size_t i = 0; i < count; i++)
            table->labels[i] = dt_list_find(&names, r->classes.items[i]);
        table->texts = r->texts.items;
        table->count = count;
        r->texts = (dt_list){0};
    }
    table->classes = names.items;
    table->class_count = names.count;
    return good;
}

bool dt_labelled_texts_load(dt_labelled_texts *table, const char *path, dt_error *error)
{
    rows r = {.file = path};
    dt_bytes bytes = {0};
    *table = (dt_labelled_texts){0};
    if (!dt_bytes_open(&bytes, path, error))
        return false;
    const char *ending = strrchr(path, '.');
    bool json = ending && (!strcasecmp(ending, ".jsonl") || !strcasecmp(ending, ".ndjson"));
    bool good = (json ? read_jsonl : read_csv)(&r, &bytes, error) && settle(table, &r, error);
    dt_bytes_close(&bytes);
    dt_list_free(&r.texts);
    dt_list_free(&r.classes);
    return good;
}

void dt_labelled_texts_free(dt_labelled_texts *table)
{
    for (size_t i = 0; i < table->count; i++)
        free(table->texts[i]);
    for (size_t i = 0; i < table->class_count; i++)
        free(table->classes[i]);
    free(table->texts);
    free(table->labels);
    free(table->classes);
    *table = (dt_labelled_texts){0};
}
