/* Batches of bytes that are normalised where they are computed with, against batches of floats: the same bits, in every mode
 * of the transform, with and without a cache and threads. */
#include "data/jpeg.h"
#include "data/loader.h"
#include "data/shuffle.h"
#include "tests/noisy.h"
#include "tests/op_check.h"

enum { PAIRS = 11, SIZE = 20, BATCH = 4, ROW = SIZE * SIZE * 3 };

static dt_error error;
static int held; /* pieces of memory that a loader has */

static void *count_in(size_t bytes)
{
    held++;
    return malloc(bytes);
}

static void count_out(void *memory)
{
    held--;
    free(memory);
}

/* Noise over a ramp; one picture of the transform's own size, one grey, one large. */
static bool add(dt_pairs_writer *writer, int i)
{
    dt_image image = {0};
    int width = i == 0 ? SIZE : i == 7 ? 230 : 15 + 4 * i, height = i == 0 ? SIZE : i == 7 ? 190 : 60 - 3 * i;
    int channels = i % 5 == 2 ? 1 : 3;
    if (!noisy_picture(&image, width, height, channels, i, &error))
        return false;
    uint8_t *jpeg = NULL;
    size_t size;
    bool good = dt_jpeg_encode(&image, 90, false, &jpeg, &size, &error);
    const char *caption = "a picture";
    const dt_pair_input pair = {jpeg, size, width, height, -1, 1, &caption, 1, NULL};
    good = good && dt_pairs_add(writer, &pair, &error);
    dt_image_free(&image);
    free(jpeg);
    return good;
}

static dt_pairs *store(void)
{
    const char *source = "synthetic", *path = in("pairs.lmdb");
    dt_pairs_writer *writer = dt_pairs_create(path, false, &error);
    bool good = writer != NULL;
    for (int i = 0; good && i < PAIRS; i++)
        good = add(writer, i);
    if (!good) {
        dt_pairs_abort(writer);
        return NULL;
    }
    return dt_pairs_finish(writer, NULL, 0, &source, 1, NULL, &error) ? dt_pairs_open(path, &error) : NULL;
}

typedef struct normalizer {
    dt_graph *graph;
    dt_plan *plan;
    dt_tensor *pixels, *images;
} normalizer;

static normalizer start(const dt_transform *t)
{
    normalizer n = {.graph = dt_graph_new()};
    n.pixels = dt_input(n.graph, "pixels", DT_U8, dt_dims(BATCH, SIZE, SIZE, 3));
    n.images = dt_keep(dt_normalize_pixels(n.pixels, t->mean, t->std));
    n.plan = dt_plan_new(n.graph, dt_cpu(), NULL);
    return n;
}

/* Reads both loaders to their end; false where they differ. */
static bool agree(dt_loader *floats, dt_loader *bytes, normalizer *n)
{
    static float images[BATCH * ROW];
    dt_batch want = {0}, got = {0};
    int batches = 0;
    bool good = n->plan && floats && bytes;
    while (good && dt_loader_next(floats, &want, &error) && want.count) {
        good = dt_loader_next(bytes, &got, &error) && got.count == want.count && got.pixels && !got.images && !want.pixels;
        good = good && dt_plan_write(n->plan, n->pixels, got.pixels) && !dt_plan_run(n->plan, 1, 0) &&
               dt_plan_read(n->plan, n->images, images) &&
               !memcmp(images, want.images, sizeof(float) * ROW * (size_t)want.count) &&
               !memcmp(got.indices, want.indices, sizeof *got.indices * BATCH);
        for (int i = got.count * ROW; good && i < BATCH * ROW; i++)
            good = got.pixels[i] == 0;
        batches++;
    }
    return good && batches == 6 && dt_loader_next(bytes, &got, &error) && !got.count;
}

static void check(dt_loader_options o, const char *name)
{
    normalizer n = start(&o.transform);
    dt_loader *floats = dt_loader_open(&o, &error);
    o.transform.bytes = true;
    o.allocate = count_in;
    o.release = count_out;
    o.threads = o.threads ? 0 : 2;
    dt_loader *bytes = dt_loader_open(&o, &error);
    ok(agree(floats, bytes, &n), "%s: bytes, normalised later, are the floats %s", name, error.message);
    bool lent = held > 0;
    dt_loader_close(floats);
    dt_loader_close(bytes);
    ok(lent && !held, "%s: memory is that of the caller, and goes back", name);
    dt_plan_free(n.plan);
    dt_graph_free(n.graph);
}

static void *none_left(size_t bytes)
{
    return bytes < 1000 ? count_in(bytes) : NULL;
}

int main(void)
{
    static const char *const modes[] = {"eval", "random crop", "jitter", "pad and crop"};
    dt_pairs *pairs = store();
    dt_loader_options o = {.pairs = pairs, .batch_size = BATCH, .shuffle = true, .seed = 5, .epochs = 2};
    char name[64];
    if (!ok(pairs != NULL, "a store of %d pairs %s", PAIRS, error.message))
        return done();
    for (int mode = DT_TRANSFORM_EVAL; mode <= DT_TRANSFORM_PAD_CROP; mode++)
        for (int way = 0; way < 4; way++) {
            o.transform = dt_transform_default((dt_transform_mode)mode, SIZE);
            o.transform.reflect = way & 1;
            o.threads = way;
            o.cache_bytes = way > 1 ? 30000 : 0;
            snprintf(name, sizeof name, "%s%s%s", modes[mode], way & 1 ? ", reflected" : "", way > 1 ? ", with a cache" : "");
            check(o, name);
        }
    o.transform.bytes = true;
    o.transform.grayscale = 0.2;
    ok(!dt_loader_open(&o, &error) && strstr(error.message, "grayscale 0.2"), "refused: %s", error.message);
    o.transform.grayscale = 0;
    o.allocate = none_left;
    o.release = count_out;
    ok(!dt_loader_open(&o, &error) && strstr(error.message, "no memory") && !held, "refused: %s", error.message);
    dt_pairs_close(pairs);
    return done();
}
