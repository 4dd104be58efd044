/* The pictures that a query found, as HTML: each JPEG straight from its pair store into the page. */
#ifndef DUET_EVAL_GALLERY_H
#define DUET_EVAL_GALLERY_H

#include "data/file.h"
#include "eval/findings.h"

enum {
    DT_GALLERIES_SHOWN = 200,         /* queries of a page */
    DT_HITS_SHOWN = 48,               /* pictures of a query */
    DT_GALLERY_BYTES_MOST = 24 << 20, /* of all JPEGs in a page; one that would go beyond is left out */
};

/* Writes one <article> a query. A store's path is taken as it stands and, where nothing is there, from the
 * folder `run`. A store that cannot be opened, a pair that it does not hold, a record that is no JPEG: said
 * in the picture's place. */
void dt_galleries_write(dt_writer *writer, const dt_gallery *galleries, size_t count, const char *run);

#endif
