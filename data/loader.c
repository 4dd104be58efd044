#include "data/loader.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "data/clock.h"
#include "data/pixel_cache.h"
#include "data/sample.h"
#include "data/shuffle.h"

enum { ORDER = 3, DEPTH = 3, THREADS_MAX = 1024, DEPTH_MAX = 1024 };

/* One who makes rows: a worker, or the caller. */
typedef struct maker {
    dt_sample_scratch *scratch;
    int most; /* rows to claim next */
} maker;

/* A batch in the making. Rows are written by whoever claimed them, all else under the loader's lock. */
typedef struct slot {
    void *images; /* float, or uint8_t */
    int32_t *tokens, *labels;
    uint64_t *indices;
    int missing;     /* rows not yet made */
    int bad_row;     /* the first that failed, or -1 */
    dt_error reason; /* of bad_row */
} slot;

/* Batches are numbered through all epochs. claimed <= number: rows not yet given out; delivered <= number <
 * claimed: being made or waiting; the caller's batch is delivered - 1. A slot is reused once `released` has
 * passed it. */
struct dt_loader {
    dt_loader_options options;
    dt_sample_maker sample;
    dt_alias *alias; /* NULL: not weighted */
    uint64_t samples, per_epoch, end;

    pthread_mutex_t lock;
    pthread_cond_t work, ready;
    uint64_t claimed, released, delivered;
    int claimed_rows; /* of batch `claimed` */
    bool stop;
    dt_loader_stats stats;

    int depth, started; /* threads that run */
    slot *slots;
    pthread_t *threads;
    maker caller; /* works when there are no threads */
};

/* Rows at .. at + count - 1 of a batch. */
typedef struct stretch {
    uint64_t batch;
    int at, count;
} stretch;

/* Rows are claimed by stretches that take about so long: by then the lock costs nothing beside them, and hardly any
 * thread waits for another at a batch's end. */
static const double STRETCH_SECONDS = 50e-6;
enum { STRETCH_MOST = 32 };

static uint64_t row_at(const dt_loader *loader, uint64_t i)
{
    return loader->options.rows ? loader->options.rows[i] : i;
}

static uint64_t index_at(const dt_loader *loader, uint64_t epoch, uint64_t position)
{
    uint64_t seed = dt_hash64(loader->options.seed, ORDER, 0);
    if (loader->alias)
        position = dt_alias_draw(loader->alias, dt_uniform(seed, epoch, position));
    else if (loader->options.shuffle)
        position = dt_permute(loader->samples, seed, epoch, position);
    return row_at(loader, position);
}

/* Samples in a batch: fewer than batch_size only at the end of an epoch. */
static int count_of(const dt_loader *loader, uint64_t batch)
{
    uint64_t size = (uint64_t)loader->options.batch_size;
    uint64_t left = loader->samples - batch % loader->per_epoch * size;
    return (int)(left < size ? left : size);
}

static size_t image_bytes(const dt_loader *loader)
{
    const dt_transform *t = &loader->options.transform;
    return (size_t)t->size * (size_t)t->size * 3 * (t->bytes ? sizeof(uint8_t) : sizeof(float));
}

static void *image_at(const dt_loader *loader, const slot *s, size_t row)
{
    return (uint8_t *)s->images + row * image_bytes(loader);
}

/* Rows that no sample fills. */
static void clear_tail(const dt_loader *loader, slot *s, int count)
{
    size_t left = (size_t)(loader->options.batch_size - count), from = (size_t)count;
    size_t context = (size_t)loader->options.context;
    memset(image_at(loader, s, from), 0, left * image_bytes(loader));
    if (s->tokens)
        memset(s->tokens + from * context, 0, left * context * sizeof *s->tokens);
    for (size_t i = from; i < from + left; i++)
        s->labels[i] = -1, s->indices[i] = 0;
}

/* Gives out the next rows, at most so many, if a slot is free. Under the lock. */
static bool claim(dt_loader *loader, int most, stretch *r)
{
    if (loader->claimed >= loader->end || loader->claimed - loader->released >= (uint64_t)loader->depth)
        return false;
    slot *s = &loader->slots[loader->claimed % (uint64_t)loader->depth];
    int count = count_of(loader, loader->claimed), left = count - loader->claimed_rows;
    *r = (stretch){loader->claimed, loader->claimed_rows, left < most ? left : most};
    loader->claimed_rows += r->count;
    if (r->at == 0)
        s->missing = count, s->bad_row = -1;
    if (loader->claimed_rows == count)
        loader->claimed++, loader->claimed_rows = 0;
    return true;
}

/* Fills row `at` of a batch. Without the lock, as the next. */
static bool make_row(const dt_loader *loader, dt_sample_scratch *scratch, uint64_t batch, size_t at, dt_error *error)
{
    slot *s = &loader->slots[batch % (uint64_t)loader->depth];
    uint64_t epoch = batch / loader->per_epoch;
    uint64_t position = batch % loader->per_epoch * (uint64_t)loader->options.batch_size + at;
    s->indices[at] = index_at(loader, epoch, position);
    const dt_sample out = {image_at(loader, s, at),
                           s->tokens ? s->tokens + at * (size_t)loader->options.context : NULL,
                           s->labels + at};
    if (dt_sample_make(&loader->sample, scratch, s->indices[at], epoch, position, &out, error))
        return true;
    if (loader->options.files)
        return false; /* the message names the file */
    return dt_fail_prefix(error, "pair %llu (sample %llu of epoch %llu)", (unsigned long long)s->indices[at],
                          (unsigned long long)position, (unsigned long long)epoch);
}

/* Fills the rows of a stretch, up to the first that fails. Returns that one, or -1. */
static int make_rows(const dt_loader *loader, dt_sample_scratch *scratch, stretch r, dt_error *error)
{
    int count = count_of(loader, r.batch);
    if (r.at == 0 && count < loader->options.batch_size)
        clear_tail(loader, &loader->slots[r.batch % (uint64_t)loader->depth], count);
    for (int at = r.at; at < r.at + r.count; at++)
        if (!make_row(loader, scratch, r.batch, (size_t)at, error))
            return at;
    return -1;
}

/* Takes note of rows that were made. Under the lock. */
static void finish(dt_loader *loader, stretch r, int bad_row, const dt_error *reason, double seconds)
{
    slot *s = &loader->slots[r.batch % (uint64_t)loader->depth];
    if (bad_row >= 0 && (s->bad_row < 0 || bad_row < s->bad_row)) /* the first in order, not in time */
        s->bad_row = bad_row, s->reason = *reason;
    s->missing -= r.count;
    if (s->missing == 0)
        pthread_cond_signal(&loader->ready);
    loader->stats.working += seconds;
    loader->stats.samples += (uint64_t)r.count;
}

/* Makes the next rows, if a slot is free; without the lock, which is held before and after. */
static bool make_next(dt_loader *loader, maker *m)
{
    stretch r;
    dt_error reason = {""};
    if (!claim(loader, m->most, &r))
        return false;
    pthread_mutex_unlock(&loader->lock);
    double start = dt_now();
    int bad_row = make_rows(loader, m->scratch, r, &reason);
    double seconds = dt_now() - start, most = STRETCH_SECONDS * r.count / (seconds + 1e-9);
    m->most = most < 1 ? 1 : most < STRETCH_MOST ? (int)most : STRETCH_MOST;
    pthread_mutex_lock(&loader->lock);
    finish(loader, r, bad_row, &reason, seconds);
    return true;
}

typedef struct worker {
    dt_loader *loader;
    maker maker;
} worker;

static void *run(void *argument)
{
    worker w = *(worker *)argument;
    free(argument);
    pthread_mutex_lock(&w.loader->lock);
    while (!w.loader->stop)
        if (!make_next(w.loader, &w.maker))
            pthread_cond_wait(&w.loader->work, &w.loader->lock);
    pthread_mutex_unlock(&w.loader->lock);
    dt_sample_scratch_free(w.maker.scratch);
    return NULL;
}

static bool start_thread(dt_loader *loader, dt_error *error)
{
    worker *w = malloc(sizeof *w);
    if (!w)
        return dt_fail(error, "no memory for a loader thread");
    *w = (worker){loader, {dt_sample_scratch_new(error), 1}};
    if (!w->maker.scratch) {
        free(w);
        return false;
    }
    int status = pthread_create(&loader->threads[loader->started], NULL, run, w);
    if (status != 0) {
        dt_sample_scratch_free(w->maker.scratch);
        free(w);
        return dt_fail(error, "cannot start loader thread %d: %s", loader->started + 1, strerror(status));
    }
    loader->started++;
    return true;
}

static bool start_threads(dt_loader *loader, dt_error *error)
{
    if (loader->options.threads == 0) {
        loader->caller = (maker){dt_sample_scratch_new(error), 1};
        return loader->caller.scratch != NULL;
    }
    loader->threads = calloc((size_t)loader->options.threads, sizeof *loader->threads);
    if (!loader->threads)
        return dt_fail(error, "no memory for %d loader threads", loader->options.threads);
    sigset_t all, before; /* signals are the main thread's business */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool good = true;
    while (good && loader->started < loader->options.threads)
        good = start_thread(loader, error);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return good;
}

static bool check_options(const dt_loader_options *o, dt_error *error)
{
    if (o->batch_size < 1 || o->batch_size > 1 << 24)
        return dt_fail(error, "batch size %d, expected 1 to %d", o->batch_size, 1 << 24);
    if (o->threads < 0 || o->threads > THREADS_MAX)
        return dt_fail(error, "%d loader threads, expected 0 to %d", o->threads, THREADS_MAX);
    if (o->depth < 0 || o->depth > DEPTH_MAX)
        return dt_fail(error, "%d batches ahead, expected 0 to %d", o->depth, DEPTH_MAX);
    if (o->tokenizer && (o->context < 1 || o->context > 65536))
        return dt_fail(error, "context of %d tokens, expected 1 to 65536", o->context);
    if (!o->allocate != !o->release)
        return dt_fail(error, "a loader needs both of allocate and release, or neither");
    return dt_transform_check(&o->transform, error);
}

static bool plan_epochs(dt_loader *loader, dt_error *error)
{
    const dt_loader_options *o = &loader->options;
    uint64_t size = (uint64_t)o->batch_size, whole = loader->samples / size;
    loader->per_epoch = whole + (!o->drop_last && loader->samples % size);
    if (loader->per_epoch == 0)
        return dt_fail(error, "%llu pairs are fewer than one batch of %d",
                       (unsigned long long)loader->samples, o->batch_size);
    uint64_t first;
    if (__builtin_mul_overflow(o->epoch, loader->per_epoch, &first) ||
        __builtin_add_overflow(first, o->batch, &first) || first > INT64_MAX)
        return dt_fail(error, "cannot start at epoch %llu, batch %llu: too large",
                       (unsigned long long)o->epoch, (unsigned long long)o->batch);
    if (o->epochs == 0 || __builtin_mul_overflow(o->epochs, loader->per_epoch, &loader->end))
        loader->end = UINT64_MAX;
    if (loader->end < first)
        loader->end = first;
    loader->claimed = loader->released = loader->delivered = first;
    return true;
}

static void *aligned(size_t bytes)
{
    void *memory;
    return posix_memalign(&memory, 64, bytes) ? NULL : memory;
}

static bool make_slots(dt_loader *loader, dt_error *error)
{
    const dt_loader_options *o = &loader->options;
    void *(*allocate)(size_t) = o->allocate ? o->allocate : aligned;
    size_t rows = (size_t)o->batch_size, bytes;
    loader->slots = calloc((size_t)loader->depth, sizeof *loader->slots);
    bool good = loader->slots && !__builtin_mul_overflow(rows, image_bytes(loader), &bytes);
    for (int i = 0; good && i < loader->depth; i++) {
        slot *s = &loader->slots[i];
        good = (s->images = allocate(bytes)) && (s->labels = allocate(rows * sizeof *s->labels)) &&
               (s->indices = allocate(rows * sizeof *s->indices)) &&
               (!o->tokenizer || (s->tokens = allocate(rows * (size_t)o->context * sizeof *s->tokens)));
    }
    return good || dt_fail(error, "no memory for %d batches of %d pictures of %d x %d pixels", loader->depth,
                           o->batch_size, o->transform.size, o->transform.size);
}

static bool read_weights(dt_loader *loader, dt_error *error)
{
    float *weights = calloc(loader->samples, sizeof *weights);
    if (!weights)
        return dt_fail(error, "no memory for %llu sampling weights", (unsigned long long)loader->samples);
    bool good = true;
    for (uint64_t i = 0; good && i < loader->samples; i++) {
        dt_pair pair;
        good = dt_pairs_get(loader->options.pairs, row_at(loader, i), &pair, error);
        weights[i] = good ? pair.weight : 0;
    }
    if (good)
        loader->alias = dt_alias_new(weights, loader->samples, error);
    free(weights);
    return loader->alias != NULL;
}

static bool prepare(dt_loader *loader, dt_error *error)
{
    const dt_loader_options *o = &loader->options;
    uint64_t all = o->files ? o->files->count : dt_pairs_count(o->pairs);
    loader->samples = o->rows ? o->row_count : all;
    for (uint64_t i = 0; o->rows && i < o->row_count; i++)
        if (o->rows[i] >= all)
            return dt_fail(error, "there is no pair %llu; the data has %llu", (unsigned long long)o->rows[i],
                           (unsigned long long)all);
    loader->depth = o->depth ? o->depth : DEPTH;
    if (!plan_epochs(loader, error) || !make_slots(loader, error))
        return false;
    if (o->weighted && !o->files && dt_pairs_weighted(o->pairs) && !read_weights(loader, error))
        return false;
    loader->sample =
        (dt_sample_maker){o->pairs, o->files, o->tokenizer, o->context, o->class_caption, o->transform, o->seed, NULL};
    if (o->cache_bytes && !o->files)
        loader->sample.cache = dt_pixel_cache_new(all, o->cache_bytes, error);
    return !o->cache_bytes || o->files || loader->sample.cache;
}

dt_loader *dt_loader_open(const dt_loader_options *options, dt_error *error)
{
    if (!check_options(options, error))
        return NULL;
    dt_loader *loader = calloc(1, sizeof *loader);
    if (!loader) {
        dt_fail(error, "no memory for a loader");
        return NULL;
    }
    loader->options = *options;
    pthread_mutex_init(&loader->lock, NULL);
    pthread_cond_init(&loader->work, NULL);
    pthread_cond_init(&loader->ready, NULL);
    if (!prepare(loader, error) || !start_threads(loader, error)) {
        dt_loader_close(loader);
        return NULL;
    }
    return loader;
}

/* Waits until the batch `delivered` is whole; without workers, makes it. Under the lock. */
static void await(dt_loader *loader)
{
    const slot *s = &loader->slots[loader->delivered % (uint64_t)loader->depth];
    double start = 0;
    while (loader->claimed <= loader->delivered || s->missing) {
        if (start == 0)
            start = dt_now();
        if (loader->threads)
            pthread_cond_wait(&loader->ready, &loader->lock);
        else
            make_next(loader, &loader->caller);
    }
    if (start != 0)
        loader->stats.waited += dt_now() - start;
}

/* The batch `delivered`, which becomes the caller's. Under the lock. */
static dt_batch lend(dt_loader *loader, const slot *s)
{
    uint64_t at = loader->delivered++;
    bool bytes = loader->options.transform.bytes;
    return (dt_batch){
        .count = count_of(loader, at),
        .epoch = at / loader->per_epoch,
        .number = at % loader->per_epoch,
        .images = bytes ? NULL : s->images,
        .pixels = bytes ? s->images : NULL,
        .tokens = s->tokens,
        .labels = s->labels,
        .indices = s->indices,
    };
}

bool dt_loader_next(dt_loader *loader, dt_batch *batch, dt_error *error)
{
    *batch = (dt_batch){0};
    pthread_mutex_lock(&loader->lock);
    if (loader->released < loader->delivered) { /* the caller is done with the batch before */
        loader->released = loader->delivered;
        pthread_cond_broadcast(&loader->work);
    }
    bool good = true;
    if (loader->delivered < loader->end) {
        await(loader);
        const slot *s = &loader->slots[loader->delivered % (uint64_t)loader->depth];
        good = s->bad_row < 0 || dt_fail(error, "%s", s->reason.message);
        if (good)
            *batch = lend(loader, s);
    }
    pthread_mutex_unlock(&loader->lock);
    return good;
}

static void free_slot(const dt_loader *loader, const slot *s)
{
    void *const memory[] = {s->images, s->tokens, s->labels, s->indices};
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        if (memory[i])
            (loader->options.release ? loader->options.release : free)(memory[i]);
}

void dt_loader_close(dt_loader *loader)
{
    if (!loader)
        return;
    pthread_mutex_lock(&loader->lock);
    loader->stop = true;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->lock);
    for (int i = 0; i < loader->started; i++)
        pthread_join(loader->threads[i], NULL);
    for (int i = 0; loader->slots && i < loader->depth; i++)
        free_slot(loader, &loader->slots[i]);
    pthread_mutex_destroy(&loader->lock);
    pthread_cond_destroy(&loader->work);
    pthread_cond_destroy(&loader->ready);
    dt_sample_scratch_free(loader->caller.scratch);
    dt_pixel_cache_free(loader->sample.cache);
    dt_alias_free(loader->alias);
    free(loader->threads);
    free(loader->slots);
    free(loader);
}

uint64_t dt_loader_batches(const dt_loader *loader)
{
    return loader->per_epoch;
}

dt_loader_stats dt_loader_get_stats(dt_loader *loader)
{
    pthread_mutex_lock(&loader->lock);
    dt_loader_stats stats = loader->stats;
    pthread_mutex_unlock(&loader->lock);
    stats.cached = loader->sample.cache ? dt_pixel_cache_used(loader->sample.cache) : 0;
    return stats;
}
