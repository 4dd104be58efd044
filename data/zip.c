#include "data/zip.h"

#include <stdlib.h>
#include <string.h>

enum {
    LOCAL_SIZE = 30,    /* of a local header before its name */
    CENTRAL_SIZE = 46,  /* of an entry of the central directory before its name */
    END_SIZE = 22,      /* of the record that ends the archive, before its comment */
    LOCATOR_SIZE = 20,  /* of what points at the ZIP64 record; it stands right before the end record */
    END64_SIZE = 56,    /* of the ZIP64 record */
    ZIP64_FIELD = 1,    /* the extra field that holds what does not fit in 32 bits */
    FLAG_ENCRYPTED = 1, /* bit 0 of the flags; and bit 6, strong encryption */
    FLAG_STRONG = 1 << 6,
};

/* The central directory, as the end of the archive states it. */
typedef struct directory {
    uint64_t offset, size, count;
} directory;

static uint64_t number(const uint8_t *bytes, int width)
{
    uint64_t value = 0;
    for (int i = width - 1; i >= 0; i--)
        value = value << 8 | bytes[i];
    return value;
}

static bool is_signature(const uint8_t *bytes, const char *kind)
{
    return bytes[0] == 'P' && bytes[1] == 'K' && bytes[2] == (uint8_t)kind[0] && bytes[3] == (uint8_t)kind[1];
}

/* The end record is followed by nothing but its comment. */
static const uint8_t *find_end(const uint8_t *bytes, size_t size)
{
    for (size_t comment = 0; comment <= UINT16_MAX && comment + END_SIZE <= size; comment++) {
        const uint8_t *end = bytes + size - END_SIZE - comment;
        if (is_signature(end, "\5\6") && number(end + 20, 2) == comment)
            return end;
    }
    return NULL;
}

/* Where the archive is larger than 32 bits can say, the end record has all ones and a ZIP64 record the truth. */
static bool read_end(directory *d, const uint8_t *bytes, size_t size, dt_error *error)
{
    const uint8_t *end = find_end(bytes, size);
    if (!end)
        return dt_fail(error, "the archive is cut short: the record that ends a zip is not there");
    *d = (directory){.count = number(end + 10, 2), .size = number(end + 12, 4), .offset = number(end + 16, 4)};
    uint64_t limit = (uint64_t)(end - bytes);
    const uint8_t *locator = limit >= LOCATOR_SIZE ? end - LOCATOR_SIZE : NULL;
    if (locator && is_signature(locator, "\6\7")) {
        uint64_t at = number(locator + 8, 8);
        limit -= LOCATOR_SIZE;
        if (limit < END64_SIZE || at > limit - END64_SIZE || !is_signature(bytes + at, "\6\6"))
            return dt_fail(error, "the archive is damaged: no ZIP64 record is at byte %llu", (unsigned long long)at);
        *d = (directory){
            .count = number(bytes + at + 32, 8), .size = number(bytes + at + 40, 8), .offset = number(bytes + at + 48, 8)};
        limit = at;
    }
    if (d->offset > limit || d->size > limit - d->offset)
        return dt_fail(error,
                       "the archive is cut short or damaged: its directory of %llu bytes at byte %llu runs past byte %llu",
                       (unsigned long long)d->size, (unsigned long long)d->offset, (unsigned long long)limit);
    if (d->count > d->size / CENTRAL_SIZE)
        return dt_fail(error, "the archive is damaged: its directory of %llu bytes cannot hold %llu entries",
                       (unsigned long long)d->size, (unsigned long long)d->count);
    return true;
}

/* Replaces those of three values that are all ones by those of the ZIP64 field, in the order of the format. */
static bool read_zip64(const uint8_t *extra, size_t size, uint64_t *const values[3])
{
    size_t wanted = 0;
    for (int i = 0; i < 3; i++)
        wanted += *values[i] == UINT32_MAX;
    while (wanted && size >= 4) {
        size_t kind = number(extra, 2), length = number(extra + 2, 2);
        if (length > size - 4)
            return false;
        if (kind == ZIP64_FIELD) {
            const uint8_t *next = extra + 4;
            for (int i = 0; i < 3 && 8 * wanted <= length; i++)
                if (*values[i] == UINT32_MAX) {
                    *values[i] = number(next, 8);
                    next += 8;
                }
            return 8 * wanted <= length;
        }
        extra += 4 + length;
        size -= 4 + length;
    }
    return !wanted;
}

/* The data begin behind the local header, whose name and extra field have lengths of their own. `limit`: where the directory
 * begins. */
static bool locate(dt_zip_entry *entry, const uint8_t *bytes, uint64_t limit, uint64_t offset, uint64_t size, dt_error *error)
{
    if (offset > limit || limit - offset < LOCAL_SIZE || !is_signature(bytes + offset, "\3\4"))
        return dt_fail(error, "no entry is at byte %llu", (unsigned long long)offset);
    entry->header = bytes + offset;
    uint64_t name_size = number(entry->header + 26, 2), start = offset + LOCAL_SIZE + name_size + number(entry->header + 28, 2);
    if (start > limit || size > limit - start)
        return dt_fail(error, "its %llu bytes at byte %llu run past byte %llu, where the directory begins",
                       (unsigned long long)size, (unsigned long long)start, (unsigned long long)limit);
    if (name_size != entry->name_size || memcmp(entry->header + LOCAL_SIZE, entry->name, name_size))
        return dt_fail(error, "the entry at byte %llu has another name than the directory says", (unsigned long long)offset);
    entry->data = bytes + start;
    entry->size = size;
    return true;
}

/* How much of the name a message has room for. */
static int shown(const dt_zip_entry *entry)
{
    return entry->name_size > 200 ? 200 : (int)entry->name_size;
}

/* One entry of the directory at *at; *at moves behind it. */
static bool read_entry(dt_zip_entry *entry, const uint8_t *bytes, const directory *d, uint64_t *at, dt_error *error)
{
    uint64_t left = d->offset + d->size - *at;
    const uint8_t *central = bytes + *at;
    if (left < CENTRAL_SIZE || !is_signature(central, "\1\2"))
        return dt_fail(error, "the archive is damaged: no entry of its directory is at byte %llu", (unsigned long long)*at);
    size_t name_size = number(central + 28, 2), extra_size = number(central + 30, 2), comment_size = number(central + 32, 2);
    if (name_size + extra_size + comment_size > left - CENTRAL_SIZE)
        return dt_fail(error, "the archive is damaged: the entry of its directory at byte %llu runs past the end",
                       (unsigned long long)*at);
    uint64_t flags = number(central + 8, 2), method = number(central + 10, 2), packed = number(central + 20, 4),
             size = number(central + 24, 4), offset = number(central + 42, 4);
    *entry = (dt_zip_entry){.name = (const char *)central + CENTRAL_SIZE,
                            .name_size = name_size,
                            .stored = !method && !(flags & (FLAG_ENCRYPTED | FLAG_STRONG))};
    bool good = read_zip64(central + CENTRAL_SIZE + name_size, extra_size, (uint64_t *const[]){&size, &packed, &offset}) ||
                dt_fail(error, "its ZIP64 field is damaged");
    good =
        good && (!entry->stored || size == packed ||
                 dt_fail(error, "is stored, yet %llu bytes become %llu", (unsigned long long)packed, (unsigned long long)size));
    *at += CENTRAL_SIZE + name_size + extra_size + comment_size;
    return (good && locate(entry, bytes, d->offset, offset, packed, error)) ||
           dt_fail_prefix(error, "entry %.*s", shown(entry), entry->name);
}

static int compare_names(const void *left, const void *right)
{
    const dt_zip_entry *a = left, *b = right;
    int order = memcmp(a->name, b->name, a->name_size < b->name_size ? a->name_size : b->name_size);
    return order ? order : (a->name_size > b->name_size) - (a->name_size < b->name_size);
}

static int compare_places(const void *left, const void *right)
{
    const dt_zip_entry *a = left, *b = right;
    return (a->header > b->header) - (a->header < b->header);
}

static bool check_entries(dt_zip *zip, dt_error *error)
{
    const dt_zip_entry *e = zip->entries;
    qsort(zip->entries, zip->count, sizeof *e, compare_places);
    for (size_t i = 1; i < zip->count; i++)
        if (e[i].header < e[i - 1].data + e[i - 1].size)
            return dt_fail(error, "entries %.*s and %.*s overlap", shown(&e[i - 1]), e[i - 1].name, shown(&e[i]), e[i].name);
    qsort(zip->entries, zip->count, sizeof *e, compare_names);
    for (size_t i = 1; i < zip->count; i++)
        if (!compare_names(&e[i - 1], &e[i]))
            return dt_fail(error, "two entries are called %.*s", shown(&e[i]), e[i].name);
    return true;
}

bool dt_zip_read(dt_zip *zip, const uint8_t *bytes, size_t size, dt_error *error)
{
    directory d = {0};
    *zip = (dt_zip){0};
    if (!read_end(&d, bytes, size, error))
        return false;
    zip->entries = calloc(d.count + 1, sizeof *zip->entries);
    bool good = zip->entries || dt_fail(error, "no memory for %llu entries", (unsigned long long)d.count);
    uint64_t at = d.offset;
    for (; good && zip->count < d.count; zip->count++)
        good = read_entry(&zip->entries[zip->count], bytes, &d, &at, error);
    if (good && at != d.offset + d.size)
        good =
            dt_fail(error, "the archive is damaged: its directory holds more than the %zu entries that it states", zip->count);
    if (!good || !check_entries(zip, error)) {
        dt_zip_free(zip);
        return false;
    }
    return true;
}

void dt_zip_free(dt_zip *zip)
{
    free(zip->entries);
    *zip = (dt_zip){0};
}

const dt_zip_entry *dt_zip_find(const dt_zip *zip, const char *name, size_t name_size)
{
    const dt_zip_entry key = {.name = name, .name_size = name_size};
    return zip->count ? bsearch(&key, zip->entries, zip->count, sizeof key, compare_names) : NULL;
}
