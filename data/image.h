/* The image type: 8-bit pixels in memory.
 *
 * An image either owns its memory (capacity > 0: made by dt_image_reserve or a decoder, grown when it is used
 * again, released by dt_image_free) or borrows it (capacity 0: made by dt_image_borrow; the lender keeps the
 * memory alive). A zeroed dt_image is a valid empty one. */
#ifndef DUET_DATA_IMAGE_H
#define DUET_DATA_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

/* Largest picture that any decoder here accepts, in pixels: the size at which Pillow refuses a file as a
 * decompression bomb (twice its MAX_IMAGE_PIXELS). */
#define DT_IMAGE_MAX_PIXELS 178956970
/* Largest side: what a JPEG can have in libjpeg. */
#define DT_IMAGE_MAX_SIDE 65500
/* Bytes that may be read or written beyond the last pixel of an image that owns its memory: vector code needs
 * no special case at the end of the last row. */
#define DT_IMAGE_SLACK 64

typedef struct dt_image {
    uint8_t *pixels; /* height rows from the top, `stride` bytes apart, channels interleaved */
    int width, height;
    int channels;    /* 1: grey; 3: RGB; 4: CMYK where `inks`, else RGB and a byte without meaning */
    bool inks;       /* four channels are cyan, magenta, yellow, black; 0 is no ink, as in Pillow */
    size_t stride;   /* bytes; at least width * channels */
    size_t capacity; /* bytes that the image owns; 0: borrowed */
} dt_image;

/* Gives the image a shape; its memory is owned, packed (stride = width * channels) and grows only when it is
 * too small. The pixels are undefined. A borrowed image becomes an owned one. `inks` becomes false. */
bool dt_image_reserve(dt_image *image, int width, int height, int channels, dt_error *error);

/* A borrowed image over packed pixels; nothing is read or written beyond their end. */
dt_image dt_image_borrow(const uint8_t *pixels, int width, int height, int channels);

/* Releases what it owns and zeroes it. */
void dt_image_free(dt_image *image);

/* Writes `from` as RGB into `to` (reserved by this call; may not be `from`). CMYK becomes
 * r = (255 - k) - (255 - k) c / 255, rounded, as Pillow has it. */
bool dt_image_to_rgb(const dt_image *from, dt_image *to, dt_error *error);

/* Turns RGB (3 or 4 channels, no inks) whose every pixel has r = g = b into 1 channel, in place, packed. False: there is
 * colour in it, or one channel already; nothing has changed. */
bool dt_image_drop_colour(dt_image *image);

/* One row of CMYK inks to RGB by that formula; `rgb` may be the start of `inks`. */
void dt_inks_to_rgb(const uint8_t *inks, uint8_t *rgb, int width);

/* Decodes a whole JPEG or PNG file, told apart by its first bytes, to RGB. */
bool dt_image_decode(const uint8_t *bytes, size_t size, dt_image *image, dt_error *error);

#endif
