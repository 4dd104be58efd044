#define _GNU_SOURCE /* sched_getaffinity */
#include "data/pack.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/pairs.h"
#include "data/stored_image.h"

/* A batch is read from the source, proved by all threads, and written: as many items as keep the threads busy
 * while they are started, as few bytes as memory allows. */
enum {
    BATCH_ITEMS = 512,
    BATCH_BYTES = 256 << 20,
    THREADS_MAX = 64,
    TEMPLATES_MAX = 256,
    KEPT_BYTES = 1 << 18
};

/* One item of a batch, with copies of all that the source lent. The buffers are used again. */
struct slot {
    dt_item item;
    dt_source_result result;
    dt_error reason; /* when it is left out */
    uint8_t *bytes;
    char *text;
    const char **captions;
    size_t bytes_room, text_room, captions_room;
    dt_stored_image image;
};

struct batch {
    struct slot slots[BATCH_ITEMS];
    size_t count;
    atomic_size_t next;
    dt_encoding encoding;
};

struct packing {
    dt_source *source;
    dt_pairs_writer *writer;
    const dt_pack_options *options;
    dt_pack_summary *summary;
    struct batch *batch;
    char *made[TEMPLATES_MAX]; /* captions of the present item, made from templates */
    int threads;
};

static bool pack_all(struct packing *p, dt_error *error);
static bool finish(struct packing *p, const char *const *origins, size_t origin_count, dt_error *error);
static bool check_options(const dt_pack_options *options, dt_error *error);
static void free_batch(struct batch *batch);
static int processors(void);

bool dt_pack(dt_source *source, const char *path, const char *const *origins, size_t origin_count,
             const dt_pack_options *options, dt_pack_summary *summary, dt_error *error)
{
    struct packing p = {.source = source, .options = options, .summary = summary};
    *summary = (dt_pack_summary){0};
    if (!check_options(options, error))
        return false;
    p.threads = options->threads > 0 ? options->threads : processors();
    p.threads = p.threads < THREADS_MAX ? p.threads : THREADS_MAX;
    if (!(p.batch = calloc(1, sizeof *p.batch)))
        return dt_fail(error, "no memory to pack %s", path);
    p.batch->encoding =
        (dt_encoding){options->lossless, options->quality ? options->quality : 95, options->halve_chroma};
    bool good = (p.writer = dt_pairs_create(path, options->replace, error)) != NULL;
    if (good && !(good = pack_all(&p, error)))
        dt_pairs_abort(p.writer);
    good = good && finish(&p, origins, origin_count, error);
    free_batch(p.batch);
    return good;
}

static bool check_options(const dt_pack_options *options, dt_error *error)
{
    if (options->quality < 0 || options->quality > 100)
        return dt_fail(error, "quality %d, expected 1 to 100", options->quality);
    if (options->template_count > TEMPLATES_MAX)
        return dt_fail(error, "%zu templates, at most %d are possible", options->template_count,
                       TEMPLATES_MAX);
    for (size_t i = 0; i < options->template_count; i++)
        if (!strstr(options->templates[i], "{}"))
            return dt_fail(error, "the template '%s' has no {} for the class", options->templates[i]);
    return true;
}

static int processors(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}

static void free_batch(struct batch *batch)
{
    for (size_t i = 0; i < BATCH_ITEMS; i++) {
        free(batch->slots[i].bytes);
        free(batch->slots[i].text);
        free(batch->slots[i].captions);
        free(batch->slots[i].image.made);
    }
    free(batch);
}

/* ---- from the source into a batch ---- */

static bool grow(void *buffer, size_t *room, size_t need, dt_error *error)
{
    void *memory;
    memcpy(&memory, buffer, sizeof memory);
    if (need <= *room)
        return true;
    need += need / 2;
    if (!(memory = realloc(memory, need)))
        return dt_fail(error, "no memory for %zu bytes", need);
    memcpy(buffer, &memory, sizeof memory);
    *room = need;
    return true;
}

static const char *copy_text(const char *from, char *base, size_t *at)
{
    if (!from)
        return NULL;
    size_t size = strlen(from) + 1;
    char *to = memcpy(base + *at, from, size);
    *at += size;
    return to;
}

static size_t text_size(const char *text)
{
    return text ? strlen(text) + 1 : 0;
}

/* Takes copies, so that the source may go on. */
static bool copy_item(struct slot *slot, const dt_item *from, dt_error *error)
{
    dt_item *item = &slot->item;
    size_t text = text_size(from->name) + text_size(from->path) + text_size(from->extra), at = 0;
    for (size_t i = 0; i < from->caption_count; i++)
        text += text_size(from->captions[i]);
    *item = *from;
    if (!grow(&slot->text, &slot->text_room, text, error) ||
        !grow(&slot->captions, &slot->captions_room, from->caption_count * sizeof *slot->captions, error) ||
        (from->bytes && !grow(&slot->bytes, &slot->bytes_room, from->size + 1, error)))
        return false;
    item->name = copy_text(from->name, slot->text, &at);
    item->path = copy_text(from->path, slot->text, &at);
    item->extra = copy_text(from->extra, slot->text, &at);
    for (size_t i = 0; i < from->caption_count; i++)
        slot->captions[i] = copy_text(from->captions[i], slot->text, &at);
    item->captions = slot->captions;
    if (from->bytes && from->size)
        memcpy(slot->bytes, from->bytes, from->size);
    if (from->bytes)
        item->bytes = slot->bytes;
    return true;
}

static size_t file_size(const char *path)
{
    struct stat about;
    return stat(path, &about) ? 0 : (size_t)about.st_size;
}

/* *more: whether the source may have more. */
static bool fill(struct packing *p, bool *more, dt_error *error)
{
    struct batch *batch = p->batch;
    size_t bytes = 0;
    batch->count = 0;
    while (batch->count < BATCH_ITEMS && bytes < BATCH_BYTES) {
        struct slot *slot = &batch->slots[batch->count];
        dt_item item = {.label = -1, .weight = 1};
        slot->reason.message[0] = 0;
        slot->result = p->source->next(p->source, &item, &slot->reason);
        if (slot->result == DT_SOURCE_END) {
            *more = false;
            return true;
        }
        if (slot->result == DT_SOURCE_FAILED)
            return dt_fail(error, "%s", slot->reason.message);
        if (slot->result == DT_SOURCE_SKIP)
            item = (dt_item){.name = item.name};
        if (item.size > DT_PAIR_BYTES_MAX) {
            dt_fail(&slot->reason, "%zu bytes, at most %d are possible", item.size, DT_PAIR_BYTES_MAX);
            slot->result = DT_SOURCE_SKIP;
            item = (dt_item){.name = item.name};
        }
        if (!copy_item(slot, &item, error))
            return false;
        bytes += item.path && !item.bytes ? file_size(item.path) : item.size;
        batch->count++;
    }
    return true;
}

/* ---- proving and encoding, by all threads ---- */

static void prove(const struct batch *batch, struct slot *slot)
{
    if (slot->result == DT_SOURCE_ITEM &&
        !dt_stored_image_make(&slot->item, &batch->encoding, &slot->image, &slot->reason))
        slot->result = DT_SOURCE_SKIP;
}

static void *work(void *argument)
{
    struct batch *batch = argument;
    for (size_t i; (i = atomic_fetch_add(&batch->next, 1)) < batch->count;)
        prove(batch, &batch->slots[i]);
    return NULL;
}

/* A thread that cannot be started is made up for by the others; this one works too. */
static void prove_all(struct packing *p)
{
    pthread_t threads[THREADS_MAX];
    int started = 0;
    atomic_store(&p->batch->next, 0);
    while (started < p->threads - 1 && !pthread_create(&threads[started], NULL, work, p->batch))
        started++;
    work(p->batch);
    while (started)
        pthread_join(threads[--started], NULL);
}

/* ---- from a batch into the store ---- */

static bool leave_out(struct packing *p, const struct slot *slot, dt_error *error)
{
    const char *name = slot->item.name ? slot->item.name : "an item";
    p->summary->skipped++;
    if (p->options->strict)
        return dt_fail(error, "%s: %s", name, slot->reason.message);
    if (p->options->skipped)
        p->options->skipped(p->options->context, name, slot->reason.message);
    return true;
}

static char *fill_template(const char *template, const char *class_name)
{
    const char *gap = strstr(template, "{}");
    size_t before = (size_t)(gap - template), name = strlen(class_name), after = strlen(gap + 2);
    char *text = malloc(before + name + after + 1);
    if (!text)
        return NULL;
    memcpy(text, template, before);
    memcpy(text + before, class_name, name);
    memcpy(text + before + name, gap + 2, after + 1);
    return text;
}

/* Makes the captions of an item from its class. */
static bool make_captions(struct packing *p, dt_pair_input *pair, dt_error *error)
{
    static const char *const preset[] = {"a photo of a {}."};
    const dt_pack_options *o = p->options;
    const char *const *names = o->class_names ? o->class_names : p->source->class_names;
    size_t class_count = o->class_names ? o->class_count : p->source->class_count;
    size_t count = o->template_count ? o->template_count : 1;
    if ((size_t)pair->label >= class_count)
        return dt_fail(error, "label %d, but only %zu classes have names", pair->label, class_count);
    for (size_t i = 0; i < count; i++) {
        free(p->made[i]);
        p->made[i] = fill_template(o->template_count ? o->templates[i] : preset[i], names[pair->label]);
        if (!p->made[i])
            return dt_fail(error, "no memory for captions");
    }
    pair->captions = (const char *const *)p->made;
    pair->caption_count = count;
    return true;
}

static bool store_item(struct packing *p, struct slot *slot, dt_error *error)
{
    const dt_item *item = &slot->item;
    dt_pair_input pair = {
        .jpeg = slot->image.bytes,
        .jpeg_size = slot->image.size,
        .width = slot->image.width,
        .height = slot->image.height,
        .label = item->label,
        .weight = item->weight,
        .captions = item->captions,
        .caption_count = item->caption_count,
        .extra = item->extra,
    };
    if (!pair.caption_count && pair.label >= 0 && !make_captions(p, &pair, error))
        return false;
    if (!pair.caption_count && !p->options->bare) {
        dt_fail(&slot->reason, "there is neither a caption nor a class");
        return leave_out(p, slot, error);
    }
    if (!dt_pairs_add(p->writer, &pair, &slot->reason))
        return dt_pairs_failed(p->writer) ? dt_fail(error, "%s", slot->reason.message)
                                          : leave_out(p, slot, error);
    p->summary->packed++;
    p->summary->captions += pair.caption_count;
    p->summary->jpeg_bytes += pair.jpeg_size;
    return true;
}

static bool full(const struct packing *p)
{
    return p->options->limit && p->summary->packed >= p->options->limit;
}

static bool store_all(struct packing *p, dt_error *error)
{
    bool good = true;
    for (size_t i = 0; i < p->batch->count; i++) {
        struct slot *slot = &p->batch->slots[i];
        if (good && !full(p))
            good = slot->result == DT_SOURCE_ITEM ? store_item(p, slot, error) : leave_out(p, slot, error);
        free(slot->image.made);
        slot->image.made = NULL;
        if (slot->bytes_room > KEPT_BYTES) { /* else large items would in time fill every slot */
            free(slot->bytes);
            slot->bytes = NULL;
            slot->bytes_room = 0;
        }
    }
    return good;
}

static bool pack_all(struct packing *p, dt_error *error)
{
    bool more = true, good = true;
    while (more && good && !full(p)) {
        good = fill(p, &more, error);
        if (good)
            prove_all(p);
        good = good && store_all(p, error);
        if (good && p->options->progress)
            p->options->progress(p->options->context, p->summary->packed, p->summary->skipped);
    }
    for (size_t i = 0; i < TEMPLATES_MAX; i++)
        free(p->made[i]);
    return good;
}

static bool finish(struct packing *p, const char *const *origins, size_t origin_count, dt_error *error)
{
    const dt_pack_options *o = p->options;
    const char *const *names = o->class_names ? o->class_names : p->source->class_names;
    size_t class_count = o->class_names ? o->class_count : p->source->class_count;
    json_t *more = json_object();
    json_object_set_new(more, "kind", json_string(p->source->kind));
    json_object_set_new(more, "skipped", json_integer((json_int_t)p->summary->skipped));
    p->summary->class_count = class_count;
    bool good = p->summary->packed || dt_fail(error, "nothing was packed, %llu items were left out",
                                              (unsigned long long)p->summary->skipped);
    if (good)
        good = dt_pairs_finish(p->writer, names, class_count, origins, origin_count, more, error);
    else
        dt_pairs_abort(p->writer);
    json_decref(more);
    return good;
}
