/* The pair store: what goes in comes out, and what is not a whole store is refused. */
#define _GNU_SOURCE
#include "data/pairs.h"

#include <endian.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "data/file.h"
#include "data/pairs_record.h"
#include "tests/tap.h"

static const char *folder;
static dt_error error;

static char *in(const char *name)
{
    static char paths[8][700];
    static int next;
    char *path = paths[next++ & 7];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static bool says(const char *text)
{
    bool found = strstr(error.message, text) != NULL;
    if (!found)
        printf("# sought '%s', found '%s'\n", text, error.message);
    return found;
}

/* The store looks at the first two bytes of an image only; what lies behind them is told from i. */
static uint8_t *make_jpeg(size_t i, size_t size)
{
    uint8_t *bytes = malloc(size);
    for (size_t k = 0; k < size; k++)
        bytes[k] = (uint8_t)(i * 31 + k * 7 + (k >> 8));
    bytes[0] = 0xff;
    bytes[1] = 0xd8;
    return bytes;
}

static size_t jpeg_size(size_t i)
{
    return i == 3 ? 300001 : 40 + i * 13;
}

static const char *const words[] = {"ein Käse", "日本語 🧀", "x"};

static bool add(dt_pairs_writer *writer, size_t i, int32_t label)
{
    uint8_t *jpeg = make_jpeg(i, jpeg_size(i));
    dt_pair_input pair = {.jpeg = jpeg,
                          .jpeg_size = jpeg_size(i),
                          .width = (int)i + 1,
                          .height = 65500,
                          .label = label,
                          .weight = i == 1 ? 0.25f : 1,
                          .captions = words,
                          .caption_count = i % 4,
                          .extra = i == 2 ? "{\"role\": \"farmer\"}" : NULL};
    bool good = dt_pairs_add(writer, &pair, &error);
    free(jpeg);
    return good;
}

/* `count` pairs, with labels 0, 1, -1, 0, ... when there are classes. */
static bool write_store(const char *path, size_t count, const char *const *classes, size_t class_count)
{
    dt_pairs_writer *writer = dt_pairs_create(path, true, &error);
    const char *source = "made up";
    for (size_t i = 0; i < count && writer; i++)
        if (!add(writer, i, class_count ? (int32_t)(i % 3) < 2 ? (int32_t)(i % 3) : -1 : -1))
            return false;
    return writer && dt_pairs_finish(writer, classes, class_count, &source, 1, NULL, &error);
}

static bool same_pair(const dt_pairs *pairs, uint64_t index, size_t i, int32_t label)
{
    dt_pair pair;
    if (!dt_pairs_get(pairs, index, &pair, &error)) {
        printf("# %s\n", error.message);
        return false;
    }
    uint8_t *jpeg = make_jpeg(i, jpeg_size(i));
    bool good = pair.jpeg_size == jpeg_size(i) && !memcmp(pair.jpeg, jpeg, pair.jpeg_size) &&
                pair.width == (int)i + 1 && pair.height == 65500 && pair.label == label &&
                pair.weight == (i == 1 ? 0.25f : 1) && pair.caption_count == i % 4 &&
                !pair.extra == (i != 2) && (i != 2 || !strcmp(pair.extra, "{\"role\": \"farmer\"}"));
    for (size_t c = 0; c < pair.caption_count; c++) {
        size_t size;
        const char *text = dt_pair_caption(&pair, c, &size);
        good = good && !strcmp(text, words[c]) && size == strlen(words[c]);
    }
    free(jpeg);
    return good;
}

static const char *const cat_dog[] = {"cat", "dog"};

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
    ok(dt_pairs_class_count(pairs) == 2 && !strcmp(dt_pairs_class_name(pairs, 1), "dog") &&
           !dt_pairs_class_name(pairs, 2),
       "classes");
    ok(dt_pairs_weighted(pairs), "a weight that differs is noted");
    const json_t *meta = dt_pairs_meta(pairs);
    ok(json_integer_value(json_object_get(meta, "count")) == 200 &&
           json_integer_value(json_object_get(meta, "captions")) == 300 &&
           !strcmp(json_string_value(json_array_get(json_object_get(meta, "sources"), 0)), "made up"),
       "meta");
    dt_pair pair;
    ok(!dt_pairs_get(pairs, 200, &pair, &error) && says("there are only 200"), "no pair beyond the last");
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
        ok(!dt_pairs_add(writer, &pair, &error) && says(texts[i].says), "bad caption %zu is refused", i);
    }
    dt_pair_input pair = good;
    pair.label = -2;
    ok(!dt_pairs_add(writer, &pair, &error) && says("label -2"), "a label below -1 is refused");
    pair = good, pair.weight = NAN;
    ok(!dt_pairs_add(writer, &pair, &error) && says("weight"), "a weight that is not a number is refused");
    pair = good, pair.weight = -1;
    ok(!dt_pairs_add(writer, &pair, &error) && says("weight"), "a negative weight is refused");
    pair = good, pair.width = 0;
    ok(!dt_pairs_add(writer, &pair, &error) && says("0 x 2"), "an image without width is refused");
    pair = good, pair.jpeg = (const uint8_t *)"GIF89a";
    ok(!dt_pairs_add(writer, &pair, &error) && says("not a JPEG or PNG"), "a GIF is refused");
    pair = good, pair.extra = "[1]";
    ok(!dt_pairs_add(writer, &pair, &error) && says("an object"), "an extra that is no object is refused");
    pair = good, pair.extra = "{\"a\":";
    ok(!dt_pairs_add(writer, &pair, &error) && says("extra"), "an extra that is no JSON is refused");
    ok(!dt_pairs_failed(writer) && dt_pairs_add(writer, &good, &error), "after all that the writer goes on");
    ok(!dt_pairs_finish(writer, NULL, 0, NULL, 0, NULL, &error) && says("label 0"),
       "labels without classes are refused");
    writer = dt_pairs_create(in("r.lmdb"), false, &error);
    ok(writer && !dt_pairs_finish(writer, NULL, 0, NULL, 0, NULL, &error) && says("no pairs"),
       "an empty store is refused");
    ok(access(in("r.lmdb"), F_OK) && access(in("r.lmdb.tmp"), F_OK), "and nothing is left of either");
}

static bool refuses(const char *path, const char *text)
{
    dt_pairs *pairs = dt_pairs_open(path, &error);
    dt_pairs_close(pairs);
    if (pairs)
        printf("# %s was opened\n", path);
    return !pairs && says(text);
}

static void copy_cut(const char *from, const char *to, size_t size)
{
    size_t whole;
    char *bytes = dt_file_read(from, SIZE_MAX / 2, &whole, NULL);
    dt_file_write(to, bytes, size < whole ? size : whole, NULL);
    free(bytes);
}

/* Changes the meta record, or removes it when text is NULL. */
static void change(const char *path, const char *key_text, const char *text, unsigned flags)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi table;
    MDB_val key = {strlen(key_text), (void *)(uintptr_t)key_text},
            value = {text ? strlen(text) : 0, (void *)(uintptr_t)text};
    mdb_env_create(&env);
    mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0644);
    mdb_txn_begin(env, NULL, 0, &txn);
    mdb_dbi_open(txn, NULL, flags, &table);
    if (text)
        mdb_put(txn, table, &key, &value, 0);
    else
        mdb_del(txn, table, &key, NULL);
    mdb_txn_commit(txn);
    mdb_env_close(env);
}

static void refused_stores(void)
{
    char *whole = in("a.lmdb"), *cut = in("cut.lmdb");
    struct stat about;
    stat(whole, &about);
    ok(refuses(in("none.lmdb"), "no pair store"), "a store that is not there");
    size_t end = (size_t)about.st_size;
    const size_t sizes[] = {0, 1, 16, 100, 4096, 4196, 8191, 8192, 12288, 200000, end - 4096, end - 1};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        copy_cut(whole, cut, sizes[i]);
        ok(refuses(cut, sizes[i] < 8192 ? "cut.lmdb" : "truncated"), "a store cut to %zu bytes", sizes[i]);
    }
    dt_file_write(cut, "path,caption\na.jpg,a\n", 21, NULL);
    ok(refuses(cut, "not an LMDB file"), "a text file");
    mkdir(in("empty"), 0755);
    ok(refuses(in("empty"), "no pair store"), "an empty folder");
}

static void refused_meta(void)
{
    char *whole = in("a.lmdb"), *cut = in("cut.lmdb");
    static const struct {
        const char *meta, *says;
    } metas[] = {
        {NULL, "unfinished"},
        {"nonsense", "meta record"},
        {"[]", "meta record"},
        {"{\"format\":\"duet-pairs\",\"version\":2,\"count\":200,\"complete\":true}", "version 2"},
        {"{\"format\":\"others\",\"version\":1,\"count\":200,\"complete\":true}", "format others"},
        {"{\"format\":\"duet-pairs\",\"version\":1,\"count\":200,\"complete\":false}", "unfinished"},
        {"{\"format\":\"duet-pairs\",\"version\":1,\"count\":201,\"complete\":true}", "200 pairs are there"},
        {"{\"format\":\"duet-pairs\",\"version\":1,\"count\":-5,\"complete\":true}", "count"},
        {"{\"format\":\"duet-pairs\",\"version\":1,\"count\":200,\"complete\":true,\"classes\":[1]}",
         "class 0"},
    };
    for (size_t i = 0; i < sizeof metas / sizeof metas[0]; i++) {
        copy_cut(whole, cut, SIZE_MAX);
        change(cut, META_KEY, metas[i].meta, 0);
        ok(refuses(cut, metas[i].says), "meta %zu: %s", i, metas[i].meta ? metas[i].meta : "removed");
    }
    unlink(cut);
    change(cut, "somebody", "else", 0);
    ok(refuses(cut, "another program"), "a foreign LMDB file");
    unlink(cut);
    change(cut, "somebody", "else", MDB_DUPSORT);
    ok(refuses(cut, "not of the kind"), "a foreign LMDB file with duplicate keys");
    unlink(cut);
    copy_cut(whole, cut, SIZE_MAX);
    int file = open(cut, O_WRONLY); /* the page size, by which LMDB divides */
    ok(pwrite(file, "\0\0\0\0", 4, 40) == 4 && refuses(cut, "not of the kind"), "a page size of zero");
    close(file);
    unlink(cut);
}

/* Mutated records of exact size: under the address sanitizer a read beyond one shows. */
static void damaged_records(void)
{
    static const uint8_t jpeg[] = {0xff, 0xd8, 0xff, 0xd9};
    dt_pair_input input = {jpeg, 4, 640, 480, 1, 1, words, 3, "{\"a\":1}"};
    size_t size = 0, passed = 0;
    dt_pair_check(&input, &size, NULL);
    uint8_t *record = malloc(size);
    uint32_t state = 1;
    for (int round = 0; round < 50000; round++) {
        dt_pair_encode(&input, record);
        for (int change_count = round % 3; change_count >= 0; change_count--) {
            state = state * 1664525 + 1013904223;
            size_t at = (state >> 8) % (round & 1 ? size : 60);
            record[at] = round & 2 ? (uint8_t)(state >> 24) : (uint8_t)(record[at] + (state >> 30) - 1);
        }
        dt_pair pair = {0};
        uint8_t *exact = malloc(size - (round % 5 == 0)); /* some are a byte short */
        memcpy(exact, record, size - (round % 5 == 0));
        if (dt_pair_decode(exact, size - (round % 5 == 0), &pair, NULL)) {
            size_t sum = 0;
            for (size_t i = 0; i < pair.caption_count; i++)
                sum += strlen(dt_pair_caption(&pair, i, NULL));
            passed += sum > 0 || !pair.caption_count;
        }
        free(exact);
    }
    free(record);
    ok(passed > 0 && passed < 50000, "damaged records are refused or read within their bounds (%zu read)",
       passed);
    char key[8] = {0, 0, 0, 0, 0, 0, 0, 7};
    copy_cut(in("a.lmdb"), in("d.lmdb"), SIZE_MAX);
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi table;
    MDB_val name = {8, key}, value = {7, (void *)(uintptr_t) "garbage"};
    mdb_env_create(&env);
    mdb_env_open(env, in("d.lmdb"), MDB_NOSUBDIR | MDB_NOLOCK, 0644);
    mdb_txn_begin(env, NULL, 0, &txn);
    mdb_dbi_open(txn, NULL, 0, &table);
    mdb_put(txn, table, &name, &value, 0);
    mdb_txn_commit(txn);
    mdb_env_close(env);
    dt_pairs *pairs = dt_pairs_open(in("d.lmdb"), &error);
    dt_pair pair;
    ok(pairs && !dt_pairs_get(pairs, 7, &pair, &error) && says("pair 7 is damaged"),
       "a damaged record is named");
    ok(pairs && dt_pairs_get(pairs, 8, &pair, &error), "the others can be read");
    dt_pairs_close(pairs);
}

/* A copy that was interrupted may have holes: pages of zeros. */
static void holes(void)
{
    char *path = in("holes.lmdb");
    size_t size, refused = 0;
    char *bytes = dt_file_read(in("a.lmdb"), SIZE_MAX / 2, &size, NULL);
    for (size_t at = 0; at < size; at += 4096) {
        char page[4096];
        memcpy(page, bytes + at, sizeof page);
        memset(bytes + at, 0, sizeof page);
        dt_file_write(path, bytes, size, NULL);
        memcpy(bytes + at, page, sizeof page);
        dt_pairs *pairs = dt_pairs_open(path, &error);
        dt_pair pair;
        bool bad = !pairs;
        for (size_t i = 0; pairs && i < 200; i++)
            bad |= !dt_pairs_get(pairs, i, &pair, &error);
        refused += bad;
        dt_pairs_close(pairs);
    }
    free(bytes);
    ok(refused > 5, "a page of zeros is met with an error wherever it matters (%zu pages of %zu)", refused,
       size / 4096);
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
    ok(all && same && dt_pairs_count(all) == 16 && dt_pairs_count(same) == 16,
       "a pattern and a folder of shards");
    if (all) {
        ok(same_pair(all, 4, 4, 1) && same_pair(all, 5, 0, 1) && same_pair(all, 6, 1, 2) &&
               same_pair(all, 11, 6, 1) && same_pair(all, 12, 0, 0) && same_pair(all, 15, 3, 0),
           "pairs at the borders of shards, their labels merged by name");
        ok(dt_pairs_class_count(all) == 3 && !strcmp(dt_pairs_class_name(all, 2), "bird"), "three classes");
        const json_t *meta = dt_pairs_meta(all);
        ok(json_integer_value(json_object_get(meta, "count")) == 16 &&
               json_array_size(json_object_get(meta, "shards")) == 3 &&
               json_array_size(json_object_get(meta, "sources")) == 3,
           "meta of all");
    }
    dt_pairs_close(all);
    dt_pairs_close(same);
    all = dt_pairs_open_list(list, 2, &error);
    ok(all && !strcmp(dt_pairs_class_name(all, 0), "dog") && same_pair(all, 7, 0, 2),
       "a list keeps its order");
    dt_pairs_close(all);
    write_store(in("many/4.lmdb"), 4, twins, 2);
    ok(refuses(in("many"), "two classes are called cat"), "classes of one name cannot be merged");
    dt_pairs_close(all = dt_pairs_open(in("many/4.lmdb"), &error));
    ok(all, "but alone they are fine");
    dt_file_write(in("many/5.lmdb"), "x", 1, NULL);
    ok(refuses(in("many"), "5.lmdb"), "one bad shard is named");
    ok(!dt_pairs_open_list(NULL, 0, &error) && says("no pair store"), "an empty list");
}

static void existing_target(void)
{
    char *path = in("old.lmdb");
    write_store(path, 3, NULL, 0);
    ok(!dt_pairs_create(path, false, &error) && says("exists"), "an existing store is not replaced unasked");
    dt_pairs_writer *writer = dt_pairs_create(path, true, &error);
    ok(writer && !dt_pairs_create(path, true, &error) && says("another process"), "two writers cannot meet");
    add(writer, 0, -1);
    dt_pairs_abort(writer);
    dt_pairs *pairs = dt_pairs_open(path, &error);
    ok(pairs && dt_pairs_count(pairs) == 3, "the old store is there after an abort");
    ok(pairs && write_store(path, 4, NULL, 0) && same_pair(pairs, 2, 2, -1),
       "a reader keeps the store that it opened when it is replaced");
    dt_pairs_close(pairs);
    ok(!dt_pairs_create(in("many"), true, &error) && says("is a directory"), "a folder is not a target");
    ok(!dt_pairs_create(in("no/such/a.lmdb"), true, &error) && says("No such file"),
       "nor a folder that is not");
    if (symlink("old.lmdb", in("link.lmdb")) == 0) {
        struct stat about;
        ok(write_store(in("link.lmdb"), 5, NULL, 0) && !lstat(in("link.lmdb"), &about) &&
               S_ISLNK(about.st_mode),
           "a link stays a link");
        pairs = dt_pairs_open(path, &error);
        ok(pairs && dt_pairs_count(pairs) == 5, "and what it points to is replaced");
        dt_pairs_close(pairs);
    }
}

/* Adds large pairs, 160 MiB in all, which makes several transactions and a larger map. */
static bool add_large(dt_pairs_writer *writer, int count)
{
    uint8_t *jpeg = make_jpeg(1, 8 << 20);
    dt_pair_input pair = {jpeg, 8 << 20, 9, 9, -1, 1, words, 1, NULL};
    bool good = true;
    for (int i = 0; i < count && good; i++)
        good = dt_pairs_add(writer, &pair, &error);
    free(jpeg);
    return good;
}

static void killed(void)
{
    char *path = in("old.lmdb"), *left = in("old.lmdb.tmp");
    pid_t child = fork();
    if (!child) {
        dt_pairs_writer *writer = dt_pairs_create(path, true, NULL);
        add_large(writer, 12);
        raise(SIGKILL);
    }
    int status;
    waitpid(child, &status, 0);
    ok(WIFSIGNALED(status) && access(left, F_OK) == 0, "a writer is killed in the middle");
    dt_pairs *pairs = dt_pairs_open(path, &error);
    ok(pairs && dt_pairs_count(pairs) == 5, "the store that was there is whole");
    dt_pairs_close(pairs);
    ok(refuses(left, "unfinished"), "what it left is refused as unfinished");
    ok(write_store(path, 6, NULL, 0) && access(left, F_OK), "the next writer makes use of it");
    unlink(path);
}

static void growth(void)
{
    char *path = in("large.lmdb");
    dt_pairs_writer *writer = dt_pairs_create(path, false, &error);
    bool good = writer && add_large(writer, 20);
    ok(good && dt_pairs_finish(writer, NULL, 0, NULL, 0, NULL, &error), "a store grows beyond its first map");
    dt_pairs *pairs = dt_pairs_open(path, &error);
    dt_pair pair;
    uint8_t *want = make_jpeg(1, 8 << 20);
    ok(pairs && dt_pairs_get(pairs, 19, &pair, &error) && !memcmp(pair.jpeg, want, 8 << 20), "its last pair");
    free(want);
    dt_pairs_close(pairs);
    unlink(path);
}

/* In a child: fills a store until it fails; the status says whether all went as it should. */
static int fill_up(const char *path, const char *text)
{
    dt_pairs_writer *writer = dt_pairs_create(path, true, &error);
    if (!writer || add_large(writer, 20) || !dt_pairs_failed(writer) || !says(text))
        return 1;
    if (add(writer, 0, -1) || !says("failed before"))
        return 2;
    dt_pairs_abort(writer);
    char left[800];
    snprintf(left, sizeof left, "%s.tmp", path);
    return access(left, F_OK) && access(path, F_OK) ? 0 : 3;
}

static int limited(void)
{
    struct rlimit limit = {6 << 20, 6 << 20};
    signal(SIGXFSZ, SIG_IGN);
    return setrlimit(RLIMIT_FSIZE, &limit) ? 77 : fill_up(in("full.lmdb"), "ulimit -f");
}

static int small_disk(void)
{
    if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("tmpfs", in("empty"), "tmpfs", 0, "size=6m"))
        return 77;
    return fill_up(in("empty/full.lmdb"), "free some space");
}

static void full_disk(void)
{
    static const struct {
        const char *name;
        int (*run)(void);
    } cases[] = {{"a limit on file sizes", limited}, {"a full disk", small_disk}};
    for (int i = 0; i < 2; i++) {
        int status = 0;
        fflush(stdout);
        pid_t child = fork();
        if (!child) {
            status = cases[i].run();
            fflush(stdout);
            _exit(status);
        }
        waitpid(child, &status, 0);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
            skip(cases[i].name, "cannot be set up here");
        else
            ok(status == 0, "%s is one clear line (status %d)", cases[i].name, status);
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
               kept[i].jpeg[jpeg_size(i) - 1] !=
                   (uint8_t)(i * 31 + (jpeg_size(i) - 1) * 7 + ((jpeg_size(i) - 1) >> 8));
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
    folder = strdup(scratch());
    round_trip();
    layout();
    refused_pairs();
    refused_stores();
    refused_meta();
    damaged_records();
    holes();
    shards();
    existing_target();
    killed();
    growth();
    full_disk();
    threads();
    char command[800];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    ok(system(command) == 0, "cleans up");
    free((void *)(uintptr_t)folder);
    return done();
}
