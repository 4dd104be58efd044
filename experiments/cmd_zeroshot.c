/* duet zeroshot: how well a trained model names images, and finds captions and images for each other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "eval/findings.h"
#include "eval/named_lists.h"
#include "eval/texts.h"
#include "eval/zeroshot.h"
#include "experiments/commands.h"
#include "experiments/device.h"
#include "experiments/load.h"
#include "experiments/options.h"
#include "experiments/print.h"
#include "experiments/progress.h"
#include "experiments/shared_options.h"

typedef struct settings {
    const char *weights, *data, *classes, *name, *templates, *queries, *out;
    dt_strings template_list, query_list;
    bool retrieval, json, quiet;
    int captions, top, batch, threads;
    dt_device_options device;
} settings;

/* What the settings name, open. */
typedef struct inputs {
    dt_model *model;
    dt_dataset *data;
    dt_classes *classes;
    dt_texts templates, queries;
    dt_zeroshot_options options;
    const char *query_texts[65536];
} inputs;

static int evaluate(const settings *s);

static const char summary[] = "Evaluates a model without training on the task. DATA is a pair store "
                              "(NAME.lmdb) or a folder of class folders. Images are "
                              "named by the nearest class prompt: class names (DATA's own, or --classes) in "
                              "templates, whose embeddings are averaged, or "
                              "whole prompts from a classes file, with the accuracy for each of their "
                              "attributes. --retrieval finds images and captions "
                              "for each other; --query finds the images nearest to a text. Every figure "
                              "stands beside the level of chance.";

int dt_cmd_zeroshot(int argc, char **argv)
{
    settings s = {0};
    const dt_option options[] = {
        DT_WEIGHTS_OPTION(s.weights, true),
        {"classes", 'c', DT_STRING, &s.classes, "FILE|NAMES",
         .help = "classes instead of DATA's own: a .json file, a text file with one name a line, or names "
                 "with commas between"},
        DT_TEMPLATE_OPTIONS(s.template_list, s.templates),
        {"retrieval", 'r', DT_FLAG, &s.retrieval,
         .help = "find images and captions by each other: R@1, R@5, R@10"},
        {"captions", 0, DT_INT, &s.captions, "N", "captions of an image that count; 0: all", "0",
         .least = 0, .most = -1},
        DT_QUERY_OPTIONS(s.query_list, s.queries),
        {"top", 'k', DT_INT, &s.top, "N", "images to find for each text", "5", .least = 1, .most = 10000},
        DT_NAME_OPTION(s.name, "DATA's name"),
        DT_FINDINGS_OPTION(s.out),
        DT_JSON_OPTION(s.json, ""),
        DT_BATCH_OPTION(s.batch, "128", ""),
        DT_THREADS_OPTION(0, s.threads, 1024),
        DT_DEVICE_OPTIONS(s.device),
        DT_QUIET_OPTION(0, s.quiet),
    };
    const dt_usage usage = {"duet zeroshot", "DATA",   summary, options, sizeof options / sizeof options[0],
                            .least = 1,      .most = 1};
    char **words;
    int count, status = dt_options_parse(&usage, argc, argv, &words, &count);
    if (status >= 0)
        return status;
    s.data = words[0];
    if (s.templates && s.template_list.count) {
        fprintf(stderr, "duet zeroshot: --template and --templates do not go together\n");
        return DT_EXIT_USAGE;
    }
    return evaluate(&s);
}

static bool gather_queries(inputs *in, const settings *s, dt_error *error)
{
    if (s->queries && !dt_texts_load(&in->queries, s->queries, true, error))
        return false;
    size_t count = 0, most = sizeof in->query_texts / sizeof in->query_texts[0];
    if (s->query_list.count + in->queries.count > most)
        return dt_fail(error, "%zu queries; expected at most %zu", s->query_list.count + in->queries.count,
                       most);
    for (size_t i = 0; i < s->query_list.count; i++)
        in->query_texts[count++] = s->query_list.items[i];
    for (size_t i = 0; i < in->queries.count; i++)
        in->query_texts[count++] = in->queries.items[i];
    in->options.queries = in->query_texts;
    in->options.query_count = count;
    return true;
}

static bool open_inputs(inputs *in, const settings *s, char *stem, size_t size, dt_error *error)
{
    in->options = (dt_zeroshot_options){.name = s->name ? s->name : dt_dataset_stem(s->data, stem, size),
                                        .retrieval = s->retrieval,
                                        .details = s->out || s->json,
                                        .intervals = true,
                                        .captions_each = (size_t)s->captions,
                                        .templates = s->template_list.items,
                                        .template_count = s->template_list.count,
                                        .top = (size_t)s->top,
                                        .batch = s->batch,
                                        .threads = s->threads};
    in->options.progress = dt_terminal_progress(s->quiet);
    if (!gather_queries(in, s, error) ||
        (s->templates && !dt_templates_load(&in->templates, s->templates, error)) ||
        (s->classes && !(in->classes = dt_classes_load(s->classes, error))))
        return false;
    if (s->templates) {
        in->options.templates = (const char *const *)in->templates.items;
        in->options.template_count = in->templates.count;
    }
    in->data = dt_dataset_open(s->data, error);
    in->model = in->data ? dt_load_weights("duet zeroshot", s->weights, s->quiet, error) : NULL;
    in->options.data = in->data;
    in->options.classes = in->classes;
    return in->model && (in->options.backend = dt_device_open(&s->device, dt_device_news(s->quiet), error));
}

static void close_inputs(inputs *in)
{
    dt_model_free(in->model);
    dt_dataset_close(in->data);
    dt_classes_free(in->classes);
    dt_texts_free(&in->templates);
    dt_texts_free(&in->queries);
    free(in);
}

static void print_table(const dt_zeroshot_result *result, const dt_dataset *data)
{
    printf("%s: %zu images", result->data, result->images);
    if (result->labelled && result->labelled < result->images)
        printf(" (%zu with a class)", result->labelled);
    if (result->classes)
        printf(", %zu classes", result->classes);
    if (result->captions)
        printf(", %zu captions", result->captions);
    printf("\n\n");
    dt_print_scores(result->scores, result->score_count);
    for (size_t q = 0; q < result->query_count; q++) {
        printf("%s", q || result->score_count ? "\n" : "");
        dt_print_query(&result->queries[q], data);
    }
    dt_device_print_note();
}

static bool report(const settings *s, const dt_zeroshot_result *result, const inputs *in, dt_error *error)
{
    json_t *json = dt_zeroshot_json(result);
    if (!json)
        return dt_fail(error, "no memory for the results, or a name that is not UTF-8");
    json_object_set_new(json, "weights", json_string(s->weights));
    dt_device_note(json);
    dt_load_note(json, in->model);
    bool good = true; /* what was computed is printed first: a file that cannot be written must not cost it */
    if (s->json)
        good = dt_print_json(json, 2, error);
    else
        print_table(result, in->data);
    good = good && dt_print_flush(error) &&
           (!s->out || dt_findings_merge(s->out, json, error));
    json_decref(json);
    return good;
}

static int evaluate(const settings *s)
{
    dt_error error;
    dt_zeroshot_result result = {0};
    char stem[256];
    inputs *in = calloc(1, sizeof *in);
    bool good = in || dt_fail(&error, "no memory");
    good = good && open_inputs(in, s, stem, sizeof stem, &error) &&
           dt_zeroshot_run(in->model, &in->options, &result, &error) && report(s, &result, in, &error);
    dt_zeroshot_free(&result);
    if (in)
        close_inputs(in);
    if (!good)
        fprintf(stderr, "duet zeroshot: %s\n", error.message);
    return good ? DT_EXIT_GOOD : DT_EXIT_FAILURE;
}
