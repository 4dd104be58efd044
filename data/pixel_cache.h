/* Decoded pictures with their labels, kept in memory, up to a budget, shared by threads without a lock. What is once kept stays
 * until the cache is freed: with random access there is nothing better to put in its place. */
#ifndef DUET_DATA_PIXEL_CACHE_H
#define DUET_DATA_PIXEL_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"
#include "data/image.h"

typedef struct dt_pixel_cache dt_pixel_cache;

/* For pictures 0 .. count-1; `bytes` is the budget of pixels and their headers (the table of 8 bytes a
 * picture comes on top). */
dt_pixel_cache *dt_pixel_cache_new(uint64_t count, size_t bytes, dt_error *error);
void dt_pixel_cache_free(dt_pixel_cache *cache); /* NULL is allowed */

/* A borrowed image over the kept pixels, valid until the cache is freed; false when it is not kept. */
bool dt_pixel_cache_get(const dt_pixel_cache *cache, uint64_t index, dt_image *image, int32_t *label);

/* Keeps a copy if the budget allows and no other thread came first. */
void dt_pixel_cache_put(dt_pixel_cache *cache, uint64_t index, const dt_image *image, int32_t label);

size_t dt_pixel_cache_used(const dt_pixel_cache *cache); /* bytes */

#endif
