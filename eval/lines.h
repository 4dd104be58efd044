/* Texts one a line, as a stream of any length: what eval/texts.h reads whole. */
#ifndef DUET_EVAL_LINES_H
#define DUET_EVAL_LINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "data/error.h"

enum { DT_LINE_MAX = (1 << 20) - 1 }; /* bytes of a line */

typedef struct dt_lines {
    FILE *in;
    const char *name; /* for messages; borrowed */
    size_t number;    /* of the line last read, from 1 */
    char *line;
    bool over; /* nothing more is read */
} dt_lines;

/* A file, or the standard input for "-". The caller closes, also after a failure. */
bool dt_lines_open(dt_lines *lines, const char *path, dt_error *error);

/* The next line that is not blank, without white space at its ends; borrowed until the next call; NULL: the end.
 * False: the line is no caption (dt_caption_check, data/pairs.h) or too long, told as FILE:LINE, and the next call
 * goes on behind it; or it holds a NUL, so that this is no file of texts, or reading failed, and the next call finds
 * the end. */
bool dt_lines_next(dt_lines *lines, const char **text, dt_error *error);

void dt_lines_close(dt_lines *lines); /* zeroes it; a zeroed one is allowed */

#endif
