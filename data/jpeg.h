/* JPEG files: decoding (whole, in part, reduced), checking, encoding; over libjpeg-turbo.
 *
 * Grey, YCbCr, RGB, CMYK and YCCK files, baseline and progressive, any chroma sampling. The slow integer DCT
 * and smooth up-sampling of chroma, libjpeg's defaults and Pillow's, are always used: on current machines the
 * fast DCT and the merged up-sampling save under a tenth of a decode. EXIF orientation is ignored, as in the
 * references.
 *
 * Hostile files: at most DT_IMAGE_MAX_PIXELS pixels; a picture that its bytes cannot possibly code (under one
 * bit for 256 pixels) is refused before memory is taken; at most DT_JPEG_MAX_SCANS scans, and scans times
 * pixels at most 2^31 beyond the tenth scan; data that ends early is an error, never grey filling. */
#ifndef DUET_DATA_JPEG_H
#define DUET_DATA_JPEG_H

#include "data/error.h"
#include "data/image.h"

#define DT_JPEG_MAX_SCANS 100

typedef struct dt_jpeg_header {
    int width, height; /* pixels */
    int components;    /* 1: grey, 3: colour, 4: CMYK or YCCK */
    bool progressive;
} dt_jpeg_header;

/* Reads only the header. */
bool dt_jpeg_info(const uint8_t *bytes, size_t size, dt_jpeg_header *header, dt_error *error);

/* Decodes the entropy-coded data to the end and takes any warning as an error: truncated data, bad codes,
 * bytes out of place. What passes here decodes without loss. Keeps no picture. */
bool dt_jpeg_verify(const uint8_t *bytes, size_t size, dt_error *error);

/* The whole picture: 1 channel (grey), 3 (RGB) or 4 (CMYK inks). `image` is reserved; the caller frees it. */
bool dt_jpeg_decode(const uint8_t *bytes, size_t size, dt_image *image, dt_error *error);

/* A decoder that is used again and again by one thread. (libjpeg itself takes and returns its working memory
 * for each picture.) The caller frees. */
typedef struct dt_jpeg_decoder dt_jpeg_decoder;
dt_jpeg_decoder *dt_jpeg_decoder_new(dt_error *error);
void dt_jpeg_decoder_free(dt_jpeg_decoder *decoder); /* NULL is allowed */

/* Starts on a file, which must stay in memory until the read. */
bool dt_jpeg_open(dt_jpeg_decoder *decoder, const uint8_t *bytes, size_t size, dt_jpeg_header *header,
                  dt_error *error);

/* A part of the picture, reduced. x, y, width, height are a rectangle of the reduced picture, which has
 * ceil(full * eighths / 8) columns and rows; eighths is 8, 4, 2 or 1, the sizes that the library has fast
 * code for (a reduced pixel is what the low frequencies of its block say, about the mean of what it covers).
 */
typedef struct dt_jpeg_window {
    int x, y, width, height;
    int eighths;
} dt_jpeg_window;

/* Reads the window of the file that dt_jpeg_open started. `image` gets the window's rows and at least its
 * columns: *origin_x is the column of the picture that the image's first column is (<= window.x). Each pixel
 * is the same as in a whole decode, bit for bit. Channels: 4 (RGB and a byte without meaning, also for grey
 * files) or CMYK. */
bool dt_jpeg_read(dt_jpeg_decoder *decoder, dt_jpeg_window window, dt_image *image, int *origin_x,
                  dt_error *error);

/* Encodes grey, RGB or RGB-with-padding pixels with optimised Huffman tables. quality is 1..100 on libjpeg's
 * scale; halve_chroma: 4:2:0 instead of 4:4:4. The caller frees *bytes with free(). */
bool dt_jpeg_encode(const dt_image *image, int quality, bool halve_chroma, uint8_t **bytes, size_t *size,
                    dt_error *error);

#endif
