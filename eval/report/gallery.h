/* The pictures that a query found, as HTML, each with its place, score and caption; one of a folder tells its
 * file under the pointer. */
#ifndef DUET_EVAL_REPORT_GALLERY_H
#define DUET_EVAL_REPORT_GALLERY_H

#include "data/file.h"
#include "eval/findings.h"
#include "eval/report/pictures.h"

enum {
    DT_GALLERIES_SHOWN = 200, /* queries of a page */
    DT_HITS_SHOWN = 48,       /* pictures of a query */
};

extern const char dt_galleries_marks_text[];

/* The sentence on the marks of right ones, to put behind a lead, where there are such; else "". */
const char *dt_galleries_marks(const dt_gallery *galleries, size_t count);

/* Writes one <article> a query, with its own picture where the query is one. */
void dt_galleries_write(dt_writer *writer, const dt_gallery *galleries, size_t count, dt_pictures *pictures);

#endif
