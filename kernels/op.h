/* What an op is: for those who write ops and backends. Models need only kernels/ops.h.
 *
 * An op has its meaning in kernels/ops/FAMILY.c (the shape rule in the function that records it, and the
 * gradient rule) and one kernel a backend in kernels/cpu/FAMILY.c, kernels/cuda/FAMILY.cu. The build collects the
 * tables `dt_cpu_FAMILY`, one for each file in kernels/ops, so that adding a family changes no other file. */
#ifndef DUET_KERNELS_OP_H
#define DUET_KERNELS_OP_H

#include "kernels/arena.h"
#include "kernels/graph.h"

enum { DT_MAX_OUTPUTS = 4 };

typedef enum {
    DT_OP_PLAIN = 0,
    DT_OP_VIEW = 1,     /* output 0 is input 0 seen in another shape: no kernel, same memory */
    DT_OP_IN_PLACE = 2, /* output 0 may be written over an input of its size that dies here */
    DT_OP_LEAF = 4,     /* memory is given, not computed */
    DT_OP_EFFECT = 8    /* changes something outside of the graph; never dropped */
} dt_op_flags;

typedef struct dt_op {
    const char *name;
    unsigned flags;
    /* Appends the derivative: dy[j] is the gradient of output j (NULL: none flows), dx[i] is to be set to that of
     * input i (left NULL: none). NULL here: the op has no derivative and nothing flows through it. */
    void (*gradient)(dt_graph *g, const dt_node *node, dt_tensor *const *dy, dt_tensor **dx);
    /* Multiply-adds counted as two, for matrix products and convolutions; NULL: not counted. */
    double (*flops)(const dt_node *node);
} dt_op;

struct dt_node {
    const dt_op *op;
    dt_graph *graph;
    int id;
    int inputs, outputs;
    dt_tensor **input;
    dt_tensor output[DT_MAX_OUTPUTS];
    const void *attributes; /* the op's own struct, owned by the graph; NULL: none */
    const char *label;      /* the scope in which it was recorded, for messages */
};

struct dt_graph {
    dt_arena *arena;
    dt_node **node;
    int nodes, capacity, tensors;
    int streams;           /* random streams given out so far */
    dt_tensor **kept;
    int keeps, keep_capacity;
    const char *label;
    const char *error;
    dt_params *params;     /* of the parameters recorded so far; one set a graph */
    dt_tensor **param;     /* leaf of parameter i, NULL where it is not used */
    int param_capacity;
    dt_tensor poison;      /* what recording returns after an error */
    dt_node poison_node;
};

typedef struct dt_result {
    dt_dtype dtype;
    dt_shape shape;
} dt_result;

/* Appends a node; attributes are copied (size bytes). Returns its output 0; for an op without outputs, a harmless
 * handle. Checks that inputs belong to g and that result shapes are valid. */
dt_tensor *dt_record(dt_graph *g, const dt_op *op, const void *attributes, size_t size, int inputs,
                     dt_tensor *const *input, int outputs, const dt_result *result);

/* The common case: up to four inputs (NULL ends the list), one float32 output. */
dt_tensor *dt_record1(dt_graph *g, const dt_op *op, const void *attributes, size_t size, dt_shape shape,
                      dt_tensor *a, dt_tensor *b, dt_tensor *c, dt_tensor *d);

/* Marks the graph, first mistake only: "OP (in LABEL): MESSAGE". Returns the harmless handle. */
dt_tensor *dt_graph_fail(dt_graph *g, const char *op, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Output j of the node that made x (itself when x is the harmless handle). */
dt_tensor *dt_output_of(dt_tensor *x, int j);

/* A number for this op's random stream: the same for the same model, because recording order is. */
int dt_random_stream(dt_graph *g);

/* x under a new handle. A fused gradient kernel is differentiated through the plain ops that it stands for: the
 * gradient rule records them on aliases of the node's inputs and calls dt_gradient_from with respect to those
 * aliases, which keeps the derivative partial even where one input was computed from another. */
dt_tensor *dt_identity(dt_tensor *x);

extern const dt_op dt_op_input, dt_op_constant, dt_op_param;

#endif
