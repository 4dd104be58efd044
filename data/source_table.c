/* Tables of images and captions: CSV and TSV with a header, and JSONL, a JSON object a line. Paths of images
 * are relative to the table's folder. Rows of the same image become one pair with several captions, unless
 * asked otherwise. The rows are read at once: what is merged need not stand side by side. */
#define _GNU_SOURCE /* asprintf */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/source_table.h"

struct image {
    char *path, *extra, *class_name; /* extra and class_name may be NULL */
    size_t line, first, last;        /* captions as their index + 1; 0: none */
    uint32_t file;
    int32_t label;
    float weight;
};

struct dt_table {
    dt_source base;
    bool keep_rows;
    dt_list files, captions, classes;
    dt_list bad_names, bad_reasons; /* rows that are left out */
    size_t *next_caption;           /* of the same image; index + 1, or 0 */
    struct image *images;
    size_t count, room, caption_room, at, bad_at;
    size_t *slots; /* path to image: index + 1, or 0 */
    size_t slot_count;
    const char **item_captions;
    size_t item_room;
    char *name;
};

static bool number_classes(dt_table *t, dt_error *error);
static dt_source_result next(dt_source *source, dt_item *item, dt_error *error);

static void close_table(dt_source *source)
{
    dt_table *t = (dt_table *)source;
    for (size_t i = 0; i < t->count; i++) {
        free(t->images[i].path);
        free(t->images[i].extra);
        free(t->images[i].class_name);
    }
    dt_list_free(&t->files);
    dt_list_free(&t->captions);
    dt_list_free(&t->classes);
    dt_list_free(&t->bad_names);
    dt_list_free(&t->bad_reasons);
    free(t->next_caption);
    free(t->images);
    free(t->slots);
    free(t->item_captions);
    free(t->name);
    free(t);
}

dt_source *dt_source_open_table(const char *const *paths, size_t path_count, const dt_source_options *options,
                                dt_error *error)
{
    dt_table *t = calloc(1, sizeof *t);
    if (!t) {
        dt_fail(error, "no memory to read %s", paths[0]);
        return NULL;
    }
    t->base = (dt_source){.kind = "table", .next = next, .close = close_table};
    t->keep_rows = options->keep_rows;
    bool good = true;
    for (size_t i = 0; i < path_count && good; i++)
        good = dt_list_add(&t->files, paths[i], strlen(paths[i]), error) &&
               dt_table_read(t, paths[i], options, error);
    if (good && !t->count && !t->bad_names.count)
        good = dt_fail(error, "%s has no rows", paths[0]);
    if (!good || !number_classes(t, error)) {
        close_table(&t->base);
        return NULL;
    }
    return &t->base;
}

/* ---- taking rows ---- */

bool dt_table_complain(dt_table *t, size_t line, const char *reason, dt_error *error)
{
    char *name = NULL;
    if (asprintf(&name, "%s line %zu", t->files.items[t->files.count - 1], line) < 0)
        return dt_fail(error, "no memory");
    bool good = dt_list_add(&t->bad_names, name, strlen(name), error) &&
                dt_list_add(&t->bad_reasons, reason, strlen(reason), error);
    free(name);
    return good;
}

static bool grow_slots(dt_table *t, dt_error *error)
{
    size_t count = t->slot_count ? 2 * t->slot_count : 1024, *slots = calloc(count, sizeof *slots);
    if (!slots)
        return dt_fail(error, "no memory for %zu images", count);
    for (size_t i = 0; i < t->count; i++) {
        size_t at = dt_hash_text(t->images[i].path) & (count - 1);
        while (slots[at])
            at = (at + 1) & (count - 1);
        slots[at] = i + 1;
    }
    free(t->slots);
    t->slots = slots;
    t->slot_count = count;
    return true;
}

/* The slot that holds the image of this path, or the free one where it belongs. */
static size_t *find_slot(const dt_table *t, const char *path)
{
    size_t at = dt_hash_text(path) & (t->slot_count - 1);
    while (t->slots[at] && strcmp(t->images[t->slots[at] - 1].path, path))
        at = (at + 1) & (t->slot_count - 1);
    return &t->slots[at];
}

static struct image *new_image(dt_table *t, dt_error *error)
{
    if (t->count == t->room) {
        size_t room = t->room ? 2 * t->room : 256;
        struct image *images = realloc(t->images, room * sizeof *images);
        if (!images) {
            dt_fail(error, "no memory for %zu images", room);
            return NULL;
        }
        t->images = images;
        t->room = room;
    }
    struct image *image = &t->images[t->count++];
    *image = (struct image){.file = (uint32_t)t->files.count - 1, .label = -1};
    return image;
}

static bool append_caption(dt_table *t, struct image *image, const char *text, dt_error *error)
{
    if (t->captions.count == t->caption_room) {
        size_t room = t->caption_room ? 2 * t->caption_room : 256;
        size_t *links = realloc(t->next_caption, room * sizeof *links);
        if (!links)
            return dt_fail(error, "no memory for %zu captions", room);
        t->next_caption = links;
        t->caption_room = room;
    }
    t->next_caption[t->captions.count] = 0;
    if (!dt_list_add(&t->captions, text, strlen(text), error))
        return false;
    if (image->last)
        t->next_caption[image->last - 1] = t->captions.count;
    else
        image->first = t->captions.count;
    image->last = t->captions.count;
    return true;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && !strcmp(a, b));
}

/* Moves a row into the table; row->path is already joined with the folder. */
bool dt_table_take(dt_table *t, dt_table_row *row, dt_error *error)
{
    struct image *image = NULL;
    size_t *slot = NULL;
    if (!t->keep_rows) {
        if (2 * (t->count + 1) > t->slot_count && !grow_slots(t, error))
            return false;
        slot = find_slot(t, row->path);
        image = *slot ? &t->images[*slot - 1] : NULL;
    }
    if (image && (!same_text(image->class_name, row->class_name) || image->weight != (float)row->weight ||
                  !same_text(image->extra, row->extra)))
        return dt_table_complain(
            t, row->line, "class, weight or attributes differ from an earlier row of this image", error);
    if (!image) {
        if (!(image = new_image(t, error)))
            return false;
        image->path = row->path;
        image->class_name = row->class_name;
        image->extra = row->extra;
        image->weight = (float)row->weight;
        image->line = row->line;
        row->path = row->class_name = row->extra = NULL;
        if (slot)
            *slot = t->count;
    }
    for (size_t i = 0; i < row->captions.count; i++)
        if (*row->captions.items[i] && !append_caption(t, image, row->captions.items[i], error))
            return false;
    return true;
}

/* Classes that are all numbers keep them; words are sorted. */
static bool number_classes(dt_table *t, dt_error *error)
{
    bool numbers = true;
    int32_t most = -1;
    for (size_t i = 0; i < t->count; i++) {
        const char *name = t->images[i].class_name;
        int32_t number = name ? dt_label_number(name) : 0;
        numbers = numbers && number >= 0;
        if (name && number > most)
            most = number;
    }
    if (numbers && !dt_list_number(&t->classes, (size_t)(most + 1), error))
        return false;
    for (size_t i = 0; i < t->count && !numbers; i++) {
        const char *name = t->images[i].class_name;
        if (name && !dt_list_add(&t->classes, name, strlen(name), error))
            return false;
    }
    if (!numbers)
        dt_list_sort_unique(&t->classes);
    for (size_t i = 0; i < t->count; i++) {
        const char *name = t->images[i].class_name;
        if (name)
            t->images[i].label = numbers ? dt_label_number(name) : dt_list_find(&t->classes, name);
    }
    t->base.class_names = (const char *const *)t->classes.items;
    t->base.class_count = t->classes.count;
    return true;
}

static bool gather_captions(dt_table *t, const struct image *image, dt_item *item, dt_error *error)
{
    for (size_t i = image->first; i; i = t->next_caption[i - 1]) {
        if (item->caption_count == t->item_room) {
            size_t room = t->item_room ? 2 * t->item_room : 16;
            const char **captions = realloc(t->item_captions, room * sizeof *captions);
            if (!captions)
                return dt_fail(error, "no memory for %zu captions", room);
            t->item_captions = captions;
            t->item_room = room;
        }
        t->item_captions[item->caption_count++] = t->captions.items[i - 1];
    }
    item->captions = t->item_captions;
    return true;
}

static dt_source_result next(dt_source *source, dt_item *item, dt_error *error)
{
    dt_table *t = (dt_table *)source;
    if (t->bad_at < t->bad_names.count) {
        item->name = t->bad_names.items[t->bad_at];
        dt_fail(error, "%s", t->bad_reasons.items[t->bad_at++]);
        return DT_SOURCE_SKIP;
    }
    if (t->at == t->count)
        return DT_SOURCE_END;
    const struct image *image = &t->images[t->at++];
    free(t->name);
    if (asprintf(&t->name, "%s line %zu: %s", t->files.items[image->file], image->line, image->path) < 0) {
        t->name = NULL;
        dt_fail(error, "no memory");
        return DT_SOURCE_FAILED;
    }
    item->name = t->name;
    item->path = image->path;
    item->label = image->label;
    item->weight = image->weight;
    item->extra = image->extra;
    return gather_captions(t, image, item, error) ? DT_SOURCE_ITEM : DT_SOURCE_FAILED;
}
