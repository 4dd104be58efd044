#include "eval/bootstrap.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/random.h"

enum { STREAM = 0x626f6f74, BLOCKS = 64, FEW = 1 << 20 }; /* few samples drawn: not worth a second thread */

/* n draws from n samples. A word w gives sample floor(w n / 2^32): as even as 32 bits allow. */
static void draw(size_t n, uint64_t seed, uint32_t number, uint32_t *times)
{
    dt_philox words[BLOCKS];
    memset(times, 0, n * sizeof *times);
    for (size_t at = 0; at < n; at += 4 * BLOCKS) {
        for (size_t i = 0; i < BLOCKS; i++)
            words[i] = dt_random_block(seed, STREAM, number, at / 4 + i);
        size_t part = n - at < 4 * BLOCKS ? n - at : 4 * BLOCKS;
        for (size_t i = 0; i < part; i++)
            times[(uint64_t)words[i / 4].v[i % 4] * n >> 32]++;
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const double *sorted, size_t n, double share)
{
    double at = share * (double)(n - 1);
    size_t below = (size_t)at, above = below + 1 < n ? below + 1 : below;
    return sorted[below] + (at - (double)below) * (sorted[above] - sorted[below]);
}

/* values [draws, count]; column [draws] is scratch. */
static dt_bounds bounds_of(const double *values, size_t draws, size_t count, double *column)
{
    size_t kept = 0;
    for (size_t i = 0; i < draws; i++)
        if (!isnan(values[i * count]))
            column[kept++] = values[i * count];
    if (!kept)
        return (dt_bounds){NAN, NAN, NAN, NAN};
    double sum = 0, squares = 0;
    for (size_t i = 0; i < kept; i++)
        sum += column[i];
    const double mean = sum / (double)kept;
    for (size_t i = 0; i < kept; i++)
        squares += (column[i] - mean) * (column[i] - mean);
    qsort(column, kept, sizeof *column, by_value);
    return (dt_bounds){percentile(column, kept, 0.025), percentile(column, kept, 0.975), mean, sqrt(squares / (double)kept)};
}

bool dt_bounds_hold(const dt_bounds *b, double value)
{
    const double rounding = 1e-9 * fabs(value); /* where all draws have the value itself */
    return b->low <= value + rounding && value <= b->high + rounding &&
           fabs(b->mean - value) <= 0.25 * b->deviation + rounding;
}

static bool draw_all(const dt_bootstrap_options *o, size_t draws, dt_bootstrap_statistics *statistics,
                     const void *context, double *values)
{
    bool memory = true;
#pragma omp parallel if (draws > FEW / o->n) reduction(&& : memory)
    {
        uint32_t *times = calloc(o->n, sizeof *times);
        void *scratch = malloc(o->scratch_size + 1);
        memory = times && scratch;
#pragma omp for
        for (size_t i = 0; i < draws; i++) {
            if (!memory)
                continue;
            draw(o->n, o->seed, (uint32_t)i, times);
            memset(scratch, 0, o->scratch_size);
            statistics(context, times, scratch, values + i * o->count);
        }
        free(times);
        free(scratch);
    }
    return memory;
}

bool dt_bootstrap(const dt_bootstrap_options *options, dt_bootstrap_statistics *statistics,
                  const void *context, dt_bounds *bounds, dt_error *error)
{
    size_t draws = options->draws ? options->draws : DT_BOOTSTRAP_DRAWS, cells;
    if (!options->n || options->n > UINT32_MAX)
        return dt_fail(error, "cannot resample %zu samples; expected 1 to %u", options->n, UINT32_MAX);
    if (draws > UINT32_MAX || __builtin_mul_overflow(draws, options->count, &cells))
        return dt_fail(error, "cannot draw %zu times; expected at most %u", draws, UINT32_MAX);
    double *values = calloc(cells + 1, sizeof *values), *column = calloc(draws, sizeof *column);
    bool good = values && column && draw_all(options, draws, statistics, context, values);
    if (!good)
        dt_fail(error, "no memory to resample %zu samples %zu times", options->n, draws);
    for (size_t i = 0; good && i < options->count; i++)
        bounds[i] = bounds_of(values + i, draws, options->count, column);
    free(values);
    free(column);
    return good;
}

typedef struct mean_of {
    const float *values;
    size_t n;
} mean_of;

static void mean(const void *context, const uint32_t *times, void *scratch, double *values)
{
    const mean_of *m = context;
    double sum = 0;
    (void)scratch;
#pragma omp simd reduction(+ : sum)
    for (size_t i = 0; i < m->n; i++)
        sum += (double)times[i] * (double)m->values[i];
    *values = sum / (double)m->n;
}

bool dt_bootstrap_mean(const float *values, size_t n, size_t draws, uint64_t seed, dt_bounds *bounds,
                       dt_error *error)
{
    return dt_bootstrap(&(dt_bootstrap_options){.n = n, .draws = draws, .seed = seed, .count = 1}, mean,
                        &(mean_of){values, n}, bounds, error);
}
