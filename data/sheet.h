/* Pictures of one size laid out as a grid with thin gaps in one RGB image: what a generative model drew, seen at once. */
#ifndef DUET_DATA_SHEET_H
#define DUET_DATA_SHEET_H

#include "data/error.h"
#include "data/image.h"

enum {
    DT_SHEET_WIDTH = 900,   /* pixels that a sheet magnified by itself has at most ... */
    DT_SHEET_HEIGHT = 1800, /* ... unless its pictures alone are more */
    DT_SHEET_GAP = 2,       /* between pictures, and around all of them */
    DT_SHEET_PAIR_GAP = 8,  /* between a row of pairs and the next */
    DT_SHEET_ZOOM_MOST = 64,
    DT_SHEET_MOST = 1 << 20, /* pictures */
};

/* What is laid out, row by row from the upper left corner; pixels are borrowed. Fields that are left out have their
 * defaults:
 *
 *     dt_sheet_write("samples.png", &(dt_sheet){.floats = x, .count = 64, .height = 28, .width = 28, .channels = 1}, &error)
 */
typedef struct dt_sheet {
    const float *floats;  /* [count, height, width, channels], values from `low` to `high`: what is outside is clamped, a pixel
                              with a NaN is magenta; or NULL: */
    const uint8_t *bytes; /* the same shape */
    const float *below;   /* perhaps NULL: a second set like `floats`; each picture of it stands under its partner */
    float low, high;      /* of floats: what is black and what is white; both 0: 0 and 1 */
    size_t count;
    int height, width;
    int channels; /* 1: grey; 3: RGB */
    int columns;  /* 0: a sheet about as wide as high; more than `count` means `count` */
    int zoom;     /* a pixel becomes zoom x zoom pixels; 0: the largest with DT_SHEET_WIDTH and DT_SHEET_HEIGHT, at least 1 */
} dt_sheet;

/* Draws into `image` (reserved; the caller frees it). Between pictures, and where the last row has none, it is grey.
 * False: the sheet has no pictures or more than DT_SHEET_MOST, a field is out of its range, or the image would be larger
 * than DT_IMAGE_MAX_SIDE or DT_IMAGE_MAX_PIXELS. */
bool dt_sheet_draw(const dt_sheet *sheet, dt_image *image, dt_error *error);

/* The same as a PNG file, written atomically. */
bool dt_sheet_write(const char *path, const dt_sheet *sheet, dt_error *error);

#endif
