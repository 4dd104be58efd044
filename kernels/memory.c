/* Memory by liveness: largest first, each at the lowest place that is free while it lives. The greedy-by-size
 * rule of Pisarchyk & Lee, "Efficient memory management for deep neural net inference", 2020. */
#include "kernels/planning.h"

#include <stdlib.h>

static int larger_first(const void *a, const void *b)
{
    const dt_interval *x = *(dt_interval *const *)a, *y = *(dt_interval *const *)b;
    if (x->size != y->size)
        return x->size < y->size ? 1 : -1;
    return x->first != y->first ? (x->first > y->first ? 1 : -1) : (x > y ? 1 : -1);
}

static int lower_first(const void *a, const void *b)
{
    const dt_interval *x = *(dt_interval *const *)a, *y = *(dt_interval *const *)b;
    return x->offset != y->offset ? (x->offset > y->offset ? 1 : -1) : (x > y ? 1 : -1);
}

/* The lowest offset where `wanted` fits beside the placed neighbours that live with it, sorted by offset. */
static size_t lowest_gap(dt_interval *const *neighbour, int count, size_t wanted)
{
    size_t end = 0;
    for (int i = 0; i < count; i++) {
        if (neighbour[i]->offset >= end + wanted)
            break;
        if (neighbour[i]->offset + neighbour[i]->size > end)
            end = neighbour[i]->offset + neighbour[i]->size;
    }
    return end;
}

static size_t most_alive(const dt_interval *interval, int count, int positions, size_t *change)
{
    for (int i = 0; i < count; i++) {
        change[interval[i].first] += interval[i].size;
        change[interval[i].last + 1] -= interval[i].size; /* unsigned wrap-around cancels in the sum */
    }
    size_t alive = 0, most = 0;
    for (int p = 0; p < positions; p++) {
        alive += change[p];
        if (alive > most)
            most = alive;
    }
    return most;
}

size_t dt_place(dt_interval *interval, int count, int positions, size_t *live)
{
    size_t total = SIZE_MAX, slots = (size_t)count + 1;
    dt_interval **order = malloc(sizeof *order * slots), **neighbour = malloc(sizeof *neighbour * slots);
    size_t *change = calloc((size_t)positions + 2, sizeof *change);
    if (order && neighbour && change) {
        total = 0;
        *live = most_alive(interval, count, positions, change);
        for (int i = 0; i < count; i++)
            order[i] = &interval[i];
        qsort(order, (size_t)count, sizeof *order, larger_first);
        for (int i = 0; i < count; i++) {
            int near = 0;
            for (int k = 0; k < i; k++)
                if (order[k]->first <= order[i]->last && order[i]->first <= order[k]->last)
                    neighbour[near++] = order[k];
            qsort(neighbour, (size_t)near, sizeof *neighbour, lower_first);
            order[i]->offset = lowest_gap(neighbour, near, order[i]->size);
            if (order[i]->offset + order[i]->size > total)
                total = order[i]->offset + order[i]->size;
        }
    }
    free(order);
    free(neighbour);
    free(change);
    return total;
}
