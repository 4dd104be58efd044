#define _GNU_SOURCE /* asprintf */
#include "eval/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/file.h"
#include "data/json.h"
#include "eval/chart.h"
#include "eval/findings.h"
#include "eval/gallery.h"
#include "eval/html.h"
#include "eval/report_config.h"
#include "eval/report_style.h"
#include "eval/run_log.h"

typedef struct page {
    const char *run;
    char *folder; /* the run's own name, whatever path led to it */
    json_t *config;
    dt_run_log log;
    dt_findings findings;
    bool has_log, has_findings;
} page;

static bool load(page *p, dt_error *error);
static bool write_page(const page *p, dt_error *error);

bool dt_report_write(const char *run, dt_error *error)
{
    page p = {.run = run};
    bool good = load(&p, error) && write_page(&p, error);
    dt_findings_free(&p.findings);
    dt_run_log_free(&p.log);
    json_decref(p.config);
    free(p.folder);
    return good;
}

/* ---- reading ---- */

/* The path of a file in the run's folder, or NULL where there is none. The caller frees. */
static char *find(const page *p, const char *name)
{
    char *path = dt_join(p->run, name);
    if (path && dt_file_exists(path))
        return path;
    free(path);
    return NULL;
}

static bool load_config(page *p, const char *path, dt_error *error)
{
    p->config = dt_json_load(path, error);
    if (p->config && !json_is_object(p->config))
        return dt_fail(error, "%s: expected an object, found %s", path, dt_json_kind_name(p->config));
    return p->config;
}

static bool load_parts(page *p, const char *config, const char *log, const char *evaluation, dt_error *error)
{
    if (!config && !log && !evaluation)
        return dt_fail(error,
                       "%s holds no config.json, log.jsonl or evaluation.json: expected the folder of a run",
                       p->run);
    p->has_log = log;
    p->has_findings = evaluation;
    return (!config || load_config(p, config, error)) && (!log || dt_run_log_read(&p->log, log, error)) &&
           (!evaluation || dt_findings_read(&p->findings, evaluation, error));
}

static bool load(page *p, dt_error *error)
{
    if (!dt_is_directory(p->run))
        return dt_fail(error, "%s is no folder: expected the folder of a run", p->run);
    char *whole = realpath(p->run, NULL);
    const char *slash = whole ? strrchr(whole, '/') : NULL;
    p->folder = strdup(slash && slash[1] ? slash + 1 : p->run);
    free(whole);
    char *config = find(p, "config.json"), *log = find(p, "log.jsonl"),
         *evaluation = find(p, "evaluation.json");
    bool good = p->folder ? load_parts(p, config, log, evaluation, error)
                          : dt_fail(error, "no memory for the report");
    free(config);
    free(log);
    free(evaluation);
    return good;
}

/* ---- the headline and the table of figures ---- */

static bool is_share(const dt_figure *f, double value)
{
    return !f->rank && value >= 0 && value <= 1; /* false for a NaN */
}

static const char *figure_text(const dt_figure *f, double value, char room[DT_NUMBER_ROOM])
{
    if (isnan(value))
        return "–";
    return is_share(f, value) ? dt_html_percent(value, room) : dt_html_number(value, room);
}

static void write_headline(dt_writer *w, const dt_figure *f)
{
    char room[DT_NUMBER_ROOM];
    dt_writer_printf(w,
                     "<div class=\"headline\"><p class=\"value\">%s</p><div><p class=\"what\" dir=\"auto\">",
                     figure_text(f, f->value, room));
    dt_html_text_cut(w, f->name, 200);
    dt_writer_printf(w, "</p><p class=\"against\">chance %s", figure_text(f, f->chance, room));
    if (f->n >= 0)
        dt_writer_printf(w, " <span class=\"dot\">·</span> n = %s", dt_html_count(f->n, room));
    dt_writer_printf(w, "</p>");
    if (*f->note) {
        dt_writer_printf(w, "<p class=\"note\" dir=\"auto\">");
        dt_html_text_cut(w, f->note, 400);
        dt_writer_printf(w, "</p>");
    }
    dt_writer_printf(w, "</div></div>\n");
}

static void write_bar(dt_writer *w, const dt_figure *f)
{
    dt_writer_printf(w, "<td class=\"bar\" aria-hidden=\"true\">");
    if (is_share(f, f->value)) {
        dt_writer_printf(w, "<div><b style=\"width:%.2f%%\"></b>", 100 * f->value);
        if (is_share(f, f->chance))
            dt_writer_printf(w, "<i style=\"left:%.2f%%\"></i>", 100 * f->chance);
        dt_writer_printf(w, "</div>");
    }
    dt_writer_printf(w, "</td>");
}

static void write_figure(dt_writer *w, const dt_figure *f)
{
    char room[DT_NUMBER_ROOM];
    dt_writer_printf(w, "<tr><th scope=\"row\" dir=\"auto\">");
    dt_html_text_cut(w, f->name, 200);
    if (*f->note) {
        dt_writer_printf(w, "<small>");
        dt_html_text_cut(w, f->note, 400);
        dt_writer_printf(w, "</small>");
    }
    dt_writer_printf(w, "</th>");
    write_bar(w, f);
    dt_writer_printf(w, "<td class=\"result\">%s</td>", figure_text(f, f->value, room));
    dt_writer_printf(w, "<td>%s</td>", figure_text(f, f->chance, room));
    dt_writer_printf(w, "<td>%s</td></tr>\n", f->n >= 0 ? dt_html_count(f->n, room) : "–");
}

static void write_figures(dt_writer *w, const page *p)
{
    const dt_findings *e = &p->findings;
    dt_writer_printf(w, "<section aria-labelledby=\"figures\"><h2 id=\"figures\">Figures</h2>\n");
    if (e->figure_count)
        write_headline(w, &e->figures[0]);
    else
        dt_writer_printf(w, "<p class=\"absent\">%s</p>\n",
                         p->has_findings ? "evaluation.json has no figures."
                                         : "No evaluation.json in this run: no figures.");
    if (e->figure_count > 1) {
        dt_writer_printf(w, "<table class=\"figures\"><thead><tr><th scope=\"col\">Measure</th>"
                            "<td class=\"bar\" aria-hidden=\"true\">stroke: chance</td>"
                            "<th scope=\"col\">Result</th><th scope=\"col\">Chance</th><th "
                            "scope=\"col\">n</th></tr></thead><tbody>\n");
        for (size_t i = 1; i < e->figure_count; i++)
            write_figure(w, &e->figures[i]);
        dt_writer_printf(w, "</tbody></table>\n");
    }
    dt_writer_printf(w, "</section>\n");
}

static void write_galleries(dt_writer *w, const page *p)
{
    const dt_findings *e = &p->findings;
    dt_writer_printf(w, "<section aria-labelledby=\"pictures\"><h2 id=\"pictures\">Pictures found</h2>\n");
    if (e->gallery_count) {
        dt_writer_printf(
            w, "<p class=\"lead\">For each text the pictures nearest to it, best first, each with its score. "
               "A right one has a frame and a ✓.</p>\n");
        dt_galleries_write(w, e->galleries, e->gallery_count, p->run);
    } else {
        dt_writer_printf(w, "<p class=\"absent\">%s</p>\n",
                         p->has_findings ? "evaluation.json has no galleries."
                                         : "No evaluation.json in this run: no pictures.");
    }
    dt_writer_printf(w, "</section>\n");
}

/* ---- the curves ---- */

static const struct known {
    const char *key, *title;
    dt_chart_unit unit;
    bool from_zero, wide_range;
} known_series[] = {
    {"loss", "Loss", DT_UNIT_NUMBER, false, false},
    {"temperature", "Temperature", DT_UNIT_NUMBER, false, false},
    {"logit_scale", "Logit scale", DT_UNIT_NUMBER, false, false},
    {"lr", "Learning rate", DT_UNIT_NUMBER, true, false},
    {"learning_rate", "Learning rate", DT_UNIT_NUMBER, true, false},
    {"grad_norm", "Gradient norm", DT_UNIT_NUMBER, true, true},
    {"gradient_norm", "Gradient norm", DT_UNIT_NUMBER, true, true},
    {"pairs_per_second", "Pairs per second", DT_UNIT_NUMBER, true, false},
    {"waiting", "Time spent waiting for data", DT_UNIT_SHARE, true, false},
};

enum { KNOWN = sizeof known_series / sizeof known_series[0] };

static bool is_known(const char *key)
{
    for (int i = 0; i < KNOWN; i++)
        if (!strcmp(known_series[i].key, key))
            return true;
    return false;
}

static void write_known_charts(dt_writer *w, const page *p)
{
    for (int i = 0; i < KNOWN; i++) {
        const struct known *k = &known_series[i];
        const dt_series *s = dt_run_log_find(&p->log, "", k->key);
        if (s)
            dt_chart_write(w,
                           &(dt_chart){s, k->title, k->unit, k->from_zero, k->wide_range, p->log.last_step});
    }
}

/* "evaluation: top1". The caller frees. NULL: no memory. */
static char *title_of_series(const dt_series *s)
{
    char *title = NULL;
    return asprintf(&title, "%s%s%s", s->event, *s->event ? ": " : "", s->key) < 0 ? NULL : title;
}

/* One value is no curve. */
static bool is_single(const dt_series *s)
{
    return *s->event && s->finite == 1;
}

/* The series of steps that are not known by name, or those of events, in the order of the log. */
static void write_other_charts(dt_writer *w, const page *p, bool events)
{
    for (size_t i = 0; i < p->log.series_count; i++) {
        const dt_series *s = p->log.series[i];
        bool is_event = *s->event;
        if (is_event != events || (!events && is_known(s->key)) || is_single(s))
            continue;
        char *title = title_of_series(s);
        if (title)
            dt_chart_write(w, &(dt_chart){s, title, DT_UNIT_NUMBER, false, false, p->log.last_step});
        free(title);
    }
}

static void write_single(dt_writer *w, const dt_series *s)
{
    char room[DT_NUMBER_ROOM], step[DT_NUMBER_ROOM];
    char *title = title_of_series(s);
    dt_writer_printf(w, "<tr><th scope=\"row\">");
    dt_html_text_cut(w, title ? title : "", 80);
    dt_writer_printf(w, "</th><td>%s</td><td>%s</td></tr>\n", dt_html_number(s->last, room),
                     dt_html_count((int64_t)s->points[0].first, step));
    free(title);
}

static void write_singles(dt_writer *w, const dt_run_log *log)
{
    size_t count = 0;
    for (size_t i = 0; i < log->series_count; i++)
        if (is_single(log->series[i]) && !count++)
            dt_writer_printf(w,
                             "<table class=\"figures once\"><thead><tr><th scope=\"col\">Measured once</th>"
                             "<th scope=\"col\">Value</th><th scope=\"col\">Step</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < log->series_count; i++)
        if (is_single(log->series[i]))
            write_single(w, log->series[i]);
    if (count)
        dt_writer_printf(w, "</tbody></table>\n");
}

static void write_log_remarks(dt_writer *w, const dt_run_log *log)
{
    char room[DT_NUMBER_ROOM];
    uint64_t span = 1;
    for (size_t i = 0; i < log->series_count; i++)
        span = log->series[i]->span > span ? log->series[i]->span : span;
    if (span > 1)
        dt_writer_printf(w,
                         "<p class=\"note\">A point stands for up to %s steps: the curve is their mean, the "
                         "band goes from the "
                         "least to the greatest.</p>\n",
                         dt_html_count((int64_t)span, room));
    if (log->refused)
        dt_writer_printf(w,
                         "<p class=\"absent\">%s lines of log.jsonl were passed over: no JSON objects, or "
                         "going back in the "
                         "count of steps.</p>\n",
                         dt_html_count((int64_t)log->refused, room));
    if (log->left_out)
        dt_writer_printf(w,
                         "<p class=\"absent\">log.jsonl has more than %d series; the rest is left out.</p>\n",
                         DT_SERIES_MOST);
}

static void write_training(dt_writer *w, const page *p)
{
    dt_writer_printf(w, "<section aria-labelledby=\"training\"><h2 id=\"training\">Training</h2>\n");
    if (!p->log.series_count) {
        dt_writer_printf(w, "<p class=\"absent\">%s</p></section>\n",
                         p->has_log ? "log.jsonl has no numbers." : "No log.jsonl in this run: no curves.");
        return;
    }
    dt_writer_printf(w, "<p class=\"lead\">Over steps. Each panel shows its last value; point into a curve "
                        "for the others.</p>\n"
                        "<div class=\"charts\">\n");
    write_known_charts(w, p);
    write_other_charts(w, p, false);
    write_other_charts(w, p, true);
    dt_writer_printf(w, "</div>\n");
    write_singles(w, &p->log);
    write_log_remarks(w, &p->log);
    dt_writer_printf(w, "</section>\n");
}

/* ---- head and foot ---- */

static const char *config_text(const page *p, const char *key)
{
    const char *text = json_string_value(json_object_get(p->config, key));
    return text && *text ? text : NULL;
}

static const char *title_of(const page *p)
{
    const char *name = config_text(p, "name");
    return name ? name : p->folder;
}

/* "740 steps · 812 pairs/s · waiting for data 1.3 % of the time" */
static void write_summary(dt_writer *w, const page *p)
{
    char room[DT_NUMBER_ROOM];
    const char *between = "";
    const dt_series *pairs = dt_run_log_find(&p->log, "", "pairs_per_second");
    const dt_series *waiting = dt_run_log_find(&p->log, "", "waiting");
    dt_writer_printf(w, "<p class=\"summary\">");
    if (p->log.steps) {
        dt_writer_printf(w, "<span>%s steps</span>", dt_html_count((int64_t)p->log.last_step, room));
        between = " <span class=\"dot\">·</span> ";
    }
    if (pairs && pairs->finite) {
        double mean = pairs->sum / (double)pairs->finite;
        dt_writer_printf(w, "%s<span>%s pairs a second</span>", between,
                         dt_html_number(mean < 100 ? mean : round(mean), room));
        between = " <span class=\"dot\">·</span> ";
    }
    if (waiting && waiting->finite)
        dt_writer_printf(w, "%s<span>%s of the time waiting for data</span>", between,
                         dt_html_percent(waiting->sum / (double)waiting->finite, room));
    dt_writer_printf(w, "</p>\n");
}

/* The policy lets in what this file holds and nothing else; the nonce keeps out scripts that are not ours. */
static void write_head(dt_writer *w, const page *p)
{
    dt_writer_printf(
        w, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
           "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
           "style-src 'unsafe-inline'; script-src 'nonce-report'; base-uri 'none'; form-action 'none'\">\n"
           "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
           "<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
    dt_html_text_cut(w, title_of(p), 200);
    dt_writer_printf(
        w,
        " – Duet</title>\n<style>%s</style></head>\n<body><main>\n<header class=\"top\"><p class=\"kicker\">"
        "Duet run</p><h1 dir=\"auto\">",
        dt_report_css);
    dt_html_text_cut(w, title_of(p), 200);
    dt_writer_printf(w, "</h1>\n");
    if (config_text(p, "description")) {
        dt_writer_printf(w, "<p class=\"description\" dir=\"auto\">");
        dt_html_text_cut(w, config_text(p, "description"), 1000);
        dt_writer_printf(w, "</p>\n");
    }
    write_summary(w, p);
    dt_writer_printf(
        w, "<nav><a href=\"#figures\">Figures</a> <a href=\"#pictures\">Pictures</a> "
           "<a href=\"#training\">Training</a> <a href=\"#again\">How to reproduce</a></nav></header>\n");
}

static void write_settings(dt_writer *w, const page *p)
{
    dt_writer_printf(w, "<section aria-labelledby=\"again\"><h2 id=\"again\">How to reproduce</h2>\n");
    if (p->config) {
        dt_reproduce_write(w, p->config, p->run);
        dt_writer_printf(w, "<details><summary>Configuration</summary>\n");
        dt_config_write(w, p->config);
        dt_writer_printf(w, "</details>\n");
    } else {
        dt_writer_printf(
            w, "<p class=\"absent\">No config.json in this run: no command, no configuration.</p>\n");
    }
    dt_writer_printf(w, "</section>\n");
}

static bool write_page(const page *p, dt_error *error)
{
    char *path = dt_join(p->run, "report.html");
    if (!path)
        return dt_fail(error, "no memory for the report");
    dt_writer *w = dt_writer_open(path, error);
    free(path);
    if (!w)
        return false;
    write_head(w, p);
    write_figures(w, p);
    write_galleries(w, p);
    write_training(w, p);
    write_settings(w, p);
    dt_writer_printf(w, "</main><script nonce=\"report\">%s</script></body></html>\n", dt_report_script);
    return dt_writer_commit(w, error);
}
