#include "experiments/ring.h"

#include "kernels/random.h"

#include <math.h>

enum { RING = 0x72696e67, MODES_MOST = 1024 };

static void mode_centre(const dt_ring *r, int mode, double *x, double *y)
{
    double angle = 2 * M_PI * mode / r->modes;
    *x = r->radius * cos(angle);
    *y = r->radius * sin(angle);
}

void dt_ring_draw(const dt_ring *r, uint64_t seed, uint64_t step, float *points, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        dt_philox words = dt_random_block(seed, RING, (uint32_t)step, i);
        float a, b;
        double x, y;
        dt_random_normal(words.v[0], words.v[1], &a, &b);
        mode_centre(r, (int)((uint64_t)words.v[2] * (uint64_t)r->modes >> 32), &x, &y);
        points[2 * i] = (float)(x + r->deviation * (double)a);
        points[2 * i + 1] = (float)(y + r->deviation * (double)b);
    }
}

dt_ring_coverage dt_ring_judge(const dt_ring *r, const float *points, size_t count)
{
    size_t near[MODES_MOST] = {0}, close = 0;
    for (size_t i = 0; i < count; i++) {
        double angle = atan2((double)points[2 * i + 1], (double)points[2 * i]), x, y;
        int mode = (int)lround(angle / (2 * M_PI) * r->modes);
        mode = (mode + r->modes) % r->modes;
        mode_centre(r, mode, &x, &y);
        if (hypot((double)points[2 * i] - x, (double)points[2 * i + 1] - y) <= 3 * r->deviation)
            near[mode]++, close++;
    }
    dt_ring_coverage c = {.close = count ? (double)close / (double)count : 0};
    for (int m = 0; m < r->modes; m++)
        c.modes += (double)near[m] >= (double)count / r->modes / 20 && near[m] > 0;
    return c;
}
