/* Labelled samples and the batches made of them: what has no class is left out, classes go by name, an epoch shows each sample
 * once, and a feed that starts later gives the same batches. */
#include "experiments/examples.h"

#include "data/bpe_train.h"
#include "data/jpeg.h"
#include "experiments/feed.h"
#include "tests/tap.h"

#include <sys/stat.h>

enum { IMAGES = 14, SIDE = 4, PIXELS = SIDE * SIDE * 3, CONTEXT = 16 };

static dt_error error = {""};

/* Image i is grey of the value 18 i, of class i % 3; images 4 and 9 have none. Captions: i % 3 of them. */
static int32_t label_of(int i)
{
    return i == 4 || i == 9 ? -1 : i % 3;
}

static uint8_t *grey(int i, size_t *size)
{
    dt_image image = {0};
    uint8_t *jpeg = NULL;
    if (dt_image_reserve(&image, 8, 8, 1, &error)) {
        memset(image.pixels, 18 * i, image.stride * 8);
        dt_jpeg_encode(&image, 95, false, &jpeg, size, &error);
    }
    dt_image_free(&image);
    return jpeg;
}

/* Whether something failed with a message that says this. */
static bool fails(bool good, const char *piece)
{
    bool as_it_should = !good && says(error.message, piece);
    error.message[0] = 0;
    return as_it_should;
}

/* A store with images from .. to, whose class numbers are turned into those of `names`. */
static const char *store(const char *name, int from, int to, const char *const *names, size_t classes, const int32_t *number)
{
    const char *path = in(name), *source = "drawn";
    dt_pairs_writer *writer = dt_pairs_create(path, false, &error);
    bool good = writer != NULL;
    for (int i = from; good && i < to; i++) {
        char texts[2][32];
        const char *list[] = {texts[0], texts[1]};
        snprintf(texts[0], sizeof texts[0], "picture %d", i);
        snprintf(texts[1], sizeof texts[1], "grey of %d", i);
        size_t size;
        uint8_t *jpeg = grey(i, &size);
        const dt_pair_input pair = {.jpeg = jpeg, .jpeg_size = size, .width = 8, .height = 8, .weight = 1, .captions = list,
                                    .label = label_of(i) < 0 ? -1 : number[label_of(i)], .caption_count = (size_t)i % 3};
        good = jpeg && dt_pairs_add(writer, &pair, &error);
        free(jpeg);
    }
    if (!good || !dt_pairs_finish(writer, names, classes, &source, 1, NULL, &error))
        printf("Bail out! %s\n", error.message), exit(1);
    return path;
}

static const int32_t as_they_are[] = {0, 1, 2};
static const char *const animals[] = {"cat", "dog", "eel"};

/* ---- Samples ---- */

static void images_of_a_store(void)
{
    dt_examples *e = dt_examples_open(store("a.lmdb", 0, IMAGES, animals, 3, as_they_are), DT_TOWER_IMAGE, &error);
    ok(e && dt_examples_count(e) == IMAGES - 2 && dt_examples_left_out(e) == 2, "two images without a class are left out %s",
       error.message);
    bool good = true;
    for (size_t i = 0; i < dt_examples_count(e); i++) {
        int image = (int)dt_examples_indices(e)[i];
        good = good && image == (int)i + (i >= 4) + (i >= 8) && dt_examples_labels(e)[i] == image % 3;
    }
    ok(good, "and the others keep their number and class");
    ok(dt_examples_class_count(e) == 3 && !strcmp(dt_examples_class_name(e, 2), "eel") && !dt_examples_class_name(e, 3), "classes");
    ok(!dt_examples_text(e, 0) && dt_examples_images(e), "they are no texts");

    static const char *const other[] = {"eel", "ant", "cat", "dog"}, *const fewer[] = {"eel", "cat"};
    ok(dt_examples_classes(e, other, 4, &error), "classes of another order %s", error.message);
    good = true;
    for (size_t i = 0; i < dt_examples_count(e); i++)
        good = good && !strcmp(other[dt_examples_labels(e)[i]], animals[dt_examples_indices(e)[i] % 3]);
    ok(good, "are numbered by name");
    ok(dt_examples_classes(e, animals, 3, &error) && dt_examples_labels(e)[5] == 0 && dt_examples_indices(e)[5] == 6,
       "and again, from the data's own numbers");
    static const char *const odd[] = {"eel", "d\xf6g", "cat"};
    ok(fails(dt_examples_classes(e, odd, 3, &error), "the name of class 1, 'd\\xf6g', is not UTF-8"),
       "a name that is not UTF-8");
    ok(fails(dt_examples_classes(e, fewer, 2, &error), "a.lmdb has samples of the class 'dog', which is not among the 2"),
       "a class that is not among them is named");
    dt_examples_free(e);

    static const int32_t shifted[] = {2, 0, 3};
    static const char *const unused[] = {"dog", "gnu", "cat", "eel"};
    e = dt_examples_open(store("b.lmdb", 0, IMAGES, unused, 4, shifted), DT_TOWER_IMAGE, &error);
    ok(e && dt_examples_classes(e, animals, 3, &error) && dt_examples_labels(e)[0] == 0 && dt_examples_labels(e)[1] == 1,
       "a class without samples may be unknown %s", error.message);
    dt_examples_free(e);
    ok(fails(dt_examples_open(store("c.lmdb", 4, 5, NULL, 0, as_they_are), DT_TOWER_IMAGE, &error), "c.lmdb has a class"),
       "images without any class are refused");
}

static void captions_of_a_store(void)
{
    dt_examples *e = dt_examples_open(in("a.lmdb"), DT_TOWER_TEXT, &error);
    int expected = 0, without = 0, at = 0;
    for (int i = 0; i < IMAGES; i++)
        *(label_of(i) < 0 ? &without : &expected) += i % 3;
    ok(e && (int)dt_examples_count(e) == expected && (int)dt_examples_left_out(e) == without, "%d captions have a class, %d not %s",
       expected, without, error.message);
    bool good = e && !dt_examples_indices(e) && !dt_examples_images(e);
    for (int i = 0; good && i < IMAGES; i++)
        for (int c = 0; label_of(i) >= 0 && c < i % 3; c++, at++) {
            char want[32];
            snprintf(want, sizeof want, c ? "grey of %d" : "picture %d", i);
            good = good && !strcmp(dt_examples_text(e, (size_t)at), want) && dt_examples_labels(e)[at] == i % 3;
        }
    ok(good && at == expected, "each has its image's");
    dt_examples_free(e);
    ok(fails(dt_examples_open(in("c.lmdb"), DT_TOWER_TEXT, &error), "no caption of "), "captions without any class too");
}

static void table_of_texts(void)
{
    static const char table[] = "text,label\nred,warm\nblue,cold\norange,warm\n";
    static const char *const names[] = {"warm", "cold"};
    put("t.csv", table, sizeof table - 1);
    dt_examples *e = dt_examples_open(in("t.csv"), DT_TOWER_TEXT, &error);
    ok(e && dt_examples_count(e) == 3 && !dt_examples_left_out(e) && dt_examples_class_count(e) == 2, "a table %s", error.message);
    ok(!strcmp(dt_examples_class_name(e, 0), "cold") && !dt_examples_class_name(e, 2) && dt_examples_labels(e)[0] == 1, "its classes");
    ok(dt_examples_classes(e, names, 2, &error) && dt_examples_labels(e)[0] == 0 && dt_examples_labels(e)[1] == 1, "renumbered");
    dt_examples_free(e);
    ok(fails(dt_examples_open(in("t.csv"), DT_TOWER_IMAGE, &error), "is a table of texts"),
       "the image tower has no use for it");
    ok(fails(dt_examples_open(in("nothing.lmdb"), DT_TOWER_IMAGE, &error), "nothing.lmdb"), "no such data");
}

/* ---- Batches ---- */

static dt_feed_options image_feed(const dt_examples *e, const size_t *rows, size_t count, int batch)
{
    dt_feed_options o = {.examples = e, .rows = rows, .row_count = count, .batch_size = batch, .seed = 5};
    o.transform = dt_transform_default(DT_TRANSFORM_EVAL, SIDE);
    return o;
}

/* The number of a grey image, from the normalised value of its first channel. */
static int image_shown(const dt_transform *t, const float *image)
{
    return (int)lround((double)((image[0] * t->std[0] + t->mean[0]) * 255 / 18));
}

/* Three epochs: rows of the choice only, each at most once an epoch, with its own class, in changing order. */
static void feed_images(const dt_examples *e, const char *what)
{
    enum { ROWS = 7, SIZE = 2 };
    static const size_t rows[ROWS] = {0, 1, 3, 4, 8, 10, 11};
    dt_feed_options o = image_feed(e, rows, ROWS, SIZE);
    o.threads = 2;
    dt_feed *feed = dt_feed_open(&o, &error);
    if (!ok(feed && dt_feed_batches(feed) == 3, "%s: three whole batches an epoch %s", what, error.message))
        return;
    int order[3][6] = {{0}}, failed = 0, foreign = 0, wrong = 0, twice = 0;
    for (int b = 0; b < 9; b++) {
        const void *samples;
        const int32_t *labels;
        failed += !dt_feed_next(feed, &samples, &labels, &error);
        for (int i = 0; i < SIZE && !failed; i++) {
            int image = image_shown(&o.transform, (const float *)samples + i * PIXELS), found = -1;
            for (int r = 0; r < ROWS; r++)
                if ((int)dt_examples_indices(e)[rows[r]] == image)
                    found = r;
            foreign += found < 0;
            wrong += found >= 0 && labels[i] != dt_examples_labels(e)[rows[found]];
            order[b / 3][b % 3 * SIZE + i] = image;
            for (int k = 0; k < b % 3 * SIZE + i; k++)
                twice += order[b / 3][k] == image;
        }
    }
    ok(!failed && !foreign, "%s: only the rows of the choice %s", what, error.message);
    ok(!wrong, "%s: each with its class", what);
    ok(!twice, "%s: at most once an epoch", what);
    ok(memcmp(order[0], order[1], sizeof order[0]) && memcmp(order[1], order[2], sizeof order[0]), "%s: in another order", what);
    ok(dt_feed_waited(feed) >= 0, "%s: waiting is counted", what);
    dt_feed_close(feed);
}

/* Batches b .. b + n - 1 of a feed that starts at b, one after the other. */
static bool collect(dt_feed_options o, uint64_t from, int n, size_t bytes, uint8_t *samples, int32_t *labels)
{
    const void *got;
    const int32_t *got_labels;
    o.batch = from;
    dt_feed *feed = dt_feed_open(&o, &error);
    bool good = feed != NULL;
    for (int b = 0; good && b < n; b++) {
        good = dt_feed_next(feed, &got, &got_labels, &error);
        memcpy(samples + (size_t)b * bytes, got, bytes);
        memcpy(labels + b * o.batch_size, got_labels, sizeof *labels * (size_t)o.batch_size);
    }
    dt_feed_close(feed);
    return good;
}

static void resumes(dt_feed_options o, size_t bytes, const char *what)
{
    enum { N = 11 };
    size_t labels_bytes = N * (size_t)o.batch_size * sizeof(int32_t);
    uint8_t *whole = calloc(N, bytes), *part = calloc(N, bytes);
    int32_t *labels = calloc(1, labels_bytes), *part_labels = calloc(1, labels_bytes);
    bool good = collect(o, 0, N, bytes, whole, labels), same = true;
    for (uint64_t from = 0; good && from < N; from++) {
        int left = N - (int)from;
        good = collect(o, from, left, bytes, part, part_labels);
        same = same && !memcmp(part, whole + from * bytes, (size_t)left * bytes) &&
               !memcmp(part_labels, labels + from * (size_t)o.batch_size, (size_t)left * (size_t)o.batch_size * sizeof *labels);
    }
    ok(good && same, "%s: a feed that starts at any batch goes on as one from the start %s", what, error.message);
    o.seed++;
    ok(collect(o, 0, N, bytes, part, part_labels) && memcmp(part, whole, N * bytes), "%s: another seed, another order", what);
    free(whole);
    free(part);
    free(labels);
    free(part_labels);
}

static void feed_texts(void)
{
    enum { TEXTS = 12, ROWS = 9, SIZE = 3 };
    char table[1024] = "text,label\n", want[TEXTS][32];
    const char *corpus[TEXTS];
    size_t rows[ROWS] = {0, 2, 3, 4, 6, 7, 8, 10, 11};
    for (int i = 0; i < TEXTS; i++) {
        snprintf(want[i], sizeof want[i], "text number %c of many", 'a' + i);
        snprintf(table + strlen(table), sizeof table - strlen(table), "%s,%c\n", want[i], "xyz"[i % 3]);
        corpus[i] = want[i];
    }
    put("many.csv", table, strlen(table));
    dt_tokenizer *tokenizer = dt_bpe_train(corpus, NULL, TEXTS, 10, &error);
    dt_model model = {.tokenizer = tokenizer};
    model.config.text.context_length = CONTEXT;
    dt_examples *e = dt_examples_open(in("many.csv"), DT_TOWER_TEXT, &error);
    dt_feed_options o = {.examples = e, .rows = rows, .row_count = ROWS, .model = &model, .batch_size = SIZE, .seed = 5};
    dt_feed *feed = tokenizer && e ? dt_feed_open(&o, &error) : NULL;
    if (!ok(feed && dt_feed_batches(feed) == 3, "texts: three batches an epoch %s", error.message))
        return;
    int seen[2][TEXTS] = {{0}}, wrong = 0, order[2][ROWS] = {{0}};
    for (int b = 0; b < 6; b++) {
        const void *samples;
        const int32_t *labels;
        dt_feed_next(feed, &samples, &labels, &error);
        for (int i = 0; i < SIZE; i++)
            for (int t = 0; t < TEXTS; t++) {
                int32_t tokens[CONTEXT];
                dt_tokenizer_encode_padded(tokenizer, want[t], strlen(want[t]), tokens, CONTEXT, &error);
                if (memcmp(tokens, (const int32_t *)samples + i * CONTEXT, sizeof tokens))
                    continue;
                seen[b / 3][t]++;
                order[b / 3][b % 3 * SIZE + i] = t;
                wrong += labels[i] != t % 3;
            }
    }
    bool once = true;
    for (int t = 0; t < TEXTS; t++)
        once = once && seen[0][t] == (t % 4 != 1) && seen[1][t] == seen[0][t];
    ok(once && !seen[0][1], "texts: each of the choice once an epoch");
    ok(!wrong, "texts: each with its class");
    ok(memcmp(order[0], order[1], sizeof order[0]), "texts: in another order");
    ok(dt_feed_waited(feed) == 0, "texts: nothing to wait for");
    dt_feed_close(feed);
    resumes(o, SIZE * CONTEXT * sizeof(int32_t), "texts");
    o.batch_size = ROWS + 1;
    ok(fails(dt_feed_open(&o, &error), "batch_size is 10, but there are only 9 samples"), "texts: fewer than a batch are refused");
    dt_examples_free(e);
    dt_tokenizer_free(tokenizer);
}

static void feeds(void)
{
    dt_examples *e = dt_examples_open(in("a.lmdb"), DT_TOWER_IMAGE, &error);
    static const char *const other[] = {"eel", "cat", "dog"};
    dt_examples_classes(e, other, 3, &error);
    feed_images(e, "store");
    static const size_t rows[] = {1, 2, 5, 6, 7, 9};
    dt_feed_options o = image_feed(e, rows, 6, 4);
    o.transform = dt_transform_default(DT_TRANSFORM_JITTER, SIDE);
    o.cache_bytes = 1 << 20;
    resumes(o, 4 * PIXELS * sizeof(float), "images");
    o.batch_size = 7;
    ok(fails(dt_feed_open(&o, &error), "batch_size is 7, but there are only 6 samples"), "images: fewer than a batch are refused");
    dt_examples_free(e);

    /* A folder: cat/00.jpg .., in the order of their paths. */
    for (int c = 0; c < 3; c++)
        mkdir(in(c ? c == 1 ? "pictures/dog" : "pictures/eel" : "pictures"), 0700);
    mkdir(in("pictures/cat"), 0700);
    for (int i = 0; i < 12; i++) {
        char name[64];
        size_t size;
        uint8_t *jpeg = grey(i, &size);
        snprintf(name, sizeof name, "pictures/%s/%02d.jpg", animals[i / 4], i);
        put(name, jpeg, size);
        free(jpeg);
    }
    e = dt_examples_open(in("pictures"), DT_TOWER_IMAGE, &error);
    ok(e && dt_examples_count(e) == 12 && dt_examples_classes(e, other, 3, &error) && dt_examples_labels(e)[0] == 1 &&
           dt_examples_labels(e)[11] == 0, "a folder %s", error.message);
    feed_images(e, "folder");
    dt_examples_free(e);
}

int main(void)
{
    images_of_a_store();
    captions_of_a_store();
    table_of_texts();
    feeds();
    feed_texts();
    dt_examples_free(NULL);
    dt_feed_close(NULL);
    return done();
}
