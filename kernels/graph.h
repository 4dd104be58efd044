/* Recording a computation. Model code calls functions such as dt_layer_norm(x, gamma, beta); each appends a
 * node to the graph of its arguments and returns a handle to the result; nothing is computed until a plan
 * (kernels/plan.h) runs the graph.
 *
 *     dt_graph *g = dt_graph_new();
 *     dt_tensor *x = dt_input(g, "x", DT_F32, dt_dims(8, 3));
 *     dt_tensor *y = dt_keep(dt_gelu(dt_linear(x, w, b)));
 *
 * Errors are sticky. A wrong shape or type marks the graph with one message that names the op, the shapes and
 * the place in the model; every later call returns a harmless handle, and the message is looked at once, when
 * a plan is made. No recording function returns NULL. Graphs and handles belong to one thread at a time. */
#ifndef DUET_KERNELS_GRAPH_H
#define DUET_KERNELS_GRAPH_H

#include "kernels/tensor.h"

typedef struct dt_graph dt_graph;
typedef struct dt_node dt_node;
typedef struct dt_params dt_params;

typedef struct dt_tensor {
    dt_node *node; /* that computes it */
    int output;    /* which of the node's results */
    int id;        /* 0, 1, ... in the order of recording, unique in the graph */
    dt_dtype dtype;
    dt_shape shape;
} dt_tensor;

/* A fresh graph, freed with everything recorded in it. If memory runs out, the graph is NULL or marked. */
dt_graph *dt_graph_new(void);
void dt_graph_free(dt_graph *g);
dt_graph *dt_graph_of(const dt_tensor *x);

/* The first mistake, or NULL. The text lives as long as the graph. */
const char *dt_graph_error(const dt_graph *g);

/* What the caller fills before each run (dt_plan_write). The name serves messages. */
dt_tensor *dt_input(dt_graph *g, const char *name, dt_dtype dtype, dt_shape shape);

/* A tensor of one value. */
dt_tensor *dt_fill(dt_graph *g, dt_shape shape, float value);

/* A tensor of given float32 values, copied now. */
dt_tensor *dt_constant(dt_graph *g, dt_shape shape, const float *values);

/* Marks x as a result: a plan keeps it for dt_plan_read. Returns x. */
dt_tensor *dt_keep(dt_tensor *x);

/* Where in a model we are: the graph, the parameters, and the dotted prefix of their names. Passed by value. */
typedef struct dt_scope {
    dt_graph *graph;
    dt_params *params;
    const char *prefix; /* "" at the root */
} dt_scope;

/* The scope PREFIX.NAME, printf-style: dt_in(s, "resblocks.%d", i). */
dt_scope dt_in(dt_scope scope, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Derivatives: fills gradients[i] with d loss / d wrt[i], recorded in the same graph, so that they can be
 * differentiated again. `loss` is a scalar. Where nothing connects them the gradient is zeros. An op whose
 * gradient is a fused kernel without a derivative of its own marks the graph, by name, when it is asked. */
void dt_gradient(dt_tensor *loss, dt_tensor *const *wrt, int count, dt_tensor **gradients);

/* The same for several results ys[j] with given upstream gradients dys[j] of their shapes: the
 * vector-Jacobian product sum_j dys[j] . d ys[j] / d wrt[i]. */
void dt_gradient_from(dt_tensor *const *ys, dt_tensor *const *dys, int results, dt_tensor *const *wrt, int count,
                      dt_tensor **gradients);

#endif
