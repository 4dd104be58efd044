/* The contents of a zip archive in memory (APPNOTE.TXT of PKWARE, section 4.3): enough of the format to find the stored entries
 * of PyTorch's files, ZIP64 included. Nothing is unpacked and no checksum is computed: that would read gigabytes of weights
 * which are otherwise only mapped. */
#ifndef DUET_DATA_ZIP_H
#define DUET_DATA_ZIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

typedef struct dt_zip_entry {
    const char *name; /* in the archive; no NUL ends it */
    size_t name_size;
    const uint8_t *header; /* its local header, and */
    const uint8_t *data;   /* its bytes as they lie in the archive: as they are when stored, else packed */
    size_t size;
    bool stored; /* neither packed nor encrypted */
} dt_zip_entry;

typedef struct dt_zip {
    size_t count;
    dt_zip_entry *entries; /* by name */
} dt_zip;

/* Reads the central directory and every local header. Entries that run past the end or overlap, names that come twice, and
 * counts and offsets that disagree with the archive are refused. Entries point into bytes[size], which must stay; the table is
 * freed with dt_zip_free. On failure the table is empty. */
bool dt_zip_read(dt_zip *zip, const uint8_t *bytes, size_t size, dt_error *error);
void dt_zip_free(dt_zip *zip); /* zeroes *zip */

/* NULL when there is none of this name. */
const dt_zip_entry *dt_zip_find(const dt_zip *zip, const char *name, size_t name_size);

#endif
