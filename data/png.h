/* PNG files: decoding to RGB (for packing, where they become JPEG), and encoding what the program draws; over libpng. */
#ifndef DUET_DATA_PNG_H
#define DUET_DATA_PNG_H

#include "data/error.h"
#include "data/image.h"

/* Whether the bytes start as every PNG file does. */
bool dt_is_png(const uint8_t *bytes, size_t size);

/* Any PNG (grey, palette, RGB, alpha, 1 to 16 bits, interlaced) as 3 channels. 16-bit samples are rounded to
 * 8; transparency is laid over white; gamma and colour profiles are ignored, as in Pillow. Checksums are
 * checked. Limits: DT_IMAGE_MAX_PIXELS, DT_IMAGE_MAX_SIDE, and no more pixels than the file's size can hold
 * at the best ratio of its compression. `image` is reserved; the caller frees it. */
bool dt_png_decode(const uint8_t *bytes, size_t size, dt_image *image, dt_error *error);

/* Grey (1 channel) or RGB (3), 8 bits, without loss. The same pixels give the same bytes. The
 * caller frees *bytes with free(). */
bool dt_png_encode(const dt_image *image, uint8_t **bytes, size_t *size, dt_error *error);

/* The same as a file, written atomically. */
bool dt_png_write(const char *path, const dt_image *image, dt_error *error);

#endif
