#include "data/shuffle.h"

#include <math.h>
#include <stdlib.h>

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t dt_hash64(uint64_t seed, uint64_t a, uint64_t b)
{
    const uint64_t increment = 0x9e3779b97f4a7c15u;
    return mix(mix(mix(seed + increment) + a + increment) + b + increment);
}

double dt_uniform(uint64_t seed, uint64_t a, uint64_t b)
{
    return (double)(dt_hash64(seed, a, b) >> 11) * 0x1p-53;
}

uint64_t dt_permute(uint64_t n, uint64_t seed, uint64_t epoch, uint64_t i)
{
    if (n < 2)
        return 0;
    const int bits = 64 - __builtin_clzll(n - 1), low_bits = bits / 2;
    const uint64_t low_mask = ((uint64_t)1 << low_bits) - 1,
                   high_mask = ((uint64_t)1 << (bits - low_bits)) - 1;
    const uint64_t key = dt_hash64(seed, epoch, n);
    do {
        uint64_t low = i & low_mask, high = i >> low_bits;
        for (uint64_t round = 0; round < 4; round++) {
            low ^= dt_hash64(key, 2 * round, high) & low_mask;
            high ^= dt_hash64(key, 2 * round + 1, low) & high_mask;
        }
        i = high << low_bits | low;
    } while (i >= n); /* fewer than two walks on average: the domain is below 2n */
    return i;
}

typedef struct cell {
    float keep;     /* probability of staying in this cell */
    uint32_t other; /* where to go otherwise */
} cell;

struct dt_alias {
    size_t n;
    cell cells[];
};

/* Sum of the weights, or 0 with the message. */
static double sum(const float *weights, size_t n, dt_error *error)
{
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(weights[i]) || weights[i] < 0) {
            dt_fail(error, "sampling weight %zu is %g, expected a finite number of at least 0", i,
                    weights[i]);
            return 0;
        }
        total += weights[i];
    }
    if (total == 0)
        dt_fail(error, "all %zu sampling weights are 0", n);
    return total;
}

/* Vose's construction. `scaled` holds weight * n / total; `list` is filled from the front with cells below 1
 * and from the back with the rest. */
static void build(dt_alias *alias, double *scaled, uint32_t *list)
{
    size_t n = alias->n, small = 0, large = n;
    uint32_t heaviest = 0;
    for (size_t i = 0; i < n; i++) {
        list[scaled[i] < 1 ? small++ : --large] = (uint32_t)i;
        if (scaled[i] > scaled[heaviest])
            heaviest = (uint32_t)i;
    }
    for (size_t i = 0; i < n; i++) /* what rounding leaves over below keeps this; weight 0 is never drawn */
        alias->cells[i] = (cell){scaled[i] > 0, heaviest};
    while (small && large < n) {
        uint32_t s = list[--small], l = list[large];
        alias->cells[s] = (cell){(float)scaled[s], l};
        scaled[l] -= 1 - scaled[s];
        if (scaled[l] < 1)
            list[small++] = l, large++;
    }
}

dt_alias *dt_alias_new(const float *weights, size_t n, dt_error *error)
{
    if (n == 0 || n > UINT32_MAX) {
        dt_fail(error, "%zu sampling weights, expected 1 to %u", n, UINT32_MAX);
        return NULL;
    }
    double total = sum(weights, n, error);
    if (total == 0)
        return NULL;
    dt_alias *alias = malloc(sizeof *alias + n * sizeof(cell));
    double *scaled = malloc(n * sizeof *scaled);
    uint32_t *list = malloc(n * sizeof *list);
    if (alias && scaled && list) {
        alias->n = n;
        for (size_t i = 0; i < n; i++)
            scaled[i] = weights[i] * ((double)n / total);
        build(alias, scaled, list);
    } else {
        dt_fail(error, "no memory for %zu sampling weights", n);
        free(alias);
        alias = NULL;
    }
    free(scaled);
    free(list);
    return alias;
}

void dt_alias_free(dt_alias *alias)
{
    free(alias);
}

size_t dt_alias_draw(const dt_alias *alias, double u)
{
    double scaled = u * (double)alias->n;
    size_t i = (size_t)scaled;
    if (i >= alias->n) /* u * n may round up */
        i = alias->n - 1;
    return scaled - (double)i < (double)alias->cells[i].keep ? i : alias->cells[i].other;
}
