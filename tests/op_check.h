/* Testing ops: run a recorded function of some tensors, compare it and its gradients with references.
 *
 *     OP(linear, dt_linear(x[0], x[1], x[2]))
 *
 *     op_case c = {.name = "linear", .build = linear, .inputs = 3, .shape = {...}};
 *     op_run r; op_start(&r, &c, NULL);      // random inputs, or c.value[i]
 *     op_differences(&r);                    // gradients against finite differences
 *     near("y", r.y, want, r.count, 1e-6);   // values and gradients are there for more checks
 *     op_end(&r);
 *
 * The gradient that is checked is that of sum(y * dy) with a fixed random (or given) dy. */
#ifndef DUET_TESTS_OP_CHECK_H
#define DUET_TESTS_OP_CHECK_H

#include "kernels/ops.h"
#include "kernels/plan.h"
#include "kernels/random.h"
#include "tests/tap.h"

#include <dlfcn.h>

enum { OP_INPUTS = 8 };

/* The backend that this run of the program is for: the CPU's, or that of the shared object which the environment's DUET_BACKEND
 * names. `make test` runs the programs once with each that is there. */
static inline const dt_backend *op_backend(void)
{
    static const dt_backend *backend;
    const char *path = getenv("DUET_BACKEND");
    char message[DT_MESSAGE] = "";
    if (!backend && (!path || !*path))
        backend = dt_cpu();
    if (backend)
        return backend;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    dt_cuda_entry *entry = NULL;
    if (library)
        *(void **)&entry = dlsym(library, "dt_cuda");
    backend = entry ? entry(message) : NULL;
    if (!backend) {
        printf("Bail out! %s: %s\n", path, entry ? message : dlerror());
        exit(1);
    }
    return backend;
}

/* The function of an op_case that needs no context: an expression of the inputs x. */
#define OP(name, expression)                                                                                                   \
    static dt_tensor *name(dt_tensor **x, const void *context)                                                                 \
    {                                                                                                                          \
        (void)context;                                                                                                         \
        return expression;                                                                                                     \
    }

typedef struct op_case {
    const char *name;
    dt_tensor *(*build)(dt_tensor **x, const void *context);
    const void *context;
    int inputs;
    dt_shape shape[OP_INPUTS];
    dt_dtype dtype[OP_INPUTS];
    const void *value[OP_INPUTS]; /* NULL: normal numbers drawn from the case's name */
    const float *dy;              /* NULL: likewise */
} op_case;

typedef struct op_run {
    const op_case *c;
    const dt_backend *backend;
    dt_graph *graph;
    dt_plan *plan;
    dt_tensor *x[OP_INPUTS], *result, *upstream, *gradient[OP_INPUTS];
    float *value[OP_INPUTS]; /* int32 inputs: the same bytes */
    float *dx[OP_INPUTS];    /* NULL for int32 inputs */
    float *y, *dy;
    size_t count; /* of y */
    const char *error;
} op_run;

static inline void op_random(float *to, size_t count, uint64_t seed)
{
    for (size_t i = 0; i < count; i += 2) {
        dt_philox block = dt_random_block(seed, 7, 0, i);
        float a, b;
        dt_random_normal(block.v[0], block.v[1], &a, &b);
        to[i] = a;
        if (i + 1 < count)
            to[i + 1] = b;
    }
}

/* Reads everything that the last run made. */
static inline void op_read(op_run *r)
{
    dt_plan_read(r->plan, r->result, r->y);
    for (int i = 0; i < r->c->inputs; i++)
        if (r->dx[i])
            dt_plan_read(r->plan, r->gradient[i], r->dx[i]);
}

static inline const char *op_again(op_run *r)
{
    for (int i = 0; i < r->c->inputs; i++)
        dt_plan_write(r->plan, r->x[i], r->value[i]);
    dt_plan_write(r->plan, r->upstream, r->dy);
    const char *message = dt_plan_run(r->plan, 1, 0);
    if (!message)
        op_read(r);
    const char *trouble = r->backend->finish ? r->backend->finish() : NULL;
    if (trouble)
        printf("# %s: %s\n", r->c->name, trouble);
    return message ? message : trouble;
}

static inline bool op_start_on(op_run *r, const op_case *c, const dt_plan_options *options, const dt_backend *backend)
{
    *r = (op_run){.c = c, .backend = backend, .graph = dt_graph_new()};
    dt_tensor *wrt[OP_INPUTS], *gradient[OP_INPUTS];
    int floats = 0, which[OP_INPUTS];
    for (int i = 0; i < c->inputs; i++) {
        r->x[i] = dt_input(r->graph, "x", c->dtype[i], c->shape[i]);
        if (c->dtype[i] == DT_F32)
            which[floats] = i, wrt[floats++] = r->x[i];
    }
    r->result = dt_keep(c->build(r->x, c->context));
    r->upstream = dt_input(r->graph, "dy", DT_F32, r->result->shape);
    bool differentiable = r->result->dtype == DT_F32;
    if (differentiable)
        dt_gradient_from(&r->result, &r->upstream, 1, wrt, floats, gradient);
    for (int k = 0; k < floats && differentiable; k++)
        r->gradient[which[k]] = dt_keep(gradient[k]);
    r->plan = dt_plan_new(r->graph, backend, options);
    if (!r->plan) {
        r->error = dt_graph_error(r->graph);
        return false;
    }
    r->count = (size_t)dt_count(&r->result->shape);
    r->y = calloc(r->count, sizeof(float));
    r->dy = calloc(r->count, sizeof(float));
    if (c->dy)
        memcpy(r->dy, c->dy, sizeof(float) * r->count);
    else
        op_random(r->dy, r->count, strlen(c->name) + 99);
    for (int i = 0; i < c->inputs; i++) {
        size_t n = (size_t)dt_count(&c->shape[i]);
        r->value[i] = calloc(n, sizeof(float));
        r->dx[i] = r->gradient[i] ? calloc(n, sizeof(float)) : NULL;
        if (c->value[i])
            memcpy(r->value[i], c->value[i], sizeof(float) * n);
        else
            op_random(r->value[i], n, strlen(c->name) + (uint64_t)i);
    }
    r->error = op_again(r);
    return !r->error;
}

static inline void op_end(op_run *r)
{
    for (int i = 0; i < OP_INPUTS; i++) {
        free(r->value[i]);
        free(r->dx[i]);
    }
    free(r->y);
    free(r->dy);
    dt_plan_free(r->plan);
    dt_graph_free(r->graph);
}

/* Records, plans and runs. False, with r->error, where the graph refuses; that is for the caller to judge. What the backend
 * has no kernel for is said and runs on the CPU. */
static inline bool op_start(op_run *r, const op_case *c, const dt_plan_options *options)
{
    bool started = op_start_on(r, c, options, op_backend());
    if (started || op_backend() == dt_cpu() || !r->error || !strstr(r->error, "backend has no such kernel"))
        return started;
    skip(c->name, r->error);
    op_end(r);
    return op_start_on(r, c, options, dt_cpu());
}

static inline double op_loss(op_run *r)
{
    double sum = 0;
    op_again(r);
    for (size_t i = 0; i < r->count; i++)
        sum += (double)r->y[i] * r->dy[i];
    return sum;
}

/* The derivative of sum(y dy) along three random directions of each input, by central differences with the step
 * h = 2^-7, against gradient . direction. Derived tolerance: truncation is about h^2 = 6e-5 of the function's third
 * derivative, rounding is 2^-24 |y| |dy| sqrt(n) / h; 2e-3 of the scale |gradient| |direction| leaves a factor of ten. */
static inline void op_differences(op_run *r)
{
    const double h = 0x1p-7;
    for (int i = 0; i < r->c->inputs; i++) {
        if (!r->dx[i])
            continue;
        size_t n = (size_t)dt_count(&r->c->shape[i]);
        float *direction = calloc(n, sizeof(float)), *start = calloc(n, sizeof(float)), *dx = calloc(n, sizeof(float));
        memcpy(start, r->value[i], sizeof(float) * n);
        memcpy(dx, r->dx[i], sizeof(float) * n);
        double worst = 0;
        for (int d = 0; d < 3; d++) {
            double analytic = 0, length = 0, slope = 0, noise = 0;
            op_random(direction, n, 1000 + (uint64_t)d);
            for (size_t k = 0; k < n; k++) {
                analytic += (double)dx[k] * direction[k];
                length += (double)direction[k] * direction[k];
                slope += (double)dx[k] * dx[k];
            }
            for (int sign = 1; sign >= -1; sign -= 2) {
                for (size_t k = 0; k < n; k++)
                    r->value[i][k] = (float)(start[k] + sign * h * direction[k] / sqrt(length) * sqrt((double)n));
                double loss = op_loss(r);
                noise += fabs(loss);
                analytic -= sign * loss / (2 * h) * sqrt(length) / sqrt((double)n);
            }
            double scale = sqrt(slope * length) + 1e-4 * noise / h + 1e-3;
            worst = larger(worst, fabs(analytic) / scale);
        }
        memcpy(r->value[i], start, sizeof(float) * n);
        op_again(r); /* gradients back at the start, also those of the other inputs */
        ok(worst < 2e-3, "%s: gradient of input %d agrees with differences (relative error %.1e)", r->c->name, i, worst);
        free(direction);
        free(start);
        free(dx);
    }
}

/* All of it for a case whose values something else checks: `what` runs, and its gradients agree with differences. */
static inline void op_check(const op_case *c, const char *what)
{
    op_run run;
    if (ok(op_start(&run, c, NULL), "%s: %s", c->name, what))
        op_differences(&run);
    else
        printf("# %s\n", run.error);
    op_end(&run);
}

#endif
