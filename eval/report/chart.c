#include "eval/report/chart.h"

#include <math.h>

#include "eval/report/html.h"
#include "eval/report/smooth.h"

enum {
    WIDTH = 1000,
    HEIGHT = 300, /* of the viewBox, which is stretched to the page */
    FEW = 40,     /* up to so many points are marked one by one */
};

typedef struct frame {
    const dt_chart *chart;
    const dt_point *points;
    size_t count;
    dt_plot_axis x, y;
    bool banded;
} frame;

static double x_of(const frame *f, const dt_point *p)
{
    return dt_plot_axis_place(&f->x, (p->first + p->last) / 2);
}

/* From the top of the viewBox. */
static double y_of(const frame *f, double value)
{
    return HEIGHT * (1 - dt_plot_axis_place(&f->y, value));
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
    bool log = f->chart->wide_range && least > 0 && most / least > 100;
    f->y = log ? dt_plot_axis_log(least, most, 0.04) : dt_plot_axis_fit(least, most, f->chart->from_zero, f->chart->unit);
    f->x = dt_plot_axis_linear(0, fmax(f->chart->last_step, 1), 5, 1);
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
                             y_of(f, values[i]));
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
            dt_writer_printf(w, "M%.1f %.1fh0", WIDTH * x_of(f, &f->points[i]), y_of(f, f->points[i].mean));
    dt_writer_printf(w, "\"/>");
}

static void write_band(dt_writer *w, const frame *f)
{
    dt_writer_printf(w, "<path class=\"band\" d=\"");
    for (size_t i = 0, end; i < f->count; i = end + 1) {
        for (end = i; end < f->count && f->points[end].finite; end++)
            dt_writer_printf(w, "%c%.1f %.1f", end == i ? 'M' : 'L', WIDTH * x_of(f, &f->points[end]),
                             y_of(f, f->points[end].most));
        for (size_t j = end; j-- > i;)
            dt_writer_printf(w, "L%.1f %.1f", WIDTH * x_of(f, &f->points[j]), y_of(f, f->points[j].least));
        if (end > i)
            dt_writer_printf(w, "Z");
    }
    dt_writer_printf(w, "\"/>");
}

static void write_curves(dt_writer *w, const frame *f)
{
    double values[DT_SERIES_POINTS];
    for (size_t i = 0; i < f->count; i++)
        values[i] = f->points[i].mean;
    if (f->banded)
        write_band(w, f);
    bool noisy = dt_series_noisy(f->chart->series);
    write_line(w, f, values, noisy ? "faint" : "line");
    if (noisy) {
        dt_series_smooth(f->chart->series, f->y.log, values);
        write_line(w, f, values, "line");
    }
    if (f->count <= FEW)
        write_dots(w, f);
}

/* ---- text ---- */

static const char *value_text(const frame *f, double value, char room[DT_NUMBER_ROOM])
{
    return dt_unit_text(value, f->chart->unit, room);
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
    dt_writer_printf(w, " data-scale=\"[%.9g,%.9g,%.9g,%d,%d]\" data-points=\"[", f->x.to, f->y.from, f->y.to,
                     f->y.log, f->chart->unit == DT_UNIT_SHARE);
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
    dt_writer_printf(w, "%s</span> <output>%s</output>", f->y.log ? " <small>log scale</small>" : "",
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
    dt_plot_axis_write_grid(writer, &f.y, WIDTH, HEIGHT);
    write_curves(writer, &f);
    dt_writer_printf(writer, "</svg>");
    dt_plot_axis_write_labels(writer, &f.x, DT_UNIT_NUMBER, &f.y, chart->unit);
    dt_writer_printf(writer, "</div></figure>\n");
}
