/* Which of many texts does another text start with? A trie over bytes whose edges lie in one hash table. {0} is an empty
 * one. Never changes after it is filled; any number of threads may walk it. */
#ifndef DUET_DATA_TRIE_H
#define DUET_DATA_TRIE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/error.h"

enum {
    DT_TRIE_TEXT_MOST = 512, /* bytes of one text: a walk is never longer */
    DT_TRIE_NODES_MOST = 1 << 23,
};

typedef struct dt_trie {
    int32_t *values; /* by node, the root first; -1: no text ends here */
    uint32_t count, room;
    uint64_t *edges; /* (parent << 8 | byte) + 1 in the upper half, child in the lower; 0: free */
    uint32_t mask;
} dt_trie;

/* Refuses an empty text, one of more than DT_TRIE_TEXT_MOST bytes, and one that is there. value: not negative. */
bool dt_trie_add(dt_trie *trie, const char *text, size_t length, int32_t value, dt_error *error);
void dt_trie_free(dt_trie *trie);

/* The node behind `byte`; 0, the root, where there is none. The trie must not be empty. */
static inline uint32_t dt_trie_step(const dt_trie *trie, uint32_t node, uint8_t byte)
{
    uint64_t key = (uint64_t)(node << 8 | byte) + 1;
    for (uint32_t at = (uint32_t)(key * 0x9e3779b97f4a7c15u >> 32);; at++) {
        uint64_t edge = trie->edges[at & trie->mask];
        if (!edge || edge >> 32 == key)
            return (uint32_t)edge;
    }
}

/* Value of the longest text that text[0, length) starts with, and its length; -1: none. */
int32_t dt_trie_longest(const dt_trie *trie, const char *text, size_t length, size_t *taken);

#endif
