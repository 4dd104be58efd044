/* WebDataset shards: neighbours in a tar archive that share their key (the name up to the first dot) are one
 * pair: KEY.jpg, .jpeg or .png with KEY.txt (the caption), KEY.cls (the class) and KEY.json (a caption and
 * class, where the other two are absent, a weight, and an "extra" object of attributes). Other members are
 * passed over. Classes are numbered as they are, or, where they are words, in order of appearance. */
#define _GNU_SOURCE /* asprintf */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "data/json.h"
#include "data/source_parts.h"
#include "data/tar.h"

enum part { IMAGE, TEXT, CLASS, JSON, PARTS };

struct webdataset {
    dt_source base;
    dt_list paths, classes, captions;
    json_t *known; /* class name to label, where classes are words */
    dt_tar *tar;
    size_t at;
    dt_seen seen;       /* keys in this archive */
    dt_tar_entry ahead; /* the first entry of the next pair, when has_ahead */
    bool has_ahead, ended;
    char *name, *extra;
};

/* The members of one pair; bytes NULL: absent. */
struct group {
    dt_tar_entry part[PARTS];
    const char *twice; /* the kind that came twice, or NULL */
    bool any;
};

static void close_webdataset(dt_source *source)
{
    struct webdataset *s = (struct webdataset *)source;
    dt_tar_close(s->tar);
    dt_list_free(&s->paths);
    dt_list_free(&s->classes);
    dt_list_free(&s->captions);
    dt_seen_free(&s->seen);
    json_decref(s->known);
    free(s->name);
    free(s->extra);
    free(s);
}

static enum part part_of(const char *kind)
{
    if (!strcasecmp(kind, ".txt"))
        return TEXT;
    if (!strcasecmp(kind, ".cls"))
        return CLASS;
    if (!strcasecmp(kind, ".json"))
        return JSON;
    return *kind && !strchr(kind + 1, '.') && dt_named_image(kind) ? IMAGE : PARTS;
}

static void take_part(struct group *group, const dt_tar_entry *entry, size_t key_size)
{
    static const char *const names[] = {"images", "captions (.txt)", "classes (.cls)", ".json files"};
    enum part part = part_of(entry->name + key_size);
    if (part == PARTS)
        return;
    group->any = true;
    if (group->part[part].bytes)
        group->twice = names[part];
    else
        group->part[part] = *entry;
}

/* Reads all members of the next key; s->name becomes "ARCHIVE: KEY". Returns as dt_tar_next does. */
static int read_group(struct webdataset *s, struct group *group, const char **key, dt_error *error)
{
    int found = 1;
    *group = (struct group){0};
    if (!s->has_ahead && (found = dt_tar_next(s->tar, &s->ahead, error)) <= 0)
        return found;
    const char *path = s->paths.items[s->at - 1];
    size_t key_size = dt_tar_key(s->ahead.name);
    free(s->name);
    if (asprintf(&s->name, "%s: %.*s", path, (int)key_size, s->ahead.name) < 0) {
        s->name = NULL;
        dt_fail(error, "%s: no memory", path);
        return -1;
    }
    *key = s->name + strlen(path) + 2;
    do {
        take_part(group, &s->ahead, key_size);
        found = dt_tar_next(s->tar, &s->ahead, error);
    } while (found > 0 && dt_tar_key(s->ahead.name) == key_size && !memcmp(s->ahead.name, *key, key_size));
    s->has_ahead = found > 0;
    return found < 0 ? -1 : 1;
}

/* Adds a class by its name or number. Which of the two holds for all is decided by the first. */
static bool set_class(struct webdataset *s, const char *name, dt_item *item, dt_error *error)
{
    int32_t number = dt_label_number(name);
    bool words = s->known != NULL;
    if (!*name || (!words && s->classes.count && number < 0))
        return dt_fail(error, "class '%s', expected a number below %d like those before", name,
                       DT_NUMBERED_CLASSES_MAX);
    if (!words && number >= 0) {
        item->label = number;
        return dt_list_number(&s->classes, (size_t)number + 1, error);
    }
    if (!words && !(s->known = json_object()))
        return dt_fail(error, "no memory");
    json_t *label = json_object_get(s->known, name);
    if (label) {
        item->label = (int32_t)json_integer_value(label);
        return true;
    }
    item->label = (int32_t)s->classes.count;
    if (json_object_set_new(s->known, name, json_integer(item->label)))
        return dt_fail(error, "the class is not UTF-8");
    return dt_list_add(&s->classes, name, strlen(name), error);
}

static bool read_json(struct webdataset *s, const struct group *group, dt_item *item, dt_error *error)
{
    const dt_tar_entry *entry = &group->part[JSON];
    json_t *value = dt_json_parse((const char *)entry->bytes, entry->size, "its .json", error);
    if (!value)
        return false;
    bool good = json_is_object(value) ||
                dt_fail(error, "its .json is %s, expected an object", dt_json_kind_name(value));
    if (good && !group->part[TEXT].bytes)
        good = dt_list_add_captions(&s->captions, dt_json_first(value, dt_caption_names), error);
    const json_t *class = dt_json_first(value, dt_class_names), *extra = json_object_get(value, "extra");
    if (good && class && !group->part[CLASS].bytes) {
        char *name = dt_json_class(class, error);
        good = name && set_class(s, name, item, error);
        free(name);
    }
    const json_t *weight = dt_json_first(value, dt_weight_names);
    if (good && weight && !json_is_number(weight))
        good = dt_fail(error, "the weight is %s, expected a number", dt_json_kind_name(weight));
    if (good && weight)
        item->weight = (float)json_number_value(weight);
    if (good && json_is_object(extra))
        item->extra = s->extra = dt_json_text(extra, 0, error);
    json_decref(value);
    return good && (!item->extra == !s->extra);
}

static bool read_parts(struct webdataset *s, const struct group *group, dt_item *item, dt_error *error)
{
    const dt_tar_entry *text = &group->part[TEXT], *class = &group->part[CLASS];
    if (!group->part[IMAGE].bytes)
        return dt_fail(error, "there is no image beside its annotations");
    if (group->twice)
        return dt_fail(error, "it has two %s", group->twice);
    if (text->bytes) {
        char *caption = dt_trimmed((const char *)text->bytes, text->size, error);
        bool good = caption && dt_list_add(&s->captions, caption, strlen(caption), error);
        free(caption);
        if (!good)
            return false;
    }
    if (class->bytes) {
        char *name = dt_trimmed((const char *)class->bytes, class->size, error);
        bool good = name && set_class(s, name, item, error);
        free(name);
        if (!good)
            return false;
    }
    if (group->part[JSON].bytes && !read_json(s, group, item, error))
        return false;
    item->captions = (const char *const *)s->captions.items;
    item->caption_count = s->captions.count;
    item->bytes = group->part[IMAGE].bytes;
    item->size = group->part[IMAGE].size;
    return true;
}

/* The next archive, when the present one is at its end. */
static bool advance(struct webdataset *s, dt_error *error)
{
    dt_tar_close(s->tar);
    dt_seen_free(&s->seen);
    s->has_ahead = s->ended = false;
    s->tar = dt_tar_open(s->paths.items[s->at++], error);
    return s->tar != NULL;
}

static dt_source_result next(dt_source *source, dt_item *item, dt_error *error)
{
    struct webdataset *s = (struct webdataset *)source;
    dt_list_free(&s->captions);
    free(s->extra);
    s->extra = NULL;
    for (;;) {
        struct group group;
        const char *key;
        bool before;
        if (!s->tar || s->ended) {
            if (s->at == s->paths.count)
                return DT_SOURCE_END;
            if (!advance(s, error))
                return DT_SOURCE_FAILED;
        }
        int found = read_group(s, &group, &key, error);
        s->ended = found <= 0;
        item->name = s->paths.items[s->at - 1];
        if (found < 0 || (!found && !dt_tar_ended(s->tar, error)))
            return DT_SOURCE_SKIP; /* with the pair that the damage cuts into */
        if (!found || !group.any)
            continue;
        item->name = s->name;
        if (!dt_seen_add(&s->seen, key, &before, error))
            return DT_SOURCE_FAILED;
        if (before)
            dt_fail(error, "the archive has this key twice, not side by side; the first is taken");
        bool good = !before && read_parts(s, &group, item, error);
        s->base.class_names = (const char *const *)s->classes.items;
        s->base.class_count = s->classes.count;
        return good ? DT_SOURCE_ITEM : DT_SOURCE_SKIP;
    }
}

dt_source *dt_source_open_webdataset(const char *const *paths, size_t path_count,
                                     const dt_source_options *options, dt_error *error)
{
    (void)options;
    struct webdataset *s = calloc(1, sizeof *s);
    if (!s) {
        dt_fail(error, "no memory to open %s", paths[0]);
        return NULL;
    }
    s->base = (dt_source){.kind = "webdataset", .next = next, .close = close_webdataset};
    for (size_t i = 0; i < path_count; i++) {
        if (!dt_list_add(&s->paths, paths[i], strlen(paths[i]), error)) {
            close_webdataset(&s->base);
            return NULL;
        }
    }
    return &s->base;
}
