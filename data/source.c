#include "data/source.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "data/source_parts.h"
#include "data/tar.h"

static const struct {
    const char *name;
    dt_source_opener *open;
} formats[] = {
    {"folder", dt_source_open_folder},
    {"table", dt_source_open_table},
    {"webdataset", dt_source_open_webdataset},
    {"tar", dt_source_open_tar},
    {"idx", dt_source_open_idx},
    {"cifar", dt_source_open_cifar},
};

static const char *detect(const char *path, dt_error *error);

dt_source *dt_source_open(const char *from, const char *const *paths, size_t path_count,
                          const dt_source_options *options, dt_error *error)
{
    static const dt_source_options defaults;
    if (!path_count) {
        dt_fail(error, "no source was named");
        return NULL;
    }
    if (!from || !strcmp(from, "auto"))
        from = detect(paths[0], error);
    for (size_t i = 0; from && i < sizeof formats / sizeof formats[0]; i++)
        if (!strcmp(formats[i].name, from))
            return formats[i].open(paths, path_count, options ? options : &defaults, error);
    if (from)
        dt_fail(error, "%s is not a format of sources; there are %s", from, dt_source_formats());
    return NULL;
}

const char *dt_source_formats(void)
{
    return "folder, table, webdataset, tar, idx, cifar";
}

static bool ends_with(const char *path, const char *suffix)
{
    size_t n = strlen(path), k = strlen(suffix);
    return n > k && !strcasecmp(path + n - k, suffix);
}

/* WebDataset: a file of annotations follows or precedes the image of the same key. */
static const char *detect_tar(const char *path, dt_error *error)
{
    dt_tar *tar = dt_tar_open(path, error);
    if (!tar)
        return NULL;
    const char *found = "tar";
    char last_key[512] = "";
    bool last_image = false;
    dt_tar_entry entry;
    for (int i = 0; i < 1000 && dt_tar_next(tar, &entry, NULL) > 0; i++) {
        size_t length = dt_tar_key(entry.name);
        const char *kind = entry.name + length;
        bool image = dt_named_image(entry.name);
        bool note = !strcasecmp(kind, ".txt") || !strcasecmp(kind, ".json") || !strcasecmp(kind, ".cls");
        bool same = length < sizeof last_key && !last_key[length] && !memcmp(last_key, entry.name, length);
        if (same && ((image && !last_image) || (note && last_image))) {
            found = "webdataset";
            break;
        }
        last_image = image;
        last_key[0] = 0;
        if (length < sizeof last_key && (image || note))
            snprintf(last_key, sizeof last_key, "%.*s", (int)length, entry.name);
    }
    dt_tar_close(tar);
    return found;
}

static const char *detect(const char *path, dt_error *error)
{
    static const char *const tables[] = {".csv", ".tsv", ".jsonl", ".ndjson"};
    if (dt_is_directory(path))
        return "folder";
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        if (ends_with(path, tables[i]))
            return "table";
    if (ends_with(path, ".bin"))
        return "cifar";
    unsigned char head[512] = {0};
    errno = 0;
    gzFile file = gzopen(path, "rbe"); /* reads files that are not compressed as they are */
    if (!file) {
        dt_fail(error, "cannot open %s: %s", path, errno ? strerror(errno) : "out of memory");
        return NULL;
    }
    int got = gzread(file, head, sizeof head);
    gzclose(file);
    if (got == sizeof head && (!memcmp(head + 257, "ustar", 5) || ends_with(path, ".tar")))
        return detect_tar(path, error);
    if (got >= 8 && !head[0] && !head[1] && head[2] == 8 && (head[3] == 1 || head[3] == 3))
        return "idx";
    dt_fail(error, "cannot tell what %s is; say it with --from (%s)", path, dt_source_formats());
    return NULL;
}
