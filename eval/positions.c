#include "eval/positions.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int dt_position_grid(int64_t rows, int *before)
{
    for (*before = 0; *before < 2; ++*before) {
        int64_t side = (int64_t)llround(sqrt((double)(rows - *before)));
        if (side > 0 && side < 1 << 15 && side * side == rows - *before)
            return (int)side;
    }
    return 0;
}

/* Keys (1981), a = -0.5. */
static double cubic(double x)
{
    x = fabs(x);
    return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
}

/* What place i of `now` takes from the places of `old`: weights[0 .. count) from place *first on, of sum 1. The filter grows
 * with the reduction. */
static int filter(int old, int now, int i, int *first, double *weights)
{
    double scale = (double)old / now, wide = fmax(scale, 1), centre = scale * (i + 0.5), sum = 0;
    int begin = (int)fmax(centre - 2 * wide + 0.5, 0), end = (int)fmin(centre + 2 * wide + 0.5, old);
    for (int k = begin; k < end; k++)
        sum += weights[k - begin] = cubic((k - centre + 0.5) / wide);
    for (int k = begin; k < end; k++)
        weights[k - begin] /= sum;
    *first = begin;
    return end - begin;
}

/* Lines of `length` floats, [old][length] with `stride` floats from one to the next, to [now][length]. */
static void resize_lines(const float *from, int old, float *to, int now, int64_t length, int64_t stride, double *weights)
{
    for (int i = 0; i < now; i++) {
        int first, count = filter(old, now, i, &first, weights);
        for (int64_t x = 0; x < length; x++) {
            double sum = 0;
            for (int k = 0; k < count; k++)
                sum += weights[k] * (double)from[(first + k) * stride + x];
            to[i * stride + x] = (float)sum;
        }
    }
}

bool dt_resize_positions(const float *from, int old, float *to, int now, int before, int64_t width)
{
    double *weights = malloc(sizeof *weights * (size_t)(old + 1));
    float *half = malloc(sizeof *half * (size_t)old * (size_t)now * (size_t)width);
    bool good = weights && half;
    memcpy(to, from, sizeof *to * (size_t)(before * width));
    from += before * width;
    to += before * width;
    for (int y = 0; good && y < old; y++)
        resize_lines(from + (int64_t)y * old * width, old, half + (int64_t)y * now * width, now, width, width, weights);
    if (good)
        resize_lines(half, old, to, now, now * width, now * width, weights);
    free(weights);
    free(half);
    return good;
}
