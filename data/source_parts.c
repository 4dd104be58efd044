#include "data/source_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "data/json.h"
#include "data/shuffle.h"

/* ---- lists ---- */

bool dt_list_add(dt_list *list, const char *text, size_t length, dt_error *error)
{
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 64;
        char **items = realloc(list->items, room * sizeof *items);
        if (!items)
            return dt_fail(error, "no memory for %zu names", room);
        list->items = items;
        list->room = room;
    }
    char *copy = strndup(text, length);
    if (!copy)
        return dt_fail(error, "no memory for %zu names", list->count + 1);
    list->items[list->count++] = copy;
    return true;
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

void dt_list_sort_unique(dt_list *list)
{
    if (!list->count)
        return;
    qsort(list->items, list->count, sizeof *list->items, by_bytes);
    size_t kept = 1;
    for (size_t i = 1; i < list->count; i++) {
        if (strcmp(list->items[i], list->items[kept - 1]))
            list->items[kept++] = list->items[i];
        else
            free(list->items[i]);
    }
    list->count = kept;
}

int32_t dt_list_find(const dt_list *list, const char *text)
{
    char **found = NULL;
    if (list->count)
        found = bsearch(&text, list->items, list->count, sizeof *list->items, by_bytes);
    return found ? (int32_t)(found - list->items) : -1;
}

bool dt_list_number(dt_list *list, size_t count, dt_error *error)
{
    char digits[24];
    while (list->count < count) {
        int length = snprintf(digits, sizeof digits, "%zu", list->count);
        if (!dt_list_add(list, digits, (size_t)length, error))
            return false;
    }
    return true;
}

void dt_list_free(dt_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
    *list = (dt_list){0};
}

/* ---- what was seen: open addressing, at most half full; 0 marks a free slot ---- */

uint64_t dt_hash_text(const char *text)
{
    uint64_t hash = 0, word;
    size_t size = strlen(text), i = 0;
    for (; i + 8 <= size; i += 8) {
        memcpy(&word, text + i, 8);
        hash = dt_hash64(hash, word, i);
    }
    word = 0;
    memcpy(&word, text + i, size - i);
    hash = dt_hash64(hash, word, size);
    return hash ? hash : 1;
}

/* Returns whether it was there before. */
static bool place(uint64_t *slots, size_t room, uint64_t hash)
{
    size_t i = hash & (room - 1);
    while (slots[i] && slots[i] != hash)
        i = (i + 1) & (room - 1);
    bool before = slots[i] == hash;
    slots[i] = hash;
    return before;
}

bool dt_seen_add(dt_seen *seen, const char *text, bool *before, dt_error *error)
{
    if (2 * (seen->count + 1) > seen->room) {
        size_t room = seen->room ? 2 * seen->room : 1024;
        uint64_t *slots = calloc(room, sizeof *slots);
        if (!slots)
            return dt_fail(error, "no memory for %zu names", room);
        for (size_t i = 0; i < seen->room; i++)
            if (seen->slots[i])
                place(slots, room, seen->slots[i]);
        free(seen->slots);
        seen->slots = slots;
        seen->room = room;
    }
    *before = place(seen->slots, seen->room, dt_hash_text(text));
    seen->count += !*before;
    return true;
}

void dt_seen_free(dt_seen *seen)
{
    free(seen->slots);
    *seen = (dt_seen){0};
}

/* ---- files ---- */

static const size_t INFLATED_MAX = (size_t)4 << 30;

static bool inflate_file(dt_bytes *bytes, const char *path, dt_error *error)
{
    errno = 0;
    gzFile file = gzopen(path, "rbe");
    size_t room = 0, n = 0;
    int got = 1;
    bool good = file || dt_fail(error, "cannot open %s: %s", path, errno ? strerror(errno) : "out of memory");
    while (good && got > 0) {
        if (n == room) {
            room = room ? 2 * room : (size_t)1 << 20;
            uint8_t *larger = room > INFLATED_MAX ? NULL : realloc(bytes->inflated, room);
            if (!larger) {
                good = dt_fail(error, "%s inflates to more than %zu bytes; use gunzip first", path, room / 2);
                break;
            }
            bytes->inflated = larger;
        }
        size_t want = room - n < 1 << 20 ? room - n : 1 << 20;
        got = gzread(file, bytes->inflated + n, (unsigned)want);
        n += got > 0 ? (size_t)got : 0;
    }
    int status = Z_OK;
    const char *reason = file ? gzerror(file, &status) : "";
    if (good && (got < 0 || status != Z_OK)) /* a file that ends early gives Z_BUF_ERROR */
        good = dt_fail(error, "cannot inflate %s after %zu bytes: %s", path, n, reason);
    if (file)
        gzclose(file);
    bytes->data = bytes->inflated;
    bytes->size = n;
    return good;
}

bool dt_bytes_open(dt_bytes *bytes, const char *path, dt_error *error)
{
    *bytes = (dt_bytes){0};
    if (!dt_map_open(&bytes->map, path, error))
        return false;
    bytes->data = bytes->map.data;
    bytes->size = bytes->map.size;
    if (bytes->size < 18 || bytes->data[0] != 0x1f || bytes->data[1] != 0x8b)
        return true;
    dt_map_close(&bytes->map);
    if (inflate_file(bytes, path, error))
        return true;
    dt_bytes_close(bytes);
    return false;
}

void dt_bytes_close(dt_bytes *bytes)
{
    dt_map_close(&bytes->map);
    free(bytes->inflated);
    *bytes = (dt_bytes){0};
}

/* ---- names and texts ---- */

bool dt_named_image(const char *name)
{
    static const char *const suffixes[] = {"jpg", "jpeg", "jpe",  "jfif", "png", "webp",
                                           "bmp", "gif",  "tiff", "tif",  "avif"};
    const char *dot = strrchr(name, '.');
    if (!dot || strchr(dot, '/'))
        return false;
    for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++)
        if (!strcasecmp(dot + 1, suffixes[i]))
            return true;
    return false;
}

void dt_make_readable(char *name)
{
    for (; *name; name++)
        if (*name == '_')
            *name = ' ';
}

char *dt_trimmed(const char *text, size_t size, dt_error *error)
{
    while (size && (uint8_t)text[size - 1] <= ' ' && text[size - 1])
        size--;
    while (size && (uint8_t)*text <= ' ' && *text)
        text++, size--;
    if (memchr(text, 0, size)) {
        dt_fail(error, "the text holds a NUL byte");
        return NULL;
    }
    char *copy = strndup(text, size);
    if (!copy)
        dt_fail(error, "no memory for a text of %zu bytes", size);
    return copy;
}

int32_t dt_label_number(const char *text)
{
    int32_t value = 0;
    size_t i = 0;
    for (; text[i] >= '0' && text[i] <= '9' && i < 8; i++)
        value = 10 * value + (text[i] - '0');
    return i && !text[i] && value < DT_NUMBERED_CLASSES_MAX ? value : -1;
}

/* ---- JSON ---- */

const char *const dt_image_names[] = {"image",     "filepath",   "image_path", "path", "filename",
                                      "file_name", "image_file", "file",       "img",  NULL};
const char *const dt_caption_names[] = {"caption",  "captions",    "text", "title",
                                        "sentence", "description", NULL};
const char *const dt_class_names[] = {"class", "class_name", "label", "cls", "category", NULL};
const char *const dt_weight_names[] = {"weight", NULL};

const json_t *dt_json_first(const json_t *object, const char *const *names)
{
    for (; *names; names++) {
        const json_t *value = json_object_get(object, *names);
        if (value && !json_is_null(value))
            return value;
    }
    return NULL;
}

static bool add_caption(dt_list *captions, const json_t *value, dt_error *error)
{
    if (!json_is_string(value))
        return dt_fail(error, "the caption is %s, expected a string", dt_json_kind_name(value));
    char *text = dt_trimmed(json_string_value(value), json_string_length(value), error);
    bool good = text && dt_list_add(captions, text, strlen(text), error);
    free(text);
    return good;
}

bool dt_list_add_captions(dt_list *captions, const json_t *value, dt_error *error)
{
    if (value && !json_is_array(value))
        return add_caption(captions, value, error);
    for (size_t i = 0; i < json_array_size(value); i++)
        if (!add_caption(captions, json_array_get(value, i), error))
            return false;
    return true;
}

char *dt_json_class(const json_t *value, dt_error *error)
{
    char digits[32];
    if (json_is_string(value))
        return dt_trimmed(json_string_value(value), json_string_length(value), error);
    if (!json_is_integer(value)) {
        dt_fail(error, "the class is %s, expected a string or an integer", dt_json_kind_name(value));
        return NULL;
    }
    int length = snprintf(digits, sizeof digits, "%lld", (long long)json_integer_value(value));
    return dt_trimmed(digits, (size_t)length, error);
}
