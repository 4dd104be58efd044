/* Numbers that any language can make again, for references that were computed elsewhere. */
#ifndef DUET_TESTS_SPREAD_H
#define DUET_TESTS_SPREAD_H

#include <stddef.h>
#include <stdint.h>

/* Number i of a name, in [0, 1): a mixed product of the place, moved by the name's FNV-1a hash. */
static inline double spread_at(const char *name, size_t i)
{
    uint32_t x = 0x811c9dc5u;
    for (const char *c = name; *c; c++)
        x = (x ^ (unsigned char)*c) * 0x01000193u;
    x += (uint32_t)i * 2654435761u;
    x = (x ^ x >> 15) * 2246822519u;
    return (x ^ x >> 13) / 4294967296.0;
}

/* low + width * number i. */
static inline void spread(const char *name, float *to, size_t count, double low, double width)
{
    for (size_t i = 0; i < count; i++)
        to[i] = (float)(low + width * spread_at(name, i));
}

#endif
