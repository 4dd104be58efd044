#include "kernels/optimizer.h"

#include "kernels/backend.h"
#include "kernels/param_sides.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct dt_optimizer {
    dt_optimizer_config config;
    dt_params *params;
    const dt_backend *backend;
    dt_side slot[2];
    uint64_t steps;
    dt_stretch *table, *table_there; /* of the stretches, here and in the backend's memory (NULL: that is here) */
    dt_stretch *sent;                /* what lies there */
    size_t stretches, sent_stretches, room;
};

static bool make_slot(dt_optimizer *o, dt_side *slot)
{
    size_t bytes = (dt_params_size(o->params) + 1) * sizeof(float);
    *slot = (dt_side){.host = calloc(bytes, 1), .count = dt_params_size(o->params), .newer = DT_HOST_NEWER};
    if (slot->host && !o->backend->on_host && !(slot->device = o->backend->allocate(bytes)))
        return false;
    return slot->host != NULL;
}

dt_optimizer *dt_optimizer_new(const dt_optimizer_config *config, dt_params *params, const dt_backend *backend)
{
    dt_optimizer *o = calloc(1, sizeof *o);
    if (!o)
        return NULL;
    *o = (dt_optimizer){.config = *config, .params = params, .backend = backend};
    o->room = dt_params_size(params) / DT_STRETCH + (size_t)dt_params_count(params) + 1;
    o->table = calloc(o->room, sizeof *o->table);
    o->sent = calloc(o->room, sizeof *o->sent);
    bool good = o->table && o->sent && dt_params_settle(params, backend, DT_VALUES | DT_GRADIENTS);
    for (int i = 0; good && i < dt_optimizer_slots(o); i++)
        good = make_slot(o, &o->slot[i]);
    if (good && !backend->on_host)
        good = (o->table_there = backend->allocate(sizeof *o->table * o->room)) != NULL;
    if (!good) {
        dt_optimizer_free(o);
        return NULL;
    }
    return o;
}

void dt_optimizer_free(dt_optimizer *o)
{
    if (!o)
        return;
    for (int i = 0; i < 2; i++) {
        free(o->slot[i].host);
        if (o->slot[i].device)
            o->backend->release(o->slot[i].device);
    }
    if (o->table_there)
        o->backend->release(o->table_there);
    free(o->table);
    free(o->sent);
    free(o);
}

int dt_optimizer_slots(const dt_optimizer *o)
{
    return o->config.kind == DT_SGD ? 1 : 2;
}

float *dt_optimizer_slot(dt_optimizer *o, int slot)
{
    return dt_side_open(&o->slot[slot], o->backend);
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

/* A run of neighbouring parameters that are trained, as floats of the buffer. Parameters lie in the order of declaration, so that
 * mostly all are one run. */
typedef struct stretch {
    int next; /* the parameter after the run */
    size_t from, count;
} stretch;

/* The first run that begins at parameter i or later; count 0: there is none. */
static stretch stretch_from(const dt_params *params, int i)
{
    stretch run = {0};
    for (; i < dt_params_count(params); i++) {
        const dt_param_info *info = dt_params_info(params, i);
        bool trained = info->trainable && info->rate > 0;
        if (!info->trainable)
            continue; /* buffers lie elsewhere */
        if (run.count && !trained)
            break;
        if (!trained)
            continue;
        if (!run.count)
            run.from = info->offset;
        run.count = info->offset + (info->count + 15) / 16 * 16 - run.from;
    }
    run.next = i;
    return run;
}

/* The last stretch grows while parameters are treated the same and there is room in it. */
static void add_stretch(dt_optimizer *o, size_t from, size_t count, float rate, float decay)
{
    dt_stretch *last = o->stretches ? &o->table[o->stretches - 1] : NULL;
    while (count) {
        bool joins = last && last->from + last->count == from && last->rate == rate && last->decay == decay && last->count < DT_STRETCH;
        if (!joins) {
            last = &o->table[o->stretches++];
            *last = (dt_stretch){.from = from, .rate = rate, .decay = decay};
        }
        size_t part = DT_STRETCH - last->count < count ? DT_STRETCH - last->count : count;
        last->count += (uint32_t)part;
        from += part;
        count -= part;
    }
}

/* Rates can change between steps (dt_params_set_rate), so the table is made anew; it is sent only when it differs. */
static const dt_stretch *make_table(dt_optimizer *o)
{
    o->stretches = 0;
    for (int i = 0; i < dt_params_count(o->params); i++) {
        const dt_param_info *info = dt_params_info(o->params, i);
        if (info->trainable && info->rate > 0)
            add_stretch(o, info->offset, (info->count + 15) / 16 * 16, info->rate, info->decay ? o->config.weight_decay : 0);
    }
    size_t bytes = sizeof *o->table * o->stretches;
    if (!o->table_there)
        return o->table;
    if (o->sent_stretches != o->stretches || memcmp(o->sent, o->table, bytes)) {
        o->backend->write(o->table_there, o->table, bytes);
        memcpy(o->sent, o->table, bytes);
        o->sent_stretches = o->stretches;
    }
    return o->table_there;
}

static float *slot_at(dt_optimizer *o, int i)
{
    return o->backend->on_host ? o->slot[i].host : o->slot[i].device;
}

static void update_adam(dt_optimizer *o, float scale, float lr, uint16_t *narrowed)
{
    const dt_optimizer_config *c = &o->config;
    double t = (double)o->steps + 1;
    o->backend->adamw(&(dt_adamw_step){
        .value = dt_params_part_at(o->params, o->backend, DT_VALUES),
        .gradient = dt_params_part_at(o->params, o->backend, DT_GRADIENTS), .m = slot_at(o, 0), .v = slot_at(o, 1),
        .narrowed = narrowed, .stretch = make_table(o), .stretches = o->stretches, .gradient_scale = scale, .lr = lr,
        .beta1 = c->beta1, .beta2 = c->beta2, .eps = c->eps, .bias1 = (float)(1 - pow(c->beta1, t)),
        .bias2 = (float)(1 - pow(c->beta2, t)), .coupled = c->kind == DT_ADAM});
}

static void update_sgd(dt_optimizer *o, float scale, float lr, uint16_t *narrowed)
{
    const dt_optimizer_config *c = &o->config;
    o->backend->sgd(&(dt_sgd_step){
        .value = dt_params_part_at(o->params, o->backend, DT_VALUES),
        .gradient = dt_params_part_at(o->params, o->backend, DT_GRADIENTS), .velocity = slot_at(o, 0), .narrowed = narrowed,
        .stretch = make_table(o), .stretches = o->stretches, .gradient_scale = scale, .lr = lr, .momentum = c->momentum,
        .nesterov = c->nesterov, .first = o->steps == 0});
}

/* The L2 norm of all gradients that are trained. */
static double gradient_norm(dt_optimizer *o)
{
    const float *gradients = dt_params_part_at(o->params, o->backend, DT_GRADIENTS);
    double squares = 0;
    for (stretch run = stretch_from(o->params, 0); run.count; run = stretch_from(o->params, run.next))
        squares += o->backend->sum_of_squares(gradients + run.from, run.count);
    return sqrt(squares);
}

double dt_optimizer_step(dt_optimizer *o, float lr)
{
    dt_params_bring(o->params, o->backend, DT_VALUES | DT_GRADIENTS);
    double norm = gradient_norm(o);
    if (!isfinite(norm))
        return norm;
    double ratio = o->config.clip_norm > 0 ? o->config.clip_norm / (norm + 1e-6) : 1;
    uint16_t *narrowed = dt_params_narrowed(o->params);
    for (int i = 0; i < dt_optimizer_slots(o); i++)
        if (o->slot[i].device)
            dt_side_send(&o->slot[i], o->backend);
    (o->config.kind == DT_SGD ? update_sgd : update_adam)(o, ratio < 1 ? (float)ratio : 1.0f, lr, narrowed);
    for (int i = 0; i < dt_optimizer_slots(o); i++)
        if (o->slot[i].device)
            o->slot[i].newer = DT_DEVICE_NEWER;
    dt_params_wrote(o->params, o->backend, DT_VALUES | (narrowed ? DT_NARROWED : 0));
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
