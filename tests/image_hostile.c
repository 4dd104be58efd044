/* PNG input, and files that are broken or made to do harm: one clear line each, no crash, bounded time. */
#include <stdint.h>
#include <time.h>

#include <png.h>

#include "data/file.h"
#include "data/jpeg.h"
#include "data/png.h"
#include "data/transform.h"
#include "tests/tap.h"

typedef struct blob {
    uint8_t *bytes;
    size_t size;
} blob;

static blob read_golden(const char *name)
{
    char path[128];
    blob b = {0};
    snprintf(path, sizeof path, "image/%s.jpg", name);
    const char *at = golden(path);
    if (at)
        b.bytes = (uint8_t *)dt_file_read(at, 1 << 24, &b.size, NULL);
    else
        skip(name, "the fixture is not here");
    return b;
}

static blob copy(blob b, size_t size)
{
    blob c = {malloc(size ? size : 1), size};
    memcpy(c.bytes, b.bytes, size < b.size ? size : b.size);
    return c;
}

static void append(png_structp png, png_bytep from, size_t size)
{
    blob *b = png_get_io_ptr(png);
    b->bytes = realloc(b->bytes, b->size + size);
    memcpy(b->bytes + b->size, from, size);
    b->size += size;
}

/* 5x4 pixels: sample i of the file is i * 7 + 3 (16 bits: times 257 + 2; 1 bit: parity; palette: entry i %
 * 4). */
static blob make_png(int type, int depth, int interlace)
{
    blob b = {0};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(png, &b, append, NULL);
    png_set_IHDR(png, info, 5, 4, depth, type, interlace, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_color palette[4] = {{10, 20, 30}, {200, 100, 0}, {0, 255, 0}, {9, 9, 9}};
    png_byte alpha[2] = {0, 128};
    if (type == PNG_COLOR_TYPE_PALETTE) {
        png_set_PLTE(png, info, palette, 4);
        png_set_tRNS(png, info, alpha, 2, NULL);
    }
    png_write_info(png, info);
    int channels = png_get_channels(png, info);
    uint8_t rows[4][64] = {{0}};
    png_bytep lines[4] = {rows[0], rows[1], rows[2], rows[3]};
    for (int i = 0; i < 20 * channels; i++) {
        int y = i / (5 * channels), x = i % (5 * channels), value = i * 7 % 250 + 3;
        if (depth == 16)
            rows[y][2 * x] = (uint8_t)value, rows[y][2 * x + 1] = (uint8_t)(value + 2);
        else if (depth == 1)
            rows[y][x / 8] |= (uint8_t)((i & 1) << (7 - x % 8));
        else
            rows[y][x] = (uint8_t)(type == PNG_COLOR_TYPE_PALETTE ? i % 4 : value);
    }
    png_write_image(png, lines);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return b;
}

static int over_white(int value, int alpha)
{
    return (int)lrint((value * alpha + 255.0 * (255 - alpha)) / 255);
}

/* What pixel i, channel c of make_png must be in RGB. */
static int expected(int type, int depth, int i, int c)
{
    static const int palette[4][3] = {{10, 20, 30}, {200, 100, 0}, {0, 255, 0}, {9, 9, 9}},
                     alpha[4] = {0, 128, 255, 255};
    if (depth == 1)
        return (i & 1) * 255;
    if (type == PNG_COLOR_TYPE_PALETTE)
        return over_white(palette[i % 4][c], alpha[i % 4]);
    int channels = (type & PNG_COLOR_MASK_COLOR ? 3 : 1) + !!(type & PNG_COLOR_MASK_ALPHA);
    int colour = channels < 3 ? 0 : c;
    int value = (i * channels + colour) * 7 % 250 + 3;
    if (type & PNG_COLOR_MASK_ALPHA)
        return over_white(value, (i * channels + channels - 1) * 7 % 250 + 3);
    return value;
}

static void test_png(void)
{
    static const int kinds[][2] = {
        {PNG_COLOR_TYPE_GRAY, 1},       {PNG_COLOR_TYPE_GRAY, 8},      {PNG_COLOR_TYPE_GRAY, 16},
        {PNG_COLOR_TYPE_RGB, 8},        {PNG_COLOR_TYPE_RGB, 16},      {PNG_COLOR_TYPE_PALETTE, 8},
        {PNG_COLOR_TYPE_GRAY_ALPHA, 8}, {PNG_COLOR_TYPE_RGB_ALPHA, 8}, {PNG_COLOR_TYPE_RGB_ALPHA, 16}};
    dt_error error = {""};
    for (int k = 0; k < 9; k++)
        for (int interlace = 0; interlace < 2; interlace++) {
            blob b = make_png(kinds[k][0], kinds[k][1], interlace);
            dt_image image = {0};
            bool good = dt_image_decode(b.bytes, b.size, &image, &error) && image.width == 5 &&
                        image.height == 4 && image.channels == 3;
            int bad = 0;
            for (int i = 0; good && i < 60; i++)
                bad += image.pixels[i] != expected(kinds[k][0], kinds[k][1], i / 3, i % 3);
            ok(good && bad == 0, "PNG of type %d with %d bits, interlace %d (%d wrong) %s", kinds[k][0],
               kinds[k][1], interlace, bad, error.message);
            int accepted = 0;
            for (size_t cut = 0; cut + 12 < b.size; cut++) { /* the last 12 bytes are the empty end chunk */
                blob part = copy(b, cut);
                accepted += dt_image_decode(part.bytes, part.size, &image, &error) || !*error.message;
                free(part.bytes);
            }
            ok(accepted == 0, "PNG: cut anywhere it is refused (%d accepted)", accepted);
            dt_image_free(&image);
            free(b.bytes);
        }
}

static uint32_t checksum(const uint8_t *bytes, size_t size)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    return ~crc;
}

static void big_endian(uint8_t *to, uint32_t value, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--, value >>= 8)
        to[i] = (uint8_t)value;
}

static void refuse_png(uint32_t width, uint32_t height, const char *what)
{
    blob b = make_png(PNG_COLOR_TYPE_RGB, 8, 0);
    dt_error error = {""};
    dt_image image = {0};
    big_endian(b.bytes + 16, width, 4);
    big_endian(b.bytes + 20, height, 4);
    big_endian(b.bytes + 29, checksum(b.bytes + 12, 17), 4);
    ok(!dt_image_decode(b.bytes, b.size, &image, &error) && strstr(error.message, what), "%ux%u: %s", width,
       height, error.message);
    free(b.bytes);
}

/* Every reader of JPEG must refuse it with a message that holds `what`: "JPEG: " alone where the rest is libjpeg's. */
static void refuse(const char *name, blob b, const char *what)
{
    static float out[32 * 32 * 3];
    dt_error verify = {""}, decode = {""}, transform = {""};
    dt_image image = {0};
    dt_transform t = dt_transform_default(DT_TRANSFORM_EVAL, 32);
    dt_transform_scratch *work = dt_transform_scratch_new(NULL);
    ok(!dt_jpeg_verify(b.bytes, b.size, &verify) && says(verify.message, what), "%s: verify: %s", name,
       verify.message);
    ok(!dt_image_decode(b.bytes, b.size, &image, &decode) && says(decode.message, what), "%s: decode: %s", name,
       decode.message);
    ok(!dt_transform_jpeg(&t, work, b.bytes, b.size, 0, out, &transform) && says(transform.message, what),
       "%s: transform: %s", name, transform.message);
    dt_transform_scratch_free(work);
    dt_image_free(&image);
    free(b.bytes);
}

static size_t find_marker(blob b, int marker, size_t from)
{
    for (size_t i = from; i + 9 < b.size; i++)
        if (b.bytes[i] == 0xff && b.bytes[i + 1] == marker)
            return i;
    return 0;
}

static blob resized(blob b, uint32_t width, uint32_t height)
{
    blob c = copy(b, b.size);
    size_t at = find_marker(c, 0xc0, 2);
    at = at ? at : find_marker(c, 0xc2, 2);
    big_endian(c.bytes + at + 5, height, 2);
    big_endian(c.bytes + at + 7, width, 2);
    return c;
}

static blob text(const char *string)
{
    size_t size = strlen(string);
    return copy((blob){(uint8_t *)string, size}, size);
}

/* The last scan of a progressive file, again and again. */
static blob repeat_last_scan(blob b, int times)
{
    size_t last = 0, next = 0;
    while ((next = find_marker(b, 0xda, next + 1)))
        last = next;
    size_t scan = b.size - 2 - last;
    blob c = copy(b, b.size + scan * (size_t)times);
    for (int i = 0; i <= times; i++)
        memcpy(c.bytes + last + scan * (size_t)i, b.bytes + last, scan);
    memcpy(c.bytes + c.size - 2, "\xff\xd9", 2);
    return c;
}

static void test_refused(void)
{
    blob good = read_golden("rgb_420_odd"), progressive = read_golden("rgb_444_progressive");
    if (!good.bytes || !progressive.bytes) {
        free(good.bytes);
        free(progressive.bytes);
        return;
    }
    refuse("nothing", text(""), "empty");
    refuse("one byte", text("\xff"), "empty");
    refuse("text", text("<html>404 not found</html>"), "a JPEG");
    refuse("only a start", text("\xff\xd8"), "truncated");
    refuse("start and noise", text("\xff\xd8 noise without any marker"), "truncated");
    refuse("half a file", copy(good, good.size / 2), "truncated");
    refuse("half a progressive file", copy(progressive, progressive.size / 2), "truncated");
    refuse("headers only", copy(good, find_marker(good, 0xda, 0)), "truncated");
    refuse("0x0", resized(good, 0, 0), "JPEG: ");
    refuse("width 0", resized(good, 0, 65), "JPEG: ");
    refuse("60000x60000", resized(good, 60000, 60000), "too many");
    refuse("13000x13000", resized(good, 13000, 13000), "cannot hold");
    refuse("larger than its data", resized(good, 163, 165), "truncated");
    blob two = copy(good, good.size), deep = copy(good, good.size);
    deep.bytes[find_marker(deep, 0xc0, 2) + 4] = 12;
    refuse("12 bits", deep, "precision");
    two.bytes[find_marker(two, 0xc0, 2) + 9] = 2;
    refuse("2 components in a frame of 3", two, "JPEG: ");
    refuse("1000 scans", repeat_last_scan(progressive, 1000), "JPEG: ");
    dt_error error = {""};
    blob scans = repeat_last_scan(progressive, 1000);
    dt_image image = {0};
    ok(!dt_jpeg_decode(scans.bytes, scans.size, &image, &error) && strstr(error.message, "scan 101"),
       "scan bomb: %s", error.message);
    dt_image_free(&image);
    free(scans.bytes);
    refuse_png(60000, 60000, "too many");
    refuse_png(100000, 1, "too many");
    refuse_png(9000, 9000, "cannot hold");
    refuse_png(0, 4, "PNG");
    free(good.bytes);
    free(progressive.bytes);
}

/* What only the strict check refuses: the picture is whole to the eye, the file is not sound. */
static void test_verify(void)
{
    blob good = read_golden("rgb_444"), bad;
    dt_error error = {""};
    dt_image image = {0};
    if (!good.bytes)
        return;
    bad = copy(good, good.size + 40); /* a few bytes more would be taken for the padding of the last code */
    memset(bad.bytes + good.size - 2, 'a', 40);
    memcpy(bad.bytes + bad.size - 2, "\xff\xd9", 2);
    ok(!dt_jpeg_verify(bad.bytes, bad.size, &error) && strstr(error.message, "extraneous"), "stray bytes: %s",
       error.message);
    ok(dt_jpeg_decode(bad.bytes, bad.size, &image, NULL), "stray bytes: decodes all the same");
    free(bad.bytes);
    bad = copy(good, good.size - 2);
    ok(!dt_jpeg_verify(bad.bytes, bad.size, &error) && strstr(error.message, "truncated"),
       "no end marker: %s", error.message);
    free(bad.bytes);
    bad = copy(good, good.size + 1000);
    memset(bad.bytes + good.size, 7, 1000);
    ok(dt_jpeg_verify(bad.bytes, bad.size, &error), "bytes after the end are no harm %s", error.message);
    free(bad.bytes);
    dt_image_free(&image);
    free(good.bytes);
}

static uint32_t state = 2024;
static uint32_t draw(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return below ? state % below : 0;
}

static blob mutate(blob b)
{
    blob c = copy(b, b.size);
    for (uint32_t i = 1 + draw(8); i; i--)
        switch (draw(4)) {
        case 0:
            c.bytes[draw((uint32_t)c.size)] ^= (uint8_t)(1u << draw(8));
            break;
        case 1:
            c.bytes[draw((uint32_t)c.size)] = (uint8_t)draw(256);
            break;
        case 2: /* the headers, where it hurts */
            c.bytes[draw(c.size < 700 ? (uint32_t)c.size : 700)] = draw(2) ? 0xff : (uint8_t)draw(256);
            break;
        default:
            c.size -= draw(16) ? 0 : draw((uint32_t)c.size);
            if (!c.size)
                c.size = 1;
        }
    return c;
}

static void test_fuzz(void)
{
    static const char *const names[] = {
        "rgb_444",    "rgb_420_odd",     "gray_progressive", "rgb_444_progressive", "cmyk_adobe",
        "ycck_adobe", "rgb_440_restart", "rgb_411",          "tiny_5x3_420",        "exif_orientation_6"};
    static float out[32 * 32 * 3];
    dt_transform t = dt_transform_default(DT_TRANSFORM_RANDOM_RESIZED_CROP, 32);
    dt_transform_scratch *work = dt_transform_scratch_new(NULL);
    dt_image image = {0};
    int silent = 0, unsound = 0, whole = 0, rounds = 0;
    clock_t start = clock();
    for (int n = 0; n < 10; n++) {
        blob b = read_golden(names[n]);
        for (int i = 0; b.bytes && i < 300; i++, rounds++) {
            blob c = mutate(b);
            blob exact = copy(c, c.size); /* its end is the end of the allocation */
            dt_error first = {""}, second = {""}, third = {""};
            bool verified = dt_jpeg_verify(exact.bytes, exact.size, &first);
            bool decoded = dt_image_decode(exact.bytes, exact.size, &image, &second);
            bool made = dt_transform_jpeg(&t, work, exact.bytes, exact.size, (uint64_t)i, out, &third);
            unsound += verified && (!decoded || !made);
            silent += (!verified && !*first.message) || (!decoded && !*second.message) ||
                      (!made && !*third.message);
            whole += verified;
            free(c.bytes);
            free(exact.bytes);
        }
        free(b.bytes);
    }
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    ok(silent == 0, "%d broken files: each refusal says why", rounds);
    ok(unsound == 0, "broken files: what verify passes, decodes (%d passed)", whole);
    ok(seconds < 60, "broken files: in bounded time (%.1f s)", seconds);
    dt_image_free(&image);
    dt_transform_scratch_free(work);
}

static void test_fuzz_png(void)
{
    dt_image image = {0};
    int silent = 0;
    for (int i = 0; i < 600; i++) {
        blob b = make_png(i % 3 == 0   ? PNG_COLOR_TYPE_RGB
                          : i % 3 == 1 ? PNG_COLOR_TYPE_PALETTE
                                       : PNG_COLOR_TYPE_RGB_ALPHA,
                          8, i & 1);
        blob c = mutate(b);
        dt_error error = {""};
        silent += !dt_image_decode(c.bytes, c.size, &image, &error) && !*error.message;
        free(b.bytes);
        free(c.bytes);
    }
    ok(silent == 0, "600 broken PNG files: each refusal says why");
    dt_image_free(&image);
}

int main(void)
{
    test_png();
    test_refused();
    test_verify();
    test_fuzz();
    test_fuzz_png();
    return done();
}
