/* The plots of a report and the comparison of runs: what runs with everything show, and what is refused.
 *
 * With an argument the program makes two runs in that folder and checks nothing: tests/report.t looks at
 * their reports in a browser. */
#include "eval/report/compare.h"
#include "eval/findings.h"
#include "eval/report/plot_label.h"
#include "eval/report/relative.h"
#include "eval/report/report.h"
#include "tests/report_run.h"
#include "tests/tap.h"

static const char escaped[] =
    "&lt;/p&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot; onload=&quot;x&amp;y";
static dt_error error;

static bool make_runs(const char *base)
{
    char *first = dt_join(base, "first"), *second = dt_join(base, "second & <b>");
    bool good =
        run_make(first, "First run", 0, 6, &error) && run_make(second, "Second run", 0.013, 3, &error);
    free(first);
    free(second);
    return good;
}

/* ---- a page with everything ---- */

static void check_whole(const char *html)
{
    json_t *text = json_string(html); /* refuses what is not UTF-8 */
    ok(text != NULL, "the page is UTF-8");
    json_decref(text);
    ok(times(html, "<script") == 1 && times(html, "</script>") == 1 && !holds(html, "alert('1')") &&
           !holds(html, "onload=\"") && holds(html, escaped),
       "hostile text is escaped, one script is ours");
    ok(!holds(html, "http:") && !holds(html, "https:") &&
           times(html, "src=\"") == times(html, "src=\"data:image/jpeg;base64,"),
       "nothing is fetched");
    ok(times(html, "<section") == 9 && times(html, "</section>") == 9 &&
           times(html, "<figure ") == times(html, "</figure>") &&
           times(html, "<table") == times(html, "</table>") && times(html, "<div") == times(html, "</div>") &&
           times(html, "<td") == times(html, "</td>") && times(html, "<ul") == times(html, "</ul>"),
       "nine sections; what is opened is closed");
    ok(times(html, "=\"nan") == 0 && !holds(html, "nan,") && !holds(html, "inf,") && !holds(html, ">nan"),
       "no NaN leaks out");
}

static void check_parts(const char *html)
{
    ok(holds(html, "95\u202F% interval 85.3 to 86.7\u202F%</span>") &&
           holds(html, "<small class=\"interval\">70.5 to 72.3\u202F%</small>"),
       "intervals stand by their values");
    ok(times(html, "<figure class=\"confusion\">") == 3 && holds(html, "airplane right: ") &&
           holds(html, " taken for "),
       "cells have words");
    const char *matrix = strstr(html, "smallest\"");
    ok(matrix && times(matrix, "<th scope=\"row\"><span dir=\"auto\" title=\"class number ") == 128 &&
           holds(html, "class number 127</span></th>"),
       "128 classes are all there");
    ok(times(html, "71 of 1,000 (7.1\u202F%)") == 3, "the worst say how often of how many");
    ok(times(html, "no picture: no pair store at photos/") == 6,
       "a store that is not there is said once a pair of classes");
    ok(times(html, "<img ") == 6 * 5 * 2 + 3 * 6 + 2, "examples, hits, and two queries that are pictures");
    ok(holds(html, "ECE 2.4\u202F% · n = 10,000") && times(html, " data-bins='[[") == 2 &&
           holds(html, "%: none\"]"),
       "calibration has its error and n, and empty bins");
    ok(holds(html, "to 100\u202F%") == false && holds(html, "\"93.3 to 100.0\u202F%: "), "a bin in words");
    ok(times(html, "<figure class=\"chart curve\">") == 3 &&
           holds(html, "<p class=\"x-title\">images a class</p>") && holds(html, ">16</span>") &&
           holds(html, "n = 2,500"),
       "curves have axes, ticks at what was measured, and n");
    ok(holds(html, "<th scope=\"row\" dir=\"auto\">macro mean</th><td data-v=\"0.871\">87.1\u202F%</td>") &&
           holds(html, "<td data-v=\"10000\">10,000</td>") &&
           holds(html, "<details class=\"table\"><summary>the most classes"),
       "tables: shares, counts, long ones fold");
    ok(holds(html, "<b>0.612</b>") && holds(html, "<b>0.271</b>") &&
           holds(html, "33.0\u202F% of the variance") && holds(html, "map of 2500 images and 2500 texts"),
       "the map says its gap, cosine and variance");
    ok(times(html, "<span class=\"prompt") > 2 && times(html, "<span class=\"prompt") <= 20,
       "few texts have their names on the map (%d)", times(html, "<span class=\"prompt"));
    const char *pictures = strstr(html, "data-pictures='{"),
               *end = pictures ? strchr(pictures + 16, '\'') : NULL;
    int shown = 0;
    for (const char *at = pictures; at && at < end; at++)
        shown += *at == ':';
    ok(shown > 100 && shown <= 200, "a map has at most 200 pictures (%d)", shown);
    ok(holds(html, ">Validation accuracy</span>") && holds(html, "Images per second") &&
           holds(html, "908 images a second"),
       "a fine-tuning's series are known");
}

static void check_page(const char *folder)
{
    size_t size, again;
    ok(dt_report_write(folder, &error), "the report is written %s", error.message);
    char *html = run_page(folder, "report.html", &size);
    check_whole(html);
    check_parts(html);
    dt_report_write(folder, NULL);
    char *second = run_page(folder, "report.html", &again);
    ok(size == again && !memcmp(html, second, size), "the same run gives the same bytes");
    ok(size < 3 << 20, "in %zu KiB", size >> 10);
    free(second);
    free(html);
}

/* ---- what is refused ---- */

/* The findings whose only list is `list` with the one item. */
static void write_item(const char *folder, const char *list, const char *item)
{
    char *path = dt_join(folder, "evaluation.json");
    dt_writer *w = dt_writer_open(path, NULL);
    dt_writer_printf(w, "{\"%s\": [%s]}", list, item);
    dt_writer_commit(w, NULL);
    free(path);
}

static void refused(const char *folder, const char *list, const char *item, const char *part)
{
    error.message[0] = 0;
    write_item(folder, list, item);
    bool good = dt_report_write(folder, &error);
    ok(!good && holds(error.message, "evaluation.json: ") && holds(error.message, part), "refused: %s (%s)",
       part, error.message);
}

static void accepted(const char *folder, const char *list, const char *item, const char *part)
{
    size_t size;
    error.message[0] = 0;
    write_item(folder, list, item);
    bool good = dt_report_write(folder, &error);
    char *html = run_page(folder, "report.html", &size);
    ok(good && holds(html, part) && !holds(html, "nan") && !holds(html, "inf\""), "shown: %s (%s)", part,
       error.message);
    free(html);
}

static void check_refusals(const char *folder)
{
    const char *f = folder;
    dt_make_directories(f, NULL);
    refused(f, "figures", "{\"name\": \"a\", \"value\": 1, \"low\": 0.5}",
            "figures[0]: expected low and high");
    refused(f, "figures", "{\"name\": \"a\", \"value\": 1, \"low\": 0.5, \"high\": 0.4}",
            "found 0.5 and 0.4");
    refused(f, "galleries", "{\"query\": \"a\", \"store\": \"b\", \"hits\": [], \"image\": 3}",
            "galleries[0].image");
    refused(
        f, "galleries",
        "{\"query\": \"a\", \"store\": \"b\", \"hits\": [], \"image\": {\"store\": \"b\", \"index\": -1}}",
        "image.index");
    refused(f, "confusions", "7", "confusions[0]: expected an object");
    refused(f, "confusions", "{\"name\": \"a\", \"classes\": []}", "expected at least one class");
    refused(f, "confusions", "{\"name\": \"a\", \"classes\": [\"x\", 2]}", "classes[1]: expected a string");
    refused(f, "confusions", "{\"name\": \"a\", \"classes\": [\"x\"], \"counts\": [[1], [2]]}",
            "expected a row for each of the 1 classes");
    refused(f, "confusions", "{\"name\": \"a\", \"classes\": [\"x\", \"y\"], \"counts\": [[1, 2], [1]]}",
            "counts[1]: expected a count for each");
    refused(f, "confusions", "{\"name\": \"a\", \"classes\": [\"x\"], \"counts\": [[-1]]}",
            "counts[0][0]: expected a count");
    refused(f, "confusions", "{\"name\": \"a\", \"classes\": [\"x\"], \"counts\": [[0.5]]}",
            "found a number");
    refused(f, "confusions", "{\"name\": \"a\", \"classes\": [\"x\"], \"counts\": [[9000000000000000000]]}",
            "out of range");
    refused(f, "confusions", "{\"name\": \"a\", \"classes\": [\"x\"], \"counts\": [3]}",
            "counts[0]: expected a list");
    refused(f, "confusions",
            "{\"name\": \"a\", \"classes\": [\"x\"], \"worst\": [{\"true\": 0, \"predicted\": 1, \"count\": "
            "1, \"of\": 2}]}",
            "expected labels below 1, found 0 and 1");
    refused(f, "confusions",
            "{\"name\": \"a\", \"classes\": [\"x\"], \"worst\": [{\"true\": -1, \"predicted\": 0, \"count\": "
            "1, \"of\": 2}]}",
            "worst[0].true");
    refused(f, "confusions",
            "{\"name\": \"a\", \"classes\": [\"x\"], \"worst\": [{\"true\": 0, \"predicted\": 0, \"count\": "
            "3, \"of\": 2}]}",
            "expected a count of at most 2, found 3");
    refused(f, "confusions",
            "{\"name\": \"a\", \"classes\": [\"x\"], \"worst\": [{\"true\": 0, \"predicted\": 0, \"count\": "
            "1, \"of\": 2, \"examples\": [-4]}]}",
            "examples[0]: expected an index from 0, found a negative one");
    refused(f, "confusions",
            "{\"name\": \"a\", \"classes\": [\"x\"], \"worst\": [{\"true\": 0, \"predicted\": 0, \"count\": "
            "1, \"of\": 2, \"examples\": "
            "[1,2,3,4,5,6,7,8,9]}]}",
            "examples: expected at most 8 items, found 9");
    refused(f, "reliability", "{\"name\": \"a\", \"bins\": [{\"low\": 0, \"high\": 1.5, \"count\": 1}]}",
            "bins[0].high");
    refused(f, "reliability", "{\"name\": \"a\", \"bins\": [{\"low\": 0.5, \"high\": 0.5, \"count\": 1}]}",
            "expected bins that rise");
    refused(f, "reliability",
            "{\"name\": \"a\", \"bins\": [{\"low\": 0.5, \"high\": 1, \"count\": 1}, {\"low\": 0, \"high\": "
            "0.5, \"count\": 1}]}",
            "bins[1]: expected bins that rise");
    refused(f, "reliability", "{\"name\": \"a\", \"bins\": [{\"low\": 0, \"high\": 1, \"count\": -1}]}",
            "bins[0].count");
    refused(f, "tables", "{\"name\": \"a\", \"columns\": [\"x\", \"y\"], \"rows\": [[1]]}",
            "rows[0]: expected a cell for each of the 2 columns");
    refused(f, "tables", "{\"name\": \"a\", \"columns\": [], \"rows\": []}", "expected at least one column");
    refused(f, "tables", "{\"name\": \"a\", \"columns\": [\"x\"], \"rows\": [[{}]]}",
            "expected texts and numbers, found an object");
    refused(f, "curves",
            "{\"name\": \"a\", \"x\": \"x\", \"y\": \"y\", \"series\": [{\"name\": \"s\", \"points\": [[1, "
            "2, 3]]}]}",
            "points[0]: expected [x, y] or [x, y, low, high], found 3");
    refused(f, "curves",
            "{\"name\": \"a\", \"x\": \"x\", \"y\": \"y\", \"series\": [{\"name\": \"s\", \"points\": [[1, "
            "null]]}]}",
            "found null");
    refused(f, "curves",
            "{\"name\": \"a\", \"x\": \"x\", \"y\": \"y\", \"series\": [{\"name\": \"s\", \"points\": [[1, "
            "1e200]]}]}",
            "numbers below 1e100");
    refused(f, "curves",
            "{\"name\": \"a\", \"x\": \"x\", \"y\": \"y\", \"series\": [{\"name\": \"s\", \"points\": [[2, "
            "1], [1, 1]]}]}",
            "expected x to rise, found 1 after 2");
    refused(f, "curves",
            "{\"name\": \"a\", \"x\": \"x\", \"y\": \"y\", \"wide\": true, \"series\": [{\"name\": \"s\", "
            "\"points\": [[0, 1]]}]}",
            "above 0 on a wide axis");
    refused(f, "maps", "{\"name\": \"a\", \"points\": [{\"x\": 0, \"y\": 0, \"kind\": \"sound\"}]}",
            "points[0].kind");
    refused(f, "maps",
            "{\"name\": \"a\", \"classes\": [\"c\"], \"points\": [{\"x\": 0, \"y\": 0, \"kind\": \"text\", "
            "\"label\": 1}]}",
            "points[0].label: expected below 1, found 1");
    refused(f, "maps",
            "{\"name\": \"a\", \"points\": [{\"x\": 0, \"y\": 0, \"kind\": \"image\", \"index\": -3}]}",
            "points[0].index");
    refused(f, "maps", "{\"name\": \"a\", \"points\": [], \"explained\": [0.5]}", "expected two shares");
}

/* Odd, but good. */
static void check_odd(const char *f)
{
    accepted(f, "confusions",
             "{\"name\": \"a\", \"classes\": [\"x\", \"</td>\"], \"counts\": [[0, 0], [0, 5]]}",
             "&lt;/td&gt; right: 5 of 5 (100");
    accepted(f, "confusions", "{\"name\": \"only names\", \"classes\": [\"x\"]}", "1 classes");
    accepted(f, "reliability", "{\"name\": \"no bins\", \"bins\": []}", "no bins");
    accepted(f, "reliability",
             "{\"name\": \"one\", \"bins\": [{\"low\": 0, \"high\": 1, \"count\": 3, \"confidence\": 1, "
             "\"accuracy\": 0}]}",
             "0\u202F% right");
    accepted(f, "tables", "{\"name\": \"no rows\", \"columns\": [\"</th>\"], \"rows\": []}", "&lt;/th&gt;");
    accepted(f, "tables",
             "{\"name\": \"mixed\", \"columns\": [\"a\", \"b\"], \"rows\": [[\"x\", 2], [null, \"</b>\"]]}",
             "&lt;/b&gt;");
    accepted(f, "curves",
             "{\"name\": \"one point\", \"x\": \"x\", \"y\": \"loss\", \"wide\": true, \"series\": "
             "[{\"name\": \"s\", \"points\": [[3, 0]]}]}",
             ">3</span>");
    accepted(f, "curves",
             "{\"name\": \"far\", \"x\": \"x\", \"y\": \"y\", \"series\": [{\"name\": \"s\", \"points\": "
             "[[-1e99, -1e99], [1e99, 1e99]]}]}",
             "far");
    accepted(f, "maps",
             "{\"name\": \"one place\", \"points\": [{\"x\": 1, \"y\": 1, \"kind\": \"image\"}, {\"x\": 1, "
             "\"y\": 1, \"kind\": \"text\"}]}",
             "map of 1 images and 1 texts");
    accepted(f, "maps",
             "{\"name\": \"far\", \"store\": \"none.lmdb\", \"points\": [{\"x\": -1e99, \"y\": 0, \"kind\": "
             "\"image\", \"index\": 0}, "
             "{\"x\": 1e99, \"y\": 1e-9, \"kind\": \"text\", \"text\": \"'>\\\"\"}]}",
             "&#39;&gt;\\&quot;");
    accepted(f, "galleries",
             "{\"query\": \"a file\", \"store\": \"b\", \"hits\": [], \"image_file\": \"evaluation.json\"}",
             "no picture: ");
    accepted(f, "galleries", "{\"query\": \"a\", \"store\": \"b\", \"hits\": [{\"index\": 0}]}",
             "each with its score.</p>");
    accepted(f, "galleries", "{\"query\": \"a\", \"store\": \"b\", \"hits\": [{\"index\": 0, \"correct\": false}]}",
             "each with its score. A right one has a frame and a ✓.</p>");
    accepted(f, "galleries",
             "{\"query\": \"a device\", \"store\": \"b\", \"hits\": [], \"image_file\": \"/dev/zero\"}",
             "no picture: ");
}

/* The images of a folder instead of a store. */
static void check_folder(const char *folder, const char *first)
{
    char *class = dt_join(folder, "pics/grey cat"), *to = dt_join(folder, "pics/grey cat/a.jpg"),
         *from = dt_join(first, "query.jpg");
    size_t size;
    char *bytes = dt_file_read(from, RUN_BYTES_MOST, &size, NULL);
    ok(bytes && dt_make_directories(class, NULL) && dt_file_write(to, bytes, size, NULL),
       "a folder with an image");
    accepted(folder, "confusions",
             "{\"name\": \"a\", \"classes\": [\"x\"], \"store\": \"pics\", \"worst\": [{\"true\": 0, "
             "\"predicted\": 0, \"count\": 1, "
             "\"of\": 2, \"examples\": [0, 1]}]}",
             "pics has 1 images, none with index 1");
    accepted(folder, "galleries", "{\"query\": \"a\", \"store\": \"pics\", \"hits\": [{\"index\": 0}]}",
             "dir=\"auto\">grey cat</p>");
    accepted(folder, "galleries", "{\"query\": \"a\", \"store\": \"pics\", \"hits\": [{\"index\": 0}]}",
             "src=\"data:image/jpeg;base64,");
    free(bytes);
    free(class);
    free(to);
    free(from);
}

/* ---- merging ---- */

static void check_merge(const char *base)
{
    char *path = dt_join(base, "merged.json");
    json_t *found = run_findings(0), *more = run_findings(0.1), *odd = json_pack("{s:i}", "curves", 3);
    ok(dt_findings_merge(path, found, &error) && dt_findings_merge(path, more, &error), "merged twice %s",
       error.message);
    json_t *merged = dt_json_load(path, &error);
    const char *key;
    json_t *list;
    json_object_foreach(found, key, list)
    {
        ok(json_array_size(json_object_get(merged, key)) == json_array_size(list),
           "%s: nothing doubled, nothing lost", key);
    }
    const json_t *first = json_array_get(json_object_get(merged, "figures"), 0);
    ok(fabs(json_number_value(json_object_get(first, "value")) - 0.96) < 1e-9, "replaced in its place");
    ok(!dt_findings_merge(path, odd, &error) && holds(error.message, "curves: expected a list"),
       "no list: %s", error.message);
    dt_findings findings;
    ok(dt_findings_read(&findings, path, &error) && findings.map_count == 3 &&
           findings.maps[1].point_count == 5000,
       "read again %s", error.message);
    dt_findings_free(&findings);
    json_decref(merged);
    json_decref(found);
    json_decref(more);
    json_decref(odd);
    free(path);
}

/* ---- the comparison ---- */

static void check_compare(const char *base)
{
    char *first = dt_join(base, "first"), *second = dt_join(base, "second & <b>"),
         *out = dt_join(base, "compare.html");
    const char *runs[] = {first, second};
    size_t size;
    dt_report_write(second, NULL);
    ok(dt_report_compare(runs, 2, out, &error), "compared %s", error.message);
    char *html = run_page(base, "compare.html", &size);
    ok(times(html, "href=\"./first/report.html\"") == 2 &&
           times(html, "href=\"./second%20%26%20%3Cb%3E/report.html\"") == 2,
       "each run's report is linked");
    ok(holds(html, "<td class=\"c0\" data-run=\"First run\"><span>86.0\u202F%</span><small>85.3 to 86.7\u202F%</small>"
                   "<small>n = 10,000</small></td><td class=\"c1 best\" data-run=\"Second run\"><span>87.3"),
       "the best is marked, n and the interval stand by");
    ok(holds(html, "<td class=\"c0 best\" data-run=\"First run\"><span>2.1\u202F%"),
       "the smallest calibration error is the best");
    ok(times(html, " best\"") == 4 && times(html, "lower is better") == 2,
       "the same rank twice is no best");
    ok(holds(html, "<span>0.0006</span></td><td class=\"c1\" data-run=\"Second run\"><span>0.0003</span></td>") &&
           !holds(html, ">model.width</th>") &&
           holds(html, "all runs: 4 more"),
       "the settings that differ, and only they");
    ok(times(html, "<figure ") == 6 && times(html, "data-group=\"training\"") == 6 &&
           times(html, "<li class=\"c1\">") == 6,
       "six charts of both runs");
    ok(times(html, "<script") == 1 && !holds(html, "nan"), "one script, no NaN");
    error.message[0] = 0;
    ok(!dt_report_compare(runs, 1, out, &error) && holds(error.message, "expected 2 to 20 runs"),
       "one run: %s", error.message);
    ok(!dt_report_compare((const char *[]){first, base}, 2, out, &error) &&
           holds(error.message, "holds no config.json"),
       "no run: %s", error.message);
    char *kept = run_page(base, "compare.html", &size);
    ok(!strcmp(kept, html), "after a refusal the old page is there");
    free(kept);
    free(html);
    free(first);
    free(second);
    free(out);
}

/* Two runs of one figure each. */
static void star_is(const char *base, const char *first, const char *second, int stars, const char *name)
{
    char *one = dt_join(base, "star/one"), *two = dt_join(base, "star/two"), *out = dt_join(base, "star.html");
    size_t size;
    dt_make_directories(one, NULL);
    dt_make_directories(two, NULL);
    write_item(one, "figures", first);
    write_item(two, "figures", second);
    ok(dt_report_compare((const char *[]){one, two}, 2, out, &error), "compared %s", error.message);
    char *html = run_page(base, "star.html", &size);
    ok(times(html, " best\"") == stars, "%s: %d", name, times(html, " best\""));
    free(html);
    free(one);
    free(two);
    free(out);
}

static void check_stars(const char *base)
{
    const char *whole = "{\"name\": \"a\", \"value\": 0.9902, \"low\": 0.988, \"high\": 0.992}";
    star_is(base, whole, "{\"name\": \"a\", \"value\": 0.9898, \"low\": 0.988, \"high\": 0.992}", 0,
            "the same digits, the same interval");
    star_is(base, whole, "{\"name\": \"a\", \"value\": 0.989, \"low\": 0.987, \"high\": 0.991}", 0,
            "intervals that hold the other value");
    star_is(base, whole, "{\"name\": \"a\", \"value\": 0.985, \"low\": 0.983, \"high\": 0.989}", 1,
            "intervals that overlap, but hold no other value");
    star_is(base, whole, "{\"name\": \"a\", \"value\": 0.989}", 0, "one interval");
    star_is(base, "{\"name\": \"a\", \"value\": 0.9902}", "{\"name\": \"a\", \"value\": 0.9898}", 0,
            "no intervals, the same digits");
    star_is(base, "{\"name\": \"a\", \"value\": 0.991}", "{\"name\": \"a\", \"value\": 0.9898}", 1,
            "no intervals, other digits");
    star_is(base, whole, "{\"name\": \"b\", \"value\": 0.5}", 0, "nothing to compare with");
}

static void put_log(const char *base, const char *run, const char *text)
{
    char *folder = dt_join(base, run), *path = dt_join(folder, "log.jsonl");
    dt_make_directories(folder, NULL);
    dt_file_write(path, text, strlen(text), NULL);
    free(folder);
    free(path);
}

static void check_lonely(const char *base)
{
    char *one = dt_join(base, "star/one"), *two = dt_join(base, "star/two"), *out = dt_join(base, "lonely.html");
    size_t size;
    put_log(base, "star/one", "{\"step\": 1, \"loss\": 1, \"lr\": 1}\n{\"step\": 2, \"loss\": 1, \"lr\": 1}\n"
                              "{\"step\": 1, \"event\": \"evaluation\", \"x: top1\": 0.5}\n"
                              "{\"step\": 2, \"event\": \"evaluation\", \"x: top1\": 0.5}\n"
                              "{\"step\": 3, \"event\": \"evaluation\", \"x: top1\": 0.5}\n");
    put_log(base, "star/two", "{\"step\": 1, \"loss\": 1}\n{\"step\": 2, \"loss\": 3, \"lr\": 1}\n");
    ok(dt_report_compare((const char *[]){one, two}, 2, out, &error), "compared %s", error.message);
    char *html = run_page(base, "lonely.html", &size);
    ok(times(html, "<figure ") == 1 && holds(html, "as only one run has them: 2 series."),
       "curves of one run are left out and counted");
    free(html);
    put_log(base, "star/two", "");
    dt_report_compare((const char *[]){one, two}, 2, out, &error);
    html = run_page(base, "lonely.html", &size);
    ok(!holds(html, "<figure ") && holds(html, "No two runs have curves") && holds(html, "has them: 3 series."),
       "no curves in common");
    free(html);
    free(one);
    free(two);
    free(out);
}

/* ---- labels of a map ---- */

static void check_labels(void)
{
    static const double widths[] = {358, 420, 500, 600, 700};
    size_t shown = 0, all = 0;
    int bad = 0;
    for (int round = 0; round < 200; round++) {
        dt_label labels[DT_LABELS_MOST];
        size_t count = 1 + (size_t)round % DT_LABELS_MOST;
        double shape = 0.4 + 0.7 * run_random(), spread = run_random();
        for (size_t i = 0; i < count; i++)
            labels[i] = (dt_label){0.5 + spread * (run_random() - 0.5), 0.5 + spread * (run_random() - 0.5),
                                   run_classes[i % RUN_CLASSES], DT_LABEL_RIGHT};
        dt_labels_place(labels, count, shape);
        for (size_t i = 0; i < count; i++) {
            shown += labels[i].side != DT_LABEL_NONE, all++;
            for (size_t k = 0; k < i; k++)
                for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++)
                    bad += dt_labels_overlap(&labels[i], &labels[k], shape, widths[w]);
        }
    }
    ok(!bad, "no label lies over another at any width (%d do)", bad);
    ok(shown > all / 4, "%zu of %zu have room", shown, all);
    dt_label sides[] = {{0.5, 0.5, "frog", 0}, {0.53, 0.5, "cat", 0}, {0.99, 0.1, "ship", 0}, {0.2, 0.2, "", 0}};
    dt_labels_place(sides, 4, 1);
    ok(sides[0].side == DT_LABEL_LEFT && sides[1].side == DT_LABEL_RIGHT && sides[2].side == DT_LABEL_LEFT &&
           sides[3].side == DT_LABEL_NONE,
       "left where another mark is to the right, and at the edge");
}

static void link_is(const char *base, const char *from, const char *to, const char *want)
{
    char *page = dt_join(base, from), *file = dt_join(base, to), *url = dt_relative_url(page, file);
    ok(url && !strcmp(url, want), "from %s to %s: %s", from, to, url ? url : "nothing");
    free(url);
    free(page);
    free(file);
}

static void check_links(const char *base)
{
    char *folder = dt_join(base, "links/a:b/c#");
    dt_make_directories(folder, NULL);
    free(folder);
    folder = dt_join(base, "links/a");
    dt_make_directories(folder, NULL);
    free(folder);
    link_is(base, "x.html", "links/a:b", "./links/a%3Ab");
    link_is(base, "links/a/x.html", "links/a:b/c#", "../a%3Ab/c%23");
    link_is(base, "links/a:b/c#/x.html", "first/log.jsonl", "../../../first/log.jsonl");
    link_is(base, "links/x.html", "links/a", "./a");
    char *nowhere = dt_relative_url("/nonexistent/x.html", base);
    ok(!nowhere, "from nowhere there is no way");
}

int main(int argc, char **argv)
{
    const char *base = argc > 1 ? argv[1] : scratch();
    if (!make_runs(base)) {
        printf("Bail out! %s\n", error.message);
        return 1;
    }
    if (argc > 1)
        return 0;
    char *first = dt_join(base, "first"), *odd = dt_join(base, "odd");
    check_page(first);
    check_refusals(odd);
    check_odd(odd);
    check_folder(odd, first);
    check_merge(base);
    check_compare(base);
    check_stars(base);
    check_lonely(base);
    check_labels();
    check_links(base);
    free(first);
    free(odd);
    return done();
}
