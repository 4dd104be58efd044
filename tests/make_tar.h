/* A tar archive in memory, sound or not: what tests of archives and of sources are made of. */
#ifndef DUET_TESTS_MAKE_TAR_H
#define DUET_TESTS_MAKE_TAR_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct archive {
    uint8_t bytes[1 << 18];
    size_t size;
};

/* Sums a header block up, as a reader does. Each change of a block calls for it. */
static inline void seal(uint8_t *block)
{
    unsigned sum = 0;
    memset(block + 148, ' ', 8);
    for (int i = 0; i < 512; i++)
        sum += block[i];
    snprintf((char *)block + 148, 8, "%06o", sum);
}

/* One entry; gives its header block. */
static inline uint8_t *tar_add(struct archive *tar, const char *name, char type, const void *bytes, size_t size)
{
    uint8_t *block = tar->bytes + tar->size;
    memset(block, 0, 512 + (size + 511) / 512 * 512);
    strncpy((char *)block, name, 100);
    snprintf((char *)block + 124, 12, "%011o", (unsigned)size);
    block[156] = (uint8_t)type;
    memcpy(block + 257, "ustar\00000", 8);
    seal(block);
    memcpy(block + 512, bytes, size);
    tar->size += 512 + (size + 511) / 512 * 512;
    return block;
}

static inline void tar_end(struct archive *tar)
{
    memset(tar->bytes + tar->size, 0, 1024);
    tar->size += 1024;
}

#endif
