#include "data/transform.h"

#include <math.h>

dt_transform dt_transform_default(dt_transform_mode mode, int size)
{
    dt_transform t = {.mode = mode,
                      .interpolation = DT_BICUBIC,
                      .size = size,
                      .mean = {0.48145466f, 0.4578275f, 0.40821073f},
                      .std = {0.26862954f, 0.26130258f, 0.27577711f},
                      .flip = mode == DT_TRANSFORM_EVAL ? 0 : 0.5,
                      .scale = {0.08, 1},
                      .ratio = {3 / 4.0, 4 / 3.0},
                      .shift = 0.075,
                      .padding = size / 8,
                      .reflect = true,
                      .background = {255, 255, 255}};
    if (mode == DT_TRANSFORM_JITTER) {
        t.scale[0] = 0.925;
        t.scale[1] = 1.125;
    }
    return t;
}

/* NaN is in no range. */
static bool in_range(const char *name, double value, double least, double most, dt_error *error)
{
    if (value >= least && value <= most)
        return true;
    return dt_fail(error, "image transform: %s is %g, expected %g to %g", name, value, least, most);
}

static bool ordered(const char *name, const double range[2], double most, dt_error *error)
{
    if (range[0] > 0 && range[0] <= range[1] && range[1] <= most)
        return true;
    return dt_fail(error, "image transform: %s is %g to %g, expected 0 < least <= most <= %g", name, range[0],
                   range[1], most);
}

static bool check_colour(const dt_transform *t, dt_error *error)
{
    return in_range("colour_jitter", t->colour_jitter, 0, 1, error) &&
           in_range("brightness", t->brightness, 0, 10, error) &&
           in_range("contrast", t->contrast, 0, 10, error) &&
           in_range("saturation", t->saturation, 0, 10, error) && in_range("hue", t->hue, 0, 0.5, error) &&
           in_range("grayscale", t->grayscale, 0, 1, error);
}

bool dt_transform_gives_bytes(const dt_transform *t)
{
    return t->mode == DT_TRANSFORM_EVAL || (t->colour_jitter == 0 && t->grayscale == 0);
}

bool dt_transform_check(const dt_transform *t, dt_error *error)
{
    if (!in_range("size", t->size, 1, 8192, error))
        return false;
    for (int c = 0; c < 3; c++)
        if (!in_range("mean", t->mean[c], -1e6, 1e6, error) || !in_range("std", t->std[c], 1e-6, 1e6, error))
            return false;
    if ((int)t->mode < 0 || t->mode > DT_TRANSFORM_PAD_CROP || (int)t->interpolation < 0 ||
        t->interpolation > DT_BILINEAR)
        return dt_fail(error, "image transform: mode %d or interpolation %d is not known", (int)t->mode,
                       (int)t->interpolation);
    if (t->bytes && !dt_transform_gives_bytes(t))
        return dt_fail(error, "image transform: colour_jitter is %g and grayscale %g, but bytes hold colours only as they "
                              "are; set both to 0 or make floats", t->colour_jitter, t->grayscale);
    if (t->resize && !in_range("resize", t->resize, t->size, 8192, error))
        return false;
    if (t->mode == DT_TRANSFORM_EVAL)
        return true;
    if (!in_range("flip", t->flip, 0, 1, error) || !check_colour(t, error))
        return false;
    if (t->mode == DT_TRANSFORM_RANDOM_RESIZED_CROP)
        return ordered("scale", t->scale, 1, error) && ordered("ratio", t->ratio, 100, error);
    if (t->mode == DT_TRANSFORM_JITTER)
        return ordered("scale", t->scale, 4, error) && in_range("shift", t->shift, 0, 1, error);
    return in_range("padding", t->padding, 0, t->size - 1, error);
}
