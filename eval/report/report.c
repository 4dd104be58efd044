#include "eval/report/report.h"

#include <math.h>
#include <stdlib.h>

#include "eval/report/drawn.h"
#include "eval/report/figures.h"
#include "eval/report/gallery.h"
#include "eval/report/html.h"
#include "eval/report/page.h"
#include "eval/report/plot_confusion.h"
#include "eval/report/plot_curve.h"
#include "eval/report/plot_map.h"
#include "eval/report/plot_reliability.h"
#include "eval/report/plot_table.h"
#include "eval/report/config.h"
#include "eval/report/run.h"
#include "eval/report/training.h"

static bool write_page(const dt_run *run, dt_pictures *pictures, dt_error *error);

bool dt_report_write(const char *run, dt_error *error)
{
    dt_run r;
    dt_pictures *pictures = dt_pictures_new(run);
    bool good = dt_run_read(&r, run, error) && (pictures || dt_fail(error, "no memory for the report")) &&
                write_page(&r, pictures, error);
    dt_pictures_free(pictures);
    dt_run_free(&r);
    return good;
}

/* ---- the sections, in the order of the page ---- */

/* What a section is made of. */
typedef struct page {
    dt_writer *writer;
    const dt_run *run;
    const dt_findings *findings; /* the run's */
    dt_pictures *pictures;
} page;

static void write_figures(const page *p)
{
    dt_figures_write(p->writer, p->findings->figures, p->findings->figure_count);
}

static void write_drawn(const page *p)
{
    dt_drawn_write(p->writer, p->findings->pictures, p->findings->picture_count, p->pictures);
}

static void write_curves(const page *p)
{
    dt_writer_printf(p->writer,
                     "<p class=\"lead\">Point into a curve for its values.</p>\n<div class=\"charts\">\n");
    for (size_t i = 0; i < p->findings->curve_count; i++) {
        dt_curve_look look = dt_curve_look_of(&p->findings->curves[i]);
        dt_curve_write(p->writer, &p->findings->curves[i], &look);
    }
    dt_writer_printf(p->writer, "</div>\n");
}

static void write_confusions(const page *p)
{
    dt_writer_printf(
        p->writer, "<p class=\"lead\">A row is a true class, a column what was predicted: right answers are "
                   "on the diagonal. Point to a cell, or walk with the arrow keys.</p>\n");
    for (size_t i = 0; i < p->findings->confusion_count; i++)
        dt_confusion_write(p->writer, &p->findings->confusions[i], p->pictures);
}

static void write_tables(const page *p)
{
    for (size_t i = 0; i < p->findings->table_count; i++)
        dt_table_write(p->writer, &p->findings->tables[i]);
}

static void write_reliability(const page *p)
{
    dt_writer_printf(
        p->writer, "<p class=\"lead\">How often the model is right when it is so sure. On the diagonal it is "
                   "as often right "
                   "as it is sure; below, it is too sure. Upright strokes are 95\u202F%% intervals. ECE, the "
                   "expected calibration error, is "
                   "the mean distance from the diagonal over all predictions.</p>\n<div class=\"charts\">\n");
    for (size_t i = 0; i < p->findings->reliability_count; i++)
        dt_reliability_write(p->writer, &p->findings->reliability[i]);
    dt_writer_printf(p->writer, "</div>\n");
}

static void write_maps(const page *p)
{
    dt_writer_printf(
        p->writer,
        "<p class=\"lead\">The embeddings of images and texts, projected onto the two directions in "
        "which they differ most. Point to a mark to see what it is.</p>\n");
    for (size_t i = 0; i < p->findings->map_count; i++)
        dt_map_write(p->writer, &p->findings->maps[i], p->pictures);
}

static void write_galleries(const page *p)
{
    const dt_findings *f = p->findings;
    dt_writer_printf(p->writer,
                     "<p class=\"lead\">For each query the pictures nearest to it, best first, each with its "
                     "score.%s</p>\n",
                     dt_galleries_marks(f->galleries, f->gallery_count));
    dt_galleries_write(p->writer, f->galleries, f->gallery_count, p->pictures);
}

static void write_training(const page *p)
{
    dt_training_write(p->writer, &p->run->log);
}

static void write_settings(const page *p)
{
    dt_reproduce_write(p->writer, p->run->config, p->run->path);
    dt_writer_printf(p->writer, "<details><summary>Configuration</summary>\n");
    dt_config_write(p->writer, p->run->config);
    dt_writer_printf(p->writer, "</details>\n");
}

/* ---- the page ---- */

/* "740 steps · 812 pairs/s · waiting for data 1.3 % of the time" */
static void write_summary(dt_writer *w, const dt_run_log *log)
{
    char room[DT_NUMBER_ROOM];
    const char *between = "";
    const dt_series *pairs = dt_run_log_find(log, "", "pairs_per_second");
    const dt_series *images = pairs ? NULL : dt_run_log_find(log, "", "images_per_second");
    const dt_series *rate = pairs ? pairs : images, *waiting = dt_run_log_find(log, "", "waiting");
    dt_writer_printf(w, "<p class=\"summary\">");
    if (log->steps) {
        dt_writer_printf(w, "<span>%s steps</span>", dt_html_count((int64_t)log->last_step, room));
        between = " <span class=\"dot\">·</span> ";
    }
    if (rate && rate->finite) {
        double mean = rate->sum / (double)rate->finite;
        dt_writer_printf(w, "%s<span>%s %s a second</span>", between,
                         dt_html_number(mean < 100 ? mean : round(mean), room), pairs ? "pairs" : "images");
        between = " <span class=\"dot\">·</span> ";
    }
    if (waiting && waiting->finite)
        dt_writer_printf(w, "%s<span>%s of the time waiting for data</span>", between,
                         dt_html_percent(waiting->sum / (double)waiting->finite, room));
    dt_writer_printf(w, "</p>\n");
}

/* What the run lacks has no section. */
static void write_absent(dt_writer *w, const dt_run *run)
{
    const dt_findings *f = &run->findings;
    bool found = f->figure_count || f->curve_count || f->confusion_count || f->table_count || f->reliability_count ||
                 f->map_count || f->gallery_count || f->picture_count;
    if (!run->has_findings)
        dt_writer_printf(w, "<p class=\"absent\">No evaluation.json in this run: no figures, no pictures.</p>\n");
    else if (!found)
        dt_writer_printf(w, "<p class=\"absent\">evaluation.json has no figures.</p>\n");
    if (!run->has_log)
        dt_writer_printf(w, "<p class=\"absent\">No log.jsonl in this run: no curves.</p>\n");
    else if (!run->log.series_count)
        dt_writer_printf(w, "<p class=\"absent\">log.jsonl has no numbers.</p>\n");
    if (!run->config)
        dt_writer_printf(
            w, "<p class=\"absent\">No config.json in this run: no command, no configuration.</p>\n");
}

static void write_top(dt_writer *w, const dt_run *run)
{
    dt_page_begin(w, dt_run_title(run), "Duet run");
    if (dt_run_text(run, "description")) {
        dt_writer_printf(w, "<p class=\"description\" dir=\"auto\">");
        dt_html_text_cut(w, dt_run_text(run, "description"), 1000);
        dt_writer_printf(w, "</p>\n");
    }
    write_summary(w, &run->log);
    write_absent(w, run);
}

static bool write_page(const dt_run *run, dt_pictures *pictures, dt_error *error)
{
    const dt_findings *f = &run->findings;
    const struct section {
        const char *id, *link, *title;
        bool there;
        void (*write)(const page *);
    } sections[] = {
        {"figures", "Figures", "Figures", f->figure_count, write_figures},
        {"drawn", "Made", "What the model makes", f->picture_count, write_drawn},
        {"curves", "Curves", "Curves", f->curve_count, write_curves},
        {"confusion", "Confusion", "What is taken for what", f->confusion_count, write_confusions},
        {"tables", "Tables", "Tables", f->table_count, write_tables},
        {"calibration", "Calibration", "Calibration", f->reliability_count, write_reliability},
        {"map", "Map", "Map of the embeddings", f->map_count, write_maps},
        {"pictures", "Pictures", "Pictures found", f->gallery_count, write_galleries},
        {"training", "Training", "Training", run->log.series_count || run->log.refused, write_training},
        {"again", "How to reproduce", "How to reproduce", run->config, write_settings},
    };
    enum { SECTIONS = sizeof sections / sizeof sections[0] };
    char *path = dt_join(run->path, "report.html");
    dt_writer *w = path ? dt_writer_open(path, error) : NULL;
    if (!path)
        dt_fail(error, "no memory for the report");
    free(path);
    if (!w)
        return false;
    write_top(w, run);
    dt_writer_printf(w, "<nav>");
    for (int i = 0; i < SECTIONS; i++)
        if (sections[i].there)
            dt_writer_printf(w, "<a href=\"#%s\">%s</a> ", sections[i].id, sections[i].link);
    dt_writer_printf(w, "</nav></header>\n");
    for (int i = 0; i < SECTIONS; i++) {
        if (!sections[i].there)
            continue;
        dt_section_begin(w, sections[i].id, sections[i].title);
        sections[i].write(&(page){w, run, f, pictures});
        dt_section_end(w);
    }
    dt_page_end(w);
    return dt_writer_commit(w, error);
}
