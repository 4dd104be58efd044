/* The pair store: images with their captions in one memory-mapped LMDB file per shard.
 *
 * A shard is one LMDB environment in one file (MDB_NOSUBDIR, no lock file), conventionally NAME.lmdb: one
 * file can be replaced atomically, a directory cannot. A finished store never changes, so readers take no
 * locks and may lie on a read-only file system; a directory holding data.mdb is opened too.
 *
 *   key     the pair's index, 8 bytes big-endian, 0 .. count-1 without a gap
 *   value   ten little-endian 32-bit words, then the parts, without padding:
 *             version (1) | width | height | picture bytes | label, int32 or -1 | weight, float32 >= 0
 *             | captions | caption bytes | extra bytes | 0
 *           the picture's file, untouched: a JPEG, or a PNG, told apart by its first bytes
 *           captions x uint32: where each caption ends within the caption bytes, its NUL included
 *           the captions, UTF-8, each followed by a NUL
 *           extra: a JSON object as UTF-8 text followed by a NUL, or nothing
 *   "meta"  JSON: {"format": "duet-pairs", "version": 1, "count": N, "classes": [names], "sources": [texts],
 *           "weighted": any weight differs from 1, "captions": total, "jpeg_bytes": total
 *           of the pictures, "lossless": how many of them are PNG, absent where none is, "complete": true};
 *           written last. A file without it is an unfinished or a foreign one and is refused.
 *
 * The same pairs added in the same order give the same bytes on one machine (LMDB follows its page size). */
#ifndef DUET_DATA_PAIRS_H
#define DUET_DATA_PAIRS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>

#include "data/error.h"

enum {
    DT_PAIR_SIDE_MAX = 65500,      /* pixels: the largest width or height that libjpeg reads */
    DT_PAIR_CAPTIONS_MAX = 65535,  /* captions of one pair */
    DT_PAIR_BYTES_MAX = 512 << 20, /* picture, captions and extra of one pair, each */
    DT_PAIR_CLASSES_MAX = 1 << 24,
};

/* One pair. From dt_pairs_get all pointers lie in the memory map: read-only, valid until dt_pairs_close,
 * unaligned. */
typedef struct dt_pair {
    const uint8_t *jpeg; /* or PNG: dt_is_png */
    size_t jpeg_size;
    int width, height; /* of the picture, in pixels */
    int32_t label;     /* 0 .. class_count-1, or -1: none */
    float weight;      /* relative sampling weight, >= 0; 1 unless the source said otherwise */
    size_t caption_count;
    const char *extra;        /* JSON object text, or NULL */
    size_t extra_size;        /* bytes without the NUL */
    const void *caption_ends; /* private: see dt_pair_caption */
    const char *caption_text;
} dt_pair;

/* Caption i (< caption_count) as a NUL-terminated UTF-8 string in the map; its bytes without the NUL in
 * *size unless that is NULL. The UTF-8 was checked when the pair was packed, not again here. */
const char *dt_pair_caption(const dt_pair *pair, size_t i, size_t *size);

/* ---- reading ---- */

typedef struct dt_pairs dt_pairs;

/* Opens the shard at `path`; or, when no such file exists, every shard that the glob pattern matches, sorted
 * by name, as one index space (the pairs of the first, then those of the second ...). A directory without
 * data.mdb stands for its *.lmdb. Shards whose class lists differ are merged by class name in order of first
 * appearance. Refused with a reason: what is missing, foreign, unfinished, truncated, of another version. */
dt_pairs *dt_pairs_open(const char *path, dt_error *error);

/* The same for a list of paths or patterns, in the order given. */
dt_pairs *dt_pairs_open_list(const char *const *paths, size_t path_count, dt_error *error);

/* NULL is allowed. No thread may be in dt_pairs_get, and no pointer from it may be used afterwards. */
void dt_pairs_close(dt_pairs *pairs);

uint64_t dt_pairs_count(const dt_pairs *pairs);
bool dt_pairs_weighted(const dt_pairs *pairs); /* false: every weight is 1, no need to look */
size_t dt_pairs_class_count(const dt_pairs *pairs);
const char *dt_pairs_class_name(const dt_pairs *pairs, size_t label); /* NULL beyond the last */

/* The meta record and "shards", a list of the paths; of several shards that of the first with the sums of all
 * counts, the merged classes and all sources. Borrowed, valid until dt_pairs_close; do not change it. */
const json_t *dt_pairs_meta(const dt_pairs *pairs);

/* Fills *pair with the pair at `index`. Any number of threads may call it on one reader at once: each call
 * borrows a read transaction of its own from a pool that grows to the number of threads (LMDB with MDB_NOTLS
 * and MDB_NOLOCK); the transactions stay open until dt_pairs_close, which is what keeps the pointers good.
 * Every field of the record is checked against its size. */
bool dt_pairs_get(const dt_pairs *pairs, uint64_t index, dt_pair *pair, dt_error *error);

/* ---- writing ---- */

typedef struct dt_pairs_writer dt_pairs_writer;

/* What dt_pairs_add takes; nothing is kept. */
typedef struct dt_pair_input {
    const uint8_t *jpeg; /* or PNG */
    size_t jpeg_size;
    int width, height;
    int32_t label; /* -1: none */
    float weight;
    const char *const *captions; /* NUL-terminated, valid UTF-8, not empty */
    size_t caption_count;        /* may be 0 */
    const char *extra;           /* NUL-terminated JSON object text, or NULL */
} dt_pair_input;

/* Whether a text can be a caption: UTF-8, and not blank. */
bool dt_caption_check(const char *text, dt_error *error);

/* Starts a store at `path`. It is written to PATH.tmp and renamed by dt_pairs_finish: until then whatever is
 * at `path` stays as it is, also when the process is killed (a left-over PATH.tmp is then reused by the next
 * run; one that a live process is writing is refused). An existing file at `path` is refused unless
 * `replace`. */
dt_pairs_writer *dt_pairs_create(const char *path, bool replace, dt_error *error);

/* Appends one pair; its index is the number of pairs added before it. False: what is wrong with the pair, or
 * that the disk is full; dt_pairs_failed tells which: after a failed write only abort is of use, after
 * a refused pair the writer goes on. */
bool dt_pairs_add(dt_pairs_writer *writer, const dt_pair_input *pair, dt_error *error);
bool dt_pairs_failed(const dt_pairs_writer *writer);

/* Writes meta, syncs, renames into place and frees the writer. On failure the writer is aborted, and freed
 * too. A store without pairs, and labels beyond class_count, are refused. `sources` says where the pairs came
 * from, one text each. `more` (may be NULL, borrowed) is an object whose members are added to meta. */
bool dt_pairs_finish(dt_pairs_writer *writer, const char *const *classes, size_t class_count,
                     const char *const *sources, size_t source_count, const json_t *more, dt_error *error);

/* Removes PATH.tmp and frees the writer; NULL is allowed. */
void dt_pairs_abort(dt_pairs_writer *writer);

#endif
