/* Where pairs come from: one small interface between the formats of the world and the packer.
 *
 * A source yields items one at a time, in a fixed order. A new format is one source_*.c with an open function
 * that returns a dt_source, and, if `duet pack` is to find it, one row in the table of source.c. */
#ifndef DUET_DATA_SOURCE_H
#define DUET_DATA_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

/* One image with what is known about it. Exactly one of three gives the image:
 *   bytes, size, channels = 0     a whole JPEG or PNG file in memory
 *   bytes, size, channels 1 or 3  raw pixels, uint8, rows from the top, interleaved grey or RGB,
 *                                 size = width * height * channels
 *   bytes = NULL, path            a file that the packer's threads read
 * Everything is borrowed from the source and valid until its next call of next or close. */
typedef struct dt_item {
    const char *name; /* for messages: "train.tar: airplane/0000.jpg", "captions.csv line 7: img/a.jpg" */
    const char *path;
    const uint8_t *bytes;
    size_t size;
    int width, height, channels;
    const char *const *captions; /* NUL-terminated; may be none: the packer then makes them from the class */
    size_t caption_count;
    int32_t label;     /* index into the source's class names, or -1: none */
    float weight;      /* relative sampling weight */
    const char *extra; /* text of a JSON object, or NULL */
} dt_item;

typedef enum dt_source_result {
    DT_SOURCE_FAILED = -1, /* the source cannot go on; error says why */
    DT_SOURCE_END = 0,
    DT_SOURCE_ITEM = 1,
    DT_SOURCE_SKIP = 2, /* unusable: item->name says which, error says why; the next may be good */
} dt_source_result;

typedef struct dt_source dt_source;
struct dt_source {
    const char *kind; /* "folder", "table" ... */
    /* Class names, owned by the source; label i is class_names[i]. They may grow until next has said END.
     * Readable, as they are to stand in a caption: "ice cream", not "ice_cream". */
    const char *const *class_names;
    size_t class_count;
    /* `item` arrives with label -1, weight 1 and zeros elsewhere; the source sets what it knows. */
    dt_source_result (*next)(dt_source *source, dt_item *item, dt_error *error);
    void (*close)(dt_source *source); /* frees the source itself too */
};

/* What the command line can say about a source; zeros are the defaults. */
typedef struct dt_source_options {
    const char *image_column;         /* table: NULL finds image, filepath, path, filename ... */
    const char *caption_column;       /* table: NULL finds caption, text, title ... */
    const char *class_column;         /* table: NULL finds class, label, category ... */
    const char *weight_column;        /* table: NULL finds weight */
    const char *const *extra_columns; /* table: columns (JSONL: members) kept as attributes in `extra` */
    size_t extra_column_count;
    bool keep_rows; /* table: rows of one image stay pairs of their own instead of becoming its captions */
} dt_source_options;

/* Opens `paths` as one source of the format `from`: "folder", "table", "webdataset", "tar", "idx", "cifar",
 * or "auto" (also NULL), which looks at the first path. NULL with a reason on failure. The caller closes it
 * with source->close(source). `options` may be NULL. */
dt_source *dt_source_open(const char *from, const char *const *paths, size_t path_count,
                          const dt_source_options *options, dt_error *error);

/* The names of the formats, comma-separated, for a usage text. */
const char *dt_source_formats(void);

#endif
