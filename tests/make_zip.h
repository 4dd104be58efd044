/* A zip archive in memory, of stored entries: what tests and fuzz targets wrap their pickles in. */
#ifndef DUET_TESTS_MAKE_ZIP_H
#define DUET_TESTS_MAKE_ZIP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct zip_maker {
    uint8_t *bytes;
    size_t size, room;
    bool large; /* write ZIP64 records, though the archive is small */
    int count;
    size_t central, places[16], sizes[16]; /* central: where the directory begins, once finished */
    const char *names[16];
} zip_maker;

static inline void zip_put(zip_maker *z, const void *bytes, size_t size)
{
    if (z->size + size > z->room) {
        z->room = 2 * (z->size + size);
        z->bytes = realloc(z->bytes, z->room);
        if (!z->bytes)
            abort();
    }
    if (size)
        memcpy(z->bytes + z->size, bytes, size);
    z->size += size;
}

static inline void zip_number(zip_maker *z, uint64_t number, int width)
{
    for (int i = 0; i < width; i++) {
        uint8_t byte = (uint8_t)(number >> 8 * i);
        zip_put(z, &byte, 1);
    }
}

/* Numbers of a width each: {width, number, width, number, …, 0}. */
static inline void zip_numbers(zip_maker *z, const uint64_t *numbers)
{
    for (; numbers[0]; numbers += 2)
        zip_number(z, numbers[1], (int)numbers[0]);
}

static inline void zip_add(zip_maker *z, const char *name, const void *data, size_t size)
{
    z->places[z->count] = z->size;
    z->sizes[z->count] = size;
    z->names[z->count++] = name;
    zip_put(z, "PK\3\4", 4);
    zip_numbers(z, (uint64_t[]){2, 20, 8, 0, 4, 0, 4, size, 4, size, 2, strlen(name), 2, 0, 0});
    zip_put(z, name, strlen(name));
    zip_put(z, data, size);
}

static inline void zip_finish(zip_maker *z)
{
    z->central = z->size;
    for (int i = 0; i < z->count; i++) {
        uint64_t size = z->large ? UINT32_MAX : z->sizes[i], place = z->large ? UINT32_MAX : z->places[i];
        zip_put(z, "PK\1\2", 4);
        zip_numbers(z, (uint64_t[]){4, 20, 8, 0, 4, 0,     4, size, 4, size, 2, strlen(z->names[i]), 2, z->large ? 28 : 0,
                                    2, 0,  8, 0, 4, place, 0});
        zip_put(z, z->names[i], strlen(z->names[i]));
        if (z->large)
            zip_numbers(z, (uint64_t[]){2, 1, 2, 24, 8, z->sizes[i], 8, z->sizes[i], 8, z->places[i], 0});
    }
    size_t end = z->size, count = (size_t)z->count;
    if (z->large) {
        zip_put(z, "PK\6\6", 4);
        zip_numbers(z, (uint64_t[]){8, 44, 2, 45, 2, 45, 8, 0, 8, count, 8, count, 8, end - z->central, 8, z->central, 0});
        zip_put(z, "PK\6\7", 4);
        zip_numbers(z, (uint64_t[]){4, 0, 8, end, 4, 1, 0});
    }
    zip_put(z, "PK\5\6", 4);
    zip_numbers(z, (uint64_t[]){4, 0, 2, z->large ? 0xffff : count, 2, z->large ? 0xffff : count, 4,
                                z->large ? UINT32_MAX : end - z->central, 4, z->large ? UINT32_MAX : z->central, 2, 0, 0});
}

static inline void zip_discard(zip_maker *z)
{
    free(z->bytes);
    *z = (zip_maker){0};
}

#endif
