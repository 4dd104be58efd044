/* What the source_*.c files share; private to them. */
#ifndef DUET_DATA_SOURCE_PARTS_H
#define DUET_DATA_SOURCE_PARTS_H

#include <jansson.h>

#include "data/file.h"
#include "data/source.h"

enum { DT_NUMBERED_CLASSES_MAX = 1 << 20 };

/* A growing list of owned strings. */
typedef struct dt_list {
    char **items;
    size_t count, room;
} dt_list;

bool dt_list_add(dt_list *list, const char *text, size_t length, dt_error *error);
void dt_list_sort_unique(dt_list *list);                     /* by bytes */
int32_t dt_list_find(const dt_list *list, const char *text); /* in a sorted list; -1: not there */
void dt_list_free(dt_list *list);

/* Extends a list of class names that are just numbers, "0", "1" ..., to `count`. */
bool dt_list_number(dt_list *list, size_t count, dt_error *error);

/* A hash of a text, never 0. */
uint64_t dt_hash_text(const char *text);

/* The texts that were seen so far, as 64-bit hashes. */
typedef struct dt_seen {
    uint64_t *slots;
    size_t count, room;
} dt_seen;

/* *before: whether the text was there already. */
bool dt_seen_add(dt_seen *seen, const char *text, bool *before, dt_error *error);
void dt_seen_free(dt_seen *seen);

/* A file in memory: mapped, or inflated where it is a gzip file. */
typedef struct dt_bytes {
    const uint8_t *data;
    size_t size;
    dt_map map;
    uint8_t *inflated;
} dt_bytes;

bool dt_bytes_open(dt_bytes *bytes, const char *path, dt_error *error);
void dt_bytes_close(dt_bytes *bytes); /* zeroes it; a zeroed one is allowed */

/* Whether a file name ends as an image's does; kinds that cannot be packed count, so that they get listed. */
bool dt_named_image(const char *name);

/* Class names of folders: underscores become spaces. */
void dt_make_readable(char *name);

/* Text as a caption: cut at both ends, copied. NULL: no memory, or a NUL inside. The caller frees. */
char *dt_trimmed(const char *text, size_t size, dt_error *error);

/* A decimal label below DT_NUMBERED_CLASSES_MAX, and nothing else; -1 otherwise. */
int32_t dt_label_number(const char *text);

/* The names, best first, under which tables and JSON keep what; each list ends with NULL. */
extern const char *const dt_image_names[], *const dt_caption_names[], *const dt_class_names[],
                                                                          *const dt_weight_names[];

/* The member with the first of these names, ignoring null; NULL when there is none. */
const json_t *dt_json_first(const json_t *object, const char *const *names);

/* Adds the captions of a JSON value to a list: a string or an array of strings, trimmed; NULL has none. */
bool dt_list_add_captions(dt_list *captions, const json_t *value, dt_error *error);

/* A class as text: a string trimmed, an integer in decimal; NULL with a reason else. The caller frees. */
char *dt_json_class(const json_t *value, dt_error *error);

/* The formats. */
typedef dt_source *dt_source_opener(const char *const *paths, size_t path_count,
                                    const dt_source_options *options, dt_error *error);
dt_source_opener dt_source_open_folder, dt_source_open_table, dt_source_open_webdataset, dt_source_open_tar,
    dt_source_open_idx, dt_source_open_cifar;

#endif
