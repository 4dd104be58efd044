#define _GNU_SOURCE /* strcasestr */
#include "eval/report/figures.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAME_MOST = 200, NOTE_MOST = 400 };

static bool is_share(const dt_figure *f, double value)
{
    return !f->rank && value >= 0 && value <= 1; /* false for a NaN */
}

const char *dt_figure_text(const dt_figure *figure, double value, char room[DT_NUMBER_ROOM])
{
    if (isnan(value))
        return "–";
    /* the ends of an interval are in the unit of their value */
    return is_share(figure, figure->value) && is_share(figure, value) ? dt_html_percent(value, room)
                                                                      : dt_html_number(value, room);
}

const char *dt_figure_interval(const dt_figure *figure, char room[DT_INTERVAL_ROOM])
{
    if (isnan(figure->low))
        return "";
    bool shares = is_share(figure, figure->value) && is_share(figure, figure->low) && is_share(figure, figure->high);
    return shares ? dt_html_percent_range(figure->low, figure->high, room)
                  : dt_html_number_range(figure->low, figure->high, room);
}

bool dt_figure_lower_better(const dt_figure *figure)
{
    static const char *const words[] = {"loss",  "rank",       "calibration error",
                                        "brier", "perplexity", "likelihood"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcasestr(figure->name, words[i]))
            return true;
    return figure->rank || !strcmp(figure->key, "ece") || !strcmp(figure->key, "nll");
}

static void write_note(dt_writer *w, const dt_figure *f, const char *element, const char *attributes)
{
    if (!*f->note)
        return;
    dt_writer_printf(w, "<%s%s dir=\"auto\">", element, attributes);
    dt_html_text_cut(w, f->note, NOTE_MOST);
    dt_writer_printf(w, "</%s>", element);
}

static void write_headline(dt_writer *w, const dt_figure *f)
{
    char room[DT_NUMBER_ROOM], interval[DT_INTERVAL_ROOM];
    dt_writer_printf(w,
                     "<div class=\"headline\"><p class=\"value\">%s</p><div><p class=\"what\" dir=\"auto\">",
                     dt_figure_text(f, f->value, room));
    dt_html_text_cut(w, f->name, NAME_MOST);
    dt_writer_printf(w, "</p><p class=\"against\">chance %s", dt_figure_text(f, f->chance, room));
    if (f->n >= 0)
        dt_writer_printf(w, " <span class=\"dot\">·</span> n = %s", dt_html_count(f->n, room));
    if (!isnan(f->low))
        dt_writer_printf(
            w, " <span class=\"dot\">·</span> <span class=\"interval\">95\u202F%% interval %s</span>",
            dt_figure_interval(f, interval));
    dt_writer_printf(w, "</p>");
    write_note(w, f, "p", " class=\"note\"");
    dt_writer_printf(w, "</div></div>\n");
}

static void write_bar(dt_writer *w, const dt_figure *f)
{
    dt_writer_printf(w, "<td class=\"bar\" aria-hidden=\"true\">");
    if (is_share(f, f->value)) {
        dt_writer_printf(w, "<div><b style=\"width:%.2f%%\"></b>", 100 * f->value);
        if (is_share(f, f->low) && is_share(f, f->high))
            dt_writer_printf(w, "<u style=\"left:%.2f%%;width:%.2f%%\"></u>", 100 * f->low,
                             100 * (f->high - f->low));
        if (is_share(f, f->chance))
            dt_writer_printf(w, "<i style=\"left:%.2f%%\"></i>", 100 * f->chance);
        dt_writer_printf(w, "</div>");
    }
    dt_writer_printf(w, "</td>");
}

static void write_row(dt_writer *w, const dt_figure *f)
{
    char room[DT_NUMBER_ROOM], interval[DT_INTERVAL_ROOM];
    dt_writer_printf(w, "<tr><th scope=\"row\"%s dir=\"auto\">",
                     dt_html_long_word(f->name) || dt_html_long_word(f->note) ? " class=\"long\"" : "");
    dt_html_text_cut(w, f->name, NAME_MOST);
    write_note(w, f, "small", "");
    dt_writer_printf(w, "</th>");
    write_bar(w, f);
    dt_writer_printf(w, "<td class=\"result\">%s", dt_figure_text(f, f->value, room));
    if (!isnan(f->low))
        dt_writer_printf(w, "<small class=\"interval\">%s</small>", dt_figure_interval(f, interval));
    dt_writer_printf(w, "</td><td>%s</td>", dt_figure_text(f, f->chance, room));
    dt_writer_printf(w, "<td>%s</td></tr>\n", f->n >= 0 ? dt_html_count(f->n, room) : "–");
}

void dt_figures_write(dt_writer *writer, const dt_figure *figures, size_t count)
{
    bool intervals = false;
    for (size_t i = 1; i < count; i++)
        intervals |= !isnan(figures[i].low);
    if (count)
        write_headline(writer, &figures[0]);
    if (count < 2)
        return;
    dt_writer_printf(writer,
                     "<table class=\"figures\"><thead><tr><th scope=\"col\">Measure</th>"
                     "<td class=\"bar\" aria-hidden=\"true\">stroke: chance%s</td>"
                     "<th scope=\"col\">Result%s</th><th scope=\"col\">Chance</th><th scope=\"col\">n</th>"
                     "</tr></thead><tbody>\n",
                     intervals ? ", bracket: interval" : "",
                     intervals ? "<small>95\u202F% interval</small>" : "");
    for (size_t i = 1; i < count; i++)
        write_row(writer, &figures[i]);
    dt_writer_printf(writer, "</tbody></table>\n");
}
