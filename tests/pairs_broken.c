/* Pair stores that are not whole: cut, damaged, foreign, or left by a writer that was killed or had no room. */
#define _GNU_SOURCE
#include "data/pairs.h"

#include <fcntl.h>
#include <lmdb.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "data/file.h"
#include "data/pairs_record.h"
#include "tests/made_pairs.h"

/* The first bytes of a store, at most `size`. */
static void copy_cut(const char *from, const char *to, size_t size)
{
    size_t whole;
    char *bytes = dt_file_read(from, SIZE_MAX / 2, &whole, NULL);
    dt_file_write(to, bytes, size < whole ? size : whole, NULL);
    free(bytes);
}

/* Changes a record behind the store's back, or removes it where text is NULL. */
static void change(const char *path, MDB_val key, const char *text, unsigned flags)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi table;
    MDB_val value = {text ? strlen(text) : 0, (void *)(uintptr_t)text};
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
    const MDB_val meta = {strlen(META_KEY), META_KEY}, somebody = {8, "somebody"};
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
        {"{\"format\":\"duet-pairs\",\"version\":1,\"count\":200,\"complete\":true,\"classes\":[1]}", "class 0"},
    };
    for (size_t i = 0; i < sizeof metas / sizeof metas[0]; i++) {
        copy_cut(whole, cut, SIZE_MAX);
        change(cut, meta, metas[i].meta, 0);
        ok(refuses(cut, metas[i].says), "meta %zu: %s", i, metas[i].meta ? metas[i].meta : "removed");
    }
    unlink(cut);
    change(cut, somebody, "else", 0);
    ok(refuses(cut, "another program"), "a foreign LMDB file");
    unlink(cut);
    change(cut, somebody, "else", MDB_DUPSORT);
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
    ok(passed > 0 && passed < 50000, "damaged records are refused or read within their bounds (%zu read)", passed);
}

static void damaged_pair(void)
{
    char key[8] = {0, 0, 0, 0, 0, 0, 0, 7};
    copy_cut(in("a.lmdb"), in("d.lmdb"), SIZE_MAX);
    change(in("d.lmdb"), (MDB_val){8, key}, "garbage", 0);
    dt_pairs *pairs = dt_pairs_open(in("d.lmdb"), &error);
    dt_pair pair;
    ok(pairs && !dt_pairs_get(pairs, 7, &pair, &error) && says(error.message, "pair 7 is damaged"),
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
    ok(refused > 5, "a page of zeros is met with an error wherever it matters (%zu pages of %zu)", refused, size / 4096);
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
    ok(write_store(path, 5, NULL, 0), "writes 5 pairs");
    pid_t child = fork();
    if (!child) {
        dt_pairs_writer *writer = dt_pairs_create(path, true, NULL);
        add_large(writer, 12);
        raise(SIGKILL);
    }
    int status;
    waitpid(child, &status, 0);
    ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && access(left, F_OK) == 0, "a writer is killed in the middle");
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
    if (!writer || add_large(writer, 20) || !dt_pairs_failed(writer) || !says(error.message, text))
        return 1;
    if (add(writer, 0, -1) || !says(error.message, "failed before"))
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

int main(void)
{
    ok(write_store(in("a.lmdb"), 200, cat_dog, 2), "writes 200 pairs");
    refused_stores();
    refused_meta();
    damaged_records();
    damaged_pair();
    holes();
    killed();
    growth();
    full_disk();
    return done();
}
