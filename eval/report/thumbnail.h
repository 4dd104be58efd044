/* Small copies of pictures. */
#ifndef DUET_EVAL_REPORT_THUMBNAIL_H
#define DUET_EVAL_REPORT_THUMBNAIL_H

#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

/* A JPEG of at most `side` pixels in height and width from the bytes of a JPEG or PNG file, its shape kept; a
 * smaller picture keeps its size. The caller frees *small. False: what is wrong with the picture, or no
 * memory. */
bool dt_thumbnail(const uint8_t *bytes, size_t size, int side, uint8_t **small, size_t *small_size,
                  dt_error *error);

#endif
