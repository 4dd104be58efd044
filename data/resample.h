/* Resizing with antialiasing, to the bits of Pillow's Image.resize.
 *
 * Each axis is a separable filter: bicubic (Keys, a = -0.5, 4 pixels wide) or bilinear (triangle, 2 wide),
 * whose width grows with the scale when the picture is reduced. Weights are normalised and rounded to 22 bits
 * of fraction; columns first, then rows, rounded to 8 bits and clipped in between. */
#ifndef DUET_DATA_RESAMPLE_H
#define DUET_DATA_RESAMPLE_H

#include "data/error.h"
#include "data/image.h"

typedef enum dt_interpolation {
    DT_BICUBIC,
    DT_BILINEAR,
} dt_interpolation;

/* What happens along one axis: the stretch [from, to] of a picture of `length` pixels becomes `size` pixels,
 * of which `count` from `first` on are computed. Pixels of the picture outside [from, to] take part where the
 * filter reaches them; those outside [0, length) do not exist. The image that is passed along holds the
 * picture from pixel `origin` on (it must hold all that dt_axis_support names). */
typedef struct dt_axis {
    int length;
    double from, to;
    int size;
    int first, count;
    int origin;
    bool mirror; /* writes the computed pixels in reverse order */
} dt_axis;

/* The whole of `length` pixels to `size` pixels. */
dt_axis dt_axis_whole(int length, int size);

/* The pixels of the picture that take part: [*first, *end). */
void dt_axis_support(const dt_axis *axis, dt_interpolation interpolation, int *first, int *end);

/* Scratch memory; grows as needed; one per thread. The caller frees. */
typedef struct dt_resampler dt_resampler;
dt_resampler *dt_resampler_new(dt_error *error);
void dt_resampler_free(dt_resampler *resampler); /* NULL is allowed */

/* `out` is reserved as x.count by y.count pixels; 4 channels that are no inks become 3, other channels stay.
 * It may not be `source`. */
bool dt_resample(dt_resampler *resampler, const dt_image *source, dt_axis x, dt_axis y,
                 dt_interpolation interpolation, dt_image *out, dt_error *error);

#endif
