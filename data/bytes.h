/* A growing buffer of bytes, always ended by a NUL that is not counted. {0} is an empty one; free(data) ends it. */
#ifndef DUET_DATA_BYTES_H
#define DUET_DATA_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef struct dt_bytes {
    char *data;
    size_t length, room;
} dt_bytes;

/* Room for `more` bytes and a NUL beyond length. False: no memory. */
static inline bool dt_bytes_reserve(dt_bytes *b, size_t more)
{
    if (more < b->room - b->length)
        return true;
    size_t room;
    if (__builtin_add_overflow(b->room + b->room / 2, more, &room) || __builtin_add_overflow(room, 64, &room))
        return false;
    char *grown = realloc(b->data, room);
    if (!grown)
        return false;
    b->data = grown;
    b->room = room;
    return true;
}

static inline bool dt_bytes_append(dt_bytes *b, const void *data, size_t size)
{
    if (!dt_bytes_reserve(b, size))
        return false;
    memcpy(b->data + b->length, data, size);
    b->length += size;
    b->data[b->length] = '\0';
    return true;
}

#endif
