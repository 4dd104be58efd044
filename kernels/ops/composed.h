/* For ops whose gradient is a fused kernel: how that kernel is differentiated once more. The op's value is
 * recorded again from plain ops on aliases of its arguments, and that composition is differentiated twice. */
#ifndef DUET_KERNELS_OPS_COMPOSED_H
#define DUET_KERNELS_OPS_COMPOSED_H

#include "kernels/op.h"

enum { DT_MAX_PRIMALS = 4 };

/* A fused op y = f(primal...) made of plain ops that can be differentiated twice. Attributes are those of the
 * node. */
typedef dt_tensor *dt_composition(const void *attributes, dt_tensor *const *primal);

/* The derivative of the node (primals, upstream u of y) -> (u . df / d primal...), whose results have the
 * gradients dy (NULL: none flows). `primal` holds the arguments of f; on return, the gradients for them.
 * Returns the gradient for the upstream. */
static inline dt_tensor *dt_composed_gradient(const dt_node *node, dt_composition *f, int primals,
                                              dt_tensor **primal, dt_tensor *upstream, dt_tensor *const *dy)
{
    dt_tensor *point[DT_MAX_PRIMALS + 1], *first[DT_MAX_PRIMALS], *second[DT_MAX_PRIMALS + 1];
    dt_tensor *ys[DT_MAX_PRIMALS], *dys[DT_MAX_PRIMALS];
    for (int i = 0; i < primals; i++)
        point[i] = dt_identity(primal[i]);
    point[primals] = dt_identity(upstream);
    if (node->graph->error) /* the aliases have no shapes then */
        return point[primals];
    dt_tensor *y = f(node->attributes, point);
    dt_gradient_from(&y, &point[primals], 1, point, primals, first);
    int flowing = 0;
    for (int i = 0; i < primals; i++)
        if (dy[i])
            ys[flowing] = first[i], dys[flowing++] = dy[i];
    dt_gradient_from(ys, dys, flowing, point, primals + 1, second);
    for (int i = 0; i < primals; i++)
        primal[i] = second[i];
    return second[primals];
}

#endif
