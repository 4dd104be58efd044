#include "eval/gallery.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/pairs.h"
#include "eval/html.h"

enum { CAPTION_MOST = 160, QUERY_MOST = 400, SIDE_MOST = 20000 };

typedef struct shelf {
    dt_writer *writer;
    const char *run;
    const char *path; /* of the open store; borrowed from its gallery */
    dt_pairs *pairs;  /* NULL: it could not be opened */
    dt_error why;
    size_t bytes; /* of the pictures written so far */
} shelf;

static void open_store(shelf *s, const char *path)
{
    if (s->path && !strcmp(s->path, path))
        return;
    dt_pairs_close(s->pairs);
    s->path = path;
    s->pairs = dt_pairs_open(path, &s->why);
    char *beside = s->pairs ? NULL : dt_join(s->run, path);
    if (beside)
        s->pairs = dt_pairs_open(beside, NULL);
    free(beside);
}

static bool find_pair(shelf *s, size_t index, dt_pair *pair, dt_error *error)
{
    if (!s->pairs)
        return dt_fail(error, "%s", s->why.message);
    if (index >= dt_pairs_count(s->pairs))
        return dt_fail(error, "%s has %" PRIu64 " pairs, none with index %zu", s->path,
                       dt_pairs_count(s->pairs), index);
    if (!dt_pairs_get(s->pairs, index, pair, error))
        return false;
    if (pair->jpeg_size < 3 || memcmp(pair->jpeg, "\xFF\xD8\xFF", 3) != 0)
        return dt_fail(error, "pair %zu of %s is no JPEG", index, s->path);
    if (pair->jpeg_size > DT_GALLERY_BYTES_MOST - s->bytes)
        return dt_fail(error, "left out: the page has %d MiB of pictures already",
                       DT_GALLERY_BYTES_MOST >> 20);
    return true;
}

static void write_picture(shelf *s, const dt_pair *pair, const char *caption)
{
    int width = pair->width < SIDE_MOST ? pair->width : SIDE_MOST;
    int height = pair->height < SIDE_MOST ? pair->height : SIDE_MOST;
    dt_writer_printf(s->writer, "<img width=\"%d\" height=\"%d\" alt=\"", width, height);
    dt_html_text_cut(s->writer, caption, CAPTION_MOST);
    dt_writer_printf(s->writer, "\" src=\"data:image/jpeg;base64,");
    dt_html_base64(s->writer, pair->jpeg, pair->jpeg_size);
    dt_writer_printf(s->writer, "\">");
    s->bytes += pair->jpeg_size;
}

static void write_hit(shelf *s, const dt_hit *hit, size_t rank)
{
    dt_pair pair;
    dt_error why;
    bool found = find_pair(s, hit->index, &pair, &why);
    const char *caption = hit->caption;
    if (!caption)
        caption = found && pair.caption_count ? dt_pair_caption(&pair, 0, NULL) : "";
    dt_writer_printf(s->writer, "<li%s>", hit->correct ? " class=\"correct\"" : "");
    if (found) {
        write_picture(s, &pair, *caption ? caption : "picture without a caption");
    } else {
        dt_writer_printf(s->writer, "<p class=\"absent\">no picture: ");
        dt_html_text_cut(s->writer, why.message, CAPTION_MOST);
        dt_writer_printf(s->writer, "</p>");
    }
    dt_writer_printf(s->writer, "<p class=\"place\"><b>%zu</b>", rank);
    if (isfinite(hit->score))
        dt_writer_printf(s->writer, " <span title=\"score\">%.3f</span>",
                         fmax(-999999, fmin(999999, hit->score)));
    if (hit->correct)
        dt_writer_printf(s->writer, " <strong>✓<span class=\"aside\"> correct</span></strong>");
    dt_writer_printf(s->writer, "</p><p class=\"caption\" dir=\"auto\">");
    dt_html_text_cut(s->writer, caption, CAPTION_MOST);
    dt_writer_printf(s->writer, "</p></li>\n");
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

static void write_gallery(shelf *s, const dt_gallery *g)
{
    size_t shown = g->hit_count < DT_HITS_SHOWN ? g->hit_count : DT_HITS_SHOWN;
    dt_writer_printf(s->writer, "<article class=\"query\"><header><h3 dir=\"auto\">");
    dt_html_text_cut(s->writer, g->query, QUERY_MOST);
    dt_writer_printf(s->writer, "</h3>");
    write_outcome(s->writer, g, shown);
    dt_writer_printf(s->writer, "</header>\n");
    if (shown)
        dt_writer_printf(s->writer, "<ol>");
    open_store(s, g->store);
    for (size_t i = 0; i < shown; i++)
        write_hit(s, &g->hits[i], i + 1);
    dt_writer_printf(s->writer,
                     shown ? "</ol></article>\n" : "<p class=\"absent\">no pictures</p></article>\n");
}

void dt_galleries_write(dt_writer *writer, const dt_gallery *galleries, size_t count, const char *run)
{
    shelf s = {.writer = writer, .run = run};
    size_t shown = count < DT_GALLERIES_SHOWN ? count : DT_GALLERIES_SHOWN;
    for (size_t i = 0; i < shown; i++)
        write_gallery(&s, &galleries[i]);
    if (shown < count)
        dt_writer_printf(writer, "<p class=\"absent\">%zu more queries are in evaluation.json.</p>\n",
                         count - shown);
    dt_pairs_close(s.pairs);
}
