#include "eval/chart.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "eval/html.h"

enum {
    WIDTH = 1000,
    HEIGHT = 300, /* of the viewBox, which is stretched to the page */
    FEW = 40,     /* up to so many points are marked one by one */
    TICKS_MOST = 12,
};

/* How values become places. */
typedef struct frame {
    const dt_chart *chart;
    const dt_point *points;
    size_t count;
    double x1, y0, y1; /* x0 is 0; y0 and y1 are logarithms where `log` */
    bool log, banded;
    double x_ticks[TICKS_MOST], y_ticks[TICKS_MOST]; /* values */
    int x_tick_count, y_tick_count;
    double x_step, y_step;
} frame;

static double x_of(const frame *f, const dt_point *p)
{
    return (p->first + p->last) / 2 / f->x1;
}

/* 0 at the bottom, 1 at the top. */
static double y_of(const frame *f, double value)
{
    return ((f->log ? log10(value) : value) - f->y0) / (f->y1 - f->y0);
}

/* 1, 2 or 5 times a power of ten: the step that divides `range` into at most `parts`. */
static double nice_step(double range, double parts)
{
    double power = pow(10, floor(log10(range / parts)));
    for (int i = 0; i < 3; i++) {
        double step = power * (double[]){1, 2, 5}[i];
        if (range / step <= parts)
            return step;
    }
    return 10 * power;
}

static int place_ticks(double from, double to, double step, double ticks[TICKS_MOST])
{
    int count = 0;
    double first = ceil(from / step - 1e-9);
    for (int i = 0; i < TICKS_MOST && (first + i) * step <= to + 1e-9 * (to - from); i++)
        ticks[count++] = (first + i) * step;
    return count;
}

/* Whole decades, or 1, 2 and 5 in each where they are few. */
static void place_log_ticks(frame *f)
{
    int from = (int)floor(f->y0), to = (int)ceil(f->y1), every = (to - from + 5) / 6;
    bool fine = f->y1 - f->y0 < 2.5;
    for (int decade = from; decade <= to; decade += every)
        for (int i = 0; i < (fine ? 3 : 1); i++) {
            double value = pow(10, decade) * (double[]){1, 2, 5}[i];
            if (log10(value) >= f->y0 && log10(value) <= f->y1 && f->y_tick_count < TICKS_MOST)
                f->y_ticks[f->y_tick_count++] = value;
        }
}

static void find_range(const frame *f, double *least, double *most)
{
    *least = INFINITY, *most = -INFINITY;
    for (size_t i = 0; i < f->count; i++) {
        *least = fmin(*least, f->points[i].least);
        *most = fmax(*most, f->points[i].most);
    }
}

static void set_frame(frame *f)
{
    double least, most;
    find_range(f, &least, &most);
    f->log = f->chart->wide_range && least > 0 && most / least > 100;
    if (f->log) {
        double room = 0.04 * log10(most / least);
        f->y0 = log10(least) - room;
        f->y1 = log10(most) + room;
        place_log_ticks(f);
    } else {
        if (f->chart->from_zero || (least > 0 && least < 0.4 * most))
            least = fmin(least, 0);
        double range = most - least > 0 ? most - least : fmax(fabs(most), 1e-6);
        f->y0 = least < 0 || least > 0 ? least - 0.05 * range : 0;
        f->y1 = most + 0.06 * range;
        f->y_step = nice_step(f->y1 - f->y0, 5.5);
        f->y_tick_count = place_ticks(f->y0, f->y1, f->y_step, f->y_ticks);
    }
    f->x1 = fmax(f->chart->last_step, 1);
    f->x_step = fmax(nice_step(f->x1, 5), 1);
    f->x_tick_count = place_ticks(0, f->x1, f->x_step, f->x_ticks);
    for (size_t i = 0; i < f->count; i++)
        f->banded |= f->points[i].count > 1;
}

/* ---- curves ---- */

static void write_line(dt_writer *w, const frame *f, const double *values, const char *class)
{
    dt_writer_printf(w, "<path class=\"%s\" d=\"", class);
    bool pen = false;
    for (size_t i = 0; i < f->count; i++) {
        if (isfinite(values[i]))
            dt_writer_printf(w, "%c%.1f %.1f", pen ? 'L' : 'M', WIDTH * x_of(f, &f->points[i]),
                             HEIGHT * (1 - y_of(f, values[i])));
        pen = isfinite(values[i]);
    }
    dt_writer_printf(w, "\"/>");
}

/* A line of no length with round ends is a dot that is not stretched with the picture. */
static void write_dots(dt_writer *w, const frame *f)
{
    dt_writer_printf(w, "<path class=\"dots\" d=\"");
    for (size_t i = 0; i < f->count; i++)
        if (f->points[i].finite)
            dt_writer_printf(w, "M%.1f %.1fh0", WIDTH * x_of(f, &f->points[i]),
                             HEIGHT * (1 - y_of(f, f->points[i].mean)));
    dt_writer_printf(w, "\"/>");
}

static void write_band(dt_writer *w, const frame *f)
{
    dt_writer_printf(w, "<path class=\"band\" d=\"");
    for (size_t i = 0, end; i < f->count; i = end + 1) {
        for (end = i; end < f->count && f->points[end].finite; end++)
            dt_writer_printf(w, "%c%.1f %.1f", end == i ? 'M' : 'L', WIDTH * x_of(f, &f->points[end]),
                             HEIGHT * (1 - y_of(f, f->points[end].most)));
        for (size_t j = end; j-- > i;)
            dt_writer_printf(w, "L%.1f %.1f", WIDTH * x_of(f, &f->points[j]),
                             HEIGHT * (1 - y_of(f, f->points[j].least)));
        if (end > i)
            dt_writer_printf(w, "Z");
    }
    dt_writer_printf(w, "\"/>");
}

/* The length of the curve in heights of its range: a monotone one has 1. */
static bool is_noisy(const frame *f)
{
    double length = 0, least = INFINITY, most = -INFINITY, before = NAN;
    for (size_t i = 0; i < f->count; i++) {
        double value = f->points[i].mean;
        if (!isfinite(value))
            continue;
        length += isfinite(before) ? fabs(value - before) : 0;
        least = fmin(least, value), most = fmax(most, value);
        before = value;
    }
    return f->count > 2 * FEW && length > 5 * (most - least);
}

/* The mean of the points from i - reach to i + reach. At the ends the window shrinks, so that it stays
 * centred and does not flatten a steep start, down to a third, so that the curve does not end in noise. On a
 * logarithmic axis it is the geometric mean, which is the middle of what the eye sees. */
static void smooth(const frame *f, size_t reach, double *values)
{
    for (size_t i = 0; i < f->count; i++) {
        size_t after = f->count - 1 - i, least = reach / 3;
        size_t r = i < reach ? i : reach;
        r = after < r ? after : r;
        r = r < least ? least : r;
        size_t from = i < r ? 0 : i - r, to = after < r ? f->count - 1 : i + r;
        double sum = 0, weight = 0;
        for (size_t j = from; j <= to; j++)
            if (f->points[j].finite) {
                double value = f->points[j].mean;
                sum += (f->log ? log(value) : value) * (double)f->points[j].finite;
                weight += (double)f->points[j].finite;
            }
        double mean = weight > 0 ? sum / weight : NAN;
        values[i] = !f->points[i].finite ? NAN : f->log ? exp(mean) : mean;
    }
}

static void write_curves(dt_writer *w, const frame *f)
{
    double values[DT_SERIES_POINTS];
    for (size_t i = 0; i < f->count; i++)
        values[i] = f->points[i].mean;
    if (f->banded)
        write_band(w, f);
    bool noisy = is_noisy(f);
    write_line(w, f, values, noisy ? "faint" : "line");
    if (noisy) {
        smooth(f, 1 + f->count / 50, values);
        write_line(w, f, values, "line");
    }
    if (f->count <= FEW)
        write_dots(w, f);
}

/* ---- text ---- */

static const char *value_text(const frame *f, double value, char room[DT_NUMBER_ROOM])
{
    return f->chart->unit == DT_UNIT_SHARE ? dt_html_percent(value, room) : dt_html_number(value, room);
}

static const char *tick_text(double value, double step, dt_chart_unit unit, char room[DT_NUMBER_ROOM])
{
    double scale = unit == DT_UNIT_SHARE ? 100 : 1;
    value *= scale, step *= scale;
    int digits = step > 0 ? (int)fmax(0, -floor(log10(step) + 1e-9)) : 0;
    if (fabs(value) < 1e-9 * step)
        snprintf(room, DT_NUMBER_ROOM, "0");
    else if (step > 0 && digits <= 4 && fabs(value) < 1000)
        snprintf(room, DT_NUMBER_ROOM, "%.*f", digits, value);
    else if (step >= 1 && fabs(value) < 1e6)
        dt_html_count((int64_t)llround(value), room);
    else
        snprintf(room, DT_NUMBER_ROOM, "%.4g", value);
    if (unit == DT_UNIT_SHARE)
        strcat(room, "\u202F%");
    return room;
}

static void write_axes(dt_writer *w, const frame *f)
{
    char room[DT_NUMBER_ROOM];
    for (int i = 0; i < f->y_tick_count; i++)
        dt_writer_printf(w, "<span class=\"y\" style=\"bottom:%.2f%%\">%s</span>",
                         100 * y_of(f, f->y_ticks[i]),
                         tick_text(f->y_ticks[i], f->y_step, f->chart->unit, room));
    for (int i = 0; i < f->x_tick_count; i++) {
        double place = f->x_ticks[i] / f->x1;
        dt_writer_printf(w, "<span class=\"x%s\" style=\"left:%.2f%%\">%s</span>",
                         place > 0.95   ? " last"
                         : place < 0.05 ? " first"
                                        : "",
                         100 * place, tick_text(f->x_ticks[i], f->x_step, DT_UNIT_NUMBER, room));
    }
}

static void write_grid(dt_writer *w, const frame *f)
{
    dt_writer_printf(w, "<path class=\"grid\" d=\"");
    for (int i = 0; i < f->y_tick_count; i++)
        dt_writer_printf(w, "M0 %.1fH%d", HEIGHT * (1 - y_of(f, f->y_ticks[i])), WIDTH);
    dt_writer_printf(w, "\"/>");
}

/* "Loss over steps 1 to 740: first 4.85, last 0.51, least 0.49, greatest 4.87": what a listener gets for the
 * picture. */
static void write_label(dt_writer *w, const frame *f)
{
    const dt_series *s = f->chart->series;
    char first[DT_NUMBER_ROOM], last[DT_NUMBER_ROOM], low[DT_NUMBER_ROOM], high[DT_NUMBER_ROOM];
    double least, most;
    find_range(f, &least, &most);
    dt_writer_printf(w, " aria-label=\"");
    dt_html_text(w, f->chart->title);
    dt_writer_printf(w, " over steps %.0f to %.0f: first %s, last %s, least %s, greatest %s\"",
                     f->points[0].first, f->points[f->count - 1].last, value_text(f, s->first, first),
                     value_text(f, s->last, last), value_text(f, least, low), value_text(f, most, high));
}

static void put_json_number(dt_writer *w, const char *before, double value)
{
    if (isfinite(value))
        dt_writer_printf(w, "%s%.6g", before, value);
    else
        dt_writer_printf(w, "%snull", before);
}

/* For the script: [step, value] for a value, [first, last, mean, least, most] for several. */
static void write_points(dt_writer *w, const frame *f)
{
    dt_writer_printf(w, " data-scale=\"[%.9g,%.9g,%.9g,%d,%d]\" data-points=\"[", f->x1, f->y0, f->y1, f->log,
                     f->chart->unit == DT_UNIT_SHARE);
    for (size_t i = 0; i < f->count; i++) {
        const dt_point *p = &f->points[i];
        dt_writer_printf(w, "%s[%.15g", i ? "," : "", p->first);
        if (p->count > 1)
            dt_writer_printf(w, ",%.15g", p->last);
        put_json_number(w, ",", p->mean);
        if (p->count > 1) {
            put_json_number(w, ",", p->least);
            put_json_number(w, ",", p->most);
        }
        dt_writer_printf(w, "]");
    }
    dt_writer_printf(w, "]\"");
}

static void write_caption(dt_writer *w, const frame *f)
{
    const dt_series *s = f->chart->series;
    char room[DT_NUMBER_ROOM];
    dt_writer_printf(w, "<figcaption><span class=\"title\">");
    dt_html_text_cut(w, f->chart->title, 80);
    dt_writer_printf(w, "%s</span> <output>%s</output>", f->log ? " <small>log scale</small>" : "",
                     value_text(f, s->last, room));
    if (s->finite < s->count)
        dt_writer_printf(w, "<strong class=\"warning\">Not finite %s %s.</strong>",
                         dt_html_count((int64_t)(s->count - s->finite), room),
                         s->count - s->finite == 1 ? "time" : "times");
    dt_writer_printf(w, "</figcaption>");
}

void dt_chart_write(dt_writer *writer, const dt_chart *chart)
{
    const dt_series *s = chart->series;
    if (!s->finite)
        return;
    frame f = {.chart = chart, .points = s->points, .count = s->point_count};
    set_frame(&f);
    dt_writer_printf(writer, "<figure class=\"chart\">");
    write_caption(writer, &f);
    dt_writer_printf(writer, "<div class=\"plot\" role=\"img\"");
    write_label(writer, &f);
    write_points(writer, &f);
    dt_writer_printf(writer, "><svg viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
                     WIDTH, HEIGHT);
    write_grid(writer, &f);
    write_curves(writer, &f);
    dt_writer_printf(writer, "</svg>");
    write_axes(writer, &f);
    dt_writer_printf(writer, "</div></figure>\n");
}
