#include "data/png.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <png.h>

#include "data/file.h"

/* What libpng said as it gave up; the struct that holds it is libpng's error pointer. */
typedef struct trap {
    char message[192];
} trap;

static void on_error(png_structp png, png_const_charp message)
{
    trap *t = png_get_error_ptr(png);
    snprintf(t->message, sizeof t->message, "%s", message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

/* ---- decoding ---- */

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
    trap trap;
} reader;

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
    r->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r->trap, on_error, on_warning);
    r->info = r->png ? png_create_info_struct(r->png) : NULL;
    if (!r->info)
        return dt_fail(error, "no memory for a PNG reader");
    if (setjmp(png_jmpbuf(r->png)))
        return dt_fail(error, "PNG: %s", r->trap.message);
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

/* ---- encoding ---- */

typedef struct encoder {
    png_structp png;
    png_infop info;
    uint8_t *bytes;
    size_t size, room;
    trap trap;
} encoder;

static void keep_bytes(png_structp png, png_bytep from, size_t count)
{
    encoder *e = png_get_io_ptr(png);
    if (count > e->room - e->size) {
        size_t room = 2 * e->room > e->size + count ? 2 * e->room : e->size + count;
        uint8_t *bytes = realloc(e->bytes, room);
        if (!bytes)
            png_error(png, "no memory for the file");
        e->bytes = bytes;
        e->room = room;
    }
    memcpy(e->bytes + e->size, from, count);
    e->size += count;
}

static void keep_all(png_structp png)
{
    (void)png;
}

static bool encode(encoder *e, const dt_image *image, dt_error *error)
{
    e->png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &e->trap, on_error, on_warning);
    e->info = e->png ? png_create_info_struct(e->png) : NULL;
    if (!e->info)
        return dt_fail(error, "no memory for a PNG encoder");
    if (setjmp(png_jmpbuf(e->png)))
        return dt_fail(error, "PNG: cannot encode: %s", e->trap.message);
    png_set_write_fn(e->png, e, keep_bytes, keep_all);
    png_set_compression_level(e->png, 6); /* 9 takes ten times as long for 0 to 10 % */
    png_set_IHDR(e->png, e->info, (png_uint_32)image->width, (png_uint_32)image->height, 8,
                 image->channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(e->png, e->info);
    for (int y = 0; y < image->height; y++)
        png_write_row(e->png, image->pixels + (size_t)y * image->stride);
    png_write_end(e->png, e->info);
    return true;
}

bool dt_png_encode(const dt_image *image, uint8_t **bytes, size_t *size, dt_error *error)
{
    if (image->channels != 1 && image->channels != 3)
        return dt_fail(error, "PNG: an image of %d channels is not encoded: expected grey (1) or RGB (3)",
                       image->channels);
    if (image->width < 1 || image->height < 1)
        return dt_fail(error, "PNG: an image of %dx%d pixels is not encoded: expected positive sides", image->width,
                       image->height);
    encoder *e = calloc(1, sizeof *e);
    if (!e)
        return dt_fail(error, "no memory for a PNG encoder");
    bool good = encode(e, image, error);
    png_destroy_write_struct(&e->png, &e->info);
    if (good) {
        *bytes = e->bytes;
        *size = e->size;
    } else {
        free(e->bytes);
    }
    free(e);
    return good;
}

bool dt_png_write(const char *path, const dt_image *image, dt_error *error)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    bool good = dt_png_encode(image, &bytes, &size, error) && dt_file_write(path, bytes, size, error);
    free(bytes);
    return good;
}
