/* Between the two halves of the table source, private to them: source_table_read.c turns lines into rows,
 * source_table.c keeps and merges them. */
#ifndef DUET_DATA_SOURCE_TABLE_H
#define DUET_DATA_SOURCE_TABLE_H

#include "data/source_parts.h"

typedef struct dt_table dt_table;

/* What one line says. Everything is owned by whoever fills it. */
typedef struct dt_table_row {
    char *path, *class_name, *extra; /* class_name and extra may be NULL */
    dt_list captions;
    double weight;
    size_t line;
} dt_table_row;

/* Reads all rows of a file into the table. False: the file cannot be read, or there is no memory. */
bool dt_table_read(dt_table *table, const char *path, const dt_source_options *options, dt_error *error);

/* Takes a row, or notes why it is left out; what it takes over is NULL in the row afterwards. */
bool dt_table_take(dt_table *table, dt_table_row *row, dt_error *error);

/* Notes a line that is left out. */
bool dt_table_complain(dt_table *table, size_t line, const char *reason, dt_error *error);

#endif
