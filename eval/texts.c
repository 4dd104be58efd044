#include "eval/texts.h"

#include <stdlib.h>
#include <string.h>

#include "data/file.h"
#include "data/pairs.h"

enum { FILE_MAX = 64 << 20 };

static bool add(dt_texts *texts, const char *text, size_t length, dt_error *error)
{
    if (!(texts->items[texts->count] = strndup(text, length)))
        return dt_fail(error, "no memory");
    return dt_caption_check(texts->items[texts->count++], error);
}

bool dt_texts_split(dt_texts *texts, const char *text, const char *separators, bool blanks, const char *name,
                    dt_error *error)
{
    size_t room = 1, line = 0;
    for (const char *c = text; *c; c++)
        room += strchr(separators, *c) != NULL;
    *texts = (dt_texts){.items = calloc(room, sizeof *texts->items)};
    if (!texts->items)
        return dt_fail(error, "%s: no memory for %zu texts", name, room);
    for (const char *at = text; *at;) {
        const char *end = at + strcspn(at, separators), *next = end + (*end != 0);
        line++;
        while (at < end && strchr(" \t\r", *at))
            at++;
        while (at < end && strchr(" \t\r", end[-1]))
            end--;
        if (!(at == end && blanks) && !add(texts, at, (size_t)(end - at), error))
            return dt_fail_prefix(error, "%s:%zu", name, line);
        at = next;
    }
    return texts->count || dt_fail(error, "%s: there is no text in it", name);
}

bool dt_texts_load(dt_texts *texts, const char *path, bool blanks, dt_error *error)
{
    bool standard = !strcmp(path, "-");
    size_t size;
    *texts = (dt_texts){0};
    char *text = dt_file_read(standard ? "/dev/stdin" : path, FILE_MAX, &size, error);
    if (!text)
        return false;
    const char *name = standard ? "standard input" : path;
    bool good = strlen(text) == size ||
                dt_fail(error, "%s: a NUL at byte %zu; expected one text a line", name, strlen(text));
    good = good && dt_texts_split(texts, text, "\n", blanks, name, error);
    free(text);
    return good;
}

void dt_texts_free(dt_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++)
        free(texts->items[i]);
    free(texts->items);
    *texts = (dt_texts){0};
}
