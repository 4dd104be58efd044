#include "data/csv.h"

#include <stdlib.h>
#include <string.h>

void dt_csv_start(dt_csv *csv, const char *text, size_t size)
{
    *csv = (dt_csv){.text = text, .size = size, .delimiter = ',', .next_line = 1};
    if (size >= 3 && !memcmp(text, "\xef\xbb\xbf", 3))
        csv->at = 3;
    const char *end = memchr(text, '\n', size);
    size_t first = end ? (size_t)(end - text) : size;
    if (memchr(text, '\t', first))
        csv->delimiter = '\t';
    else if (!memchr(text, ',', first) && memchr(text, ';', first))
        csv->delimiter = ';';
}

void dt_csv_end(dt_csv *csv)
{
    free(csv->fields);
    free(csv->offsets);
    free(csv->buffer);
    *csv = (dt_csv){0};
}

static bool at_field_end(const dt_csv *csv, size_t at)
{
    if (at == csv->size || csv->text[at] == csv->delimiter || csv->text[at] == '\n')
        return true;
    return csv->text[at] == '\r' && (at + 1 == csv->size || csv->text[at + 1] == '\n');
}

/* One past the closing quote of the field whose quote is at `at`; 0: it is not closed as it should be. */
static size_t quoted_end(const dt_csv *csv, size_t at)
{
    for (size_t i = at + 1; i < csv->size; i++) {
        if (csv->text[i] == '"') {
            if (at_field_end(csv, i + 1))
                return i + 1;
            if (csv->text[++i] != '"')
                return 0;
        } else if (csv->text[i] == '\n' && csv->delimiter == '\t') {
            return 0;
        }
    }
    return 0;
}

static size_t plain_end(const dt_csv *csv, size_t at)
{
    while (!at_field_end(csv, at))
        at++;
    return at;
}

/* Copies a field to the buffer, at *used, without its quotes when it is quoted. */
static bool add_field(dt_csv *csv, size_t at, size_t end, bool quoted, size_t *used, dt_error *error)
{
    if (csv->buffer_room - *used < end - at + 1) {
        size_t room = 2 * csv->buffer_room + end - at + 256;
        char *buffer = realloc(csv->buffer, room);
        if (!buffer)
            return dt_fail(error, "no memory for a row of %zu bytes", room);
        csv->buffer = buffer;
        csv->buffer_room = room;
    }
    if (csv->field_count == csv->field_room) {
        size_t room = csv->field_room ? 2 * csv->field_room : 16;
        size_t *offsets = realloc(csv->offsets, room * sizeof *offsets);
        char **fields = offsets ? realloc(csv->fields, room * sizeof *fields) : NULL;
        csv->offsets = offsets ? offsets : csv->offsets;
        if (!fields)
            return dt_fail(error, "no memory for %zu fields", room);
        csv->fields = fields;
        csv->field_room = room;
    }
    csv->offsets[csv->field_count++] = *used;
    for (size_t i = at + quoted; i < end - quoted; i++) {
        csv->buffer[(*used)++] = csv->text[i];
        i += quoted && csv->text[i] == '"'; /* the second of a doubled quote */
    }
    csv->buffer[(*used)++] = 0;
    return true;
}

/* Reads the row at csv->at and moves beyond its line end. */
static bool read_row(dt_csv *csv, dt_error *error)
{
    size_t at = csv->at, used = 0;
    csv->field_count = 0;
    for (;; at++) {
        bool quoted = at < csv->size && csv->text[at] == '"';
        size_t end = quoted ? quoted_end(csv, at) : 0;
        if (quoted && !end && csv->delimiter != '\t')
            return dt_fail(error,
                           "the quote that opens field %zu is not closed before a delimiter; quotes "
                           "inside quotes are written twice",
                           csv->field_count + 1);
        quoted = end > 0;
        if (!quoted)
            end = plain_end(csv, at);
        if (memchr(csv->text + at, 0, end - at))
            return dt_fail(error, "field %zu holds a NUL byte", csv->field_count + 1);
        if (!add_field(csv, at, end, quoted, &used, error))
            return false;
        at = end;
        if (at == csv->size || csv->text[at] != csv->delimiter)
            break;
    }
    if (at < csv->size && csv->text[at] == '\r')
        at++;
    csv->at = at < csv->size ? at + 1 : at;
    for (size_t i = 0; i < csv->field_count; i++)
        csv->fields[i] = csv->buffer + csv->offsets[i];
    return true;
}

int dt_csv_next(dt_csv *csv, dt_error *error)
{
    while (csv->at < csv->size) {
        const char *end = memchr(csv->text + csv->at, '\n', csv->size - csv->at);
        size_t start = csv->at, line_end = end ? (size_t)(end - csv->text) : csv->size;
        size_t last = line_end > start && csv->text[line_end - 1] == '\r' ? line_end - 1 : line_end;
        csv->line = csv->next_line;
        if (last == start) {
            csv->at = line_end + (end != NULL);
            csv->next_line++;
            continue;
        }
        bool good = read_row(csv, error);
        if (!good)
            csv->at = line_end + (end != NULL);
        for (size_t i = start; i < csv->at; i++)
            csv->next_line += csv->text[i] == '\n';
        return good ? 1 : -1;
    }
    return 0;
}
