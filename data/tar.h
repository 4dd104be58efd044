/* Reading tar archives (ustar, GNU long names, pax) out of a memory map: no entry is copied. */
#ifndef DUET_DATA_TAR_H
#define DUET_DATA_TAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

typedef struct dt_tar dt_tar;

typedef struct dt_tar_entry {
    const char *name;     /* with its folders; valid until the next call of dt_tar_next */
    const uint8_t *bytes; /* valid until dt_tar_close */
    size_t size;
} dt_tar_entry;

/* A gzip-compressed archive is inflated into memory first (at most 4 GiB). NULL with a reason on failure. */
dt_tar *dt_tar_open(const char *path, dt_error *error);
void dt_tar_close(dt_tar *tar); /* NULL is allowed */
void dt_tar_rewind(dt_tar *tar);

/* The next regular file: 1; the end: 0; -1: the archive is damaged or truncated here, and nothing after this
 * place can be read; the message leaves it to the caller to name the file. Archives that were put one behind
 * the other are read to the last. */
int dt_tar_next(dt_tar *tar, dt_tar_entry *entry, dt_error *error);

/* At the end: whether the mark stands there that ends an archive. Without it the file may have been cut
 * between two entries. */
bool dt_tar_ended(const dt_tar *tar, dt_error *error);

/* WebDataset's key: the bytes of a name before the first dot of its last part. */
size_t dt_tar_key(const char *name);

#endif
