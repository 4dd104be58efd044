/* Answers to queries as one HTML page with the pictures found, which needs nothing else. */
#ifndef DUET_EVAL_REPORT_GALLERY_PAGE_H
#define DUET_EVAL_REPORT_GALLERY_PAGE_H

#include "eval/queries.h"

enum {
    DT_PAGE_PICTURE_MOST =
        64 << 10,               /* bytes of a picture that goes into the page as it is; of a larger one ... */
    DT_PAGE_PICTURE_SIDE = 320, /* ... a copy of so many pixels */
    DT_PAGE_PICTURES_BYTES = 24 << 20, /* of all; what would go beyond is left out, and said to be */
};

/* Writes the page, atomically: an article for each query with its best images, those right for it marked; so
 * many as the report shows (eval/gallery.h). `data` is what was searched, a pair store or a folder. A picture
 * that cannot be read leaves a remark in its place. */
bool dt_gallery_page_write(const char *path, const char *title, const dt_dataset *data,
                           const dt_query_found *found, size_t count, dt_error *error);

#endif
