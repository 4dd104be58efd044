#include "eval/report/compare.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/file.h"
#include "eval/report/drawn.h"
#include "eval/report/figures.h"
#include "eval/report/html.h"
#include "eval/report/measures.h"
#include "eval/report/page.h"
#include "eval/report/plot_curve.h"
#include "eval/report/relative.h"
#include "eval/report/config.h"
#include "eval/report/run.h"
#include "eval/report/smooth.h"
#include "eval/report/training.h"

enum {
    KEYS_MOST = 2000,    /* of all configurations */
    FIGURES_MOST = 1000, /* names of all figures */
    EVENTS_MOST = 40,    /* charts of series that have no title of their own */
    NAME_MOST = 120,
    NOT_COMPARED = 3,
};

typedef struct comparison {
    dt_run runs[DT_COMPARED_MOST];
    char *links[DT_COMPARED_MOST]; /* URLs of the runs' reports, or NULL */
    size_t count;
    dt_writer *writer;
} comparison;

static bool write_page(comparison *c, const char *out, dt_error *error);

bool dt_report_compare(const char *const *runs, size_t count, const char *out, dt_error *error)
{
    if (count < 2 || count > DT_COMPARED_MOST)
        return dt_fail(error, "expected 2 to %d runs to compare, found %zu", DT_COMPARED_MOST, count);
    comparison *c = calloc(1, sizeof *c);
    bool good = c || dt_fail(error, "no memory for the comparison");
    for (size_t i = 0; good && i < count; i++) {
        c->count++;
        good = dt_run_read(&c->runs[i], runs[i], error);
        char *report = good ? dt_join(runs[i], "report.html") : NULL;
        if (report && dt_file_exists(report))
            c->links[i] = dt_relative_url(out, report);
        free(report);
    }
    good = good && write_page(c, out, error);
    for (size_t i = 0; c && i < c->count; i++) {
        dt_run_free(&c->runs[i]);
        free(c->links[i]);
    }
    free(c);
    return good;
}

/* ---- head cells ---- */

static void write_run_name(const comparison *c, size_t run)
{
    const char *folder = dt_run_path_if_needed(c->runs, c->count, run);
    dt_writer_printf(c->writer, "<th scope=\"col\" class=\"name c%zu\"><i></i>", run % 10);
    if (c->links[run]) {
        dt_writer_printf(c->writer, "<a dir=\"auto\" href=\"");
        dt_html_text(c->writer, c->links[run]);
        dt_writer_printf(c->writer, "\">");
    }
    dt_html_text_cut(c->writer, dt_run_title(&c->runs[run]), NAME_MOST);
    dt_writer_printf(c->writer, "%s", c->links[run] ? "</a>" : "");
    if (folder) {
        dt_writer_printf(c->writer, "<small>");
        dt_html_text_cut(c->writer, folder, NAME_MOST);
        dt_writer_printf(c->writer, "</small>");
    }
    dt_writer_printf(c->writer, "</th>");
}

static void begin_table(const comparison *c, const char *class, const char *first, const char *label)
{
    dt_writer_printf(
        c->writer,
        "<div class=\"box\" tabindex=\"0\" role=\"region\" aria-label=\"%s\"><table class=\"compared%s\">"
        "<thead><tr><th scope=\"col\">%s</th>",
        label, class, first);
    for (size_t i = 0; i < c->count; i++)
        write_run_name(c, i);
    dt_writer_printf(c->writer, "</tr></thead><tbody>\n");
}

static void end_table(const comparison *c)
{
    dt_writer_printf(c->writer, "</tbody></table></div>\n");
}

/* ---- figures ---- */

static const dt_figure *find_figure(const dt_run *run, const char *name)
{
    for (size_t i = 0; i < run->findings.figure_count; i++)
        if (!strcmp(run->findings.figures[i].name, name))
            return &run->findings.figures[i];
    return NULL;
}

static bool is_better(const dt_figure *a, const dt_figure *b)
{
    return isnan(b->value) || (dt_figure_lower_better(a) ? a->value < b->value : a->value > b->value);
}

/* Outside of the figure's interval, where it has one. */
static bool lies_outside(const dt_figure *f, double value)
{
    return isnan(f->low) || value < f->low || value > f->high;
}

/* Whether readers see that the two differ: in the digits, and by more than the intervals. */
static bool is_apart(const dt_figure *a, const dt_figure *b)
{
    char one[DT_NUMBER_ROOM], two[DT_NUMBER_ROOM];
    return strcmp(dt_figure_text(a, a->value, one), dt_figure_text(b, b->value, two)) &&
           lies_outside(a, b->value) && lies_outside(b, a->value);
}

/* The best of a figure; NULL where fewer than two runs have it, or the best is not plainly better than each other. */
static const dt_figure *best_of(const comparison *c, const char *name)
{
    const dt_figure *best = NULL;
    size_t seen = 0;
    for (size_t i = 0; i < c->count; i++) {
        const dt_figure *f = find_figure(&c->runs[i], name);
        seen += f != NULL;
        best = f && (!best || is_better(f, best)) ? f : best;
    }
    for (size_t i = 0; best && i < c->count; i++) {
        const dt_figure *f = find_figure(&c->runs[i], name);
        if (f && f != best && !is_apart(best, f))
            return NULL;
    }
    return seen > 1 ? best : NULL;
}

/* A cell of a run, which names the run where the page is too narrow for columns. */
static void begin_cell(const comparison *c, size_t run, const char *class)
{
    const char *folder = dt_run_path_if_needed(c->runs, c->count, run);
    dt_writer_printf(c->writer, "<td class=\"c%zu%s\" data-run=\"", run % 10, class);
    dt_html_text_cut(c->writer, dt_run_title(&c->runs[run]), NAME_MOST);
    if (folder) {
        dt_writer_printf(c->writer, " · ");
        dt_html_text_cut(c->writer, folder, NAME_MOST);
    }
    dt_writer_printf(c->writer, "\">");
}

static void write_none(const comparison *c, size_t run)
{
    begin_cell(c, run, " none");
    dt_writer_printf(c->writer, "–</td>");
}

static void write_figure(const comparison *c, size_t run, const dt_figure *f, bool best, bool chance)
{
    char room[DT_NUMBER_ROOM], interval[DT_INTERVAL_ROOM];
    if (!f) {
        write_none(c, run);
        return;
    }
    begin_cell(c, run, best ? " best" : "");
    dt_writer_printf(c->writer, "<span>%s</span>", dt_figure_text(f, f->value, room));
    if (!isnan(f->low))
        dt_writer_printf(c->writer, "<small>%s</small>", dt_figure_interval(f, interval));
    if (f->n >= 0)
        dt_writer_printf(c->writer, "<small>n = %s</small>", dt_html_count(f->n, room));
    if (chance && !isnan(f->chance))
        dt_writer_printf(c->writer, "<small>chance %s</small>", dt_figure_text(f, f->chance, room));
    dt_writer_printf(c->writer, "</td>");
}

/* Whether all runs that have the figure have this chance, so that it is said once. */
static bool same_chance(const comparison *c, const dt_figure *figure)
{
    for (size_t i = 0; i < c->count; i++) {
        const dt_figure *f = find_figure(&c->runs[i], figure->name);
        if (f && !(f->chance == figure->chance || (isnan(f->chance) && isnan(figure->chance))))
            return false;
    }
    return true;
}

static void write_figure_row(const comparison *c, const dt_figure *f)
{
    char room[DT_NUMBER_ROOM];
    bool same = same_chance(c, f);
    const dt_figure *best = best_of(c, f->name);
    dt_writer_printf(c->writer, "<tr><th scope=\"row\"%s dir=\"auto\">",
                     dt_html_long_word(f->name) ? " class=\"long\"" : "");
    dt_html_text_cut(c->writer, f->name, NAME_MOST);
    if (same && !isnan(f->chance))
        dt_writer_printf(c->writer, "<small>chance %s</small>", dt_figure_text(f, f->chance, room));
    if (dt_figure_lower_better(f))
        dt_writer_printf(c->writer, "<small>lower is better</small>");
    dt_writer_printf(c->writer, "</th>");
    for (size_t i = 0; i < c->count; i++) {
        const dt_figure *of = find_figure(&c->runs[i], f->name);
        write_figure(c, i, of, of && of == best, !same);
    }
    dt_writer_printf(c->writer, "</tr>\n");
}

/* Whether an earlier run has the figure, or the same run at an earlier place. */
static bool was_seen(const comparison *c, size_t run, size_t place)
{
    const char *name = c->runs[run].findings.figures[place].name;
    for (size_t i = 0; i < run; i++)
        if (find_figure(&c->runs[i], name))
            return true;
    return find_figure(&c->runs[run], name) != &c->runs[run].findings.figures[place];
}

static void write_figures(const comparison *c)
{
    size_t rows = 0;
    begin_table(c, "", "Measure", "figures of all runs");
    for (size_t i = 0; i < c->count; i++)
        for (size_t j = 0; j < c->runs[i].findings.figure_count && rows < FIGURES_MOST; j++) {
            if (was_seen(c, i, j))
                continue;
            write_figure_row(c, &c->runs[i].findings.figures[j]);
            rows++;
        }
    end_table(c);
    if (!rows)
        dt_writer_printf(c->writer, "<p class=\"absent\">No run has figures.</p>\n");
    else
        dt_writer_printf(c->writer, "<p class=\"note\">★ the best, where it lies outside the others' 95\u202F%% intervals "
                                    "and they outside its own.</p>\n");
}

/* ---- configurations ---- */

/* Each path of any configuration: a list of its values, null where a run has none. */
typedef struct keys {
    json_t *table; /* path: [value of run 0, ...] */
    size_t run, count;
} keys;

static bool add_key(void *context, const char *path, const json_t *value)
{
    keys *k = context;
    json_t *row = json_object_get(k->table, path);
    if (!row && json_object_size(k->table) < KEYS_MOST) {
        json_object_set_new(k->table, path, json_array());
        row = json_object_get(k->table, path);
        for (size_t i = 0; i < k->count; i++)
            json_array_append_new(row, json_null());
    }
    if (row)
        json_array_set(row, k->run, (json_t *)value);
    return true;
}

static bool differs(const json_t *row)
{
    for (size_t i = 1; i < json_array_size(row); i++)
        if (!json_equal(json_array_get(row, 0), json_array_get(row, i)))
            return true;
    return false;
}

/* What is different by nature and says nothing. */
static bool is_compared(const char *path)
{
    static const char *const passed_over[NOT_COMPARED] = {"name", "description", "command"};
    for (int i = 0; i < NOT_COMPARED; i++)
        if (!strcmp(path, passed_over[i]))
            return false;
    return true;
}

static void write_key(const comparison *c, const char *path, const json_t *row)
{
    dt_writer_printf(c->writer, "<tr><th scope=\"row\">");
    dt_html_text_cut(c->writer, path, NAME_MOST);
    dt_writer_printf(c->writer, "</th>");
    for (size_t i = 0; i < c->count; i++) {
        const json_t *value = json_array_get(row, i);
        if (json_is_null(value)) {
            write_none(c, i);
            continue;
        }
        begin_cell(c, i, "");
        dt_writer_printf(c->writer, "<span>");
        dt_config_write_value(c->writer, value);
        dt_writer_printf(c->writer, "</span></td>");
    }
    dt_writer_printf(c->writer, "</tr>\n");
}

static void write_configurations(const comparison *c)
{
    keys k = {.table = json_object(), .count = c->count};
    for (; k.run < c->count; k.run++)
        dt_config_each(c->runs[k.run].config, add_key, &k);
    const char *path;
    json_t *row;
    size_t same = 0, rows = 0;
    begin_table(c, " keys", "Setting", "settings that differ");
    json_object_foreach(k.table, path, row)
    {
        bool other = differs(row) && is_compared(path);
        same += !differs(row);
        rows += other;
        if (other)
            write_key(c, path, row);
    }
    end_table(c);
    if (!rows)
        dt_writer_printf(c->writer, "<p class=\"absent\">The configurations do not differ.</p>\n");
    dt_writer_printf(c->writer, "<p class=\"note\">The same in all runs: %zu more.</p>\n", same);
    json_decref(k.table);
}

/* ---- training ---- */

/* One run's series as a line; a noisy one smoothed. False: no memory. */
static bool make_line(const comparison *c, size_t run, dt_line *line, const dt_known_series *known,
                      bool log_axis)
{
    const dt_series *s = dt_run_log_find(&c->runs[run].log, known->event, known->key);
    const char *folder = dt_run_path_if_needed(c->runs, c->count, run);
    *line = (dt_line){.name = folder ? folder : dt_run_title(&c->runs[run]), .n = -1};
    if (!s || !s->finite)
        return true;
    double smooth[DT_SERIES_POINTS];
    bool noisy = dt_series_noisy(s);
    if (noisy)
        dt_series_smooth(s, log_axis, smooth);
    line->dots = malloc(s->point_count * sizeof *line->dots);
    if (!line->dots)
        return false;
    for (size_t i = 0; i < s->point_count; i++)
        line->dots[i] = (dt_dot){.x = (s->points[i].first + s->points[i].last) / 2,
                                 .y = noisy ? smooth[i] : s->points[i].mean,
                                 .low = NAN,
                                 .high = NAN};
    line->dot_count = s->point_count;
    return true;
}

static bool all_positive(const comparison *c, const dt_known_series *known)
{
    for (size_t i = 0; i < c->count; i++) {
        const dt_series *s = dt_run_log_find(&c->runs[i].log, known->event, known->key);
        for (size_t j = 0; s && j < s->point_count; j++)
            if (s->points[j].least <= 0)
                return false;
    }
    return true;
}

static dt_unit unit_of(const comparison *c, const dt_known_series *known)
{
    bool shares = true;
    for (size_t i = 0; i < c->count; i++) {
        const dt_series *s = dt_run_log_find(&c->runs[i].log, known->event, known->key);
        shares = shares && (!s || dt_training_unit(known, s) == DT_UNIT_SHARE);
    }
    return shares ? DT_UNIT_SHARE : DT_UNIT_NUMBER;
}

/* How many runs have a curve of it; a single value is none. */
static size_t runs_with(const comparison *c, const dt_known_series *known)
{
    size_t count = 0;
    for (size_t i = 0; i < c->count; i++) {
        const dt_series *s = dt_run_log_find(&c->runs[i].log, known->event, known->key);
        count += s && s->finite > 1;
    }
    return count;
}

/* How many series have a chart, and how many none, as only one run has them. */
typedef struct tally {
    size_t charts, left_out;
} tally;

/* False: no memory. */
static bool write_chart(const comparison *c, const dt_known_series *known, tally *t)
{
    dt_line lines[DT_COMPARED_MOST] = {0};
    size_t runs = runs_with(c, known);
    bool wide = known->wide_range && all_positive(c, known), good = true;
    t->charts += runs > 1;
    t->left_out += runs == 1;
    if (runs < 2)
        return true;
    for (size_t i = 0; i < c->count; i++)
        good = good && make_line(c, i, &lines[i], known, wide);
    dt_curve curve = {.name = known->title, .x = "step", .y = "", .bars = "", .lines = lines, .line_count = c->count};
    dt_curve_look look = {unit_of(c, known), known->from_zero, wide, true, "training"};
    if (good)
        dt_curve_write(c->writer, &curve, &look);
    for (size_t i = 0; i < c->count; i++)
        free(lines[i].dots);
    return good;
}

static bool in_earlier_run(const comparison *c, size_t run, const dt_series *s)
{
    for (size_t i = 0; i < run; i++)
        if (dt_run_log_find(&c->runs[i].log, s->event, s->key))
            return true;
    return false;
}

/* What evaluations on the way found, under whatever name. */
static bool write_events(const comparison *c, tally *t)
{
    bool good = true;
    size_t most = t->charts + EVENTS_MOST;
    for (size_t i = 0; i < c->count; i++)
        for (size_t j = 0; good && j < c->runs[i].log.series_count && t->charts < most; j++) {
            const dt_series *s = c->runs[i].log.series[j];
            if (!*s->event || dt_training_is_known(s) || in_earlier_run(c, i, s))
                continue;
            char *title = dt_measure_title(s->event, s->key);
            good = title && write_chart(c, &(dt_known_series){s->event, s->key, title, dt_measure_unit(s->key), false,
                                                              false},
                                        t);
            free(title);
        }
    return good;
}

static bool write_training(const comparison *c, dt_error *error)
{
    bool good = true;
    tally t = {0};
    const dt_known_series *known;
    dt_writer_printf(
        c->writer,
        "<p class=\"lead\">Over steps; noisy curves are moving averages. Point into a curve for all "
        "values at that step.</p>\n<div class=\"charts\">\n");
    for (size_t i = 0; (known = dt_training_known(i)); i++)
        good = good && write_chart(c, known, &t);
    good = good && write_events(c, &t);
    dt_writer_printf(c->writer, "</div>\n");
    if (!t.charts)
        dt_writer_printf(c->writer, "<p class=\"absent\">No two runs have curves of the same.</p>\n");
    if (t.left_out)
        dt_writer_printf(c->writer, "<p class=\"note\">Left out, as only one run has %s: %zu series.</p>\n",
                         t.left_out == 1 ? "it" : "them", t.left_out);
    return good || dt_fail(error, "no memory for the curves");
}

/* ---- the page ---- */

static bool write_page(comparison *c, const char *out, dt_error *error)
{
    dt_writer *w = c->writer = dt_writer_open(out, error);
    bool drawn = dt_drawn_shared(c->runs, c->count);
    if (!w)
        return false;
    dt_page_begin(w, "Runs side by side", "Duet");
    dt_writer_printf(w,
                     "<p class=\"summary\">%zu runs</p><nav><a href=\"#figures\">Figures</a> %s"
                     "<a href=\"#settings\">Settings</a> <a href=\"#training\">Training</a></nav></header>\n",
                     c->count, drawn ? "<a href=\"#drawn\">Made</a> " : "");
    dt_section_begin(w, "figures", "Figures");
    write_figures(c);
    dt_section_end(w);
    if (drawn) {
        dt_section_begin(w, "drawn", "What the models make");
        dt_drawn_compare(w, c->runs, c->count);
        dt_section_end(w);
    }
    dt_section_begin(w, "settings", "Settings that differ");
    write_configurations(c);
    dt_section_end(w);
    dt_section_begin(w, "training", "Training");
    if (!write_training(c, error)) {
        dt_writer_abort(w);
        return false;
    }
    dt_section_end(w);
    dt_page_end(w);
    return dt_writer_commit(w, error);
}
