/* What params.c (names, declaration, start) and residence.c (where the numbers lie) share. */
#ifndef DUET_KERNELS_PARAM_SIDES_H
#define DUET_KERNELS_PARAM_SIDES_H

#include "kernels/arena.h"
#include "kernels/backend.h"
#include "kernels/params.h"

/* Values, gradients or buffers: on the host and, where a backend has memory of its own, there. */
typedef struct dt_side {
    float *host, *device; /* device NULL: not there */
    size_t count;
    enum { DT_SIDES_AGREE, DT_HOST_NEWER, DT_DEVICE_NEWER } newer;
} dt_side;

/* The host's copy, after the device's if that is newer. */
void dt_side_fetch(dt_side *side, const dt_backend *device);

/* The same, which the caller may change. */
float *dt_side_open(dt_side *side, const dt_backend *device);

/* Sends the host's copy if that is newer. */
void dt_side_send(dt_side *side, const dt_backend *device);

enum { DT_SIDE_VALUES, DT_SIDE_GRADIENTS, DT_SIDE_BUFFERS, DT_SIDES }; /* bit i of dt_params_part */

struct dt_params {
    dt_arena *arena;
    dt_param_info *info;
    int count, capacity;
    dt_side side[DT_SIDES];
    void *blocks[DT_SIDES];  /* what the host's lie in */
    const float **lent;      /* by parameter; NULL: none is lent */
    size_t size, buffer_size;
    unsigned rates;          /* counts the changes of them */
    const dt_backend *device; /* whose memory the other sides are; NULL: none */
    uint16_t *narrowed;       /* there; NULL: nobody asked */
    bool narrowed_stale;
};

void dt_params_leave(dt_params *params); /* gives the device's memory back */

#endif
