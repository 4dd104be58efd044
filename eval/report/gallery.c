#include "eval/report/gallery.h"

#include <math.h>

#include "eval/report/html.h"

enum { CAPTION_MOST = 160, QUERY_MOST = 400 };

static void write_hit(dt_pictures *pictures, dt_writer *w, const char *store, const dt_hit *hit, size_t rank)
{
    const char *caption = hit->caption ? hit->caption : dt_picture_caption(pictures, store, hit->index);
    const char *file = dt_picture_file(pictures, store, hit->index);
    dt_writer_printf(w, "<li%s", hit->correct ? " class=\"correct\"" : "");
    if (file) {
        dt_writer_printf(w, " title=\"");
        dt_html_text(w, file);
        dt_writer_printf(w, "\"");
    }
    dt_writer_printf(w, ">");
    dt_picture_write(pictures, w, store, hit->index, caption);
    dt_writer_printf(w, "<p class=\"place\"><b>%zu</b>", rank);
    if (isfinite(hit->score))
        dt_writer_printf(w, " <span title=\"score\">%.3f</span>", fmax(-999999, fmin(999999, hit->score)));
    if (hit->correct)
        dt_writer_printf(w, " <strong>✓<span class=\"aside\"> correct</span></strong>");
    dt_writer_printf(w, "</p><p class=\"caption\" dir=\"auto\">");
    dt_html_text_cut(w, caption, CAPTION_MOST);
    dt_writer_printf(w, "</p></li>\n");
}

/* Where the first right picture stands, and how many are shown. */
static void write_outcome(dt_writer *w, const dt_gallery *g, size_t shown)
{
    size_t first = 0, judged = 0;
    while (first < g->hit_count && !g->hits[first].correct)
        judged += g->hits[first++].judged;
    if (first < g->hit_count && first == 0)
        dt_writer_printf(w, "<p class=\"outcome first\">✓ found first</p>");
    else if (first < g->hit_count)
        dt_writer_printf(w, "<p class=\"outcome\">✓ in place %zu</p>", first + 1);
    else if (judged)
        dt_writer_printf(w, "<p class=\"outcome\">not among the first %zu</p>", g->hit_count);
    if (shown < g->hit_count)
        dt_writer_printf(w, "<p class=\"outcome\">%zu of %zu shown</p>", shown, g->hit_count);
}

/* The text of a query, and its picture where it is one. */
static void write_query(dt_pictures *pictures, dt_writer *w, const dt_gallery *g)
{
    dt_writer_printf(w, "<h3 dir=\"auto\">");
    dt_html_text_cut(w, g->query, QUERY_MOST);
    dt_writer_printf(w, "</h3>");
    if (!g->image_store && !g->image_file)
        return;
    dt_writer_printf(w, "<div class=\"asked\">");
    if (g->image_store)
        dt_picture_write(pictures, w, g->image_store, g->image_index, g->query);
    else
        dt_picture_write_file(pictures, w, g->image_file, g->query);
    dt_writer_printf(w, "</div>");
}

static void write_gallery(dt_pictures *pictures, dt_writer *w, const dt_gallery *g)
{
    size_t shown = g->hit_count < DT_HITS_SHOWN ? g->hit_count : DT_HITS_SHOWN;
    dt_writer_printf(w, "<article class=\"query\"><header>");
    write_query(pictures, w, g);
    write_outcome(w, g, shown);
    dt_writer_printf(w, "</header>\n");
    if (shown)
        dt_writer_printf(w, "<ol>");
    for (size_t i = 0; i < shown; i++)
        write_hit(pictures, w, g->store, &g->hits[i], i + 1);
    dt_writer_printf(w, shown ? "</ol></article>\n" : "<p class=\"absent\">no pictures</p></article>\n");
}

const char dt_galleries_marks_text[] = " A right one has a frame and a ✓.";

const char *dt_galleries_marks(const dt_gallery *galleries, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < galleries[i].hit_count; j++)
            if (galleries[i].hits[j].judged)
                return dt_galleries_marks_text;
    return "";
}

void dt_galleries_write(dt_writer *writer, const dt_gallery *galleries, size_t count, dt_pictures *pictures)
{
    size_t shown = count < DT_GALLERIES_SHOWN ? count : DT_GALLERIES_SHOWN;
    for (size_t i = 0; i < shown; i++)
        write_gallery(pictures, writer, &galleries[i]);
    if (shown < count)
        dt_writer_printf(writer, "<p class=\"absent\">%zu more queries are in evaluation.json.</p>\n",
                         count - shown);
}
