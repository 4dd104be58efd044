#include "experiments/interpolation.h"

#include <stdlib.h>
#include <string.h>

bool dt_snapshot_take(dt_snapshot *s, const dt_model *model, dt_error *error)
{
    size_t size = dt_params_size(model->params), buffers = dt_params_buffer_size(model->params);
    *s = (dt_snapshot){malloc((size + 1) * sizeof(float)), malloc((buffers + 1) * sizeof(float))};
    if (!s->values || !s->buffers)
        return dt_fail(error, "no memory for a copy of the weights");
    memcpy(s->values, dt_params_values(model->params), size * sizeof(float));
    memcpy(s->buffers, dt_params_buffers(model->params), buffers * sizeof(float));
    return true;
}

void dt_snapshot_free(dt_snapshot *s)
{
    free(s->values);
    free(s->buffers);
    *s = (dt_snapshot){0};
}

static void between(float *to, const float *a, const float *b, size_t count, double share)
{
    const float *end = share == 0 ? a : share == 1 ? b : NULL; /* a sum with zero would change the sign of -0 */
    for (size_t i = 0; i < count; i++)
        to[i] = end ? end[i] : (float)((1 - share) * (double)a[i] + share * (double)b[i]);
}

void dt_interpolate(dt_model *model, const dt_snapshot *a, const dt_snapshot *b, double share)
{
    between(dt_params_values(model->params), a->values, b->values, dt_params_size(model->params), share);
    between(dt_params_buffers(model->params), a->buffers, b->buffers, dt_params_buffer_size(model->params), share);
}
