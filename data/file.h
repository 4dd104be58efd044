/* Files: mapping, reading whole, and writing so that a reader sees either the old file or the new one. */
#ifndef DUET_DATA_FILE_H
#define DUET_DATA_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

/* A regular file mapped read-only. An empty file gives size 0 and a non-NULL data. */
typedef struct dt_map {
    const uint8_t *data;
    size_t size;
} dt_map;

bool dt_map_open(dt_map *map, const char *path, dt_error *error);
void dt_map_close(dt_map *map); /* zeroes *map; closing a zeroed map is allowed */

/* The whole file in memory, with a NUL after its last byte (not counted in *size; size may be NULL).
 * Refuses a file of more than `limit` bytes. Works on pipes too. The caller frees. NULL on failure. */
char *dt_file_read(const char *path, size_t limit, size_t *size, dt_error *error);

/* Writes a file atomically: everything goes to a temporary name beside `path`; commit flushes, syncs, renames
 * and syncs the directory. A symbolic link is followed; a target that is not a regular file is refused.
 * A failed write is remembered: later writes do nothing and return false, and commit reports the first
 * failure, so that a caller may check once. */
typedef struct dt_writer dt_writer;

dt_writer *dt_writer_open(const char *path, dt_error *error);
bool dt_writer_write(dt_writer *writer, const void *data, size_t size);
bool dt_writer_printf(dt_writer *writer, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool dt_writer_commit(dt_writer *writer, dt_error *error); /* frees the writer, whatever the outcome */
void dt_writer_abort(dt_writer *writer);                   /* removes the temporary file; NULL is allowed */

/* One buffer, written atomically. */
bool dt_file_write(const char *path, const void *data, size_t size, dt_error *error);

/* Removes from a directory what writers that were killed have left there. Only for a directory in which nobody writes now. */
void dt_remove_temporaries(const char *directory);

/* Makes a directory and its parents; one that exists is good. */
bool dt_make_directories(const char *path, dt_error *error);

bool dt_file_exists(const char *path); /* a file of any kind */
bool dt_is_directory(const char *path);

/* "DIRECTORY/NAME", or NAME alone when it is absolute or directory is "". The caller frees. NULL: out of
 * memory. */
char *dt_join(const char *directory, const char *name);

/* After rename or unlink: makes the change to the directory that holds `path` durable. */
bool dt_sync_directory_of(const char *path, dt_error *error);

#endif
