/* The pictures that a run made: what evaluation.json may say of them, and what the report and the comparison show.
 *
 * With an argument the program makes two runs in that folder and checks nothing: tests/report.t looks at their reports in
 * a browser. */
#define _GNU_SOURCE /* asprintf */
#include "data/scatter.h"
#include "data/sheet.h"
#include "eval/findings.h"
#include "eval/report/compare.h"
#include "eval/report/drawn.h"
#include "eval/report/report.h"
#include "tests/report_run.h"
#include "tests/tap.h"

enum { EVERY = 500, STEPS = 20 };

static dt_error error;

/* ---- a run ---- */

/* Rings that get sharper; `seed` changes them. */
static bool draw(const char *folder, const char *name, int count, int side, int channels, double sharp, int seed)
{
    size_t pixels = (size_t)(count * side * side * channels), i = 0;
    float *x = malloc(pixels * sizeof *x);
    for (int p = 0; p < count; p++)
        for (int r = 0; r < side; r++)
            for (int c = 0; c < side; c++) {
                double far = hypot(r - side / 2.0, c - side / 2.0) / side - 0.06 * (1 + (p + seed) % 6);
                for (int k = 0; k < channels; k++)
                    x[i++] = (float)(exp(-far * far * 300 * sharp) * (k == p % 3 ? 0.4 : 1));
            }
    char *path = dt_join(folder, name);
    bool good = dt_sheet_write(
        path, &(dt_sheet){.floats = x, .count = (size_t)count, .height = side, .width = side, .channels = channels}, &error);
    free(path);
    free(x);
    return good;
}

static bool scatter(const char *folder, const char *name)
{
    float real[800], generated[800];
    for (int i = 0; i < 400; i++) {
        double angle = 6.2831853 * (i % 8) / 8;
        real[2 * i] = (float)(2 * cos(angle) + 0.05 * run_normal());
        real[2 * i + 1] = (float)(2 * sin(angle) + 0.05 * run_normal());
        generated[2 * i] = (float)(2 * cos(angle / 2) + 0.1 * run_normal());
        generated[2 * i + 1] = (float)(2 * sin(angle / 2) + 0.1 * run_normal());
    }
    char *path = dt_join(folder, name);
    const dt_scatter both[] = {{real, generated, 400, 400, -3, 3}, {real, real, 400, 400, -3, 3}};
    bool good = dt_scatter_write(path, both, 2, 0, 300, &error);
    free(path);
    return good;
}

static void add(json_t *list, const char *name, const char *file, const char *caption, const char *group, int step)
{
    json_t *p = json_pack("{s:s,s:s}", "name", name, "file", file);
    if (caption)
        json_object_set_new(p, "caption", json_string(caption));
    if (group)
        json_object_set_new(p, "group", json_string(group));
    if (step >= 0)
        json_object_set_new(p, "step", json_integer(step));
    json_array_append_new(list, p);
}

static bool add_samples(const char *folder, json_t *list, int seed)
{
    bool good = true;
    for (int i = 0; good && i < STEPS; i++) {
        int k = i == 3 ? 1 : i == 1 ? 3 : i; /* two are not in their order */
        char name[64], file[64];
        snprintf(name, sizeof name, "samples, step %d", k * EVERY);
        snprintf(file, sizeof file, "samples/%06d.png", k * EVERY);
        add(list, name, file, NULL, "samples", k * EVERY);
        good = draw(folder, file, 64, 28, 1, 0.05 + k / 10.0, seed);
    }
    return good;
}

static bool write_log(const char *folder)
{
    char *path = dt_join(folder, "log.jsonl");
    dt_writer *w = dt_writer_open(path, &error);
    for (int step = 1; w && step <= 200; step++)
        dt_writer_printf(w, "{\"step\": %d, \"elbo\": %.4f, \"kl\": %.4f, \"d_loss\": %.4f, \"dead_units\": 0.0%d}\n", step,
                         -90 - 400.0 / step, 20 + sin(step), 1.3 + 0.1 * cos(step), step % 7);
    free(path);
    return w && dt_writer_commit(w, &error);
}

static bool make(const char *folder, const char *name, int seed)
{
    char *samples = dt_join(folder, "samples");
    json_t *list = json_array();
    bool good = dt_make_directories(samples, &error) && write_log(folder) && add_samples(folder, list, seed) &&
                draw(folder, "pairs.png", 20, 32, 3, 1, seed) && draw(folder, "line.png", 10, 28, 1, 2, seed) &&
                scatter(folder, "ring.png");
    add(list, "reconstructions", "pairs.png", "originals above, reconstructions below", "reconstructions", -1);
    add(list, "interpolation", "line.png", run_hostile, "interpolation", -1);
    add(list, "the ring of 8 Gaussians", "ring.png", NULL, NULL, -1);
    if (seed)
        add(list, "manifold", "line.png", "only this run has it", "manifold", EVERY);
    free(samples);
    return good && run_write_json(folder, "evaluation.json", json_pack("{s:o}", "pictures", list)) &&
           run_write_json(folder, "config.json", json_pack("{s:s}", "name", name));
}

/* ---- the report ---- */

static void check_report(const char *folder)
{
    size_t size, again;
    ok(dt_report_write(folder, &error), "the report is written %s", error.message);
    char *html = run_page(folder, "report.html", &size);
    ok(times(html, "<article class=\"drawn\">") == 4 && times(html, "</article>") == 4 &&
           times(html, "<figure") == times(html, "</figure>") && times(html, "<div") == times(html, "</div>") &&
           times(html, "<li>") == times(html, "</li>") && times(html, "<section") == 3,
       "a part for each group; what is opened is closed");
    const char *samples = strstr(html, ">samples</h3>"), *pairs = strstr(html, ">reconstructions</h3>"),
               *line = strstr(html, ">interpolation</h3>"), *others = strstr(html, ">Others</h3>");
    ok(samples && samples < pairs && pairs < line && line < others, "in order of first appearance");
    ok(times(html, "src=\"data:image/png;base64,") == DT_DRAWN_STEPS + 3 &&
           times(html, "src=\"") == times(html, "src=\"data:") && !holds(html, "http:") && !holds(html, "https:") &&
           !holds(html, "no picture"),
       "all pictures are in the page, nothing is fetched");
    ok(times(html, "<b>step ") == DT_DRAWN_STEPS && holds(html, "<li><figure><img width=\"690\" height=\"690\" alt") &&
           holds(html, "<b>step 0</b>") && holds(html, "<b>step 9,500</b>") &&
           holds(html, "16 of 20 steps; evaluation.json names"),
       "the first and the last step are among those shown");
    const char *second = strstr(html, "<b>step 1,500</b>"), *first = strstr(html, "<b>step 1,000</b>");
    ok(first && second && first < second && times(html, "type=\"range\" min=\"0\" max=\"15\" value=\"15\"") == 1,
       "steps are in order, a slider stands at the last");
    ok(holds(html, "alt=\"originals above, reconstructions below\"") && holds(html, "alt=\"the ring of 8 Gaussians\"") &&
           !holds(html, "alert('1')") && holds(html, "alt=\"&lt;/p&gt;&lt;script&gt;"),
       "alternative texts are captions or names, escaped");
    ok(holds(html, ">ELBO</span>") && holds(html, ">KL divergence from the prior</span>") &&
           holds(html, ">Discriminator loss</span>") && holds(html, ">Dead units</span>"),
       "the series of generative runs have titles");
    ok(size < 4 << 20, "in %zu KiB", size >> 10);
    dt_report_write(folder, NULL);
    char *once_more = run_page(folder, "report.html", &again);
    ok(size == again && !memcmp(html, once_more, size), "the same run gives the same bytes");
    free(once_more);
    free(html);
}

/* The report's page of findings whose only pictures are `list`; NULL: refused. */
static char *page_of(const char *folder, const char *list)
{
    size_t size;
    char *path = dt_join(folder, "evaluation.json");
    dt_writer *w = dt_writer_open(path, NULL);
    dt_writer_printf(w, "{\"pictures\": [%s]}", list);
    dt_writer_commit(w, NULL);
    free(path);
    error.message[0] = 0;
    return dt_report_write(folder, &error) ? run_page(folder, "report.html", &size) : NULL;
}

static void shown(const char *folder, const char *list, const char *part)
{
    char *html = page_of(folder, list);
    ok(html && holds(html, part), "shown: %s (%s)", part, error.message);
    free(html);
}

static void refused(const char *folder, const char *list, const char *part)
{
    char *html = page_of(folder, list);
    ok(!html && holds(error.message, "evaluation.json: ") && holds(error.message, part), "refused: %s", error.message);
    free(html);
}

static void check_files(const char *base)
{
    char *folder = dt_join(base, "files"), *broken = dt_join(folder, "broken.png"), *whole = dt_join(folder, "a.png"),
         *words = dt_join(folder, "words.txt"), *list = NULL;
    size_t size;
    dt_make_directories(folder, NULL);
    draw(folder, "a.png", 9, 28, 1, 1, 0);
    char *bytes = dt_file_read(whole, RUN_BYTES_MOST, &size, NULL);
    dt_file_write(broken, bytes, size / 2, NULL);
    dt_file_write(words, "not a picture", 13, NULL);
    shown(folder, "{\"name\": \"a\", \"file\": \"gone/b.png\"}", "files/gone/b.png");
    shown(folder, "{\"name\": \"a\", \"file\": \"broken.png\"}", "broken.png: PNG: ");
    shown(folder, "{\"name\": \"a\", \"file\": \"words.txt\"}", "files/words.txt: ");
    shown(folder, "{\"name\": \"a\", \"file\": \"/dev/zero\"}", "<p class=\"absent\">no picture: /dev/zero");
    shown(folder, "{\"name\": \"a\", \"file\": \"a.png\", \"step\": 7}", "<b>step 7</b> </figcaption>");
    shown(folder, "{\"name\": \"a\", \"file\": \"a.png\", \"caption\": null}", "alt=\"a\" src=\"data:image/png");
    shown(folder, "{\"name\": \"a\", \"file\": \"a.png\", \"group\": \"\"}", ">Others</h3>");
    if (asprintf(&list, "{\"name\": \"a\", \"file\": \"%s\"}", whole) > 0)
        shown(folder, list, "src=\"data:image/png");
    char *html = page_of(folder, "{\"name\": \"a\", \"file\": \"a.png\", \"step\": 7}");
    ok(!holds(html, "type=\"range\""), "one step is no series");
    free(html);
    free(list);
    free(bytes);
    free(words);
    free(whole);
    free(broken);
    free(folder);
}

/* A picture too large for a page is made smaller; a small one is shown larger. */
static void check_large(const char *base)
{
    char *folder = dt_join(base, "large"), *path = dt_join(folder, "noise.png");
    uint8_t *pixels = malloc(1300 * 700 * 3);
    for (size_t i = 0; i < 1300 * 700 * 3; i++)
        pixels[i] = (uint8_t)(run_random() * 256);
    dt_sheet noise = {.bytes = pixels, .count = 1, .height = 700, .width = 1300, .channels = 3, .zoom = 1};
    ok(dt_make_directories(folder, NULL) && dt_sheet_write(path, &noise, &error), "a picture of 2.7 MB");
    shown(folder, "{\"name\": \"a\", \"file\": \"noise.png\"}",
          "<img width=\"1304\" height=\"704\" alt=\"a\" src=\"data:image/jpeg");
    noise.height = 3, noise.width = 60;
    ok(dt_sheet_write(path, &noise, &error), "a small one");
    shown(folder, "{\"name\": \"a\", \"file\": \"noise.png\"}", "<img width=\"448\" height=\"49\" class=\"magnified\" alt");
    free(pixels);
    free(path);
    free(folder);
}

static void check_refusals(const char *base)
{
    char *folder = dt_join(base, "refused");
    dt_make_directories(folder, NULL);
    refused(folder, "7", "pictures[0]: expected an object, found an integer");
    refused(folder, "{\"file\": \"a.png\"}", "pictures[0].name");
    refused(folder, "{\"name\": \"a\"}", "pictures[0].file");
    refused(folder, "{\"name\": 3, \"file\": \"a.png\"}", "pictures[0].name: expected a string, found an integer");
    refused(folder, "{\"name\": \"a\", \"file\": \"\"}", "pictures[0].file: expected the path of a picture");
    refused(folder, "{\"name\": \"a\", \"file\": [1]}", "pictures[0].file: expected a string, found ");
    refused(folder, "{\"name\": \"a\", \"file\": \"b\"}, {\"name\": \"a\", \"file\": \"b\", \"step\": -1}", "pictures[1].step");
    refused(folder, "{\"name\": \"a\", \"file\": \"b\", \"step\": 0.5}", "pictures[0].step: expected an integer");
    refused(folder, "{\"name\": \"a\", \"file\": \"b\", \"step\": 9007199254740994}", "pictures[0].step");
    refused(folder, "{\"name\": \"a\", \"file\": \"b\", \"caption\": 1}", "pictures[0].caption");
    refused(folder, "{\"name\": \"a\", \"file\": \"b\", \"group\": {}}", "pictures[0].group");
    char *many = malloc(40 * (DT_FINDINGS_MOST + 1)), *end = many;
    for (int i = 0; i <= DT_FINDINGS_MOST; i++)
        end += sprintf(end, "%s{\"name\":\"%d\",\"file\":\"b\"}", i ? "," : "", i);
    refused(folder, many, "pictures: expected at most 10000 items, found 10001");
    end = many;
    for (int i = 0; i < 100; i++)
        end += sprintf(end, "%s{\"name\":\"%d\",\"file\":\"b\"}", i ? "," : "", i);
    shown(folder, many, "76 more pictures are in evaluation.json");
    end = many;
    for (int i = 0; i < 100; i++)
        end += sprintf(end, "%s{\"name\":\"%d\",\"file\":\"b\",\"group\":\"%d\"}", i ? "," : "", i, i);
    shown(folder, many, "60 more groups of pictures are in evaluation.json");
    free(many);
    free(folder);
}

static void check_merge(const char *base)
{
    char *path = dt_join(base, "merged.json");
    json_t *one = json_pack("{s:[{s:s,s:s,s:i}]}", "pictures", "name", "a", "file", "1.png", "step", 1),
           *two =
               json_pack("{s:[{s:s,s:s},{s:s,s:s}]}", "pictures", "name", "b", "file", "2.png", "name", "a", "file", "3.png");
    dt_findings f = {0};
    ok(dt_findings_merge(path, one, &error) && dt_findings_merge(path, two, &error) && dt_findings_read(&f, path, &error) &&
           f.picture_count == 2 && !strcmp(f.pictures[0].file, "3.png") && f.pictures[0].step == -1 &&
           !strcmp(f.pictures[1].name, "b") && !*f.pictures[1].caption && !*f.pictures[1].group,
       "the same name replaces, another one is added %s", error.message);
    dt_findings_free(&f);
    json_decref(one);
    json_decref(two);
    free(path);
}

/* ---- the comparison ---- */

static void check_compare(const char *base, const char *first, const char *second)
{
    char *out = dt_join(base, "drawn.html");
    size_t size;
    ok(dt_report_compare((const char *[]){first, second}, 2, out, &error), "compared %s", error.message);
    char *html = run_page(base, "drawn.html", &size);
    ok(times(html, "<article class=\"drawn\">") == 4 && !holds(html, "manifold") && holds(html, "<a href=\"#drawn\">") &&
           times(html, "src=\"data:image/png") == 8 && times(html, "<div") == times(html, "</div>"),
       "the groups of both runs, a picture of each");
    ok(times(html, "<b>step 9,500</b>") == 2 && !holds(html, "<b>step 9,000</b>") && times(html, "</i>A</span>") == 4 &&
           times(html, "</i>B</span>") == 4,
       "the latest, by the runs' names");
    free(html);
    char *bare = dt_join(base, "bare");
    dt_make_directories(bare, NULL);
    run_write_json(bare, "config.json", json_object());
    ok(dt_report_compare((const char *[]){first, bare}, 2, out, &error), "compared %s", error.message);
    html = run_page(base, "drawn.html", &size);
    ok(!holds(html, "drawn\">"), "one run alone has pictures: no part of it");
    free(html);
    free(bare);
    free(out);
}

int main(int argc, char **argv)
{
    const char *base = argc > 1 ? argv[1] : scratch();
    char *first = dt_join(base, "made"), *second = dt_join(base, "made too");
    bool good = make(first, "A", 0) && make(second, "B", 2);
    if (argc > 1) {
        free(first);
        free(second);
        return !good;
    }
    ok(good, "two runs are made %s", error.message);
    check_report(first);
    check_files(base);
    check_large(base);
    check_refusals(base);
    check_merge(base);
    check_compare(base, first, second);
    free(first);
    free(second);
    return done();
}
