#include "data/tar.h"

#include <stdlib.h>
#include <string.h>

#include "data/source_parts.h"

enum { BLOCK = 512, NAME_MAX_BYTES = 1 << 16 };

/* Fields of a header block: POSIX.1-2017, pax, "ustar Interchange Format". */
enum {
    FIELD_NAME = 0,
    FIELD_SIZE = 124,
    FIELD_SUM = 148,
    FIELD_TYPE = 156,
    FIELD_MAGIC = 257,
    FIELD_PREFIX = 345,
};

struct dt_tar {
    dt_bytes bytes;
    size_t at;
    bool ended; /* the last block that was read was empty, as the end of an archive is */
    char *name; /* of the present entry */
};

/* What the headers before an entry said about it. */
struct overrides {
    char *name;
    uint64_t size;
    bool has_size;
};

dt_tar *dt_tar_open(const char *path, dt_error *error)
{
    dt_tar *tar = calloc(1, sizeof *tar);
    if (!tar || !(tar->name = calloc(1, 256 + 2))) {
        dt_fail(error, "no memory to open %s", path);
        dt_tar_close(tar);
        return NULL;
    }
    if (!dt_bytes_open(&tar->bytes, path, error)) {
        dt_tar_close(tar);
        return NULL;
    }
    return tar;
}

void dt_tar_close(dt_tar *tar)
{
    if (!tar)
        return;
    dt_bytes_close(&tar->bytes);
    free(tar->name);
    free(tar);
}

void dt_tar_rewind(dt_tar *tar)
{
    tar->at = 0;
    tar->ended = false;
}

size_t dt_tar_key(const char *name)
{
    const char *slash = strrchr(name, '/'), *base = slash ? slash + 1 : name;
    return (size_t)(base - name) + strcspn(base, ".");
}

/* Octal digits between spaces and NULs, or GNU's big-endian binary with the top bit set. */
static bool read_number(const uint8_t *field, size_t length, uint64_t *value)
{
    size_t i = 0;
    *value = 0;
    if (field[0] & 0x80) {
        *value = field[0] & 0x3f;
        for (i = 1; i < length; i++) {
            if (*value >> 55)
                return false;
            *value = *value << 8 | field[i];
        }
        return !(field[0] & 0x40);
    }
    while (i < length && field[i] == ' ')
        i++;
    size_t first = i;
    for (; i < length && field[i] >= '0' && field[i] <= '7'; i++)
        *value = *value << 3 | (uint64_t)(field[i] - '0');
    return i > first && (i == length || field[i] == ' ' || !field[i]);
}

/* The sum of the header's bytes, its own field read as spaces; some writers summed signed bytes. */
static bool checksum_fits(const uint8_t *block)
{
    uint64_t stated;
    int64_t sum = 0, signed_sum = 0;
    for (int i = 0; i < BLOCK; i++) {
        bool own = i >= FIELD_SUM && i < FIELD_SUM + 8;
        sum += own ? ' ' : block[i];
        signed_sum += own ? ' ' : (int8_t)block[i];
    }
    if (!read_number(block + FIELD_SUM, 8, &stated))
        return false;
    return (int64_t)stated == sum || (int64_t)stated == signed_sum;
}

static bool is_empty(const uint8_t *block)
{
    return !block[0] && !memcmp(block, block + 1, BLOCK - 1);
}

/* The name in the header itself. Only POSIX headers have a prefix; GNU uses its place for other things. */
static bool take_header_name(dt_tar *tar, const uint8_t *block, dt_error *error)
{
    char *name = realloc(tar->name, 256 + 2);
    if (!name)
        return dt_fail(error, "no memory");
    tar->name = name;
    size_t prefix = 0, rest = strnlen((const char *)block + FIELD_NAME, 100);
    if (!memcmp(block + FIELD_MAGIC, "ustar\0", 6)) {
        prefix = strnlen((const char *)block + FIELD_PREFIX, 155);
        memcpy(name, block + FIELD_PREFIX, prefix);
        if (prefix)
            name[prefix++] = '/';
    }
    memcpy(name + prefix, block + FIELD_NAME, rest);
    name[prefix + rest] = 0;
    return true;
}

static bool set_name(struct overrides *over, const char *text, size_t size, dt_error *error)
{
    size = strnlen(text, size);
    if (!size || size > NAME_MAX_BYTES)
        return dt_fail(error, "a name of %zu bytes, at most %d are possible", size, NAME_MAX_BYTES);
    free(over->name);
    over->name = strndup(text, size);
    return over->name || dt_fail(error, "no memory");
}

/* Pax records: "LENGTH KEY=VALUE\n", the length in decimal and counting all of it. */
static bool read_pax(struct overrides *over, const char *text, size_t size, dt_error *error)
{
    while (size) {
        size_t length = 0, digits = 0;
        for (; digits < size && digits < 10 && text[digits] >= '0' && text[digits] <= '9'; digits++)
            length = 10 * length + (size_t)(text[digits] - '0');
        if (!digits || length > size || length < digits + 4 || text[digits] != ' ' ||
            text[length - 1] != '\n')
            return dt_fail(error, "the pax record is not LENGTH KEY=VALUE");
        const char *key = text + digits + 1, *end = text + length - 1;
        const char *equals = memchr(key, '=', (size_t)(end - key));
        if (!equals)
            return dt_fail(error, "the pax record is not LENGTH KEY=VALUE");
        size_t key_size = (size_t)(equals - key), value_size = (size_t)(end - equals - 1);
        if (key_size == 4 && !memcmp(key, "path", 4)) {
            if (!set_name(over, equals + 1, value_size, error))
                return false;
        } else if (key_size == 4 && !memcmp(key, "size", 4)) {
            over->size = 0;
            over->has_size = true;
            for (const char *c = equals + 1; c < end; c++) {
                if (*c < '0' || *c > '9' || over->size > UINT64_MAX / 100)
                    return dt_fail(error, "the pax size is not a number");
                over->size = 10 * over->size + (uint64_t)(*c - '0');
            }
        }
        text += length;
        size -= length;
    }
    return true;
}

/* Checks the header at tar->at and moves beyond its data, which is *size bytes. */
static bool pass_header(dt_tar *tar, const struct overrides *over, uint64_t *size, dt_error *error)
{
    const uint8_t *block = tar->bytes.data + tar->at;
    size_t left = tar->bytes.size - tar->at;
    *size = 0;
    if (left < BLOCK)
        return dt_fail(error, "%zu bytes are left, too few for a header; the file is truncated", left);
    if (!checksum_fits(block))
        return dt_fail(error, "this is not a tar header: its checksum is wrong");
    char type = (char)block[FIELD_TYPE];
    if (!(type >= '1' && type <= '6')) { /* links, devices and folders have no data */
        if (!read_number(block + FIELD_SIZE, 12, size))
            return dt_fail(error, "the size in the header is not a number");
        if (type != 'x' && type != 'L' && over->has_size)
            *size = over->size;
    }
    left -= BLOCK;
    if (*size > left)
        return dt_fail(error, "an entry of %llu bytes, but %zu are left; the file is truncated or damaged",
                       (unsigned long long)*size, left);
    size_t padded = ((size_t)*size + BLOCK - 1) / BLOCK * BLOCK;
    tar->at += BLOCK + (padded < left ? padded : left);
    return true;
}

static bool take_name(dt_tar *tar, struct overrides *over, const uint8_t *block, dt_error *error)
{
    if (!over->name)
        return take_header_name(tar, block, error);
    free(tar->name);
    tar->name = over->name;
    over->name = NULL;
    return true;
}

/* One header block and its data. *regular: whether it is a file with a name. */
static bool read_entry(dt_tar *tar, struct overrides *over, dt_tar_entry *entry, bool *regular,
                       dt_error *error)
{
    const uint8_t *block = tar->bytes.data + tar->at, *data = block + BLOCK;
    uint64_t size;
    if (!pass_header(tar, over, &size, error))
        return false;
    char type = (char)block[FIELD_TYPE];
    *regular = false;
    if (type == 'L')
        return set_name(over, (const char *)data, (size_t)size, error);
    if (type == 'x')
        return read_pax(over, (const char *)data, (size_t)size, error);
    if (type == 'g' || type == 'K')
        return true;
    if (type == '0' || !type || type == '7') {
        if (!take_name(tar, over, block, error))
            return false;
        *entry = (dt_tar_entry){tar->name, data, (size_t)size};
        size_t length = strlen(tar->name);
        *regular = length && tar->name[length - 1] != '/'; /* a folder in archives older than types */
    }
    free(over->name);
    *over = (struct overrides){0};
    return true;
}

int dt_tar_next(dt_tar *tar, dt_tar_entry *entry, dt_error *error)
{
    struct overrides over = {0};
    bool found = false, good = true;
    size_t start = tar->at;
    while (good && !found && tar->at < tar->bytes.size) {
        start = tar->at;
        tar->ended = tar->bytes.size - tar->at >= BLOCK && is_empty(tar->bytes.data + tar->at);
        if (tar->ended)
            tar->at += BLOCK;
        else
            good = read_entry(tar, &over, entry, &found, error);
    }
    free(over.name);
    if (good)
        return found;
    dt_fail_prefix(error, "byte %zu", start);
    tar->at = tar->bytes.size;
    tar->ended = true; /* one complaint is enough */
    return -1;
}

bool dt_tar_ended(const dt_tar *tar, dt_error *error)
{
    return tar->ended ||
           dt_fail(error, "byte %zu: the mark at the end of an archive is missing; it may be truncated",
                   tar->at);
}
