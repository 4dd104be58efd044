/* Brightness, contrast, saturation and hue of a few pixels, by hand and as Python's colorsys has them. */
#include "data/colour.h"

#include "tests/tap.h"

int main(void)
{
    float red[3] = {1, 0, 0}, pixels[6] = {0.2f, 0.4f, 0.6f, 0.9f, 0.1f, 0.5f}, copy[6];
    dt_adjust_hue(red, 1, 1 / 3.0f);
    near("hue: red turned by a third is green", red, ((float[]){0, 1, 0}), 3, 1e-6);
    dt_adjust_hue(red, 1, -1 / 3.0f);
    near("hue: and back", red, ((float[]){1, 0, 0}), 3, 1e-6);
    memcpy(copy, pixels, sizeof copy);
    dt_adjust_hue(copy, 2, 0);
    near("hue: nothing", copy, pixels, 6, 1e-6);
    dt_adjust_hue(copy, 2, 0.2f);
    near("hue: 0.2 as colorsys", copy, ((float[]){0.48f, 0.2f, 0.6f, 0.9f, 0.66f, 0.1f}), 6, 1e-5);
    memcpy(copy, pixels, sizeof copy);
    dt_adjust_brightness(copy, 2, 1.5f);
    near("brightness: times 1.5", copy, ((float[]){0.3f, 0.6f, 0.9f, 1, 0.15f, 0.75f}), 6, 1e-6);
    memcpy(copy, pixels, sizeof copy);
    dt_adjust_saturation(copy, 2, 0);
    near("saturation: 0 is luma", copy, ((float[]){0.36298f, 0.36298f, 0.36298f, 0.38471f, 0.38471f, 0.38471f}), 6, 1e-5);
    memcpy(copy, pixels, sizeof copy);
    dt_adjust_contrast(copy, 2, 0);
    near("contrast: 0 is the mean luma", copy, ((float[]){0.373845f, 0.373845f, 0.373845f, 0.373845f, 0.373845f, 0.373845f}), 6,
         1e-5);
    return done();
}
