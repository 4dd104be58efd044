/* Optimizers over the contiguous parameter buffer: one pass each step. */
#ifndef DUET_KERNELS_OPTIMIZER_H
#define DUET_KERNELS_OPTIMIZER_H

#include "kernels/params.h"

typedef enum { DT_ADAMW, DT_ADAM, DT_SGD } dt_optimizer_kind;

/* ADAMW (Loshchilov & Hutter, 2019): p *= 1 - lr wd, then p -= lr m^ / (sqrt v^ + eps). ADAM: weight decay is added to
 * the gradient instead (L2). SGD: g += wd p, v = momentum v + g (v = g at first), p -= lr (nesterov ? g + momentum v : v).
 * Weight decay applies to parameters with `decay` (two or more dimensions). All as torch.optim has them. */
typedef struct dt_optimizer_config {
    dt_optimizer_kind kind;
    float beta1, beta2, eps; /* Adam */
    float momentum;          /* SGD */
    bool nesterov;
    float weight_decay;
    float clip_norm; /* g *= min(1, clip_norm / (|g| + 1e-6)) over all gradients; 0: no clipping */
} dt_optimizer_config;

typedef struct dt_optimizer dt_optimizer;

/* Borrows params (allocated) and backend. NULL: no memory. */
dt_optimizer *dt_optimizer_new(const dt_optimizer_config *config, dt_params *params, const dt_backend *backend);

/* What to say then: how much is needed, and what there is on a device. Written to `message` (DT_MESSAGE bytes), and returned. */
const char *dt_optimizer_no_memory(const dt_optimizer_config *config, const dt_params *params, const dt_backend *backend,
                                   char *message);
void dt_optimizer_free(dt_optimizer *optimizer);

/* One update with the gradients that lie in the parameter set. Returns the global L2 norm of the gradients before
 * clipping. When that is not finite nothing is changed. Frozen parameters (dt_params_set_rate) are left out of both, whatever
 * lies in their place. */
double dt_optimizer_step(dt_optimizer *optimizer, float learning_rate);

/* The same in two parts: dt_optimizer_start asks for the update, dt_optimizer_finish waits for it and returns the norm. Nothing is changed
 * either when *loss, a number in the backend's memory (dt_plan_at; NULL: none), is not finite. */
void dt_optimizer_start(dt_optimizer *optimizer, float learning_rate, const float *loss);
double dt_optimizer_finish(dt_optimizer *optimizer);

/* State for checkpoints: `slots` buffers of dt_params_size floats (AdamW: first and second moments; SGD: velocity) and
 * the number of steps taken. */
int dt_optimizer_slots(const dt_optimizer *optimizer);
float *dt_optimizer_slot(dt_optimizer *optimizer, int slot); /* on the host, as dt_params_value gives values */
const float *dt_optimizer_look(dt_optimizer *optimizer, int slot); /* the same only to look at */
const char *dt_optimizer_slot_name(const dt_optimizer *optimizer, int slot);
uint64_t dt_optimizer_steps(const dt_optimizer *optimizer);
void dt_optimizer_set_steps(dt_optimizer *optimizer, uint64_t steps);

/* The learning rate at step t = 0, 1, ...: base (t + 1) / warmup for t < warmup, then constant, or
 * base (1 + cos(pi (t - warmup) / (steps - warmup))) / 2. */
typedef enum { DT_SCHEDULE_CONSTANT, DT_SCHEDULE_COSINE } dt_schedule;
double dt_learning_rate(dt_schedule schedule, double base, uint64_t step, uint64_t warmup, uint64_t steps);

/* ---- For the backends: one call for all parameters ---- */

/* A stretch of the parameter buffer that is treated the same, at most DT_STRETCH floats, so that a table of them is work of even size. */
enum { DT_STRETCH = 1 << 14 };
typedef struct dt_stretch {
    uint64_t from;
    uint32_t count;
    float rate, decay; /* times the step's lr; weight decay */
} dt_stretch;

/* What a step learns of its gradients. It lies in the backend's memory, where the update reads it; the host looks later. */
typedef struct dt_clip {
    double norm;
    float scale;    /* of the gradients */
    int32_t finite; /* else there is no update */
} dt_clip;

typedef struct dt_adamw_step {
    float *value, *m, *v;
    const float *gradient;
    uint16_t *narrowed;         /* the new values in bfloat16 too; NULL: not wanted */
    const dt_stretch *stretch;  /* in the backend's memory */
    size_t stretches;
    const dt_clip *clip;        /* there too */
    float lr, beta1, beta2, eps;
    float bias1, bias2;         /* 1 - beta1^t, 1 - beta2^t */
    bool coupled;               /* Adam: weight decay goes into the gradient (L2), not beside it */
} dt_adamw_step;

typedef struct dt_sgd_step {
    float *value, *velocity;
    const float *gradient;
    uint16_t *narrowed;
    const dt_stretch *stretch;
    size_t stretches;
    const dt_clip *clip;
    float lr, momentum;
    bool nesterov, first;
} dt_sgd_step;

#endif
