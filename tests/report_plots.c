/* The plots of a report: what a run with everything shows, what is odd and shown, and what is refused.
 *
 * With an argument the program makes two runs in that folder and checks nothing: tests/report.t looks at
 * their reports in a browser. */
#include "eval/report/plot_label.h"
#include "eval/report/report.h"
#include "tests/report_run.h"
#include "tests/tap.h"

static const char escaped[] = "&lt;/p&gt;&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot; onload=&quot;x&amp;y";
static dt_error error;
static dt_error error;

/* ---- a page with everything ---- */

static void check_whole(const char *html)
{
    json_t *text = json_string(html); /* refuses what is not UTF-8 */
    ok(text != NULL, "the page is UTF-8");
    json_decref(text);
    ok(times(html, "<script") == 1 && times(html, "</script>") == 1 && !holds(html, "alert('1')") &&
           !holds(html, "onload=\"") && holds(html, escaped),
       "hostile text is escaped, one script is ours");
    ok(!holds(html, "http:") && !holds(html, "https:") && times(html, "src=\"") == times(html, "src=\"data:image/jpeg;base64,"),
       "nothing is fetched");
    ok(times(html, "<section") == 9 && times(html, "</section>") == 9 && times(html, "<figure ") == times(html, "</figure>") &&
           times(html, "<table") == times(html, "</table>") && times(html, "<div") == times(html, "</div>") &&
           times(html, "<td") == times(html, "</td>") && times(html, "<ul") == times(html, "</ul>"),
       "nine sections; what is opened is closed");
    ok(times(html, "=\"nan") == 0 && !holds(html, "nan,") && !holds(html, "inf,") && !holds(html, ">nan"), "no NaN leaks out");
}

static void check_parts(const char *html)
{
    ok(holds(html, "95\u202F% interval 85.3 to 86.7\u202F%</span>") &&
           holds(html, "<small class=\"interval\">70.5 to 72.3\u202F%</small>"),
       "intervals stand by their values");
    ok(times(html, "<figure class=\"confusion\">") == 3 && holds(html, "airplane right: ") && holds(html, " taken for "),
       "cells have words");
    const char *matrix = strstr(html, "smallest\"");
    ok(matrix && times(matrix, "<th scope=\"row\"><span dir=\"auto\" title=\"class number ") == 128 &&
           holds(html, "class number 127</span></th>"),
       "128 classes are all there");
    ok(times(html, "71 of 1,000 (7.1\u202F%)") == 3, "the worst say how often of how many");
    ok(times(html, "no picture: no pair store at photos/") == 6, "a store that is not there is said once a pair of classes");
    ok(times(html, "<img ") == 6 * 5 * 2 + 3 * 6 + 2, "examples, hits, and two queries that are pictures");
    ok(holds(html, "ECE 2.4\u202F% · n = 10,000") && times(html, " data-bins='[[") == 2 && holds(html, "%: none\"]"),
       "calibration has its error and n, and empty bins");
    ok(holds(html, "to 100\u202F%") == false && holds(html, "\"93.3 to 100.0\u202F%: "), "a bin in words");
    ok(times(html, "<figure class=\"chart curve\">") == 3 && holds(html, "<p class=\"x-title\">images a class</p>") &&
           holds(html, ">16</span>") && holds(html, "n = 2,500"),
       "curves have axes, ticks at what was measured, and n");
    ok(holds(html, "<th scope=\"row\" dir=\"auto\">macro mean</th><td data-v=\"0.871\">87.1\u202F%</td>") &&
           holds(html, "<td data-v=\"10000\">10,000</td>") && holds(html, "<details class=\"table\"><summary>the most classes"),
       "tables: shares, counts, long ones fold");
    ok(holds(html, "<b>0.612</b>") && holds(html, "<b>0.271</b>") && holds(html, "33.0\u202F% of the variance") &&
           holds(html, "map of 2500 images and 2500 texts"),
       "the map says its gap, cosine and variance");
    ok(times(html, "<span class=\"prompt") > 2 && times(html, "<span class=\"prompt") <= 20,
       "few texts have their names on the map (%d)", times(html, "<span class=\"prompt"));
    const char *pictures = strstr(html, "data-pictures='{"), *end = pictures ? strchr(pictures + 16, '\'') : NULL;
    int shown = 0;
    for (const char *at = pictures; at && at < end; at++)
        shown += *at == ':';
    ok(shown > 100 && shown <= 200, "a map has at most 200 pictures (%d)", shown);
    ok(holds(html, ">Validation accuracy</span>") && holds(html, "Images per second") && holds(html, "908 images a second"),
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

/* ---- what is refused, and what is only odd ---- */

static void refused(const char *folder, const char *list, const char *item, const char *part)
{
    error.message[0] = 0;
    run_write_item(folder, list, item);
    bool good = dt_report_write(folder, &error);
    ok(!good && holds(error.message, "evaluation.json: ") && holds(error.message, part), "refused: %s (%s)", part,
       error.message);
}

static void accepted(const char *folder, const char *list, const char *item, const char *part)
{
    size_t size;
    error.message[0] = 0;
    run_write_item(folder, list, item);
    bool good = dt_report_write(folder, &error);
    char *html = run_page(folder, "report.html", &size);
    ok(good && holds(html, part) && !holds(html, "nan") && !holds(html, "inf\""), "shown: %s (%s)", part, error.message);
    free(html);
}

static void check_refusals(const char *folder)
{
    const char *f = folder;
    dt_make_directories(f, NULL);
    refused(f, "figures", "{\"name\": \"a\", \"value\": 1, \"low\": 0.5}", "figures[0]: expected low and high");
    refused(f, "figures", "{\"name\": \"a\", \"value\": 1, \"low\": 0.5, \"high\": 0.4}", "found 0.5 and 0.4");
    refused(f, "galleries", "{\"query\": \"a\", \"store\": \"b\", \"hits\": [], \"image\": 3}", "galleries[0].image");
    refused(f, "galleries", "{\"query\": \"a\", \"store\": \"b\", \"hits\": [], \"image\": {\"store\": \"b\", \"index\": -1}}",
            "image.index");
    refused(f, "confusions", "7", "confusions[0]: expected an object");
    refused(f, "confusions", "{\"name\": \"a\", \"classes\": []}", "expected at least one class");
    refused(f, "confusions", "{\"name\": \"a\", \"classes\": [\"x\", 2]}", "classes[1]: expected a string");
    refused(f, "confusions", "{\"name\": \"a\", \"classes\": [\"x\"], \"counts\": [[1], [2]]}",
            "expected a row for each of the 1 classes");
    refused(f, "confusions", "{\"name\": \"a\", \"classes\": [\"x\", \"y\"], \"counts\": [[1, 2], [1]]}",
            "counts[1]: expected a count for each");
    refused(f, "confusions", "{\"name\": \"a\", \"classes\": [\"x\"], \"counts\": [[-1]]}", "counts[0][0]: expected a count");
    refused(f, "confusions", "{\"name\": \"a\", \"classes\": [\"x\"], \"counts\": [[0.5]]}", "found a number");
    refused(f, "confusions", "{\"name\": \"a\", \"classes\": [\"x\"], \"counts\": [[9000000000000000000]]}", "out of range");
    refused(f, "confusions", "{\"name\": \"a\", \"classes\": [\"x\"], \"counts\": [3]}", "counts[0]: expected a list");
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
    refused(f, "reliability", "{\"name\": \"a\", \"bins\": [{\"low\": 0, \"high\": 1.5, \"count\": 1}]}", "bins[0].high");
    refused(f, "reliability", "{\"name\": \"a\", \"bins\": [{\"low\": 0.5, \"high\": 0.5, \"count\": 1}]}",
            "expected bins that rise");
    refused(f, "reliability",
            "{\"name\": \"a\", \"bins\": [{\"low\": 0.5, \"high\": 1, \"count\": 1}, {\"low\": 0, \"high\": "
            "0.5, \"count\": 1}]}",
            "bins[1]: expected bins that rise");
    refused(f, "reliability", "{\"name\": \"a\", \"bins\": [{\"low\": 0, \"high\": 1, \"count\": -1}]}", "bins[0].count");
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
    refused(f, "maps", "{\"name\": \"a\", \"points\": [{\"x\": 0, \"y\": 0, \"kind\": \"sound\"}]}", "points[0].kind");
    refused(f, "maps",
            "{\"name\": \"a\", \"classes\": [\"c\"], \"points\": [{\"x\": 0, \"y\": 0, \"kind\": \"text\", "
            "\"label\": 1}]}",
            "points[0].label: expected below 1, found 1");
    refused(f, "maps", "{\"name\": \"a\", \"points\": [{\"x\": 0, \"y\": 0, \"kind\": \"image\", \"index\": -3}]}",
            "points[0].index");
    refused(f, "maps", "{\"name\": \"a\", \"points\": [], \"explained\": [0.5]}", "expected two shares");
}

/* Odd, but good. */
static void check_odd(const char *f)
{
    accepted(f, "confusions", "{\"name\": \"a\", \"classes\": [\"x\", \"</td>\"], \"counts\": [[0, 0], [0, 5]]}",
             "&lt;/td&gt; right: 5 of 5 (100");
    accepted(f, "confusions", "{\"name\": \"only names\", \"classes\": [\"x\"]}", "1 classes");
    accepted(f, "reliability", "{\"name\": \"no bins\", \"bins\": []}", "no bins");
    accepted(f, "reliability",
             "{\"name\": \"one\", \"bins\": [{\"low\": 0, \"high\": 1, \"count\": 3, \"confidence\": 1, "
             "\"accuracy\": 0}]}",
             "0\u202F% right");
    accepted(f, "tables", "{\"name\": \"no rows\", \"columns\": [\"</th>\"], \"rows\": []}", "&lt;/th&gt;");
    accepted(f, "tables", "{\"name\": \"mixed\", \"columns\": [\"a\", \"b\"], \"rows\": [[\"x\", 2], [null, \"</b>\"]]}",
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
    accepted(f, "galleries", "{\"query\": \"a file\", \"store\": \"b\", \"hits\": [], \"image_file\": \"evaluation.json\"}",
             "no picture: ");
    accepted(f, "galleries", "{\"query\": \"a\", \"store\": \"b\", \"hits\": [{\"index\": 0}]}", "each with its score.</p>");
    accepted(f, "galleries", "{\"query\": \"a\", \"store\": \"b\", \"hits\": [{\"index\": 0, \"correct\": false}]}",
             "each with its score. A right one has a frame and a ✓.</p>");
    accepted(f, "galleries", "{\"query\": \"a device\", \"store\": \"b\", \"hits\": [], \"image_file\": \"/dev/zero\"}",
             "no picture: ");
}

/* The images of a folder instead of a store. */
static void check_folder(const char *folder, const char *first)
{
    char *class = dt_join(folder, "pics/grey cat"), *to = dt_join(folder, "pics/grey cat/a.jpg"),
         *from = dt_join(first, "query.jpg");
    size_t size;
    char *bytes = dt_file_read(from, RUN_BYTES_MOST, &size, NULL);
    ok(bytes && dt_make_directories(class, NULL) && dt_file_write(to, bytes, size, NULL), "a folder with an image");
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

int main(int argc, char **argv)
{
    const char *base = argc > 1 ? argv[1] : scratch();
    if (!run_pair(base, &error)) {
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
    check_labels();
    free(first);
    free(odd);
    return done();
}
