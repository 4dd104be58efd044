/* duet evaluate: models x data sets x tasks, from one file to one table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/file.h"
#include "data/json.h"
#include "experiments/commands.h"
#include "experiments/device.h"
#include "experiments/options.h"
#include "experiments/print.h"
#include "experiments/progress.h"
#include "experiments/run_folder.h"
#include "experiments/shared_options.h"
#include "experiments/suite.h"

static const char summary[] =
    "Runs every task of a suite on every data set with every model, and prints one table: zero-shot classification, "
    "retrieval, the linear probe, and the classifier of a fine-tuned model. SUITE.json names them "
    "(experiments/suite.h), and all of them are looked for before the first task. The results go to one JSON file after "
    "each task; what they hold already is not run again, unless the model, the data, the task or the precision has changed.";

/* The figures that stand for a task in the table. */
static bool is_chief(const char *key)
{
    static const char *const chief[] = {"top1", "top5", "image_to_text_r1", "image_to_text_r5", "text_to_image_r1",
                                        "text_to_image_r5"};
    for (size_t i = 0; i < sizeof chief / sizeof *chief; i++)
        if (!strcmp(key, chief[i]))
            return true;
    return !strncmp(key, "shots_", 6);
}

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* "CIFAR-10: top-1 accuracy", "CIFAR-10, probe: top-1 accuracy" stand beside set and task already. */
static const char *short_name(const char *name, const char *set)
{
    size_t length = strlen(set);
    const char *colon = !strncmp(name, set, length) ? strstr(name + length, ": ") : NULL;
    return colon ? colon + 2 : name;
}

static void print_figure(const json_t *result, const json_t *figure, const int width[2])
{
    const json_t *low = json_object_get(figure, "low"), *high = json_object_get(figure, "high");
    const json_t *deviation = json_object_get(figure, "deviation");
    double value = json_number_value(json_object_get(figure, "value"));
    char spread[64] = "", shown[32];
    if (low && high)
        snprintf(spread, sizeof spread, "%.2f to %.2f %%", 100 * json_number_value(low), 100 * json_number_value(high));
    else if (deviation)
        snprintf(spread, sizeof spread, "+- %.2f %%", 100 * json_number_value(deviation));
    bool rank = json_is_true(json_object_get(figure, "rank"));
    snprintf(shown, sizeof shown, rank ? "%.1f  " : "%.2f %%", rank ? value : 100 * value);
    printf("%-*s  %-*s  %-9s  %-28s  %10s  %-16s  %7lld\n", width[0], text_of(result, "weights"), width[1],
           text_of(result, "set"), text_of(result, "task"), short_name(text_of(figure, "name"), text_of(result, "set")), shown, spread,
           (long long)json_integer_value(json_object_get(figure, "n")));
}

static void print_table(const json_t *results, bool all)
{
    size_t i, k;
    const json_t *result, *figure;
    int width[2] = {5, 3};
    json_array_foreach((json_t *)results, i, result)
    {
        int lengths[] = {(int)strlen(text_of(result, "weights")), (int)strlen(text_of(result, "set"))};
        for (int c = 0; c < 2; c++)
            width[c] = lengths[c] > width[c] ? lengths[c] : width[c];
    }
    printf("%-*s  %-*s  %-9s  %-28s  %10s  %-16s  %7s\n", width[0], "model", width[1], "set", "task", "figure", "value",
           "95 % interval", "n");
    json_array_foreach((json_t *)results, i, result)
        json_array_foreach(json_object_get(result, "figures"), k, figure)
            if (all || is_chief(text_of(figure, "key")))
                print_figure(result, figure, width);
}

/* "suites/small.json" -> "runs/small-results.json" */
static void default_results(const char *suite, char path[DT_RUN_PATH])
{
    char folder[DT_RUN_PATH];
    dt_run_default_folder(suite, folder);
    snprintf(path, DT_RUN_PATH, "%.*s-results.json", DT_RUN_PATH - 16, folder);
}

int dt_cmd_evaluate(int argc, char **argv)
{
    const char *out = NULL;
    bool again = false, all = false, json = false, quiet = false;
    dt_device_options device = {0};
    const dt_option options[] = {
        {"out", 'o', DT_STRING, &out, "FILE", .help = "file of the results (default: runs/NAME-results.json of NAME.json)"},
        {"again", 0, DT_FLAG, &again, .help = "also run what is done"},
        {"all", 'a', DT_FLAG, &all, .help = "print every figure, not only the chief ones"},
        DT_JSON_OPTION(json, ""),
        DT_DEVICE_OPTIONS(device),
        DT_QUIET_OPTION('q', quiet),
    };
    const dt_usage usage = {"duet evaluate", "SUITE.json", summary, options, sizeof options / sizeof *options,
                            .least = 1, .most = 1};
    char **words, path[DT_RUN_PATH];
    int count, status = dt_options_parse(&usage, argc, argv, &words, &count);
    if (status >= 0)
        return status;
    default_results(words[0], path);
    dt_error error;
    size_t failed = 0;
    dt_progress_lines lines = {0};
    dt_suite_options o = {.results = out ? out : path, .again = again, .people = quiet ? NULL : stderr,
                                .progress = dt_lasting_progress(&lines, quiet)};
    dt_suite *suite = dt_suite_load(words[0], &error);
    bool good = suite && dt_suite_check(suite, &error) && (o.backend = dt_device_open(&device, dt_device_news(quiet), &error)) &&
                (out || dt_make_directories("runs", &error)) && dt_suite_run(suite, &o, &failed, &error);
    if (good && json)
        good = dt_print_json(dt_suite_results(suite), 2, &error);
    else if (good)
        print_table(dt_suite_results(suite), all), dt_device_print_note();
    if (good && failed)
        good = dt_fail(&error, "%zu of the suite's tasks failed", failed);
    if (!good)
        fprintf(stderr, "duet evaluate: %s\n", error.message);
    dt_suite_free(suite);
    return good ? DT_EXIT_GOOD : DT_EXIT_FAILURE;
}
