#include "eval/report/plot_confusion.h"

#include <math.h>

#include "eval/report/html.h"

enum {
    NAME_MOST = 60,
    NUMBERED = 20, /* up to so many classes have their counts in the cells */
    ROOMY = 12,
    NARROW = 48, /* beyond, cells are as small as a name is high */
};

/* How strong the colour of a share is: a few in a hundred are to be seen. */
static double strength_of(double share)
{
    return pow(share, 0.4);
}

/* Above this strength a cell is so dark (on a dark page: so light) that its number takes the other ink. With
 * the style's --heat the contrast is at least 4.5 on both sides. */
static const double hot = 0.735;

static int64_t row_sum(const dt_confusion *c, size_t row)
{
    int64_t sum = 0;
    for (size_t i = 0; i < c->class_count; i++)
        sum += c->counts[row * c->class_count + i];
    return sum;
}

static void write_name(dt_writer *w, const dt_confusion *c, size_t class)
{
    dt_html_text_cut(w, c->classes[class], NAME_MOST);
}

/* "71 of 1,000 (7.1 %)" */
static void write_share(dt_writer *w, int64_t count, int64_t of)
{
    char part[DT_NUMBER_ROOM], whole[DT_NUMBER_ROOM], share[DT_NUMBER_ROOM];
    dt_writer_printf(w, "%s of %s", dt_html_count(count, part), dt_html_count(of, whole));
    if (of > 0)
        dt_writer_printf(w, " (%s)", dt_html_percent((double)count / (double)of, share));
}

/* ---- the heat map ---- */

/* A row's or column's head, which the style cuts where it is long. */
static void write_head(dt_writer *w, const dt_confusion *c, size_t class, const char *scope)
{
    dt_writer_printf(w, "<th scope=\"%s\"><span dir=\"auto\" title=\"", scope);
    write_name(w, c, class);
    dt_writer_printf(w, "\">");
    write_name(w, c, class);
    dt_writer_printf(w, "</span></th>");
}

static void write_cell(dt_writer *w, const dt_confusion *c, size_t row, size_t column, int64_t sum)
{
    char room[DT_NUMBER_ROOM];
    int64_t count = c->counts[row * c->class_count + column];
    if (!count) {
        dt_writer_printf(w, "<td></td>");
        return;
    }
    double strength = strength_of((double)count / (double)sum);
    dt_writer_printf(w, "<td style=\"--s:%.2f\"%s title=\"", strength,
                     strength > hot ? " class=\"hot\"" : "");
    write_name(w, c, row);
    dt_writer_printf(w, row == column ? " right: " : " taken for ");
    if (row != column) {
        write_name(w, c, column);
        dt_writer_printf(w, ": ");
    }
    write_share(w, count, sum);
    dt_writer_printf(w, "\">%s</td>", dt_html_count(count, room));
}

static void write_table(dt_writer *w, const dt_confusion *c)
{
    dt_writer_printf(w, "<table><thead><tr><td><span>true ↓</span> <span>predicted →</span></td>");
    for (size_t i = 0; i < c->class_count; i++)
        write_head(w, c, i, "col");
    dt_writer_printf(w, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < c->class_count; i++) {
        int64_t sum = row_sum(c, i);
        dt_writer_printf(w, "<tr>");
        write_head(w, c, i, "row");
        for (size_t j = 0; j < c->class_count; j++)
            write_cell(w, c, i, j, sum);
        dt_writer_printf(w, "</tr>\n");
    }
    dt_writer_printf(w, "</tbody></table>");
}

static void write_key(dt_writer *w)
{
    static const double shares[] = {0.01, 0.05, 0.2, 0.5, 1};
    dt_writer_printf(w, "<p class=\"key\">Share of the true class: ");
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++)
        dt_writer_printf(w, "<span><i style=\"--s:%.2f\"></i>%g\u202F%%</span> ", strength_of(shares[i]),
                         100 * shares[i]);
    dt_writer_printf(w, "</p>\n");
}

static void write_heat(dt_writer *w, const dt_confusion *c)
{
    const char *size = c->class_count <= ROOMY      ? "roomy"
                       : c->class_count <= NUMBERED ? "numbered"
                       : c->class_count <= NARROW   ? "small"
                                                    : "smallest";
    dt_writer_printf(
        w, "<div class=\"box heat %s\" tabindex=\"0\" role=\"region\" aria-label=\"confusion matrix of ",
        size);
    dt_html_text_cut(w, c->name, NAME_MOST);
    dt_writer_printf(w, "\">");
    write_table(w, c);
    dt_writer_printf(w, "</div>\n");
    write_key(w);
}

/* ---- the worst ---- */

static void write_mistake(dt_writer *w, const dt_confusion *c, const dt_mistake *m, dt_pictures *pictures)
{
    dt_writer_printf(w, "<li><p><b dir=\"auto\">");
    write_name(w, c, m->truth);
    dt_writer_printf(w, "</b> taken for <b dir=\"auto\">");
    write_name(w, c, m->predicted);
    dt_writer_printf(w, "</b></p><p class=\"of\">");
    write_share(w, m->count, m->of);
    dt_writer_printf(w, "</p>");
    if (m->example_count && *c->store) {
        dt_writer_printf(w, "<div>");
        bool found = true; /* what is missing is said once */
        for (size_t i = 0; found && i < m->example_count; i++)
            found = dt_picture_write(pictures, w, c->store, m->examples[i], c->classes[m->truth]);
        dt_writer_printf(w, "</div>");
    }
    dt_writer_printf(w, "</li>\n");
}

static void write_worst(dt_writer *w, const dt_confusion *c, dt_pictures *pictures)
{
    dt_writer_printf(w, "<h3>Most often confused</h3><ol class=\"worst\">\n");
    for (size_t i = 0; i < c->worst_count; i++)
        write_mistake(w, c, &c->worst[i], pictures);
    dt_writer_printf(w, "</ol>\n");
}

void dt_confusion_write(dt_writer *writer, const dt_confusion *confusion, dt_pictures *pictures)
{
    char room[DT_NUMBER_ROOM];
    dt_writer_printf(writer, "<figure class=\"confusion\"><figcaption><span class=\"title\" dir=\"auto\">");
    dt_html_text_cut(writer, confusion->name, 2 * NAME_MOST);
    dt_writer_printf(writer, " <small>%zu classes", confusion->class_count);
    if (confusion->n >= 0)
        dt_writer_printf(writer, " · n = %s", dt_html_count(confusion->n, room));
    dt_writer_printf(writer, "</small></span> <output></output></figcaption>\n");
    if (confusion->counts)
        write_heat(writer, confusion);
    if (confusion->worst_count)
        write_worst(writer, confusion, pictures);
    dt_writer_printf(writer, "</figure>\n");
}
