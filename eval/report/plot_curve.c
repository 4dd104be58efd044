#define _GNU_SOURCE /* strcasestr */
#include "eval/report/plot_curve.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    WIDTH = 1000,
    HEIGHT = 400, /* of the viewBox, which is stretched to the page */
    FEW = 60,     /* up to so many points of a line are marked one by one */
    COLOURS = 10, /* of the style; further lines are dashed */
    TITLE_MOST = 120,
};

typedef struct frame {
    const dt_curve *curve;
    const dt_curve_look *look;
    dt_plot_axis x, y;
} frame;

dt_curve_look dt_curve_look_of(const dt_curve *curve)
{
    static const char *const no_shares[] = {"loss", "entropy", "likelihood", "rank"};
    bool share = true;
    for (size_t i = 0; i < sizeof no_shares / sizeof no_shares[0]; i++)
        share = share && !strcasestr(curve->y, no_shares[i]);
    for (size_t i = 0; i < curve->line_count; i++)
        for (size_t j = 0; j < curve->lines[i].dot_count; j++)
            share = share && curve->lines[i].dots[j].y >= 0 && curve->lines[i].dots[j].y <= 1;
    return (dt_curve_look){.unit = share ? DT_UNIT_SHARE : DT_UNIT_NUMBER};
}

/* ---- axes ---- */

typedef struct range {
    double least, most;
} range;

static void widen(range *r, double value)
{
    r->least = fmin(r->least, value); /* which pass over a NaN */
    r->most = fmax(r->most, value);
}

/* Ticks at the x that were measured, where they are few and leave room for their labels. */
static void tick_at_points(dt_plot_axis *x, const dt_curve *curve)
{
    double ticks[DT_TICKS_MOST];
    int count = 0;
    for (size_t i = 0; i < curve->line_count; i++)
        for (size_t j = 0; j < curve->lines[i].dot_count; j++) {
            double value = curve->lines[i].dots[j].x;
            int at = 0;
            while (at < count && ticks[at] < value)
                at++;
            if (at < count && ticks[at] == value)
                continue;
            if (count == DT_TICKS_MOST - 1)
                return;
            memmove(ticks + at + 1, ticks + at, (size_t)(count - at) * sizeof *ticks);
            ticks[at] = value;
            count++;
        }
    for (int i = 1; i < count; i++)
        if (dt_plot_axis_place(x, ticks[i]) - dt_plot_axis_place(x, ticks[i - 1]) < 0.085)
            return;
    memcpy(x->ticks, ticks, sizeof ticks);
    x->tick_count = count;
    x->step = 0;
}

static bool set_frame(frame *f)
{
    range x = {INFINITY, -INFINITY}, y = x;
    for (size_t i = 0; i < f->curve->line_count; i++)
        for (size_t j = 0; j < f->curve->lines[i].dot_count; j++) {
            const dt_dot *d = &f->curve->lines[i].dots[j];
            widen(&x, d->x), widen(&y, d->y);
            widen(&y, d->low), widen(&y, d->high);
        }
    if (x.least > x.most || y.least > y.most)
        return false;
    bool log = f->look->wide_y && y.least > 0 && y.most / y.least > 100;
    f->y = log ? dt_plot_axis_log(y.least, y.most, 0.04)
               : dt_plot_axis_fit(y.least, y.most, f->look->from_zero, f->look->unit);
    if (f->look->x_from_zero) {
        f->x = dt_plot_axis_linear(0, fmax(x.most, 1), 5, 1);
        return true;
    }
    double room = x.most > x.least ? 0.03 * (x.most - x.least) : fmax(fabs(x.most), 1e-6);
    f->x = f->curve->wide ? dt_plot_axis_log(x.least, x.most, 0.03)
                          : dt_plot_axis_linear(x.least - room, x.most + room, 5, 0);
    tick_at_points(&f->x, f->curve);
    return true;
}

static double x_of(const frame *f, double value)
{
    return WIDTH * dt_plot_axis_place(&f->x, value);
}

static double y_of(const frame *f, double value)
{
    return HEIGHT * (1 - dt_plot_axis_place(&f->y, value));
}

/* ---- lines ---- */

static void write_line(dt_writer *w, const frame *f, const dt_line *line)
{
    bool pen = false;
    dt_writer_printf(w, "<path class=\"line\" d=\"");
    for (size_t i = 0; i < line->dot_count; i++) {
        const dt_dot *d = &line->dots[i];
        if (isfinite(d->y))
            dt_writer_printf(w, "%c%.1f %.1f", pen ? 'L' : 'M', x_of(f, d->x), y_of(f, d->y));
        pen = isfinite(d->y);
    }
    dt_writer_printf(w, "\"/>");
}

/* A line of no length with round ends is a dot that is not stretched with the picture. */
static void write_dots(dt_writer *w, const frame *f, const dt_line *line)
{
    dt_writer_printf(w, "<path class=\"error\" d=\"");
    for (size_t i = 0; i < line->dot_count; i++)
        if (isfinite(line->dots[i].low))
            dt_writer_printf(w, "M%.1f %.1fV%.1f", x_of(f, line->dots[i].x), y_of(f, line->dots[i].low),
                             y_of(f, line->dots[i].high));
    dt_writer_printf(w, "\"/><path class=\"dots\" d=\"");
    for (size_t i = 0; i < line->dot_count; i++)
        if (isfinite(line->dots[i].y))
            dt_writer_printf(w, "M%.1f %.1fh0", x_of(f, line->dots[i].x), y_of(f, line->dots[i].y));
    dt_writer_printf(w, "\"/>");
}

static void write_colour(dt_writer *w, size_t line)
{
    dt_writer_printf(w, " class=\"c%zu%s\"", line % COLOURS, line >= COLOURS ? " dashed" : "");
}

static void write_lines(dt_writer *w, const frame *f)
{
    for (size_t i = 0; i < f->curve->line_count; i++) {
        const dt_line *line = &f->curve->lines[i];
        dt_writer_printf(w, "<g");
        write_colour(w, i);
        dt_writer_printf(w, ">");
        write_line(w, f, line);
        if (line->dot_count <= FEW)
            write_dots(w, f, line);
        dt_writer_printf(w, "</g>");
    }
}

/* ---- text ---- */

static void write_legend(dt_writer *w, const frame *f)
{
    char room[DT_NUMBER_ROOM];
    dt_writer_printf(w, "<ul class=\"legend\">");
    for (size_t i = 0; i < f->curve->line_count; i++) {
        const dt_line *line = &f->curve->lines[i];
        if (!line->dot_count)
            continue;
        dt_writer_printf(w, "<li");
        write_colour(w, i);
        dt_writer_printf(w, "><i class=\"stroke\"></i><span dir=\"auto\">");
        dt_html_text_cut(w, line->name, TITLE_MOST);
        dt_writer_printf(w, "</span>");
        if (line->n >= 0)
            dt_writer_printf(w, " <small>n = %s</small>", dt_html_count(line->n, room));
        dt_writer_printf(w, " <output></output></li>");
    }
    dt_writer_printf(w, "</ul>");
}

/* What the upright strokes are, where there are any. */
static void write_bars_note(dt_writer *w, const dt_curve *curve)
{
    bool bars = false;
    for (size_t i = 0; i < curve->line_count; i++)
        for (size_t k = 0; k < curve->lines[i].dot_count; k++)
            bars |= curve->lines[i].dots[k].high > curve->lines[i].dots[k].low;
    if (!bars)
        return;
    dt_writer_printf(w, "<p class=\"bars\">upright strokes: ");
    dt_html_text_cut(w, *curve->bars ? curve->bars : "95\u202F% intervals", TITLE_MOST);
    dt_writer_printf(w, "</p>");
}

static void put_number(dt_writer *w, const char *before, double value)
{
    if (isfinite(value))
        dt_writer_printf(w, "%s%.7g", before, value);
    else
        dt_writer_printf(w, "%snull", before);
}

/* For the script: the ends of the axes, and [x, y] or [x, y, low, high] of each point of each line. */
static void write_data(dt_writer *w, const frame *f)
{
    dt_writer_printf(w, " data-axes=\"[%.12g,%.12g,%d,%.12g,%.12g,%d,%d]\" data-lines=\"[", f->x.from,
                     f->x.to, f->x.log, f->y.from, f->y.to, f->y.log, f->look->unit == DT_UNIT_SHARE);
    const char *between = "";
    for (size_t i = 0; i < f->curve->line_count; i++) {
        const dt_line *line = &f->curve->lines[i];
        if (!line->dot_count)
            continue;
        dt_writer_printf(w, "%s[", between);
        between = ",";
        for (size_t j = 0; j < line->dot_count; j++) {
            dt_writer_printf(w, "%s[%.12g", j ? "," : "", line->dots[j].x);
            put_number(w, ",", line->dots[j].y);
            if (isfinite(line->dots[j].low)) {
                put_number(w, ",", line->dots[j].low);
                put_number(w, ",", line->dots[j].high);
            }
            dt_writer_printf(w, "]");
        }
        dt_writer_printf(w, "]");
    }
    dt_writer_printf(w, "]\"");
    if (f->look->group)
        dt_writer_printf(w, " data-group=\"%s\"", f->look->group);
}

/* "accuracy over share of the weights. CIFAR-10 test: 0.86 at 0, 0.91 at 1. ...": what a listener gets for
 * the picture. */
static void write_label(dt_writer *w, const frame *f)
{
    char first[DT_NUMBER_ROOM], last[DT_NUMBER_ROOM];
    dt_writer_printf(w, " role=\"img\" aria-label=\"");
    dt_html_text_cut(w, f->curve->y, TITLE_MOST);
    dt_writer_printf(w, " over ");
    dt_html_text_cut(w, f->curve->x, TITLE_MOST);
    for (size_t i = 0; i < f->curve->line_count; i++) {
        const dt_line *line = &f->curve->lines[i];
        if (!line->dot_count)
            continue;
        const dt_dot *end = &line->dots[line->dot_count - 1];
        dt_writer_printf(w, ". ");
        dt_html_text_cut(w, line->name, TITLE_MOST);
        dt_writer_printf(w, ": %s at %.6g, %s at %.6g", dt_unit_text(line->dots[0].y, f->look->unit, first),
                         line->dots[0].x, dt_unit_text(end->y, f->look->unit, last), end->x);
    }
    dt_writer_printf(w, "\"");
}

void dt_curve_write(dt_writer *writer, const dt_curve *curve, const dt_curve_look *look)
{
    frame f = {.curve = curve, .look = look};
    if (!set_frame(&f))
        return;
    dt_writer_printf(writer, "<figure class=\"chart curve\"><figcaption><span class=\"title\" dir=\"auto\">");
    dt_html_text_cut(writer, curve->name, TITLE_MOST);
    dt_writer_printf(writer, "%s</span> <output></output></figcaption>",
                     f.y.log ? " <small>log scale</small>" : "");
    write_legend(writer, &f);
    dt_writer_printf(writer, "<p class=\"y-title\">");
    dt_html_text_cut(writer, curve->y, TITLE_MOST);
    dt_writer_printf(writer, "</p><div class=\"plot lines\"");
    write_label(writer, &f);
    write_data(writer, &f);
    dt_writer_printf(writer, "><svg viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
                     WIDTH, HEIGHT);
    dt_plot_axis_write_grid(writer, &f.y, WIDTH, HEIGHT);
    write_lines(writer, &f);
    dt_writer_printf(writer, "</svg>");
    dt_plot_axis_write_labels(writer, &f.x, DT_UNIT_NUMBER, &f.y, look->unit);
    dt_writer_printf(writer, "</div><p class=\"x-title\">");
    dt_html_text_cut(writer, curve->x, TITLE_MOST);
    dt_writer_printf(writer, "</p>");
    write_bars_note(writer, curve);
    dt_writer_printf(writer, "</figure>\n");
}
