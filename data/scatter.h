/* Points of the plane, real and generated, as a picture: for the toy data on which a failing GAN is seen at a glance. */
#ifndef DUET_DATA_SCATTER_H
#define DUET_DATA_SCATTER_H

#include "data/error.h"
#include "data/image.h"

enum { DT_SCATTER_SIDE_MOST = 2000, DT_SCATTERS_MOST = 16 };

/* Dots half through which one sees, real ones grey, generated ones blue and above them, over white. Points outside the
 * square, or not finite, are not seen. */
typedef struct dt_scatter {
    const float *real, *generated; /* [count, 2]: x, y; borrowed; NULL where the count is 0 */
    size_t real_count, generated_count;
    float low, high; /* the square: low .. high in x (to the right) and in y (upwards) */
} dt_scatter;

/* Draws `count` squares of `side` pixels side by side, `columns` in a row (0: all), with the gaps of data/sheet.h, into
 * `image` (reserved; the caller frees it). False: a number is out of its range (1 to the limits above; low < high), or
 * no memory. */
bool dt_scatter_draw(const dt_scatter *scatters, size_t count, int columns, int side, dt_image *image, dt_error *error);

/* The same as a PNG file, written atomically. */
bool dt_scatter_write(const char *path, const dt_scatter *scatters, size_t count, int columns, int side, dt_error *error);

#endif
