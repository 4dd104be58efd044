#include "kernels/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct block {
    struct block *next;
    size_t used, size;
    max_align_t data[];
} block;

struct dt_arena {
    block *first;
};

dt_arena *dt_arena_new(void)
{
    return calloc(1, sizeof(dt_arena));
}

void dt_arena_free(dt_arena *arena)
{
    if (!arena)
        return;
    for (block *b = arena->first, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    free(arena);
}

void *dt_arena_alloc(dt_arena *arena, size_t size)
{
    enum { USUAL = 64 * 1024, ALIGN = sizeof(max_align_t) };
    if (!arena || size > SIZE_MAX / 2)
        return NULL;
    size = (size + ALIGN - 1) / ALIGN * ALIGN;
    block *b = arena->first;
    if (!b || b->size - b->used < size) {
        size_t fresh = size > USUAL ? size : USUAL;
        b = calloc(1, sizeof *b + fresh);
        if (!b)
            return NULL;
        b->size = fresh;
        b->next = arena->first;
        arena->first = b;
    }
    void *result = (char *)b->data + b->used;
    b->used += size;
    return result;
}

char *dt_arena_print(dt_arena *arena, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, arguments);
    char *text = length < 0 ? NULL : dt_arena_alloc(arena, (size_t)length + 1);
    if (text)
        vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    va_end(arguments);
    return text;
}
