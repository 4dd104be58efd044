/* Colour augmentation of float pixels. Formulas: torchvision.transforms.functional on tensors (ITU-R 601
 * luma, hexcone HSV). */
#ifndef DUET_DATA_COLOUR_H
#define DUET_DATA_COLOUR_H

#include <stddef.h>

/* All work in place on `count` RGB pixels with values in [0, 1], and keep them there. Factor 1, or hue 0,
 * changes nothing. */
void dt_adjust_brightness(float *rgb, size_t count, float factor); /* x factor */
void dt_adjust_contrast(float *rgb, size_t count, float factor);   /* away from the mean luma */
void dt_adjust_saturation(float *rgb, size_t count, float factor); /* away from each pixel's luma; 0: grey */
void dt_adjust_hue(float *rgb, size_t count, float turns);         /* turns the hue circle; 1 is all around */

#endif
