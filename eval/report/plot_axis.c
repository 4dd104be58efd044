#include "eval/report/plot_axis.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

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

dt_plot_axis dt_plot_axis_linear(double from, double to, double parts, double least_step)
{
    dt_plot_axis s = {.from = from, .to = to, .step = fmax(nice_step(to - from, parts), least_step)};
    double first = ceil(from / s.step - 1e-9);
    while (s.tick_count < DT_TICKS_MOST && (first + s.tick_count) * s.step <= to + 1e-9 * (to - from)) {
        s.ticks[s.tick_count] = (first + s.tick_count) * s.step;
        s.tick_count++;
    }
    return s;
}

dt_plot_axis dt_plot_axis_log(double least, double most, double room)
{
    double range = log10(most / least) > 0 ? log10(most / least) : 1;
    dt_plot_axis s = {.from = log10(least) - room * range, .to = log10(most) + room * range, .log = true};
    int from = (int)floor(s.from), to = (int)ceil(s.to), every = (to - from + 5) / 6;
    bool fine = s.to - s.from < 2.5;
    for (int decade = from; decade <= to; decade += every)
        for (int i = 0; i < (fine ? 3 : 1); i++) {
            double value = pow(10, decade) * (double[]){1, 2, 5}[i];
            if (log10(value) >= s.from && log10(value) <= s.to && s.tick_count < DT_TICKS_MOST)
                s.ticks[s.tick_count++] = value;
        }
    return s;
}

dt_plot_axis dt_plot_axis_fit(double least, double most, bool from_zero, dt_unit unit)
{
    if (unit == DT_UNIT_SHARE && most - least < 0.001) {
        most = fmin(fmax(most, 1), (least + most) / 2 + 0.005);
        least = fmax(fmin(least, 0), most - 0.01);
    }
    if (from_zero || (least > 0 && least < 0.4 * most))
        least = fmin(least, 0);
    double range = most - least > 0 ? most - least : fmax(fabs(most), 1e-6);
    return dt_plot_axis_linear(least < 0 || least > 0 ? least - 0.05 * range : 0, most + 0.06 * range, 5.5, 0);
}

double dt_plot_axis_place(const dt_plot_axis *scale, double value)
{
    return ((scale->log ? log10(value) : value) - scale->from) / (scale->to - scale->from);
}

/* A tick's label, with as many digits as tell it from the next. */
static const char *tick_text(const dt_plot_axis *scale, double tick, dt_unit unit, char room[DT_NUMBER_ROOM])
{
    double factor = unit == DT_UNIT_SHARE ? 100 : 1;
    double value = tick * factor, step = scale->step * factor;
    int digits = step > 0 ? (int)fmax(0, -floor(log10(step) + 1e-9)) : 0;
    if (fabs(value) < 1e-9 * step || (unit == DT_UNIT_SHARE && fabs(value) < 0.01))
        snprintf(room, DT_NUMBER_ROOM, "0");
    else if (step > 0 && digits <= 4 && fabs(value) < 1000)
        snprintf(room, DT_NUMBER_ROOM, "%.*f", digits, value);
    else if ((step >= 1 || value == floor(value)) && fabs(value) < 1e6)
        dt_html_count((int64_t)llround(value), room);
    else
        snprintf(room, DT_NUMBER_ROOM, "%.4g", value);
    if (unit == DT_UNIT_SHARE)
        strcat(room, "\u202F%");
    return room;
}

const char *dt_unit_text(double value, dt_unit unit, char room[DT_NUMBER_ROOM])
{
    return unit == DT_UNIT_SHARE ? dt_html_percent(value, room) : dt_html_number(value, room);
}

void dt_plot_axis_write_labels(dt_writer *writer, const dt_plot_axis *x, dt_unit x_unit, const dt_plot_axis *y,
                           dt_unit y_unit)
{
    char room[DT_NUMBER_ROOM];
    for (int i = 0; i < y->tick_count; i++)
        dt_writer_printf(writer, "<span class=\"y\" style=\"bottom:%.2f%%\">%s</span>",
                         100 * dt_plot_axis_place(y, y->ticks[i]), tick_text(y, y->ticks[i], y_unit, room));
    for (int i = 0; i < x->tick_count; i++) {
        double place = dt_plot_axis_place(x, x->ticks[i]);
        dt_writer_printf(writer, "<span class=\"x%s\" style=\"left:%.2f%%\">%s</span>",
                         place > 0.95   ? " last"
                         : place < 0.05 ? " first"
                                        : "",
                         100 * place, tick_text(x, x->ticks[i], x_unit, room));
    }
}

void dt_plot_axis_write_grid(dt_writer *writer, const dt_plot_axis *y, int width, int height)
{
    dt_writer_printf(writer, "<path class=\"grid\" d=\"");
    for (int i = 0; i < y->tick_count; i++)
        dt_writer_printf(writer, "M0 %.1fH%d", height * (1 - dt_plot_axis_place(y, y->ticks[i])), width);
    dt_writer_printf(writer, "\"/>");
}
