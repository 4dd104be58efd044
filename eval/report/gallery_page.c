#include "eval/report/gallery_page.h"

#include <stdlib.h>

#include "data/file.h"
#include "eval/findings.h"
#include "eval/report/gallery.h"
#include "eval/report/html.h"
#include "eval/report/page.h"

/* An answer as the report takes it; `hits` has room for found->count. */
static dt_gallery gallery_of(const dt_query_found *found, const char *store, dt_hit *hits)
{
    for (size_t i = 0; i < found->count; i++) {
        const dt_hit_found *hit = &found->hits[i];
        hits[i] = (dt_hit){.index = hit->index,
                           .score = (double)hit->score,
                           .caption = hit->text,
                           .judged = hit->correct >= 0,
                           .correct = hit->correct > 0};
    }
    return (dt_gallery){.query = found->query,
                        .store = store,
                        .image_store = found->kind == DT_QUERY_IMAGE ? store : NULL,
                        .image_file = found->kind == DT_QUERY_FILE ? found->query : NULL,
                        .image_index = found->image,
                        .hits = hits,
                        .hit_count = found->count};
}

static bool write_answer(dt_writer *w, dt_pictures *pictures, const char *store, const dt_query_found *found,
                         dt_error *error)
{
    dt_hit *hits = calloc(found->count + 1, sizeof *hits);
    if (!hits)
        return dt_fail(error, "no memory for a page with %zu hits", found->count);
    const dt_gallery gallery = gallery_of(found, store, hits);
    dt_galleries_write(w, &gallery, 1, pictures);
    free(hits);
    return true;
}

/* Whether something could be right or wrong. */
static bool is_judged(const dt_query_found *found, size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < found[i].count; j++)
            if (found[i].hits[j].correct >= 0)
                return true;
    return false;
}

static void write_head(dt_writer *w, const char *title, const dt_dataset *data, bool judged)
{
    dt_page_begin(w, title, "Duet retrieval");
    dt_writer_printf(w, "<p class=\"summary\">The best of %zu images in ", dt_dataset_count(data));
    dt_html_text(w, dt_dataset_path(data));
    dt_writer_printf(w, ", best first, each with its score.%s</p></header>\n"
                        "<section aria-label=\"Pictures found\">\n", judged ? dt_galleries_marks_text : "");
}

bool dt_gallery_page_write(const char *path, const char *title, const dt_dataset *data,
                           const dt_query_found *found, size_t count, dt_error *error)
{
    size_t shown = count < DT_GALLERIES_SHOWN ? count : DT_GALLERIES_SHOWN;
    dt_writer *w = dt_writer_open(path, error);
    dt_pictures *pictures = w ? dt_pictures_new("") : NULL;
    bool good = pictures || (w && dt_fail(error, "no memory for the pictures of %s", path));
    if (good) {
        dt_pictures_lend(pictures, data);
        write_head(w, title, data, is_judged(found, shown));
    }
    for (size_t i = 0; good && i < shown; i++)
        good = write_answer(w, pictures, dt_dataset_path(data), &found[i], error);
    dt_pictures_free(pictures);
    if (!good) {
        dt_writer_abort(w);
        return false;
    }
    if (shown < count)
        dt_writer_printf(w, "<p class=\"absent\">%zu more queries are left out.</p>\n", count - shown);
    dt_section_end(w);
    dt_page_end(w);
    return dt_writer_commit(w, error);
}
