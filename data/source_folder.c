/* A folder of class folders: the class of an image is the first folder below the root, also when the image
 * lies deeper. Images in the root itself have no class. NAME.txt beside NAME.jpg holds captions,
 * one a line. */
#define _GNU_SOURCE /* asprintf */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/source_parts.h"

enum { DEPTH_MAX = 32, NO_CLASS = -1, SIDECAR_MAX = 1 << 20 };

struct file {
    char *path;
    int32_t label;
    bool sidecar;
};

struct folder {
    dt_source base;
    dt_list classes;
    struct file *files;
    size_t count, room, at;
    dt_list captions; /* of the present item */
};

static bool find_classes(struct folder *folder, const char *root, dt_error *error);
static bool walk_root(struct folder *folder, const char *root, dt_error *error);
static dt_source_result next(dt_source *source, dt_item *item, dt_error *error);

static void close_folder(dt_source *source)
{
    struct folder *folder = (struct folder *)source;
    for (size_t i = 0; i < folder->count; i++)
        free(folder->files[i].path);
    free(folder->files);
    dt_list_free(&folder->classes);
    dt_list_free(&folder->captions);
    free(folder);
}

dt_source *dt_source_open_folder(const char *const *paths, size_t path_count,
                                 const dt_source_options *options, dt_error *error)
{
    (void)options;
    struct folder *folder = calloc(1, sizeof *folder);
    if (!folder) {
        dt_fail(error, "no memory to list %s", paths[0]);
        return NULL;
    }
    folder->base = (dt_source){.kind = "folder", .next = next, .close = close_folder};
    bool good = true;
    for (size_t i = 0; i < path_count && good; i++)
        good = find_classes(folder, paths[i], error);
    dt_list_sort_unique(&folder->classes);
    for (size_t i = 0; i < path_count && good; i++)
        good = walk_root(folder, paths[i], error);
    if (good && !folder->count)
        good = dt_fail(error, "there are no images in %s or its folders", paths[0]);
    if (!good) {
        close_folder(&folder->base);
        return NULL;
    }
    for (size_t i = 0; i < folder->classes.count; i++)
        dt_make_readable(folder->classes.items[i]);
    folder->base.class_names = (const char *const *)folder->classes.items;
    folder->base.class_count = folder->classes.count;
    return &folder->base;
}

/* The names in a folder, sorted; those that start with a dot are hidden and left out. */
static bool list_folder(const char *path, dt_list *names, dt_error *error)
{
    DIR *directory = opendir(path);
    if (!directory)
        return dt_fail(error, "cannot list %s: %s", path, strerror(errno));
    bool good = true;
    for (const struct dirent *entry; good && (entry = readdir(directory));)
        if (entry->d_name[0] != '.')
            good = dt_list_add(names, entry->d_name, strlen(entry->d_name), error);
    closedir(directory);
    dt_list_sort_unique(names);
    return good;
}

static bool add_file(struct folder *folder, const char *path, int32_t label, bool sidecar, dt_error *error)
{
    if (folder->count == folder->room) {
        size_t room = folder->room ? 2 * folder->room : 256;
        struct file *files = realloc(folder->files, room * sizeof *files);
        if (!files)
            return dt_fail(error, "no memory for %zu file names", room);
        folder->files = files;
        folder->room = room;
    }
    struct file *file = &folder->files[folder->count];
    *file = (struct file){strdup(path), label, sidecar};
    folder->count += file->path != NULL;
    return file->path || dt_fail(error, "no memory for %zu file names", folder->count);
}

static bool has_sidecar(const dt_list *names, const char *image)
{
    char *text = NULL;
    int stem = (int)(strrchr(image, '.') - image);
    bool found = asprintf(&text, "%.*s.txt", stem, image) > 0 && dt_list_find(names, text) >= 0;
    free(text);
    return found;
}

/* Every image below `path`. Names that do not look like an image's are asked whether they are a folder. */
static bool walk(struct folder *folder, const char *path, int32_t label, int depth, dt_error *error)
{
    dt_list names = {0};
    if (depth > DEPTH_MAX)
        return dt_fail(error, "%s: more than %d folders deep; is there a link to a parent?", path, DEPTH_MAX);
    bool good = list_folder(path, &names, error);
    for (size_t i = 0; i < names.count && good; i++) {
        char *inside = dt_join(path, names.items[i]);
        if (!inside)
            good = dt_fail(error, "no memory");
        else if (dt_named_image(names.items[i]))
            good = add_file(folder, inside, label, has_sidecar(&names, names.items[i]), error);
        else if (depth && dt_is_directory(inside))
            good = walk(folder, inside, label, depth + 1, error);
        free(inside);
    }
    dt_list_free(&names);
    return good;
}

static bool find_classes(struct folder *folder, const char *root, dt_error *error)
{
    dt_list names = {0};
    bool good = list_folder(root, &names, error);
    for (size_t i = 0; i < names.count && good; i++) {
        char *inside = dt_join(root, names.items[i]);
        if (!inside)
            good = dt_fail(error, "no memory");
        else if (dt_is_directory(inside))
            good = dt_list_add(&folder->classes, names.items[i], strlen(names.items[i]), error);
        free(inside);
    }
    dt_list_free(&names);
    return good;
}

/* The images of the root itself, then class by class. */
static bool walk_root(struct folder *folder, const char *root, dt_error *error)
{
    bool good = walk(folder, root, NO_CLASS, 0, error);
    for (size_t i = 0; i < folder->classes.count && good; i++) {
        char *inside = dt_join(root, folder->classes.items[i]);
        if (!inside)
            good = dt_fail(error, "no memory");
        else if (dt_is_directory(inside)) /* of several roots not all have every class */
            good = walk(folder, inside, (int32_t)i, 1, error);
        free(inside);
    }
    return good;
}

static bool read_sidecar(struct folder *folder, const char *image, dt_error *error)
{
    char *path = NULL, *text = NULL;
    size_t size;
    if (asprintf(&path, "%.*s.txt", (int)(strrchr(image, '.') - image), image) < 0)
        return dt_fail(error, "no memory");
    bool good = (text = dt_file_read(path, SIDECAR_MAX, &size, error)) != NULL;
    for (size_t at = 0; good && at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end ? (size_t)(end - text) - at : size - at;
        char *line = dt_trimmed(text + at, length, error);
        good = line && (!*line || dt_list_add(&folder->captions, line, strlen(line), error));
        free(line);
        at += length + 1;
    }
    if (good && !folder->captions.count)
        good = dt_fail(error, "%s is empty", path);
    free(text);
    free(path);
    return good;
}

static dt_source_result next(dt_source *source, dt_item *item, dt_error *error)
{
    struct folder *folder = (struct folder *)source;
    dt_list_free(&folder->captions);
    if (folder->at == folder->count)
        return DT_SOURCE_END;
    const struct file *file = &folder->files[folder->at++];
    item->name = item->path = file->path;
    item->label = file->label;
    if (file->sidecar && !read_sidecar(folder, file->path, error))
        return DT_SOURCE_SKIP;
    item->captions = (const char *const *)folder->captions.items;
    item->caption_count = folder->captions.count;
    return DT_SOURCE_ITEM;
}
