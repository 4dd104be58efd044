/* Packing: a source in, a pair store out.
 *
 * Every image is decoded once, whole, by several threads, to prove that it will decode in training. JPEG
 * bytes go in as they are; PNG and raw pixels are encoded as JPEG, or as PNG to keep every pixel. The order
 * is the source's, whatever the threads do, so the same source gives the same store. */
#ifndef DUET_DATA_PACK_H
#define DUET_DATA_PACK_H

#include "data/source.h"

typedef struct dt_pack_options {
    const char *const *templates; /* captions of items that have a class but no caption; "{}" is the class */
    size_t template_count;        /* 0: one, "a photo of a {}." */
    const char *const *class_names; /* instead of the source's own, in the order of its labels; or NULL */
    size_t class_count;
    bool lossless;     /* what is not JPEG already is stored as PNG: the exact pixels */
    int quality;       /* of images encoded as JPEG, 1 .. 100; 0: 95 */
    bool halve_chroma; /* 4:2:0 instead of 4:4:4 */
    bool strict;       /* the first unusable item is an error */
    bool bare;         /* take images that have neither caption nor class */
    bool replace;      /* an existing store */
    uint64_t limit;    /* pairs at most; 0: all */
    int threads;       /* 0: one a processor */
    /* May be NULL. Called from the calling thread: for each item that is left out, and now and then. */
    void (*skipped)(void *context, const char *name, const char *reason);
    void (*progress)(void *context, uint64_t packed, uint64_t skipped);
    void *context;
} dt_pack_options;

typedef struct dt_pack_summary {
    uint64_t packed, skipped, captions, jpeg_bytes; /* the last of all pictures, PNG too */
    size_t class_count;
} dt_pack_summary;

/* Packs all that `source` yields into `path`. `origins` are noted in the store, one text for each place that
 * the pairs came from. False: nothing is at `path` that was not there before. */
bool dt_pack(dt_source *source, const char *path, const char *const *origins, size_t origin_count,
             const dt_pack_options *options, dt_pack_summary *summary, dt_error *error);

#endif
