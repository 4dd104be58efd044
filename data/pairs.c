#include "data/pairs.h"

#include <endian.h>
#include <errno.h>
#include <glob.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/file.h"
#include "data/json.h"
#include "data/pairs_record.h"

struct shard {
    char *path;
    MDB_env *env;
    MDB_dbi table;
    uint64_t first, count; /* its pairs within the index space of all */
    json_t *meta;
    const json_t *classes, *sources; /* within meta */
    bool weighted;
    int32_t *labels;      /* its labels as labels of all; NULL: they are the same */
    pthread_mutex_t lock; /* over the pool of idle read transactions */
    MDB_txn **idle;
    size_t idle_count, open_count, room;
};

struct dt_pairs {
    struct shard **shards;
    size_t shard_count, room;
    uint64_t count;
    bool weighted;
    const char **class_names; /* within the metas */
    size_t class_count;
    json_t *meta;
};

static bool add_pattern(dt_pairs *pairs, const char *pattern, dt_error *error);
static bool merge_classes(dt_pairs *pairs, dt_error *error);
static bool merge_meta(dt_pairs *pairs, dt_error *error);
static void close_shard(struct shard *shard);

dt_pairs *dt_pairs_open(const char *path, dt_error *error)
{
    return dt_pairs_open_list(&path, 1, error);
}

dt_pairs *dt_pairs_open_list(const char *const *paths, size_t path_count, dt_error *error)
{
    dt_pairs *pairs = calloc(1, sizeof *pairs);
    if (!pairs) {
        dt_fail(error, "no memory to open a pair store");
        return NULL;
    }
    bool good = path_count > 0 || dt_fail(error, "no pair store was named");
    for (size_t i = 0; i < path_count && good; i++)
        good = add_pattern(pairs, paths[i], error);
    for (size_t i = 0; i < pairs->shard_count; i++) {
        pairs->shards[i]->first = pairs->count;
        pairs->count += pairs->shards[i]->count;
        pairs->weighted |= pairs->shards[i]->weighted;
    }
    if (!good || !merge_classes(pairs, error) || !merge_meta(pairs, error)) {
        dt_pairs_close(pairs);
        return NULL;
    }
    return pairs;
}

void dt_pairs_close(dt_pairs *pairs)
{
    if (!pairs)
        return;
    for (size_t i = 0; i < pairs->shard_count; i++)
        close_shard(pairs->shards[i]);
    json_decref(pairs->meta);
    free(pairs->class_names);
    free(pairs->shards);
    free(pairs);
}

uint64_t dt_pairs_count(const dt_pairs *pairs)
{
    return pairs->count;
}

bool dt_pairs_weighted(const dt_pairs *pairs)
{
    return pairs->weighted;
}

size_t dt_pairs_class_count(const dt_pairs *pairs)
{
    return pairs->class_count;
}

const char *dt_pairs_class_name(const dt_pairs *pairs, size_t label)
{
    return label < pairs->class_count ? pairs->class_names[label] : NULL;
}

const json_t *dt_pairs_meta(const dt_pairs *pairs)
{
    return pairs->meta;
}

const char *dt_pair_caption(const dt_pair *pair, size_t i, size_t *size)
{
    size_t start = i ? dt_pair_caption_end(pair, i - 1) : 0;
    if (size)
        *size = dt_pair_caption_end(pair, i) - start - 1;
    return pair->caption_text + start;
}

/* ---- one pair ---- */

static struct shard *find_shard(const dt_pairs *pairs, uint64_t index)
{
    size_t low = 0, high = pairs->shard_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (pairs->shards[middle]->first <= index)
            low = middle;
        else
            high = middle;
    }
    return pairs->shards[low];
}

/* An idle transaction, or a new one; the pool is made large enough to take every open one back. */
static int borrow(struct shard *shard, MDB_txn **txn)
{
    int status = 0;
    pthread_mutex_lock(&shard->lock);
    if (shard->idle_count) {
        *txn = shard->idle[--shard->idle_count];
    } else {
        if (shard->open_count == shard->room) {
            size_t room = shard->room ? 2 * shard->room : 8;
            MDB_txn **idle = realloc(shard->idle, room * sizeof *idle);
            if (idle)
                shard->idle = idle, shard->room = room;
            else
                status = ENOMEM;
        }
        if (!status && !(status = mdb_txn_begin(shard->env, NULL, MDB_RDONLY, txn)))
            shard->open_count++;
    }
    pthread_mutex_unlock(&shard->lock);
    return status;
}

static void give_back(struct shard *shard, MDB_txn *txn)
{
    pthread_mutex_lock(&shard->lock);
    shard->idle[shard->idle_count++] = txn;
    pthread_mutex_unlock(&shard->lock);
}

bool dt_pairs_get(const dt_pairs *pairs, uint64_t index, dt_pair *pair, dt_error *error)
{
    *pair = (dt_pair){.label = -1};
    if (index >= pairs->count)
        return dt_fail(error, "pair %llu asked for, but there are only %llu", (unsigned long long)index,
                       (unsigned long long)pairs->count);
    struct shard *shard = find_shard(pairs, index);
    uint64_t place = index - shard->first, bytes = htobe64(place);
    MDB_val key = {sizeof bytes, &bytes}, value;
    MDB_txn *txn;
    int status = borrow(shard, &txn);
    if (!status) {
        status = mdb_get(txn, shard->table, &key, &value);
        give_back(shard, txn);
    }
    if (status)
        return dt_fail(error, "%s: cannot read pair %llu: %s; pack the store again", shard->path,
                       (unsigned long long)place, mdb_strerror(status));
    bool good = dt_pair_decode(value.mv_data, value.mv_size, pair, error);
    size_t classes = json_array_size(shard->classes);
    if (good && pair->label >= 0 && (size_t)pair->label >= classes)
        good = dt_fail(error, "label %d, but there are only %zu classes", pair->label, classes);
    if (!good)
        return dt_fail_prefix(error, "%s: pair %llu is damaged", shard->path, (unsigned long long)place);
    if (pair->label >= 0 && shard->labels)
        pair->label = shard->labels[pair->label];
    return true;
}

/* ---- one shard ---- */

/* The start of an LMDB file as LMDB writes it in memory order. LMDB itself divides by the page size that it
 * finds and maps what the file claims to hold, so both are checked before it sees the file. */
struct lmdb_meta {
    size_t page_number;
    uint32_t page_flags[2];
    uint32_t magic, version;
    size_t address, map_size;
    struct {
        uint32_t page_size; /* in the first table; flags of fixed-size items in the second */
        uint16_t flags, depth;
        size_t branches, leaves, overflows, entries, root;
    } table[2];
    size_t last_page, transaction;
};

static bool read_lmdb_meta(FILE *file, const char *path, size_t offset, uint64_t size, struct lmdb_meta *meta,
                           dt_error *error)
{
    if (fseeko(file, (off_t)offset, SEEK_SET) || fread(meta, sizeof *meta, 1, file) != 1 ||
        meta->magic != 0xBEEFC0DE)
        return dt_fail(error, "%s is not a pair store (not an LMDB file); make one with duet pack", path);
    uint32_t page = meta->table[0].page_size;
    if (meta->version != 1 || page < 512 || page > 65536 || (page & (page - 1)) || meta->table[1].flags)
        return dt_fail(error, "%s is an LMDB file, but not of the kind that Duet writes", path);
    if (meta->last_page >= size / page)
        return dt_fail(error, "%s is truncated: %llu bytes are there, %llu are needed; pack or copy it again",
                       path, (unsigned long long)size, ((unsigned long long)meta->last_page + 1) * page);
    return true;
}

/* Both of LMDB's meta pages: the one with the higher transaction counts, the other was the state before. */
static bool check_lmdb_file(const char *path, dt_error *error)
{
    struct stat about;
    FILE *file = fopen(path, "rbe");
    if (!file)
        return dt_fail(error, "cannot open the pair store %s: %s", path, strerror(errno));
    bool good;
    struct lmdb_meta meta;
    if (fstat(fileno(file), &about) != 0 || !S_ISREG(about.st_mode)) {
        good = dt_fail(error, "%s is not a regular file, expected a pair store", path);
    } else {
        uint64_t size = (uint64_t)about.st_size;
        good = read_lmdb_meta(file, path, 0, size, &meta, error) &&
               read_lmdb_meta(file, path, meta.table[0].page_size, size, &meta, error);
    }
    fclose(file);
    return good;
}

/* Takes the meta record as JSON and the number of pairs that the file holds. */
static bool load_meta_record(struct shard *shard, MDB_txn *txn, uint64_t *pair_count, dt_error *error)
{
    MDB_val key = {strlen(META_KEY), (void *)(uintptr_t)META_KEY}, value;
    MDB_stat stat;
    int status = mdb_dbi_open(txn, NULL, 0, &shard->table);
    if (!status)
        status = mdb_stat(txn, shard->table, &stat);
    if (!status)
        status = mdb_get(txn, shard->table, &key, &value);
    if (status == MDB_NOTFOUND) {
        uint64_t zero = 0;
        MDB_val first = {sizeof zero, &zero};
        if (!stat.ms_entries || !mdb_get(txn, shard->table, &first, &value))
            return dt_fail(error, "%s is unfinished: packing was interrupted; pack it again", shard->path);
        return dt_fail(error, "%s is an LMDB file of another program (no %s record); make one with duet pack",
                       shard->path, META_KEY);
    }
    if (status)
        return dt_fail(error, "cannot read %s: %s", shard->path, mdb_strerror(status));
    *pair_count = stat.ms_entries - 1;
    shard->meta = dt_json_parse(value.mv_data, value.mv_size, shard->path, error);
    return shard->meta || dt_fail_prefix(error, "meta record");
}

static bool read_meta_record(struct shard *shard, uint64_t pair_count, dt_error *error)
{
    const char *format = "";
    int version = 0;
    bool complete = false;
    int64_t count = 0;
    const dt_json_field fields[] = {
        {"format", DT_JSON_STRING, &format, .required = true},
        {"version", DT_JSON_INT, &version, .required = true},
        {"complete", DT_JSON_BOOL, &complete, .required = true},
        {"count", DT_JSON_INT64, &count, .required = true, .least = 1, .most = 0x1p53},
        {"weighted", DT_JSON_BOOL, &shard->weighted, .required = false},
        {"classes", DT_JSON_ARRAY, &shard->classes, .required = false},
        {"sources", DT_JSON_ARRAY, &shard->sources, .required = false},
    };
    if (!dt_json_read_known(shard->meta, shard->path, "", fields, sizeof fields / sizeof fields[0], error))
        return dt_fail_prefix(error, "meta record");
    if (strcmp(format, PAIRS_FORMAT) || version != PAIRS_VERSION)
        return dt_fail(error, "%s has format %s version %d, expected %s version %d; pack it again",
                       shard->path, format, version, PAIRS_FORMAT, PAIRS_VERSION);
    shard->count = (uint64_t)count;
    if (!complete || pair_count != shard->count)
        return dt_fail(error, "%s is unfinished: %llu pairs are there, %llu are needed; pack it again",
                       shard->path, (unsigned long long)pair_count, (unsigned long long)shard->count);
    size_t classes = json_array_size(shard->classes);
    if (classes > DT_PAIR_CLASSES_MAX)
        return dt_fail(error, "%s: %zu classes, at most %d are possible", shard->path, classes,
                       DT_PAIR_CLASSES_MAX);
    for (size_t i = 0; i < classes; i++)
        if (!json_is_string(json_array_get(shard->classes, i)))
            return dt_fail(error, "%s: the name of class %zu is not a string", shard->path, i);
    return true;
}

static bool open_shard(struct shard *shard, dt_error *error)
{
    if (!check_lmdb_file(shard->path, error))
        return false;
    MDB_txn *txn = NULL;
    int status = mdb_env_create(&shard->env);
    if (!status)
        status = mdb_env_open(shard->env, shard->path, MDB_RDONLY | MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOTLS, 0);
    if (!status)
        status = borrow(shard, &txn);
    if (status)
        return dt_fail(error, "cannot open %s: %s", shard->path, mdb_strerror(status));
    uint64_t pair_count = 0;
    bool good = load_meta_record(shard, txn, &pair_count, error);
    give_back(shard, txn);
    return good && read_meta_record(shard, pair_count, error);
}

static void close_shard(struct shard *shard)
{
    for (size_t i = 0; i < shard->idle_count; i++)
        mdb_txn_abort(shard->idle[i]);
    if (shard->env)
        mdb_env_close(shard->env);
    pthread_mutex_destroy(&shard->lock);
    json_decref(shard->meta);
    free(shard->idle);
    free(shard->labels);
    free(shard->path);
    free(shard);
}

static bool add_shard(dt_pairs *pairs, const char *directory, const char *name, dt_error *error)
{
    if (pairs->shard_count == pairs->room) {
        size_t room = pairs->room ? 2 * pairs->room : 4;
        struct shard **shards = realloc(pairs->shards, room * sizeof *shards);
        if (!shards)
            return dt_fail(error, "no memory for %zu shards", room);
        pairs->shards = shards;
        pairs->room = room;
    }
    struct shard *shard = calloc(1, sizeof *shard);
    if (!shard || !(shard->path = dt_join(directory, name))) {
        free(shard);
        return dt_fail(error, "no memory");
    }
    pthread_mutex_init(&shard->lock, NULL);
    pairs->shards[pairs->shard_count++] = shard;
    return open_shard(shard, error);
}

static bool add_matches(dt_pairs *pairs, const char *pattern, dt_error *error)
{
    glob_t found;
    bool good = false;
    int status = glob(pattern, GLOB_BRACE, NULL, &found);
    if (status == GLOB_NOMATCH)
        return dt_fail(error, "no pair store at %s", pattern);
    if (status)
        return dt_fail(error, "cannot list %s: %s", pattern, strerror(errno));
    for (size_t i = 0; i < found.gl_pathc; i++)
        if (!(good = add_shard(pairs, "", found.gl_pathv[i], error)))
            break;
    globfree(&found);
    return good;
}

static bool add_pattern(dt_pairs *pairs, const char *pattern, dt_error *error)
{
    if (!dt_is_directory(pattern))
        return dt_file_exists(pattern) ? add_shard(pairs, "", pattern, error)
                                       : add_matches(pairs, pattern, error);
    char *inside = dt_join(pattern, "data.mdb"), *all = dt_join(pattern, "*.lmdb");
    bool good = inside && all ? dt_file_exists(inside) ? add_shard(pairs, "", inside, error)
                                                       : add_matches(pairs, all, error)
                              : dt_fail(error, "no memory");
    free(inside);
    free(all);
    return good;
}

/* ---- all shards together ---- */

static const char *class_of(const struct shard *shard, size_t label)
{
    return json_string_value(json_array_get(shard->classes, label));
}

static bool same_classes(const dt_pairs *pairs)
{
    for (size_t i = 1; i < pairs->shard_count; i++)
        if (!json_equal(pairs->shards[i]->classes, pairs->shards[0]->classes))
            return false;
    return true;
}

/* The labels of one shard as labels of all; names that are new are appended. `known` maps name to label.
 * Two classes of one shard may share a name; merged by name they would become one, so that is refused. */
static bool map_labels(dt_pairs *pairs, struct shard *shard, json_t *known, dt_error *error)
{
    size_t count = json_array_size(shard->classes), before = pairs->class_count;
    bool *used = calloc(before + count + 1, sizeof *used), good = true;
    shard->labels = calloc(count + 1, sizeof *shard->labels);
    if (!shard->labels || !used)
        good = dt_fail(error, "%s: no memory for %zu classes", shard->path, count);
    for (size_t i = 0; i < count && good; i++) {
        const char *name = class_of(shard, i);
        size_t label = pairs->class_count;
        const json_t *found = json_object_get(known, name);
        if (found)
            label = (size_t)json_integer_value(found);
        else if (json_object_set_new(known, name, json_integer((json_int_t)label)))
            good = dt_fail(error, "%s: no memory for %zu classes", shard->path, count);
        else
            pairs->class_names[pairs->class_count++] = name;
        if (good && used[label])
            good = dt_fail(error, "%s: two classes are called %s, so they cannot be merged by name",
                           shard->path, name);
        used[label] = true;
        shard->labels[i] = (int32_t)label;
    }
    free(used);
    return good;
}

static bool merge_classes(dt_pairs *pairs, dt_error *error)
{
    size_t most = 0;
    bool same = same_classes(pairs), good = true;
    for (size_t i = 0; i < (same ? 1 : pairs->shard_count); i++)
        most += json_array_size(pairs->shards[i]->classes);
    if (!(pairs->class_names = calloc(most + 1, sizeof *pairs->class_names)))
        return dt_fail(error, "no memory for %zu classes", most);
    if (same) {
        for (; pairs->class_count < most; pairs->class_count++)
            pairs->class_names[pairs->class_count] = class_of(pairs->shards[0], pairs->class_count);
        return true;
    }
    json_t *known = json_object();
    for (size_t i = 0; i < pairs->shard_count && good; i++)
        good = map_labels(pairs, pairs->shards[i], known, error);
    json_decref(known);
    return good;
}

static json_t *total(const dt_pairs *pairs, const char *key)
{
    json_int_t sum = 0;
    for (size_t i = 0; i < pairs->shard_count; i++) {
        json_int_t n = json_integer_value(json_object_get(pairs->shards[i]->meta, key));
        if (__builtin_add_overflow(sum, n, &sum))
            sum = INT64_MAX;
    }
    return json_integer(sum);
}

static bool merge_meta(dt_pairs *pairs, dt_error *error)
{
    json_t *meta = pairs->meta = json_deep_copy(pairs->shards[0]->meta);
    json_t *classes = json_array(), *sources = json_array(), *shards = json_array();
    int bad = 0;
    for (size_t i = 0; i < pairs->class_count; i++)
        bad |= json_array_append_new(classes, json_string(pairs->class_names[i]));
    for (size_t i = 0; i < pairs->shard_count; i++) {
        const struct shard *shard = pairs->shards[i];
        json_t *path = json_string(shard->path); /* NULL for a name that is not UTF-8 */
        bad |= json_array_append_new(shards, path ? path : json_string("?"));
        if (shard->sources)
            bad |= json_array_extend(sources, (json_t *)(uintptr_t)shard->sources);
    }
    bad |= json_object_set_new(meta, "count", json_integer((json_int_t)pairs->count));
    bad |= json_object_set_new(meta, "weighted", json_boolean(pairs->weighted));
    bad |= json_object_set_new(meta, "captions", total(pairs, "captions"));
    bad |= json_object_set_new(meta, "jpeg_bytes", total(pairs, "jpeg_bytes"));
    json_t *lossless = total(pairs, "lossless");
    if (json_integer_value(lossless))
        bad |= json_object_set(meta, "lossless", lossless);
    json_decref(lossless);
    bad |= json_object_set_new(meta, "classes", classes);
    bad |= json_object_set_new(meta, "sources", sources);
    bad |= json_object_set_new(meta, "shards", shards);
    return !bad || dt_fail(error, "no memory for the meta record");
}
