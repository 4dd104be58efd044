/* Where parameters lie. The host's memory is always there; a backend with memory of its own has a second copy, and each part knows
 * which of the two was written last. Copies go over when the other side asks, and only then. */
#include "kernels/param_sides.h"

#include <string.h>

static dt_side *side_of(dt_params *params, int i)
{
    return &params->side[params->info[i].trainable ? DT_SIDE_VALUES : DT_SIDE_BUFFERS];
}

/* ---- One side ---- */

void dt_side_fetch(dt_side *side, const dt_backend *device)
{
    if (side->newer != DT_DEVICE_NEWER)
        return;
    device->read(side->host, side->device, sizeof(float) * side->count);
    side->newer = DT_SIDES_AGREE;
}

float *dt_side_open(dt_side *side, const dt_backend *device)
{
    dt_side_fetch(side, device);
    if (side->device)
        side->newer = DT_HOST_NEWER;
    return side->host;
}

void dt_side_send(dt_side *side, const dt_backend *device)
{
    if (side->newer != DT_HOST_NEWER)
        return;
    device->write(side->device, side->host, sizeof(float) * side->count);
    side->newer = DT_SIDES_AGREE;
}

/* ---- The host asks ---- */

static float *open_side(dt_params *params, int which)
{
    return dt_side_open(&params->side[which], params->device);
}

float *dt_params_value(dt_params *params, int i)
{
    const dt_param_info *info = &params->info[i];
    if (params->lent && params->lent[i])
        return (float *)(uintptr_t)params->lent[i];
    return open_side(params, info->trainable ? DT_SIDE_VALUES : DT_SIDE_BUFFERS) + info->offset;
}

const char *dt_params_trouble(const dt_params *params)
{
    return params->device && params->device->finish ? params->device->finish() : NULL;
}

const float *dt_params_look(dt_params *params, int i)
{
    if (params->lent && params->lent[i])
        return params->lent[i];
    dt_side_fetch(side_of(params, i), params->device);
    return side_of(params, i)->host + params->info[i].offset;
}

float dt_params_number(dt_params *params, int i, size_t at)
{
    dt_side *side = side_of(params, i);
    float number;
    if (side->newer != DT_DEVICE_NEWER)
        return dt_params_look(params, i)[at];
    params->device->read(&number, side->device + params->info[i].offset + at, sizeof number);
    return number;
}

float *dt_params_gradient(dt_params *params, int i)
{
    const dt_param_info *info = &params->info[i];
    return info->trainable ? open_side(params, DT_SIDE_GRADIENTS) + info->offset : NULL;
}

float *dt_params_values(dt_params *params)
{
    return open_side(params, DT_SIDE_VALUES);
}

float *dt_params_gradients(dt_params *params)
{
    return open_side(params, DT_SIDE_GRADIENTS);
}

float *dt_params_buffers(dt_params *params)
{
    return open_side(params, DT_SIDE_BUFFERS);
}

void dt_params_clear_gradients(dt_params *params)
{
    dt_side *side = &params->side[DT_SIDE_GRADIENTS];
    if (side->device) {
        params->device->clear(side->device, sizeof(float) * side->count);
        side->newer = DT_DEVICE_NEWER;
    } else {
        memset(side->host, 0, sizeof(float) * side->count);
    }
}

/* ---- A backend asks ---- */

bool dt_params_settle(dt_params *params, const dt_backend *backend, unsigned parts)
{
    if (backend->on_host)
        return true;
    if (params->device && params->device->allocate != backend->allocate)
        return false; /* settled elsewhere */
    params->device = backend;
    for (int i = 0; i < DT_SIDES; i++) {
        dt_side *side = &params->side[i];
        if (!(parts >> i & 1) || side->device)
            continue;
        if (!(side->device = backend->allocate(sizeof(float) * side->count)))
            return false;
        side->newer = DT_HOST_NEWER;
    }
    if (parts & DT_NARROWED && !params->narrowed) {
        params->narrowed = backend->allocate(sizeof(uint16_t) * params->size);
        params->narrowed_stale = true;
    }
    return !(parts & DT_NARROWED) || params->narrowed;
}

void dt_params_leave(dt_params *params)
{
    for (int i = 0; i < DT_SIDES; i++)
        if (params->side[i].device)
            params->device->release(params->side[i].device);
    if (params->narrowed)
        params->device->release(params->narrowed);
}

float *dt_params_part_at(dt_params *params, const dt_backend *backend, dt_params_part part)
{
    const dt_side *side = &params->side[__builtin_ctz(part)];
    return backend->on_host ? side->host : side->device;
}

float *dt_params_value_at(dt_params *params, const dt_backend *backend, int i)
{
    const dt_param_info *info = &params->info[i];
    if (backend->on_host && params->lent && params->lent[i])
        return (float *)(uintptr_t)params->lent[i];
    return dt_params_part_at(params, backend, info->trainable ? DT_VALUES : DT_BUFFERS) + info->offset;
}

float *dt_params_gradient_at(dt_params *params, const dt_backend *backend, int i)
{
    const dt_param_info *info = &params->info[i];
    return info->trainable ? dt_params_part_at(params, backend, DT_GRADIENTS) + info->offset : NULL;
}

uint16_t *dt_params_narrowed(dt_params *params)
{
    return params->narrowed;
}

uint16_t *dt_params_narrowed_at(dt_params *params, int i)
{
    return params->info[i].trainable ? params->narrowed + params->info[i].offset : NULL;
}

static void send(dt_params *params, int which)
{
    dt_side *side = &params->side[which];
    dt_side_send(side, params->device);
    for (int i = 0; i < params->count && params->lent && which != DT_SIDE_GRADIENTS; i++) {
        const dt_param_info *info = &params->info[i];
        if (params->lent[i] && side_of(params, i) == side)
            params->device->write(side->device + info->offset, params->lent[i], sizeof(float) * info->count);
    }
    params->narrowed_stale |= which == DT_SIDE_VALUES;
}

void dt_params_bring(dt_params *params, const dt_backend *backend, unsigned parts)
{
    for (int i = 0; i < DT_SIDES; i++) {
        dt_side *side = &params->side[i];
        if (!(parts >> i & 1) || !side->device)
            continue;
        if (backend->on_host)
            dt_side_fetch(side, params->device);
        else if (side->newer == DT_HOST_NEWER)
            send(params, i);
    }
    if (!backend->on_host && parts & DT_NARROWED && params->narrowed_stale) {
        backend->narrow(params->narrowed, params->side[DT_SIDE_VALUES].device, params->size);
        params->narrowed_stale = false;
    }
}

void dt_params_wrote(dt_params *params, const dt_backend *backend, unsigned parts)
{
    for (int i = 0; i < DT_SIDES; i++)
        if (parts >> i & 1 && params->side[i].device)
            params->side[i].newer = backend->on_host ? DT_HOST_NEWER : DT_DEVICE_NEWER;
    if (parts & DT_VALUES)
        params->narrowed_stale = !(parts & DT_NARROWED);
}

void dt_params_limit(dt_params *params, const dt_backend *backend, int i, float low, float high)
{
    const dt_param_info *info = &params->info[i];
    unsigned part = info->trainable ? DT_VALUES : DT_BUFFERS;
    dt_params_bring(params, backend, part);
    bool narrowed = info->trainable && params->narrowed && !params->narrowed_stale && !backend->on_host;
    backend->limit(dt_params_value_at(params, backend, i), info->count, low, high);
    if (narrowed)
        backend->narrow(dt_params_narrowed_at(params, i), dt_params_value_at(params, backend, i), info->count);
    dt_params_wrote(params, backend, part | (narrowed ? DT_NARROWED : 0));
}

void dt_params_blend(dt_params *params, int i, dt_params *from, int j, const dt_backend *backend, float keep)
{
    unsigned part = params->info[i].trainable ? DT_VALUES : DT_BUFFERS;
    dt_params_settle(params, backend, part);
    dt_params_bring(params, backend, part);
    dt_params_bring(from, backend, from->info[j].trainable ? DT_VALUES : DT_BUFFERS);
    backend->blend(dt_params_value_at(params, backend, i), dt_params_value_at(from, backend, j), params->info[i].count, keep);
    dt_params_wrote(params, backend, part);
}
