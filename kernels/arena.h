/* The allocation policy of the tensor core: what lives and dies with a graph or a plan comes from its arena. */
#ifndef DUET_KERNELS_ARENA_H
#define DUET_KERNELS_ARENA_H

#include <stddef.h>

typedef struct dt_arena dt_arena;

dt_arena *dt_arena_new(void);       /* NULL: no memory */
void dt_arena_free(dt_arena *arena); /* NULL is allowed */

/* `size` zeroed bytes, aligned for any type, valid until the arena is freed; NULL: no memory. */
void *dt_arena_alloc(dt_arena *arena, size_t size);

/* printf into the arena; NULL: no memory. */
char *dt_arena_print(dt_arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
