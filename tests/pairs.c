/* The pair store: what goes in comes out, of one store and of shards; what is no pair is refused. */
#include "data/pairs.h"

#include <pthread.h>
#include <sys/stat.h>

#include "data/file.h"
#include "data/pairs_record.h"
#include "tests/made_pairs.h"

static void round_trip(void)
{
    char *path = in("a.lmdb");
    ok(write_store(path, 200, cat_dog, 2), "writes 200 pairs");
    dt_pairs *pairs = dt_pairs_open(path, &error);
    ok(pairs && dt_pairs_count(pairs) == 200, "opens them");
    if (!pairs)
        return;
    bool good = true;
    for (size_t i = 0; i < 200; i++)
        good = good && same_pair(pairs, i, i, i % 3 < 2 ? (int32_t)(i % 3) : -1);
    ok(good, "every pair comes back as it went in");
    ok(dt_pairs_class_count(pairs) == 2 && !strcmp(dt_pairs_class_name(pairs, 1), "dog") && !dt_pairs_class_name(pairs, 2),
       "classes");
    ok(dt_pairs_weighted(pairs), "a weight that differs is noted");
    const json_t *meta = dt_pairs_meta(pairs);
    ok(json_integer_value(json_object_get(meta, "count")) == 200 &&
           json_integer_value(json_object_get(meta, "captions")) == 300 &&
           !strcmp(json_string_value(json_array_get(json_object_get(meta, "sources"), 0)), "made up"),
       "meta");
    dt_pair pair;
    ok(!dt_pairs_get(pairs, 200, &pair, &error) && says(error.message, "there are only 200"), "no pair beyond the last");
    dt_pairs_close(pairs);
    ok(access(in("a.lmdb.tmp"), F_OK) != 0 && access(in("a.lmdb-lock"), F_OK) != 0, "no other file is left");
    write_store(in("b.lmdb"), 200, cat_dog, 2);
    size_t a_size, b_size;
    char *a = dt_file_read(in("a.lmdb"), SIZE_MAX / 2, &a_size, NULL);
    char *b = dt_file_read(in("b.lmdb"), SIZE_MAX / 2, &b_size, NULL);
    ok(a && b && a_size == b_size && !memcmp(a, b, a_size), "the same pairs give the same bytes");
    free(a);
    free(b);
    unlink(in("b.lmdb"));
}

/* The record as it is documented, byte for byte. */
static void layout(void)
{
    static const uint8_t jpeg[] = {0xff, 0xd8, 0xff, 0xd9};
    static const char *const captions[] = {"ab", "c"};
    dt_pair_input pair = {jpeg, 4, 640, 480, -1, 0.5f, captions, 2, "{}"};
    static const uint8_t want[] = {1, 0,    0,    0,    0x80, 2, 0, 0,   0xe0, 1, 0,    0,    4,    0,    0,
                                   0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0,   0x3f, 2, 0,    0,    0,    5,    0,
                                   0, 0,    3,    0,    0,    0, 0, 0,   0,    0, 0xff, 0xd8, 0xff, 0xd9, 3,
                                   0, 0,    0,    5,    0,    0, 0, 'a', 'b',  0, 'c',  0,    '{',  '}',  0};
    uint8_t record[64];
    size_t size = 0;
    ok(dt_pair_check(&pair, &size, &error) && size == sizeof want, "a record takes the bytes that it should");
    dt_pair_encode(&pair, record);
    ok(!memcmp(record, want, sizeof want), "and has them in their places");
}

static void refused_pairs(void)
{
    uint8_t jpeg[] = {0xff, 0xd8, 0xff, 0xd9};
    const char *text = "fine";
    const dt_pair_input good = {jpeg, 4, 2, 2, 0, 1, &text, 1, NULL};
    dt_pairs_writer *writer = dt_pairs_create(in("r.lmdb"), false, &error);
    if (!ok(writer, "starts a store"))
        return;
    static const struct {
        const char *text, *says;
    } texts[] = {{"", "empty"},
                 {" \t\n", "empty"},
                 {"\xe3\x80\x80", "empty"},
                 {"a\xff", "byte 1"},
                 {"\xc0\xaf", "not UTF-8"},
                 {"\xed\xa0\x80", "not UTF-8"},
                 {"a\xe2\x82", "not UTF-8"}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        dt_pair_input pair = good;
        pair.captions = &texts[i].text;
        ok(!dt_pairs_add(writer, &pair, &error) && says(error.message, texts[i].says), "bad caption %zu is refused", i);
    }
    dt_pair_input pair = good;
    pair.label = -2;
    ok(!dt_pairs_add(writer, &pair, &error) && says(error.message, "label -2"), "a label below -1 is refused");
    pair = good, pair.weight = NAN;
    ok(!dt_pairs_add(writer, &pair, &error) && says(error.message, "weight"), "a weight that is not a number is refused");
    pair = good, pair.weight = -1;
    ok(!dt_pairs_add(writer, &pair, &error) && says(error.message, "weight"), "a negative weight is refused");
    pair = good, pair.width = 0;
    ok(!dt_pairs_add(writer, &pair, &error) && says(error.message, "0 x 2"), "an image without width is refused");
    pair = good, pair.jpeg = (const uint8_t *)"GIF89a";
    ok(!dt_pairs_add(writer, &pair, &error) && says(error.message, "not a JPEG or PNG"), "a GIF is refused");
    pair = good, pair.extra = "[1]";
    ok(!dt_pairs_add(writer, &pair, &error) && says(error.message, "an object"), "an extra that is no object is refused");
    pair = good, pair.extra = "{\"a\":";
    ok(!dt_pairs_add(writer, &pair, &error) && says(error.message, "extra"), "an extra that is no JSON is refused");
    ok(!dt_pairs_failed(writer) && dt_pairs_add(writer, &good, &error), "after all that the writer goes on");
    ok(!dt_pairs_finish(writer, NULL, 0, NULL, 0, NULL, &error) && says(error.message, "label 0"),
       "labels without classes are refused");
    writer = dt_pairs_create(in("r.lmdb"), false, &error);
    ok(writer && !dt_pairs_finish(writer, NULL, 0, NULL, 0, NULL, &error) && says(error.message, "no pairs"),
       "an empty store is refused");
    ok(access(in("r.lmdb"), F_OK) && access(in("r.lmdb.tmp"), F_OK), "and nothing is left of either");
}

static void shards(void)
{
    static const char *const dog_bird[] = {"dog", "bird"}, *const twins[] = {"cat", "cat"};
    mkdir(in("many"), 0755);
    write_store(in("many/1.lmdb"), 5, cat_dog, 2);
    write_store(in("many/2.lmdb"), 7, dog_bird, 2);
    write_store(in("many/3.lmdb"), 4, cat_dog, 2);
    const char *const list[] = {in("many/2.lmdb"), in("many/1.lmdb")};
    dt_pairs *all = dt_pairs_open(in("many/*.lmdb"), &error), *same = dt_pairs_open(in("many"), &error);
    ok(all && same && dt_pairs_count(all) == 16 && dt_pairs_count(same) == 16, "a pattern and a folder of shards");
    if (all) {
        ok(same_pair(all, 4, 4, 1) && same_pair(all, 5, 0, 1) && same_pair(all, 6, 1, 2) && same_pair(all, 11, 6, 1) &&
               same_pair(all, 12, 0, 0) && same_pair(all, 15, 3, 0),
           "pairs at the borders of shards, their labels merged by name");
        ok(dt_pairs_class_count(all) == 3 && !strcmp(dt_pairs_class_name(all, 2), "bird"), "three classes");
        const json_t *meta = dt_pairs_meta(all);
        ok(json_integer_value(json_object_get(meta, "count")) == 16 && json_array_size(json_object_get(meta, "shards")) == 3 &&
               json_array_size(json_object_get(meta, "sources")) == 3,
           "meta of all");
    }
    dt_pairs_close(all);
    dt_pairs_close(same);
    all = dt_pairs_open_list(list, 2, &error);
    ok(all && !strcmp(dt_pairs_class_name(all, 0), "dog") && same_pair(all, 7, 0, 2), "a list keeps its order");
    dt_pairs_close(all);
    write_store(in("many/4.lmdb"), 4, twins, 2);
    ok(refuses(in("many"), "two classes are called cat"), "classes of one name cannot be merged");
    dt_pairs_close(all = dt_pairs_open(in("many/4.lmdb"), &error));
    ok(all, "but alone they are fine");
    dt_file_write(in("many/5.lmdb"), "x", 1, NULL);
    ok(refuses(in("many"), "5.lmdb"), "one bad shard is named");
    ok(!dt_pairs_open_list(NULL, 0, &error) && says(error.message, "no pair store"), "an empty list");
}

static void existing_target(void)
{
    char *path = in("old.lmdb");
    write_store(path, 3, NULL, 0);
    ok(!dt_pairs_create(path, false, &error) && says(error.message, "exists"), "an existing store is not replaced unasked");
    dt_pairs_writer *writer = dt_pairs_create(path, true, &error);
    ok(writer && !dt_pairs_create(path, true, &error) && says(error.message, "another process"), "two writers cannot meet");
    add(writer, 0, -1);
    dt_pairs_abort(writer);
    dt_pairs *pairs = dt_pairs_open(path, &error);
    ok(pairs && dt_pairs_count(pairs) == 3, "the old store is there after an abort");
    ok(pairs && write_store(path, 4, NULL, 0) && same_pair(pairs, 2, 2, -1),
       "a reader keeps the store that it opened when it is replaced");
    dt_pairs_close(pairs);
    ok(!dt_pairs_create(in("many"), true, &error) && says(error.message, "is a directory"), "a folder is not a target");
    ok(!dt_pairs_create(in("no/such/a.lmdb"), true, &error) && says(error.message, "No such file"), "nor a folder that is not");
    if (symlink("old.lmdb", in("link.lmdb")) == 0) {
        struct stat about;
        ok(write_store(in("link.lmdb"), 5, NULL, 0) && !lstat(in("link.lmdb"), &about) && S_ISLNK(about.st_mode),
           "a link stays a link");
        pairs = dt_pairs_open(path, &error);
        ok(pairs && dt_pairs_count(pairs) == 5, "and what it points to is replaced");
        dt_pairs_close(pairs);
    }
}

enum { THREADS = 8 };

struct reading {
    const dt_pairs *pairs;
    size_t step;
};

static void *read_all(void *argument)
{
    const dt_pairs *pairs = ((struct reading *)argument)->pairs;
    size_t step = ((struct reading *)argument)->step, bad = 0;
    dt_pair kept[200];
    for (size_t k = 0; k < 200; k++) {
        size_t i = k * step % 200;
        bad += !dt_pairs_get(pairs, i, &kept[i], NULL) || kept[i].width != (int)i + 1;
    }
    for (size_t i = 0; i < 200; i++) /* pointers outlive the calls that follow */
        bad += kept[i].jpeg_size != jpeg_size(i) ||
               kept[i].jpeg[jpeg_size(i) - 1] != (uint8_t)(i * 31 + (jpeg_size(i) - 1) * 7 + ((jpeg_size(i) - 1) >> 8));
    return (void *)bad;
}

static void threads(void)
{
    dt_pairs *pairs = dt_pairs_open(in("a.lmdb"), &error);
    static const size_t steps[] = {1, 7, 11, 13};
    struct reading reading[THREADS];
    pthread_t thread[THREADS];
    size_t bad = 0;
    for (int i = 0; i < THREADS; i++) {
        reading[i] = (struct reading){pairs, steps[i % 4]};
        pthread_create(&thread[i], NULL, read_all, &reading[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(thread[i], &result);
        bad += (size_t)result;
    }
    ok(pairs && !bad, "eight threads read one reader");
    dt_pairs_close(pairs);
}

int main(void)
{
    round_trip();
    layout();
    refused_pairs();
    shards();
    existing_target();
    threads();
    return done();
}
