#include "eval/report/drawn.h"

#include <stdlib.h>
#include <string.h>

#include "eval/report/html.h"

enum { NAME_MOST = 120, CAPTION_MOST = 300 };

static const char no_memory[] = "<p class=\"absent\">no pictures: no memory</p>\n";

static bool in_group(const dt_picture_found *p, const char *group)
{
    return !strcmp(p->group, group);
}

static bool has_group(const dt_picture_found *found, size_t count, const char *group)
{
    for (size_t i = 0; i < count; i++)
        if (in_group(&found[i], group))
            return true;
    return false;
}

/* ---- one picture ---- */

static const char *words_of(const dt_picture_found *p)
{
    return *p->caption ? p->caption : p->name;
}

static void write_image(dt_writer *w, const dt_picture_found *p, dt_pictures *pictures)
{
    dt_picture_write_large(pictures, w, p->file, words_of(p));
}

/* The name of a picture with a step repeats it as a rule. */
static void write_words(dt_writer *w, const dt_picture_found *p)
{
    char room[DT_NUMBER_ROOM];
    if (p->step >= 0)
        dt_writer_printf(w, "<b>step %s</b> ", dt_html_count(p->step, room));
    dt_html_text_cut(w, p->step >= 0 ? p->caption : words_of(p), CAPTION_MOST);
}

static void write_plate(dt_writer *w, const dt_picture_found *p, dt_pictures *pictures)
{
    dt_writer_printf(w, "<figure>");
    write_image(w, p, pictures);
    dt_writer_printf(w, "<figcaption dir=\"auto\">");
    write_words(w, p);
    dt_writer_printf(w, "</figcaption></figure>");
}

/* ---- a group ---- */

/* Sorts by step; what stands first in the list stays first. */
static int by_step(const void *a, const void *b)
{
    const dt_picture_found *x = *(const dt_picture_found *const *)a, *y = *(const dt_picture_found *const *)b;
    return x->step != y->step ? (x->step > y->step) - (x->step < y->step) : (x > y) - (x < y);
}

static void write_series(dt_writer *w, const dt_picture_found *const *series, size_t count, dt_pictures *pictures)
{
    size_t shown = count < DT_DRAWN_STEPS ? count : DT_DRAWN_STEPS;
    dt_writer_printf(w,
                     "<div class=\"series\"><input type=\"range\" min=\"0\" max=\"%zu\" value=\"%zu\" "
                     "aria-label=\"step\" hidden>\n<ol>",
                     shown - 1, shown - 1);
    for (size_t i = 0; i < shown; i++) {
        dt_writer_printf(w, "<li>");
        write_plate(w, series[i * (count - 1) / (shown - 1)], pictures);
        dt_writer_printf(w, "</li>\n");
    }
    dt_writer_printf(w, "</ol></div>\n");
    if (shown < count)
        dt_writer_printf(w, "<p class=\"note\">%zu of %zu steps; evaluation.json names the files of all.</p>\n", shown, count);
}

static void write_plates(dt_writer *w, const dt_picture_found *const *plates, size_t count, dt_pictures *pictures)
{
    size_t shown = count < DT_DRAWN_PLATES ? count : DT_DRAWN_PLATES;
    dt_writer_printf(w, "<div class=\"plates\">\n");
    for (size_t i = 0; i < shown; i++)
        write_plate(w, plates[i], pictures);
    dt_writer_printf(w, "</div>\n");
    if (shown < count)
        dt_writer_printf(w, "<p class=\"absent\">%zu more pictures are in evaluation.json.</p>\n", count - shown);
}

static void begin_group(dt_writer *w, const char *group)
{
    dt_writer_printf(w, "<article class=\"drawn\"><h3 dir=\"auto\">");
    dt_html_text_cut(w, *group ? group : "Others", NAME_MOST);
    dt_writer_printf(w, "</h3>\n");
}

/* `members` has room for all of `found`. */
static void write_group(dt_writer *w, const dt_picture_found *found, size_t count, const char *group,
                        const dt_picture_found **members, dt_pictures *pictures)
{
    size_t all = 0, plates = 0;
    for (size_t i = 0; i < count; i++)
        if (in_group(&found[i], group)) {
            members[all++] = &found[i];
            plates += found[i].step < 0;
        }
    qsort(members, all, sizeof *members, by_step); /* those without a step, -1, come first */
    if (all - plates == 1)
        plates = all; /* one step is no series */
    begin_group(w, group);
    if (all > plates)
        write_series(w, members + plates, all - plates, pictures);
    if (plates)
        write_plates(w, members, plates, pictures);
    dt_writer_printf(w, "</article>\n");
}

void dt_drawn_write(dt_writer *writer, const dt_picture_found *found, size_t count, dt_pictures *pictures)
{
    const dt_picture_found **members = malloc((count + 1) * sizeof *members);
    size_t groups = 0;
    for (size_t i = 0; members && i < count; i++)
        if (!has_group(found, i, found[i].group) && groups++ < DT_DRAWN_GROUPS)
            write_group(writer, found, count, found[i].group, members, pictures);
    if (groups > DT_DRAWN_GROUPS)
        dt_writer_printf(writer, "<p class=\"absent\">%zu more groups of pictures are in evaluation.json.</p>\n",
                         groups - DT_DRAWN_GROUPS);
    if (!members)
        dt_writer_printf(writer, "%s", no_memory);
    free(members);
}

/* ---- runs side by side ---- */

/* The latest of a group, or NULL. */
static const dt_picture_found *latest(const dt_run *run, const char *group)
{
    const dt_picture_found *best = NULL;
    for (size_t i = 0; i < run->findings.picture_count; i++) {
        const dt_picture_found *p = &run->findings.pictures[i];
        if (in_group(p, group) && (!best || p->step >= best->step))
            best = p;
    }
    return best;
}

static size_t runs_with(const dt_run *runs, size_t count, const char *group)
{
    size_t with = 0;
    for (size_t i = 0; i < count; i++)
        with += has_group(runs[i].findings.pictures, runs[i].findings.picture_count, group);
    return with;
}

/* The next group that several runs have, from a picture of a run on; NULL: none is left. */
static const char *next_shared(const dt_run *runs, size_t count, size_t *run, size_t *place)
{
    for (; *run < count; (*run)++, *place = 0)
        while (*place < runs[*run].findings.picture_count) {
            const dt_picture_found *mine = runs[*run].findings.pictures;
            const char *group = mine[*place].group;
            bool seen = has_group(mine, (*place)++, group) || runs_with(runs, *run, group);
            if (!seen && runs_with(runs + *run, count - *run, group) > 1)
                return group;
        }
    return NULL;
}

/* The pictures of all runs are of one page, with one budget: each file is named from where the program is. */
static void write_latest(dt_writer *w, const dt_run *run, const dt_picture_found *p, dt_pictures *pictures)
{
    char *path = dt_join(run->path, p->file);
    if (path)
        dt_picture_write_large(pictures, w, path, words_of(p));
    free(path);
}

static void compare_group(dt_writer *w, const dt_run *runs, size_t count, const char *group, dt_pictures *pictures)
{
    begin_group(w, group);
    dt_writer_printf(w, "<div class=\"beside\">\n");
    for (size_t i = 0; i < count; i++) {
        const dt_picture_found *p = latest(&runs[i], group);
        if (!p)
            continue;
        const char *folder = dt_run_path_if_needed(runs, count, i);
        dt_writer_printf(w, "<figure class=\"c%zu\"><figcaption dir=\"auto\"><span><i></i>", i % 10);
        dt_html_text_cut(w, folder ? folder : dt_run_title(&runs[i]), NAME_MOST);
        dt_writer_printf(w, "</span> <small>");
        write_words(w, p);
        dt_writer_printf(w, "</small></figcaption>");
        write_latest(w, &runs[i], p, pictures);
        dt_writer_printf(w, "</figure>\n");
    }
    dt_writer_printf(w, "</div></article>\n");
}

bool dt_drawn_shared(const dt_run *runs, size_t count)
{
    return next_shared(runs, count, &(size_t){0}, &(size_t){0}) != NULL;
}

void dt_drawn_compare(dt_writer *writer, const dt_run *runs, size_t count)
{
    dt_pictures *pictures = dt_pictures_new("");
    size_t run = 0, place = 0, shown = 0;
    const char *group;
    while (pictures && shown++ < DT_DRAWN_GROUPS && (group = next_shared(runs, count, &run, &place)))
        compare_group(writer, runs, count, group, pictures);
    if (!pictures)
        dt_writer_printf(writer, "%s", no_memory);
    dt_pictures_free(pictures);
}
