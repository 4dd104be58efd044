/* Tar archives of class folders: the class of an image is the folder that it lies in
 * (train/airplane/0000.jpg). The headers are read twice: first for the class names, which are then sorted. */
#define _GNU_SOURCE /* asprintf */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/source_parts.h"
#include "data/tar.h"

struct tar_source {
    dt_source base;
    dt_list paths, classes;
    dt_list folders; /* the class names as the archives spell them, in the same order */
    dt_tar *tar;     /* the one that is being read, or NULL */
    size_t at;       /* paths that were opened */
    dt_seen seen;    /* names in this archive */
    char *name;
};

static void close_tar(dt_source *source)
{
    struct tar_source *s = (struct tar_source *)source;
    dt_tar_close(s->tar);
    dt_list_free(&s->paths);
    dt_list_free(&s->classes);
    dt_list_free(&s->folders);
    dt_seen_free(&s->seen);
    free(s->name);
    free(s);
}

/* The folder that a name lies in, as a part of the name; length 0: none. */
static const char *folder_of(const char *name, size_t *length)
{
    const char *end = strrchr(name, '/');
    const char *start = end;
    while (start && start > name && start[-1] != '/')
        start--;
    *length = start ? (size_t)(end - start) : 0;
    if (*length == 1 && *start == '.')
        *length = 0;
    return start;
}

/* Neighbours mostly share their folder, so only changes are added. */
static bool find_classes(struct tar_source *s, const char *path, dt_error *error)
{
    dt_tar *tar = dt_tar_open(path, error);
    if (!tar)
        return false;
    dt_tar_entry entry;
    bool good = true;
    while (good && dt_tar_next(tar, &entry, NULL) > 0) { /* damage is reported when the items are read */
        size_t length;
        const char *folder = folder_of(entry.name, &length);
        const char *last = s->folders.count ? s->folders.items[s->folders.count - 1] : "";
        if (length && dt_named_image(entry.name) && (strncmp(last, folder, length) || last[length]))
            good = dt_list_add(&s->folders, folder, length, error);
        if (s->folders.count >= 1 << 16)
            dt_list_sort_unique(&s->folders);
    }
    dt_tar_close(tar);
    dt_list_sort_unique(&s->folders);
    return good;
}

static dt_source_result fill(struct tar_source *s, const dt_tar_entry *entry, dt_item *item, dt_error *error)
{
    size_t length;
    bool before;
    const char *folder = folder_of(entry->name, &length);
    free(s->name);
    if (asprintf(&s->name, "%s: %s", s->paths.items[s->at - 1], entry->name) < 0)
        s->name = NULL;
    item->name = s->name;
    if (!s->name || !dt_seen_add(&s->seen, entry->name, &before, error))
        return DT_SOURCE_FAILED;
    if (before) {
        dt_fail(error, "the archive has this name twice; the first is taken");
        return DT_SOURCE_SKIP;
    }
    if (length) {
        char *class_name = strndup(folder, length);
        item->label = class_name ? dt_list_find(&s->folders, class_name) : -1;
        free(class_name);
    }
    item->bytes = entry->bytes;
    item->size = entry->size;
    return DT_SOURCE_ITEM;
}

static dt_source_result next(dt_source *source, dt_item *item, dt_error *error)
{
    struct tar_source *s = (struct tar_source *)source;
    dt_tar_entry entry;
    for (;;) {
        if (!s->tar) {
            if (s->at == s->paths.count)
                return DT_SOURCE_END;
            if (!(s->tar = dt_tar_open(s->paths.items[s->at++], error)))
                return DT_SOURCE_FAILED;
            dt_seen_free(&s->seen);
        }
        int found = dt_tar_next(s->tar, &entry, error);
        if (found > 0 && dt_named_image(entry.name))
            return fill(s, &entry, item, error);
        if (found > 0)
            continue;
        bool whole = !found && dt_tar_ended(s->tar, error);
        dt_tar_close(s->tar);
        s->tar = NULL;
        if (!whole) {
            item->name = s->paths.items[s->at - 1];
            return DT_SOURCE_SKIP;
        }
    }
}

dt_source *dt_source_open_tar(const char *const *paths, size_t path_count, const dt_source_options *options,
                              dt_error *error)
{
    (void)options;
    struct tar_source *s = calloc(1, sizeof *s);
    if (!s) {
        dt_fail(error, "no memory to open %s", paths[0]);
        return NULL;
    }
    s->base = (dt_source){.kind = "tar", .next = next, .close = close_tar};
    bool good = true;
    for (size_t i = 0; i < path_count && good; i++)
        good = dt_list_add(&s->paths, paths[i], strlen(paths[i]), error) && find_classes(s, paths[i], error);
    for (size_t i = 0; i < s->folders.count && good; i++)
        if ((good = dt_list_add(&s->classes, s->folders.items[i], strlen(s->folders.items[i]), error)))
            dt_make_readable(s->classes.items[i]);
    if (!good) {
        close_tar(&s->base);
        return NULL;
    }
    s->base.class_names = (const char *const *)s->classes.items;
    s->base.class_count = s->classes.count;
    return &s->base;
}
