#include "data/colour.h"

#include <math.h>

static float clip(float x)
{
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static float luma(const float *rgb)
{
    return 0.2989f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];
}

void dt_adjust_brightness(float *rgb, size_t count, float factor)
{
    for (size_t i = 0; i < 3 * count; i++)
        rgb[i] = clip(rgb[i] * factor);
}

void dt_adjust_contrast(float *rgb, size_t count, float factor)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += luma(rgb + 3 * i);
    float rest = (1 - factor) * (float)(sum / (double)count);
    for (size_t i = 0; i < 3 * count; i++)
        rgb[i] = clip(rgb[i] * factor + rest);
}

void dt_adjust_saturation(float *rgb, size_t count, float factor)
{
    for (size_t i = 0; i < count; i++) {
        float rest = (1 - factor) * luma(rgb + 3 * i);
        for (size_t c = 0; c < 3; c++)
            rgb[3 * i + c] = clip(rgb[3 * i + c] * factor + rest);
    }
}

/* Hue of a pixel in sixths of a turn, 0 at red. */
static float hue_of(const float *p, float most, float range)
{
    float hue = most == p[0]   ? (p[1] - p[2]) / range
                : most == p[1] ? (p[2] - p[0]) / range + 2
                               : (p[0] - p[1]) / range + 4;
    return hue < 0 ? hue + 6 : hue;
}

void dt_adjust_hue(float *rgb, size_t count, float turns)
{
    static const float offset[3] = {5, 3,
                                    1}; /* channel = V - V S clip(min(k, 4 - k)), k = (hue + offset) mod 6 */
    for (size_t i = 0; i < count; i++) {
        float *p = rgb + 3 * i;
        float most = fmaxf(p[0], fmaxf(p[1], p[2])), range = most - fminf(p[0], fminf(p[1], p[2]));
        if (range == 0)
            continue;
        float hue = hue_of(p, most, range) + 6 * turns;
        for (int c = 0; c < 3; c++) {
            float k = fmodf(hue + offset[c] + 12, 6);
            p[c] = clip(most - range * clip(fminf(k, 4 - k)));
        }
    }
}
