#include "eval/report/plot_reliability.h"

#include <math.h>

#include "eval/report/html.h"
#include "eval/report/plot_axis.h"

enum { SIDE = 1000, TITLE_MOST = 120 };

/* Wilson's score interval of a share `p` of `n`. */
static void interval(double p, double n, double *low, double *high)
{
    const double z = 1.96;
    double middle = (p + z * z / (2 * n)) / (1 + z * z / n);
    double reach = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    *low = fmax(0, middle - reach);
    *high = fmin(1, middle + reach);
}

static void write_bars(dt_writer *w, const dt_reliability *r)
{
    dt_writer_printf(w, "<path class=\"bars\" d=\"");
    for (size_t i = 0; i < r->bin_count; i++) {
        const dt_bin *b = &r->bins[i];
        if (b->count)
            dt_writer_printf(w, "M%.1f %dV%.1fH%.1fV%dZ", SIDE * b->low, SIDE, SIDE * (1 - b->accuracy),
                             SIDE * b->high, SIDE);
    }
    dt_writer_printf(w, "\"/><path class=\"diagonal\" d=\"M0 %dL%d 0\"/><path class=\"error\" d=\"", SIDE,
                     SIDE);
    for (size_t i = 0; i < r->bin_count; i++) {
        const dt_bin *b = &r->bins[i];
        double low, high;
        if (!b->count)
            continue;
        interval(b->accuracy, (double)b->count, &low, &high);
        dt_writer_printf(w, "M%.1f %.1fV%.1f", SIDE * b->confidence, SIDE * (1 - low), SIDE * (1 - high));
    }
    dt_writer_printf(w, "\"/><path class=\"dots\" d=\"");
    for (size_t i = 0; i < r->bin_count; i++)
        if (r->bins[i].count)
            dt_writer_printf(w, "M%.1f %.1fh0", SIDE * r->bins[i].confidence,
                             SIDE * (1 - r->bins[i].accuracy));
    dt_writer_printf(w, "\"/>");
}

/* What the script shows for a bin: [low, high, text]. The texts have no quotes of their own. */
static void write_data(dt_writer *w, const dt_reliability *r)
{
    char range[DT_RANGE_ROOM], right[DT_NUMBER_ROOM], sure[DT_NUMBER_ROOM], count[DT_NUMBER_ROOM];
    dt_writer_printf(w, " data-bins='[");
    for (size_t i = 0; i < r->bin_count; i++) {
        const dt_bin *b = &r->bins[i];
        dt_writer_printf(w, "%s[%.6g,%.6g,\"%s: ", i ? "," : "", b->low, b->high,
                         dt_html_percent_range(b->low, b->high, range));
        if (b->count)
            dt_writer_printf(w, "%s right, %s sure, n = %s\"]", dt_html_percent(b->accuracy, right),
                             dt_html_percent(b->confidence, sure), dt_html_count(b->count, count));
        else
            dt_writer_printf(w, "none\"]");
    }
    dt_writer_printf(w, "]'");
}

static void write_label(dt_writer *w, const dt_reliability *r)
{
    char sure[DT_NUMBER_ROOM], right[DT_NUMBER_ROOM];
    dt_writer_printf(w, " role=\"img\" aria-label=\"share that is right by confidence");
    for (size_t i = 0; i < r->bin_count; i++)
        if (r->bins[i].count)
            dt_writer_printf(w, "; %s sure: %s right", dt_html_percent(r->bins[i].confidence, sure),
                             dt_html_percent(r->bins[i].accuracy, right));
    dt_writer_printf(w, "\"");
}

static void write_histogram(dt_writer *w, const dt_reliability *r)
{
    double most = 1;
    for (size_t i = 0; i < r->bin_count; i++)
        most = fmax(most, (double)r->bins[i].count);
    char room[DT_NUMBER_ROOM];
    dt_plot_axis x = dt_plot_axis_linear(0, 1, 5, 0), y = {.to = 1};
    dt_writer_printf(w,
                     "<p class=\"y-title\">number of predictions, up to %s</p>"
                     "<div class=\"plot histogram\"><svg viewBox=\"0 0 %d 100\" "
                     "preserveAspectRatio=\"none\" aria-hidden=\"true\"><path class=\"bars\" d=\"",
                     dt_html_count((int64_t)most, room), SIDE);
    for (size_t i = 0; i < r->bin_count; i++)
        if (r->bins[i].count)
            dt_writer_printf(w, "M%.1f 100V%.1fH%.1fV100Z", SIDE * r->bins[i].low,
                             100 - 100 * (double)r->bins[i].count / most, SIDE * r->bins[i].high);
    dt_writer_printf(w, "\"/></svg>");
    dt_plot_axis_write_labels(w, &x, DT_UNIT_SHARE, &y, DT_UNIT_NUMBER);
    dt_writer_printf(w, "</div><p class=\"x-title\">confidence</p>");
}

void dt_reliability_write(dt_writer *writer, const dt_reliability *reliability)
{
    char room[DT_NUMBER_ROOM];
    dt_plot_axis y = dt_plot_axis_linear(0, 1, 5, 0), x = {.to = 1};
    dt_writer_printf(writer,
                     "<figure class=\"chart calibration\"><figcaption><span class=\"title\" dir=\"auto\">");
    dt_html_text_cut(writer, reliability->name, TITLE_MOST);
    dt_writer_printf(writer, "</span> <small>");
    if (!isnan(reliability->ece))
        dt_writer_printf(writer, "ECE %s", dt_html_percent(reliability->ece, room));
    if (reliability->n >= 0)
        dt_writer_printf(writer, "%sn = %s", isnan(reliability->ece) ? "" : " · ",
                         dt_html_count(reliability->n, room));
    dt_writer_printf(writer,
                     "</small> <output></output></figcaption><p class=\"y-title\">share that is right</p>"
                     "<div class=\"plot square\"");
    write_label(writer, reliability);
    write_data(writer, reliability);
    dt_writer_printf(writer, "><svg viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
                     SIDE, SIDE);
    dt_plot_axis_write_grid(writer, &y, SIDE, SIDE);
    write_bars(writer, reliability);
    dt_writer_printf(writer, "</svg>");
    dt_plot_axis_write_labels(writer, &x, DT_UNIT_SHARE, &y, DT_UNIT_SHARE);
    dt_writer_printf(writer, "</div>");
    write_histogram(writer, reliability);
    dt_writer_printf(writer, "</figure>\n");
}
