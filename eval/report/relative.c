#include "eval/report/relative.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The folder of a path that may not exist itself. The caller frees. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    char *whole = folder ? realpath(folder, NULL) : NULL;
    free(folder);
    return whole;
}

/* Percent-encodes what has a meaning in URLs; the result lies in `out`, which has room for three times
 * `path`. */
static void encode(const char *path, char *out)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~/";
    for (; *path; path++)
        out +=
            strchr(plain, *path) ? sprintf(out, "%c", *path) : sprintf(out, "%%%02X", (unsigned char)*path);
    *out = 0;
}

/* Both absolute: a folder and a file. */
static char *between(const char *folder, const char *file)
{
    size_t same = 0, ups = 0, i = 0;
    for (; folder[i] && folder[i] == file[i]; i++)
        if (folder[i] == '/')
            same = i + 1;
    if (!folder[i] && file[i] == '/')
        same = i + 1;
    for (const char *rest = folder + (same < strlen(folder) ? same : strlen(folder)); *rest;) {
        const char *slash = strchr(rest, '/');
        ups++;
        rest = slash ? slash + 1 : "";
    }
    char *url = malloc(3 * ups + 3 * strlen(file + same) + 3), *end = url;
    if (!url)
        return NULL;
    end = stpcpy(end, ups ? "" : "./");
    for (size_t k = 0; k < ups; k++)
        end = stpcpy(end, "../");
    encode(file + same, end);
    return url;
}

char *dt_relative_url(const char *from, const char *to)
{
    char *folder = folder_of(from), *file = realpath(to, NULL);
    char *url = folder && file ? between(folder, file) : NULL;
    free(folder);
    free(file);
    return url;
}
