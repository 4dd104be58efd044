/* Random numbers inside a computation. Each op has a stream of its own (kernels/random.h); its numbers depend
 * on the run's (seed, step) and the element's place only. */
#ifndef DUET_KERNELS_OPS_RANDOM_H
#define DUET_KERNELS_OPS_RANDOM_H

#include "kernels/graph.h"
#include "kernels/op.h"

dt_tensor *dt_random_normals(dt_graph *g, dt_shape shape);  /* standard normal */
dt_tensor *dt_random_uniforms(dt_graph *g, dt_shape shape); /* in [0, 1) */

/* Zeroes each element with probability `rate` in [0, 1) and scales the rest by 1 / (1 - rate); Srivastava et
 * al., 2014. The mask is drawn again for the gradient, not stored. Rate 0 returns x. */
dt_tensor *dt_dropout(dt_tensor *x, float rate);

/* ---- For the backends ---- */

typedef struct dt_random_form {
    uint32_t stream;
    float rate; /* dropout only */
} dt_random_form;

/* dropout: x -> y; its derivative is itself, with the same stream. */
extern const dt_op dt_op_normals, dt_op_uniforms, dt_op_dropout;

#endif
