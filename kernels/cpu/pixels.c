#include "kernels/backend.h"
#include "kernels/ops/pixels.h"

extern const dt_kernel dt_cpu_pixels[];

/* Elements after which the channels begin anew, for any number of them, and which are whole vectors, whatever their width. */
enum { PERIOD = 48 };

static void normalize(const uint8_t *restrict x, const float *restrict scale, const float *restrict bias, int count,
                      float *restrict y)
{
    for (int k = 0; k < count; k++)
        y[k] = (float)x[k] * scale[k] + bias[k];
}

static void run(const dt_call *call)
{
    const dt_pixel_form *form = call->node->attributes;
    const dt_shape *shape = &call->node->output[0].shape;
    const uint8_t *x = call->in[0];
    float *y = call->out[0], scale[PERIOD], bias[PERIOD];
    int64_t channels = shape->dim[3], count = dt_count(shape), whole = count / PERIOD * PERIOD;
    for (int k = 0; k < PERIOD; k++) {
        scale[k] = form->scale[k % channels];
        bias[k] = form->bias[k % channels];
    }
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < whole; i += PERIOD)
        normalize(x + i, scale, bias, PERIOD, y + i);
    normalize(x + whole, scale, bias, (int)(count - whole), y + whole);
}

const dt_kernel dt_cpu_pixels[] = {{&dt_op_normalize_pixels, run, NULL, NULL}, {0}};
