/* The report of a run: escaping, numbers, thinning, pictures, missing and damaged parts.
 *
 * With an argument the program makes a run in that folder and checks nothing: tests/report.t looks at its
 * report in a browser. */
#include <math.h>

#include "data/file.h"
#include "data/jpeg.h"
#include "data/json.h"
#include "data/pairs.h"
#include "eval/report/html.h"
#include "eval/report/measures.h"
#include "eval/report/plot_axis.h"
#include "eval/report/report.h"
#include "eval/report/run_log.h"
#include "tests/report_run.h"
#include "tests/tap.h"

enum { STEPS = 3210, SPIKE = 1234, MOST = RUN_BYTES_MOST };

static const char hostile[] = "</p><script>alert('1')</script>\" onload=\"x&y";
static const char hostile_escaped[] =
    "&lt;/p&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot; onload=&quot;x&amp;y";
static const char *const captions[] = {"red", "</p><script>alert('1')</script>\" onload=\"x&y",
                                       "\u202Eהתחלה\u202C"};

/* ---- a run ---- */

static bool make_store(const char *path, dt_error *error)
{
    dt_pairs_writer *writer = dt_pairs_create(path, true, error);
    for (int i = 0; writer && i < 3; i++) {
        uint8_t pixels[24 * 16 * 3], *jpeg;
        for (size_t p = 0; p < sizeof pixels; p++)
            pixels[p] = (uint8_t)((int)(p % 3) == i ? 200 : p / 8);
        dt_image image = dt_image_borrow(pixels, 24, 16, 3);
        size_t size;
        bool good = dt_jpeg_encode(&image, 90, false, &jpeg, &size, error);
        good = good && dt_pairs_add(writer,
                                    &(dt_pair_input){.jpeg = jpeg,
                                                     .jpeg_size = size,
                                                     .width = 24,
                                                     .height = 16,
                                                     .label = -1,
                                                     .weight = 1,
                                                     .captions = &captions[i],
                                                     .caption_count = 1},
                                    error);
        if (!good)
            return false;
        free(jpeg);
    }
    return writer && dt_pairs_finish(writer, NULL, 0, NULL, 0, NULL, error);
}

static bool write_log(const char *path, dt_error *error)
{
    dt_writer *w = dt_writer_open(path, error);
    if (!w)
        return false;
    for (int step = 1; step <= STEPS; step++) {
        double t = (double)step / STEPS, loss = 0.5 + 4 * exp(-6 * t) + 0.05 * sin(7.0 * step);
        dt_writer_printf(w, "{\"step\": %d, \"loss\": ", step);
        dt_writer_printf(w, step == 77 ? "null" : "%.9g", step == SPIKE ? 9.75 : loss);
        dt_writer_printf(
            w, ", \"pairs_per_second\": %d, \"waiting\": 0.0%d, \"lr\": %.9g, \"temperature\": %.9g, ",
            700 + step % 9, step % 5, 0.001 * (1 + cos(3.14159 * t)), 0.05 - 0.02 * t);
        dt_writer_printf(w, "\"grad_norm\": %.9g, \"note\": \"text\", \"<b>\": 1}\n",
                         step == 9 ? 400 : 1 + 0.5 * sin(step));
        if (step % 1000 == 0)
            dt_writer_printf(w, "{\"step\": %d, \"event\": \"evaluation\", \"top1\": %.3f}\n", step, 0.4 * t);
    }
    dt_writer_printf(w, "{\"step\": %d, \"event\": \"end\", \"seconds\": 93.5}\n", STEPS);
    dt_writer_printf(w, "not JSON\n{\"step\": 3, \"loss\": 1}\n\n{\"step\": 4000, \"lo");
    return dt_writer_commit(w, error);
}

static bool write_json(const char *folder, const char *name, json_t *value)
{
    char *path = dt_join(folder, name);
    bool good = value && dt_json_write(path, value, NULL);
    free(path);
    json_decref(value);
    return good;
}

static json_t *make_evaluation(const char *store)
{
    return json_pack("{s:[{s:s,s:f,s:i,s:f,s:s},{s:s,s:f,s:i,s:f},{s:s,s:f,s:b}],s:[{s:s,s:s,s:[{s:i,s:f,s:s,"
                     "s:b},{s:i,s:f,s:b},{s:i,s:f},{s:i}]},"
                     "{s:s,s:s,s:[{s:i}]}]}",
                     "figures", "name", "naming among 1,170", "value", 0.48321, "n", 1170, "chance",
                     1.0 / 1170, "note", hostile, "name", "text to image, R@1", "value", 0.75, "n", 98765,
                     "chance", 0.01, "name", "median rank", "value", 1.0, "rank", 1, "galleries", "query",
                     hostile, "store", store, "hits", "index", 1, "score", 0.71, "caption", "given",
                     "correct", 0, "index", 1, "score", 0.5, "correct", 1, "index", 2, "score", 0.25, "index",
                     3, "query", "elsewhere", "store", "missing.lmdb", "hits", "index", 0);
}

static json_t *make_config(void)
{
    return json_pack("{s:s,s:s,s:[ssss],s:{s:s,s:s},s:{s:{s:i,s:[iii]},s:b},s:[{s:i},{s:i}]}", "name",
                     "A run & its <name>", "description", "Made by a test.", "command", "duet", "pretrain",
                     "it's.json", "seed=1", "versions", "duet", "0.1.0", "engine", "v<3", "model", "vision",
                     "width", 64, "layers", 1, 2, 3, "sharp", 1, "stages", "steps", 5, "steps", 6);
}

static bool make_run(const char *folder, dt_error *error)
{
    char *log = dt_join(folder, "log.jsonl"), *store = dt_join(folder, "pairs.lmdb");
    bool good = dt_make_directories(folder, error) && write_log(log, error) && make_store(store, error);
    free(log);
    free(store);
    return good && write_json(folder, "config.json", make_config()) &&
           write_json(folder, "evaluation.json",
                      make_evaluation("pairs.lmdb")); /* a path from the run's folder */
}

/* ---- checks ---- */

/* What a function of eval/html.h writes. */
static char *written(const char *folder, void (*write)(dt_writer *, const char *), const char *text)
{
    char *path = dt_join(folder, "piece");
    dt_writer *w = dt_writer_open(path, NULL);
    write(w, text);
    dt_writer_commit(w, NULL);
    char *got = dt_file_read(path, MOST, NULL, NULL);
    free(path);
    return got;
}

static void put_base64(dt_writer *w, const char *text)
{
    dt_html_base64(w, (const uint8_t *)text, strlen(text));
}

static void put_five(dt_writer *w, const char *text)
{
    dt_html_text_cut(w, text, 5);
}

static void check_html(const char *folder)
{
    static const struct {
        void (*write)(dt_writer *, const char *);
        const char *text, *want;
    } rows[] = {
        {dt_html_text, "a<b>&\"'", "a&lt;b&gt;&amp;&quot;&#39;"},
        {dt_html_text, "é€𝄞", "é€𝄞"},
        {dt_html_text, "\xC0\xAF|\xED\xA0\x80|\xF4\x90\x80\x80|\xE2\x82", "��|���|����|��"},
        {dt_html_text, "\x01\t\n\x7F\xC2\x85", "�\t\n��"},
        {dt_html_text, "", ""},
        {put_five, "€€€€€", "€€€€€"},
        {put_five, "<<<<<<", "&lt;&lt;&lt;&lt;&lt;…"},
        {put_base64, "", ""},
        {put_base64, "f", "Zg=="},
        {put_base64, "fo", "Zm8="},
        {put_base64, "foobar", "Zm9vYmFy"},
        {put_base64, "\xFB\xFF\xFE", "+//+"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *got = written(folder, rows[i].write, rows[i].text);
        ok(got && !strcmp(got, rows[i].want), "writes %s (got %s)", rows[i].want, got ? got : "nothing");
        free(got);
    }
    char room[DT_NUMBER_ROOM];
    ok(!strcmp(dt_html_count(-1234567, room), "-1,234,567"), "thousands: %s", room);
    ok(!strcmp(dt_html_count(100, room), "100"), "hundreds: %s", room);
    ok(!strcmp(dt_html_percent(1.0 / 1170, room), "0.09\u202F%"), "a small share: %s", room);
    ok(!strcmp(dt_html_percent(0.4832, room), "48.3\u202F%"), "a share: %s", room);
    ok(!strcmp(dt_html_percent(1, room), "100\u202F%"), "all: %s", room);
    ok(!strcmp(dt_html_percent(0.000099, room), "0\u202F%"), "a tiny share: %s", room);
    ok(!strcmp(dt_html_percent(0.0001, room), "0.01\u202F%"), "the smallest share: %s", room);
    ok(!strcmp(dt_html_number(0.00002, room), "2.00e-05"), "a small number: %s", room);
    ok(!strcmp(dt_html_number(12.5, room), "12.50"), "a number: %s", room);
    ok(!strcmp(dt_html_number(-4321.4, room), "-4,321"), "a great number: %s", room);
    ok(!strcmp(dt_html_number(1e300, room), "1.00e+300"), "a huge number: %s", room);
    ok(!strcmp(dt_html_number(NAN, room), "not finite"), "no number: %s", room);
}

static void check_ranges(void)
{
    static const struct {
        double low, high;
        const char *percent, *number;
    } rows[] = {
        {1, 1, "100.0 to 100.0\u202F%", "1 to 1"},
        {0.9996, 1, "100.0 to 100.0\u202F%", "0.9996 to 1.0000"},
        {0, 0.023, "0.0 to 2.3\u202F%", "0.00000 to 0.02300"},
        {0.0086, 0.019, "0.86 to 1.90\u202F%", "0.00860 to 0.01900"},
        {3, 4.5, "300.0 to 450.0\u202F%", "3.000 to 4.500"},
        {5, 12345, "5 to 12,345", "5 to 12,345"},
        {0.00001, 5, "0.0 to 500.0\u202F%", "1.00e-05 to 5"},
    };
    char room[DT_RANGE_ROOM];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        ok(!strcmp(dt_html_percent_range(rows[i].low, rows[i].high, room), rows[i].percent), "%s: %s", rows[i].percent,
           room);
        ok(!strcmp(dt_html_number_range(rows[i].low, rows[i].high, room), rows[i].number), "%s: %s", rows[i].number,
           room);
    }
    ok(dt_html_long_word("an incomprehensibilities list") && !dt_html_long_word("mean per-class recall") &&
           !dt_html_long_word(""),
       "long words are found");
}

static void title_is(const char *event, const char *key, const char *want, dt_unit unit)
{
    char *title = dt_measure_title(event, key);
    ok(title && !strcmp(title, want) && dt_measure_unit(key) == unit, "%s, %s: %s", event, key, title);
    free(title);
}

static void check_titles(void)
{
    title_is("evaluation", "CIFAR-10 test: top1", "CIFAR-10 test: top-1 accuracy", DT_UNIT_SHARE);
    title_is("evaluation", "a: b: mean_class_recall", "a: b: mean per-class recall", DT_UNIT_SHARE);
    title_is("evaluation", "image_to_text_r10", "evaluation: image to text R@10", DT_UNIT_SHARE);
    title_is("evaluation", "x: text_to_image_r1x", "x: text_to_image_r1x", DT_UNIT_NUMBER);
    title_is("evaluation", "x: text_to_image_mean_rank", "x: text_to_image_mean_rank", DT_UNIT_NUMBER);
    title_is("evaluation", "x: accuracy_colour", "x: colour accuracy", DT_UNIT_SHARE);
    title_is("end", "seconds", "end: seconds", DT_UNIT_NUMBER);
    title_is("", "x: top5", "x: top-5 accuracy", DT_UNIT_SHARE);
    title_is("", ": ", ": ", DT_UNIT_NUMBER);
}

/* The ticks of axes of shares have plain labels. */
static void check_axis(const char *folder)
{
    char *path = dt_join(folder, "piece");
    const dt_plot_axis x = dt_plot_axis_linear(0, 1, 5, 0);
    for (int i = 0; i < 3; i++) {
        double value = (double[]){0, 1, 6e-8}[i];
        dt_plot_axis y = dt_plot_axis_fit(value, value, i == 0, DT_UNIT_SHARE);
        dt_writer *w = dt_writer_open(path, NULL);
        dt_plot_axis_write_labels(w, &x, DT_UNIT_NUMBER, &y, DT_UNIT_SHARE);
        dt_writer_commit(w, NULL);
        char *html = dt_file_read(path, MOST, NULL, NULL);
        ok(times(html, "class=\"y\"") > 1 && !holds(html, "e-") && dt_plot_axis_place(&y, value) >= 0 &&
               dt_plot_axis_place(&y, value) <= 1 && holds(html, i == 1 ? ">100.0\u202F%<" : ">0\u202F%<"),
           "an axis about the one share %g", value);
        free(html);
    }
    free(path);
}

static void check_log(const char *folder)
{
    char *path = dt_join(folder, "log.jsonl");
    dt_run_log log;
    dt_error error = {""};
    ok(dt_run_log_read(&log, path, &error), "the log is read %s", error.message);
    ok(log.steps == STEPS && log.last_step == STEPS, "the steps are counted");
    ok(log.refused == 2,
       "a line that is no JSON and one that goes back are refused, a torn one is not counted");
    const dt_series *loss = dt_run_log_find(&log, "", "loss");
    bool found = loss && dt_run_log_find(&log, "evaluation", "top1") && !dt_run_log_find(&log, "", "note");
    ok(found, "numbers are series, events have their own, texts are none");
    if (found) {
        double sum = 0, most = 0;
        uint64_t count = 0, finite = 0;
        for (size_t i = 0; i < loss->point_count; i++) {
            const dt_point *p = &loss->points[i];
            sum += p->mean * (double)p->finite, count += p->count, finite += p->finite;
            most = fmax(most, p->most);
        }
        ok(loss->point_count <= DT_SERIES_POINTS && loss->point_count > DT_SERIES_POINTS / 2,
           "%d values are %zu points", STEPS, loss->point_count);
        ok(count == STEPS && finite == STEPS - 1 && loss->finite == finite,
           "every value is in a point, the null not finite");
        ok(fabs(sum - loss->sum) < 1e-6 * sum, "the points' means have the sum of all");
        ok(most == 9.75, "a single spike survives");
        ok(loss->points[0].first == 1 && loss->points[loss->point_count - 1].last == STEPS,
           "the ends are the ends");
    }
    dt_run_log_free(&log);
    free(path);
}

/* The number of points in each data-points list. */
static void check_thinned(const char *html)
{
    int charts = 0, most = 0;
    for (const char *at = html; (at = strstr(at, "data-points=\"[[")); at++) {
        const char *end = strchr(at + 14, '"');
        int points = 0;
        for (const char *c = at + 14; c < end; c++)
            points += *c == '[';
        most = points > most ? points : most;
        charts++;
    }
    ok(charts == 8, "eight charts (%d)", charts);
    ok(most > 500 && most <= 1001, "no curve has over 1,000 points (%d)", most - 1);
}

static void check_pictures(const char *folder, const char *html)
{
    char *path = dt_join(folder, "pairs.lmdb"), *jpeg = NULL;
    dt_pairs *pairs = dt_pairs_open(path, NULL);
    dt_pair pair;
    char *piece = dt_join(folder, "piece");
    dt_writer *w = dt_writer_open(piece, NULL);
    if (pairs && dt_pairs_get(pairs, 1, &pair, NULL))
        dt_html_base64(w, pair.jpeg, pair.jpeg_size);
    dt_writer_commit(w, NULL);
    jpeg = dt_file_read(piece, MOST, NULL, NULL);
    ok(jpeg && *jpeg && times(html, jpeg) == 2, "a pair's JPEG is in the page for each hit, byte for byte");
    ok(times(html, "<img ") == 3 && times(html, "alt=\"") == 3, "three pictures, each with a text");
    ok(times(html, "no picture: ") == 2 && holds(html, "pairs.lmdb has 3 pairs, none with index 3") &&
           holds(html, "no pair store at missing.lmdb"),
       "a pair and a store that are not there are said");
    ok(holds(html, "✓ in place 2") && times(html, "<li class=\"correct\">") == 1, "the right one is marked");
    ok(holds(html, ">given</p>"), "a caption of the evaluation wins");
    ok(holds(html, "alt=\"\u202E"), "a caption of the store is taken otherwise");
    free(jpeg);
    free(piece);
    free(path);
    dt_pairs_close(pairs);
}

static void check_page(const char *folder)
{
    dt_error error = {""};
    ok(dt_report_write(folder, &error), "the report is written %s", error.message);
    size_t size, again;
    char *html = run_page(folder, "report.html", &size);
    json_t *text = json_stringn(html, size); /* refuses what is not UTF-8 */
    ok(text != NULL, "the page is UTF-8");
    json_decref(text);
    ok(!holds(html, "alert('1')") && !holds(html, "onload=\"") && holds(html, hostile_escaped),
       "hostile text is escaped");
    ok(times(html, "<script") == 1 && times(html, "</script>") == 1, "one script, ours");
    ok(!holds(html, "http:") && !holds(html, "https:") && !holds(html, "@import"), "nothing is fetched");
    ok(times(html, "src=\"") == times(html, "src=\"data:image/jpeg;base64,"), "all sources are in the page");
    ok(times(html, "<section") == 4 && times(html, "</section>") == 4 &&
           times(html, "<th ") == times(html, "</th>"),
       "sections and cells are closed");
    ok(holds(html, "<h1 dir=\"auto\">A run &amp; its &lt;name&gt;</h1>"), "the title");
    ok(holds(html, "48.3\u202F%</p>") &&
           holds(html, "chance 0.09\u202F% <span class=\"dot\">·</span> n = 1,170"),
       "the headline has its chance and n");
    ok(holds(html, "<td class=\"result\">75.0\u202F%</td><td>1.0\u202F%</td><td>98,765</td>"),
       "a figure has its chance and n");
    ok(holds(html, "<td class=\"result\">1</td><td>–</td><td>–</td>"), "a figure that is no share");
    ok(holds(html, "<span>&#39;it&#39;\\&#39;&#39;s.json&#39;</span> <span>seed=1</span>"),
       "the command is quoted for a shell");
    ok(holds(html, ">model.vision.layers</th><td>[1, 2, 3]</td>") &&
           holds(html, ">stages[1].steps</th><td>6</td>"),
       "the configuration is flattened");
    ok(holds(html, "end: seconds</th><td>93.50</td><td>3,210</td>"), "what was measured once is a row");
    ok(holds(html, "Not finite 1 time."), "a value that is not finite is said");
    ok(holds(html, "2 lines of log.jsonl were passed over"), "lines that were passed over are said");
    ok(holds(html, "aria-label=\"Loss over steps 1 to 3210: first ") && holds(html, "greatest 9.750\""),
       "a curve in words");
    check_thinned(html);
    check_pictures(folder, html);
    dt_report_write(folder, NULL);
    char *second = run_page(folder, "report.html", &again);
    ok(size == again && !memcmp(html, second, size), "the same run gives the same bytes");
    free(second);
    free(html);
}

static void refused(const char *folder, const char *part)
{
    dt_error error = {""};
    bool good = dt_report_write(folder, &error);
    ok(!good && holds(error.message, part), "refused: %s (%s)", part, error.message);
}

static void check_parts(const char *base)
{
    char *folder = dt_join(base, "parts"), *file = dt_join(base, "piece");
    dt_make_directories(folder, NULL);
    refused("/nonexistent/run", "/nonexistent/run is no folder");
    refused(file, "is no folder");
    refused(folder, "holds no config.json, log.jsonl or evaluation.json");

    put_text("parts/log.jsonl", "");
    ok(dt_report_write(folder, NULL), "an empty log is a report");
    size_t size;
    char *html = run_page(folder, "report.html", &size);
    ok(holds(html, "log.jsonl has no numbers") && holds(html, "No evaluation.json in this run") &&
           holds(html, "No config.json"),
       "what is missing is said");
    ok(holds(html, "<h1 dir=\"auto\">parts</h1>"), "without a name the folder's");
    ok(!holds(html, "<section") && holds(html, "<nav></nav>"), "what is empty has no section and no link");
    free(html);

    put_text("parts/log.jsonl", "junk\n");
    refused(folder, "log.jsonl: none of its lines is a JSON object");
    put_text("parts/log.jsonl", "junk");
    refused(folder, "log.jsonl: none of its lines is a JSON object");
    put_text("parts/log.jsonl", "\n \n[1]\n");
    refused(folder, "log.jsonl: none of its lines is a JSON object");
    put_text("parts/log.jsonl", "{\"step\": 1, \"lo");
    ok(dt_report_write(folder, NULL), "a run that was killed in its first line is a report");
    put_text("parts/log.jsonl", "{\"step\": 1, \"waiting\": 0, \"loss\": 2}\n");
    ok(dt_report_write(folder, NULL), "a log of one step");
    html = run_page(folder, "report.html", &size);
    ok(!holds(html, "<figure") && !holds(html, "Each panel") && holds(html, ">Loss</th><td>2</td><td>1</td>") &&
           holds(html, ">Time spent waiting for data</th><td>0\u202F%</td>"),
       "has lines of text, no panels");
    free(html);
    put_text("parts/log.jsonl", "{\"step\": 5, \"event\": \"validation\", \"accuracy\": 0.5}\n"
                             "{\"step\": 10, \"event\": \"validation\", \"accuracy\": 0.625}\n"
                             "{\"step\": 15, \"event\": \"validation\", \"accuracy\": 0.625}\n");
    ok(dt_report_write(folder, NULL), "a log of validations");
    html = run_page(folder, "report.html", &size);
    ok(holds(html, ">Kept: step 10, validation accuracy 62.5\u202F%, the best of 3</p>"), "the first of the best is kept");
    free(html);

    put_text("parts/log.jsonl", "{\"loss\": 1}\n{\"loss\": null}\n{\"x\": 1e308, \"y\": -1e308, \"loss\": 0}");
    put_text("parts/evaluation.json", "{}");
    ok(dt_report_write(folder, NULL), "a log without steps, with values beyond all measure");
    html = run_page(folder, "report.html", &size);
    ok(times(html, "<figure") == 1 && holds(html, "steps 1 to 3"),
       "steps are counted, such values are no curve");
    ok(holds(html, "evaluation.json has no figures") && !holds(html, "nan") && !holds(html, "inf%"),
       "an empty evaluation");

    put_text("parts/evaluation.json",
        "{\"figures\": [{\"name\": \"a\", \"value\": 1}, {\"name\": 1, \"value\": 1}]}");
    refused(folder, "evaluation.json: figures[1].name: expected a string");
    put_text("parts/evaluation.json",
        "{\"galleries\": [{\"query\": \"a\", \"store\": \"b\", \"hits\": [{\"index\": -1}]}]}");
    refused(folder, "galleries[0].hits[0].index");
    put_text("parts/evaluation.json",
        "{\"galleries\": [{\"query\": \"a\", \"store\": \"b\", \"hits\": [{\"index\": 1, \"correct\": "
        "2}]}]}");
    refused(folder, "galleries[0].hits[0].correct: expected a boolean, found an integer");
    put_text("parts/evaluation.json", "[");
    refused(folder, "evaluation.json:1:1");
    unlink(in("parts/evaluation.json"));
    put_text("parts/config.json", "{\"steps\": 5}");
    ok(dt_report_write(folder, NULL), "a configuration without a command");
    free(html);
    html = run_page(folder, "report.html", &size);
    ok(holds(html, "<span>pretrain</span> ") && holds(html, "/parts/config.json</span> <span>--out</span>"),
       "is one to run");
    put_text("parts/config.json", "[1]");
    refused(folder, "config.json: expected an object");
    char *kept = run_page(folder, "report.html", &size);
    ok(!strcmp(kept, html), "after a refusal the old report is there");
    free(kept);
    free(html);
    free(folder);
    free(file);
}

int main(int argc, char **argv)
{
    const char *folder = argc > 1 ? argv[1] : scratch();
    dt_error error = {""};
    if (!make_run(folder, &error)) {
        printf("Bail out! %s\n", error.message);
        return 1;
    }
    if (argc > 1)
        return 0;
    check_html(folder);
    check_ranges();
    check_titles();
    check_axis(folder);
    check_log(folder);
    check_page(folder);
    check_parts(folder);
    return done();
}
