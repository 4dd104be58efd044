#include "kernels/optimizer.h"

#include "kernels/backend.h"
#include "kernels/param_sides.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct dt_optimizer {
    dt_optimizer_config config;
    dt_params *params;
    const dt_backend *backend;
    dt_side slot[2];
    uint64_t steps;
    dt_stretch *table, *table_there; /* of the stretches, here and in the backend's memory, which may be the same */
    bool table_made;
    unsigned table_of;               /* of which rates */
    size_t stretches, room;
    dt_clip clip, *clip_there;       /* of the step that is under way; likewise */
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
    bool good = o->table && dt_params_settle(params, backend, DT_VALUES | DT_GRADIENTS);
    for (int i = 0; good && i < dt_optimizer_slots(o); i++)
        good = make_slot(o, &o->slot[i]);
    o->table_there = backend->on_host ? o->table : backend->allocate(sizeof *o->table * o->room);
    o->clip_there = backend->on_host ? &o->clip : backend->allocate(sizeof *o->clip_there);
    good = good && o->table_there && o->clip_there;
    if (!good) {
        dt_optimizer_free(o);
        return NULL;
    }
    return o;
}

static int slots_of(dt_optimizer_kind kind)
{
    return kind == DT_SGD ? 1 : 2;
}

const char *dt_optimizer_no_memory(const dt_optimizer_config *config, const dt_params *params, const dt_backend *backend,
                                   char *message)
{
    const double mib = 1.0 / (1 << 20);
    size_t left, all;
    dt_backend_memory(backend, &left, &all);
    int length = snprintf(message, DT_MESSAGE, "no memory for the optimizer: %zu parameters, their gradients and its %s need %.1f MiB",
                          dt_params_trainable(params), config->kind == DT_SGD ? "velocity" : "two moments",
                          mib * sizeof(float) * (2 + slots_of(config->kind)) * (double)dt_params_size(params));
    if (all && length > 0 && length < DT_MESSAGE)
        snprintf(message + length, DT_MESSAGE - (size_t)length, "; the device has %.1f MiB, of which %.1f are still free",
                 mib * (double)all, mib * (double)left);
    return message;
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
    if (o->table_there != o->table && o->table_there)
        o->backend->release(o->table_there);
    if (o->clip_there != &o->clip && o->clip_there)
        o->backend->release(o->clip_there);
    free(o->table);
    free(o);
}

int dt_optimizer_slots(const dt_optimizer *o)
{
    return slots_of(o->config.kind);
}

float *dt_optimizer_slot(dt_optimizer *o, int slot)
{
    return dt_side_open(&o->slot[slot], o->backend);
}

const float *dt_optimizer_look(dt_optimizer *o, int slot)
{
    dt_side_fetch(&o->slot[slot], o->backend);
    return o->slot[slot].host;
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

/* Makes the table anew when a rate has changed (dt_params_set_rate). */
static void make_table(dt_optimizer *o)
{
    if (o->table_made && o->table_of == o->params->rates)
        return;
    o->stretches = 0;
    for (int i = 0; i < dt_params_count(o->params); i++) {
        const dt_param_info *info = dt_params_info(o->params, i);
        if (info->trainable && info->rate > 0)
            add_stretch(o, info->offset, (info->count + 15) / 16 * 16, info->rate, info->decay ? o->config.weight_decay : 0);
    }
    o->table_made = true;
    o->table_of = o->params->rates;
    if (o->table_there != o->table && o->stretches)
        o->backend->write(o->table_there, o->table, sizeof *o->table * o->stretches);
}

static float *slot_at(dt_optimizer *o, int i)
{
    return o->backend->on_host ? o->slot[i].host : o->slot[i].device;
}

static void update_adam(dt_optimizer *o, float lr, uint16_t *narrowed)
{
    const dt_optimizer_config *c = &o->config;
    double t = (double)o->steps + 1;
    o->backend->adamw(&(dt_adamw_step){
        .value = dt_params_part_at(o->params, o->backend, DT_VALUES),
        .gradient = dt_params_part_at(o->params, o->backend, DT_GRADIENTS), .m = slot_at(o, 0), .v = slot_at(o, 1),
        .narrowed = narrowed, .stretch = o->table_there, .stretches = o->stretches, .clip = o->clip_there, .lr = lr,
        .beta1 = c->beta1, .beta2 = c->beta2, .eps = c->eps, .bias1 = (float)(1 - pow(c->beta1, t)),
        .bias2 = (float)(1 - pow(c->beta2, t)), .coupled = c->kind == DT_ADAM});
}

static void update_sgd(dt_optimizer *o, float lr, uint16_t *narrowed)
{
    const dt_optimizer_config *c = &o->config;
    o->backend->sgd(&(dt_sgd_step){
        .value = dt_params_part_at(o->params, o->backend, DT_VALUES),
        .gradient = dt_params_part_at(o->params, o->backend, DT_GRADIENTS), .velocity = slot_at(o, 0), .narrowed = narrowed,
        .stretch = o->table_there, .stretches = o->stretches, .clip = o->clip_there, .lr = lr, .momentum = c->momentum,
        .nesterov = c->nesterov, .first = o->steps == 0});
}

void dt_optimizer_start(dt_optimizer *o, float lr, const float *loss)
{
    uint16_t *narrowed = dt_params_narrowed(o->params);
    dt_params_bring(o->params, o->backend, DT_VALUES | DT_GRADIENTS | (narrowed ? DT_NARROWED : 0));
    for (int i = 0; i < dt_optimizer_slots(o); i++)
        if (o->slot[i].device)
            dt_side_send(&o->slot[i], o->backend);
    make_table(o);
    o->backend->clip(o->clip_there, dt_params_part_at(o->params, o->backend, DT_GRADIENTS), o->table_there, o->stretches,
                     o->config.clip_norm, loss);
    (o->config.kind == DT_SGD ? update_sgd : update_adam)(o, lr, narrowed);
    for (int i = 0; i < dt_optimizer_slots(o); i++)
        if (o->slot[i].device)
            o->slot[i].newer = DT_DEVICE_NEWER;
    dt_params_wrote(o->params, o->backend, DT_VALUES | (narrowed ? DT_NARROWED : 0));
}

double dt_optimizer_finish(dt_optimizer *o)
{
    if (o->clip_there != &o->clip)
        o->backend->read(&o->clip, o->clip_there, sizeof o->clip);
    o->steps += o->clip.finite != 0;
    return o->clip.norm;
}

double dt_optimizer_step(dt_optimizer *o, float lr)
{
    dt_optimizer_start(o, lr, NULL);
    return dt_optimizer_finish(o);
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
