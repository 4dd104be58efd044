#include "data/png.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

bool dt_is_png(const uint8_t *bytes, size_t size)
{
    return size >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0;
}

typedef struct reader {
    const uint8_t *bytes;
    size_t size, at;
    png_structp png;
    png_infop info;
    png_bytep *rows;
    dt_image image; /* here, as it changes between setjmp and longjmp */
    char message[192];
} reader;

static void on_error(png_structp png, png_const_charp message)
{
    reader *r = png_get_error_ptr(png);
    snprintf(r->message, sizeof r->message, "%s", message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static void read_bytes(png_structp png, png_bytep to, size_t count)
{
    reader *r = png_get_io_ptr(png);
    if (count > r->size - r->at)
        png_error(png, "the data ends early: the file is truncated");
    memcpy(to, r->bytes + r->at, count);
    r->at += count;
}

static bool check_size(reader *r, dt_error *error)
{
    uint64_t width = png_get_image_width(r->png, r->info), height = png_get_image_height(r->png, r->info);
    if (width > DT_IMAGE_MAX_SIDE || height > DT_IMAGE_MAX_SIDE || width * height > DT_IMAGE_MAX_PIXELS)
        return dt_fail(error, "PNG: %llux%llu pixels are too many: at most %d, and %d a side, are accepted",
                       (unsigned long long)width, (unsigned long long)height, DT_IMAGE_MAX_PIXELS,
                       DT_IMAGE_MAX_SIDE);
    uint64_t raw = (uint64_t)png_get_rowbytes(r->png, r->info) * height;
    if (raw / 1032 > r->size) /* deflate's best ratio */
        return dt_fail(error, "PNG: %zu bytes cannot hold %llux%llu pixels: the file is truncated or a trap",
                       r->size, (unsigned long long)width, (unsigned long long)height);
    return true;
}

static void ask_for_8_bit_rgb(reader *r)
{
    png_set_expand(r->png); /* palettes, 1, 2 and 4 bits, and transparent colours become 8-bit channels */
    png_set_scale_16(r->png);
    png_set_gray_to_rgb(r->png);
    png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
}

static bool read_picture(reader *r, dt_error *error)
{
    png_read_info(r->png, r->info);
    if (!check_size(r, error))
        return false;
    ask_for_8_bit_rgb(r);
    int height = (int)png_get_image_height(r->png, r->info),
        width = (int)png_get_image_width(r->png, r->info);
    if (!dt_image_reserve(&r->image, width, height, png_get_channels(r->png, r->info), error))
        return false;
    r->rows = malloc((size_t)height * sizeof *r->rows);
    if (!r->rows)
        return dt_fail(error, "no memory for the rows of a PNG image");
    for (int y = 0; y < height; y++)
        r->rows[y] = r->image.pixels + (size_t)y * r->image.stride;
    png_read_image(r->png, r->rows);
    png_read_end(r->png, NULL);
    return true;
}

static bool decode(reader *r, dt_error *error)
{
    r->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, r, on_error, on_warning);
    r->info = r->png ? png_create_info_struct(r->png) : NULL;
    if (!r->info)
        return dt_fail(error, "no memory for a PNG reader");
    if (setjmp(png_jmpbuf(r->png)))
        return dt_fail(error, "PNG: %s", r->message);
    png_set_read_fn(r->png, r, read_bytes);
    png_set_user_limits(r->png, 0x7fffffff,
                        0x7fffffff); /* check_size has the limits and the better message */
    png_set_chunk_malloc_max(r->png, 8 << 20);
    png_set_crc_action(r->png, PNG_CRC_ERROR_QUIT, PNG_CRC_WARN_DISCARD);
    return read_picture(r, error);
}

static void lay_over_white(dt_image *image)
{
    size_t count = (size_t)image->width * (size_t)image->height;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *from = image->pixels + 4 * i;
        int alpha = from[3];
        for (size_t c = 0; c < 3; c++)
            image->pixels[3 * i + c] = (uint8_t)((from[c] * alpha + 255 * (255 - alpha) + 127) / 255);
    }
    image->channels = 3;
    image->stride = (size_t)image->width * 3;
}

bool dt_png_decode(const uint8_t *bytes, size_t size, dt_image *image, dt_error *error)
{
    if (!dt_is_png(bytes, size))
        return dt_fail(error, "PNG: not a PNG file: its signature is missing");
    reader *r = calloc(1, sizeof *r);
    if (!r)
        return dt_fail(error, "no memory for a PNG reader");
    r->bytes = bytes;
    r->size = size;
    bool good = decode(r, error);
    png_destroy_read_struct(&r->png, &r->info, NULL);
    free(r->rows);
    if (good) {
        if (r->image.channels == 4)
            lay_over_white(&r->image);
        dt_image_free(image);
        *image = r->image;
    } else {
        dt_image_free(&r->image);
    }
    free(r);
    return good;
}
