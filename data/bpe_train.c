#include "data/bpe_train.h"

#include <stdlib.h>
#include <string.h>

#include "data/text.h"
#include "data/tokenizer_internal.h"

enum {
    MERGES_MOST = 1048000,
    TEXT_MOST = 1 << 30, /* bytes of distinct words: places are 32 bits */
    COUNT_LEAST = 2,     /* occurrences below which a pair is chance */
};

/* A distinct word and how often it occurs. */
typedef struct counted_word {
    uint32_t at, length; /* in text */
    int64_t count;
    uint32_t hash;
} counted_word;

struct dt_bpe_trainer {
    dt_cleaner *cleaner;
    char *text;
    size_t text_used, text_room;
    counted_word *words;
    uint32_t word_count, word_room;
    int32_t *slots; /* open addressing; -1: free */
    uint32_t slot_mask;
};

dt_bpe_trainer *dt_bpe_trainer_new(dt_error *error)
{
    dt_bpe_trainer *trainer = calloc(1, sizeof *trainer);
    if (!trainer) {
        dt_fail(error, "out of memory for a tokenizer's training");
        return NULL;
    }
    trainer->cleaner = dt_cleaner_new(error);
    if (!trainer->cleaner) {
        free(trainer);
        return NULL;
    }
    return trainer;
}

void dt_bpe_trainer_free(dt_bpe_trainer *trainer)
{
    if (!trainer)
        return;
    dt_cleaner_free(trainer->cleaner);
    free(trainer->text);
    free(trainer->words);
    free(trainer->slots);
    free(trainer);
}

/* Makes room for one more word of `length` bytes. */
static bool reserve(dt_bpe_trainer *r, size_t length)
{
    if (length > r->text_room - r->text_used) {
        size_t room = r->text_room + r->text_room / 2 + length + 4096;
        char *text = realloc(r->text, room);
        if (!text)
            return false;
        r->text = text;
        r->text_room = room;
    }
    if (r->word_count == r->word_room) {
        uint32_t room = r->word_room + r->word_room / 2 + 1024;
        counted_word *words = realloc(r->words, room * sizeof *words);
        if (!words)
            return false;
        r->words = words;
        r->word_room = room;
    }
    if (r->slots && 2 * r->word_count <= r->slot_mask)
        return true;
    uint32_t count = r->slots ? 2 * (r->slot_mask + 1) : 4096;
    int32_t *slots = malloc(count * sizeof *slots);
    if (!slots)
        return false;
    memset(slots, -1, count * sizeof *slots);
    for (uint32_t i = 0; i < r->word_count; i++) {
        uint32_t at = r->words[i].hash & (count - 1);
        while (slots[at] >= 0)
            at = (at + 1) & (count - 1);
        slots[at] = (int32_t)i;
    }
    free(r->slots);
    r->slots = slots;
    r->slot_mask = count - 1;
    return true;
}

static uint32_t hash_word(dt_span word)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < word.length; i++)
        hash = (hash ^ (uint8_t)word.text[i]) * 0x100000001b3u;
    return (uint32_t)(hash ^ hash >> 32);
}

static bool count_word(dt_bpe_trainer *r, dt_span word, dt_error *error)
{
    if (!reserve(r, word.length))
        return dt_fail(error, "out of memory for %u distinct words", r->word_count);
    uint32_t hash = hash_word(word), at = hash & r->slot_mask;
    for (; r->slots[at] >= 0; at = (at + 1) & r->slot_mask) {
        counted_word *w = &r->words[r->slots[at]];
        if (w->hash == hash && w->length == word.length && !memcmp(r->text + w->at, word.text, word.length)) {
            w->count++;
            return true;
        }
    }
    if (r->text_used + word.length > TEXT_MOST)
        return dt_fail(error, "the distinct words have more than %d MiB; train on fewer captions",
                       TEXT_MOST >> 20);
    memcpy(r->text + r->text_used, word.text, word.length);
    r->words[r->word_count] = (counted_word){(uint32_t)r->text_used, (uint32_t)word.length, 1, hash};
    r->text_used += word.length;
    r->slots[at] = (int32_t)r->word_count++;
    return true;
}

static bool is_special(dt_span word)
{
    static const char *const specials[] = {DT_START_TEXT, DT_END_TEXT};
    for (int i = 0; i < 2; i++)
        if (word.length == strlen(specials[i]) && !memcmp(word.text, specials[i], word.length))
            return true;
    return false;
}

bool dt_bpe_trainer_add(dt_bpe_trainer *trainer, const char *text, size_t length, dt_error *error)
{
    dt_span cleaned, word;
    size_t offset = 0;
    if (!dt_clean(trainer->cleaner, text, length, &cleaned, error))
        return false;
    for (;;) {
        if (!dt_next_word(trainer->cleaner, cleaned, &offset, &word, error))
            return false;
        if (!word.length)
            return true;
        if (!is_special(word) && !count_word(trainer, word, error))
            return false;
    }
}

/* All distinct words end to end as a linked list of symbols, so that a merge touches only its occurrences. */
typedef struct symbol {
    int32_t id;             /* -1: merged into the one before it */
    int32_t previous, next; /* -1 at a word's ends */
    uint32_t word;
} symbol;

typedef struct pair {
    int32_t left, right, product; /* product -1: not learned so far */
    bool touched;                 /* it is in the list of those that gained occurrences */
    int64_t count;
    int32_t *places; /* symbols where it starts; some may be out of date */
    size_t place_count, place_room;
} pair;

/* A candidate for the next merge; one whose count is out of date is renewed when it comes up. */
typedef struct candidate {
    int64_t count;
    int32_t left, right;
    size_t pair;
} candidate;

typedef struct learner {
    const dt_bpe_trainer *words;
    dt_tokenizer *tokenizer;
    symbol *symbols;
    pair *pairs;
    size_t pair_count, pair_room;
    int32_t *slots; /* open addressing from (left, right) to pair; -1: free */
    uint32_t slot_mask;
    candidate *heap;
    size_t heap_count, heap_room;
    size_t *touched; /* pairs that gained occurrences since the last merge */
    size_t touched_count, touched_room;
} learner;

static void free_learner(learner *l)
{
    for (size_t i = 0; i < l->pair_count; i++)
        free(l->pairs[i].places);
    free(l->symbols);
    free(l->pairs);
    free(l->slots);
    free(l->heap);
    free(l->touched);
}

/* The array with room for one more element; NULL: no memory, and the array is as it was. */
static void *with_room(void *array, size_t count, size_t *room, size_t size)
{
    if (count < *room)
        return array;
    size_t more = *room + *room / 2 + 16;
    void *grown = realloc(array, more * size);
    if (grown)
        *room = more;
    return grown;
}

/* Slot of a pair in the table, or the free one where it would go. */
static uint32_t pair_slot(const learner *l, int32_t left, int32_t right)
{
    for (uint32_t at = dt_pair_hash(left, right) & l->slot_mask;; at = (at + 1) & l->slot_mask) {
        const pair *p = l->slots[at] < 0 ? NULL : &l->pairs[l->slots[at]];
        if (!p || (p->left == left && p->right == right))
            return at;
    }
}

static bool grow_pair_slots(learner *l)
{
    uint32_t count = l->slots ? 2 * (l->slot_mask + 1) : 4096;
    int32_t *slots = malloc(count * sizeof *slots);
    if (!slots)
        return false;
    memset(slots, -1, count * sizeof *slots);
    free(l->slots);
    l->slots = slots;
    l->slot_mask = count - 1;
    for (size_t i = 0; i < l->pair_count; i++)
        slots[pair_slot(l, l->pairs[i].left, l->pairs[i].right)] = (int32_t)i;
    return true;
}

/* The pair, made where it is new; NULL: no memory. */
static pair *get_pair(learner *l, int32_t left, int32_t right)
{
    if ((!l->slots || 2 * l->pair_count > l->slot_mask) && !grow_pair_slots(l))
        return NULL;
    uint32_t slot = pair_slot(l, left, right);
    if (l->slots[slot] < 0) {
        pair *pairs = with_room(l->pairs, l->pair_count, &l->pair_room, sizeof *pairs);
        if (!pairs)
            return NULL;
        l->pairs = pairs;
        l->slots[slot] = (int32_t)l->pair_count;
        pairs[l->pair_count++] = (pair){.left = left, .right = right, .product = -1};
    }
    return &l->pairs[l->slots[slot]];
}

/* Counts the pair that starts at symbol `at`. */
static bool gain(learner *l, int32_t at)
{
    const symbol *s = &l->symbols[at];
    pair *p = get_pair(l, s->id, l->symbols[s->next].id);
    int32_t *places = p ? with_room(p->places, p->place_count, &p->place_room, sizeof *places) : NULL;
    if (!places)
        return false;
    p->places = places;
    places[p->place_count++] = at;
    p->count += l->words->words[s->word].count;
    if (p->touched)
        return true;
    size_t *touched = with_room(l->touched, l->touched_count, &l->touched_room, sizeof *touched);
    if (!touched)
        return false;
    l->touched = touched;
    touched[l->touched_count++] = (size_t)(p - l->pairs);
    p->touched = true;
    return true;
}

static void lose(learner *l, int32_t at)
{
    const symbol *s = &l->symbols[at];
    l->pairs[l->slots[pair_slot(l, s->id, l->symbols[s->next].id)]].count -= l->words->words[s->word].count;
}

static bool build_symbols(learner *l)
{
    const dt_bpe_trainer *r = l->words;
    l->symbols = malloc((r->text_used + 1) * sizeof *l->symbols);
    if (!l->symbols)
        return false;
    for (uint32_t w = 0; w < r->word_count; w++) {
        uint32_t first = r->words[w].at, end = first + r->words[w].length;
        for (uint32_t i = first; i < end; i++) {
            bool last = i + 1 == end;
            l->symbols[i] = (symbol){l->tokenizer->bytes[last][(uint8_t)r->text[i]],
                                     i == first ? -1 : (int32_t)i - 1, last ? -1 : (int32_t)i + 1, w};
        }
    }
    for (size_t i = 0; i < r->text_used; i++)
        if (l->symbols[i].next >= 0 && !gain(l, (int32_t)i))
            return false;
    return true;
}

/* More occurrences first, then smaller ids: the order of learning, and so of ids. */
static bool goes_before(const candidate *a, const candidate *b)
{
    if (a->count != b->count)
        return a->count > b->count;
    return a->left != b->left ? a->left < b->left : a->right < b->right;
}

static bool push(learner *l, size_t index)
{
    candidate *heap = with_room(l->heap, l->heap_count, &l->heap_room, sizeof *heap);
    if (!heap)
        return false;
    const pair *p = &l->pairs[index];
    candidate new = {p->count, p->left, p->right, index};
    size_t at = l->heap_count++;
    for (; at && goes_before(&new, &heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = new;
    l->heap = heap;
    return true;
}

static candidate pop(learner *l)
{
    candidate *heap = l->heap, top = heap[0], last = heap[--l->heap_count];
    size_t at = 0, child;
    while ((child = 2 * at + 1) < l->heap_count) {
        child += child + 1 < l->heap_count && goes_before(&heap[child + 1], &heap[child]);
        if (!goes_before(&heap[child], &last))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return top;
}

static bool push_touched(learner *l)
{
    for (size_t i = 0; i < l->touched_count; i++) {
        pair *p = &l->pairs[l->touched[i]];
        p->touched = false;
        if (p->count >= COUNT_LEAST && !push(l, l->touched[i]))
            return false;
    }
    l->touched_count = 0;
    return true;
}

/* Joins symbol `at` with the next where they still are the pair, and moves the counts of the pairs around. */
static bool join(learner *l, int32_t at, int32_t left, int32_t right, int32_t product)
{
    symbol *a = &l->symbols[at], *b = a->next < 0 ? NULL : &l->symbols[a->next];
    if (!b || a->id != left || b->id != right)
        return true;
    if (a->previous >= 0)
        lose(l, a->previous);
    if (b->next >= 0)
        lose(l, a->next);
    a->id = product;
    a->next = b->next;
    b->id = -1;
    if (a->next >= 0)
        l->symbols[a->next].previous = at;
    return (a->previous < 0 || gain(l, a->previous)) && (a->next < 0 || gain(l, at));
}

static int by_place(const void *a, const void *b)
{
    int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static bool join_all(learner *l, size_t index)
{
    pair p = l->pairs[index]; /* a copy: pairs may move while new ones are counted */
    l->pairs[index].places = NULL;
    l->pairs[index].place_count = l->pairs[index].place_room = 0;
    if (p.left == p.right) /* in "aaa" the left two are joined, as encoding does */
        qsort(p.places, p.place_count, sizeof *p.places, by_place);
    bool good = true;
    for (size_t i = 0; good && i < p.place_count; i++)
        good = join(l, p.places[i], p.left, p.right, p.product);
    free(p.places);
    l->pairs[index].count = 0;
    return good;
}

static bool no_memory(dt_error *error)
{
    return dt_fail(error, "out of memory for learning merges");
}

static bool learn(learner *l, int merges, dt_error *error)
{
    if (!build_symbols(l) || !push_touched(l))
        return no_memory(error);
    while (l->tokenizer->merge_count < merges && l->heap_count) {
        candidate best = pop(l);
        pair *p = &l->pairs[best.pair];
        if (p->count != best.count) {
            if (p->count < best.count && p->count >= COUNT_LEAST && !push(l, best.pair))
                return no_memory(error);
            continue;
        }
        if (p->product <
            0) { /* else two ways of making one token brought it back: apply, but do not list twice */
            if (!dt_tokenizer_add_merge(l->tokenizer, p->left, p->right, true, error))
                return false;
            p->product = l->tokenizer->merges[l->tokenizer->merge_count - 1].product;
        }
        if (!join_all(l, best.pair) || !push_touched(l))
            return no_memory(error);
    }
    return true;
}

static bool make_tokenizer(const dt_bpe_trainer *trainer, dt_tokenizer *t, int merges, dt_error *error)
{
    learner l = {.words = trainer, .tokenizer = t};
    bool good = dt_tokenizer_add_alphabet(t, error) && learn(&l, merges, error);
    free_learner(&l);
    return good && dt_tokenizer_add_specials(t, error) && dt_tokenizer_finish(t, error);
}

dt_tokenizer *dt_bpe_trainer_finish(const dt_bpe_trainer *trainer, int merges, dt_error *error)
{
    if (merges < 0 || merges > MERGES_MOST) {
        dt_fail(error, "%d merges are not in 0 to %d", merges, MERGES_MOST);
        return NULL;
    }
    dt_tokenizer *t = dt_tokenizer_new(error);
    if (t && !make_tokenizer(trainer, t, merges, error)) {
        dt_tokenizer_free(t);
        t = NULL;
    }
    return t;
}

dt_tokenizer *dt_bpe_train(const char *const *captions, const size_t *lengths, size_t count, int merges,
                           dt_error *error)
{
    dt_bpe_trainer *trainer = dt_bpe_trainer_new(error);
    dt_tokenizer *tokenizer = NULL;
    for (size_t i = 0; trainer && i < count; i++) {
        size_t length = lengths ? lengths[i] : strlen(captions[i]);
        if (!dt_bpe_trainer_add(trainer, captions[i], length, error)) {
            dt_fail_prefix(error, "caption %zu", i);
            goto out;
        }
    }
    if (trainer)
        tokenizer = dt_bpe_trainer_finish(trainer, merges, error);
out:
    dt_bpe_trainer_free(trainer);
    return tokenizer;
}
