/* How long each kernel of a plan takes: a copy of a backend whose kernels, copies and optimizer steps are timed while `watching` is set.
 * A plan that is made with it must not be replayed (no_replay). On a GPU an event lies before and after each on the backend's own
 * stream, and nothing waits; elsewhere (the simulator of the tests, the CPU) the host's clock tells, with a wait after each.
 *
 * The events belong to the driver, which is asked by its own names: this file needs nothing of CUDA to build. */
#ifndef DUET_TESTS_GPU_STOPWATCH_H
#define DUET_TESTS_GPU_STOPWATCH_H

#include "data/clock.h"
#include "kernels/planning.h" /* dt_kernel_of, dt_bytes_of */
#include "tests/op_check.h"

enum { STOPWATCH_MOST = 1 << 14 };

typedef struct lap {
    const dt_node *node; /* NULL: what is done beside the kernels of a plan */
    const char *name;
    double bytes, flops; /* moved and computed at the least */
    double seconds;
    void *from, *to; /* events */
    double begun;    /* without events */
} lap;

static struct {
    const dt_backend *plain;
    dt_backend watched;
    bool watching, events;
    lap lap[STOPWATCH_MOST];
    int laps;
    double parameters; /* for the bytes of a step of the optimizer: how many there are */
    double empty;      /* seconds between two events with nothing between */
    void *stream;
    int (*create)(void **event, unsigned flags), (*record)(void *event, void *stream),
        (*elapsed)(float *ms, void *from, void *to);
    int (*wait)(void *event);
} stopwatch;

/* ---- Laps ---- */

static inline void stopwatch_wait(void)
{
    const char *trouble = stopwatch.plain->finish ? stopwatch.plain->finish() : NULL;
    if (trouble)
        printf("# while timing: %s\n", trouble);
}

/* NULL: not watching, or no room. */
static inline lap *lap_begin(const char *name, const dt_node *node, double bytes, double flops)
{
    lap *l = stopwatch.watching && stopwatch.laps < STOPWATCH_MOST ? &stopwatch.lap[stopwatch.laps++] : NULL;
    if (!l)
        return NULL;
    l->name = name, l->node = node, l->bytes = bytes, l->flops = flops, l->seconds = 0;
    if (!stopwatch.events) {
        stopwatch_wait();
        l->begun = dt_now();
    } else if ((!l->from && (stopwatch.create(&l->from, 0) || stopwatch.create(&l->to, 0))) ||
               stopwatch.record(l->from, stopwatch.stream)) {
        stopwatch.laps--;
        return NULL;
    }
    return l;
}

static inline void lap_end(lap *l)
{
    if (!l)
        return;
    if (stopwatch.events) {
        stopwatch.record(l->to, stopwatch.stream);
    } else {
        stopwatch_wait();
        l->seconds = dt_now() - l->begun;
    }
}

/* Begins a series. */
static inline void stopwatch_start(void)
{
    stopwatch.laps = 0;
    stopwatch.watching = true;
}

/* Ends it: afterwards each lap has its seconds. */
static inline void stopwatch_stop(void)
{
    stopwatch.watching = false;
    stopwatch_wait();
    for (int i = 0; stopwatch.events && i < stopwatch.laps; i++) {
        float ms = 0;
        lap *l = &stopwatch.lap[i];
        if (stopwatch.wait(l->to) || stopwatch.elapsed(&ms, l->from, l->to))
            ms = 0;
        l->seconds = 1e-3 * (double)ms;
    }
}

/* ---- What is watched ---- */

/* Operands that are read, each once, and results; of a table only the rows that are asked for. */
static inline double bytes_moved(const dt_node *node)
{
    double bytes = 0;
    bool looks_up = !strcmp(node->op->name, "embedding") || !strcmp(node->op->name, "gather");
    for (int i = 0; i < node->inputs; i++) {
        bool again = false;
        for (int j = 0; j < i; j++)
            again |= node->input[j] == node->input[i];
        if (!again)
            bytes += (double)dt_bytes_of(looks_up && i == 0 ? &node->output[0] : node->input[i]);
    }
    for (int o = 0; o < node->outputs; o++)
        bytes += (double)dt_bytes_of(&node->output[o]);
    return bytes;
}

static void watched_run(const dt_call *call)
{
    const dt_node *node = call->node;
    lap *l = lap_begin(node->op->name, node, stopwatch.watching ? bytes_moved(node) : 0,
                       node->op->flops ? node->op->flops(node) : 0);
    dt_kernel_of(stopwatch.plain, node->op)->run(call);
    lap_end(l);
}

static void watched_copy(void *to, const void *from, size_t bytes)
{
    lap *l = lap_begin("copy on the device", NULL, 2.0 * (double)bytes, 0);
    stopwatch.plain->copy(to, from, bytes);
    lap_end(l);
}

static void watched_clip(dt_clip *to, const float *gradient, const dt_stretch *stretch, size_t stretches, float most, const float *loss)
{
    lap *l = lap_begin("norm of the gradients", NULL, 4.0 * stopwatch.parameters, 0);
    stopwatch.plain->clip(to, gradient, stretch, stretches, most, loss);
    lap_end(l);
}

/* Reads values, gradients and moments; writes values, moments and, where they are wanted, the values in bfloat16. */
static void watched_adamw(const dt_adamw_step *step)
{
    lap *l = lap_begin("AdamW", NULL, stopwatch.parameters * (step->narrowed ? 30 : 28), 0);
    stopwatch.plain->adamw(step);
    lap_end(l);
}

/* ---- Setting up ---- */

static inline bool find_events(void)
{
    const char *path = getenv("DUET_BACKEND");
    void *backend = path && *path ? dlopen(path, RTLD_NOW | RTLD_NOLOAD) : NULL, *driver = dlopen("libcuda.so.1", RTLD_NOW);
    void *(*stream)(void) = NULL;
    if (!backend || !driver || dlsym(backend, "cudasim_thread_index"))
        return false;
    *(void **)&stream = dlsym(backend, "_Z14dt_cuda_streamv");
    *(void **)&stopwatch.create = dlsym(driver, "cuEventCreate");
    *(void **)&stopwatch.record = dlsym(driver, "cuEventRecord");
    *(void **)&stopwatch.wait = dlsym(driver, "cuEventSynchronize");
    *(void **)&stopwatch.elapsed = dlsym(driver, "cuEventElapsedTime");
    if (!stream || !stopwatch.create || !stopwatch.record || !stopwatch.wait || !stopwatch.elapsed)
        return false;
    stopwatch.stream = stream();
    return true;
}

/* The backend with that precision, watched. One at a time; lives as long as the program. NULL: no memory. */
static inline const dt_backend *watch(const dt_backend *plain, dt_precision precision)
{
    enum { FAMILIES = 64, KERNELS = 64 };
    static dt_kernel kernels[FAMILIES][KERNELS];
    static const dt_kernel *families[FAMILIES + 1];
    int f = 0;
    stopwatch.plain = plain;
    for (; plain->families[f] && f < FAMILIES; f++) {
        int k = 0;
        for (; plain->families[f][k].op && k < KERNELS - 1; k++) {
            kernels[f][k] = plain->families[f][k];
            kernels[f][k].run = watched_run;
        }
        kernels[f][k] = (dt_kernel){0};
        families[f] = kernels[f];
    }
    families[f] = NULL;
    stopwatch.watched = *plain;
    stopwatch.watched.families = families;
    stopwatch.watched.precision = precision;
    stopwatch.watched.copy = watched_copy;
    stopwatch.watched.clip = watched_clip;
    stopwatch.watched.adamw = watched_adamw;
    stopwatch.events = find_events();
    size_t room = (size_t)1 << 28;
    void *work = stopwatch.events ? plain->allocate(room) : NULL;
    for (int i = 0; work && i < 50; i++)
        plain->clear(work, room); /* so that the device does not wait for what is asked for next */
    stopwatch_start();
    for (int i = 0; i < 256; i++)
        lap_end(lap_begin("nothing", NULL, 0, 0));
    stopwatch_stop();
    if (work)
        plain->release(work);
    stopwatch.empty = 0;
    for (int i = 0; i < stopwatch.laps; i++)
        stopwatch.empty += stopwatch.lap[i].seconds / stopwatch.laps;
    return &stopwatch.watched;
}

#endif
