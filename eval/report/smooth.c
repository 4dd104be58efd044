#include "eval/report/smooth.h"

#include <math.h>

enum { MANY = 80 }; /* fewer points than that are shown as they are */

/* The length of the curve in heights of its range: a monotone one has 1. */
bool dt_series_noisy(const dt_series *series)
{
    double length = 0, least = INFINITY, most = -INFINITY, before = NAN;
    for (size_t i = 0; i < series->point_count; i++) {
        double value = series->points[i].mean;
        if (!isfinite(value))
            continue;
        length += isfinite(before) ? fabs(value - before) : 0;
        least = fmin(least, value), most = fmax(most, value);
        before = value;
    }
    return series->point_count > MANY && length > 5 * (most - least);
}

void dt_series_smooth(const dt_series *series, bool log_axis, double values[DT_SERIES_POINTS])
{
    size_t count = series->point_count, reach = 1 + count / 50, least = reach / 3;
    for (size_t i = 0; i < count; i++) {
        size_t after = count - 1 - i, r = i < reach ? i : reach;
        r = after < r ? after : r;
        r = r < least ? least : r;
        size_t from = i < r ? 0 : i - r, to = after < r ? count - 1 : i + r;
        double sum = 0, weight = 0;
        for (size_t j = from; j <= to; j++) {
            const dt_point *p = &series->points[j];
            sum += p->finite ? (log_axis ? log(p->mean) : p->mean) * (double)p->finite : 0;
            weight += (double)p->finite;
        }
        double mean = weight > 0 ? sum / weight : NAN;
        values[i] = !series->points[i].finite ? NAN : log_axis ? exp(mean) : mean;
    }
}
