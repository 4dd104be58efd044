#include "eval/report/gallery_page.h"

#include <stdlib.h>
#include <string.h>

#include "data/file.h"
#include "data/jpeg.h"
#include "data/png.h"
#include "eval/report/gallery.h"
#include "eval/report/html.h"
#include "eval/report/page.h"
#include "eval/report/thumbnail.h"

enum { TEXT_MOST = 160, QUERY_MOST = 400, QUALITY = 95 };

typedef struct page {
    dt_writer *writer;
    const dt_dataset *data;
    size_t bytes; /* of the pictures so far */
} page;

/* A picture's bytes, and what of them must be freed. */
typedef struct picture {
    const uint8_t *bytes;
    size_t size;
    uint8_t *room;
} picture;

static bool is_jpeg(const picture *p)
{
    return p->size >= 3 && !memcmp(p->bytes, "\xFF\xD8\xFF", 3);
}

static void take(picture *p, uint8_t *bytes, size_t size)
{
    free(p->room);
    *p = (picture){bytes, size, bytes};
}

/* Makes a large picture, or one that a browser may not know, a small JPEG. */
static bool reduce(picture *p, dt_error *error)
{
    uint8_t *bytes;
    size_t size;
    if ((is_jpeg(p) || dt_is_png(p->bytes, p->size)) && p->size <= DT_PAGE_PICTURE_MOST)
        return true;
    if (!is_jpeg(p)) {
        dt_image image = {0};
        bool good = dt_image_decode(p->bytes, p->size, &image, error) &&
                    dt_jpeg_encode(&image, QUALITY, false, &bytes, &size, error);
        dt_image_free(&image);
        if (!good)
            return false;
        take(p, bytes, size);
    }
    if (!dt_thumbnail(p->bytes, p->size, DT_PAGE_PICTURE_SIDE, &bytes, &size, error))
        return false;
    take(p, bytes, size);
    return true;
}

static bool has_room(const page *g, const picture *p, dt_error *error)
{
    return p->size <= DT_PAGE_PICTURES_BYTES - g->bytes ||
           dt_fail(error, "left out: the page has %d MiB of pictures already", DT_PAGE_PICTURES_BYTES >> 20);
}

/* `good`: the picture was read; otherwise why not. Frees it. */
static void write_picture(page *g, picture *p, bool good, const char *text, dt_error *why)
{
    dt_writer *w = g->writer;
    if (good && reduce(p, why) && has_room(g, p, why)) {
        dt_writer_printf(w, "<img alt=\"");
        dt_html_text_cut(w, text, TEXT_MOST);
        dt_writer_printf(w, "\" src=\"data:image/%s;base64,", is_jpeg(p) ? "jpeg" : "png");
        dt_html_base64(w, p->bytes, p->size);
        dt_writer_printf(w, "\">");
        g->bytes += p->size;
    } else {
        dt_writer_printf(w, "<p class=\"absent\">no picture: ");
        dt_html_text_cut(w, why->message, TEXT_MOST);
        dt_writer_printf(w, "</p>");
    }
    free(p->room);
}

static void write_image(page *g, size_t index, const char *text)
{
    picture p = {0};
    dt_error why;
    bool good = dt_dataset_picture(g->data, index, &p.bytes, &p.size, &p.room, &why);
    write_picture(g, &p, good, text, &why);
}

static void write_file(page *g, const char *path)
{
    picture p = {0};
    dt_error why;
    p.bytes = p.room = (uint8_t *)dt_file_read(path, DT_PAIR_BYTES_MAX, &p.size, &why);
    write_picture(g, &p, p.bytes, path, &why);
}

static void write_hit(page *g, const dt_hit_found *hit, size_t place)
{
    dt_writer *w = g->writer;
    const char *file = dt_dataset_file(g->data, hit->index);
    dt_writer_printf(w, "<li%s", hit->correct > 0 ? " class=\"correct\"" : "");
    if (file) {
        dt_writer_printf(w, " title=\"");
        dt_html_text(w, file);
        dt_writer_printf(w, "\"");
    }
    dt_writer_printf(w, ">");
    write_image(g, hit->index, hit->text);
    dt_writer_printf(w,
                     "<p class=\"place\"><b>%zu</b> <span title=\"score\">%.3f</span>%s</p><p "
                     "class=\"caption\" dir=\"auto\">",
                     place, (double)hit->score,
                     hit->correct > 0 ? " <strong>✓<span class=\"aside\"> correct</span></strong>" : "");
    dt_html_text_cut(w, hit->text, TEXT_MOST);
    dt_writer_printf(w, "</p></li>\n");
}

static void write_query(page *g, const dt_query_found *found)
{
    dt_writer *w = g->writer;
    dt_writer_printf(w, "<article class=\"query\"><header><h3 dir=\"auto\">");
    dt_html_text_cut(w, found->query, QUERY_MOST);
    dt_writer_printf(w, "</h3>");
    if (found->kind != DT_QUERY_TEXT) {
        dt_writer_printf(w, "<div class=\"asked\">");
        if (found->kind == DT_QUERY_IMAGE)
            write_image(g, found->image, found->query);
        else
            write_file(g, found->query);
        dt_writer_printf(w, "</div>");
    }
    size_t shown = found->count < DT_HITS_SHOWN ? found->count : DT_HITS_SHOWN;
    if (shown < found->count)
        dt_writer_printf(w, "<p class=\"outcome\">%zu of %zu shown</p>", shown, found->count);
    dt_writer_printf(w, "</header>\n<ol>");
    for (size_t i = 0; i < shown; i++)
        write_hit(g, &found->hits[i], i + 1);
    dt_writer_printf(w, "</ol></article>\n");
}

bool dt_gallery_page_write(const char *path, const char *title, const dt_dataset *data,
                           const dt_query_found *found, size_t count, dt_error *error)
{
    dt_writer *w = dt_writer_open(path, error);
    if (!w)
        return false;
    page g = {.writer = w, .data = data};
    dt_page_begin(w, title, "Duet retrieval");
    dt_writer_printf(w, "<p class=\"summary\">The best of %zu images in ", dt_dataset_count(data));
    dt_html_text(w, dt_dataset_path(data));
    dt_writer_printf(w, ", best first, each with its score. A right one has a frame and a ✓.</p></header>\n"
                        "<section aria-label=\"Pictures found\">\n");
    size_t shown = count < DT_GALLERIES_SHOWN ? count : DT_GALLERIES_SHOWN;
    for (size_t i = 0; i < shown; i++)
        write_query(&g, &found[i]);
    if (shown < count)
        dt_writer_printf(w, "<p class=\"absent\">%zu more queries are left out.</p>\n", count - shown);
    dt_section_end(w);
    dt_page_end(w);
    return dt_writer_commit(w, error);
}
