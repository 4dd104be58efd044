/* Image decoding, resizing and transforms against Pillow and torchvision (fixtures: golden image/).
 * `image bench FOLDER SIZE SCALE_MIN SCALE_MAX SECONDS` prints images per second instead: the Duet side of
 * experiments/bench/decode_peer.py. */
#include <stdint.h>

#include "data/file.h"
#include "data/jpeg.h"
#include "data/safetensors.h"
#include "data/transform.h"
#include "tests/tap.h"

typedef struct fixture {
    const char *name;
    int width, height, components;
    int levels; /* of difference that the decoder may show */
} fixture;

static const fixture fixtures[] = {
    {"photo_china_420", 480, 320, 3, 2},
    {"photo_flower_444", 320, 214, 3, 2},
    {"photo_flower_prog_420", 200, 133, 3, 2},
    {"rgb_444", 61, 47, 3, 2},
    {"rgb_422", 96, 80, 3, 2},
    {"rgb_420_odd", 63, 65, 3, 2},
    {"rgb_444_q100", 64, 64, 3, 2},
    {"rgb_420_q10_optimised", 85, 64, 3, 2},
    {"rgb_422_crop_87", 64, 87, 3, 2},
    {"gray", 70, 90, 1, 2},
    {"gray_progressive", 33, 31, 1, 2},
    {"rgb_444_progressive", 75, 100, 3, 2},
    {"cmyk_adobe", 72, 66, 4, 2},
    {"ycck_adobe", 66, 50, 4, 2},
    {"tall_37x501_420", 37, 501, 3, 2},
    {"wide_501x37_444", 501, 37, 3, 2},
    {"tiny_5x3_420", 5, 3, 3, 2},
    {"exif_orientation_6", 80, 60, 3, 2},
    {"rgb_440_restart", 90, 71, 3, 2},
    {"rgb_411", 77, 58, 3, 2},
};
enum { FIXTURES = sizeof fixtures / sizeof *fixtures };

static char *read_golden(const char *name, const char *extension, size_t *size)
{
    char path[128];
    snprintf(path, sizeof path, "image/%s.%s", name, extension);
    const char *at = golden(path);
    return at ? dt_file_read(at, 1 << 24, size, NULL) : NULL;
}

static dt_safetensors *open_golden(const char *name)
{
    char path[128];
    dt_error error;
    snprintf(path, sizeof path, "image/%s.safetensors", name);
    const char *at = golden(path);
    dt_safetensors *file = at ? dt_safetensors_open(at, &error) : NULL;
    if (!file)
        skip(name, "the fixture is not here");
    return file;
}

/* Largest difference between an image and a tensor of its shape; 999 where the shapes differ. */
static int difference(const dt_image *image, const dt_st_tensor *want)
{
    if (!want || want->shape[0] != image->height || want->shape[1] != image->width ||
        want->shape[2] != image->channels)
        return 999;
    int most = 0;
    size_t row = (size_t)image->width * (size_t)image->channels;
    for (int y = 0; y < image->height; y++)
        for (size_t i = 0; i < row; i++) {
            int d = abs(image->pixels[(size_t)y * image->stride + i] -
                        ((const uint8_t *)want->data)[(size_t)y * row + i]);
            most = d > most ? d : most;
        }
    return most;
}

static dt_transform plain(dt_transform_mode mode, int size)
{
    dt_transform t = dt_transform_default(mode, size);
    for (int c = 0; c < 3; c++) {
        t.mean[c] = 0;
        t.std[c] = 1;
    }
    return t;
}

/* Floats of a transform without normalisation against uint8 [size, size, 3]. */
static int crop_difference(const float *got, const dt_st_tensor *want)
{
    int most = 0;
    for (size_t i = 0; i < want->count; i++) {
        int d = abs((int)lrintf(got[i] * 255) - ((const uint8_t *)want->data)[i]);
        most = d > most ? d : most;
    }
    return most;
}

static void check_preprocessed(const char *name, const float *got, const dt_st_tensor *want, double tolerance)
{
    static float chw[3 * 64 * 64];
    for (size_t i = 0; i < 64 * 64; i++)
        for (size_t c = 0; c < 3; c++)
            chw[c * 64 * 64 + i] = got[3 * i + c];
    static float wanted[3 * 64 * 64];
    memcpy(wanted, want->data, sizeof wanted);
    near(name, chw, wanted, 3 * 64 * 64, tolerance);
}

static void test_fixture(const fixture *f, dt_transform_scratch *scratch)
{
    dt_error error = {""};
    size_t size;
    char *jpeg = read_golden(f->name, "jpg", &size);
    dt_safetensors *file = open_golden(f->name);
    if (!jpeg || !file) {
        free(jpeg);
        return;
    }
    const uint8_t *bytes = (const uint8_t *)jpeg;
    dt_jpeg_header header = {0};
    ok(dt_jpeg_info(bytes, size, &header, &error) && header.width == f->width && header.height == f->height &&
           header.components == f->components,
       "%s: header %s", f->name, error.message);
    ok(dt_jpeg_verify(bytes, size, &error), "%s: whole %s", f->name, error.message);
    dt_image image = {0}, rgb = {0};
    ok(dt_jpeg_decode(bytes, size, &image, &error) && dt_image_to_rgb(&image, &rgb, &error), "%s: decodes %s",
       f->name, error.message);
    const dt_st_tensor *decoded = dt_safetensors_find(file, "decoded"),
                       *inks = dt_safetensors_find(file, "inks");
    if (decoded)
        ok(difference(&rgb, decoded) <= f->levels, "%s: decoded within %d levels (%d)", f->name, f->levels,
           difference(&rgb, decoded));
    if (inks)
        ok(difference(&image, inks) <= f->levels, "%s: inks within %d levels (%d)", f->name, f->levels,
           difference(&image, inks));
    static float got[64 * 64 * 3], again[64 * 64 * 3];
    dt_transform t = plain(DT_TRANSFORM_EVAL, 64);
    const dt_st_tensor *crop = dt_safetensors_find(file, "crop");
    ok(dt_transform_jpeg(&t, scratch, bytes, size, 0, got, &error) && crop_difference(got, crop) <= f->levels,
       "%s: crop from the file within %d levels (%d) %s", f->name, f->levels, crop_difference(got, crop),
       error.message);
    ok(dt_transform_pixels(&t, scratch, &image, 0, again, &error) && !memcmp(got, again, sizeof got),
       "%s: the file and its pixels give the same bits %s", f->name, error.message);
    const dt_st_tensor *source = inks ? inks : decoded;
    if (source) {
        dt_image pixels = dt_image_borrow(source->data, (int)source->shape[1], (int)source->shape[0],
                                          (int)source->shape[2]);
        pixels.inks = inks != NULL;
        ok(dt_transform_pixels(&t, scratch, &pixels, 0, got, &error) && crop_difference(got, crop) == 0,
           "%s: crop from Pillow's pixels exactly (%d) %s", f->name, crop_difference(got, crop),
           error.message);
    }
    dt_image square = dt_image_borrow(crop->data, 64, 64, 3);
    t = dt_transform_default(DT_TRANSFORM_EVAL, 64);
    ok(dt_transform_pixels(&t, scratch, &square, 0, got, &error), "%s: normalises", f->name);
    check_preprocessed(f->name, got, dt_safetensors_find(file, "preprocessed"), 4e-6);
    ok(dt_transform_jpeg(&t, scratch, bytes, size, 0, got, &error), "%s: the whole way", f->name);
    check_preprocessed(f->name, got, dt_safetensors_find(file, "preprocessed"), 0.0301);
    dt_image_free(&image);
    dt_image_free(&rgb);
    dt_safetensors_close(file);
    free(jpeg);
}

static void test_resize(void)
{
    dt_error error;
    dt_safetensors *file = open_golden("raw");
    dt_resampler *resampler = dt_resampler_new(&error);
    const dt_st_tensor *source = file ? dt_safetensors_find(file, "source") : NULL;
    for (size_t i = 0; source && i < dt_safetensors_count(file); i++) {
        const dt_st_tensor *want = dt_safetensors_at(file, i);
        if (want == source)
            continue;
        dt_interpolation method = strncmp(want->name, "bicubic", 7) ? DT_BILINEAR : DT_BICUBIC;
        dt_image from = dt_image_borrow(source->data, (int)source->shape[1], (int)source->shape[0], 3),
                 to = {0};
        dt_axis x = dt_axis_whole(from.width, (int)want->shape[1]),
                y = dt_axis_whole(from.height, (int)want->shape[0]);
        ok(dt_resample(resampler, &from, x, y, method, &to, &error) && difference(&to, want) == 0,
           "raw: %s exactly (%d)", want->name, difference(&to, want));
        dt_image_free(&to);
    }
    dt_resampler_free(resampler);
    dt_safetensors_close(file);
}

static uint32_t state = 12345;
static int random_to(int most) /* 0 .. most */
{
    state = state * 1664525 + 1013904223;
    return (int)((uint64_t)(state >> 8) * ((uint64_t)most + 1) >> 24);
}

static bool read_window(dt_jpeg_decoder *decoder, const uint8_t *bytes, size_t size, dt_jpeg_window window,
                        dt_image *image, int *origin, dt_error *error)
{
    dt_jpeg_header header;
    return dt_jpeg_open(decoder, bytes, size, &header, error) &&
           dt_jpeg_read(decoder, window, image, origin, error);
}

static bool same_pixels(const dt_image *part, int origin, dt_jpeg_window w, const dt_image *whole)
{
    int channels = whole->inks ? 4 : 3;
    if (part->height != w.height || origin > w.x || origin + part->width < w.x + w.width)
        return false;
    for (int y = 0; y < w.height; y++)
        for (int x = 0; x < w.width; x++)
            if (memcmp(part->pixels + (size_t)y * part->stride + 4 * (size_t)(w.x - origin + x),
                       whole->pixels + (size_t)(w.y + y) * whole->stride + 4 * (size_t)(w.x + x),
                       (size_t)channels))
                return false;
    return true;
}

/* Any window, at any reduction, has the pixels of the whole picture. */
static void test_windows(const fixture *f, dt_jpeg_decoder *decoder)
{
    size_t size;
    char *jpeg = read_golden(f->name, "jpg", &size);
    dt_image whole = {0}, part = {0};
    dt_error error = {""};
    int origin, bad = 0;
    for (int eighths = 8; jpeg && eighths; eighths /= 2) {
        int width = (f->width * eighths + 7) / 8, height = (f->height * eighths + 7) / 8;
        dt_jpeg_window all = {0, 0, width, height, eighths};
        bad += !read_window(decoder, (uint8_t *)jpeg, size, all, &whole, &origin, &error) || origin != 0;
        for (int i = 0; i < 40; i++) {
            dt_jpeg_window w = {random_to(width - 1), random_to(height - 1), 0, 0, eighths};
            w.width = 1 + random_to(width - w.x - 1);
            w.height = 1 + random_to(height - w.y - 1);
            bool good = read_window(decoder, (uint8_t *)jpeg, size, w, &part, &origin, &error) &&
                        same_pixels(&part, origin, w, &whole);
            if (!good && bad < 3)
                printf("# %d/8 of %s: %d,%d %dx%d %s\n", eighths, f->name, w.x, w.y, w.width, w.height,
                       error.message);
            bad += !good;
        }
    }
    if (jpeg)
        ok(bad == 0, "%s: windows at 8/8 .. 1/8 are parts of the whole (%d wrong)", f->name, bad);
    dt_jpeg_window outside = {0, 1, f->width, f->height, 8};
    if (jpeg)
        ok(!read_window(decoder, (uint8_t *)jpeg, size, outside, &part, &origin, &error) &&
               strstr(error.message, "not within"),
           "%s: a window outside is refused", f->name);
    dt_image_free(&whole);
    dt_image_free(&part);
    free(jpeg);
}

/* A smooth picture, so that compression changes little. */
static void paint(dt_image *image, int width, int height, int channels)
{
    dt_error error;
    dt_image_reserve(image, width, height, channels, &error);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++)
            for (int c = 0; c < channels; c++)
                image->pixels[(size_t)y * image->stride + (size_t)(x * channels + c)] =
                    (uint8_t)(128 + 100 * sin(0.05 * x * (c + 1) + 0.07 * y));
}

static void test_encode(void)
{
    static const int sizes[][2] = {{1, 1}, {17, 9}, {64, 48}};
    dt_error error = {""};
    dt_image image = {0}, back = {0};
    for (int i = 0; i < 3; i++)
        for (int channels = 1; channels <= 4; channels += channels) {
            int c = channels == 2 ? 3 : channels;
            paint(&image, sizes[i][0], sizes[i][1], c);
            for (int halve = 0; halve < 2; halve++) {
                uint8_t *bytes = NULL;
                size_t size = 0;
                bool good = dt_jpeg_encode(&image, 95, halve, &bytes, &size, &error) &&
                            dt_jpeg_verify(bytes, size, &error) && dt_jpeg_decode(bytes, size, &back, &error);
                ok(good && back.width == image.width && back.height == image.height &&
                       back.channels == (c == 1 ? 1 : 3),
                   "encode %dx%d with %d channels %s", image.width, image.height, c, error.message);
                int far = 0;
                for (int p = 0; good && !halve && p < image.width * image.height; p++)
                    far += abs(back.pixels[p * back.channels] - image.pixels[p * c]) > 8;
                ok(far == 0, "encode: close to the picture");
                free(bytes);
            }
        }
    uint8_t *bytes;
    size_t size;
    ok(!dt_jpeg_encode(&image, 0, false, &bytes, &size, &error) && strstr(error.message, "1..100"),
       "quality 0 refused");
    image.inks = true;
    ok(!dt_jpeg_encode(&image, 90, false, &bytes, &size, &error) && strstr(error.message, "CMYK"),
       "inks refused");
    image.inks = false;
    dt_image flat = dt_image_borrow(image.pixels, 70000, 1, 1);
    ok(!dt_jpeg_encode(&flat, 90, false, &bytes, &size, &error) && strstr(error.message, "65500"),
       "a side of 70000 refused: %s", error.message);
    dt_image_free(&image);
    dt_image_free(&back);
}

static int bench(char **arguments)
{
    dt_error error;
    dt_transform t = dt_transform_default(DT_TRANSFORM_RANDOM_RESIZED_CROP, atoi(arguments[1]));
    t.scale[0] = atof(arguments[2]);
    t.scale[1] = atof(arguments[3]);
    double rate;
    if (!dt_transform_check(&t, &error) ||
        !dt_transform_benchmark(arguments[0], &t, atof(arguments[4]), &rate, &error)) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    printf("%.1f\n", rate);
    return 0;
}

int main(int count, char **arguments)
{
    if (count == 7 && !strcmp(arguments[1], "bench"))
        return bench(arguments + 2);
    dt_error error;
    dt_transform_scratch *scratch = dt_transform_scratch_new(&error);
    for (int i = 0; i < FIXTURES; i++)
        test_fixture(&fixtures[i], scratch);
    dt_transform_scratch_free(scratch);
    test_resize();
    dt_jpeg_decoder *decoder = dt_jpeg_decoder_new(&error);
    for (int i = 0; i < FIXTURES; i++)
        test_windows(&fixtures[i], decoder);
    dt_jpeg_decoder_free(decoder);
    test_encode();
    return done();
}
