#include "experiments/bench_timing.h"

#include "data/clock.h"
#include "kernels/ops.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

/* FLOP/s of an n^3 product, best of `rounds`; 0: no memory. */
static double product_rate(const dt_backend *backend, int64_t n, int rounds)
{
    dt_graph *g = dt_graph_new();
    double best = 0, seconds, flops;
    if (!g)
        return 0;
    dt_tensor *a = dt_input(g, "a", DT_F32, dt_dims(n, n)), *b = dt_input(g, "b", DT_F32, dt_dims(n, n));
    dt_keep(dt_matmul(a, b, false, false));
    dt_plan *plan = dt_plan_new(g, backend, NULL);
    float *values = calloc((size_t)(n * n), sizeof *values);
    for (int64_t i = 0; values && i < n * n; i++)
        values[i] = (float)(i % 7) - 3;
    bool good = plan && values && dt_plan_write(plan, a, values) && dt_plan_write(plan, b, values) && !dt_plan_run(plan, 0, 0);
    for (int r = 0; good && r < rounds; r++) {
        dt_plan_profile(plan, true);
        good = !dt_plan_run(plan, 0, 0);
        for (int i = 0; good && dt_plan_time(plan, i, &seconds, &flops); i++)
            best = flops > 0 && flops / seconds > best ? flops / seconds : best;
    }
    free(values);
    dt_plan_free(plan);
    dt_graph_free(g);
    return best;
}

/* The CPU's product is of one size; a device's grows until it takes a millisecond, against which waiting for it is nothing. */
double dt_matrix_rate(const dt_backend *backend, int rounds)
{
    if (backend->on_host)
        return product_rate(backend, 2048, rounds);
    double rate = 0, n = 128;
    do {
        n *= 2;
        rate = product_rate(backend, (int64_t)n, 2);
    } while (rate > 0 && n < 8192 && 2 * n * n * n / rate < 1e-3);
    double again = rate > 0 ? product_rate(backend, (int64_t)n, rounds) : 0;
    return again > rate ? again : rate;
}

static double processor_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[count / 2];
}

bool dt_time_steps(bool (*step)(void *self, dt_error *error), void *self, int steps, dt_step_times *times, dt_error *error)
{
    double *seconds = calloc(2 * (size_t)steps, sizeof *seconds), sum = 0;
    double *processor = seconds ? seconds + steps : NULL;
    bool good = seconds || dt_fail(error, "no memory for the times of %d steps", steps);
    for (int i = 0; good && i < steps; i++) {
        double processor_start = processor_now(); /* outside of what the clock sees: in a system call others get their turn */
        double start = dt_now();
        good = step(self, error);
        seconds[i] = dt_now() - start;
        processor[i] = processor_now() - processor_start;
        sum += seconds[i];
    }
    if (good)
        *times = (dt_step_times){.median = median(seconds, steps), .mean = sum / steps,
                                 .processor = median(processor, steps)};
    free(seconds);
    return good;
}

static int slower_first(const void *a, const void *b)
{
    double x = ((const dt_op_time *)a)->seconds, y = ((const dt_op_time *)b)->seconds;
    return x < y ? 1 : x > y ? -1 : 0;
}

static bool is_matrix_work(const char *name)
{
    return !strncmp(name, "linear", 6) || !strcmp(name, "matmul") || !strncmp(name, "conv", 4);
}

bool dt_time_plans(bool (*step)(void *self, dt_error *error), void *self, int steps, dt_plan *const *plans, int count,
                   const dt_backend *backend, dt_step_times *times, dt_error *error)
{
    dt_step_times apart;
    if (!backend->on_host && !dt_time_steps(step, self, steps, times, error))
        return false;
    for (int i = 0; i < count; i++)
        dt_plan_profile(plans[i], true);
    return dt_time_steps(step, self, steps, backend->on_host ? times : &apart, error);
}

void dt_op_times_of(dt_op_times *t, const dt_plan *plan, int steps)
{
    enum { MOST = sizeof t->list / sizeof *t->list };
    *t = (dt_op_times){0};
    for (dt_op_time *o = t->list; t->count < MOST && (o->name = dt_plan_time(plan, t->count, &o->seconds, &o->flops)); o++) {
        o->seconds /= steps;
        o->flops /= steps;
        t->seconds += o->seconds;
        t->matrix += is_matrix_work(o->name) ? o->seconds : 0;
        t->count++;
    }
    qsort(t->list, (size_t)t->count, sizeof *t->list, slower_first);
}

void dt_op_times_print(const dt_op_times *t)
{
    for (const dt_op_time *o = t->list; o < t->list + t->count && o->seconds > 0.002 * t->seconds; o++)
        printf("  %-22s %9.2f ms  %5.1f %%  %6.0f GFLOP/s\n", o->name, 1e3 * o->seconds, 100 * o->seconds / t->seconds,
               o->flops / o->seconds / 1e9);
}

json_t *dt_op_times_json(const dt_op_times *t)
{
    json_t *list = json_array();
    for (int i = 0; list && i < t->count; i++) {
        const dt_op_time *o = &t->list[i];
        json_array_append_new(list, json_pack("{s: s, s: f, s: f}", "op", o->name, "seconds", o->seconds, "flops", o->flops));
    }
    return list;
}

double dt_peak_resident(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss * 1024;
}

double dt_device_taken(const dt_backend *backend)
{
    size_t left, all;
    dt_backend_memory(backend, &left, &all);
    return (double)(all - left);
}
