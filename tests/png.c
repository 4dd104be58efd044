/* PNG files that are written: through our own reader and back, for odd sizes and both channel counts. */
#include "data/file.h"
#include "data/png.h"
#include "tests/tap.h"

static dt_error error;

/* Noise, or runs of one value. */
static dt_image make(int width, int height, int channels, bool noise)
{
    dt_image image = {0};
    dt_image_reserve(&image, width, height, channels, &error);
    uint32_t state = 7;
    for (size_t i = 0; i < image.stride * (size_t)height; i++) {
        state = state * 1664525 + 1013904223;
        image.pixels[i] = (uint8_t)(noise ? state >> 24 : i / 40 * 9);
    }
    return image;
}

static bool same(const dt_image *a, const dt_image *rgb)
{
    bool good = a->width == rgb->width && a->height == rgb->height && rgb->channels == 3;
    for (int y = 0; good && y < a->height; y++)
        for (int x = 0; x < a->width; x++)
            for (int c = 0; c < 3; c++)
                good = good && a->pixels[(size_t)y * a->stride + (size_t)(x * a->channels + (a->channels == 3 ? c : 0))] ==
                                   rgb->pixels[(size_t)y * rgb->stride + (size_t)(3 * x + c)];
    return good;
}

static void check_round_trip(int width, int height, int channels, bool noise)
{
    dt_image image = make(width, height, channels, noise), read = {0};
    uint8_t *bytes = NULL, *again = NULL;
    size_t size = 0, size_again = 0;
    ok(dt_png_encode(&image, &bytes, &size, &error) && dt_is_png(bytes, size) && dt_png_decode(bytes, size, &read, &error) &&
           same(&image, &read),
       "%dx%d, %d channels: what is read is what was written", width, height, channels);
    ok(dt_png_encode(&image, &again, &size_again, &error) && size == size_again && !memcmp(bytes, again, size),
       "the same bytes again");
    ok(noise || size < 200 + image.stride * (size_t)height / 8, "runs are small: %zu bytes", size);
    free(bytes);
    free(again);
    dt_image_free(&image);
    dt_image_free(&read);
}

/* A window of a larger picture: rows do not follow each other. */
static void check_stride(void)
{
    dt_image image = make(13, 9, 3, true), window = dt_image_borrow(image.pixels + 2 * image.stride + 6, 7, 5, 3), read = {0};
    window.stride = image.stride;
    uint8_t *bytes = NULL;
    size_t size = 0;
    ok(dt_png_encode(&window, &bytes, &size, &error) && dt_png_decode(bytes, size, &read, &error) && same(&window, &read),
       "a window of a picture");
    free(bytes);
    dt_image_free(&read);
    dt_image_free(&image);
}

static void check_file(void)
{
    const char *path = in("a.png"), *nowhere = in("none/a.png");
    dt_image image = make(31, 17, 1, true), read = {0};
    dt_map map = {0};
    ok(dt_png_write(path, &image, &error) && dt_map_open(&map, path, &error) &&
           dt_png_decode(map.data, map.size, &read, &error) && same(&image, &read),
       "a file %s", error.message);
    ok(!dt_png_write(nowhere, &image, &error) && strstr(error.message, "none"), "no such folder: %s", error.message);
    dt_map_close(&map);
    dt_image_free(&image);
    dt_image_free(&read);
}

static void check_refusals(void)
{
    uint8_t *bytes = NULL, pixels[64] = {0};
    size_t size = 0;
    dt_image four = dt_image_borrow(pixels, 2, 2, 4), none = {.channels = 3};
    ok(!dt_png_encode(&four, &bytes, &size, &error) && !strcmp(error.message, "PNG: an image of 4 channels is not encoded: "
                                                                              "expected grey (1) or RGB (3)"),
       "four channels: %s", error.message);
    ok(!dt_png_encode(&none, &bytes, &size, &error) && strstr(error.message, "0x0 pixels") && !bytes, "an empty image: %s",
       error.message);
}

int main(void)
{
    static const int sides[][2] = {{1, 1}, {1, 7}, {7, 1}, {5, 3}, {28, 28}, {33, 31}, {257, 129}};
    for (size_t i = 0; i < sizeof sides / sizeof sides[0]; i++)
        for (int channels = 1; channels <= 3; channels += 2)
            for (int noise = 0; noise < 2; noise++)
                check_round_trip(sides[i][0], sides[i][1], channels, noise);
    check_stride();
    check_file();
    check_refusals();
    return done();
}
