/* The lines of CSV, TSV and JSONL tables as rows. */
#define _GNU_SOURCE /* asprintf */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/csv.h"
#include "data/json.h"
#include "data/pairs.h"
#include "data/source_table.h"

struct reading {
    dt_table *table;
    const dt_source_options *options;
    const char *file;
    char *folder; /* that the file lies in; "" for the present one */
};

static bool read_csv(struct reading *r, const dt_bytes *bytes, dt_error *error);
static bool read_jsonl(struct reading *r, const dt_bytes *bytes, dt_error *error);

bool dt_table_read(dt_table *table, const char *path, const dt_source_options *options, dt_error *error)
{
    dt_bytes bytes;
    const char *slash = strrchr(path, '/');
    struct reading r = {.table = table, .options = options, .file = path};
    r.folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup("");
    if (!r.folder)
        return dt_fail(error, "no memory to read %s", path);
    if (!dt_bytes_open(&bytes, path, error)) {
        free(r.folder);
        return false;
    }
    const char *text = (const char *)bytes.data;
    size_t start = 0;
    while (start < bytes.size && strchr(" \t\r\n", text[start]) && text[start])
        start++;
    bool json = start < bytes.size && text[start] == '{';
    bool good = json ? read_jsonl(&r, &bytes, error) : read_csv(&r, &bytes, error);
    dt_bytes_close(&bytes);
    free(r.folder);
    return good;
}

static void free_row(dt_table_row *row)
{
    free(row->path);
    free(row->class_name);
    free(row->extra);
    dt_list_free(&row->captions);
    *row = (dt_table_row){0};
}

static bool check_row(dt_table_row *row, dt_error *reason)
{
    if (!row->path || !*row->path)
        return dt_fail(reason, "the row names no image");
    if (strstr(row->path, "://"))
        return dt_fail(reason, "%s is an address, not a file; download the images first", row->path);
    if (!(row->weight >= 0) || row->weight > 1e30)
        return dt_fail(reason, "the weight is not a number of at least 0");
    if (row->class_name && !*row->class_name) {
        free(row->class_name);
        row->class_name = NULL;
    }
    for (size_t i = 0; i < row->captions.count; i++)
        if (*row->captions.items[i] || !row->class_name) /* a class makes up for an empty caption */
            if (!dt_caption_check(row->captions.items[i], reason))
                return false;
    return true;
}

static bool finish_row(struct reading *r, dt_table_row *row, dt_error *error)
{
    dt_error reason;
    if (!check_row(row, &reason))
        return dt_table_complain(r->table, row->line, reason.message, error);
    char *path = dt_join(r->folder, row->path);
    if (!path)
        return dt_fail(error, "no memory");
    free(row->path);
    row->path = path;
    return dt_table_take(r->table, row, error);
}

/* ---- CSV and TSV ---- */

enum { IMAGE, CAPTION, CLASS, WEIGHT, COLUMNS };

static char *listed(const dt_csv *csv)
{
    char *text = NULL;
    for (size_t i = 0; i < csv->field_count; i++) {
        char *longer = NULL;
        if (asprintf(&longer, "%s%s%s", text ? text : "", text ? ", " : "", csv->fields[i]) < 0)
            longer = NULL;
        free(text);
        text = longer;
    }
    return text;
}

/* The column of this name, or where none is asked for of the first known name; -1: not there. */
static int find_column(const dt_csv *csv, const char *asked, const char *const *known)
{
    const char *const one[] = {asked, NULL};
    for (const char *const *name = asked ? one : known; *name; name++)
        for (size_t i = 0; i < csv->field_count; i++)
            if (!(asked ? strcmp : strcasecmp)(csv->fields[i], *name))
                return (int)i;
    return -1;
}

static bool missing(const dt_csv *csv, const char *file, const char *what, dt_error *error)
{
    char *columns = listed(csv);
    dt_fail(error, "%s has no column %s among its columns (%s)", file, what, columns ? columns : "?");
    free(columns);
    return false;
}

static bool find_columns(const struct reading *r, const dt_csv *csv, int column[COLUMNS], int *extra,
                         dt_error *error)
{
    const dt_source_options *o = r->options;
    const char *const asked[] = {o->image_column, o->caption_column, o->class_column, o->weight_column};
    const char *const *const known[] = {dt_image_names, dt_caption_names, dt_class_names, dt_weight_names};
    for (int i = 0; i < COLUMNS; i++) {
        column[i] = find_column(csv, asked[i], known[i]);
        if (asked[i] && column[i] < 0)
            return missing(csv, r->file, asked[i], error);
    }
    if (column[IMAGE] < 0)
        return missing(csv, r->file, "of image paths (name it with --image-column)", error);
    if (column[CAPTION] < 0 && column[CLASS] < 0)
        return missing(csv, r->file, "of captions or classes (name it with --caption-column)", error);
    for (size_t i = 0; i < o->extra_column_count; i++)
        if ((extra[i] = find_column(csv, o->extra_columns[i], NULL)) < 0)
            return missing(csv, r->file, o->extra_columns[i], error);
    return true;
}

static bool take_fields(const struct reading *r, const dt_csv *csv, const int column[COLUMNS],
                        const int *extra, dt_table_row *row, dt_error *error)
{
    *row = (dt_table_row){.line = csv->line, .weight = 1};
    const char *caption = column[CAPTION] < 0 ? NULL : csv->fields[column[CAPTION]];
    const char *class_name = column[CLASS] < 0 ? NULL : csv->fields[column[CLASS]];
    char *end, *trimmed = caption ? dt_trimmed(caption, strlen(caption), error) : NULL;
    bool good =
        (!caption || trimmed) && (!trimmed || dt_list_add(&row->captions, trimmed, strlen(trimmed), error));
    free(trimmed);
    good = good && (row->path = strdup(csv->fields[column[IMAGE]])) &&
           (!class_name || (row->class_name = dt_trimmed(class_name, strlen(class_name), error)));
    const char *weight = column[WEIGHT] < 0 ? "" : csv->fields[column[WEIGHT]];
    if (*weight) {
        row->weight = strtod(weight, &end);
        if (end == weight || *end)
            row->weight = NAN;
    }
    if (!good || !r->options->extra_column_count)
        return good || dt_fail(error, "no memory");
    json_t *object = json_object();
    for (size_t i = 0; i < r->options->extra_column_count && good; i++) {
        json_t *value = json_string(csv->fields[extra[i]]); /* NULL where it is not UTF-8 */
        good = !json_object_set_new(object, r->options->extra_columns[i], value ? value : json_string("?"));
    }
    good = good && (row->extra = dt_json_text(object, 0, error));
    json_decref(object);
    return good || dt_fail(error, "no memory for a row");
}

static bool read_csv(struct reading *r, const dt_bytes *bytes, dt_error *error)
{
    dt_csv csv;
    dt_error reason;
    int column[COLUMNS], *extra = calloc(r->options->extra_column_count + 1, sizeof *extra), found;
    dt_csv_start(&csv, (const char *)bytes->data, bytes->size);
    found = dt_csv_next(&csv, &reason);
    bool good = extra != NULL || dt_fail(error, "no memory");
    if (good && found <= 0)
        good = dt_fail(error, "%s has no header: %s", r->file, found ? reason.message : "it is empty");
    good = good && find_columns(r, &csv, column, extra, error);
    size_t width = csv.field_count;
    while (good && (found = dt_csv_next(&csv, &reason))) {
        dt_table_row row = {0};
        bool sound = found > 0;
        if (sound && csv.field_count != width)
            sound = dt_fail(&reason, "%zu fields, the header has %zu; put texts with a delimiter in quotes",
                            csv.field_count, width);
        if (!sound)
            good = dt_table_complain(r->table, csv.line, reason.message, error);
        else
            good = take_fields(r, &csv, column, extra, &row, error) && finish_row(r, &row, error);
        free_row(&row);
    }
    dt_csv_end(&csv);
    free(extra);
    return good;
}

/* ---- JSONL ---- */

static const json_t *member(const json_t *object, const char *asked, const char *const *known)
{
    const char *const one[] = {asked, NULL};
    return dt_json_first(object, asked ? one : known);
}

/* The `extra` object itself, with the members that were asked for. */
static char *extra_of(const struct reading *r, const json_t *object, dt_error *error)
{
    const json_t *given = json_object_get(object, "extra");
    json_t *extra = json_is_object(given) ? json_copy((json_t *)(uintptr_t)given) : json_object();
    for (size_t i = 0; i < r->options->extra_column_count; i++) {
        json_t *value = json_object_get(object, r->options->extra_columns[i]);
        if (value)
            json_object_set(extra, r->options->extra_columns[i], value);
    }
    char *text = dt_json_text(extra, 0, error);
    if (text && !json_object_size(extra))
        *text = 0; /* nothing to keep */
    json_decref(extra);
    return text;
}

/* False: the row is unusable, with the reason. */
static bool take_object(const struct reading *r, const json_t *object, dt_table_row *row, dt_error *reason)
{
    const dt_source_options *o = r->options;
    if (!json_is_object(object))
        return dt_fail(reason, "the line is %s, expected an object", dt_json_kind_name(object));
    const json_t *image = member(object, o->image_column, dt_image_names);
    const json_t *caption = member(object, o->caption_column, dt_caption_names);
    const json_t *class = member(object, o->class_column, dt_class_names);
    const json_t *weight = member(object, o->weight_column, dt_weight_names);
    if (!json_is_string(image))
        return dt_fail(reason, image ? "the image is not a string"
                                     : "the row names no image (image, path, "
                                       "filename ...; or use --image-column)");
    row->path = strdup(json_string_value(image));
    if (weight && !json_is_number(weight))
        return dt_fail(reason, "the weight is %s, expected a number", dt_json_kind_name(weight));
    row->weight = weight ? json_number_value(weight) : 1;
    if (!dt_list_add_captions(&row->captions, caption, reason))
        return false;
    if (class && !(row->class_name = dt_json_class(class, reason)))
        return false;
    if (!(row->extra = extra_of(r, object, reason)))
        return false;
    if (!*row->extra) {
        free(row->extra);
        row->extra = NULL;
    }
    return true;
}

static bool read_jsonl(struct reading *r, const dt_bytes *bytes, dt_error *error)
{
    const char *text = (const char *)bytes->data;
    bool good = true;
    size_t line = 1;
    for (size_t at = 0; at < bytes->size && good; line++) {
        const char *end = memchr(text + at, '\n', bytes->size - at);
        size_t length = end ? (size_t)(end - text) - at : bytes->size - at;
        size_t blank = 0;
        while (blank < length && strchr(" \t\r", text[at + blank]) && text[at + blank])
            blank++;
        if (blank < length) {
            dt_error reason;
            dt_table_row row = {.line = line, .weight = 1};
            json_t *object = dt_json_parse(text + at, length, "JSON", &reason);
            if (object && take_object(r, object, &row, &reason))
                good = finish_row(r, &row, error);
            else
                good = dt_table_complain(r->table, line, reason.message, error);
            free_row(&row);
            json_decref(object);
        }
        at += length + 1;
    }
    return good;
}
