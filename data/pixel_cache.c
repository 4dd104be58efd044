#include "data/pixel_cache.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef struct kept {
    int width, height, channels;
    int32_t label;
    bool inks;
    uint8_t pixels[];
} kept;

struct dt_pixel_cache {
    uint64_t count;
    size_t budget;
    atomic_size_t used;
    _Atomic(kept *) pictures[];
};

dt_pixel_cache *dt_pixel_cache_new(uint64_t count, size_t bytes, dt_error *error)
{
    size_t size;
    dt_pixel_cache *cache = NULL;
    if (!__builtin_mul_overflow(count, sizeof(_Atomic(kept *)), &size) &&
        !__builtin_add_overflow(size, sizeof *cache, &size))
        cache = calloc(1, size);
    if (!cache) {
        dt_fail(error, "no memory for a cache of %llu pictures", (unsigned long long)count);
        return NULL;
    }
    cache->count = count;
    cache->budget = bytes;
    return cache;
}

void dt_pixel_cache_free(dt_pixel_cache *cache)
{
    if (!cache)
        return;
    for (uint64_t i = 0; i < cache->count; i++)
        free(atomic_load_explicit(&cache->pictures[i], memory_order_relaxed));
    free(cache);
}

bool dt_pixel_cache_get(const dt_pixel_cache *cache, uint64_t index, dt_image *image, int32_t *label)
{
    const kept *picture = atomic_load_explicit(&cache->pictures[index], memory_order_acquire);
    if (!picture)
        return false;
    *image = dt_image_borrow(picture->pixels, picture->width, picture->height, picture->channels);
    image->inks = picture->inks;
    *label = picture->label;
    return true;
}

void dt_pixel_cache_put(dt_pixel_cache *cache, uint64_t index, const dt_image *image, int32_t label)
{
    size_t row = (size_t)image->width * (size_t)image->channels,
           size = sizeof(kept) + row * (size_t)image->height;
    if (atomic_load_explicit(&cache->pictures[index], memory_order_relaxed))
        return;
    kept *picture = NULL;
    if (atomic_fetch_add(&cache->used, size) <= cache->budget - size && size <= cache->budget)
        picture = malloc(size);
    if (picture) {
        *picture = (kept){image->width, image->height, image->channels, label, image->inks};
        for (int y = 0; y < image->height; y++)
            memcpy(picture->pixels + (size_t)y * row, image->pixels + (size_t)y * image->stride, row);
        kept *none = NULL;
        if (atomic_compare_exchange_strong(&cache->pictures[index], &none, picture))
            return;
        free(picture);
    }
    atomic_fetch_sub(&cache->used, size);
}

size_t dt_pixel_cache_used(const dt_pixel_cache *cache)
{
    return atomic_load(&cache->used);
}
