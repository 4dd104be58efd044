/* Rows of comma- or tab-separated text in memory (RFC 4180 with the liberties that files take). */
#ifndef DUET_DATA_CSV_H
#define DUET_DATA_CSV_H

#include <stdbool.h>
#include <stddef.h>

#include "data/error.h"

typedef struct dt_csv {
    const char *text;
    size_t size, at;
    char delimiter;
    size_t line;   /* of the row that was read last, from 1 */
    char **fields; /* of that row: unquoted, NUL-terminated, valid until the next call */
    size_t field_count;
    size_t next_line, field_room, buffer_room, *offsets; /* private */
    char *buffer;
} dt_csv;

/* Starts at the text, which must outlive it. A byte-order mark is passed over. The delimiter is the tab,
 * comma or semicolon, in this order, that the first line holds; a comma where it holds none. */
void dt_csv_start(dt_csv *csv, const char *text, size_t size);
void dt_csv_end(dt_csv *csv);

/* The next row that is not blank: 1; the end: 0; -1: this line is malformed (a quote that is not closed or
 * not followed by a delimiter, a NUL) and the next call goes on with the line after it. A quoted field may
 * span lines and doubles its quotes. Between tabs a quote that does not pair up within its field is an
 * ordinary character. */
int dt_csv_next(dt_csv *csv, dt_error *error);

#endif
