#include "data/stored_image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/file.h"
#include "data/jpeg.h"
#include "data/pairs.h"
#include "data/png.h"

static bool take_pixels(const dt_item *item, const dt_encoding *encoding, dt_stored_image *image, dt_error *error);
static bool take_file(const uint8_t *bytes, size_t size, const dt_encoding *encoding, dt_stored_image *image,
                      dt_error *error);
static bool take_path(const char *path, const dt_encoding *encoding, dt_stored_image *image, dt_error *error);

bool dt_stored_image_make(const dt_item *item, const dt_encoding *encoding, dt_stored_image *image, dt_error *error)
{
    *image = (dt_stored_image){0};
    if (item->bytes && item->channels)
        return take_pixels(item, encoding, image, error);
    if (item->bytes)
        return take_file(item->bytes, item->size, encoding, image, error);
    return item->path ? take_path(item->path, encoding, image, error) : dt_fail(error, "the source gave no image");
}

static bool encode(const dt_image *pixels, const dt_encoding *encoding, dt_stored_image *image, dt_error *error)
{
    if (!(encoding->lossless ? dt_png_encode(pixels, &image->made, &image->size, error)
                             : dt_jpeg_encode(pixels, encoding->quality, encoding->halve_chroma, &image->made,
                                              &image->size, error)))
        return false;
    image->bytes = image->made;
    image->width = pixels->width;
    image->height = pixels->height;
    return true;
}

static bool take_pixels(const dt_item *item, const dt_encoding *encoding, dt_stored_image *image, dt_error *error)
{
    if ((item->channels != 1 && item->channels != 3) || item->width < 1 || item->width > DT_PAIR_SIDE_MAX ||
        item->height < 1 || item->height > DT_PAIR_SIDE_MAX ||
        item->size != (size_t)item->width * (size_t)item->height * (size_t)item->channels)
        return dt_fail(error, "%zu bytes of pixels are not %d x %d x %d", item->size, item->width, item->height,
                       item->channels);
    dt_image pixels = dt_image_borrow(item->bytes, item->width, item->height, item->channels);
    return encode(&pixels, encoding, image, error);
}

static bool take_jpeg(const uint8_t *bytes, size_t size, dt_stored_image *image, dt_error *error)
{
    dt_jpeg_header header;
    if (!dt_jpeg_info(bytes, size, &header, error) || !dt_jpeg_verify(bytes, size, error))
        return false;
    *image = (dt_stored_image){bytes, size, header.width, header.height, NULL};
    return true;
}

/* Whether a PNG file that decodes holds just the pixels that decoding gives: 8-bit grey or RGB, nothing transparent.
 * (W3C, PNG specification: chunks from byte 8 on, each its length, name, data and checksum; the header's is the first.) */
static bool is_plain_png(const uint8_t *bytes, size_t size)
{
    enum { CHUNKS = 8, DEPTH = 24, TYPE = 25, GREY = 0, RGB = 2 };
    if (size <= TYPE || bytes[DEPTH] != 8 || (bytes[TYPE] != GREY && bytes[TYPE] != RGB))
        return false;
    for (size_t at = CHUNKS; at + 12 <= size;) {
        const uint8_t *b = bytes + at;
        size_t length = (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
        if (!memcmp(b + 4, "IDAT", 4)) /* transparency would have come before */
            return true;
        if (!memcmp(b + 4, "tRNS", 4))
            return false;
        at += 12 + length;
    }
    return false;
}

static bool take_png(const uint8_t *bytes, size_t size, const dt_encoding *encoding, dt_stored_image *image,
                     dt_error *error)
{
    dt_image pixels = {0};
    bool good = dt_png_decode(bytes, size, &pixels, error);
    if (good && encoding->lossless && is_plain_png(bytes, size)) {
        *image = (dt_stored_image){bytes, size, pixels.width, pixels.height, NULL};
    } else if (good) {
        if (encoding->lossless)
            dt_image_drop_colour(&pixels);
        good = encode(&pixels, encoding, image, error);
    }
    dt_image_free(&pixels);
    return good;
}

static const char *kind_of(const uint8_t *bytes, size_t size)
{
    static const struct {
        const char *start, *name;
        size_t offset;
    } kinds[] = {{"GIF8", "a GIF", 0},           {"WEBP", "a WebP", 8}, {"BM", "a BMP", 0},
                 {"II*", "a TIFF", 0},           {"MM", "a TIFF", 0},   {"ftyp", "a HEIF or AVIF", 4},
                 {"<", "text (HTML or XML?)", 0}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t length = strlen(kinds[i].start);
        if (size >= kinds[i].offset + length && !memcmp(bytes + kinds[i].offset, kinds[i].start, length))
            return kinds[i].name;
    }
    return size ? "something else" : "an empty file";
}

static bool take_file(const uint8_t *bytes, size_t size, const dt_encoding *encoding, dt_stored_image *image,
                      dt_error *error)
{
    if (size >= 2 && bytes[0] == 0xff && bytes[1] == 0xd8)
        return take_jpeg(bytes, size, image, error);
    if (dt_is_png(bytes, size))
        return take_png(bytes, size, encoding, image, error);
    return dt_fail(error, "expected a JPEG or PNG file, found %s", kind_of(bytes, size));
}

static bool take_path(const char *path, const dt_encoding *encoding, dt_stored_image *image, dt_error *error)
{
    struct stat about;
    if (stat(path, &about))
        return dt_fail(error, "%s", strerror(errno));
    if (!S_ISREG(about.st_mode)) /* a pipe would be waited for */
        return dt_fail(error, "it is not a regular file");
    size_t size;
    uint8_t *bytes = (uint8_t *)dt_file_read(path, DT_PAIR_BYTES_MAX, &size, error);
    bool good = bytes && take_file(bytes, size, encoding, image, error);
    if (good && image->bytes == bytes)
        image->made = bytes;
    else
        free(bytes);
    return good;
}
