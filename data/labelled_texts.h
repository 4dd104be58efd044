/* Texts with a class each, for text classification: a CSV or TSV file with a header, or JSONL, without any images. */
#ifndef DUET_DATA_LABELLED_TEXTS_H
#define DUET_DATA_LABELLED_TEXTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

typedef struct dt_labelled_texts {
    char **texts;    /* [count] NUL-terminated UTF-8, not blank */
    int32_t *labels; /* [count], 0 .. class_count-1 */
    size_t count;
    char **classes; /* names, sorted by bytes */
    size_t class_count;
} dt_labelled_texts;

/* Whether a path is named as such a file: .csv, .tsv, .jsonl or .ndjson. */
bool dt_is_text_table(const char *path);

/* Reads the column (JSONL: member) of texts, named caption, text, title ..., and that of classes, named class, label,
 * category ..., as packing a table does. A row without either, or with a text that is not UTF-8, is an error that names its line;
 * so is a file without rows. The caller frees, also after a failure. */
bool dt_labelled_texts_load(dt_labelled_texts *table, const char *path, dt_error *error);
void dt_labelled_texts_free(dt_labelled_texts *table); /* zeroes it; a zeroed one is allowed */

#endif
