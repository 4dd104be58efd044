/* The effect that puts a computed value into the parameters' buffers: between params.c, which records it, and
 * plan.c, which carries it out. */
#ifndef DUET_KERNELS_STORE_H
#define DUET_KERNELS_STORE_H

#include "kernels/op.h"

typedef enum { DT_STORE_GRADIENT, DT_STORE_ADD_GRADIENT, DT_STORE_BUFFER } dt_store_target;

typedef struct dt_store {
    int param; /* index into the graph's parameters */
    dt_store_target target;
} dt_store;

extern const dt_op dt_op_store; /* value -> nothing */

#endif
