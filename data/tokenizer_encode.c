/* Text to ids. A word's merges run over a linked list with a heap of candidate pairs, lowest rank first and
 * left to right within one rank, as the reference's rounds do: O(n log n) in the length of a word. */
#include "data/tokenizer_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "data/text.h"
#include "data/unigram.h"

enum {
    CACHE_ENTRIES = 8192,
    CACHE_WORD = 30,
    CACHE_IDS = 8,
    CONTEXT_MOST = 65536,
};

/* A word and its ids, one cache line. Length 0: free. */
typedef struct cached {
    uint8_t length, count;
    char word[CACHE_WORD];
    int32_t ids[CACHE_IDS];
} cached;

typedef struct node {
    int32_t symbol; /* -1: merged into the one before it */
    int32_t previous, next;
} node;

typedef struct scratch {
    struct scratch *next; /* in the pool */
    dt_cleaner *cleaner;
    cached *cache;
    node *nodes;
    uint64_t *heap, *waiting; /* rank << 32 | position */
    int32_t *ids;
    size_t room; /* bytes of a word that nodes, heap, waiting and ids are made for */
} scratch;

typedef struct dt_pool {
    pthread_mutex_t lock;
    scratch *idle;
} dt_pool;

dt_pool *dt_pool_new(void)
{
    dt_pool *pool = calloc(1, sizeof *pool);
    if (pool && pthread_mutex_init(&pool->lock, NULL)) {
        free(pool);
        return NULL;
    }
    return pool;
}

static void free_scratch(scratch *s)
{
    dt_cleaner_free(s->cleaner);
    free(s->cache);
    free(s->nodes);
    free(s->heap);
    free(s->waiting);
    free(s->ids);
    free(s);
}

void dt_pool_free(dt_pool *pool)
{
    if (!pool)
        return;
    for (scratch *s = pool->idle, *next; s; s = next) {
        next = s->next;
        free_scratch(s);
    }
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

static scratch *borrow(dt_pool *pool, dt_error *error)
{
    pthread_mutex_lock(&pool->lock);
    scratch *s = pool->idle;
    if (s)
        pool->idle = s->next;
    pthread_mutex_unlock(&pool->lock);
    if (s)
        return s;
    s = calloc(1, sizeof *s);
    if (s)
        s->cache = calloc(CACHE_ENTRIES, sizeof *s->cache);
    if (!s || !s->cache) {
        dt_fail(error, "out of memory for a tokenizer's buffers");
        free(s);
        return NULL;
    }
    s->cleaner = dt_cleaner_new(error);
    if (!s->cleaner) {
        free_scratch(s);
        return NULL;
    }
    return s;
}

static void give_back(dt_pool *pool, scratch *s)
{
    pthread_mutex_lock(&pool->lock);
    s->next = pool->idle;
    pool->idle = s;
    pthread_mutex_unlock(&pool->lock);
}

static bool reserve_word(scratch *s, size_t length, dt_error *error)
{
    if (length <= s->room)
        return true;
    size_t room = length + length / 2 + 64; /* at most 96 Mi: no product below overflows */
    free(s->nodes);
    free(s->heap);
    free(s->waiting);
    free(s->ids);
    s->nodes = malloc(room * sizeof *s->nodes);
    s->heap = malloc(3 * room * sizeof *s->heap); /* n - 1 pairs, and two more for each of n - 1 merges */
    s->waiting = malloc(2 * room * sizeof *s->waiting);
    s->ids = malloc(room * sizeof *s->ids);
    s->room = s->nodes && s->heap && s->waiting && s->ids ? room : 0;
    return s->room || dt_fail(error, "out of memory for a word of %zu bytes", length);
}

static void heap_push(uint64_t *heap, size_t *count, uint64_t value)
{
    size_t at = (*count)++;
    for (; at && heap[(at - 1) / 2] > value; at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = value;
}

static uint64_t heap_pop(uint64_t *heap, size_t *count)
{
    uint64_t top = heap[0], last = heap[--*count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < *count) {
        child += child + 1 < *count && heap[child + 1] < heap[child];
        if (heap[child] >= last)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return top;
}

/* The pair that starts at node `at` as a heap entry; false where it never merges. */
static bool candidate(const dt_tokenizer *t, const node *nodes, int32_t at, uint64_t *entry)
{
    if (at < 0 || nodes[at].next < 0)
        return false;
    int32_t rank = dt_tokenizer_rank(t, nodes[at].symbol, nodes[nodes[at].next].symbol);
    *entry = (uint64_t)(uint32_t)rank << 32 | (uint32_t)at;
    return rank >= 0;
}

/* Joins the pair at node `at` if it is still `merge`. */
static bool join(node *nodes, int32_t at, const dt_merge *merge)
{
    node *left = &nodes[at];
    if (left->symbol != merge->left || left->next < 0 || nodes[left->next].symbol != merge->right)
        return false;
    node *right = &nodes[left->next];
    left->symbol = merge->product;
    right->symbol = -1;
    left->next = right->next;
    if (left->next >= 0)
        nodes[left->next].previous = at;
    return true;
}

/* Merges until no pair has a rank. The reference joins all pairs of one rank before it looks again, so that
 * pairs of a lower rank that arise meanwhile wait (vocabularies in which two merges make the same token have
 * such). */
static void merge_all(const dt_tokenizer *t, scratch *s, size_t count)
{
    size_t heap_count = 0, waiting_count = 0;
    uint64_t entry;
    for (size_t i = 0; i + 1 < count; i++)
        if (candidate(t, s->nodes, (int32_t)i, &entry))
            heap_push(s->heap, &heap_count, entry);
    while (heap_count) {
        uint64_t top = heap_pop(s->heap, &heap_count), rank = top >> 32;
        int32_t at = (int32_t)(uint32_t)top;
        if (join(s->nodes, at, &t->merges[rank])) {
            int32_t places[2] = {s->nodes[at].previous, at};
            for (int i = 0; i < 2; i++) {
                if (!candidate(t, s->nodes, places[i], &entry))
                    continue;
                if (entry >> 32 < rank)
                    s->waiting[waiting_count++] = entry;
                else
                    heap_push(s->heap, &heap_count, entry);
            }
        }
        if (waiting_count && (!heap_count || s->heap[0] >> 32 > rank))
            while (waiting_count)
                heap_push(s->heap, &heap_count, s->waiting[--waiting_count]);
    }
}

/* Byte-pair encoding of one word into s->ids; how many there are in *count. */
static bool encode_word(const dt_tokenizer *t, scratch *s, dt_span word, size_t *count, dt_error *error)
{
    if (!reserve_word(s, word.length, error))
        return false;
    for (size_t i = 0; i < word.length; i++) {
        bool last = i + 1 == word.length;
        s->nodes[i] =
            (node){t->bytes[last][(uint8_t)word.text[i]], (int32_t)i - 1, last ? -1 : (int32_t)i + 1};
    }
    merge_all(t, s, word.length);
    size_t n = 0;
    for (int32_t at = 0; at >= 0; at = s->nodes[at].next)
        s->ids[n++] = s->nodes[at].symbol;
    *count = n;
    return true;
}

static cached *cache_slot(scratch *s, dt_span word)
{
    uint64_t parts[4] = {word.length};
    memcpy((char *)parts + 1, word.text, word.length);
    uint64_t hash = 0;
    for (int i = 0; i < 4; i++)
        hash = ((hash ^ parts[i]) * 0x9e3779b97f4a7c15u) ^ hash >> 29;
    return &s->cache[hash >> 51]; /* 13 bits: CACHE_ENTRIES */
}

/* Ids of one word: borrowed from the cache or from s->ids. */
static bool word_ids(const dt_tokenizer *t, scratch *s, dt_span word, const int32_t **ids, size_t *count,
                     dt_error *error)
{
    bool start = word.length == strlen(DT_START_TEXT) && !memcmp(word.text, DT_START_TEXT, word.length);
    bool end = word.length == strlen(DT_END_TEXT) && !memcmp(word.text, DT_END_TEXT, word.length);
    if (start || end) {
        *ids = start ? &t->start : &t->end;
        *count = 1;
        return true;
    }
    cached *slot = word.length <= CACHE_WORD ? cache_slot(s, word) : NULL;
    if (slot && slot->length == word.length && !memcmp(slot->word, word.text, word.length)) {
        *ids = slot->ids;
        *count = slot->count;
        return true;
    }
    if (!encode_word(t, s, word, count, error))
        return false;
    *ids = s->ids;
    if (slot && *count <= CACHE_IDS) {
        slot->length = (uint8_t)word.length;
        slot->count = (uint8_t)*count;
        memcpy(slot->word, word.text, word.length);
        memcpy(slot->ids, s->ids, *count * sizeof *s->ids);
    }
    return true;
}

/* Ids of a text, in order, until there are `enough`. */
static bool encode_text(const dt_tokenizer *t, scratch *s, dt_span text, size_t enough, int32_t *ids,
                        size_t capacity, size_t *count, dt_error *error)
{
    dt_span cleaned, word;
    size_t offset = 0, n = 0;
    if (!dt_clean(s->cleaner, text.text, text.length, &cleaned, error))
        return false;
    while (n < enough) {
        if (!dt_next_word(s->cleaner, cleaned, &offset, &word, error))
            return false;
        if (!word.length)
            break;
        const int32_t *found;
        size_t found_count;
        if (!word_ids(t, s, word, &found, &found_count, error))
            return false;
        for (size_t i = 0; i < found_count && n + i < capacity; i++)
            ids[n + i] = found[i];
        n += found_count;
    }
    *count = n;
    return true;
}

bool dt_tokenizer_encode(const dt_tokenizer *t, const char *text, size_t length, int32_t *ids,
                         size_t capacity, size_t *count, dt_error *error)
{
    if (t->unigram)
        return dt_unigram_encode(t, (dt_span){text, length}, ids, capacity, count, error);
    scratch *s = borrow(t->pool, error);
    if (!s)
        return false;
    bool good = encode_text(t, s, (dt_span){text, length}, SIZE_MAX, ids, capacity, count, error);
    give_back(t->pool, s);
    return good;
}

bool dt_tokenizer_encode_padded(const dt_tokenizer *t, const char *text, size_t length, int32_t *ids,
                                int context, dt_error *error)
{
    if (context < 1 || context > CONTEXT_MOST)
        return dt_fail(error, "a context of %d tokens is not in 1 to %d", context, CONTEXT_MOST);
    if (t->unigram)
        return dt_unigram_encode_padded(t, (dt_span){text, length}, ids, context, error);
    scratch *s = borrow(t->pool, error);
    if (!s)
        return false;
    size_t room = (size_t)context - 1, count;
    bool good = encode_text(t, s, (dt_span){text, length}, room, ids + 1, room, &count, error);
    give_back(t->pool, s);
    if (!good)
        return false;
    ids[0] = t->start;
    size_t last = count < room ? count + 1 : room;
    ids[last] = t->end;
    memset(ids + last + 1, 0, (room - last) * sizeof *ids);
    return true;
}
