/* The random transforms: geometry, repeatability, settings. What eval mode computes is in image.c. */
#include <stdint.h>

#include "data/jpeg.h"
#include "data/transform.h"
#include "tests/tap.h"

enum { SIZE = 32, FLOATS = SIZE * SIZE * 3 };

static dt_transform_scratch *work;
static float got[FLOATS], want[FLOATS];

/* Mean 0 and std 1, so that outputs are pixels / 255. */
static dt_transform plain(dt_transform_mode mode)
{
    dt_transform t = dt_transform_default(mode, SIZE);
    for (int c = 0; c < 3; c++) {
        t.mean[c] = 0;
        t.std[c] = 1;
    }
    return t;
}

/* Red grows with x, green with y, blue is a texture. */
static dt_image paint(int width, int height)
{
    dt_image image = {0};
    dt_image_reserve(&image, width, height, 3, NULL);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint8_t *p = image.pixels + (size_t)y * image.stride + 3 * (size_t)x;
            p[0] = (uint8_t)(x * 255 / (width > 1 ? width - 1 : 1));
            p[1] = (uint8_t)(y * 255 / (height > 1 ? height - 1 : 1));
            p[2] = (uint8_t)(128 + 60 * sin(x * 0.9) + 60 * cos(y * 0.7 + x * 0.1));
        }
    return image;
}

static bool run(const dt_transform *t, const dt_image *image, uint64_t seed, float *out)
{
    dt_error error;
    bool good = dt_transform_pixels(t, work, image, seed, out, &error);
    if (!good)
        printf("# %s\n", error.message);
    return good;
}

static bool equal(const float *a, const float *b)
{
    return !memcmp(a, b, FLOATS * sizeof *a);
}

static bool mirrored(const float *a, const float *b)
{
    for (int y = 0; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++)
            if (memcmp(a + 3 * (y * SIZE + x), b + 3 * (y * SIZE + SIZE - 1 - x), 3 * sizeof *a))
                return false;
    return true;
}

static void test_flip(const dt_image *image)
{
    for (int mode = DT_TRANSFORM_RANDOM_RESIZED_CROP; mode <= DT_TRANSFORM_JITTER; mode++) {
        dt_transform t = plain((dt_transform_mode)mode), always;
        int good = 0, flipped = 0;
        t.flip = 0;
        always = t;
        always.flip = 1;
        for (uint64_t seed = 0; seed < 50; seed++)
            good += run(&t, image, seed, want) && run(&always, image, seed, got) && mirrored(got, want);
        ok(good == 50, "mode %d: flip 1 is the mirror of flip 0 (%d of 50)", mode, good);
        dt_transform half = t;
        half.flip = 0.5;
        for (uint64_t seed = 0; seed < 1000; seed++) {
            bool same = run(&half, image, seed, got) && run(&t, image, seed, want) && equal(got, want);
            flipped += !same;
        }
        ok(flipped > 430 && flipped < 570, "mode %d: flips half the time (%d of 1000)", mode, flipped);
    }
}

/* Resize and crop with sizes of their own, and without regard to the picture's shape. */
static void test_resize(void)
{
    dt_image image = paint(100, 50);
    dt_transform t = plain(DT_TRANSFORM_EVAL);
    ok(run(&t, &image, 0, got) && fabsf(got[FLOATS - 3] - 0.75f) < 0.03f, "the central square is kept");
    t.squash = true;
    ok(run(&t, &image, 0, got) && got[0] < 0.03f && got[FLOATS - 3] > 0.97f && got[FLOATS - 2] > 0.97f,
       "squashed: the whole picture");
    t.resize = 2 * SIZE;
    ok(run(&t, &image, 0, got) && fabsf(got[0] - 0.25f) < 0.03f && fabsf(got[FLOATS - 2] - 0.75f) < 0.03f,
       "then the centre of a larger one");
    t.squash = false;
    ok(run(&t, &image, 0, got) && fabsf(got[0] - 0.375f) < 0.03f && fabsf(got[1] - 0.25f) < 0.03f, "of the short side");
    dt_image odd = paint(SIZE + 3, SIZE);
    t.resize = 0;
    ok(run(&t, &odd, 0, got) && (t.floor_crop = true, run(&t, &odd, 0, want)) && got[0] > want[0] &&
           fabsf((got[0] - want[0]) - (got[3] - got[0])) < 0.01f,
       "of a margin of three pixels two come first, and one where it is rounded down");
    dt_image_free(&odd);
    t.resize = SIZE - 1;
    dt_error error = {""};
    ok(!dt_transform_check(&t, &error) && says(error.message, "resize is 31, expected 32 to 8192"), "nothing is cut out of less");
    dt_image_free(&image);
}

static void test_repeatable(const dt_image *image)
{
    for (int mode = DT_TRANSFORM_EVAL; mode <= DT_TRANSFORM_PAD_CROP; mode++) {
        dt_transform t = plain((dt_transform_mode)mode);
        t.colour_jitter = 0.8;
        t.brightness = t.contrast = t.saturation = 0.4;
        t.hue = 0.1;
        t.grayscale = 0.2;
        int same = 0, different = 0;
        for (uint64_t seed = 0; seed < 20; seed++) {
            same += run(&t, image, seed, got) && run(&t, image, seed + 1, want) &&
                    run(&t, image, seed, want) && equal(got, want);
            different += run(&t, image, seed + 100, want) && !equal(got, want);
        }
        ok(same == 20, "mode %d: a seed repeats", mode);
        ok(mode == DT_TRANSFORM_EVAL ? different == 0 : different >= 19, "mode %d: seeds differ (%d of 20)",
           mode, different);
    }
}

/* Every pixel tells its place in red and green, and blue is told from both. */
static dt_image chart(int side)
{
    dt_image image = paint(side, side);
    for (int y = 0; y < side; y++)
        for (int x = 0; x < side; x++) {
            uint8_t *p = image.pixels + (size_t)y * image.stride + 3 * (size_t)x;
            p[0] = (uint8_t)x, p[1] = (uint8_t)y, p[2] = (uint8_t)(7 * x + 13 * y);
        }
    return image;
}

/* Pixels of `got` that are no pixel of the chart; the rest lie one step from their left neighbours. */
static int not_of_chart(int *stepped)
{
    int bad = 0;
    *stepped = 0;
    for (int i = 0; i < SIZE * SIZE; i++) {
        int value[3];
        for (int c = 0; c < 3; c++) {
            value[c] = (int)lrintf(got[3 * i + c] * 255);
            bad += got[3 * i + c] != (float)value[c] * (float)(1 / 255.0); /* no rounding but this one */
        }
        bad += value[2] != (uint8_t)(7 * value[0] + 13 * value[1]);
        if (i % SIZE)
            *stepped += abs(value[0] - (int)lrintf(got[3 * i - 3] * 255)) == 1;
    }
    return bad;
}

/* Where the picture has the output's scale nothing is resampled: pixels come out as they are, in every mode. */
static void test_copies(void)
{
    for (int mode = DT_TRANSFORM_EVAL; mode <= DT_TRANSFORM_PAD_CROP; mode++) {
        dt_transform t = plain((dt_transform_mode)mode);
        dt_image image = chart(mode == DT_TRANSFORM_RANDOM_RESIZED_CROP ? 2 * SIZE : SIZE);
        memset(t.background, 0, sizeof t.background); /* the chart's first pixel */
        t.scale[0] = t.scale[1] = mode == DT_TRANSFORM_RANDOM_RESIZED_CROP ? 0.25 : 1;
        t.ratio[0] = t.ratio[1] = 1;
        int bad = 0, stepped = 0, least = SIZE * SIZE, differ = 0;
        for (uint64_t seed = 0; seed < 40; seed++) {
            if (seed)
                memcpy(want, got, sizeof want);
            bad += !run(&t, &image, seed, got) || not_of_chart(&stepped);
            least = stepped < least ? stepped : least;
            differ += seed && !equal(got, want);
        }
        ok(bad == 0, "mode %d: pixels are copied", mode);
        ok(least >= SIZE * SIZE * 3 / 4, "mode %d: side by side (%d of %d)", mode, least, SIZE * (SIZE - 1));
        ok(mode == DT_TRANSFORM_EVAL ? differ == 0 : differ > 30, "mode %d: from places that differ", mode);
        dt_image_free(&image);
    }
}

/* The crop, read back from the gradients; rough, as the resize rounds. */
static void test_crop_statistics(void)
{
    dt_image image = paint(256, 256);
    dt_transform t = plain(DT_TRANSFORM_RANDOM_RESIZED_CROP);
    t.flip = 0;
    t.interpolation = DT_BILINEAR;
    t.scale[0] = 0.25;
    int outside = 0, good = 1;
    double mean = 0, wide = 0, least = 9, most = 0;
    enum { DRAWS = 2000 };
    for (uint64_t seed = 0; seed < DRAWS; seed++) {
        good &= run(&t, &image, seed, got);
        const float *last = got + FLOATS - 3;
        double w = (last[0] - got[0]) * SIZE / (SIZE - 1.0), h = (last[1] - got[1]) * SIZE / (SIZE - 1.0);
        outside += w * h < 0.22 || w * h > 1.03 || w / h < 0.72 || w / h > 1.39;
        mean += w * h / DRAWS;
        wide += log(w / h) / DRAWS;
        least = fmin(least, got[0]);
        most = fmax(most, last[0]);
    }
    ok(good && outside == 0, "random crop: area and ratio in range (%d outside)", outside);
    ok(mean > 0.55 && mean < 0.58, "random crop: mean area %.3f (0.565 by simulation)", mean);
    ok(fabs(wide) < 0.02, "random crop: mean log ratio %.4f is 0", wide);
    ok(least < 0.02 && most > 0.98, "random crop: reaches both sides");
    dt_image_free(&image);
}

static void test_crop_exact(void)
{
    dt_error error;
    dt_image image = paint(50, 50), long_one = paint(200, 20), cut = {0};
    dt_transform t = plain(DT_TRANSFORM_RANDOM_RESIZED_CROP), eval = plain(DT_TRANSFORM_EVAL);
    t.flip = 0;
    t.scale[0] = t.scale[1] = t.ratio[0] = t.ratio[1] = 1;
    ok(run(&t, &image, 3, got) && run(&eval, &image, 0, want) && equal(got, want),
       "random crop of everything is the plain resize");
    t.ratio[0] = 3 / 4.0;
    t.ratio[1] = 4 / 3.0;
    int width = (int)nearbyint(20 * 4 / 3.0), left = (200 - width) / 2; /* torchvision's fallback */
    dt_image_reserve(&cut, width, 20, 3, &error);
    for (int y = 0; y < 20; y++)
        memcpy(cut.pixels + (size_t)y * cut.stride,
               long_one.pixels + (size_t)y * long_one.stride + 3 * (size_t)left, cut.stride);
    dt_transform whole = t;
    whole.ratio[0] = whole.ratio[1] = width / 20.0;
    ok(run(&t, &long_one, 5, got) && run(&whole, &cut, 0, want) && equal(got, want),
       "random crop that never fits falls back to the centre");
    dt_image_free(&image);
    dt_image_free(&long_one);
    dt_image_free(&cut);
}

/* Reduced decoding stays near the whole one; full_decode gives the bits of the pixels. */
static void test_reduced(void)
{
    dt_error error = {""};
    dt_image image = paint(400, 300), decoded = {0};
    uint8_t *jpeg = NULL;
    size_t size;
    bool good = dt_jpeg_encode(&image, 90, true, &jpeg, &size, &error) &&
                dt_jpeg_decode(jpeg, size, &decoded, &error);
    dt_transform t = plain(DT_TRANSFORM_RANDOM_RESIZED_CROP), full = t;
    full.full_decode = true;
    double sum = 0;
    int same = 0, reduced = 0;
    for (uint64_t seed = 0; good && seed < 40; seed++) {
        good =
            dt_transform_jpeg(&full, work, jpeg, size, seed, want, &error) && run(&full, &decoded, seed, got);
        same += equal(got, want);
        good = good && dt_transform_jpeg(&t, work, jpeg, size, seed, got, &error);
        reduced += !equal(got, want);
        for (int i = 0; i < FLOATS; i++)
            sum += fabsf(got[i] - want[i]);
    }
    ok(good && same == 40, "full_decode: a file and its pixels give the same bits (%d of 40) %s", same,
       error.message);
    ok(reduced > 30, "large crops are decoded reduced (%d of 40)", reduced);
    ok(sum / (40.0 * FLOATS) < 3 / 255.0, "reduced decoding: mean difference %.2f levels",
       255 * sum / (40.0 * FLOATS));
    free(jpeg);
    dt_image_free(&image);
    dt_image_free(&decoded);
}

static void test_jitter(void)
{
    dt_image image = paint(48, 48), black = paint(40, 20);
    dt_transform t = plain(DT_TRANSFORM_JITTER), eval = plain(DT_TRANSFORM_EVAL);
    t.flip = t.shift = 0;
    t.scale[0] = t.scale[1] = 1;
    ok(run(&t, &image, 1, got) && run(&eval, &image, 1, want) && equal(got, want),
       "jitter of nothing is the plain resize");
    memset(black.pixels, 0, black.stride * 20);
    t.background[2] = 51;
    int bad = !run(&t, &black, 1, got);
    for (int i = 0; i < SIZE * SIZE; i++) {
        bool inside = i / SIZE >= 8 && i / SIZE < 24;
        bad += got[3 * i] != (inside ? 0 : 1) || !(fabsf(got[3 * i + 2] - (inside ? 0 : 0.2f)) <= 1e-6f);
    }
    ok(bad == 0, "jitter: a wide picture lies across the middle, background above and below (%d wrong)", bad);
    t.scale[0] = 0.5, t.scale[1] = 0.75, t.shift = 0.1;
    double x = 0, y = 0, least = SIZE, most = 0;
    for (uint64_t seed = 0; seed < 500; seed++) {
        run(&t, &black, seed, got);
        double area = 0, sx = 0, sy = 0, wide = 0;
        for (int i = 0; i < SIZE * SIZE; i++) {
            double dark = 1 - (double)got[3 * i];
            area += dark, sx += dark * (i % SIZE), sy += dark * (i / SIZE);
        }
        wide = sqrt(2 * area);
        x += sx / area / 500, y += sy / area / 500, least = fmin(least, wide), most = fmax(most, wide);
    }
    ok(fabs(x - 15.5) < 0.3 && fabs(y - 15.5) < 0.3, "jitter: centred on average (%.2f, %.2f)", x, y);
    ok(least >= 15.4 && least < 17 && most > 23 && most < 24.7, "jitter: widths from 16 to 24 (%.1f .. %.1f)",
       least, most);
    t.shift = 1;
    t.scale[0] = t.scale[1] = 0.01;
    int seen = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        run(&t, &black, seed, got);
        for (int i = 0; i < SIZE * SIZE; i++)
            seen += got[3 * i] == 0;
    }
    ok(seen == 200, "jitter: one pixel always remains (%d of 200)", seen);
    dt_image_free(&image);
    dt_image_free(&black);
}

static int fold(int i)
{
    return i < 0 ? -i : i >= SIZE ? 2 * (SIZE - 1) - i : i;
}

static bool shifted(const float *a, const float *b, int dx, int dy, bool reflect, const float background[3])
{
    for (int y = 0; y < SIZE; y++)
        for (int x = 0; x < SIZE; x++) {
            int sx = x + dx, sy = y + dy;
            bool inside = sx >= 0 && sx < SIZE && sy >= 0 && sy < SIZE;
            const float *from = inside || reflect ? b + 3 * (fold(sy) * SIZE + fold(sx)) : background;
            if (memcmp(a + 3 * (y * SIZE + x), from, 3 * sizeof *a))
                return false;
        }
    return true;
}

static void test_pad_crop(void)
{
    dt_image image = paint(SIZE, SIZE);
    dt_transform t = plain(DT_TRANSFORM_PAD_CROP), eval = plain(DT_TRANSFORM_EVAL);
    t.flip = 0;
    t.padding = 4;
    run(&eval, &image, 0, want);
    for (int reflect = 0; reflect < 2; reflect++) {
        int found = 0, seen[9][9] = {{0}}, distinct = 0;
        t.reflect = reflect;
        for (uint64_t seed = 0; seed < 400; seed++) {
            run(&t, &image, seed, got);
            for (int i = 0; i < 81; i++)
                if (shifted(got, want, i % 9 - 4, i / 9 - 4, reflect, (float[3]){1, 1, 1})) {
                    found++;
                    distinct += !seen[i / 9][i % 9]++;
                }
        }
        ok(found == 400 && distinct > 75,
           "pad and crop, reflect %d: shifts of -4..4 (%d of 400, %d of 81 kinds)", reflect, found, distinct);
    }
    t.padding = 0;
    ok(run(&t, &image, 9, got) && equal(got, want), "pad and crop by nothing is the picture");
    dt_image_free(&image);
}

static void test_colour(void)
{
    dt_image image = paint(40, 40);
    dt_transform t = dt_transform_default(DT_TRANSFORM_PAD_CROP, SIZE);
    t.grayscale = 1;
    int coloured = !run(&t, &image, 1, got);
    for (int i = 0; i < SIZE * SIZE; i++)
        for (int c = 1; c < 3; c++)
            coloured +=
                fabsf((got[3 * i + c] * t.std[c] + t.mean[c]) - (got[3 * i] * t.std[0] + t.mean[0])) > 1e-5f;
    ok(coloured == 0, "grayscale 1: all channels equal before normalisation");
    t.grayscale = 0;
    dt_transform none = t;
    t.colour_jitter = 1;
    run(&none, &image, 1, want);
    run(&t, &image, 1, got);
    near("colour jitter of strength 0 changes nothing", got, want, FLOATS, 1e-5);
    dt_image_free(&image);
}

/* The float transform before its normalisation, whose rounding is known where mean is 0 and std 1. */
static void test_bytes(const dt_image *image)
{
    static uint8_t pixels[FLOATS];
    for (int mode = DT_TRANSFORM_EVAL; mode <= DT_TRANSFORM_PAD_CROP; mode++) {
        dt_transform t = plain((dt_transform_mode)mode), bytes;
        int bad = 0;
        for (uint64_t seed = 0; seed < 60; seed++) {
            t.reflect = seed % 2;
            bytes = t;
            bytes.bytes = true;
            bad += !run(&t, image, seed, got) || !dt_transform_pixels(&bytes, work, image, seed, pixels, NULL);
            for (int i = 0; i < FLOATS; i++)
                bad += got[i] != (float)pixels[i] * (float)(1 / 255.0);
        }
        ok(bad == 0, "mode %d: bytes are the pixels that floats are made of", mode);
        bytes.grayscale = 0.1;
        ok(dt_transform_gives_bytes(&t) && dt_transform_gives_bytes(&bytes) == (mode == DT_TRANSFORM_EVAL),
           "mode %d: no bytes where colours change", mode);
    }
}

static void refuse(dt_transform t, const char *what)
{
    dt_error error = {""};
    ok(!dt_transform_check(&t, &error) && strstr(error.message, what), "refused: %s", error.message);
}

static void test_settings(void)
{
    dt_error error = {""};
    for (int mode = DT_TRANSFORM_EVAL; mode <= DT_TRANSFORM_PAD_CROP; mode++) {
        dt_transform t = dt_transform_default((dt_transform_mode)mode, 224);
        ok(dt_transform_check(&t, &error), "mode %d: the defaults are good %s", mode, error.message);
    }
    dt_transform good = dt_transform_default(DT_TRANSFORM_RANDOM_RESIZED_CROP, 224), t = good;
    refuse((t.size = 0, t), "size");
    refuse((t = good, t.size = 10000, t), "size");
    refuse((t = good, t.std[1] = 0, t), "std");
    refuse((t = good, t.mean[0] = NAN, t), "mean");
    refuse((t = good, t.flip = NAN, t), "flip");
    refuse((t = good, t.flip = 1.5, t), "flip");
    refuse((t = good, t.scale[0] = 0, t), "scale");
    refuse((t = good, t.scale[1] = 1.5, t), "scale");
    refuse((t = good, t.ratio[0] = 2, t), "ratio");
    refuse((t = good, t.hue = 0.6, t), "hue");
    refuse((t = good, t.brightness = -1, t), "brightness");
    refuse((t = good, t.bytes = true, t.colour_jitter = 0.5, t), "colour_jitter is 0.5");
    refuse((t = good, t.mode = (dt_transform_mode)9, t), "mode 9");
    refuse((t = good, t.mode = DT_TRANSFORM_PAD_CROP, t.padding = 224, t), "padding");
    refuse((t = good, t.mode = DT_TRANSFORM_JITTER, t.shift = -1, t), "shift");
}

static void test_extremes(void)
{
    static const int sides[][2] = {{1, 1}, {1, 3000}, {3000, 1}, {2, 5}, {33, 31}, {700, 9}};
    static const int channels[] = {1, 3, 4};
    int good = 0, tried = 0;
    for (int i = 0; i < 6; i++)
        for (int mode = DT_TRANSFORM_EVAL; mode <= DT_TRANSFORM_PAD_CROP; mode++)
            for (int c = 0; c < 3; c++)
                for (int size = 1; size <= SIZE; size += 31) {
                    size_t bytes = (size_t)(sides[i][0] * sides[i][1] * channels[c]);
                    uint8_t *exact = malloc(bytes); /* no slack: a sanitizer sees any access beyond */
                    memset(exact, 100, bytes);
                    dt_image image = dt_image_borrow(exact, sides[i][0], sides[i][1], channels[c]);
                    dt_transform t = dt_transform_default((dt_transform_mode)mode, size);
                    for (int k = 0; k < 3; k++)
                        t.mean[k] = 0, t.std[k] = 1;
                    t.background[0] = t.background[1] = t.background[2] = 100;
                    bool fine = dt_transform_check(&t, NULL) && run(&t, &image, (uint64_t)i, got);
                    for (int k = 0; k < size * size * 3; k++)
                        fine &= fabsf(got[k] - 100 / 255.0f) < 1e-6f;
                    good += fine;
                    tried++;
                    free(exact);
                }
    ok(good == tried, "a flat picture of any shape stays flat in any mode (%d of %d)", good, tried);
    dt_error error = {""};
    dt_transform t = dt_transform_default(DT_TRANSFORM_EVAL, 8192);
    uint8_t *line = calloc(1, 1 << 20);
    dt_image image = dt_image_borrow(line, 1 << 20, 1, 1);
    ok(!dt_transform_pixels(&t, work, &image, 0, got, &error) && strstr(error.message, "long and thin"), "%s",
       error.message);
    image.width = 0;
    ok(!dt_transform_pixels(&t, work, &image, 0, got, &error) && says(error.message, "an image of 0x1 pixels"), "%s", error.message);
    free(line);
}

int main(void)
{
    dt_error error;
    work = dt_transform_scratch_new(&error);
    dt_image image = paint(57, 43);
    test_flip(&image);
    test_repeatable(&image);
    test_resize();
    test_crop_statistics();
    test_crop_exact();
    test_copies();
    test_reduced();
    test_jitter();
    test_pad_crop();
    test_colour();
    test_bytes(&image);
    test_settings();
    test_extremes();
    dt_image_free(&image);
    dt_transform_scratch_free(work);
    return done();
}
