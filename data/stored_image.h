/* An item's picture as the bytes that a pair store holds: proved to decode, and encoded where it must be. A part of
 * packing. */
#ifndef DUET_DATA_STORED_IMAGE_H
#define DUET_DATA_STORED_IMAGE_H

#include "data/source.h"

/* How pictures are encoded that are not JPEG already. */
typedef struct dt_encoding {
    bool lossless;     /* as PNG, grey where they are grey */
    int quality;       /* of JPEG, 1 .. 100 */
    bool halve_chroma; /* of JPEG: 4:2:0 instead of 4:4:4 */
} dt_encoding;

typedef struct dt_stored_image {
    const uint8_t *bytes; /* the item's own, or `made` */
    size_t size;
    int width, height; /* pixels */
    uint8_t *made;     /* read or encoded here, or NULL; the caller frees */
} dt_stored_image;

/* A JPEG file's bytes stay untouched; with `lossless` so do those of a PNG file of 8-bit grey or RGB that is opaque.
 * `image` is filled; it borrows from the item. False: why the item cannot be used. */
bool dt_stored_image_make(const dt_item *item, const dt_encoding *encoding, dt_stored_image *image, dt_error *error);

#endif
