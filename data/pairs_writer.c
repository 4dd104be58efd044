#define _GNU_SOURCE /* asprintf */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/file.h"
#include "data/json.h"
#include "data/pairs_record.h"
#include "data/png.h"

/* One transaction holds about this many bytes of records: enough to amortise a commit, little enough that its
 * dirty pages, which LMDB keeps in memory, do not matter. */
enum { TRANSACTION_BYTES = 32 << 20 };

static const size_t FIRST_MAP = (size_t)256 << 20;

struct dt_pairs_writer {
    char *path, *temporary;
    int lock; /* descriptor of the temporary file, held with flock */
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi table;
    size_t map_size, pending; /* bytes: of the map, and put into the open transaction */
    uint64_t count, captions, jpeg_bytes, lossless;
    int32_t last_label;
    bool weighted, failed;
};

static bool check_target(dt_pairs_writer *writer, const char *path, bool replace, dt_error *error);
static bool claim_temporary(dt_pairs_writer *writer, dt_error *error);
static bool begin(dt_pairs_writer *writer, size_t bytes, dt_error *error);
static bool commit(dt_pairs_writer *writer, dt_error *error);
static bool put_meta(dt_pairs_writer *writer, const char *const *classes, size_t class_count,
                     const char *const *sources, size_t source_count, const json_t *more, dt_error *error);
static bool write_failed(dt_pairs_writer *writer, int status, dt_error *error);
static void free_writer(dt_pairs_writer *writer);

dt_pairs_writer *dt_pairs_create(const char *path, bool replace, dt_error *error)
{
    dt_pairs_writer *writer = calloc(1, sizeof *writer);
    if (!writer) {
        dt_fail(error, "no memory to write %s", path);
        return NULL;
    }
    writer->lock = -1;
    writer->last_label = -1;
    if (!check_target(writer, path, replace, error) || !claim_temporary(writer, error)) {
        free_writer(writer);
        return NULL;
    }
    int status = mdb_env_create(&writer->env);
    if (!status) /* the whole file is synced once, before it gets its name */
        status = mdb_env_open(writer->env, writer->temporary, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, 0666);
    if (status ? !write_failed(writer, status, error) : !begin(writer, 0, error)) {
        dt_pairs_abort(writer);
        return NULL;
    }
    return writer;
}

bool dt_pairs_add(dt_pairs_writer *writer, const dt_pair_input *pair, dt_error *error)
{
    size_t size;
    if (writer->failed)
        return dt_fail(error, "%s: writing has failed before", writer->path);
    if (!dt_pair_check(pair, &size, error))
        return false;
    if (writer->pending + size > TRANSACTION_BYTES || !writer->txn)
        if (!commit(writer, error) || !begin(writer, size, error))
            return false;
    uint64_t index = htobe64(writer->count);
    MDB_val key = {sizeof index, &index}, value = {size, NULL};
    int status = mdb_put(writer->txn, writer->table, &key, &value, MDB_APPEND | MDB_RESERVE);
    if (status)
        return write_failed(writer, status, error);
    dt_pair_encode(pair, value.mv_data);
    writer->pending += size;
    writer->count++;
    writer->captions += pair->caption_count;
    writer->jpeg_bytes += pair->jpeg_size;
    writer->lossless += dt_is_png(pair->jpeg, pair->jpeg_size);
    writer->weighted |= pair->weight != 1;
    if (pair->label > writer->last_label)
        writer->last_label = pair->label;
    return true;
}

bool dt_pairs_failed(const dt_pairs_writer *writer)
{
    return writer->failed;
}

bool dt_pairs_finish(dt_pairs_writer *writer, const char *const *classes, size_t class_count,
                     const char *const *sources, size_t source_count, const json_t *more, dt_error *error)
{
    bool good;
    int status;
    if (writer->failed)
        good = dt_fail(error, "%s: writing has failed before", writer->path);
    else if (!writer->count)
        good = dt_fail(error, "%s: there are no pairs to store", writer->path);
    else if (writer->last_label >= 0 && (size_t)writer->last_label >= class_count)
        good = dt_fail(error, "%s: label %d is in use, but there are only %zu classes", writer->path,
                       writer->last_label, class_count);
    else
        good = put_meta(writer, classes, class_count, sources, source_count, more, error);
    if (good && (status = mdb_env_sync(writer->env, 1)))
        good = write_failed(writer, status, error);
    if (good && rename(writer->temporary, writer->path))
        good = dt_fail(error, "cannot rename %s to %s: %s", writer->temporary, writer->path, strerror(errno));
    if (!good) {
        dt_pairs_abort(writer);
        return false;
    }
    good = dt_sync_directory_of(writer->path, error);
    free_writer(writer);
    return good;
}

void dt_pairs_abort(dt_pairs_writer *writer)
{
    if (!writer)
        return;
    unlink(writer->temporary);
    free_writer(writer);
}

static void free_writer(dt_pairs_writer *writer)
{
    if (writer->txn)
        mdb_txn_abort(writer->txn);
    if (writer->env)
        mdb_env_close(writer->env);
    if (writer->lock >= 0)
        close(writer->lock);
    free(writer->path);
    free(writer->temporary);
    free(writer);
}

/* A symbolic link is followed, so that the rename replaces what it points to. */
static bool check_target(dt_pairs_writer *writer, const char *path, bool replace, dt_error *error)
{
    struct stat about;
    bool exists = stat(path, &about) == 0;
    if (exists && S_ISDIR(about.st_mode))
        return dt_fail(error, "%s is a directory; a store is one file, such as %s/train.lmdb", path, path);
    if (exists && !S_ISREG(about.st_mode))
        return dt_fail(error, "%s exists and is not a regular file", path);
    if (exists && !replace)
        return dt_fail(error, "%s exists; remove it, or ask for it to be replaced (--replace)", path);
    writer->path = exists ? realpath(path, NULL) : strdup(path);
    if (!writer->path || asprintf(&writer->temporary, "%s.tmp", writer->path) < 0) {
        writer->temporary = NULL;
        return dt_fail(error, "cannot write %s: %s", path, strerror(errno));
    }
    return true;
}

/* The temporary name is always the same, so that killed runs leave one file at most; the lock keeps a second
 * writer away, and goes with the process. */
static bool claim_temporary(dt_pairs_writer *writer, dt_error *error)
{
    struct stat held, named;
    const char *name = writer->temporary;
    writer->lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (writer->lock < 0)
        return dt_fail(error, "cannot write %s: %s", name, strerror(errno));
    if (flock(writer->lock, LOCK_EX | LOCK_NB)) /* or the other one has just renamed or removed it */
        return dt_fail(
            error, errno == EWOULDBLOCK ? "%s is being written by another process" : "cannot lock %s", name);
    if (fstat(writer->lock, &held) || stat(name, &named) || held.st_ino != named.st_ino ||
        held.st_dev != named.st_dev || !S_ISREG(held.st_mode))
        return dt_fail(error, "%s is being written by another process", name);
    if (ftruncate(writer->lock, 0))
        return dt_fail(error, "cannot write %s: %s", name, strerror(errno));
    return true;
}

/* The map must hold what is there, the records of one transaction and LMDB's own pages; beyond the end of the
 * file it costs only addresses. It can grow between transactions only. */
static bool begin(dt_pairs_writer *writer, size_t bytes, dt_error *error)
{
    MDB_envinfo info;
    MDB_stat stat;
    mdb_env_info(writer->env, &info);
    mdb_env_stat(writer->env, &stat);
    size_t need = (info.me_last_pgno + 1) * stat.ms_psize;
    need += need / 64 + 4 * (bytes + (size_t)TRANSACTION_BYTES);
    size_t size = writer->map_size ? writer->map_size : FIRST_MAP;
    while (size < need)
        size *= 2;
    int status = 0;
    if (size != writer->map_size)
        status = mdb_env_set_mapsize(writer->env, size);
    writer->map_size = size;
    if (!status)
        status = mdb_txn_begin(writer->env, NULL, 0, &writer->txn);
    if (!status)
        status = mdb_dbi_open(writer->txn, NULL, 0, &writer->table);
    writer->pending = 0;
    return !status || write_failed(writer, status, error);
}

static bool commit(dt_pairs_writer *writer, dt_error *error)
{
    int status = writer->txn ? mdb_txn_commit(writer->txn) : 0;
    writer->txn = NULL;
    return !status || write_failed(writer, status, error);
}

/* LMDB turns a write that was cut short into EIO, which on a full disk is what happens first. Writing on, in
 * the file that is lost anyway, tells the reason. */
static int reason_of_short_write(const dt_pairs_writer *writer)
{
    static const char zeros[1 << 16];
    off_t end = lseek(writer->lock, 0, SEEK_END);
    for (int i = 0; i < 64 && end >= 0; i++) {
        ssize_t n = pwrite(writer->lock, zeros, sizeof zeros, end);
        if (n < 0)
            return errno;
        end += n;
    }
    return EIO;
}

static bool write_failed(dt_pairs_writer *writer, int status, dt_error *error)
{
    writer->failed = true;
    if (status == EIO)
        status = reason_of_short_write(writer);
    const char *advice = status == ENOSPC || status == EDQUOT ? "; free some space and pack it again"
                         : status == EFBIG                    ? "; raise the limit on file sizes (ulimit -f)"
                                                              : "";
    return dt_fail(error, "cannot write %s after %llu pairs: %s%s", writer->path,
                   (unsigned long long)writer->count, mdb_strerror(status), advice);
}

static json_t *texts(const char *const *items, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        if (json_array_append_new(array, json_string(items[i]))) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static char *meta_text(const dt_pairs_writer *writer, json_t *classes, json_t *sources, const json_t *more,
                       dt_error *error)
{
    json_t *meta = json_object();
    int bad = json_object_set_new(meta, "format", json_string(PAIRS_FORMAT));
    bad |= json_object_set_new(meta, "version", json_integer(PAIRS_VERSION));
    bad |= json_object_set_new(meta, "count", json_integer((json_int_t)writer->count));
    bad |= json_object_set_new(meta, "captions", json_integer((json_int_t)writer->captions));
    bad |= json_object_set_new(meta, "jpeg_bytes", json_integer((json_int_t)writer->jpeg_bytes));
    if (writer->lossless)
        bad |= json_object_set_new(meta, "lossless", json_integer((json_int_t)writer->lossless));
    bad |= json_object_set_new(meta, "weighted", json_boolean(writer->weighted));
    bad |= json_object_set(meta, "classes", classes);
    bad |= json_object_set(meta, "sources", sources);
    if (more)
        bad |= json_object_update_missing(meta, (json_t *)(uintptr_t)more);
    bad |= json_object_set_new(meta, "complete", json_true());
    char *text = NULL;
    if (bad)
        dt_fail(error, "%s: no memory for the meta record", writer->path);
    else
        text = dt_json_text(meta, 0, error);
    json_decref(meta);
    return text;
}

/* The meta record goes in with a transaction of its own, after all pairs. */
static bool put_meta(dt_pairs_writer *writer, const char *const *classes, size_t class_count,
                     const char *const *sources, size_t source_count, const json_t *more, dt_error *error)
{
    json_t *names = texts(classes, class_count), *origins = texts(sources, source_count);
    bool good = false;
    char *text = NULL;
    if (!names || !origins)
        dt_fail(error, "%s: a %s is not UTF-8", writer->path, names ? "source" : "class name");
    else
        text = meta_text(writer, names, origins, more, error);
    if (text && commit(writer, error) && begin(writer, strlen(text), error)) {
        MDB_val key = {strlen(META_KEY), (void *)(uintptr_t)META_KEY}, value = {strlen(text), text};
        int status = mdb_put(writer->txn, writer->table, &key, &value, MDB_APPEND);
        good = status ? write_failed(writer, status, error) : commit(writer, error);
    }
    json_decref(names);
    json_decref(origins);
    free(text);
    return good;
}
