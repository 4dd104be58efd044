#include "kernels/optimizer.h"

#include "kernels/backend.h"

#include <math.h>
#include <stdlib.h>

struct dt_optimizer {
    dt_optimizer_config config;
    dt_params *params;
    const dt_backend *backend;
    float *slot[2];
    uint64_t steps;
};

dt_optimizer *dt_optimizer_new(const dt_optimizer_config *config, dt_params *params, const dt_backend *backend)
{
    dt_optimizer *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    *o = (dt_optimizer){.config = *config, .params = params, .backend = backend};
    for (int i = 0; i < dt_optimizer_slots(o); i++)
        if (!(o->slot[i] = calloc(dt_params_size(params) + 1, sizeof(float)))) {
            dt_optimizer_free(o);
            return NULL;
        }
    return o;
}

void dt_optimizer_free(dt_optimizer *o)
{
    if (!o)
        return;
    free(o->slot[0]);
    free(o->slot[1]);
    free(o);
}

int dt_optimizer_slots(const dt_optimizer *o)
{
    return o->config.kind == DT_SGD ? 1 : 2;
}

float *dt_optimizer_slot(dt_optimizer *o, int slot)
{
    return o->slot[slot];
}

const char *dt_optimizer_slot_name(const dt_optimizer *o, int slot)
{
    if (o->config.kind == DT_SGD)
        return "velocity";
    return slot ? "second_moment" : "first_moment";
}

uint64_t dt_optimizer_steps(const dt_optimizer *o)
{
    return o->steps;
}

void dt_optimizer_set_steps(dt_optimizer *o, uint64_t steps)
{
    o->steps = steps;
}

static void update_adam(dt_optimizer *o, size_t from, size_t count, bool decay, float scale, float lr)
{
    const dt_optimizer_config *c = &o->config;
    double t = (double)o->steps + 1;
    float weight_decay = decay ? c->weight_decay : 0;
    o->backend->adamw(&(dt_adamw_step){
        .value = dt_params_values(o->params) + from, .gradient = dt_params_gradients(o->params) + from,
        .m = o->slot[0] + from, .v = o->slot[1] + from, .count = count, .gradient_scale = scale, .lr = lr,
        .beta1 = c->beta1, .beta2 = c->beta2, .eps = c->eps, .bias1 = (float)(1 - pow(c->beta1, t)),
        .bias2 = (float)(1 - pow(c->beta2, t)), .decay = c->kind == DT_ADAMW ? weight_decay : 0,
        .l2 = c->kind == DT_ADAM ? weight_decay : 0});
}

static void update_sgd(dt_optimizer *o, size_t from, size_t count, bool decay, float scale, float lr)
{
    const dt_optimizer_config *c = &o->config;
    o->backend->sgd(&(dt_sgd_step){
        .value = dt_params_values(o->params) + from, .gradient = dt_params_gradients(o->params) + from,
        .velocity = o->slot[0] + from, .count = count, .gradient_scale = scale, .lr = lr, .momentum = c->momentum,
        .l2 = decay ? c->weight_decay : 0, .nesterov = c->nesterov, .first = o->steps == 0});
}

/* A run of neighbouring parameters that are trained and treated the same, as floats of the buffer. Parameters lie in the order of
 * declaration, so that mostly all are one run. */
typedef struct stretch {
    int next; /* the parameter after the run */
    size_t from, count;
    bool decay;
    float rate;
} stretch;

/* The first run that begins at parameter i or later; count 0: there is none. With `any`, all that is trained is the same. */
static stretch stretch_from(const dt_params *params, int i, bool any)
{
    int all = dt_params_count(params);
    stretch run = {0};
    for (; i < all; i++) {
        const dt_param_info *info = dt_params_info(params, i);
        bool trained = info->trainable && info->rate > 0;
        if (!info->trainable || (!trained && !run.count))
            continue; /* buffers lie elsewhere */
        if (run.count && (!trained || (!any && (info->decay != run.decay || info->rate != run.rate))))
            break;
        if (!run.count)
            run.from = info->offset, run.decay = info->decay, run.rate = info->rate;
        run.count = info->offset + (info->count + 15) / 16 * 16 - run.from;
    }
    run.next = i;
    return run;
}

double dt_optimizer_step(dt_optimizer *o, float lr)
{
    double squares = 0;
    for (stretch run = stretch_from(o->params, 0, true); run.count; run = stretch_from(o->params, run.next, true))
        squares += o->backend->sum_of_squares(dt_params_gradients(o->params) + run.from, run.count);
    double norm = sqrt(squares);
    if (!isfinite(norm))
        return norm;
    double ratio = o->config.clip_norm > 0 ? o->config.clip_norm / (norm + 1e-6) : 1;
    float scale = ratio < 1 ? (float)ratio : 1.0f;
    for (stretch run = stretch_from(o->params, 0, false); run.count; run = stretch_from(o->params, run.next, false))
        (o->config.kind == DT_SGD ? update_sgd : update_adam)(o, run.from, run.count, run.decay, scale, lr * run.rate);
    o->steps++;
    return norm;
}

double dt_learning_rate(dt_schedule schedule, double base, uint64_t step, uint64_t warmup, uint64_t steps)
{
    if (step < warmup)
        return base * ((double)step + 1) / (double)warmup;
    if (schedule == DT_SCHEDULE_CONSTANT)
        return base;
    double span = steps > warmup ? (double)(steps - warmup) : 1;
    double progress = (double)(step - warmup) / span;
    return base * 0.5 * (1 + cos(M_PI * (progress < 1 ? progress : 1)));
}
