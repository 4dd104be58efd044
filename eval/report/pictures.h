/* Pictures of pair stores, of folders and of files, put into a page as data: URIs, within one budget of
 * bytes. */
#ifndef DUET_EVAL_REPORT_PICTURES_H
#define DUET_EVAL_REPORT_PICTURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/file.h"
#include "eval/dataset.h"

enum {
    DT_PICTURE_BYTES_MOST = 24 << 20, /* of all pictures in a page; one that would go beyond is left out */
    DT_PICTURE_WHOLE_MOST = 64 << 10, /* bytes of a picture that goes into the page as it is; of a larger one ... */
    DT_PICTURE_SIDE = 320,            /* ... a copy of so many pixels */
    DT_PICTURE_LARGE_MOST = 1 << 20,  /* the same for a large picture ... */
    DT_PICTURE_LARGE_SIDE = 1200,
    DT_PICTURE_LARGE_LEAST = 480,     /* ... and one that is narrower is shown at the largest whole multiple up to that */
};

typedef struct dt_pictures dt_pictures;

/* A store's or a file's path is taken as it stands and, where nothing is there, from the folder `run`
 * (borrowed). The caller frees. NULL: no memory. */
dt_pictures *dt_pictures_new(const char *run);
void dt_pictures_free(dt_pictures *pictures); /* NULL is allowed */

/* From now on the pictures of its path come from data that is open already (borrowed), so that no index means
 * another picture than when it was searched. */
void dt_pictures_lend(dt_pictures *pictures, const dt_dataset *data);

/* Writes an <img> with a picture of a pair store, or of a folder that dt_dataset_open takes; in its place,
 * where there is none, a paragraph that says why: false. */
bool dt_picture_write(dt_pictures *pictures, dt_writer *writer, const char *store, size_t index,
                      const char *alt);

/* The same with a JPEG or PNG file. */
void dt_picture_write_file(dt_pictures *pictures, dt_writer *writer, const char *path, const char *alt);

/* The same, large, with a file that the run made: its path is from the run's folder. The file is decoded once to prove it
 * whole; what is wrong names it. */
void dt_picture_write_large(dt_pictures *pictures, dt_writer *writer, const char *path, const char *alt);

/* What to show for a picture: the first caption of a pair; what dt_dataset_describe says for one of a folder or
 * of lent data. "" without one. Valid until the next caption, or picture of another store. */
const char *dt_picture_caption(dt_pictures *pictures, const char *store, size_t index);

/* The file of a folder's picture; NULL for a store, and where there is no such picture. Valid until a
 * picture of another store. */
const char *dt_picture_file(dt_pictures *pictures, const char *store, size_t index);

/* A JPEG of at most `side` pixels in width and height, counted against the budget. The caller frees. NULL:
 * there is no such picture. */
uint8_t *dt_picture_small(dt_pictures *pictures, const char *store, size_t index, int side, size_t *size);

#endif
