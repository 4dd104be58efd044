/* Sheets of pictures, pixel by pixel, and scatter plots. */
#include "data/file.h"
#include "data/png.h"
#include "data/scatter.h"
#include "data/sheet.h"
#include "tests/tap.h"

enum { GAP = 128 };

static dt_error error;

static const uint8_t *at(const dt_image *image, int x, int y)
{
    return image->pixels + (size_t)y * image->stride + (size_t)x * 3;
}

static bool is(const dt_image *image, int x, int y, int r, int g, int b)
{
    const uint8_t *p = at(image, x, y);
    bool good = p[0] == r && p[1] == g && p[2] == b;
    if (!good)
        printf("# at %d, %d: got %d %d %d, want %d %d %d\n", x, y, p[0], p[1], p[2], r, g, b);
    return good;
}

/* Three grey pictures of 2 x 1 pixels in two columns, magnified twice: by hand, a letter a pixel (. is the gap). */
static void check_grid(void)
{
    static const float floats[] = {0, 1, 0.5f, 0.25f, 2, -3};
    static const uint8_t bytes[] = {0, 255, 128, 64, 255, 0};
    static const char *const want[] = {
        "..............", "..............", "..aabb..ccdd..", "..aabb..ccdd..", "..............",
        "..............", "..bbaa........", "..bbaa........", "..............", "..............",
    };
    dt_sheet sheet = {.floats = floats, .count = 3, .height = 1, .width = 2, .channels = 1, .columns = 2, .zoom = 2};
    for (int kind = 0; kind < 2; kind++) {
        dt_image image = {0};
        bool good = dt_sheet_draw(&sheet, &image, &error) && image.width == 14 && image.height == 10 && image.channels == 3;
        for (int y = 0; good && y < 10; y++)
            for (int x = 0; good && x < 14; x++) {
                char c = want[y][x];
                int shade = c == 'a' ? 0 : c == 'b' ? 255 : c == 'c' ? 128 : c == 'd' ? 64 : GAP;
                good = is(&image, x, y, shade, shade, shade);
            }
        ok(good, "a grid of %s, pixel by pixel; floats outside are clamped", kind ? "bytes" : "floats");
        dt_image_free(&image);
        sheet.floats = NULL;
        sheet.bytes = bytes;
    }
}

static void check_colours(void)
{
    const float floats[] = {-1, 0, 1, 1, NAN, 0, INFINITY, -INFINITY, -0.5f, -1, -1, -1};
    dt_image image = {0};
    dt_sheet sheet = {.floats = floats, .low = -1, .high = 1, .count = 1, .height = 2, .width = 2, .channels = 3, .zoom = 1};
    ok(dt_sheet_draw(&sheet, &image, &error) && image.width == 6 && image.height == 6 && is(&image, 2, 2, 0, 128, 255) &&
           is(&image, 3, 2, 255, 0, 255) && is(&image, 2, 3, 255, 0, 64) && is(&image, 3, 3, 0, 0, 0) &&
           is(&image, 1, 1, GAP, GAP, GAP) && is(&image, 4, 4, GAP, GAP, GAP),
       "-1 to 1: colours, a NaN is magenta, infinities are clamped");
    const float grey[] = {NAN};
    sheet = (dt_sheet){.floats = grey, .count = 1, .height = 1, .width = 1, .channels = 1, .zoom = 3};
    ok(dt_sheet_draw(&sheet, &image, &error) && image.width == 7 && is(&image, 2, 2, 255, 0, 255) &&
           is(&image, 4, 4, 255, 0, 255) && is(&image, 5, 5, GAP, GAP, GAP),
       "also in a grey picture");
    dt_image_free(&image);
}

/* Two rows of pairs: the originals are white, what is below them black. */
static void check_pairs(void)
{
    const float above[] = {1, 1, 1}, below[] = {0, 0, 0};
    dt_image image = {0};
    dt_sheet sheet = {
        .floats = above, .below = below, .count = 3, .height = 1, .width = 1, .channels = 1, .columns = 2, .zoom = 4};
    int second = 2 + 4 + 2 + 4 + DT_SHEET_PAIR_GAP;
    ok(dt_sheet_draw(&sheet, &image, &error) && image.width == 14 && image.height == second + 4 + 2 + 4 + 2 &&
           is(&image, 2, 2, 255, 255, 255) && is(&image, 2, 6, GAP, GAP, GAP) && is(&image, 2, 8, 0, 0, 0) &&
           is(&image, 11, 11, 0, 0, 0) && is(&image, 2, 12, GAP, GAP, GAP) && is(&image, 2, second - 1, GAP, GAP, GAP) &&
           is(&image, 2, second, 255, 255, 255) && is(&image, 2, second + 6, 0, 0, 0) && is(&image, 8, second, GAP, GAP, GAP),
       "each picture of the second set stands under its partner");
    dt_image_free(&image);
}

/* The size of a sheet that magnifies itself. */
static void check_size(size_t count, int side, int columns, bool pairs, int width, int height)
{
    float *floats = calloc(count * (size_t)side * (size_t)side, sizeof *floats);
    dt_image image = {0};
    dt_sheet sheet = {.floats = floats, .count = count, .height = side, .width = side, .channels = 1, .columns = columns};
    sheet.below = pairs ? floats : NULL;
    ok(dt_sheet_draw(&sheet, &image, &error) && image.width == width && image.height == height, "%zu %s of %d pixels: %dx%d",
       count, pairs ? "pairs" : "pictures", side, image.width, image.height);
    dt_image_free(&image);
    free(floats);
}

static void check_sizes(void)
{
    check_size(64, 28, 0, false, 8 * (3 * 28 + 2) + 2, 8 * (3 * 28 + 2) + 2);
    check_size(100, 32, 0, false, 10 * (2 * 32 + 2) + 2, 10 * (2 * 32 + 2) + 2);
    check_size(10, 28, 20, false, 10 * (3 * 28 + 2) + 2, 3 * 28 + 4);
    check_size(100, 28, 1, false, 32, 100 * 30 + 2); /* higher than the limit as it is: not magnified */
    check_size(20, 28, 1, false, 3 * 28 + 4, 20 * (3 * 28 + 2) + 2);
    check_size(2, 1000, 0, false, 2 * 1002 + 2, 1004);
    check_size(8, 28, 0, true, 4 * (7 * 28 + 2) + 2, 2 * (2 * 7 * 28 + 2) + 8 + 4);
    check_size(1, 1, 0, false, 68, 68);
}

static void refused(dt_sheet sheet, const char *part)
{
    dt_image image = {0};
    error.message[0] = 0;
    ok(!dt_sheet_draw(&sheet, &image, &error) && strstr(error.message, part) && !image.pixels, "refused: %s", error.message);
}

static void check_refusals(void)
{
    static const float x[12];
    static const uint8_t b[12];
    const dt_sheet good = {.floats = x, .count = 1, .height = 2, .width = 2, .channels = 1};
    dt_sheet s;
    s = good, s.count = 0, refused(s, "a sheet of 0 pictures");
    s = good, s.count = SIZE_MAX, refused(s, "expected 1 to 1048576");
    s = good, s.bytes = b, refused(s, "one of the two");
    s = good, s.floats = NULL, refused(s, "one of the two");
    s = good, s.floats = NULL, s.bytes = b, s.below = x, refused(s, "one of the two");
    s = good, s.width = 0, refused(s, "pictures of 0x2 pixels");
    s = good, s.height = 70000, refused(s, "expected sides of 1 to 65500");
    s = good, s.channels = 2, refused(s, "with 2 channels");
    s = good, s.low = 1, s.high = -1, refused(s, "from 1 to -1 are no range");
    s = good, s.high = NAN, refused(s, "are no range");
    s = good, s.columns = -1, refused(s, "a sheet of -1 columns");
    s = good, s.zoom = 65, refused(s, "magnified 65 times");
    s = good, s.count = 1 << 20, s.columns = 1, refused(s, "pixels is too large");
    s = good, s.width = s.height = 60000, refused(s, "a sheet of 60004x60004 pixels is too large");
    s = good, s.width = s.height = 65500, s.zoom = 64, s.count = 1 << 20, refused(s, "is too large");
}

static void check_file(void)
{
    static const float x[] = {0, 0.2f, 0.4f, 1};
    const char *path = in("sheet.png");
    dt_sheet sheet = {.floats = x, .count = 2, .height = 1, .width = 2, .channels = 1};
    dt_image drawn = {0}, read = {0};
    dt_map map = {0};
    ok(dt_sheet_write(path, &sheet, &error) && dt_sheet_draw(&sheet, &drawn, &error) && dt_map_open(&map, path, &error) &&
           dt_png_decode(map.data, map.size, &read, &error) && read.width == drawn.width && read.height == drawn.height &&
           !memcmp(read.pixels, drawn.pixels, drawn.stride * (size_t)drawn.height),
       "the file holds what is drawn %s", error.message);
    sheet.count = 0;
    ok(!dt_sheet_write(path, &sheet, &error) && dt_file_exists(path), "a refused one leaves the old file");
    dt_map_close(&map);
    dt_image_free(&drawn);
    dt_image_free(&read);
}

/* ---- scatter plots ---- */

static size_t coloured(const dt_image *image, int from, int to, bool blue)
{
    size_t count = 0;
    for (int y = 0; y < image->height; y++)
        for (int x = from; x < to; x++) {
            const uint8_t *p = at(image, x, y);
            bool grey = p[0] == p[1] && p[1] == p[2];
            count += blue ? !grey && p[2] > p[0] : grey && p[0] != 255 && p[0] != GAP;
        }
    return count;
}

static void check_scatter(void)
{
    /* one real point in the middle; a generated one in the upper right quarter, and three that are not seen */
    const float real[] = {0, 0}, generated[] = {1, 1, 5, 0, NAN, 0, 0, -INFINITY};
    const dt_scatter two[] = {{real, generated, 1, 4, -2, 2}, {NULL, generated, 0, 0, -2, 2}};
    const int side = 80;
    dt_image image = {0};
    ok(dt_scatter_draw(two, 2, 0, side, &image, &error) && image.width == 2 * side + 6 && image.height == side + 4,
       "two plots side by side %s", error.message);
    const uint8_t *middle = at(&image, 2 + side / 2, 2 + side / 2), *quarter = at(&image, 2 + 60, 2 + 20);
    ok(middle[0] == middle[2] && middle[0] > 150 && middle[0] < 230 && quarter[2] > quarter[0] && quarter[0] < 220,
       "grey in the middle, blue up to the right; white shines through");
    ok(is(&image, 2 + 20, 2 + 60, 255, 255, 255) && is(&image, 2, 2, 255, 255, 255), "white elsewhere");
    size_t blue = coloured(&image, 0, side + 2, true), grey = coloured(&image, 2, side + 2, false);
    ok(blue >= 4 && blue <= 16 && grey >= 4 && grey <= 16, "one small dot each: %zu and %zu pixels", blue, grey);
    ok(!coloured(&image, side + 4, image.width, true) && !coloured(&image, side + 4, image.width, false),
       "the second one is empty");
    ok(dt_scatter_draw(two, 2, 1, side, &image, &error) && image.width == side + 4 && image.height == 2 * side + 6,
       "one above the other");
    const char *path = in("ring.png");
    ok(dt_scatter_write(path, two, 2, 0, 300, &error) && dt_file_exists(path), "as a file %s", error.message);
    dt_image_free(&image);
}

/* Dots on the edges and corners stay in their square. */
static void check_bounds(void)
{
    const float points[] = {-1, -1, 1, 1, -1, 1, 1, -1, 0, 1, 1, 0, 0, -1, -1, 0, -1, -1};
    dt_image image = {0};
    for (int side = 1; side <= 700; side = side * 3 + 1) {
        const dt_scatter s[] = {{points, points, 9, 9, -1, 1}, {0}, {points, NULL, 9, 0, -1, 1}};
        dt_scatter three[] = {s[0], {.low = -1, .high = 1}, s[2]};
        bool good = dt_scatter_draw(three, 3, 0, side, &image, &error);
        ok(good && !coloured(&image, side + 4, 2 * side + 4, true) && !coloured(&image, side + 4, 2 * side + 4, false) &&
               is(&image, side + 2, 2, GAP, GAP, GAP),
           "dots at the edges of %d pixels stay inside", side);
    }
    dt_scatter bad = {.low = 1, .high = 1};
    ok(!dt_scatter_draw(&bad, 1, 0, 10, &image, &error) && strstr(error.message, "1 to 1 is no range"), "refused: %s",
       error.message);
    bad.high = INFINITY;
    ok(!dt_scatter_draw(&bad, 1, 0, 10, &image, &error) && says(error.message, "1 to inf is no range"), "refused: %s", error.message);
    ok(!dt_scatter_draw(&bad, 0, 0, 10, &image, &error) && strstr(error.message, "0 scatter plots"), "refused: %s",
       error.message);
    ok(!dt_scatter_draw(&bad, 1, 0, 2001, &image, &error) && strstr(error.message, "2001 pixels"), "refused: %s",
       error.message);
    dt_image_free(&image);
}

int main(void)
{
    check_grid();
    check_colours();
    check_pairs();
    check_sizes();
    check_refusals();
    check_file();
    check_scatter();
    check_bounds();
    return done();
}
