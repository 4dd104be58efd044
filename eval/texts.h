/* Lists of texts that people write: queries, class names, templates, captions to embed. */
#ifndef DUET_EVAL_TEXTS_H
#define DUET_EVAL_TEXTS_H

#include <stdbool.h>
#include <stddef.h>

#include "data/error.h"

typedef struct dt_texts {
    char **items; /* valid UTF-8, not blank, without white space at the ends */
    size_t count;
} dt_texts;

/* One text a line, of a file or, for "-", the standard input; at most 64 MiB. Blank lines are passed over
 * when `blanks`, else refused. A text that is not UTF-8 is refused as FILE:LINE, a file without texts too.
 * The caller frees, also after a failure. */
bool dt_texts_load(dt_texts *texts, const char *path, bool blanks, dt_error *error);

/* The same for text in memory, cut at any of the characters in `separators`; `name` stands for the file. */
bool dt_texts_split(dt_texts *texts, const char *text, const char *separators, bool blanks, const char *name,
                    dt_error *error);

void dt_texts_free(dt_texts *texts); /* zeroes it; a zeroed one is allowed */

#endif
