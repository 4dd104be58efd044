/* Answers to queries as one HTML page with the pictures found, which needs nothing else. */
#ifndef DUET_EVAL_REPORT_GALLERY_PAGE_H
#define DUET_EVAL_REPORT_GALLERY_PAGE_H

#include "eval/queries.h"

/* Writes the page, atomically: an article for each query with its best images, those right for it marked; as
 * the report shows them, and so many (eval/report/gallery.h, pictures.h). `data` is what was searched, a pair
 * store or a folder. A picture that cannot be read leaves a remark in its place. */
bool dt_gallery_page_write(const char *path, const char *title, const dt_dataset *data,
                           const dt_query_found *found, size_t count, dt_error *error);

#endif
