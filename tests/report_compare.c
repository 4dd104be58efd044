/* The comparison of runs: their figures, settings and curves side by side, what is best, links; and the merging of findings. */
#include "eval/report/compare.h"
#include "eval/findings.h"
#include "eval/report/relative.h"
#include "eval/report/report.h"
#include "tests/report_run.h"
#include "tests/tap.h"

static dt_error error;

static void check_merge(const char *base)
{
    char *path = dt_join(base, "merged.json");
    json_t *found = run_findings(0), *more = run_findings(0.1), *odd = json_pack("{s:i}", "curves", 3);
    ok(dt_findings_merge(path, found, &error) && dt_findings_merge(path, more, &error), "merged twice %s", error.message);
    json_t *merged = dt_json_load(path, &error);
    const char *key;
    json_t *list;
    json_object_foreach(found, key, list)
    {
        ok(json_array_size(json_object_get(merged, key)) == json_array_size(list), "%s: nothing doubled, nothing lost", key);
    }
    const json_t *first = json_array_get(json_object_get(merged, "figures"), 0);
    ok(fabs(json_number_value(json_object_get(first, "value")) - 0.96) < 1e-9, "replaced in its place");
    ok(!dt_findings_merge(path, odd, &error) && holds(error.message, "curves: expected a list"), "no list: %s", error.message);
    dt_findings findings;
    ok(dt_findings_read(&findings, path, &error) && findings.map_count == 3 && findings.maps[1].point_count == 5000,
       "read again %s", error.message);
    dt_findings_free(&findings);
    json_decref(merged);
    json_decref(found);
    json_decref(more);
    json_decref(odd);
    free(path);
}

static void check_compare(const char *base)
{
    char *first = dt_join(base, "first"), *second = dt_join(base, "second & <b>"), *out = dt_join(base, "compare.html");
    const char *runs[] = {first, second};
    size_t size;
    ok(dt_report_write(first, &error) && dt_report_write(second, &error), "both have their reports %s", error.message);
    ok(dt_report_compare(runs, 2, out, &error), "compared %s", error.message);
    char *html = run_page(base, "compare.html", &size);
    ok(times(html, "href=\"./first/report.html\"") == 2 && times(html, "href=\"./second%20%26%20%3Cb%3E/report.html\"") == 2,
       "each run's report is linked");
    ok(holds(html, "<td class=\"c0\" data-run=\"First run\"><span>86.0\u202F%</span><small>85.3 to 86.7\u202F%</small>"
                   "<small>n = 10,000</small></td><td class=\"c1 best\" data-run=\"Second run\"><span>87.3"),
       "the best is marked, n and the interval stand by");
    ok(holds(html, "<td class=\"c0 best\" data-run=\"First run\"><span>2.1\u202F%"),
       "the smallest calibration error is the best");
    ok(times(html, " best\"") == 4 && times(html, "lower is better") == 2, "the same rank twice is no best");
    ok(holds(html, "<span>0.0006</span></td><td class=\"c1\" data-run=\"Second run\"><span>0.0003</span></td>") &&
           !holds(html, ">model.width</th>") && holds(html, "all runs: 4 more"),
       "the settings that differ, and only they");
    ok(times(html, "<figure ") == 6 && times(html, "data-group=\"training\"") == 6 && times(html, "<li class=\"c1\">") == 6,
       "six charts of both runs");
    ok(times(html, "<script") == 1 && !holds(html, "nan"), "one script, no NaN");
    error.message[0] = 0;
    ok(!dt_report_compare(runs, 1, out, &error) && holds(error.message, "expected 2 to 20 runs"), "one run: %s", error.message);
    ok(!dt_report_compare((const char *[]){first, base}, 2, out, &error) && holds(error.message, "holds no config.json"),
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
    run_write_item(one, "figures", first);
    run_write_item(two, "figures", second);
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

static void check_lonely(const char *base)
{
    char *one = dt_join(base, "star/one"), *two = dt_join(base, "star/two"), *out = dt_join(base, "lonely.html");
    size_t size;
    put_text("star/one/log.jsonl",
            "{\"step\": 1, \"loss\": 1, \"lr\": 1}\n{\"step\": 2, \"loss\": 1, \"lr\": 1}\n"
            "{\"step\": 1, \"event\": \"evaluation\", \"x: top1\": 0.5}\n"
            "{\"step\": 2, \"event\": \"evaluation\", \"x: top1\": 0.5}\n"
            "{\"step\": 3, \"event\": \"evaluation\", \"x: top1\": 0.5}\n");
    put_text("star/two/log.jsonl", "{\"step\": 1, \"loss\": 1}\n{\"step\": 2, \"loss\": 3, \"lr\": 1}\n");
    ok(dt_report_compare((const char *[]){one, two}, 2, out, &error), "compared %s", error.message);
    char *html = run_page(base, "lonely.html", &size);
    ok(times(html, "<figure ") == 1 && holds(html, "as only one run has them: 2 series."),
       "curves of one run are left out and counted");
    free(html);
    put_text("star/two/log.jsonl", "");
    dt_report_compare((const char *[]){one, two}, 2, out, &error);
    html = run_page(base, "lonely.html", &size);
    ok(!holds(html, "<figure ") && holds(html, "No two runs have curves") && holds(html, "has them: 3 series."),
       "no curves in common");
    free(html);
    free(one);
    free(two);
    free(out);
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

int main(void)
{
    const char *base = scratch();
    if (!run_pair(base, &error)) {
        printf("Bail out! %s\n", error.message);
        return 1;
    }
    check_merge(base);
    check_compare(base);
    check_stars(base);
    check_lonely(base);
    check_links(base);
    return done();
}
