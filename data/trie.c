#include "data/trie.h"

#include <stdlib.h>
#include <string.h>

void dt_trie_free(dt_trie *trie)
{
    free(trie->values);
    free(trie->edges);
    *trie = (dt_trie){0};
}

static void put_edge(uint64_t *edges, uint32_t mask, uint64_t edge)
{
    uint32_t at = (uint32_t)((edge >> 32) * 0x9e3779b97f4a7c15u >> 32);
    while (edges[at & mask])
        at++;
    edges[at & mask] = edge;
}

static bool grow_edges(dt_trie *trie)
{
    uint32_t slots = trie->edges ? 2 * (trie->mask + 1) : 1024;
    uint64_t *edges = calloc(slots, sizeof *edges);
    if (!edges)
        return false;
    for (uint32_t i = 0; trie->edges && i <= trie->mask; i++)
        if (trie->edges[i])
            put_edge(edges, slots - 1, trie->edges[i]);
    free(trie->edges);
    trie->edges = edges;
    trie->mask = slots - 1;
    return true;
}

/* A new node without an edge that leads to it. */
static bool add_node(dt_trie *trie)
{
    if (trie->count == trie->room) {
        uint32_t room = 2 * trie->room + 1024;
        int32_t *values = realloc(trie->values, room * sizeof *values);
        if (!values)
            return false;
        trie->values = values;
        trie->room = room;
    }
    if ((!trie->edges || 2 * trie->count > trie->mask) && !grow_edges(trie))
        return false;
    trie->values[trie->count++] = -1;
    return true;
}

bool dt_trie_add(dt_trie *trie, const char *text, size_t length, int32_t value, dt_error *error)
{
    if (!length || length > DT_TRIE_TEXT_MOST)
        return dt_fail(error, "a token of %zu bytes; 1 to %d are allowed", length, DT_TRIE_TEXT_MOST);
    if (!trie->count && !add_node(trie))
        return dt_fail(error, "out of memory for a tokenizer");
    uint32_t node = 0;
    for (size_t i = 0; i < length; i++) {
        uint32_t child = dt_trie_step(trie, node, (uint8_t)text[i]);
        if (!child) {
            child = trie->count;
            if (child == DT_TRIE_NODES_MOST)
                return dt_fail(error, "the tokens differ in more than %d places", DT_TRIE_NODES_MOST);
            if (!add_node(trie))
                return dt_fail(error, "out of memory for a tokenizer");
            put_edge(trie->edges, trie->mask, ((uint64_t)(node << 8 | (uint8_t)text[i]) + 1) << 32 | child);
        }
        node = child;
    }
    if (trie->values[node] >= 0)
        return dt_fail(error, "'%.*s' is there twice", (int)length, text);
    trie->values[node] = value;
    return true;
}

int32_t dt_trie_longest(const dt_trie *trie, const char *text, size_t length, size_t *taken)
{
    int32_t found = -1;
    uint32_t node = 0;
    for (size_t i = 0; trie->count && i < length && (node = dt_trie_step(trie, node, (uint8_t)text[i])); i++)
        if (trie->values[node] >= 0) {
            found = trie->values[node];
            *taken = i + 1;
        }
    return found;
}
