/* Positional embeddings for another resolution. */
#ifndef DUET_EVAL_POSITIONS_H
#define DUET_EVAL_POSITIONS_H

#include <stdbool.h>
#include <stdint.h>

/* The side of the square grid that `rows` embeddings describe, and how many of them (0 or 1) stand before it, for the class
 * token or the mean; 0: no such grid. */
int dt_position_grid(int64_t rows, int *before);

/* From a grid of side `old` to one of side `now`, both of `width` features a place, with `before` rows in front that stay: as
 * open_clip's resize_pos_embed, bicubic with antialiasing (Keys, a = -0.5), pixel centres mapped. from [before + old^2, width],
 * to [before + now^2, width]. False: no memory. */
bool dt_resize_positions(const float *from, int old, float *to, int now, int before, int64_t width);

#endif
