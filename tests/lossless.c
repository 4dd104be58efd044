/* Lossless stores: what goes in comes out to the pixel, through every reader; and damaged PNG in a store. */
#include <png.h>
#include <zlib.h>

#include "data/file.h"
#include "data/jpeg.h"
#include "data/loader.h"
#include "data/pack.h"
#include "data/png.h"
#include "eval/report/pictures.h"
#include "tests/tap.h"

enum { SIDE = 6, DIGITS = 5, CIFAR_SIDE = 32, CIFAR = 4 };

static dt_error error;

static uint8_t noise(int i)
{
    return (uint8_t)((unsigned)(i + 1) * 2654435761u >> 13);
}

/* ---- files ---- */

typedef struct blob {
    uint8_t *bytes;
    size_t size;
} blob;

static void append(png_structp png, png_bytep from, size_t size)
{
    blob *b = png_get_io_ptr(png);
    b->bytes = realloc(b->bytes, b->size + size);
    memcpy(b->bytes + b->size, from, size);
    b->size += size;
}

/* 7x5 pixels of noise; with `clear` one grey or colour is transparent. */
static blob make_png(int type, int depth, int interlace, bool clear)
{
    blob b = {0};
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(png, &b, append, NULL);
    png_set_IHDR(png, info, 7, 5, depth, type, interlace, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_color palette[2] = {{10, 20, 30}, {200, 100, 0}};
    if (type == PNG_COLOR_TYPE_PALETTE)
        png_set_PLTE(png, info, palette, 2);
    if (clear)
        png_set_tRNS(png, info, NULL, 0, &(png_color_16){.gray = noise(0), .red = noise(0)});
    png_write_info(png, info);
    uint8_t rows[5][7 * 8];
    png_bytep lines[5];
    for (int y = 0; y < 5; y++) {
        lines[y] = rows[y];
        for (int x = 0; x < 7 * 8; x++)
            rows[y][x] = type == PNG_COLOR_TYPE_PALETTE ? noise(y * 56 + x) & 1 : noise(y * 56 + x);
    }
    png_write_image(png, lines);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    return b;
}

static uint8_t digit_pixel(int digit, int at)
{
    return noise(digit * SIDE * SIDE + at);
}

/* Channel c of pixel `at`, as the binary files of CIFAR have it: plane by plane. */
static uint8_t cifar_pixel(int picture, int at, int c)
{
    return noise((picture * 3 + c) * CIFAR_SIDE * CIFAR_SIDE + at);
}

static void write_digits(void)
{
    uint8_t images[16 + DIGITS * SIDE * SIDE] = {0, 0, 8, 3, 0, 0, 0, DIGITS, 0, 0, 0, SIDE, 0, 0, 0, SIDE};
    uint8_t labels[8 + DIGITS] = {0, 0, 8, 1, 0, 0, 0, DIGITS, 0, 1, 2, 3, 4};
    for (int i = 0; i < DIGITS * SIDE * SIDE; i++)
        images[16 + i] = noise(i);
    put("images-idx3", images, sizeof images);
    put("labels-idx1", labels, sizeof labels);
}

static void write_cifar(void)
{
    enum { PLANE = CIFAR_SIDE * CIFAR_SIDE, RECORD = 1 + 3 * PLANE };
    uint8_t *records = calloc(CIFAR, RECORD);
    for (int i = 0; i < CIFAR; i++)
        for (int k = 0; k < 3 * PLANE; k++)
            records[i * RECORD + 1 + k] = noise(i * 3 * PLANE + k);
    put("cifar.bin", records, CIFAR * RECORD);
    free(records);
}

static dt_pairs *pack(const char *from, const char *path, const char *store, bool lossless)
{
    dt_source *source = dt_source_open(from, &path, 1, NULL, &error);
    dt_pack_summary summary;
    bool good = source && dt_pack(source, store, &path, 1,
                                  &(dt_pack_options){.lossless = lossless, .strict = true, .threads = 2}, &summary, &error);
    if (source)
        source->close(source);
    return good ? dt_pairs_open(store, &error) : NULL;
}

/* ---- what is stored ---- */

static const struct {
    int type, depth, interlace;
    bool clear, untouched;
    int stored; /* type */
} kinds[] = {
    {PNG_COLOR_TYPE_GRAY, 8, 0, false, true, PNG_COLOR_TYPE_GRAY},
    {PNG_COLOR_TYPE_GRAY, 8, 1, false, true, PNG_COLOR_TYPE_GRAY},
    {PNG_COLOR_TYPE_RGB, 8, 0, false, true, PNG_COLOR_TYPE_RGB},
    {PNG_COLOR_TYPE_GRAY, 8, 0, true, false, PNG_COLOR_TYPE_GRAY},
    {PNG_COLOR_TYPE_RGB, 8, 0, true, false, PNG_COLOR_TYPE_RGB},
    {PNG_COLOR_TYPE_GRAY, 1, 0, false, false, PNG_COLOR_TYPE_GRAY},
    {PNG_COLOR_TYPE_GRAY, 16, 0, false, false, PNG_COLOR_TYPE_GRAY},
    {PNG_COLOR_TYPE_GRAY_ALPHA, 8, 0, false, false, PNG_COLOR_TYPE_GRAY},
    {PNG_COLOR_TYPE_RGB_ALPHA, 8, 0, false, false, PNG_COLOR_TYPE_RGB},
    {PNG_COLOR_TYPE_RGB, 16, 1, false, false, PNG_COLOR_TYPE_RGB},
    {PNG_COLOR_TYPE_PALETTE, 8, 0, false, false, PNG_COLOR_TYPE_RGB},
};
enum { KINDS = sizeof kinds / sizeof kinds[0] };

static bool same_pixels(const uint8_t *a, size_t a_size, const uint8_t *b, size_t b_size)
{
    dt_image x = {0}, y = {0};
    bool same = dt_image_decode(a, a_size, &x, &error) && dt_image_decode(b, b_size, &y, &error) && x.width == y.width &&
                x.height == y.height && !memcmp(x.pixels, y.pixels, 3 * (size_t)x.width * (size_t)x.height);
    dt_image_free(&x);
    dt_image_free(&y);
    return same;
}

static void check_kind(const dt_pairs *pairs, int k, const blob *file)
{
    dt_pair pair;
    bool good = dt_pairs_get(pairs, (uint64_t)k, &pair, &error) && dt_is_png(pair.jpeg, pair.jpeg_size);
    bool same = good && pair.jpeg_size == file->size && !memcmp(pair.jpeg, file->bytes, file->size);
    ok(good && same == kinds[k].untouched, "PNG of type %d with %d bits%s: the file is %s", kinds[k].type, kinds[k].depth,
       kinds[k].clear ? " and a clear colour" : "", kinds[k].untouched ? "untouched" : "another");
    ok(good && pair.width == 7 && pair.height == 5 && pair.jpeg[24] == 8 && pair.jpeg[25] == kinds[k].stored &&
           same_pixels(pair.jpeg, pair.jpeg_size, file->bytes, file->size),
       "with the pixels that it decodes to, type %d", kinds[k].stored);
}

static void kinds_of_files(void)
{
    blob files[KINDS], jpeg;
    char name[64];
    dt_make_directories(in("files/thing"), &error);
    for (int k = 0; k < KINDS; k++) {
        files[k] = make_png(kinds[k].type, kinds[k].depth, kinds[k].interlace, kinds[k].clear);
        snprintf(name, sizeof name, "files/thing/%02d.png", k);
        put(name, files[k].bytes, files[k].size);
    }
    uint8_t pixels[12 * 12 * 3];
    for (int i = 0; i < 12 * 12 * 3; i++)
        pixels[i] = noise(i);
    dt_image image = dt_image_borrow(pixels, 12, 12, 3);
    dt_jpeg_encode(&image, 80, false, &jpeg.bytes, &jpeg.size, &error);
    put("files/thing/99.jpg", jpeg.bytes, jpeg.size);
    dt_pairs *pairs = pack("folder", in("files"), in("files.lmdb"), true);
    if (ok(pairs && dt_pairs_count(pairs) == KINDS + 1, "a folder is packed %s", error.message)) {
        for (int k = 0; k < KINDS; k++)
            check_kind(pairs, k, &files[k]);
        dt_pair pair;
        ok(dt_pairs_get(pairs, KINDS, &pair, &error) && pair.jpeg_size == jpeg.size &&
               !memcmp(pair.jpeg, jpeg.bytes, jpeg.size),
           "a JPEG is untouched");
        ok(json_integer_value(json_object_get(dt_pairs_meta(pairs), "lossless")) == KINDS, "the meta record counts them");
    }
    dt_pairs_close(pairs);
    pairs = pack("folder", in("files"), in("lossy.lmdb"), false);
    dt_pair pair;
    ok(pairs && dt_pairs_get(pairs, 0, &pair, &error) && pair.jpeg[0] == 0xff &&
           !json_object_get(dt_pairs_meta(pairs), "lossless"),
       "unless it is asked for a PNG becomes a JPEG");
    dt_pairs_close(pairs);
    for (int k = 0; k < KINDS; k++)
        free(files[k].bytes);
    free(jpeg.bytes);
}

/* ---- what comes out ---- */

static dt_loader_options plain(const dt_pairs *pairs, dt_transform_mode mode, int size)
{
    dt_loader_options o = {.pairs = pairs, .batch_size = 1, .epochs = 1, .transform = dt_transform_default(mode, size)};
    for (int c = 0; c < 3; c++)
        o.transform.mean[c] = 0, o.transform.std[c] = 1;
    return o;
}

static float unit(uint8_t byte)
{
    return (float)byte * (float)(1 / 255.0);
}

static void digits(void)
{
    dt_pairs *pairs = pack("idx", in("images-idx3"), in("digits.lmdb"), true);
    dt_pair pair;
    if (!ok(pairs && dt_pairs_get(pairs, 0, &pair, &error) && pair.jpeg[25] == PNG_COLOR_TYPE_GRAY,
            "digits are grey in the store %s", error.message))
        return;
    for (int variant = 0; variant < 4; variant++) {
        dt_loader_options o = plain(pairs, DT_TRANSFORM_EVAL, SIDE);
        o.cache_bytes = variant & 1 ? 1 << 20 : 0, o.threads = variant & 2, o.epochs = 2;
        dt_loader *loader = dt_loader_open(&o, &error);
        dt_batch b;
        int seen = 0, wrong = 0;
        while (dt_loader_next(loader, &b, &error) && b.count) {
            int digit = seen++ % DIGITS;
            wrong += b.labels[0] != digit;
            for (int i = 0; i < 3 * SIDE * SIDE; i++)
                wrong += b.images[i] != unit(digit_pixel(digit, i / 3));
        }
        ok(seen == 2 * DIGITS && wrong == 0, "digits come out exactly, r = g = b: %s cache, %d threads (%d wrong) %s",
           variant & 1 ? "with a" : "no", o.threads, wrong, error.message);
        if (variant & 1)
            ok(dt_loader_get_stats(loader).cached < DIGITS * (SIDE * SIDE + 40), "kept as one channel");
        dt_loader_close(loader);
    }
    dt_pairs_close(pairs);
}

/* Whether a batch of one is picture `number`, perhaps mirrored. */
static bool is_cifar(const float *got, int number, bool mirror)
{
    for (int y = 0; y < CIFAR_SIDE; y++)
        for (int x = 0; x < CIFAR_SIDE; x++)
            for (int c = 0; c < 3; c++) {
                int from = mirror ? CIFAR_SIDE - 1 - x : x;
                if (*got++ != unit(cifar_pixel(number, y * CIFAR_SIDE + from, c)))
                    return false;
            }
    return true;
}

static void flips_only(void)
{
    dt_pairs *pairs = pack("cifar", in("cifar.bin"), in("cifar.lmdb"), true);
    for (int cached = 0; pairs && cached < 2; cached++) {
        dt_loader_options o = plain(pairs, DT_TRANSFORM_PAD_CROP, CIFAR_SIDE);
        o.transform.padding = 0, o.epochs = 20, o.cache_bytes = cached ? 1 << 20 : 0;
        dt_loader *loader = dt_loader_open(&o, &error);
        dt_batch b;
        int as_it_is = 0, mirrored = 0;
        while (dt_loader_next(loader, &b, &error) && b.count) {
            as_it_is += is_cifar(b.images, (int)b.indices[0], false);
            mirrored += is_cifar(b.images, (int)b.indices[0], true);
        }
        ok(as_it_is + mirrored == 20 * CIFAR && as_it_is > 20 && mirrored > 20,
           "colour comes out exactly, %d as it is and %d mirrored, cache %d", as_it_is, mirrored, cached);
        dt_loader_close(loader);
    }
    ok(pairs != NULL, "colour %s", error.message);
    dt_pairs_close(pairs);
}

static void pictures_in_pages(void)
{
    size_t size = 0;
    dt_pictures *pictures = dt_pictures_new(scratch());
    dt_writer *writer = dt_writer_open(in("page"), &error);
    bool written = dt_picture_write(pictures, writer, in("digits.lmdb"), 0, "a digit");
    dt_writer_commit(writer, &error);
    char *page = dt_file_read(in("page"), 1 << 20, NULL, &error);
    ok(written && page && strstr(page, "src=\"data:image/png;base64,iVBOR"), "a page holds the PNG as what it is");
    uint8_t *small = dt_picture_small(pictures, in("digits.lmdb"), 1, 4, &size);
    ok(small && size > 2 && small[0] == 0xff && small[1] == 0xd8, "a thumbnail is a JPEG");
    free(small);
    free(page);
    dt_pictures_free(pictures);
}

/* ---- damage ---- */

static void big_endian(uint8_t *to, uint32_t value)
{
    for (int i = 3; i >= 0; i--, value >>= 8)
        to[i] = (uint8_t)value;
}

/* A store of this one file. */
static dt_pairs *store_of(const uint8_t *bytes, size_t size)
{
    dt_pairs_writer *writer = dt_pairs_create(in("damaged.lmdb"), true, &error);
    const dt_pair_input pair = {.jpeg = bytes, .jpeg_size = size, .width = 7, .height = 5, .label = -1, .weight = 1};
    if (!writer || !dt_pairs_add(writer, &pair, &error)) {
        dt_pairs_abort(writer);
        return NULL;
    }
    return dt_pairs_finish(writer, NULL, 0, NULL, 0, NULL, &error) ? dt_pairs_open(in("damaged.lmdb"), &error) : NULL;
}

static void stops(const uint8_t *bytes, size_t size, const char *what)
{
    dt_pairs *pairs = store_of(bytes, size);
    for (int cached = 0; cached < 2; cached++) {
        dt_loader_options o = {.pairs = pairs, .batch_size = 1, .cache_bytes = cached ? 1 << 20 : 0};
        o.transform = dt_transform_default(DT_TRANSFORM_EVAL, 5);
        dt_loader *loader = pairs ? dt_loader_open(&o, &error) : NULL;
        dt_batch b;
        ok(loader && !dt_loader_next(loader, &b, &error) &&
               !strncmp(error.message, "pair 0 (sample 0 of epoch 0): PNG: ", 35),
           "%s, cache %d: %s", what, cached, error.message);
        dt_loader_close(loader);
    }
    dt_pairs_close(pairs);
}

static void damage(void)
{
    enum { HEADER = 8, WIDTH = 16, HEIGHT = 20, CHECKSUM = 29, DATA = 41 };
    blob b = make_png(PNG_COLOR_TYPE_GRAY, 8, 0, false);
    stops(b.bytes, b.size / 2, "a PNG that is torn");
    stops(b.bytes, 8, "its signature alone");
    b.bytes[DATA + 9] ^= 1;
    stops(b.bytes, b.size, "a changed byte");
    b.bytes[DATA + 9] ^= 1;
    const uint32_t sides[][2] = {{70000, 5}, {60000, 60000}, {12000, 12000}, {0, 5}};
    for (int i = 0; i < 4; i++) {
        big_endian(b.bytes + WIDTH, sides[i][0]);
        big_endian(b.bytes + HEIGHT, sides[i][1]);
        big_endian(b.bytes + CHECKSUM, (uint32_t)crc32(0, b.bytes + HEADER + 4, 17));
        stops(b.bytes, b.size, "a picture that cannot be");
    }
    ok(!store_of(b.bytes, 7) && strstr(error.message, "not a JPEG or PNG"), "half a signature is no PNG");
    free(b.bytes);
}

int main(void)
{
    write_digits();
    write_cifar();
    kinds_of_files();
    digits();
    flips_only();
    pictures_in_pages();
    damage();
    return done();
}
