#include "data/image.h"

#include <stdlib.h>
#include <string.h>

#include "data/jpeg.h"
#include "data/png.h"

bool dt_image_reserve(dt_image *image, int width, int height, int channels, dt_error *error)
{
    size_t row, bytes;
    if (width < 1 || height < 1 || (channels != 1 && channels != 3 && channels != 4))
        return dt_fail(error,
                       "an image of %dx%d pixels with %d channels cannot be made: expected positive "
                       "sides and 1, 3 or 4 channels",
                       width, height, channels);
    if (__builtin_mul_overflow((size_t)width, (size_t)channels, &row) ||
        __builtin_mul_overflow(row, (size_t)height, &bytes) || bytes > SIZE_MAX / 2)
        return dt_fail(error, "an image of %dx%d pixels does not fit into memory", width, height);
    if (image->capacity < bytes) {
        uint8_t *pixels = malloc(bytes + DT_IMAGE_SLACK);
        if (!pixels)
            return dt_fail(error, "no memory for an image of %dx%d pixels (%zu bytes)", width, height, bytes);
        dt_image_free(image);
        image->pixels = pixels;
        image->capacity = bytes;
    }
    image->width = width;
    image->height = height;
    image->channels = channels;
    image->inks = false;
    image->stride = row;
    return true;
}

dt_image dt_image_borrow(const uint8_t *pixels, int width, int height, int channels)
{
    return (dt_image){.pixels = (uint8_t *)pixels,
                      .width = width,
                      .height = height,
                      .channels = channels,
                      .stride = (size_t)width * (size_t)channels};
}

void dt_image_free(dt_image *image)
{
    if (image->capacity)
        free(image->pixels);
    *image = (dt_image){0};
}

bool dt_image_to_rgb(const dt_image *from, dt_image *to, dt_error *error)
{
    if (!dt_image_reserve(to, from->width, from->height, 3, error))
        return false;
    for (int y = 0; y < from->height; y++) {
        const uint8_t *source = from->pixels + (size_t)y * from->stride;
        uint8_t *target = to->pixels + (size_t)y * to->stride;
        if (from->inks)
            dt_inks_to_rgb(source, target, from->width);
        else if (from->channels == 3)
            memcpy(target, source, (size_t)from->width * 3);
        else if (from->channels == 1)
            for (int x = 0; x < from->width; x++)
                target[3 * x] = target[3 * x + 1] = target[3 * x + 2] = source[x];
        else
            for (int x = 0; x < from->width; x++)
                memcpy(target + 3 * x, source + 4 * x, 3);
    }
    return true;
}

static bool has_colour(const dt_image *image)
{
    for (int y = 0; y < image->height; y++) {
        const uint8_t *pixel = image->pixels + (size_t)y * image->stride;
        for (int x = 0; x < image->width; x++, pixel += image->channels)
            if (pixel[0] != pixel[1] || pixel[0] != pixel[2])
                return true;
    }
    return false;
}

bool dt_image_drop_colour(dt_image *image)
{
    if (image->channels == 1 || image->inks || has_colour(image))
        return false;
    size_t width = (size_t)image->width, step = (size_t)image->channels;
    for (size_t y = 0; y < (size_t)image->height; y++)
        for (size_t x = 0; x < width; x++)
            image->pixels[y * width + x] = image->pixels[y * image->stride + x * step];
    image->channels = 1;
    image->stride = width;
    return true;
}

static uint8_t ink_to_light(int ink, int light)
{
    int product = ink * light + 128;
    int left = light - ((product >> 8) + product) / 256;
    return (uint8_t)(left < 0 ? 0 : left);
}

void dt_inks_to_rgb(const uint8_t *inks, uint8_t *rgb, int width)
{
    for (int x = 0; x < width; x++) {
        uint8_t c = inks[4 * x], m = inks[4 * x + 1], y = inks[4 * x + 2];
        int light = 255 - inks[4 * x + 3];
        rgb[3 * x] = ink_to_light(c, light);
        rgb[3 * x + 1] = ink_to_light(m, light);
        rgb[3 * x + 2] = ink_to_light(y, light);
    }
}

bool dt_image_decode(const uint8_t *bytes, size_t size, dt_image *image, dt_error *error)
{
    if (dt_is_png(bytes, size))
        return dt_png_decode(bytes, size, image, error);
    if (size >= 2 && !(bytes[0] == 0xff && bytes[1] == 0xd8))
        return dt_fail(error, "neither a JPEG nor a PNG file: it starts with the bytes %02x %02x", bytes[0],
                       bytes[1]);
    dt_image decoded = {0};
    bool good = dt_jpeg_decode(bytes, size, &decoded, error);
    if (good && decoded.channels == 3) {
        dt_image_free(image);
        *image = decoded;
        return true;
    }
    good = good && dt_image_to_rgb(&decoded, image, error);
    dt_image_free(&decoded);
    return good;
}
